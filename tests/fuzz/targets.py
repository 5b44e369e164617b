"""What is fuzzed: each way in which a file of a user's reaches the project, with seeds to start from."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from envs.manifest_files import parse_manifests
from envs.manifests import draft_from_objects
from envs.price_file import load_book
from envs.scenario_draft import draft_from_load, draft_text
from envs.scenario_file import GALLERY, load_scenario, scenario_from_document
from envs.stack_file import STACKS, load_stack
from envs.vary import expand
from envs.yaml_reader import only_mapping, parse_yaml
from tests.fuzz.mutate import NASTY_VALUES, mutate_bytes, mutate_cells, mutate_tree

ROOT = Path(__file__).parents[1]
SEEDS = Path(__file__).parent / "seeds"
Mutate = Callable[[int, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """`mutate(i, rng)` makes an input, `load(input, folder)` reads it and may only raise InputError."""

    name: str
    share: float
    mutate: Mutate
    load: Callable[[bytes, Path], object]


def targets() -> list[Target]:
    """All of them; the shares add up to one."""
    objects = sorted((ROOT / "data" / "manifests").glob("*"))
    traces = [SEEDS / "wide.csv", SEEDS / "long.csv"]
    scenarios = [SEEDS / "scenario.yaml", GALLERY / "toy.yaml"]
    return [
        Target("scenario", 0.35, _yaml_inputs(scenarios), _load_scenario),
        Target("stack", 0.15, _yaml_inputs(sorted(STACKS.glob("*.yaml"))), _load_stack),
        Target("trace", 0.12, _csv_inputs(traces), _load_trace),
        Target("gzip", 0.02, _gzip_inputs(traces), _load_gzip),
        Target("parquet", 0.01, _parquet_inputs(), _load_parquet),
        Target("prices", 0.1, _price_inputs(), _load_prices),
        Target("manifests", 0.2, _yaml_inputs(objects), _load_manifests),
        Target("vary", 0.05, _vary_inputs(), _load_varied),
    ]


def _yaml_inputs(files: Sequence[Path]) -> Mutate:
    texts = [file.read_bytes() for file in files]
    trees: list[list[Any]] = [list(yaml.safe_load_all(text)) for text in texts]

    def make(i: int, rng: random.Random) -> bytes:
        which = rng.randrange(len(texts))
        if rng.random() < 0.6:
            return mutate_tree(trees[which], rng)
        return mutate_bytes(texts[which], texts, rng)

    return make


def _csv_inputs(files: Sequence[Path]) -> Mutate:
    texts = [file.read_bytes() for file in files]

    def make(i: int, rng: random.Random) -> bytes:
        text = rng.choice(texts)
        return mutate_cells(text, rng) if rng.random() < 0.6 else mutate_bytes(text, texts, rng)

    return make


def _gzip_inputs(files: Sequence[Path]) -> Mutate:
    texts = _csv_inputs(files)
    packed = [gzip.compress(file.read_bytes(), mtime=0) for file in files]

    def make(i: int, rng: random.Random) -> bytes:
        if i % 3 == 0:
            return gzip.compress(texts(i, rng), mtime=0)
        return mutate_bytes(rng.choice(packed), packed, rng)

    return make


def _parquet_inputs() -> Mutate:
    packed = io.BytesIO()
    times = [60.0 * i for i in range(200)]
    pq.write_table(pa.table({"time_s": times, "web": [t % 7 for t in times]}), packed)

    def make(i: int, rng: random.Random) -> bytes:
        return mutate_bytes(packed.getvalue(), [packed.getvalue()], rng)

    return make


def _price_inputs() -> Mutate:
    csv_inputs, yaml_inputs = _csv_inputs([SEEDS / "prices.csv"]), _yaml_inputs([SEEDS / "prices.yaml"])

    def make(i: int, rng: random.Random) -> bytes:
        return csv_inputs(i, rng) if i % 2 else b"#yaml\n" + yaml_inputs(i, rng)

    return make


def _vary_inputs() -> Mutate:
    texts = [line.encode() for line in (SEEDS / "vary.txt").read_text().splitlines()]

    def make(i: int, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            path = rng.choice(texts).split(b"=")[0]
            return path + b"=" + str(rng.choice(NASTY_VALUES)).encode("utf-8", "replace")
        return mutate_bytes(rng.choice(texts), texts, rng)

    return make


def _load_scenario(data: bytes, folder: Path) -> object:
    file = SEEDS / "scenario.yaml"
    return scenario_from_document(only_mapping(parse_yaml(data, file=file), file=file), file)


def _load_stack(data: bytes, folder: Path) -> object:
    return load_stack(_written(folder / "stack.yaml", data))


def _load_trace(data: bytes, folder: Path) -> object:
    return _drafted(_written(folder / "trace.csv", data), folder)


def _load_gzip(data: bytes, folder: Path) -> object:
    return _drafted(_written(folder / "trace.csv.gz", data), folder)


def _load_parquet(data: bytes, folder: Path) -> object:
    return _drafted(_written(folder / "trace.parquet", data), folder)


def _drafted(load: Path, folder: Path) -> object:
    """What `scenario init --load` does: the draft of a load that was read is a scenario."""
    out = folder / "out.yaml"
    text = draft_text(draft_from_load(load, out))
    return scenario_from_document(only_mapping(parse_yaml(text, file=out), file=out), out)


def _load_prices(data: bytes, folder: Path) -> object:
    name = "book.yaml" if data.startswith(b"#yaml") else "book.csv"
    book = load_book(_written(folder / name, data))
    return [book.types(region) for region in book.regions()[:3]]


def _load_manifests(data: bytes, folder: Path) -> object:
    draft = draft_from_objects(parse_manifests(data, "fuzz.yaml"), "fuzz")
    out = folder / "out.yaml"
    document = only_mapping(parse_yaml(draft_text(draft), file=out), file=out)
    return scenario_from_document(document, out)


def _load_varied(data: bytes, folder: Path) -> object:
    text = data.decode("utf-8", "replace")
    return [load_scenario(SEEDS / "scenario.yaml", overrides=one) for one in expand([text])[:2]]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
