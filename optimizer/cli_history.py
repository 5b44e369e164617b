"""`trimtab tune --from-history`: for each workload, the setting that its own past asks for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from envs.errors import InputError

if TYPE_CHECKING:
    from optimizer.from_history import Replayed


def run_history(
    files: list[Path],
    scenario: str,
    *,
    stack: str = "",
    days: int = 14,
    price: float | None = None,
    calibrate: bool = True,
    top: int = 20,
    patch: str = "hpa",
    max_gap: str = "1h",
    out: Path | None = None,
    as_json: bool = False,
) -> None:
    """All of `tune --from-history`. price None: the scenario's intent says."""
    from envs.history import read_history
    from envs.quantities import parse_duration
    from envs.scenario_file import load_scenario
    from envs.stack_file import load_stack
    from optimizer.from_history import Options, replay_history
    from optimizer.history_tables import document, print_replayed
    from optimizer.progress import Bar

    if not scenario:
        raise InputError(None, "--scenario", None, "say which scenario has the workloads of this history")
    if patch not in ("hpa", "keda"):
        raise InputError(None, "--patch", patch, "use hpa or keda")
    _check_out(out)
    world = load_scenario(scenario)
    today = load_stack(stack) if stack else (world.stacks or (load_stack("hpa-default"),))[0]
    history = read_history(files, max_gap_s=parse_duration(max_gap, field="--max-gap"))
    base = price if price is not None else world.intent.violation_price
    options = Options(days=days, violation_price=base, calibrate=calibrate)
    with Bar(sys.stderr, "loading or compiling", unit="workload-days") as bar:
        result = replay_history(
            world, today, history, options, progress=lambda done, total: bar.show(done, total, "replaying")
        )
    from policies.replay_table import dump

    text = dump(document(result, scenario=world.name, files=_hashes(files)))
    if out is not None:
        _write(out, result, text, patch)
    if as_json:
        sys.stdout.write(text)
        return
    print_replayed(result, top=top)
    if out is not None:
        typer.echo(f"\nIn {out}: choices.json and {sum(o.chosen != 0 for o in result.outcomes)} patch files")


def _hashes(files: list[Path]) -> dict[str, str]:
    import hashlib

    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(out, "--out", None, "is there already and not an empty folder; choose another name")
    if not out.absolute().parent.is_dir():
        raise InputError(out, "--out", None, f"there is no folder {out.absolute().parent}; make it first")


def _write(out: Path, result: Replayed, text: str, patch: Any) -> None:
    from envs.scenario_writer import write_new
    from optimizer.hpa_patch import patch_text

    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(out, "--out", None, f"cannot be made: {error.strerror}") from None
    write_new(out / "choices.json", text)
    for outcome in result.outcomes:
        if outcome.chosen:
            made = patch_text(outcome.workload, outcome.points[outcome.chosen], flavor=patch)
            write_new(out / f"{outcome.workload.name}.{patch}.yaml", made)
