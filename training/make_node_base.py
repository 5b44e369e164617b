"""Make the table of how long Karpenter should leave a quiet node: what each consolidateAfter costs, by violation price.

    python -m training.make_node_base --load DIR --out envs/data/nodes/consolidate_after.json

Random clusters, each on stretches of one recorded series, on Karpenter's pools as a learned stack narrows them. Each
runs at every price and every consolidateAfter at once, on the same load and delays, its services under a bundle's
network. For each price: log of a setting's loss over the best setting's loss in the same cluster, averaged over a
quarter of the clusters, by how rough the load of the day before was, with its standard error. Chosen: of all tables of
waits that fall neither with the price nor with roughness, the one of least log-regret in sum.

    loss = node dollars / ideal + price x bad share

ideal: the load's own CPU seconds on the cheapest core. bad share: mean over services, weighted by those dollars.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.node_set_points import mean_known
from envs.observation import encode_rows
from envs.plain import Array
from envs.recorded_past import past_day, roughness
from envs.scenario import Scenario, TraceDemand
from envs.sim import flow as f
from envs.stack import Karpenter, Stack
from envs.stack_file import load_stack
from envs.steered import steered
from envs.workload_batch import WorkloadBatch
from envs.world_draw import DAY_S, Draw, LoadSource, draw_scenario, loads_in
from policies.network import Network
from policies.specs import load
from training.act import Act

PRICES = (30.0, 100.0, 300.0, 1000.0, 3000.0)
AFTER_S = (15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0)
SETTINGS = tuple(product(PRICES, AFTER_S))
AT_ONCE = 4  # clusters of a batch
GROUPS = 4


def fleet(loads: Sequence[LoadSource], *, clusters: int, hours: float, seed: int) -> list[Scenario]:
    """Clusters to judge settings on, of one series each, in turn; on demand only, since spot's interruptions drown the
    rest. Those with no recorded load before are left out.
    """
    rng = np.random.default_rng([seed, 31])
    draw = Draw(horizon_s=hours * 3600.0, generated=0.0, spot=0.0)
    long_enough = [s for s in loads if s.duration_s > 2 * DAY_S + draw.horizon_s]
    order = rng.permutation(len(long_enough))
    drawn = [draw_scenario(rng, [long_enough[order[c % len(order)]]], draw, f"nodes-{c}") for c in range(clusters)]
    return [s for s in drawn if rough_of(s) is not None]


def with_after(stack: Stack, after_s: float) -> Stack:
    """The stack with its pools' machine types narrowed already, at this consolidateAfter."""
    assert isinstance(stack.nodes, Karpenter)
    assert stack.learned is not None
    nodes = replace(stack.nodes, consolidate_after_s=after_s)
    return replace(stack, nodes=nodes, learned=replace(stack.learned, node_pools=False))


def losses(worlds: Sequence[Scenario], stack: Stack, act: Act, *, threads: int) -> Array:
    """(C, P, A) loss of every cluster, price and consolidateAfter."""
    width = len(worlds[0].demand)
    clusters = {(i, p): steered(s, stack, np.full(width, p))[0] for i, s in enumerate(worlds) for p in PRICES}
    made = [(replace(s, cluster=clusters[i, p]), p, a) for i, s in enumerate(worlds) for p, a in SETTINGS]
    prices = np.repeat([p for _, p, _ in made], width)
    batch = WorkloadBatch([s for s, _, _ in made], [with_after(stack, a) for _, _, a in made], prices, threads=threads)
    shape, steps = batch.shape, 0
    usd, offered, bad = np.zeros(shape[0]), np.zeros(shape), np.zeros(shape)
    while not batch.done:
        terms = batch.step(act(encode_rows(batch.signals(), batch.spec)))
        usd += batch.sim.arrays.rows.group[:, 0, f.NODE_USD].sum(axis=1)
        offered, bad = offered + terms.offered.reshape(shape), bad + terms.bad.reshape(shape)
        steps += 1
    ideal = batch.ideal_usd.reshape(shape)
    share = (ideal * bad / np.maximum(offered, 1e-9)).sum(axis=1) / ideal.sum(axis=1)
    loss = usd / (steps * ideal.sum(axis=1)) + prices[::width] * share
    return np.asarray(loss.reshape(len(worlds), len(PRICES), len(AFTER_S)))


def rough_of(scenario: Scenario) -> float | None:
    """Roughness of the day before, weighed as `envs.node_set_points` weighs it; None where nothing was recorded."""
    weight = np.array([w.cpu_request * max(w.max_replicas, 1) for w in scenario.cluster.workloads])
    return mean_known(roughness(past_day(scenario)), weight)


def table(all_losses: Array, rough: Array, files: Sequence[Path]) -> dict[str, Any]:
    """The document that ships."""
    regret, groups = np.log(all_losses / all_losses.min(axis=2, keepdims=True)), []
    for k in np.array_split(np.argsort(rough, kind="stable"), GROUPS):
        error = regret[k].std(axis=0, ddof=1) / np.sqrt(len(k))
        mean = regret[k].mean(axis=0).round(4).tolist()
        groups.append({"roughness": round(float(rough[k].mean()), 4), "clusters": len(k), "log_regret": mean})
        groups[-1]["standard_error"] = error.round(4).tolist()
    for group, chosen in zip(groups, rising(np.array([g["log_regret"] for g in groups])), strict=True):
        group["chosen_s"] = [AFTER_S[k] for k in chosen]
    return {
        "made_by": "python -m training.make_node_base",
        "files": {p.name: hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in files},
        "prices": PRICES,
        "consolidate_after_s": AFTER_S,
        "groups": groups,
    }


def rising(regret: Array) -> NDArray[np.int64]:
    """(G, P) column of each row of regret (G, P, A), falling neither along G nor along P, of the least sum."""
    G, P, A = regret.shape
    ways = np.array(list(combinations_with_replacement(range(A), P)))
    cost = regret[:, np.arange(P), ways].sum(axis=2)  # (G, ways)
    over = (ways[:, None] >= ways).all(axis=2)  # whether a way may follow another
    total, came = cost[0], []
    for g in range(1, G):
        before = np.where(over, total, np.inf)
        came.append(before.argmin(axis=1))
        total = cost[g] + before.min(axis=1)
    picked = [int(total.argmin())]
    for step in reversed(came):
        picked.append(int(step[picked[-1]]))
    return np.asarray(ways[picked[::-1]])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.make_node_base", description=__doc__)
    parser.add_argument("--load", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=Path("policies/pretrained"))
    parser.add_argument("--clusters", type=int, default=80)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.clusters < 2 * GROUPS:
        parser.error(f"--clusters {options.clusters}: at least {2 * GROUPS}, two in each group")
    loads = loads_in(options.load)
    worlds = fleet(loads, clusters=options.clusters, hours=options.hours, seed=options.seed)
    act, stack = Network(load(options.bundle)).act, load_stack("trimtab")
    found: list[Array] = []
    for k in range(0, len(worlds), AT_ONCE):
        found.append(losses(worlds[k : k + AT_ONCE], stack, act, threads=os.cpu_count() or 1))
        print(f"{min(k + AT_ONCE, len(worlds))} of {len(worlds)} clusters", flush=True)
    rough = np.array([rough_of(s) for s in worlds], np.float64)
    files = {d.path for s in worlds for d in s.demand if isinstance(d, TraceDemand)}
    document = table(np.concatenate(found), rough, sorted(files))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print_table(document)


def print_table(document: dict[str, Any]) -> None:
    """By group and price, in hundredths of log cost."""
    for group in document["groups"]:
        print(f"roughness {group['roughness']:.3f}, {group['clusters']} clusters; log-regret x 100 at", *AFTER_S, "s")
        rows = zip(PRICES, group["chosen_s"], group["log_regret"], group["standard_error"], strict=True)
        for price, chosen, mean, error in rows:
            cells = (f"{100 * m:5.1f} +- {100 * e:3.1f}" for m, e in zip(mean, error, strict=True))
            print(f"  w {price:6g}  " + "  ".join(cells) + f"   chosen {chosen:g} s", flush=True)


if __name__ == "__main__":
    main()
