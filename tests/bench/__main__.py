"""`make bench`: measure the performance table on this machine. Timing is never a test."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from envs.demand import Demand
from envs.rollout import case_of, rollout
from envs.scenario import Scenario
from envs.scenario_file import load_scenario
from envs.sim.cluster_sim import ClusterSim
from envs.stack_file import load_stack
from tests.bench.cpu import children_s


@dataclass(frozen=True)
class Row:
    """One line of the table. ok: value is on the right side of target (None: nothing to hold it to)."""

    name: str
    value: float
    unit: str
    target: str
    ok: bool | None


def simulator(scenario: Scenario, clusters: int = 1) -> tuple[ClusterSim, Demand]:
    """Warmed-up clusters, seeds 1, 2, ..."""
    stack = load_stack("hpa-default")
    seeds = list(range(1, clusters + 1))
    demand = Demand.pack([scenario] * clusters, seeds)
    sim = ClusterSim([case_of(scenario, stack, seed, demand) for seed in seeds])
    sim.run(demand.arrivals(-sim.warmup_ticks, sim.warmup_ticks), threads=os.cpu_count() or 1)
    return sim, demand


def ticks_per_second(scenario: Scenario, ticks: int, *, clusters: int = 1, threads: int = 1) -> float:
    """Cluster ticks per second of wall time; arrivals are made beforehand. Best of three stretches."""
    sim, demand = simulator(scenario, clusters)
    best = 0.0
    for _ in range(3):
        arrivals = demand.arrivals(sim.tick, ticks)
        began = time.perf_counter()
        sim.run(arrivals, threads=threads)
        best = max(best, clusters * ticks / (time.perf_counter() - began))
    return best


def one_cluster() -> list[Row]:
    """A cluster of 500 workloads with steady load: scheduling, nodes, HPA, Cluster Autoscaler on."""
    scenario = load_scenario("company")
    rate = ticks_per_second(scenario, 400) * len(scenario.cluster.workloads)
    return [Row("one cluster, one core", rate, "workload-ticks/s", ">= 1,000,000", rate >= 1e6)]


def small(workloads: int) -> Scenario:
    """A cluster of 10 workloads and 4 pools, cut from the web shop."""
    shop = load_scenario("webshop")
    pools = tuple(
        replace(p, name=f"{p.name}-{i}", max_nodes=12, initial_nodes=3, instance_types=p.instance_types[:1])
        for i in range(2)
        for p in shop.cluster.node_pools
    )
    picked = tuple(replace(w, node_selector=(), tolerations=()) for w in shop.cluster.workloads[:workloads])
    pools = tuple(replace(p, taints=()) for p in pools)
    cluster = replace(shop.cluster, workloads=picked, node_pools=pools)
    return replace(shop, cluster=cluster, demand=shop.demand[:workloads], warmup_s=900.0)


def batch() -> list[Row]:
    """1,024 clusters of 10 workloads x 4 pools in one process on all cores."""
    rate = ticks_per_second(small(10), 64, clusters=1024, threads=os.cpu_count() or 1)
    return [Row("batch of 1,024 clusters x 10 workloads", rate, "cluster ticks/s", ">= 200,000", rate >= 2e5)]


def service() -> list[Row]:
    """Processor time of one service tick, calm (what nearly all are) and in overload."""
    from tests.bench.service import nanoseconds

    calm, over = nanoseconds(0.5, 0.85), nanoseconds(1.05, 1.5)
    return [
        Row("one service tick, utilisation 0.5-0.85", calm, "ns", "<= 250", calm <= 250),
        Row("one service tick, utilisation 1.05-1.5", over, "ns", "stated", None),
    ]


def month() -> list[Row]:
    """30 days x 500 workloads x 1,000 nodes, one stack, in a process of its own (for its memory)."""
    code = (
        "import resource, time; from tests.bench.__main__ import run_month; t = run_month(); "
        "print(t, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    seconds, gib = float(out[-2]), float(out[-1])
    return [
        Row("30 days x 500 workloads x 1,000 nodes", seconds, "s", "<= 100", seconds <= 100),
        Row("its memory", gib, "GiB", "<= 2", gib <= 2),
    ]


def run_month(stack: str = "hpa-default") -> float:
    """Wall seconds of the frozen 30-day scenario."""
    began = time.perf_counter()
    rollout(load_scenario("bench"), load_stack(stack), 1)
    return time.perf_counter() - began


def month_karpenter() -> list[Row]:
    """The same month with Karpenter in place of the Cluster Autoscaler."""
    code = "from tests.bench.__main__ import run_month; print(run_month('karpenter'))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    seconds = float(out[-1])
    return [Row("30 days x 500 workloads, Karpenter", seconds, "s", "<= 90", seconds <= 90)]


def consolidation() -> list[Row]:
    """One disruption loop over 5,000 nodes with pods on all of them: survey, multi-node, every single node."""
    seconds, nodes = run_consolidation()
    return [Row(f"consolidation pass over {nodes:,} nodes", 1000 * seconds, "ms", "<= 1,000", seconds <= 1)]


def run_consolidation(nodes: int = 5000) -> tuple[float, int]:
    """Wall seconds of a pass that looks at every node and finds nothing to move (the slowest one), best of three."""
    from tests.bench.consolidation import full_cluster, one_pass

    sim = full_cluster(nodes)
    if one_pass(sim.view) != nodes:
        raise RuntimeError("not every node is a candidate that has to stay")
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        one_pass(sim.view)
        best = min(best, time.perf_counter() - began)
    return best, int((sim.arrays.nodes.group[0] >= 0).sum())


def scaled(scenario: Scenario, factor: int) -> Scenario:
    """The same cluster `factor` times over: workloads, load and node maxima."""
    many = tuple(replace(w, name=f"{w.name}-{i}") for i in range(factor) for w in scenario.cluster.workloads)
    pools = tuple(
        replace(p, max_nodes=p.max_nodes * factor, initial_nodes=p.initial_nodes * factor)
        for p in scenario.cluster.node_pools
    )
    cluster = replace(scenario.cluster, workloads=many, node_pools=pools)
    return replace(scenario, cluster=cluster, demand=scenario.demand * factor, warmup_s=1800.0)


def growth() -> list[Row]:
    """Time per workload-tick at 50, 500 and 5,000 workloads, nodes in proportion."""
    big = replace(load_scenario("company"), warmup_s=1800.0)
    tenth = replace(big, cluster=replace(big.cluster, workloads=big.cluster.workloads[::10]), demand=big.demand[::10])
    cost = [
        1e9 / (ticks_per_second(s, n) * len(s.cluster.workloads))
        for s, n in ((tenth, 1000), (big, 300), (scaled(big, 10), 60))
    ]
    ratio = cost[2] / cost[1]
    return [
        Row("time per workload-tick, 50 workloads", cost[0], "ns", "stated", None),
        Row("time per workload-tick, 500 workloads", cost[1], "ns", "stated", None),
        Row("time per workload-tick, 5,000 workloads", cost[2], "ns", "stated", None),
        Row("growth 500 -> 5,000", ratio, "x", "<= 1.5", ratio <= 1.5),
    ]


def replay() -> list[Row]:
    """A tenth of the whole through all of its days; the hour of 1,000 workloads as it is."""
    from tests.bench import replay as part

    wall, cpu, tick_ns = part.tenth_of_all()
    hour, hour_cpu = part.hour_of_1000()
    whole, cores = wall * 10 / 60.0, os.cpu_count() or 1
    return [
        Row("replay, a row-tick", tick_ns, "CPU ns", "<= 700", tick_ns <= 700),
        Row("replay, 76 x 3 x 500 workloads x 14 days", whole, "min", "<= 20", whole <= 20),
        Row("by CPU time over all cores", cpu * 10 / 60.0 / cores, "min", "stated", None),
        Row("replay, one hour of 1,000 workloads", hour, "s", "<= 30", hour <= 30),
        Row("by CPU time over all cores", hour_cpu / cores, "s", "stated", None),
    ]


def command(name: str, arguments: list[str], target_s: float) -> Row:
    """Wall seconds of a command line, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "optimizer.cli", *arguments], capture_output=True, check=True)
        best = min(best, time.perf_counter() - began)
    return Row(name, best, "s", f"<= {target_s:g}", best <= target_s)


def commands() -> list[Row]:
    """What a user waits for."""
    return [command("trimtab --help", ["--help"], 0.4)]


def demo() -> list[Row]:
    """`make demo` after set-up."""
    began = time.perf_counter()
    subprocess.run(["make", "demo"], capture_output=True, check=True)
    seconds = time.perf_counter() - began
    return [Row("make demo after set-up", seconds, "s", "<= 60", seconds <= 60)]


def tune() -> list[Row]:
    """Trials of a stack on the web shop (12 services, 14 days) that 10 minutes on all cores are enough for."""
    from envs.suite import load_suite
    from optimizer.tune import ROUND, Search
    from optimizer.tune import tune as run
    from optimizer.tune_trials import Workers

    search = Search(load_stack("hpa-default"), load_suite("webshop"), trials=2 * ROUND)
    with Workers(None, lambda _: None) as workers:
        run(replace(search, trials=ROUND), workers, [], lambda _: None)  # processes started, kernels loaded
        began, before = time.perf_counter(), children_s()
        run(search, workers, [], lambda _: None)
        seconds, cpu = time.perf_counter() - began, children_s() - before
    trials = 600.0 * search.trials / seconds
    return [
        Row("tune: trials of 12 services x 14 days", trials, "in 10 min", ">= 200", trials >= 200),
        Row("one of them", cpu / search.trials, "CPU-s", "stated", None),
    ]


def bound() -> list[Row]:
    """The lower bound on cost of the frozen month: tables, prices, one service level."""
    from optimizer.bound import clairvoyant_of

    scenario = load_scenario("bench")
    clairvoyant_of(load_scenario("toy"), 0, 0.01)  # compiled
    began = time.perf_counter()
    clairvoyant_of(scenario, scenario.seed, None)
    seconds = time.perf_counter() - began
    return [Row("lower bound, 30 days x 500 workloads", seconds, "s", "<= 120", seconds <= 120)]


def network() -> list[Row]:
    from tests.bench.network import act_ms

    values = {units: act_ms(units) for units in (64, 256)}
    return [Row(f"learned policy, 1,000 rows, 2 x {n} units", ms, "ms", "<= 5", ms <= 5) for n, ms in values.items()]


def learning() -> list[Row]:
    from tests.bench import learning as part

    cores = os.cpu_count() or 1
    rows, steps, ppo = part.vector_rows_per_s(cores), part.gym_steps_per_s(), part.ppo_rows_per_s(cores)
    decision = part.decision_ms()
    return [
        Row("vector environment, the whole world, one process", rows, "workload rows/s", ">= 200,000", rows >= 2e5),
        Row("Trimtab/Autoscaling-v0 alone", steps, "steps/s", ">= 1,500", steps >= 1500),
        Row("Stable-Baselines3 PPO with the base beside it", ppo, "rows/s", ">= 30,000", ppo >= 3e4),
        Row("one decision of 1,000 workloads, p99", decision, "ms", "<= 50", decision <= 50),
    ]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "help": commands,
    "one": one_cluster,
    "batch": batch,
    "service": service,
    "growth": growth,
    "month": month,
    "month-karpenter": month_karpenter,
    "consolidation": consolidation,
    "replay": replay,
    "tune": tune,
    "bound": bound,
    "network": network,
    "learning": learning,
    "demo": demo,
}


def machine() -> str:
    """CPU model, cores, Python: what a figure means nothing without."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.processor())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}"


def verdict(row: Row) -> str:
    """Last column of the table."""
    return "" if row.ok is None else ("ok" if row.ok else "MISSED")


def main() -> None:
    """Run the parts, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--out", type=Path, help="write a JSON list of {name, value, unit, target, ok}")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    print(machine())
    rows: list[Row] = []
    for part in options.parts.split(","):
        for row in PARTS[part]():
            rows.append(row)
            print(f"{row.name:44s} {row.value:14,.2f} {row.unit:18s} {row.target:14s} {verdict(row)}", flush=True)
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if options.out:
        options.out.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
