"""`evaluate`: policies on load that they never saw, per source, at equal SLO, with intervals.

    result = evaluate(["hpa-tuned", "replay"], load_dir="traces", seeds=3)
    result.views["cluster"].pairs["overall"]["replay", "hpa-tuned"].equal_slo

docs/guides/evaluate.md describes the protocol and every figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from envs.errors import InputError
from envs.executor import Stopped, never
from envs.stack import ScheduleSpec, Stack, StaticReplicas
from envs.stack_file import load_stack
from optimizer.evaluate_cases import JUDGED_DAYS, KINDS, Cases, Kind
from optimizer.evaluate_grid import Plan, Progress, add_bounds, broken_bounds, run_all
from optimizer.evaluate_results import View, view_of
from optimizer.evaluate_store import RUNS, RunFile, about, claim_folder
from optimizer.evaluate_sweep import SETTINGS, sweep_of
from optimizer.evaluate_trained import seen, trained_on
from optimizer.grid import trimtab_version


@dataclass(frozen=True)
class Evaluation:
    """views: kind of case -> figures. seen: policy -> sources that it was tuned or trained on. hindsight: policies
    that use knowledge of the whole load by their nature."""

    plan: Plan
    runs: RunFile
    views: dict[Kind, View]
    pairs: tuple[tuple[str, str], ...]
    seen: dict[str, frozenset[str]]
    hindsight: frozenset[str]
    seeds: int
    version: str


def evaluate(
    policies: Sequence[str | Stack],
    *,
    load_dir: str | Path | None = None,
    suite: str | None = None,
    seeds: int = 1,
    days: float | None = None,
    services: int = 5,
    kinds: Sequence[Kind] = KINDS,
    sweep: int = SETTINGS,
    sweep_last: int | None = None,
    bound: bool = False,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
    stop: Stopped = never,
) -> Evaluation:
    """Run every policy and its frontier on every case, and compare each pair.

    policies: stack names, files or Stacks; at least one. load_dir: a folder of traces; suite: a suite's name or
    file; one of the two, both for a suite of traces. days: judged ones (default 3; of a suite its entries' own).
    services: of a cluster case. sweep: settings of each frontier, 0 for none; sweep_last: of the last policy's.
    out: folder for runs, so that `resume` can go on; None keeps nothing.

    More than one job spawns processes: a script calls this under `if __name__ == "__main__"`.
    Raises InputError on bad input (nothing is written) and KeyboardInterrupt on Ctrl-C (finished runs stay in `out`),
    also after stop() said so: then what was in work is finished first.
    """
    _check(seeds=seeds, days=days, services=services, jobs=jobs)
    stacks = _stacks(policies)
    cases = wanted_cases(load_dir, suite, seeds=seeds, days=days, services=services, kinds=kinds)
    settings = dict.fromkeys(stacks, sweep)
    if sweep_last is not None:
        settings[next(reversed(stacks))] = sweep_last
    plan = Plan(cases, {name: tuple(sweep_of(stack, settings[name])) for name, stack in stacks.items()})
    place = None if out is None else Path(out)
    if place is not None:
        claim_folder(place, resume=resume, force=force)
    runs = RunFile(
        None if place is None else place / RUNS, about(cases.fingerprint, dict(plan.policies)), resume=resume
    )
    run_all(plan, runs, jobs=jobs, progress=progress, stop=stop)
    if bound:
        add_bounds(plan, runs, progress)
        plan = replace(plan, cases=replace(cases, notes=(*cases.notes, *broken_bounds(plan, runs))))
    names = list(stacks)
    pairs = tuple((a, b) for a in names for b in names if a != b)
    views = {kind: view for kind in KINDS if (view := view_of(plan, runs, kind, pairs=pairs)) is not None}
    named = dict(zip(stacks, policies, strict=True))
    return Evaluation(
        plan=plan,
        runs=runs,
        views=views,
        pairs=pairs,
        seen={p: seen(trained_on(n) if isinstance(n, str) else frozenset(), cases) for p, n in named.items()},
        hindsight=frozenset(name for name, stack in stacks.items() if uses_hindsight(stack)),
        seeds=seeds,
        version=trimtab_version(),
    )


def uses_hindsight(stack: Stack) -> bool:
    """Whether the stack's own definition looks at the whole load: fixed replicas, and schedules sized by a quantile."""
    scalers = (stack.replicas, *(scaler for _, scaler in stack.per_workload))
    return any(
        isinstance(s, StaticReplicas)
        or (isinstance(s, ScheduleSpec) and any(w.load_quantile is not None for w in s.windows))
        for s in scalers
    ) or stack.description.startswith("NOT ATTAINABLE")


def wanted_cases(
    load_dir: str | Path | None, suite: str | None, *, seeds: int, days: float | None, services: int,
    kinds: Sequence[Kind] = KINDS,
) -> Cases:  # fmt: skip
    """The cases of a folder, of a suite, or of a suite of traces that lie in a folder."""
    from optimizer.evaluate_cases import cases_of_suite, cases_of_traces
    from optimizer.evaluate_suites import is_trace_suite, load_trace_suite, traces_of
    from optimizer.evaluate_traces import read_folder

    of_traces = suite is not None and is_trace_suite(suite)
    if load_dir is None:
        if suite is None:
            raise InputError(None, "--suite", None, "say what to evaluate on: --suite NAME or --load-dir DIR")
        if of_traces:
            raise InputError(None, "--load-dir", None, f"{suite} is a suite of traces: say in which folder they lie")
        from envs.suite import load_suite

        return cases_of_suite(load_suite(suite), seeds=seeds, days=days)
    if suite is not None and not of_traces:
        raise InputError(None, "--suite", suite, "holds scenarios, no traces: leave out --load-dir, or the suite")
    folder = Path(load_dir)
    traces, notes = traces_of(load_trace_suite(suite), folder) if suite is not None else read_folder(folder)
    cases = cases_of_traces(
        suite or folder.name or "load", traces, seeds=seeds, days=days or JUDGED_DAYS, services=services, kinds=kinds,
        notes=notes,
    )  # fmt: skip
    if not cases.cases:
        raise InputError(folder, "--load-dir", str(folder), "no trace can be judged: " + "; ".join(cases.notes))
    return cases


def _stacks(policies: Sequence[str | Stack]) -> dict[str, Stack]:
    if not policies:
        raise InputError(None, "--policies", None, "name at least one stack, such as hpa-default,hpa-tuned")
    stacks: dict[str, Stack] = {}
    for given in policies:
        stack = given if isinstance(given, Stack) else load_stack(given)
        if stack.name in stacks:
            raise InputError(None, "--policies", stack.name, "is given twice; name each policy once")
        stacks[stack.name] = stack
    return stacks


def _check(*, seeds: int, days: float | None, services: int, jobs: int | None) -> None:
    if seeds < 1 or seeds > 1000:
        raise InputError(None, "--seeds", seeds, "give 1 to 1000")
    if days is not None and not 0.05 <= days <= 400:
        raise InputError(None, "--days", days, "give 0.05 to 400 judged days")
    if not 1 <= services <= 200:
        raise InputError(None, "--services", services, "give 1 to 200 services of a cluster")
    if jobs is not None and jobs < 1:
        raise InputError(None, "--jobs", jobs, "give at least 1, or leave it out for every core")
