"""Kernels call large kernels through the linker instead of carrying a copy of them.

Numba links the code of everything that a function calls into it and optimizes and emits all of that again:
with 500 kernels that call each other up to twelve deep, most of the compile time went into repeats. Here a
kernel whose code is long (it would not be inlined anyway) reaches its callers as a declaration; its object
code, emitted once, is resolved by the linker and travels in the cache entry of each caller.

Short kernels are inlined as before, and so are those that `jit.inlined` decorates. No arithmetic changes:
without fast-math, code gives the same bytes inlined or not.
"""

from __future__ import annotations

import re
from typing import Any

from llvmlite import binding
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen

OURS = "_ZN4envs"  # mangled names of this package's functions begin so
LONG = 150  # lines of LLVM code from which on a kernel is not copied into its callers
_loaded: dict[str, Any] = {}  # libraries of object code that cache entries brought along, by symbol


def declare(module: str, names: set[str]) -> tuple[str, list[str]]:
    """LLVM text with the long ones of the named functions reduced to declarations; which these are."""
    out: list[str] = []
    body: list[str] = []
    gone = []
    for line in module.split("\n"):
        if not body and not line.startswith("define "):
            out.append(line)
            continue
        body.append(line)
        if line != "}":
            continue
        found = re.search(r'@"?([^"(\s]+)"?\(', body[0])
        name = found.group(1) if found else ""
        if name in names and len(body) > LONG:
            head = re.sub(r" (linkonce_odr|comdat|personality .*|!dbg !\d+)(?= |$)", "", body[0].removesuffix(" {"))
            out.append(head.replace("define", "declare", 1))
            gone.append(name)
        else:
            out.extend(body)
        body = []
    return "\n".join(out), gone


class KernelLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Code of one compiled function. `needs`: object code, by symbol, of the long kernels that it calls."""

    _shared_module: Any

    def __init__(self, codegen: Any, name: str) -> None:
        super().__init__(codegen, name)
        self.needs: dict[str, bytes] = {}
        self.gone: list[str] = []  # symbols that callers see as declarations
        self.code: bytes | None = None

    def finalize(self) -> None:
        super().finalize()
        for library in self._linking_libraries:
            self.needs.update(library.needs)
            for symbol in library.gone:
                self.needs[symbol] = library.code

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is not None:
            return self._shared_module
        module = super()._get_module_for_linking()
        if self._object_caching_enabled and self._compiled_object is not None:
            own = {f.name for f in self._final_module.functions if not f.is_declaration and f.name.startswith(OURS)}
            own -= {f.name for f in self._final_module.functions if f.linkage != binding.Linkage.external}
            own -= {f.name for f in self._final_module.functions if any(b"alwaysinline" in a for a in f.attributes)}
            text, self.gone = declare(str(module), own)
            if self.gone:
                self.code = self._compiled_object
                module = self._shared_module = binding.parse_assembly(text)
        return module

    def serialize_using_object_code(self) -> Any:
        name, kind, (code, bitcode) = super().serialize_using_object_code()
        return name, kind, (code, bitcode, self.gone, self.needs)

    @classmethod
    def _unserialize(cls, codegen: Any, state: Any) -> Any:
        name, kind, (code, bitcode, gone, needs) = state
        for symbol, needed in needs.items():
            _load(codegen, symbol, needed)
        library = super()._unserialize(codegen, (name, kind, (code, bitcode)))
        library.gone, library.needs, library.code = gone, needs, code
        for symbol in gone:
            _loaded.setdefault(symbol, library)
        return library


def _load(codegen: Any, symbol: str, code: bytes) -> None:
    """Make a symbol known to the linker, unless it is."""
    if symbol not in _loaded:
        library = codegen.create_library(symbol)
        library.enable_object_caching()
        library._set_compiled_object(code)
        library._finalize_final_module()
        _loaded[symbol] = library


def link_long_kernels() -> None:
    """From now on, compiled functions are linked as said above."""
    JITCPUCodegen._library_class = KernelLibrary
