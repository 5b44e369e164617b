"""The cache of compiled kernels: one for equal sources, wherever they lie."""

from pathlib import Path

from envs.sim import jit, service


def test_two_checkouts_of_equal_sources_share_one_cache() -> None:
    here = Path(service.__file__)
    there = Path("/another/checkout/envs/sim/service.py")
    subpath = jit.KernelCacheLocator.get_suitable_cache_subpath
    assert subpath(str(here)) == subpath(str(there)) == "sim"


def test_functions_of_others_are_not_ours_to_cache() -> None:
    assert jit.KernelCacheLocator.from_function(subject, __file__) is None


def subject() -> None:
    """Any function outside the kernels."""
