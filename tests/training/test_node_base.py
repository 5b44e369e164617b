"""How long a quiet node is kept, learnt in hindsight on clusters of the training load."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np

from envs.node_set_points import REGRET_FILE
from envs.stack_file import load_stack
from envs.world_draw import shipped_loads
from policies.network import Network
from policies.specs import load
from training import make_node_base as maker


def test_the_chosen_waits_are_the_best_of_those_that_never_fall() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        regret = rng.random((2, 2, 3))
        chosen = maker.rising(regret)
        at = np.indices((2, 2))
        every = (np.array(c).reshape(2, 2) for c in product(range(3), repeat=4))
        allowed = [c for c in every if (np.diff(c, axis=0) >= 0).all() and (np.diff(c, axis=1) >= 0).all()]
        assert regret[*at, chosen].sum() == min(regret[*at, c].sum() for c in allowed)


def test_the_shipped_table_chooses_what_its_own_regrets_ask_for() -> None:
    table = json.loads(REGRET_FILE.read_text())
    regret = np.array([g["log_regret"] for g in table["groups"]])
    waits = np.array(table["consolidate_after_s"])
    assert waits[maker.rising(regret)].tolist() == [g["chosen_s"] for g in table["groups"]]
    assert (regret >= 0).all()


def test_every_setting_of_a_cluster_is_run_to_the_same_bytes_whatever_the_threads() -> None:
    worlds = maker.fleet(shipped_loads(), clusters=2, hours=0.5, seed=1)
    act = Network(load(Path("policies/pretrained"))).act
    found = maker.losses(worlds, load_stack("trimtab"), act, threads=1)
    assert found.shape == (len(worlds), len(maker.PRICES), len(maker.AFTER_S))
    assert (found > 0).all()
    again = maker.losses(worlds, load_stack("trimtab"), act, threads=2)
    assert found.tobytes() == again.tobytes()
