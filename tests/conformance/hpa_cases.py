"""Adapter for the HPA controller in closed loop (topic hpa_closed_loop)."""

from __future__ import annotations

from tests.conformance.cases import Adapter

ADAPTERS: dict[str, Adapter] = {}
