"""What a scenario names and does not spell out: instance types in price books, stacks by name or path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from envs.cluster import CapacityType, InstanceType
from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.price_file import load_book
from envs.price_tables import providers
from envs.prices import PriceBook
from envs.scenario_build import Place
from envs.scenario_models import InstanceTypeDoc, PricesDoc, ScenarioDoc
from envs.stack import Stack
from envs.stack_file import load_stack, stack_document, stack_from_document

_YEARS = {"1y": 1, "3y": 3}


def resolve_types(doc: ScenarioDoc, place: Place) -> dict[str, InstanceType]:
    """Every instance type that a pool names, priced: the scenario's own, then prices.file, then the book.

    Raises InputError for a type, a provider or a region that is not known or has no price.
    """
    own = _own_types(doc, place)
    books = _books(doc, place, needed=any(n not in own for pool in doc.node_pools for n in pool.instance_types))
    _check_overrides(doc.prices, own, books, place)
    types: dict[str, InstanceType] = {}
    for i, pool in enumerate(doc.node_pools):
        for j, name in enumerate(pool.instance_types):
            at = (place.file, f"node_pools[{i}].instance_types[{j}]")
            machine = own[name] if name in own else _from_books(name, doc, books, own, at)
            types[name] = _charged(machine, doc.prices)
        _check_spot(pool.bought, [types[n] for n in pool.instance_types], (place.file, f"node_pools[{i}]"))
    return types


def _check_spot(kinds: list[CapacityType], machines: list[InstanceType], at: tuple[Any, str]) -> None:
    """Some type of a pool that may buy spot has a spot price."""
    if "spot" in kinds and all(m.spot_price_usd_per_h is None for m in machines):
        mend = "none of the pool's types has a spot price here; give spot_price to types of your own, or leave spot out"
        raise InputError(at[0], f"{at[1]}.capacity_types", list(kinds), mend)


def _own_types(doc: ScenarioDoc, place: Place) -> dict[str, InstanceType]:
    types: dict[str, InstanceType] = {}
    for i, entry in enumerate(doc.instance_types):
        if entry.name in types:
            mend = "is given twice; instance types have unique names"
            raise InputError(place.file, f"instance_types[{i}].name", entry.name, mend)
        types[entry.name] = _instance_type(entry)
    return types


def _instance_type(doc: InstanceTypeDoc) -> InstanceType:
    return InstanceType(
        name=doc.name,
        vcpu=doc.vcpu,
        memory_gib=doc.memory,
        allocatable_cpu=doc.vcpu if doc.allocatable_cpu is None else doc.allocatable_cpu,
        allocatable_memory_gib=doc.memory if doc.allocatable_memory is None else doc.allocatable_memory,
        max_pods=doc.max_pods,
        price_usd_per_h=doc.price,
        gpu=doc.gpu,
        arch=doc.arch,
        spot_price_usd_per_h=doc.spot_price,
    )


def _books(doc: ScenarioDoc, place: Place, *, needed: bool) -> list[PriceBook]:
    """The books to look into, the user's own first; the region must be in one of them."""
    books: list[PriceBook] = []
    if doc.prices.file is not None:
        books.append(load_book(place.folder / doc.prices.file, provider=doc.provider))
    if doc.provider in providers():
        books.append(PriceBook.load(doc.provider))
    elif needed and not books:
        mend = did_you_mean(doc.provider, providers(), noun="provider") + " (or give prices.file)"
        raise InputError(place.file, "provider", doc.provider, mend)
    if needed:
        books[-1].check_region(doc.region, at=(place.file, "region"))
    return books


def _from_books(
    name: str,
    doc: ScenarioDoc,
    books: list[PriceBook],
    own: Mapping[str, InstanceType],
    at: tuple[Any, str],
) -> InstanceType:
    for book in books:
        if name in book.shapes:
            machine = book.instance_type(name, doc.region, at=at)
            if doc.prices.commitment == "none" or name in doc.prices.overrides:
                return machine
            price = book.commit_price(name, doc.region, years=_YEARS[doc.prices.commitment], at=at)
            return replace(machine, price_usd_per_h=price)
    known = [*own, *(shape for book in books for shape in book.shapes)]
    raise InputError(*at, name, did_you_mean(name, known, noun="instance type"))


def _check_overrides(prices: PricesDoc, own: Mapping[str, InstanceType], books: list[PriceBook], place: Place) -> None:
    known = {*own, *(name for book in books for name in book.shapes)}
    for name, price in prices.overrides.items():
        field = f"prices.overrides[{name}]"
        if name not in known:
            raise InputError(place.file, field, None, did_you_mean(name, known, noun="instance type"))
        if price > 1e6:
            raise InputError(place.file, field, price, "is too large; the most is 1e6 USD/h")


def _charged(machine: InstanceType, prices: PricesDoc) -> InstanceType:
    price = prices.overrides.get(machine.name, machine.price_usd_per_h)
    return replace(machine, price_usd_per_h=price * (1 - prices.discount))


def resolve_stacks(doc: ScenarioDoc, place: Place) -> tuple[Stack, ...]:
    """The stacks of a document: names of shipped ones, paths of files, or spelled out."""
    stacks = [_stack(entry, f"stacks[{i}]", place) for i, entry in enumerate(doc.stacks)]
    names = [stack.name for stack in stacks]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(place.file, f"stacks[{i}]", name, "is there twice; stacks have unique names")
    return tuple(stacks)


def spelled_out(stacks: Any, place: Place) -> Any:
    """The list with every name and path replaced by its document, so that --vary can reach into it."""
    if not isinstance(stacks, list):
        return stacks
    return [stack_document(entry, folder=place.folder) if isinstance(entry, str) else entry for entry in stacks]


def _stack(entry: str | dict[str, Any], field: str, place: Place) -> Stack:
    if isinstance(entry, dict):
        return stack_from_document(entry, file=place.file, where=field)
    try:
        return load_stack(entry, folder=place.folder)
    except InputError as error:
        if error.file:
            raise
        raise InputError(place.file, field, entry, error.mend) from None
