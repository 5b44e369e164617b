"""Adapters for the kube-scheduler's topics (topic -> Case -> Result)."""

from __future__ import annotations

from tests.conformance.cases import Adapter

ADAPTERS: dict[str, Adapter] = {}
