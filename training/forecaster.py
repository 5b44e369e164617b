"""Fit a quantile forecaster by pinball loss, and hold it against what costs nothing: the last value, and yesterday.

    pinball(q) = mean of max(q e, (q - 1) e), e = what came - what was said         (Koenker and Bassett 1978)

A naive forecast is a point; its quantiles are the point plus the quantiles of its own errors on the training samples,
lead by lead, which is more than most people give it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from policies.forecast import INPUTS, KINDS, QUANTILES, SEEN
from policies.manifest import Table
from training.forecast_data import Samples
from training.validation import Interval, interval

BATCH, RATE, EPOCHS, PATIENCE = 1024, 2e-3, 40, 6
HELD_BACK = 0.15  # share of training services that choose the epoch
YESTERDAY = ("day_5", "day_10", "day_20")
YESTERDAY_MIN = (0.0, 5.0, 10.0, 20.0)


class QuantileNet(nn.Module):
    """(n, len(INPUTS)) -> (n, len(QUANTILES)), rising: each quantile is the one before and something positive."""

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        widths = [len(INPUTS), *layers]
        parts: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            parts += [nn.Linear(a, b), nn.Tanh()]
        self.trunk, self.head = nn.Sequential(*parts), nn.Linear(widths[-1], len(QUANTILES))
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.copy_(torch.tensor([0.0, *(-1.0 for _ in QUANTILES[1:])]))
        self.straight = nn.Linear(len(INPUTS), len(QUANTILES), bias=False)
        nn.init.zeros_(self.straight.weight)
        self.register_buffer("low", torch.tensor([f.low for f in INPUTS]))
        self.register_buffer("high", torch.tensor([f.high for f in INPUTS]))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        held = torch.minimum(torch.maximum(given, self.low), self.high)
        raw = self.head(self.trunk(held)) + self.straight(held)
        steps = nn.functional.elu(raw[:, 1:]) + 1.0  # positive; softplus would need operators that no bundle may use
        out = [raw[:, :1]]
        for k in range(len(QUANTILES) - 1):
            out.append(out[-1] + steps[:, k : k + 1])
        return torch.cat(out, dim=1)


def pinball(said: Any, came: Any, q: Any) -> Any:
    """Elementwise; NumPy arrays or tensors."""
    error = came - said
    return error * (q - (error < 0.0) * 1.0)


def fit_forecaster(samples: Samples, layers: Sequence[int], *, seed: int) -> QuantileNet:
    """The weights of the epoch that services held back liked best. Equal arguments give equal weights."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    net, generator = QuantileNet(layers), torch.Generator().manual_seed(seed)
    given, came = torch.as_tensor(samples.given), torch.as_tensor(samples.came)[:, None]
    services = np.unique(samples.service)
    back = np.random.default_rng([seed, 43]).permutation(services)[: max(round(HELD_BACK * len(services)), 1)]
    late = torch.as_tensor(np.isin(samples.service, back))
    q, early = torch.tensor(QUANTILES), torch.nonzero(~late)[:, 0]
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    best, kept, since = float("inf"), net.state_dict(), 0
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1.0 - 0.9 * epoch / EPOCHS)
        for rows in early[torch.randperm(len(early), generator=generator)].split(BATCH):
            optimizer.zero_grad()
            pinball(net(given[rows]), came[rows], q).mean().backward()
            optimizer.step()
        with torch.no_grad():
            now, since = float(pinball(net(given[late]), came[late], q).mean()), since + 1
        if now < best:
            best, kept, since = now, copy.deepcopy(net.state_dict()), 0
        if since >= PATIENCE:
            break
    net.load_state_dict(kept)
    return net


def said_by(net: nn.Module, samples: Samples) -> NDArray[np.float64]:
    """(n, Q)"""
    with torch.no_grad():
        return np.asarray(net(torch.as_tensor(samples.given)).numpy(), np.float64)


def last_value(samples: Samples) -> NDArray[np.float64]:
    """(n,) no change."""
    return np.zeros(len(samples.came))


def yesterday(samples: Samples) -> NDArray[np.float64]:
    """(n,) the change of yesterday's same minutes over the lead; no change where yesterday is unknown."""
    at = [SEEN.index(name) for name in YESTERDAY]
    nodes = np.concatenate([np.zeros((len(samples.given), 1)), samples.given[:, at]], axis=1)
    minutes = 2.0 ** samples.given[:, -1].astype(np.float64)
    i = np.clip(np.searchsorted(YESTERDAY_MIN, minutes, side="right") - 1, 0, len(YESTERDAY_MIN) - 2)
    left, right = (np.array(YESTERDAY_MIN)[i + k] for k in (0, 1))
    part, n = (minutes - left) / (right - left), np.arange(len(i))
    return np.asarray(nodes[n, i] * (1.0 - part) + nodes[n, i + 1] * part)


NAIVE = {"last value": last_value, "yesterday": yesterday}


def with_errors(point: Any, train: Samples, test: Samples) -> NDArray[np.float64]:
    """(n, Q) a naive point on `test`, with the quantiles of its errors on `train`, for each kind of lead."""
    error, out = train.came - point(train), np.empty((len(test.came), len(QUANTILES)))
    said = point(test)
    for kind in range(len(KINDS)):
        shift = np.quantile(error[train.kind == kind], QUANTILES)
        out[test.kind == kind] = said[test.kind == kind, None] + shift
    return out


@dataclass(frozen=True)
class Forecasts:
    """Pinball losses on held-out series. table: a line a lead and quantile, with every forecast and coverage; against:
    log ratio of the mean loss to the better naive forecast's, with its interval over services."""

    table: Table
    loss: float
    naive: str
    against: Interval

    @property
    def better(self) -> bool:
        return self.against[2] < 0.0


def judge_forecaster(net: nn.Module, train: Samples, test: Samples, *, seed: int, tried: int = 1) -> Forecasts:
    """The forecaster and the naive forecasts on series that neither saw."""
    said = {"network": said_by(net, test)} | {n: with_errors(point, train, test) for n, point in NAIVE.items()}
    losses = {name: pinball(x, test.came[:, None], np.array(QUANTILES)) for name, x in said.items()}
    rows: list[list[str | float | int | bool | None]] = []
    for kind, word in enumerate(KINDS):
        at = test.kind == kind
        for k, q in enumerate(QUANTILES):
            covered = float((test.came[at] <= said["network"][at, k]).mean())
            rows.append([word, q, *(round(float(losses[n][at, k].mean()), 5) for n in said), round(covered, 4)])
    heads = ["lead", "quantile", *said, "covered"]
    best = min(NAIVE, key=lambda name: float(losses[name].mean()))
    mine, other = (_by_service(losses[name], test) for name in ("network", best))
    rng = np.random.default_rng([seed, 47])
    ratio = interval(np.log(mine / other), np.arange(len(mine)), rng, error=0.05 / tried)
    title = "pinball loss of log2(load then / load now) on held-out series; covered: share below the network's quantile"
    return Forecasts(Table(title=title, columns=heads, rows=rows), float(losses["network"].mean()), best, ratio)


def _by_service(loss: NDArray[Any], samples: Samples) -> NDArray[np.float64]:
    each = loss.mean(axis=1)
    sums, counts = (np.bincount(samples.service, weights=w) for w in (each, np.ones(len(each))))
    return np.asarray(np.maximum(sums / counts, 1e-9))
