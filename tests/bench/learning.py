"""How fast the environments, PPO and one decision of a thousand workloads are."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from envs.cluster_env import AutoscalingEnv
from envs.intent import Intent
from envs.scenario_file import load_scenario
from envs.stack_file import load_stack
from envs.steered import prices_of, steered
from envs.vec_env import AutoscalingVectorEnv, DrawnRows
from envs.world_draw import Draw, shipped_loads
from policies.decide import decide, first_memory
from policies.learned import LearnedSetPoints
from policies.network import Network
from policies.specs import load

CLUSTERS, STEPS = 120, 150


def vector_rows_per_s(threads: int) -> float:
    """Rows (a service for a minute) per second: the whole world and the encoder, one process. Best of three."""
    env = AutoscalingVectorEnv(CLUSTERS, threads=threads)
    env.reset(seed=1)
    action, best = np.zeros(env.action_space.shape, np.float32), 0.0  # type: ignore[arg-type]
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(STEPS):
            env.step(action)
        best = max(best, STEPS * env.num_envs / (time.perf_counter() - began))
    return best


def gym_steps_per_s() -> float:
    """Steps of the single environment per second, in a cluster of eight services."""
    env = AutoscalingEnv()
    env.reset(seed=1)
    action = np.zeros(2, np.float32)
    env.step(action)
    began = time.perf_counter()
    for _ in range(600):
        env.step(action)
    return 600 / (time.perf_counter() - began)


def ppo_rows_per_s(threads: int, rows: int = 345_600) -> float:
    """Rows of training per second, the base beside them and the gradient steps included, as in the presets."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from training.config import load_config
    from training.ppo import learn, make_model
    from training.sb3_env import AutoscalingVecEnv

    config = load_config("quick", threads=threads)
    draw = Draw(horizon_s=config.worlds.episode, workloads=config.worlds.workloads)
    stacks = [load_stack(name) for name in config.worlds.stacks]
    core = DrawnRows(shipped_loads(), stacks, clusters=config.worlds.clusters, draw=draw, threads=threads, twin=True)
    env = AutoscalingVecEnv(core)
    model = make_model(config, env)
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        learn(model, env, rows, Path(folder), lambda seen, done: None, lambda: False)
        return rows / (time.perf_counter() - began)


def decision_ms(workloads: int = 1000, times: int = 60) -> float:
    """99th percentile of snapshot -> plan for so many workloads: encode, network, decode, guardrails."""
    from envs.sim.cluster_sim import ClusterSim
    from envs.sim.exchange import take_snapshot
    from envs.sim.pack import Case
    from optimizer.stack_bundle import bundle_path

    scenario = load_scenario("webshop")
    one = scenario.cluster.workloads
    many = tuple(replace(one[i % len(one)], name=f"w{i}") for i in range(workloads))
    scenario = replace(scenario, cluster=replace(scenario.cluster, workloads=many))
    cluster, stack = steered(scenario, load_stack("rps-target"), prices_of(scenario))
    sim = ClusterSim([Case(replace(scenario, cluster=cluster), stack, 1, np.ones(workloads))])
    snapshot = take_snapshot(sim)
    policy = LearnedSetPoints(Network(load(bundle_path("pretrained"))))
    memory, taken = first_memory(policy, cluster), []
    for i in range(times):
        began = time.perf_counter()
        decide(policy, memory, (snapshot,), cluster, Intent(), snapshot.time_s, i)
        taken.append(1e3 * (time.perf_counter() - began))
    return float(np.quantile(taken, 0.99))
