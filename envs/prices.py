"""The price book: instance type, region, capacity type -> USD per hour, and what a node offers pods.

    book = PriceBook.load("aws")
    book.instance_type("m7i.xlarge", "us-east-1")   # an envs.cluster.InstanceType
    book.types("eu-west-1", min_cpu=4, arch="arm64")
    envs.price_file.load_book("our-prices.csv")     # a user's own

A price is never taken from another region. Where lists of several dates are joined, each price says
its own (`PricedType.price_list`, `PricedType.source`). docs/design/prices.md has the sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from envs.cluster import InstanceType
from envs.discounts import Discount, discount_share
from envs.errors import InputError
from envs.nearest import did_you_mean
from envs.price_tables import ANY_REGION, PriceList, PriceTable, Shape, load_packed, providers
from envs.spot import bucket_share

ARCHITECTURES = ("amd64", "arm64")
_ARCH_NAMES = {"amd64": "amd64", "x86_64": "amd64", "x86-64": "amd64", "arm64": "arm64", "aarch64": "arm64"}
At = tuple[Path | str | None, str]  # the file and field that an error names


@dataclass(frozen=True)
class PricedType:
    """One instance type in one region. `instance` carries the price after discounts."""

    instance: InstanceType
    provider: str
    region: str
    list_usd_per_h: float
    price_list: PriceList
    spot_usd_per_h: float | None = None
    commit_1y_usd_per_h: float | None = None
    commit_3y_usd_per_h: float | None = None
    interruption_per_month: str = ""  # "<5%" ... ">20%"; "" = not known
    allocatable_rule: str = "listed"  # or "given", or the rule that was applied: "eks", "gke", "aks"
    source: str = ""  # date and origin; says so where the date is not the book's own

    @property
    def usd_per_vcpu_h(self) -> float:
        return self.instance.price_usd_per_h / self.instance.vcpu


@dataclass(frozen=True)
class PriceBook:
    """All types and prices of one provider, or of a user's own file."""

    provider: str
    title: str
    headline: PriceList
    shapes: Mapping[str, Shape] = field(repr=False)
    tables: Mapping[str, PriceTable] = field(repr=False)
    interruption: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    discounts: tuple[Discount, ...] = ()

    @classmethod
    def load(cls, provider: str, *, at: At = (None, "provider")) -> PriceBook:
        """The shipped book of "aws", "azure" or "gcp". InputError for another name."""
        if provider not in providers():
            raise InputError(*at, provider, did_you_mean(provider, providers(), noun="provider"))
        packed = load_packed(provider)
        return cls(provider, packed.title, packed.headline, packed.shapes, packed.tables, packed.interruption)

    def with_discounts(self, discounts: Iterable[Discount]) -> PriceBook:
        """The same book with discounts off the on-demand list; the first that matches a type counts."""
        return replace(self, discounts=tuple(discounts))

    def regions(self) -> list[str]:
        """Regions with any on-demand price; ["*"] for an own book that names none."""
        return sorted(self.tables["on_demand"].regions)

    def check_region(self, region: str, *, at: At = (None, "region")) -> str:
        """The region, if the book has it; InputError with the nearest right ones if not."""
        known = self.tables["on_demand"].regions
        if region not in known and ANY_REGION not in known:
            raise InputError(*at, region, did_you_mean(region, known, noun=f"{self.provider} region"))
        return region

    def types(
        self,
        region: str,
        *,
        min_cpu: float = 0.0,
        max_cpu: float = float("inf"),
        min_memory_gib: float = 0.0,
        arch: str | None = None,
        gpu: int | None = None,
    ) -> list[PricedType]:
        """Types with an on-demand price in `region`, by name. CPU and memory are what is sold.

        arch: amd64 or arm64 (x86_64 and aarch64 are understood). gpu: 0 = without, n = at least n.
        """
        self.check_region(region)
        wanted_arch = normal_arch(arch) if arch is not None else None
        on_demand = self.tables["on_demand"]
        return [
            self.priced(shape.name, region)
            for shape in sorted(self.shapes.values(), key=lambda s: s.name)
            if on_demand.get(shape.name, region) is not None
            and min_cpu <= shape.vcpu <= max_cpu
            and shape.memory_gib >= min_memory_gib
            and wanted_arch in (None, shape.arch)
            and (gpu is None or (shape.gpu == 0 if gpu == 0 else shape.gpu >= gpu))
        ]

    def instance_type(self, name: str, region: str, *, at: At = (None, "instance type")) -> InstanceType:
        """Size, allocatable and on-demand price after discounts. InputError as `priced`."""
        return self.priced(name, region, at=at).instance

    def priced(self, name: str, region: str, *, at: At = (None, "instance type")) -> PricedType:
        """Everything the book knows of a type in a region.

        InputError for an unknown type or region (with the nearest right names), and for a type that
        has no price in the region (with the regions where it has one).
        """
        usd_per_h = self._price("on_demand", name, region, at=at)
        shape, listed = self.shapes[name], self.tables["on_demand"].list_of(region)
        share = discount_share(self.discounts, provider=self.provider, name=name)
        other = {kind: table.get(name, region) for kind, table in self.tables.items()}
        return PricedType(
            instance=_instance(shape, usd_per_h * (1 - share), other.get("spot"), self._bucket(name, region)),
            provider=self.provider,
            region=region,
            list_usd_per_h=usd_per_h,
            price_list=listed,
            spot_usd_per_h=other.get("spot"),
            commit_1y_usd_per_h=other.get("commit_1y"),
            commit_3y_usd_per_h=other.get("commit_3y"),
            interruption_per_month=self._bucket(name, region),
            allocatable_rule=shape.allocatable.rule,
            source=self.source_of(listed),
        )

    def _bucket(self, name: str, region: str) -> str:
        return self.interruption.get(name, {}).get(region, "")

    def spot_price(self, name: str, region: str, *, at: At = (None, "instance type")) -> float:
        """USD per hour on the spot market (an average). InputError where the book has none."""
        return self._price("spot", name, region, at=at)

    def commit_price(self, name: str, region: str, *, years: int = 1, at: At = (None, "instance type")) -> float:
        """USD per hour under a commitment of 1 or 3 years. InputError where the book has none."""
        if years not in (1, 3):
            raise InputError(at[0], "years", years, "commitments are for 1 or 3 years")
        return self._price(f"commit_{years}y", name, region, at=at)

    def price_source(self, kind: str, region: str) -> str:
        """Date and origin of the prices of one kind ("on_demand", "spot", ...) in a region."""
        return self.source_of(self.tables[kind].list_of(region))

    def source_of(self, listed: PriceList) -> str:
        """Date and origin of a list, and a remark when it is not of the book's own date."""
        text = ", ".join(part for part in (listed.date, listed.origin) if part)
        if listed.date == self.headline.date:
            return text
        return f"{text} (older than this book's newest list, {self.headline.date})"

    def _price(self, kind: str, name: str, region: str, *, at: At) -> float:
        self.check_region(region, at=(at[0], "region"))
        if name not in self.shapes:
            noun = f"{self.provider} instance type"
            raise InputError(*at, name, did_you_mean(name, self.shapes, noun=noun))
        table = self.tables.get(kind)
        label = kind.replace("_", "-")
        if table is None:
            raise InputError(*at, name, f"this book has no {label} prices; give one of your own that has")
        price = table.get(name, region)
        if price is None:
            raise InputError(*at, name, _no_price(label, region, table.regions_of(name)))
        return price


def normal_arch(arch: str, *, at: At = (None, "arch")) -> str:
    """amd64 or arm64 by any of their usual names; InputError for another."""
    if arch.lower() not in _ARCH_NAMES:
        raise InputError(*at, arch, did_you_mean(arch, ARCHITECTURES, noun="architecture"))
    return _ARCH_NAMES[arch.lower()]


def _instance(shape: Shape, price_usd_per_h: float, spot_usd_per_h: float | None, bucket: str) -> InstanceType:
    return InstanceType(
        name=shape.name,
        vcpu=shape.vcpu,
        memory_gib=shape.memory_gib,
        allocatable_cpu=shape.allocatable.cpu,
        allocatable_memory_gib=shape.allocatable.memory_gib,
        max_pods=shape.allocatable.max_pods,
        price_usd_per_h=price_usd_per_h,
        gpu=shape.gpu,
        arch=shape.arch,
        spot_price_usd_per_h=spot_usd_per_h,
        interrupted_per_month=bucket_share(bucket),
    )


def _no_price(label: str, region: str, others: list[str]) -> str:
    if not others:
        return f"has no {label} price in {region}, nor in any other region"
    shown = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
    return f"has no {label} price in {region}; it has one in {shown}"
