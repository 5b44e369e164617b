"""How long a learned policy takes to decide on 1,000 workloads, once the observation is there."""

from __future__ import annotations

import time

import numpy as np

from policies.bundle import bundle_from
from policies.manifest import ActionRange, render_manifest
from policies.network import Network
from tests.policies import bundles

FEATURES, ACTIONS, ROWS = 64, 5, 1000


def act_ms(units: int, repeats: int = 100) -> float:
    """Median milliseconds of `Network.act` on 1,000 rows: two hidden layers of `units`, one thread."""
    data = bundles.layers((FEATURES, units, units, ACTIONS)).SerializeToString()
    actions = [ActionRange(name=f"a{i}") for i in range(ACTIONS)]
    made = bundles.manifest(data, bundles.features(FEATURES), action=actions)
    network = Network(bundle_from(render_manifest(made), data, "bench"))
    seen = np.random.default_rng(0).normal(0.0, 1.0, (ROWS, FEATURES)).astype(np.float32)
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        network.act(seen)
        spent.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(spent))
