"""What docs/guides/scenario.md shows works as shown; and what the scenario commands print."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from envs.scenario_file import load_scenario
from optimizer import cli

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guides" / "scenario.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ")
    for kind, body in BLOCKS
    if kind == "console"
    for line in body.splitlines()
    if line.startswith("$ ")
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's scenarios under their names, their load, and manifests in k8s/."""
    for kind, body in BLOCKS:
        if kind == "yaml":
            name = body.split("\n", 1)[0].removeprefix("name: ")
            (tmp_path / f"{name}.yaml").write_text(body, encoding="utf-8")
    rows = "".join(f"{300 * i},{100 + i % 50}\n" for i in range(2 * 288 + 1))
    (tmp_path / "traffic.csv").write_text("time_s,front\n" + rows)
    shutil.copytree(ROOT / "tests" / "data" / "manifests", tmp_path / "k8s")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trimtab(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["trimtab", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_guides_scenarios_load(folder: Path) -> None:
    shop = load_scenario(folder / "shop.yaml")
    assert [w.name for w in shop.cluster.workloads] == ["front", "mail-1", "mail-2", "mail-3"]
    assert len(load_scenario(folder / "smallest.yaml").cluster.workloads) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_the_guides_commands_work(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    name, *arguments = shlex.split(command)
    assert name == "trimtab"
    assert trimtab(monkeypatch, *arguments) == 0


def test_the_guides_python_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = [body for kind, body in BLOCKS if kind == "python"]
    exec(compile(code, str(GUIDE), "exec"), {})  # the project's own documentation
    assert capsys.readouterr().out.count("0.8") == 2


def test_show_prints_every_workload_with_its_load(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trimtab(monkeypatch, "scenario", "show", "shop.yaml", "--vary", "traffic_scale=2") == 0
    out = capsys.readouterr().out
    for word in ("front", "mail-3", "general", "own.node", "$0.152/h", "eu-west-1", "99.9%", "2-40", "█"):
        assert word in out
    assert re.search(r"front .* 600 ", out)


def test_check_says_what_it_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        (folder / "smallest.yaml")
        .read_text()
        .replace("  - name: web\n", "  - name: web\n    slo: 99.99999%  # guess: x\n")
    )
    (folder / "tight.yaml").write_text(text)
    assert trimtab(monkeypatch, "scenario", "check", "tight.yaml") == 0
    out = capsys.readouterr().out
    assert out.startswith("OK tight.yaml: 1 workload; 1 node pool with 1 instance type; 7 days; 1 stack; ")
    assert "1 value marked # guess" in out
    assert "the SLO of 99.99999% cannot be met" in out


def test_list_names_the_gallery(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert trimtab(monkeypatch, "scenario", "list") == 0
    out = capsys.readouterr().out
    for name in ("webshop", "flash-crowd", "queues-and-batch", "storm", "company", "bench", "toy"):
        assert name in out


def test_schema_prints_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert trimtab(monkeypatch, "scenario", "schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Trimtab scenario"


def test_every_scenario_command_teaches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("list", "show", "check", "init", "schema"):
        assert trimtab(monkeypatch, "scenario", command, "--help") == 0
        assert len(capsys.readouterr().out) > 200
