"""No mutated input ends in anything but a scenario, a stack, a load, a price book, or an InputError."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.campaign import run
from tests.fuzz.targets import targets

INPUTS = 20_000


@pytest.mark.slow
def test_twenty_thousand_mutated_inputs_raise_nothing_but_input_errors() -> None:
    result = run(INPUTS, seed=1)
    assert result.broken == []
    assert result.total >= INPUTS - len(targets())
    assert all(result.read.get(target.name, 0) > 0 for target in targets()), "some inputs get all the way"


def test_equal_seeds_make_equal_inputs() -> None:
    for target in targets():
        once, again = (target.mutate(7, random.Random("0/x/7")) for _ in range(2))
        assert once == again
