"""Pydantic building blocks of the YAML edge: strict models whose fields are read by `envs.quantities`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from envs import quantities

ONE_LINE_MAX = 200


class StrictModel(BaseModel):
    """A YAML mapping: unknown keys are errors, numbers are finite, instances are frozen."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True, use_attribute_docstrings=True)


def _quantity(parse: Callable[[object], Any], examples: list[str | float]) -> tuple[Any, Any]:
    schema = {"anyOf": [{"type": "number"}, {"type": "string"}], "examples": examples}
    return BeforeValidator(parse), WithJsonSchema(schema, mode="validation")


Cpu = Annotated[float, *_quantity(quantities.parse_cpu, ["250m", "1.5", 2])]
"""Cores."""
Memory = Annotated[float, *_quantity(quantities.parse_memory, ["512Mi", "1.5Gi"])]
"""GiB."""
Duration = Annotated[float, *_quantity(quantities.parse_duration, ["90s", "5m", "1h30m"])]
"""Seconds."""
Share = Annotated[float, *_quantity(quantities.parse_share, ["70%", 0.7])]
"""0-1."""
Percent = Annotated[float, *_quantity(quantities.parse_percent, ["80%", 80])]
"""Percent."""
Rate = Annotated[float, *_quantity(quantities.parse_rate, ["120rps", 120])]
"""Requests per second."""
UsdPerHour = Annotated[float, *_quantity(quantities.parse_usd_per_h, ["$0.19/h", 0.19])]
"""US dollars per hour."""
Usd = Annotated[float, *_quantity(quantities.parse_usd, ["$250", 250])]
"""US dollars."""
Count = Annotated[int, *_quantity(quantities.parse_int, [3])]
"""A whole number from 0 to 10^9."""
