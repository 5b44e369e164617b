"""Bad input through the real command line: exit code 2, one line that says what to mend, nothing written."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optimizer import cli
from optimizer.cell_store import free_output, latest_output

GOOD = """\
name: small
days: 0.01
instance_types:
  - {name: own.node, vcpu: 8, memory: 32Gi, price: $0.40/h}
workloads:
  - name: web
    demand: {trace: load.csv, mean_rps: 50}
    service: {slots: 8, service_time: 100ms, cpu_per_request: 10ms, threshold: 1s}
    min_replicas: 2
    max_replicas: 8
node_pools:
  - {name: nodes, instance_types: [own.node], max_nodes: 9}
"""
LOAD = "time_s,web\n" + "".join(f"{60 * i},{100 + i % 7}\n" for i in range(30))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def trimtab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trimtab", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good scenario and its load."""
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "load.csv").write_text(LOAD)
    return tmp_path


def refused(run: Run, folder: Path, *arguments: object, words: tuple[str, ...]) -> None:
    """The command ends with code 2 and one line on stderr with all the words; the folder stays as it is."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code, out, err = run(*arguments)
    assert (code, out) == (2, ""), err
    assert err.startswith("trimtab: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    missing = [word for word in words if word not in err]
    assert not missing, err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_good_scenario_is_good(trimtab: Run, folder: Path) -> None:
    code, out, err = trimtab("scenario", "check", folder / "good.yaml")
    assert (code, err) == (0, "")
    assert out.startswith("OK ")
    assert out.count("\n") == 1


SCENARIO_CASES = {  # name: (text to replace, by what, words of the message)
    "misspelt key": (
        "min_replicas: 2",
        "min_replica: 2",
        ("line 9", "workloads[0].min_replica", '"min_replicas"'),
    ),
    "key of another level": ("days: 0.01", "days: 0.01\nslots: 4", ("slots", "unknown key")),
    "wrong unit of time": (
        "service_time: 100ms",
        "service_time: 100Mi",
        ("service.service_time", "100Mi", '"90s"'),
    ),
    "wrong unit of memory": ("memory: 32Gi", "memory: 32 apples", ("memory", "32 apples", '"512Mi"')),
    "memory without a unit": ("memory: 32Gi", "memory: 32", ("memory", "32 bytes", "512Mi")),
    "price by the month": ("$0.40/h", "$290/month", ("instance_types[0].price", "$290/month", "per hour")),
    "negative price": ("$0.40/h", "$-0.40/h", ("instance_types[0].price", "-0.40", "must not be negative")),
    "negative price override": (
        "days: 0.01",
        "days: 0.01\nprices: {overrides: {own.node: -1}}",
        ("prices.overrides", "own.node", "-1", "must not be negative"),
    ),
    "NaN": ("mean_rps: 50", "mean_rps: .nan", ("workloads[0].demand.mean_rps", "nan", "not a finite number")),
    "min above max": (
        "max_replicas: 8",
        "max_replicas: 1",
        ("workloads[0]", "min_replicas 2", "max_replicas 1"),
    ),
    "min nodes above max": ("max_nodes: 9", "max_nodes: 9, min_nodes: 10", ("min_nodes 10", "max_nodes 9")),
    "zero horizon": ("days: 0.01", "days: 0", ("line 2", "days: 0", "greater than 0")),
    "negative horizon": ("days: 0.01", "days: -3", ("days: -3", "greater than 0")),
    "endless horizon": ("days: 0.01", "days: 100000", ("days: 100000", "400")),
    "tick too long": ("days: 0.01", "days: 0.01\ntick: 2m", ("tick", "2m", "60")),
    "tick too short": ("days: 0.01", "days: 0.01\ntick: 1s", ("tick", "1s", "5")),
    "tick that leaves a rest": ("days: 0.01", "days: 0.01\ntick: 7s", ("tick", "'7s'", "15")),
    "a minute's horizon": ("days: 0.01", "days: 0.0005", ("days", "0.0005", "5 minutes")),
    "too many replicas": ("max_replicas: 8", "max_replicas: 9000000", ("max_replicas", "9000000", "20000")),
    "too many copies": ("name: web", "name: web-{n}\n    count: 999999", ("count", "999999", "20000")),
    "unknown stack": (
        "days: 0.01",
        "days: 0.01\nstacks: [hpa-defualt]",
        ("stacks[0]", "hpa-defualt", '"hpa-default"'),
    ),
    "unknown type": ("[own.node]", "[own.nod]", ("instance_types[0]", "own.nod", '"own.node"')),
    "unknown shipped type": ("[own.node]", "[m7i.xlrge]", ("m7i.xlrge", '"m7i.xlarge"')),
    "unknown region": (
        "[own.node], max_nodes: 9}",
        "[m7i.xlarge]}\nregion: us-est-1",
        ("region", "us-est-1", '"us-east-1"'),
    ),
    "type without a price in the region": (
        "[own.node], max_nodes: 9}",
        "[a1.xlarge]}\nregion: af-south-1",
        ("instance_types[0]", "a1.xlarge", "af-south-1", "it has one in"),
    ),
    "unknown provider": (
        "[own.node], max_nodes: 9}",
        "[m7i.xlarge]}\nprovider: awz",
        ("provider", "awz", '"aws"'),
    ),
    "fits nowhere": (
        "min_replicas: 2",
        "min_replicas: 2\n    memory_request: 64Gi",
        ("line 6", "web", "64Gi", "own.node", "lower its requests"),
    ),
    "no toleration": (
        "max_nodes: 9",
        "max_nodes: 9, taints: [{key: only, value: gpu}]",
        ("workloads[0].tolerations", "web", "add a toleration"),
    ),
    "no such label": (
        "min_replicas: 2",
        "min_replicas: 2\n    node_selector: {disk: ssd}",
        ("workloads[0].node_selector", "ssd", "labels"),
    ),
    "trace too short": ("days: 0.01", "days: 3", ("demand.trace", "load.csv", "repeat: true")),
    "no such trace": ("load.csv", "laod.csv", ("laod.csv", "load.csv")),
    "no such column": ("trace: load.csv", "trace: load.csv, column: wbe", ("load.csv", "wbe", "web")),
    "duplicate name": ("days: 0.01", "days: 0.01\nname: twice", ("line 3", "name", "twice")),
    "tag": ("name: small", "name: !!python/name:os.system small", ("line 1", "tags are not allowed")),
    "anchor": ("name: small", "name: &a small", ("line 1", "&a", "anchors are not allowed")),
    "both sources of load": ("mean_rps: 50", "generate: {}", ("workloads[0].demand", "exactly one", "trace")),
    "timeout below threshold": (
        "threshold: 1s",
        "threshold: 60s",
        ("service", "timeout 10 s", "threshold 60 s"),
    ),
    "capacity type": ("max_nodes: 9", "max_nodes: 9, capacity_type: spt", ("capacity_type", "spt", "'spot'")),
    "no such day": (
        "days: 0.01",
        'days: 0.01\nstart_utc: "2026-02-31T00:00:00Z"',
        ("start_utc", "2026-02-31"),
    ),
    "hpa of its own": (
        "min_replicas: 2",
        "min_replicas: 2\n    hpa: {kind: hpa, metrics: [{type: Resource, name: gpu}]}",
        ("workloads[0].hpa.metrics[0].name", "gpu", "cpu"),
    ),
}


@pytest.mark.parametrize("case", SCENARIO_CASES)
def test_a_bad_scenario_is_refused(trimtab: Run, folder: Path, case: str) -> None:
    old, new, words = SCENARIO_CASES[case]
    assert GOOD.count(old) == 1
    (folder / "bad.yaml").write_text(GOOD.replace(old, new))
    refused(trimtab, folder, "scenario", "check", folder / "bad.yaml", words=words)


def _bomb() -> bytes:
    lines = [b"a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 8)) for i in range(1, 12)]
    return b"\n".join(lines)


WHOLE_FILES = {  # name: (content, words)
    "empty": (b"", ("is empty",)),
    "only a comment": (b"# nothing\n", ("is empty",)),
    "binary garbage": (bytes(range(256)) * 8, ("binary",)),
    "a list": (b"- 1\n- 2\n", ("is a list", "mapping")),
    "two documents": (b"name: a\n---\nname: b\n", ("line 3", "second document")),
    "alias bomb": (_bomb(), ("line 1", "anchors are not allowed")),
    "nesting bomb": (b"a: " + b"[" * 5000, ("nested deeper",)),
    "broken YAML": (b"name: [a\nb: c\n", ("line 2", "not valid YAML")),
    "too large": (b"a: " + b"x" * (9 << 20), ("at most",)),
}


@pytest.mark.parametrize("case", WHOLE_FILES)
def test_a_file_that_is_no_scenario_is_refused(trimtab: Run, folder: Path, case: str) -> None:
    content, words = WHOLE_FILES[case]
    (folder / "bad.yaml").write_bytes(content)
    for command in (("scenario", "check"), ("scenario", "show"), ("whatif",)):
        refused(trimtab, folder, *command, folder / "bad.yaml", words=("bad.yaml", *words))


LOADS = {  # name: (content, words)
    "unsorted": ("time_s,web\n0,1\n120,2\n60,3\n180,4\n", ("line 4", "60")),
    "duplicate time": ("time_s,web\n0,1\n60,2\n60,3\n", ("line 4", "60")),
    "time that is no number": ("time_s,web\n0,1\nsoon,2\n120,3\n", ("line 3", "soon")),
    "time without a zone": ("time,web\n2026-01-05 00:00,1\n2026-01-05 00:01,2\n", ("line 2", "zone")),
    "NaN time": ("time_s,web\n0,1\nnan,2\n120,3\n", ("line 3", "nan")),
    "load that is no number": ("time_s,web\n0,1\n60,many\n120,3\n", ("line 3", "many")),
    "NaN load": ("time_s,web\n0,1\n60,nan\n120,3\n", ("line 3", "nan")),
    "infinite load": ("time_s,web\n0,1\n60,inf\n120,3\n", ("line 3", "inf")),
    "negative load": ("time_s,web\n0,1\n60,-5\n120,3\n", ("-5",)),
    "a hole too long": ("time_s,web\n0,1\n60,1\n120,1\n180,1\n90000,1\n90060,2\n", ("gap",)),
    "empty": ("", ("empty",)),
    "a header only": ("time_s,web\n", ("load.csv",)),
    "one sample": ("time_s,web\n0,1\n", ("load.csv",)),
    "a million columns": ("time_s," + ",".join(f"c{i}" for i in range(1_000_000)) + "\n", ("load.csv",)),
    "a column twice": ("time_s,web,web\n0,1,2\n60,1,2\n", ("web",)),
}


@pytest.mark.parametrize("case", LOADS)
def test_a_bad_load_is_refused(trimtab: Run, folder: Path, case: str) -> None:
    content, words = LOADS[case]
    (folder / "load.csv").write_text(content)
    refused(trimtab, folder, "scenario", "check", folder / "good.yaml", words=("load.csv", *words))
    out = ("--out", folder / "new.yaml")
    refused(trimtab, folder, "scenario", "init", "--load", folder / "load.csv", *out, words=("load.csv", *words))


def test_loads_too_large_to_read_are_refused_at_once(trimtab: Run, folder: Path) -> None:
    sparse = folder / "huge.csv"
    with sparse.open("wb") as stream:
        stream.write(LOAD.encode())
        stream.truncate(10 * 10**9)  # ten gigabytes by its size, some blocks on disk
    bomb = folder / "bomb.csv.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as stream:
        for _ in range(64):
            stream.write(b"0" * (16 << 20))
    binary = folder / "noise.csv"
    binary.write_bytes(bytes(range(256)) * 64)
    text = folder / "not.csv.gz"
    text.write_bytes(b"\x1f\x8b\x08\x00 no gzip after all")
    for file in (sparse, bomb, binary, text):
        out = ("--out", folder / "new.yaml")
        refused(trimtab, folder, "scenario", "init", "--load", file, *out, words=(file.name,))


PRICES = {
    "negative": ("type,vcpu,memory_gib,price_usd_per_h\nown,4,16,-0.2\n", ("line 2", "-0.2")),
    "no number": ("type,vcpu,memory_gib,price_usd_per_h\nown,4,16,cheap\n", ("line 2", "cheap")),
    "missing column": ("type,vcpu,memory_gib\nown,4,16\n", ("price_usd_per_h",)),
    "empty": ("", ("empty",)),
}


@pytest.mark.parametrize("case", PRICES)
def test_a_bad_price_list_is_refused(trimtab: Run, folder: Path, case: str) -> None:
    content, words = PRICES[case]
    (folder / "prices.csv").write_text(content)
    text = GOOD.replace("days: 0.01", "days: 0.01\nprices: {file: prices.csv}")
    (folder / "priced.yaml").write_text(text)
    refused(trimtab, folder, "scenario", "check", folder / "priced.yaml", words=("prices.csv", *words))


MANIFESTS = {
    "a template": ("kind: Deployment\nmetadata: {{ .Values.x }}\n", ("render it first",)),
    "no object": ("- 1\n", ("line 1", "no Kubernetes object")),
    "no kind": ("metadata: {name: a}\n", ("kind", "is missing")),
    "no containers": (
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {}}",
        ("Deployment default/a", "containers", "at least one"),
    ),
    "wrong unit": (
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: "
        "[{name: c, resources: {requests: {cpu: 3 apples}}}]}}}}",
        ("containers[0].resources.requests.cpu", "3 apples", '"250m"'),
    ),
    "nothing to run": ("{kind: Service, metadata: {name: a}}", ("no Deployment or StatefulSet",)),
    "fits nowhere": (
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: {spec: {containers: "
        "[{name: c, resources: {requests: {cpu: 9000}}}]}}}}",
        ("9000 CPU", "lower its requests"),
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_bad_manifests_are_refused(trimtab: Run, folder: Path, case: str) -> None:
    content, words = MANIFESTS[case]
    (folder / "k8s").mkdir()
    (folder / "k8s" / "a.yaml").write_text(content)
    where = ("--from-manifests", folder / "k8s", "--out", folder / "new.yaml")
    refused(trimtab, folder, "scenario", "init", *where, words=words)


VARIES = {
    "wrong path": ("workloads.web.start_dely=5s", ("start_dely", "workloads.*.start_delay")),
    "wrong top": ("trafic_scale=2", ("trafic_scale", "traffic_scale")),
    "short path": ("cpu_reqest=1", ("workloads.*.cpu_request",)),
    "wrong workload": ("workloads.wbe.slo=99%", ("wbe", '"web"')),
    "wrong value": ("workloads.web.start_delay=5 apples", ("start_delay", "5 apples", "90s")),
    "no value": ("traffic_scale", ("path=v1,v2",)),
    "negative": ("prices.overrides[own.node]=-1", ("own.node", "-1", "must not be negative")),
    "fits nowhere": ("workloads.web.cpu_request=99", ("99 CPU", "own.node")),
    "unknown type": ("node_pools.nodes.instance_types=[own.nod]", ("own.nod", '"own.node"')),
    "into a stack": ("stacks.hpa-default.replicas.metrics.0.target=-5", ("stacks", "target", "-5")),
}


@pytest.mark.parametrize("case", VARIES)
def test_a_bad_variation_is_refused(trimtab: Run, folder: Path, case: str) -> None:
    text, words = VARIES[case]
    for command in (("scenario", "check"), ("whatif",)):
        refused(trimtab, folder, *command, folder / "good.yaml", "--vary", text, words=("--vary", *words))


def test_output_that_is_there_or_cannot_be_written_is_refused(trimtab: Run, folder: Path) -> None:
    init = ("scenario", "init", "--load", folder / "load.csv", "--out")
    refused(trimtab, folder, *init, folder / "good.yaml", words=("good.yaml", "exists already", "--force"))
    refused(trimtab, folder, *init, folder / "none" / "new.yaml", words=("new.yaml", "no folder"))
    refused(trimtab, folder, *init, folder / "load.csv" / "new.yaml", words=("new.yaml", "no folder"))
    refused(trimtab, folder, *init, "/proc/new.yaml", words=("/proc/new.yaml", "cannot be written"))
    taken = folder / "taken"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    refused(trimtab, folder, "whatif", folder / "good.yaml", "--out", taken, words=("taken",))
    refused(trimtab, folder, "whatif", folder / "good.yaml", "--out", folder / "load.csv", words=("load.csv",))
    refused(trimtab, folder, "whatif", folder / "good.yaml", "--out", "/proc/results", words=("/proc/results",))


def test_what_a_whatif_cannot_run_is_refused(trimtab: Run, folder: Path) -> None:
    good = folder / "good.yaml"
    refused(
        trimtab, folder, "whatif", good, "--stacks", "hpa-defualt", words=("--stacks: 'hpa-defualt'", '"hpa-default"')
    )
    refused(trimtab, folder, "whatif", good, "--days", "0", words=("days", "0"))
    refused(trimtab, folder, "whatif", "webshp", words=("webshp", '"webshop"'))


def test_what_an_evaluation_cannot_do_is_refused_before_it_runs(trimtab: Run, folder: Path) -> None:
    ask = ("evaluate", "--policies", "hpa-default", "--suite", folder / "good.yaml")
    refused(trimtab, folder, *ask, "--json", folder, words=("--json", "is a folder"))
    refused(trimtab, folder, *ask, "--sweep", "100000", words=("--sweep", "100000", "2 to 200"))
    history = ("tune", "--from-history", folder / "load.csv", "--scenario", "webshop")
    refused(trimtab, folder, *history, words=("load.csv", "storefront", "the history is of web"))


def test_where_training_cannot_write_it_does_not_begin(trimtab: Run, folder: Path) -> None:
    pytest.importorskip("stable_baselines3", reason="training needs the extra `train`")
    for place in (folder / "load.csv", folder / "load.csv" / "run", "/proc/run"):
        ask = ("train", "--preset", "quick", "--no-track", "--out", place)
        refused(trimtab, folder, *ask, words=("--out", str(place), "give another"))
        refused(trimtab, folder, *ask, "--seeds", "2", words=("--out", str(place), "give another"))
    refused(trimtab, folder, "train", "--preset", "quik", words=("CONFIG", "no such file", '"quick"'))


def test_a_file_where_results_would_go_by_default_is_passed_over(
    trimtab: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "whatif-toy").write_text("mine")
    assert free_output("toy", Path()) == Path("whatif-toy-2")
    assert latest_output("toy", Path()) == Path("whatif-toy")
    refused(trimtab, tmp_path, "whatif", "toy", "--resume", words=("whatif-toy", "a file of that name exists"))


@pytest.mark.parametrize("command", ["whatif", "tune", "evaluate", "train", "calibrate", "policy"])
def test_help_shows_brackets_and_breaks_no_paragraph(
    trimtab: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    _, out, _ = trimtab(command, "--help")
    lines = [line.strip() for line in out.splitlines()]
    if command == "whatif":
        assert "instance_types=[m7i.xlarge],[c7i.xlarge]'" in out
        assert any(line.startswith("Runs every stack") and line.endswith("compared with.") for line in lines)
    assert not [line for line in lines if line.startswith("Example") and line.endswith((",", "and"))]


def test_the_installed_process_ends_with_code_two(folder: Path) -> None:
    (folder / "bad.yaml").write_text(GOOD.replace("slots: 8", "slotz: 8"))
    command = [sys.executable, "-m", "optimizer.cli", "scenario", "check", str(folder / "bad.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert 'did you mean "slots"?' in done.stderr
