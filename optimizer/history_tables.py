"""What `trimtab tune --from-history` says: a table for people, a document for programs."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from envs.setpoints import SetPoint
from optimizer.from_history import Outcome, Replayed
from optimizer.whatif_words import usd

MONTH_DAYS = 30.4


def target_words(point: SetPoint) -> str:
    """'cpu 60 %, 5m' or '47/s, 5m': the HPA's target and its scale-down window."""
    metric = point.spec.metrics[0]
    if metric.target_type == "Utilization":
        value = f"cpu {metric.target:.0f} %"
    elif metric.name == "cpu":
        value = f"cpu {metric.target:.3g}"
    elif metric.capacity_share is not None:
        value = f"{100 * metric.capacity_share:.0f} % rps"
    else:
        value = f"{metric.target:.3g}/s"
    minutes, seconds = divmod(int(point.window_s), 60)
    return f"{value}, {minutes}m" + (f"{seconds}s" if seconds else "")


def spread(values: Any) -> str:
    """Mean and range over days: '12.3 (9.8-14.1)'."""
    low, high = np.min(values), np.max(values)
    return f"{np.mean(values):,.2f} ({low:,.2f}-{high:,.2f})"


def ranked(result: Replayed) -> list[Outcome]:
    """Outcomes by the dollars that the change moves, largest first; equals in the scenario's order."""
    return sorted(result.outcomes, key=lambda o: -abs(o.saved_usd_per_day))


def print_replayed(result: Replayed, *, top: int, console: Console | None = None) -> None:
    """The table of the `top` workloads, totals, and what was left out."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, 140)  # a pipe or a file has no width to fit into
    table = Table(title=None, box=None, pad_edge=False, header_style="bold")
    for name in ("workload", "today", "proposed", "$/day today", "$/day proposed", "bad today", "bad proposed", "SLO"):
        table.add_column(name, justify="left" if name in ("workload", "today", "proposed") else "right")
    for outcome in ranked(result)[:top]:
        table.add_row(*_row(outcome))
    console.print(table)
    if len(result.outcomes) > top:
        console.print(f"... and {len(result.outcomes) - top} more; --top {len(result.outcomes)} shows all")
    console.print()
    for line in summary_lines(result):
        console.print(line)


def _row(o: Outcome) -> tuple[str, ...]:
    c = o.chosen
    allowed = 1.0 - o.workload.slo_target
    met = " -> ".join("met" if o.bad_share(k) <= allowed else "missed" for k in dict.fromkeys((0, c)))
    proposed = target_words(o.points[c]) if c else "keep"
    share = [f"{100 * o.bad_share(k):.3g} %" for k in (0, c)]
    return (
        o.workload.name,
        target_words(o.points[0]),
        proposed,
        spread(o.usd[:, 0]),
        spread(o.usd[:, c]) if c else "",
        share[0],
        share[1] if c else "",
        met,
    )


def summary_lines(result: Replayed) -> list[str]:
    """Totals, the honest second look, and workloads that were left out."""
    t = totals(result)
    today, proposed, saved = (t[f"{what}_usd_per_day"] for what in ("today", "proposed", "saved"))
    lines = [
        f"{t['changed']} of {t['workloads']} workloads would change. Replica dollars: {usd(today)} a day today, "
        f"{usd(proposed)} proposed ({_signed(MONTH_DAYS * saved)} a month). Bad requests: "
        f"{t['today_bad_per_day']:,.0f} a day today, {t['proposed_bad_per_day']:,.0f} proposed."
    ]
    if t["ahead_days"] > 0:
        lines.append(
            f"Had each of the last {t['ahead_days']} days been run by what the days before it said: "
            f"{_signed(t['ahead_saved_usd_per_day'])} a day, {t['ahead_bad_per_day']:,.0f} bad requests a day against "
            f"{t['ahead_today_bad_per_day']:,.0f} with today's settings."
        )
    for o in result.outcomes:
        if o.calibrated is not None:
            c = o.calibrated.capacity_rps
            lines.append(f"{o.workload.name}: a replica carries {c.mid:.3g}/s as measured ({c.low:.3g}-{c.high:.3g})")
    for name, why in result.left_out:
        lines.append(f"left out: {name}: {why}")
    return lines


def _signed(saved: float) -> str:
    return f"saves {usd(saved)}" if saved >= 0 else f"costs {usd(-saved)} more"


def totals(result: Replayed) -> dict[str, Any]:
    """Sums over workloads, dollars and requests a day."""
    outcomes = result.outcomes
    today = sum(float(o.usd[:, 0].mean()) for o in outcomes)
    proposed = sum(float(o.usd[:, o.chosen].mean()) for o in outcomes)
    ahead = [o for o in outcomes if len(o.offered) > 1]
    return {
        "workloads": len(outcomes),
        "changed": sum(o.chosen != 0 for o in outcomes),
        "today_usd_per_day": today,
        "proposed_usd_per_day": proposed,
        "saved_usd_per_day": today - proposed,
        "today_bad_per_day": sum(float(o.bad[:, 0].mean()) for o in outcomes),
        "proposed_bad_per_day": sum(float(o.bad[:, o.chosen].mean()) for o in outcomes),
        "ahead_days": max((len(o.offered) - 1 for o in ahead), default=0),
        "ahead_saved_usd_per_day": sum(float((o.usd[1:, 0] - o.ahead_usd[1:]).mean()) for o in ahead),
        "ahead_bad_per_day": sum(float(o.ahead_bad[1:].mean()) for o in ahead),
        "ahead_today_bad_per_day": sum(float(o.bad[1:, 0].mean()) for o in ahead),
    }


def document(result: Replayed, *, scenario: str, files: dict[str, str]) -> dict[str, Any]:
    """The table of choices as plain data, for policies.replay_table.dump. files: name -> SHA-256."""
    o = result.options
    return {
        "scenario": scenario,
        "stack": result.stack,
        "history": files,
        "beliefs": list(o.beliefs),
        "violation_price": o.violation_price,
        "prior_weight": o.prior_weight,
        "half_life_s": o.half_life_s,
        "totals": totals(result),
        "workloads": [workload_document(outcome) for outcome in result.outcomes],
        "left_out": [{"workload": name, "why": why} for name, why in result.left_out],
    }


def workload_document(o: Outcome) -> dict[str, Any]:
    """One workload: what was chosen, each day of both settings, and every candidate with what it cost."""
    return {
        "name": o.workload.name,
        "namespace": o.workload.namespace,
        "history": o.source,
        "violation_price": o.price,
        "capacity_rps": o.workload.service.capacity_rps,
        "capacity_is": "scenario" if o.calibrated is None else "measured",
        "chosen": o.chosen,
        "offered_per_day": _plain(o.offered),
        "today": _setting(o, 0),
        "proposed": _setting(o, o.chosen),
        "ahead_usd_per_day": _plain(o.ahead_usd),
        "ahead_bad_per_day": _plain(o.ahead_bad),
        "candidates": [_candidate(o, c) for c in range(len(o.points))],
    }


def _setting(o: Outcome, c: int) -> dict[str, Any]:
    return {
        **_point(o.points[c]),
        "usd_per_day": _plain(o.usd[:, c]),
        "bad_per_day": _plain(o.bad[:, c]),
        "bad_share": o.bad_share(c),
        "slo_met": bool(o.bad_share(c) <= 1.0 - o.workload.slo_target),
    }


def _candidate(o: Outcome, c: int) -> dict[str, Any]:
    """A dropped candidate's figures are of the days before it was dropped."""
    days = np.isfinite(o.usd[:, c])
    return {
        **_point(o.points[c]),
        "days": int(days.sum()),
        "usd_per_day": float(o.usd[days, c].mean()),
        "bad_share": float(o.bad[days, c].sum() / max(o.offered[days].sum(), 1e-9)),
        "loss": float(o.loss[c]) if np.isfinite(o.loss[c]) else None,
    }


def _point(point: SetPoint) -> dict[str, Any]:
    metric = point.spec.metrics[0]
    return {
        "metric": metric.name,
        "target_type": metric.target_type,
        "target": None if metric.capacity_share is not None else metric.target,
        "share_of_capacity": round(point.share, 6),
        "scale_down_window_s": point.window_s,
    }


def _plain(values: Any) -> list[float]:
    return [float(v) for v in values]
