"""Fit an actor to hindsight labels.

    expected   least expected cost: the labels' cost surface at the actor's own answer, between points bilinear
    regress    squared loss on the cost of each point first; then the actor answers where that fit is least, by the
               same surface
    clone      squared loss on the point that was best in hindsight

What was best in hindsight knows the future, so `clone` averages what it should not; it is here to be beaten.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from training.labels import POINTS, SHARES, WINDOWS, Labels

BATCH, EPOCHS, RATE, DECAY = 512, 80, 1e-3, 1e-3
PATIENCE = 15  # epochs without a better held-back loss
HELD_BACK = 0.2  # share of worlds that choose the epoch
METHODS = ("expected", "regress", "clone")
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # (answer, observation, cost) -> scalar


def hats(x: torch.Tensor, nodes: tuple[float, ...]) -> torch.Tensor:
    """(n, len(nodes)) weights of linear interpolation at x, held to the ends; each row sums to 1."""
    at = torch.tensor(nodes)
    held = torch.clamp(x, nodes[0], nodes[-1])
    i = torch.clamp(torch.searchsorted(at, held.detach().contiguous(), right=True) - 1, 0, len(nodes) - 2)
    part = ((held - at[i]) / (at[i + 1] - at[i]))[:, None]
    one = nn.functional.one_hot
    return one(i, len(nodes)) * (1.0 - part) + one(i + 1, len(nodes)) * part


def surface(cost: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
    """(n,) cost at action (n, 2), from the costs of POINTS (n, K)."""
    grid = cost.reshape(-1, len(SHARES), len(WINDOWS))
    return torch.einsum("nsw,ns,nw->n", grid, hats(action[:, 0], SHARES), hats(action[:, 1], WINDOWS))


def fit(actor: Any, labels: Labels, mark: int, method: str, *, seed: int) -> float:
    """Train the actor in place on the costs up to this mark; the held-back worlds' mean cost over the base's.

    Weights are those of the epoch that the held-back worlds liked best; the actor's own first ones count as epoch 0.
    Equal labels, weights and seed give equal weights.
    """
    data = _Split(labels, mark, seed)
    if method == "regress":
        judge = nn.Sequential(copy.deepcopy(actor.trunk), nn.Linear(actor.head.in_features, len(POINTS)))
        net = _Clamped(actor, judge)
        _descend(net, data, lambda answer, _, cost: ((answer - cost) ** 2).mean(), seed)

        def loss(answer: torch.Tensor, seen: torch.Tensor, cost: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                believed = net(seen)
            return surface(believed, answer).mean()

    elif method == "clone":
        points = torch.as_tensor(POINTS, dtype=torch.float32)

        def loss(answer: torch.Tensor, seen: torch.Tensor, cost: torch.Tensor) -> torch.Tensor:
            return ((answer - points[cost.argmin(dim=1)]) ** 2).mean()

    else:

        def loss(answer: torch.Tensor, seen: torch.Tensor, cost: torch.Tensor) -> torch.Tensor:
            return surface(cost, answer).mean()

    _descend(actor, data, loss, seed, by=lambda answer, seen, cost: surface(cost, answer).mean())
    with torch.no_grad():
        return float(surface(data.late[1], actor(data.late[0])).mean())


class _Clamped(nn.Module):
    """A network of the actor's shape on what the actor sees, held to the features' ranges."""

    def __init__(self, actor: Any, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("low", actor.low.clone())
        self.register_buffer("high", actor.high.clone())

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(torch.minimum(torch.maximum(seen, self.low), self.high))
        return out


class _Split:
    """(observation, cost over the base's) of the worlds that train, `early`, and of those held back, `late`."""

    def __init__(self, labels: Labels, mark: int, seed: int) -> None:
        cost = labels.cost[:, :, mark]
        over = torch.as_tensor(cost - cost[:, [len(POINTS) // 2]])
        seen = torch.as_tensor(labels.observation)
        worlds = np.unique(labels.world)
        back = np.random.default_rng([seed, 29]).permutation(worlds)[: max(round(HELD_BACK * len(worlds)), 1)]
        held = torch.as_tensor(np.isin(labels.world, back))
        self.early, self.late = (seen[~held], over[~held]), (seen[held], over[held])


def _descend(net: nn.Module, data: _Split, loss: Loss, seed: int, *, by: Loss | None = None) -> None:
    """AdamW until the held-back worlds stop gaining, by their own loss or `by`; the best epoch's weights stay."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    judged = by or loss
    best, kept, since = _held_back(net, data, judged), copy.deepcopy(net.state_dict()), 0
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(data.early[0]), generator=generator).split(BATCH):
            seen, cost = data.early[0][rows], data.early[1][rows]
            optimizer.zero_grad()
            loss(net(seen), seen, cost).backward()
            optimizer.step()
        now, since = _held_back(net, data, judged), since + 1
        if now < best:
            best, kept, since = now, copy.deepcopy(net.state_dict()), 0
        if since >= PATIENCE:
            break
    net.load_state_dict(kept)


def _held_back(net: nn.Module, data: _Split, loss: Loss) -> float:
    with torch.no_grad():
        return float(loss(net(data.late[0]), *data.late))
