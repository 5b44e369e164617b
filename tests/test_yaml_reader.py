"""The YAML edge: plain data in, one clean error for everything else."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from envs.errors import InputError
from envs.schema_errors import describe_validation_error, field_path, validate
from envs.schema_types import Count, Cpu, Duration, StrictModel
from envs.yaml_reader import MAX_DEPTH, parse_yaml, read_yaml, read_yaml_documents


def only(text: str | bytes) -> object:
    (document,) = parse_yaml(text, file="f.yaml")
    return document.data


def refused(text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, file="f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml: ")
    assert "\n" not in message
    return message


def test_scalars_follow_the_core_schema() -> None:
    text = "{a: 1, b: 1.5, c: true, d: no, e: '1', f: 1:30, g: 2026-01-05, h: 010, i: 1e3, j: null, k: .inf}"
    assert only(text) == {
        **{"a": 1, "b": 1.5, "c": True, "d": "no", "e": "1", "f": "1:30", "g": "2026-01-05", "h": 10},
        **{"i": 1000.0, "j": None, "k": math.inf},
    }
    assert only("a: 1e400") == {"a": "1e400"}
    assert only("{1: a, true: b, null: c}") == {"1": "a", "true": "b", "null": "c"}
    assert only("a: |\n  x\n  y\n") == {"a": "x\ny\n"}
    assert only("\ufeffa: 1".encode()) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object/apply:os.system [ls]", "line 1.*tags are not allowed"),
        ("a: 1\nb: !foo x", "line 2.*tags"),
        ("a: !!str 1", "tags"),
        ("a: &x [1]\nb: *x", "line 1.*anchors are not allowed"),
        ("a: *x", "aliases are not allowed"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a': this key is given twice"),
        ("a: {b: 1, b: 2}", "given twice"),
        ("[" * (MAX_DEPTH + 1), "deeper than"),
        ("a:\n- b: {c: [1, 2\nd: 1", "is not valid YAML"),
        ("a:\n\t- b", "is not valid YAML.*indent with spaces"),
        ("? [a]\n: b", "key must be plain text"),
        ("a: " + "9" * 5000, "over 60 digits"),
        (b"\x1f\x8b\x08\x00\xff\xfe", "byte 1: is not UTF-8"),
        ("a: \0", "NUL"),
        ("a: \x07", "is not valid YAML"),
        (b"a: \xed\xa0\x80", "not UTF-8"),
    ],
)
def test_what_is_refused_says_where_and_why(text: str | bytes, said: str) -> None:
    assert re.search(said, refused(text))


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}]\n" for i in range(20))
    assert "anchors" in refused(bomb)


def test_lines_and_documents() -> None:
    text = "---\nkind: A\nspec:\n  x: [1, 2]\n---\n---\nkind: B\n"
    first, second = parse_yaml(text)
    assert first.data == {"kind": "A", "spec": {"x": [1, 2]}}
    assert first.line_of(("spec", "x")) == 4
    assert first.line_of(("spec", "nothing", "here")) == 3
    assert (second.data, second.line) == ({"kind": "B"}, 7)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    with big.open("wb") as stream:
        stream.truncate(10 * 2**30)
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "empty.yaml").write_text("")
    (tmp_path / "comment.yaml").write_text("# nothing\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "two.yaml").write_text("a: 1\n---\nb: 1\n")
    expected = {
        **{"big.yaml": "at most 8,388,608", "none.yaml": "does not exist", ".": "not a regular file"},
        **{"pipe.yaml": "not a regular file", "empty.yaml": "is empty", "comment.yaml": "is empty"},
        **{"list.yaml": "is a list", "two.yaml": "line 3: '---': starts a second document"},
    }
    for name, said in expected.items():
        with pytest.raises(InputError, match=said):
            read_yaml(tmp_path / name)
    assert len(read_yaml_documents(tmp_path / "two.yaml")) == 2
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml("a\0b")
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml("x" * 5000)


words = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(-1e300, 1e300) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_plain_data_survives(data: object) -> None:
    assert only(json.dumps({"k": data}, ensure_ascii=False)) == {"k": data}


@given(st.binary(max_size=200) | st.text(alphabet="ab:-{}[]&*!|>?'\"\\ \n\t#%@,0129.~", max_size=60))
def test_any_bytes_give_data_or_an_input_error(source: bytes | str) -> None:
    try:
        documents = parse_yaml(source, file="f.yaml")
    except InputError as error:
        documents, said = [], str(error)
    else:
        said = ""
    assert "\n" not in said
    assert all(document.line >= 1 for document in documents)


@given(st.text(alphabet="ab:-{}[],\n 01'\"", max_size=40))
def test_what_is_read_agrees_with_the_library(text: str) -> None:
    try:
        ours = [d.data for d in parse_yaml(text)]
    except InputError:
        return
    theirs = [d for d in yaml.load_all(text, Loader=yaml.BaseLoader) if d]
    assert _texts(ours) == [d for d in theirs if d is not None] or not theirs


def _texts(data: object) -> object:
    """As the library's text-only loader would give it; numbers are compared by type only."""
    if isinstance(data, dict):
        return {key: _texts(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_texts(item) for item in data]
    return _Any(data)


class _Any:
    def __init__(self, data: object) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        if isinstance(self.data, str) or self.data is None:
            return (self.data or "") == other
        return isinstance(other, str) and float(other) == self.data

    __hash__ = None  # type: ignore[assignment]


class Inner(StrictModel):
    cpu: Cpu = 1.0
    wait: Duration = 5.0


class Left(StrictModel):
    kind: Literal["left"]
    lean: Count = 1


class Right(StrictModel):
    kind: Literal["right"]
    rest: Inner = Inner()


class Outer(StrictModel):
    name: str
    inner: tuple[Inner, ...] = ()
    side: Left | Right | None = Field(default=None, discriminator="kind")


def message(text: str, model: type[BaseModel] = Outer) -> str:
    (document,) = parse_yaml(text, file="f.yaml")
    with pytest.raises(InputError) as caught:
        validate(model, document)
    return str(caught.value)


def test_validation_errors_name_line_path_value_and_mend() -> None:
    assert message("name: x\ninner:\n- {cpu: 2Gi}").startswith(
        "f.yaml: line 3: inner[0].cpu: '2Gi': unit 'Gi' does not fit here; CPU is in cores"
    )
    assert message("name: x\ninner:\n- cpus: 2") == ('f.yaml: line 3: inner[0].cpus: unknown key; did you mean "cpu"?')
    assert message("nome: x") == 'f.yaml: line 1: nome: unknown key; did you mean "name"? (and 1 more)'
    assert message("{}") == "f.yaml: line 1: name: is missing; add it"
    assert message("name: x\nside: {kind: right, rest: {wait: -1}}").startswith(
        "f.yaml: line 2: side.rest.wait: -1: must not be negative"
    )
    assert message("name: x\nside: {kind: right, reset: {}}") == (
        'f.yaml: line 2: side.reset: unknown key; did you mean "rest"?'
    )
    assert "side.zzz: unknown key; the keys are kind, lean" in message("name: x\nside: {kind: left, zzz: 1}")
    assert "side.kind: 'up': must be 'left' or 'right'" in message("name: x\nside: {kind: up}")
    assert "name: 'dict'" in message("name: {}")


def test_validation_errors_work_without_a_document() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"name": "x", "inner": [{"wait": "soon"}]})
    error = describe_validation_error(caught.value, "f.yaml")
    assert str(error).startswith("f.yaml: inner[0].wait: 'soon': ")
    assert field_path(("a\nb", 0, "c")) == "a\\nb[0].c"
