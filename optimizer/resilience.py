"""What each fault cost a stack: bad requests and dollars beyond a run of the same stack and seed without it.

The two runs share load, seeds and everything else, so their difference is what the faults did and what the stack
made of them. It is taken from each fault's start until an hour after its end; faults that overlap share those hours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from envs.fault_draws import aftermath
from envs.scenario import Scenario
from envs.timeline import Names, Timeline
from optimizer.hours import counts_as_requests

Array = NDArray[np.float64]
Spans = list[tuple[float, float]]
ALL = "all faults"
SPOT = "spot interruptions"
COLUMNS = {
    "fault": "object",
    "kind": "object",
    "times": "int64",
    "hours": "float64",
    "requests": "float64",
    "bad": "float64",
    "bad_without": "float64",
    "usd": "float64",
    "usd_without": "float64",
}


@dataclass
class TotalFold:
    """A Sink that keeps the cluster's requests, bad requests and dollars of each row."""

    names: Names
    _parts: dict[str, list[Array]] = field(default_factory=lambda: {"time_s": [], "requests": [], "bad": [], "usd": []})

    def __call__(self, timeline: Timeline) -> None:
        counted = counts_as_requests(self.names)
        bad = timeline.bad[:, counted].sum(axis=1)
        self._parts["time_s"].append(timeline.time_s)
        self._parts["bad"].append(bad)
        self._parts["requests"].append(timeline.good[:, counted].sum(axis=1) + bad)
        self._parts["usd"].append(timeline.node_usd.sum(axis=1))

    def array(self, name: str) -> Array:
        return np.concatenate(self._parts[name])

    def total(self, name: str, spans: Spans, row_s: float) -> float:
        """Sum over the rows that any of the spans touches."""
        start = self.array("time_s")
        hit = np.zeros(start.size, np.bool_)
        for first, last in spans:
            hit |= (start + row_s > first) & (start < last)
        return float(self.array(name)[hit].sum())


def without_faults(scenario: Scenario) -> Scenario:
    """The same world in which nothing goes wrong; spot nodes are still taken back."""
    return replace(scenario, faults=())


def without_interruptions(scenario: Scenario) -> Scenario:
    """Likewise, and no spot node is ever taken back."""
    return replace(scenario, faults=(), spot=replace(scenario.spot, interruptions=False))


def buys_spot(scenario: Scenario) -> bool:
    """Whether interruptions can happen at all."""
    bought = any("spot" in pool.capacity_types for pool in scenario.cluster.node_pools)
    return bought and scenario.spot.interruptions and scenario.spot.hazard_factor > 0


def extra_runs(scenario: Scenario) -> list[Scenario]:
    """The runs that the table needs beside the scenario's own."""
    runs = [without_faults(scenario)] if scenario.faults else []
    return [*runs, without_interruptions(scenario)] if buys_spot(scenario) else runs


def resilience(
    scenario: Scenario,
    seed: int,
    whole: TotalFold,
    run: Callable[[Scenario], TotalFold],
    *,
    horizon_s: float,
    row_s: float,
) -> pd.DataFrame:
    """One row per fault, one for all of them, and one for spot interruptions; `run` makes the paired runs."""
    lines: list[dict[str, object]] = []
    calm = whole
    if scenario.faults:
        calm = run(without_faults(scenario))
        pools = {pool.name: pool.max_nodes for pool in scenario.cluster.node_pools}
        for fault in scenario.faults:
            spans, times = aftermath(fault, seed, horizon_s, pools)
            lines.append(_line(fault.name, fault.kind, times, spans, (whole, calm), row_s))
        if len(scenario.faults) > 1:
            lines.append(
                _line(ALL, "", sum(int(str(x["times"])) for x in lines), [(0.0, horizon_s)], (whole, calm), row_s)
            )
    if buys_spot(scenario):
        safe = run(without_interruptions(scenario))
        lines.append(_line(SPOT, "spot", 0, [(0.0, horizon_s)], (calm, safe), row_s))
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype(COLUMNS)


def _line(
    name: str, kind: str, times: int, spans: Spans, pair: tuple[TotalFold, TotalFold], row_s: float
) -> dict[str, object]:  # fmt: skip
    with_it, without = pair
    return {
        "fault": name,
        "kind": kind,
        "times": times,
        "hours": sum(end - start for start, end in spans) / 3600.0,
        "requests": with_it.total("requests", spans, row_s),
        "bad": with_it.total("bad", spans, row_s),
        "bad_without": without.total("bad", spans, row_s),
        "usd": with_it.total("usd", spans, row_s),
        "usd_without": without.total("usd", spans, row_s),
    }


def resilience_table(per_seed: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, with `extra_bad` and `extra_usd`: what is beyond the run without."""
    keys = ["row", "stack", "variation", "fault", "kind"]
    if per_seed.empty:
        return per_seed.drop(columns="seed").assign(extra_bad=[], extra_usd=[])
    numbers = [c for c in COLUMNS if c not in keys]
    frame = per_seed.groupby(keys, sort=False, observed=True)[numbers].mean().reset_index()
    return frame.assign(extra_bad=frame["bad"] - frame["bad_without"], extra_usd=frame["usd"] - frame["usd_without"])
