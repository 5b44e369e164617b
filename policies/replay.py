"""Choose each workload's set-point by what it would have cost on the workload's own past.

Axes: W workloads, C candidates, B beliefs about the capacity of a replica. Loss of a candidate = replica
dollars / ideal + price x bad share, averaged over the beliefs; ideal = the dollars of the CPU that the requests
themselves burn. Chosen is the least of

    log(past loss / best past loss) + prior_weight x mean log-regret on the training fleet.

The second term decides while the past is short, and where violations are so rare that the past has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

F8 = NDArray[np.float64]
HALF_LIFE_S = 2 * 86_400.0
PRIOR_WEIGHT = 0.2
HALVINGS_S = (2 * 86_400.0, 4 * 86_400.0, 8 * 86_400.0)


@dataclass(frozen=True, eq=False)
class Past:
    """Weighted sums of what has been replayed so far; the weight halves every half_life_s."""

    usd: F8  # (W, C, B)
    bad: F8  # (W, C, B) requests
    ideal_usd: F8  # (W,)
    offered: F8  # (W,) requests
    seconds: float = 0.0  # replayed in all, unweighted


def no_past(workloads: int, candidates: int, beliefs: int) -> Past:
    """Nothing replayed yet."""
    shape = (workloads, candidates, beliefs)
    return Past(np.zeros(shape), np.zeros(shape), np.zeros(workloads), np.zeros(workloads))


def later(past: Past, new: Past, *, half_life_s: float = HALF_LIFE_S) -> Past:
    """The past with one more stretch behind it: old sums fade by the new stretch's length."""
    fade = 0.5 ** (new.seconds / half_life_s)
    return Past(
        past.usd * fade + new.usd,
        past.bad * fade + new.bad,
        past.ideal_usd * fade + new.ideal_usd,
        past.offered * fade + new.offered,
        past.seconds + new.seconds,
    )


def losses(past: Past, price: Any) -> F8:
    """(W, C) mean over beliefs of dollars / ideal + price x bad share; NaN for workloads without load so far.

    price: (W,) or scalar, what a bad share of 1 costs, in multiples of ideal.
    """
    known: Any = (past.ideal_usd > 0) & (past.offered > 0)
    ideal = np.where(known, past.ideal_usd, np.nan)[:, None, None]
    offered = np.where(known, past.offered, np.nan)[:, None, None]
    each = past.usd / ideal + np.broadcast_to(price, ideal.shape[:1])[:, None, None] * past.bad / offered
    return np.asarray(each.mean(axis=2))


def log_regret(loss: Any, live: Any = True) -> F8:
    """(W, C) log of loss over the workload's best live candidate; 0 where there is no past, inf where not live."""
    alive = np.broadcast_to(live, loss.shape)
    known = np.isfinite(loss).any(axis=1)
    held = np.where(alive & known[:, None], loss, np.inf)
    best = held.min(axis=1)
    best = np.where(np.isfinite(best) & (best > 0), best, 1.0)
    out = np.log(np.maximum(held, 1e-12) / best[:, None])
    return np.where(alive, np.where(known[:, None], out, 0.0), np.inf)


def scores(loss: F8, prior: F8, *, live: Any = True, prior_weight: float = PRIOR_WEIGHT) -> F8:
    """(W, C) what the choice is the least of. prior: (W, C) mean log-regret on the training fleet."""
    return log_regret(loss, live) + prior_weight * prior


def choose(score: F8) -> NDArray[np.int64]:
    """(W,) the candidate with the least score; the first of equals."""
    return np.asarray(np.argmin(score, axis=1))


def halve(score: F8, live: NDArray[np.bool_], *, keep: Any = ()) -> NDArray[np.bool_]:
    """The better half of each workload's live candidates (rounded up), and those in `keep` whatever they cost."""
    out = np.zeros_like(live)
    for w in range(len(live)):
        alive = np.flatnonzero(live[w])
        order = alive[np.argsort(score[w, alive], kind="stable")]
        out[w, order[: (len(alive) + 1) // 2]] = True
        out[w, [k for k in keep if live[w, k]]] = True
    return out


def due_halvings(before_s: float, after_s: float) -> int:
    """How many of the halvings fall into (before_s, after_s] of replayed past."""
    return sum(before_s < at <= after_s for at in HALVINGS_S)


def without_belief_spread(past: Past, belief: int) -> Past:
    """The past under one belief alone; for showing what a point estimate would have chosen."""
    return replace(past, usd=past.usd[:, :, [belief]], bad=past.bad[:, :, [belief]])
