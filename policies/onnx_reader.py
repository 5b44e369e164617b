"""What is inside an ONNX file, read from its bytes: enough to refuse a model before a runtime opens it.

A reader of the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) and of the few messages of
onnx.proto3 that matter, so that the `onnx` package is not needed to *run* a policy. Where a field occurs twice,
which protobuf allows, every occurrence counts: nothing can hide behind the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

FIELDS_MAX = 200_000  # of the whole file: a policy has a few hundred
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Field numbers of onnx.proto3.
MODEL_GRAPH, MODEL_OPSET, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 8, 20, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES = 22, 23
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14
OPSET_DOMAIN, OPSET_VERSION = 1, 2


@dataclass
class OnnxFacts:
    """What the model is made of. opsets: (domain, version) as imported, "" is ONNX's own domain."""

    opsets: list[tuple[str, int]] = field(default_factory=list)
    operators: set[str] = field(default_factory=set)
    domains: set[str] = field(default_factory=set)
    graphs: int = 0
    external: bool = False  # a tensor's numbers are in another file
    sparse: bool = False
    nested: bool = False  # a graph inside an operator: If, Loop, Scan
    functions: bool = False  # operators defined in the file itself
    training: bool = False


class _Budget:
    """Stops a file that was made to keep a reader busy."""

    def __init__(self) -> None:
        self.left = FIELDS_MAX

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {FIELDS_MAX:,} fields")


def read_facts(data: bytes) -> OnnxFacts:
    """Facts of a serialized ModelProto. Raises ValueError where the bytes are no protobuf message."""
    facts, budget = OnnxFacts(), _Budget()
    for number, value in _fields(memoryview(data), budget):
        if number == MODEL_GRAPH and isinstance(value, memoryview):
            facts.graphs += 1
            _graph(value, facts, budget)
        elif number == MODEL_OPSET and isinstance(value, memoryview):
            facts.opsets.append(_opset(value, budget))
        facts.functions |= number == MODEL_FUNCTIONS
        facts.training |= number == MODEL_TRAINING
    return facts


def _graph(data: memoryview, facts: OnnxFacts, budget: _Budget) -> None:
    for number, value in _fields(data, budget):
        if number == GRAPH_NODE and isinstance(value, memoryview):
            _node(value, facts, budget)
        elif number == GRAPH_INITIALIZER and isinstance(value, memoryview):
            facts.external |= _is_external(value, budget)
        facts.sparse |= number == GRAPH_SPARSE


def _node(data: memoryview, facts: OnnxFacts, budget: _Budget) -> None:
    for number, value in _fields(data, budget):
        if not isinstance(value, memoryview):
            continue
        if number == NODE_OPERATOR:
            facts.operators.add(_text(value))
        elif number == NODE_DOMAIN:
            facts.domains.add(_text(value))
        elif number == NODE_ATTRIBUTE:
            _attribute(value, facts, budget)


def _attribute(data: memoryview, facts: OnnxFacts, budget: _Budget) -> None:
    for number, value in _fields(data, budget):
        if number in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS) and isinstance(value, memoryview):
            facts.external |= _is_external(value, budget)
        facts.nested |= number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS)
        facts.sparse |= number in (ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES)


def _is_external(tensor: memoryview, budget: _Budget) -> bool:
    """Whether a TensorProto points at another file: data_location 1, or any external_data entry."""
    return any(
        number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value != 0)
        for number, value in _fields(tensor, budget)
    )


def _opset(data: memoryview, budget: _Budget) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in _fields(data, budget):
        if number == OPSET_DOMAIN and isinstance(value, memoryview):
            domain = _text(value)
        elif number == OPSET_VERSION and isinstance(value, int):
            version = value
    return domain, version


def _text(value: memoryview) -> str:
    return bytes(value[:200]).decode("utf-8", errors="replace")


def _fields(data: memoryview, budget: _Budget) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) in order; a value is a whole number or the bytes of a text, message or packed list."""
    at = 0
    while at < len(data):
        budget.spend()
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire == VARINT:
            whole, at = _varint(data, at)
            yield number, whole
            continue
        if wire == BYTES:
            size, at = _varint(data, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if size > len(data) - at:
            raise ValueError("truncated")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value, next position) of a base-128 number of at most 64 bits."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
