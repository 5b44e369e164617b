"""The YAML shape of what Karpenter reads of a node pool: limits and disruption, as in its NodePool."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from envs.cluster import ConsolidationPolicy, DisruptionReason, NodeBudget
from envs.cron import parse_cron
from envs.errors import InputError
from envs.quantities import parse_duration
from envs.schema_types import Cpu, Duration, Memory, StrictModel

_NODES = re.compile(r"(\d{1,3}(?:\.\d+)?)%|(\d{1,9})")


def parse_duration_or_never(raw: object) -> float:
    """Seconds; infinity for Never."""
    return float("inf") if raw in ("Never", "never") else parse_duration(raw)


NEVER_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string"}], "examples": ["30s", "720h", "Never"]}
DurationOrNever = Annotated[float, PlainValidator(parse_duration_or_never), WithJsonSchema(NEVER_SCHEMA)]
"""Seconds, or Never."""


class LimitsModel(StrictModel):
    """Most that all nodes of the pool may have together; Karpenter stops adding nodes there."""

    cpu: Cpu | None = Field(default=None, ge=0, le=1e9)
    """CPU of all nodes; default no limit."""
    memory: Memory | None = Field(default=None, ge=0, le=1e9)
    """Memory of all nodes; default no limit."""


class NodeBudgetModel(StrictModel):
    """How many nodes may be disrupted at once. Of all budgets that hold now, the smallest counts."""

    nodes: int | str = "10%"
    """A number of nodes, or a percentage of the pool's nodes (rounded up)."""
    reasons: tuple[DisruptionReason, ...] = Field(default=(), max_length=3)
    """Which disruptions it limits; default all of them."""
    schedule: str | None = Field(default=None, max_length=200)
    """Cron schedule, UTC, of the times from which it holds; default always."""
    duration: Duration | None = Field(default=None, gt=0, le=366 * 86_400)
    """How long it holds from each of these times; with schedule only."""

    @model_validator(mode="after")
    def _whole(self) -> NodeBudgetModel:
        if not _NODES.fullmatch(str(self.nodes)) or self.build_nodes() < 0 or (self.share and self.build_nodes() > 1):
            raise InputError(None, "nodes", self.nodes, "must be a number of nodes, or a percentage from 0% to 100%")
        if (self.schedule is None) != (self.duration is None):
            raise InputError(None, "schedule", self.schedule, "schedule and duration are given together or not at all")
        if self.schedule is not None:
            try:
                parse_cron(self.schedule)
            except ValueError as error:
                raise InputError(None, "schedule", self.schedule, str(error)) from None
        return self

    @property
    def share(self) -> bool:
        return str(self.nodes).endswith("%")

    def build_nodes(self) -> float:
        """The count, or the share (0-1)."""
        return float(str(self.nodes).rstrip("%")) / (100.0 if self.share else 1.0)

    def build(self) -> NodeBudget:
        lasting = float("inf") if self.duration is None else self.duration
        return NodeBudget(self.build_nodes(), self.share, self.reasons, self.schedule or "", lasting)


class DisruptionModel(StrictModel):
    """spec.disruption of a NodePool; what is left out is the stack's."""

    consolidation_policy: ConsolidationPolicy | None = None
    """Which nodes are considered: empty ones, also underutilized ones, or Balanced (saving against disruption)."""
    consolidate_after: DurationOrNever | None = Field(default=None, ge=0)
    """Quiet time of a node (no pod came or went) before it is considered; Never switches consolidation off."""
    budgets: tuple[NodeBudgetModel, ...] | None = Field(default=None, max_length=50)
    """Most nodes disrupted at once."""
