"""A nested tuple of arrays behind one pointer, for kernels.

Numba passes a tuple of arrays by value: a batch of clusters has some 250 arrays, about 2,500
machine words at each call, which LLVM takes minutes to compile. A `View` is one address instead,
of a table with each array's data pointer and shape; `view.flow.backlog` in a kernel reads what it
needs from there. Kernels are duck-typed: they take the tuples themselves (tests) or views of them.

The table is built once from the arrays, which must stay where they are (kernels write in place);
the View keeps them alive. All arrays must be C-contiguous.
"""

from __future__ import annotations

import zlib
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    NativeValue,
    infer_getattr,
    lower_getattr_generic,
    models,
    register_model,
    typeof_impl,
    unbox,
)
from numba.np.arrayobj import make_array, populate_array


class ViewType(types.Type):
    """Numba type of a View; `inner` is the type of the tuple behind it, `slot` where its table starts."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        digest = zlib.crc32(str(inner).encode())
        super().__init__(name=f"View({inner.instance_class.__name__}:{digest:08x})")


register_model(ViewType)(models.OpaqueModel)


class View:
    """Handle of a (nested) NamedTuple of arrays. Give it to a kernel in place of the tuple."""

    def __init__(self, arrays: Any, *, like: View | None = None) -> None:
        """like: a view of arrays of the same types, which need not be found out again."""
        self.arrays = arrays
        self.table = np.array(_rows(arrays), np.int64)
        self.numba_type: ViewType = like.numba_type if like else ViewType(numba.typeof(arrays))
        self._numba_type_ = self.numba_type  # where Numba looks before it asks typeof_impl
        self.address = int(self.table.ctypes.data)

    def part(self, name: str) -> Any:
        """Numba type of a nested tuple (a view too) or array: what a kernel sees as `view.name`."""
        kind = self.numba_type.inner.types[self.numba_type.inner.fields.index(name)]
        return kind if isinstance(kind, types.Array) else ViewType(kind)


def _rows(arrays: Any) -> list[int]:
    if isinstance(arrays, np.ndarray):
        if not arrays.flags.c_contiguous:
            raise ValueError("a View needs C-contiguous arrays")
        return [arrays.ctypes.data, *arrays.shape]
    return [word for child in arrays for word in _rows(child)]


def _words(kind: Any) -> int:
    """Table words of a field."""
    return 1 + kind.ndim if isinstance(kind, types.Array) else sum(_words(t) for t in kind.types)


@typeof_impl.register(View)
def _typeof_view(value: View, context: Any) -> Any:
    return value.numba_type


@unbox(ViewType)
def _unbox_view(kind: Any, value: Any, c: Any) -> NativeValue:
    address = c.pyapi.object_getattr_string(value, "address")
    number = c.pyapi.long_as_longlong(address)
    c.pyapi.decref(address)
    pointer = c.builder.inttoptr(number, cgutils.voidptr_t)
    return NativeValue(pointer, is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


@infer_getattr
class _ViewAttribute(AttributeTemplate):  # type: ignore[misc]
    key = ViewType

    def generic_resolve(self, view: Any, attribute: str) -> Any:
        if attribute not in view.inner.fields:
            return None
        kind = view.inner.types[view.inner.fields.index(attribute)]
        return kind if isinstance(kind, types.Array) else ViewType(kind)


@lower_getattr_generic(ViewType)
def _view_getattr(context: Any, builder: Any, kind: Any, value: Any, attribute: str) -> Any:
    """Load one array's data pointer and shape, or step to a nested tuple's part of the table."""
    index = kind.inner.fields.index(attribute)
    word = ir.IntType(64)
    table = builder.bitcast(value, word.as_pointer())
    start = sum(_words(t) for t in kind.inner.types[:index])
    field = kind.inner.types[index]
    if not isinstance(field, types.Array):
        return builder.bitcast(builder.gep(table, [word(start)]), cgutils.voidptr_t)
    numbers = [builder.load(builder.gep(table, [word(start + i)])) for i in range(1 + field.ndim)]
    constant = builder.module.add_metadata([])
    for number in numbers:  # the table never changes: LLVM may load a pointer once for a whole loop
        number.set_metadata("invariant.load", constant)
    array = make_array(field)(context, builder)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(field.dtype)))
    strides = [itemsize]
    for size in reversed(numbers[2:]):
        strides.insert(0, builder.mul(strides[0], size))
    populate_array(
        array,
        data=builder.inttoptr(numbers[0], context.get_data_type(field.dtype).as_pointer()),
        shape=numbers[1:],
        strides=strides,
        itemsize=itemsize,
        meminfo=None,
    )
    return array._getvalue()
