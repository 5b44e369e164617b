"""The cache of compiled kernels: one for equal sources, wherever they lie."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import types
from numba.core.errors import NumbaError

import envs
from envs.sim import jit, linking, service, warmup

DECORATORS = {"kernel", "inner", "inlined", "allocating_kernel"}


def test_two_checkouts_of_equal_sources_share_one_cache() -> None:
    here = Path(service.__file__)
    there = Path("/another/checkout/envs/sim/service.py")
    subpath = jit.KernelCacheLocator.get_suitable_cache_subpath
    assert subpath(str(here)) == subpath(str(there)) == "sim"


def test_functions_of_others_are_not_ours_to_cache() -> None:
    assert jit.KernelCacheLocator.from_function(subject, __file__) is None


def test_one_version_serves_literals_and_narrow_whole_numbers() -> None:
    plain = jit._plain
    assert [plain(kind) for kind in (types.literal(3), types.int8, types.int32, types.int64)] == [types.int64] * 4
    assert plain(types.literal(True)) == types.boolean
    for kind in (types.uint64, types.float64, types.float64[:, ::1]):
        assert plain(kind) == kind


def test_callers_see_long_kernels_as_declarations_and_short_ones_whole() -> None:
    short = "define linkonce_odr i32 @_ZN4envs5short(ptr noalias %out, i64 %b) local_unnamed_addr #0 {\n  ret i32 0\n}"
    lines = "\n".join(f"  %v{i} = add i64 %b, {i}" for i in range(linking.LONG))
    long = f"define linkonce_odr i32 @_ZN4envs4long(ptr noalias %out, i64 %b) local_unnamed_addr #0 {{\n{lines}\n}}"
    other = long.replace("_ZN4envs", "_ZN5other")
    text, gone = linking.declare(f"; head\n{short}\n{long}\n{other}", {"_ZN4envs5short", "_ZN4envs4long"})
    assert gone == ["_ZN4envs4long"]
    declared = "declare i32 @_ZN4envs4long(ptr noalias %out, i64 %b) local_unnamed_addr #0"
    assert text == f"; head\n{short}\n{declared}\n{other}"


def test_a_cached_kernel_brings_the_long_kernels_that_it_calls() -> None:
    code = (
        "import envs.sim.warmup as w, numpy as np; s = w._toy(); s.run(np.ones((1, 40, 1))); "
        "print(s.state_bytes().hex())"
    )
    first, second = (subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(2))
    assert first.stdout == second.stdout


def test_set_up_compiles_kernels_for_the_parameters_that_they_have() -> None:
    checked = 0
    for node in ast.walk(ast.parse(Path(warmup.__file__).read_text())):
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "compile"
        if not call or any(isinstance(kind, ast.Starred) for kind in node.args[0].elts):
            continue
        function = getattr(warmup, node.func.value.id)
        parameters = inspect.signature(getattr(function, "py_func", function)).parameters
        assert len(node.args[0].elts) == len(parameters), node.func.value.id
        checked += 1
    assert checked >= 8


def test_no_kernel_counts_from_the_end_of_an_array() -> None:
    found, seen = [], 0
    for path in sorted(p for part in ("sim", "controllers") for p in (Path(envs.__file__).parent / part).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and DECORATORS & {getattr(d, "id", "") for d in node.decorator_list}:
                seen += 1
                found += [f"{path.name}: {text}" for text in indices_from_the_end(node)]
    assert found == []
    assert seen > 300


def indices_from_the_end(function: ast.FunctionDef) -> list[str]:
    out = []
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if any(isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.USub) for part in parts):
                out.append(ast.unparse(node))
    return out


def test_a_kernel_that_makes_an_array_is_refused() -> None:
    with pytest.raises(NumbaError):
        jit.kernel(maker)(3)


def maker(n: int) -> float:
    return float(np.zeros(n)[0])


def subject() -> None:
    """Any function outside the kernels."""
