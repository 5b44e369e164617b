"""Compile kernels with Numba into a cache whose key is the hash of *all* kernel sources.

Numba's own cache looks at one file only: it would go on using a caller compiled against an older
callee. So the cache folder carries a hash over every file in envs/sim and envs/controllers, and
this module must be imported before numba is configured elsewhere. `NUMBA_CACHE_DIR`, when set, is
the parent folder (for read-only roots); default is the user's cache folder.

`kernel` is `numba.njit` without fastmath and without parallel reductions, so equal inputs give
equal bytes; `nogil=True` lets batches run on threads.

Kernels own nothing and count from the front. They allocate no arrays (the compiler refuses it), so that none
has to be counted; and an index is never negative, so that none has to be looked at. The exceptions are
`allocating_kernel`s. `NUMBA_BOUNDSCHECK=1` (with a `NUMBA_CACHE_DIR` of its own) makes any index that is negative or
too large an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import types
from numba.core.caching import UserProvidedCacheLocator
from numba.core.types.misc import unliteral
from numba.np import arrayobj

from envs.sim.linking import link_long_kernels

_ROOT = Path(__file__).resolve().parent.parent


def source_hash() -> str:
    """Hex digest over every kernel source file and the Numba version."""
    digest = hashlib.sha256(numba.__version__.encode())
    for folder in ("sim", "controllers"):
        for path in sorted((_ROOT / folder).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_dir() -> Path:
    """Folder that compiled kernels of these very sources live in."""
    parent = os.environ.get("NUMBA_CACHE_DIR")
    root = Path(parent) if parent else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "trimtab"
    return root / f"kernels-{source_hash()}"


class KernelCacheLocator(UserProvidedCacheLocator):  # type: ignore[misc]
    """Files kernels under their place in the package: equal sources share a cache wherever they are installed."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        """Folder below `cache_dir()` for the kernels of one source file."""
        return Path(py_file).resolve().parent.name

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> Any:
        """A locator for a kernel of ours, None for functions of others."""
        return super().from_function(py_func, py_file) if _ROOT in Path(py_file).resolve().parents else None


numba.config.CACHE_DIR = str(cache_dir())
numba.config.CACHE_LOCATOR_CLASSES = f"{__name__}.KernelCacheLocator,UserProvidedCacheLocator"
link_long_kernels()
_wrapping_index = arrayobj.fix_integer_index


def _index(context: Any, builder: Any, kind: Any, index: Any, size: Any) -> Any:
    """Where an integer index points to: in kernels that own nothing it is used as it is, elsewhere -1 is the last."""
    if context.enable_nrt:
        return _wrapping_index(context, builder, kind, index, size)
    return context.cast(builder, index, kind, types.intp)


arrayobj.fix_integer_index = _index
_OPTIONS = {"cache": True, "nogil": True, "fastmath": False, "error_model": "numpy"}


def _plain(kind: Any) -> Any:
    """The type that an argument is compiled for: literals as what they are literals of, whole numbers as int64."""
    kind = unliteral(kind)
    return types.int64 if kind in (types.int8, types.int16, types.int32) else kind


def _plainly_called(kernel: Any) -> Any:
    """Have calls from other kernels share one compiled version, not one per literal and width of whole numbers."""
    if hasattr(kernel, "get_call_template"):  # without JIT it is the plain function
        template = kernel.get_call_template
        kernel.get_call_template = lambda args, kws: template(
            tuple(_plain(kind) for kind in args), {name: _plain(kind) for name, kind in kws.items()}
        )
    return kernel


def kernel(function: Callable[..., Any]) -> Any:
    """Decorate a compiled kernel: cached, no GIL, strict floating point, no array of its own, no negative index."""
    return _plainly_called(numba.njit(**_OPTIONS, _nrt=False)(function))


def allocating_kernel(function: Callable[..., Any]) -> Any:
    """Like `kernel`, for the few entries that make an array to work in, outside the tick."""
    return _plainly_called(numba.njit(**_OPTIONS)(function))


def inner(function: Callable[..., Any]) -> Any:
    """Like `kernel`, for kernels that only kernels call: no Python entry, which halves compile time."""
    compiled = numba.njit(**_OPTIONS, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    return _plainly_called(compiled(function))


def inlined(function: Callable[..., Any]) -> Any:
    """Like `inner`, for a few lines in the middle of a hot kernel: no call, so its arguments stay in registers."""
    return numba.njit(**_OPTIONS, _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)(
        function
    )
