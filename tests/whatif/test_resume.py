"""Interrupted runs keep whole cells, --resume goes on, and nothing is mixed or overwritten."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace

import pytest

from envs.errors import InputError
from envs.stack import HpaMetric, HpaSpec
from optimizer import whatif
from optimizer.cell_store import free_output, latest_output
from tests.whatif_fixtures import STACKS, scenario, short, simulate
from tests.whatif_fixtures import simulate as plain_simulate

CALLS: list[str] = []


def counted(scenario, stack, seed, *, days=None, sink=None):
    CALLS.append(stack.name)
    return simulate(scenario, stack, seed, days=days, sink=sink)


def interrupted(scenario, stack, seed, *, days=None, sink=None):
    """Ctrl-C in the middle of the second stack's second day."""

    def stop_on_day_two(timeline):
        if stack.name == "hpa-cpu-50" and timeline.time_s[0] > 0:
            raise KeyboardInterrupt
        sink(timeline)

    return simulate(scenario, stack, seed, days=days, sink=stop_on_day_two)


def refused(scenario, stack, seed, *, days=None, sink=None):
    raise InputError("traffic.csv", "line 3", "abc", "write a number")


def cells(out):
    return sorted(p.name for p in (out / "cells").iterdir())


def test_interrupt_leaves_finished_cells_and_no_others(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        whatif.run(scenario(), simulate=interrupted, out=out, jobs=1)
    assert [name.split("-")[1] for name in cells(out)] == ["default"]
    assert sorted(p.name for p in out.iterdir()) == ["cells"]


def test_resume_runs_only_what_is_missing_and_ends_alike(tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    with pytest.raises(KeyboardInterrupt):
        whatif.run(scenario(), simulate=interrupted, out=out, jobs=1)
    CALLS.clear()
    whatif.run(scenario(), simulate=counted, out=out, jobs=1, resume=True)
    assert CALLS == ["hpa-cpu-50", "static-peak"]
    whatif.run(scenario(), simulate=plain_simulate, out=whole, jobs=1)
    for name in ("results.csv", "results.parquet", "timeline.parquet", "timeline_nodes.parquet"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_resume_can_add_seeds_and_stacks(tmp_path):
    out = tmp_path / "out"
    whatif.run(short(), stacks=STACKS[:1], simulate=simulate, out=out, jobs=1)
    CALLS.clear()
    result = whatif.run(short(), stacks=STACKS[:2], simulate=counted, out=out, jobs=1, seeds=2, resume=True)
    assert CALLS == ["hpa-default", "hpa-cpu-50", "hpa-cpu-50"]
    assert result.table["seeds"].tolist() == [2, 2]


def test_resume_after_adding_seeds_ends_as_one_run_does(tmp_path):
    """Timelines that a former run joined are taken over row group by row group."""
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    whatif.run(short(), stacks=STACKS[:1], simulate=simulate, out=grown, jobs=1)
    assert not list(grown.glob("cells/*/timeline*"))
    whatif.run(short(), stacks=STACKS[:1], simulate=simulate, out=grown, jobs=1, seeds=2, resume=True)
    whatif.run(short(), stacks=STACKS[:1], simulate=simulate, out=whole, jobs=1, seeds=2)
    for name in ("results.parquet", "timeline.parquet", "timeline_nodes.parquet"):
        assert (grown / name).read_bytes() == (whole / name).read_bytes()


def test_a_cell_whose_timeline_is_gone_runs_again(tmp_path):
    out = tmp_path / "out"
    whatif.run(short(), stacks=STACKS[:1], simulate=simulate, out=out, jobs=1)
    (out / "timeline.parquet").unlink()
    CALLS.clear()
    whatif.run(short(), stacks=STACKS[:1], simulate=counted, out=out, jobs=1, resume=True)
    assert CALLS == ["hpa-default"]


def other_stack():
    return replace(STACKS[0], replicas=HpaSpec(metrics=(HpaMetric(target=55.0),)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scenario": replace(short(), tick_s=30.0)}, "the scenario, its traces or its prices"),
        ({"stacks": [other_stack()]}, "the stack of that name has changed"),
        ({"days": 0.5}, "another number of days"),
    ],
)
def test_resume_refuses_to_mix(tmp_path, changed, message):
    out = tmp_path / "out"
    first = {"scenario": short(), "stacks": STACKS[:1]}
    whatif.run(**first, simulate=simulate, out=out, jobs=1)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match=message):
        whatif.run(**(first | changed), simulate=simulate, out=out, jobs=1, resume=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_folder_that_is_not_empty_needs_resume_or_force(tmp_path):
    out = tmp_path / "out"
    whatif.run(short(), stacks=STACKS[:1], simulate=simulate, out=out, jobs=1)
    with pytest.raises(InputError, match="--resume"):
        whatif.run(short(), stacks=STACKS[:1], simulate=simulate, out=out, jobs=1)
    whatif.run(short(), stacks=STACKS[1:2], simulate=simulate, out=out, jobs=1, force=True)
    assert [name.split("-")[2] for name in cells(out)] == ["50"]


def test_force_never_clears_other_peoples_files(tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(InputError, match="other things"):
        whatif.run(short(), simulate=simulate, out=tmp_path, jobs=1, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


def test_out_may_not_be_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="a file of that name"):
        whatif.run(short(), simulate=simulate, out=tmp_path / "out", jobs=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_must_be_writable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="not writable"):
        whatif.run(short(), simulate=simulate, out=tmp_path / "out", jobs=1)


def test_out_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out"):
        whatif.run(short(), simulate=simulate, out=tmp_path / "file" / "out", jobs=1)


def test_a_worker_s_input_error_reaches_the_caller_whole(tmp_path):
    with pytest.raises(InputError) as caught:
        whatif.run(short(), stacks=STACKS[:2], simulate=refused, out=tmp_path / "out", jobs=2)
    assert str(caught.value) == "traffic.csv: line 3: 'abc': write a number"
    assert cells(tmp_path / "out") == []


def test_input_errors_travel_between_processes():
    error = InputError(None, "field", 3, "mend")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_default_folders_count_up_and_resume_takes_the_newest(tmp_path):
    first = free_output("web shop", tmp_path)
    assert first.name == "whatif-web-shop"
    assert latest_output("web shop", tmp_path) == first
    (first / "cells").mkdir(parents=True)
    second = free_output("web shop", tmp_path)
    assert second.name == "whatif-web-shop-2"
    assert latest_output("web shop", tmp_path) == first
