"""The card of the policy that ships: what it was made of, how it does, where it should not be trusted.

    python -m training.model_card            # writes policies/pretrained/model-card.md

The last table is recomputed by a test, on the load that comes with the package.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from envs.stack_file import load_stack
from envs.vec_env import STACKS
from envs.world_draw import Draw, shipped_loads
from policies.bundle import Bundle
from policies.manifest import Table
from policies.network import Network
from policies.specs import load
from training.validation import Judged, judge

FOLDER = Path(__file__).resolve().parents[1] / "policies" / "pretrained"
CARD = "model-card.md"
CLUSTERS, EPISODE_S, SEED = 6, 3 * 3600.0, 5

TEXT = """# {name} {version}

A network of {size} that moves the HPA target and scale-down window of services on requests per second, once a
minute, around a tuned base ([how it was made](../../docs/design/learning.md)). It sees {features} relative
numbers of one service, and serves any number of services.

**For**: request-serving workloads with an HPA (or KEDA) on requests per second. **Not for**: queues and
batches, workloads without a measured request rate, services whose capacity per replica nobody has measured
(`trimtab calibrate` first): a set-point is a share of it.

**Data**: {series} recorded series ({sources}), with made-up rhythms beside them, seed {seed}, preset
`{preset}`. A tenth of the series was held out for the first table. The manifest lists each file with its
SHA-256.

**Limits**: it acts only where an observation is like its training (the envelope in the manifest), else the base
does. On load whose minutes are noise more than trend the network alone costs more than a tuned target
([evaluation](../../docs/learned.md)); replay then holds a constant. It has met pod start delays of 8-150 s,
0.7-360 replicas and violation prices of 10-3,000. It knows nothing of maintenance windows or of load that only
people know to come.

## Against the tuned base, on held-out series

{validation}

log_ratio: mean of log(cost / cost of the base), with its 95 % interval over clusters; below 0 is cheaper.

{stages}## The same on the load that comes with the package

It has trained on these series, in other stretches and for other services; `python -m training.model_card` makes
this table, and a test makes it again.

{shipped}

"""


def shipped_table(bundle: Bundle) -> Judged:
    """Six clusters of drawn services for three hours each."""
    stacks = [load_stack(name) for name in STACKS]
    draw = Draw(horizon_s=EPISODE_S)
    return judge(Network(bundle).act, shipped_loads(), stacks, draw, clusters=CLUSTERS, seed=SEED)


def lines(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is its head."""
    rule = ["---"] * len(rows[0])
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:]))


def validation_lines(table: Table) -> str:
    """The manifest's table; the last row is over all prices."""
    cells = [
        ["all" if v is None and i == 0 else "" if v is None else f"{v:.3f}" for i, v in enumerate(row)]
        for row in table.rows
    ]
    return lines([list(table.columns), *cells])


def stage_lines(table: Table) -> str:
    """The section on the stages; nothing for bundles of before there was such a table."""
    if not table.rows:
        return ""
    cells = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in table.rows]
    said = "Kept: cheaper beyond its interval, which is widened where several variants were tried."
    return f"## Stages, each against the one before\n\n{lines([list(table.columns), *cells])}\n\n{said}\n\n"


def judged_lines(judged: Judged) -> str:
    """Price, cost, cost of the base, log ratio."""
    rows = [[f"{p:g}", f"{mine:.4f}", f"{base:.4f}", f"{ratio:.4f}"] for p, mine, base, ratio, _, _ in judged.rows]
    return lines([["violation_price", "cost", "base_cost", "log_ratio"], *rows])


def card(bundle: Bundle, judged: Judged) -> str:
    """The whole card."""
    m = bundle.manifest
    counted = Counter(one.source for one in m.data)
    return TEXT.format(
        name=m.name,
        version=m.version,
        size=f"{m.model.bytes / 1024:.0f} KiB",
        features=len(m.observation.features),
        series=len(m.data),
        sources=", ".join(f"{n} of {source}" for source, n in sorted(counted.items())),
        seed=m.seed,
        preset=m.preset,
        validation=validation_lines(m.evaluation),
        stages=stage_lines(m.stages),
        shipped=judged_lines(judged),
    )


def main() -> None:
    """Write the card beside the bundle."""
    bundle = load(FOLDER)
    (FOLDER / CARD).write_text(card(bundle, shipped_table(bundle)), encoding="utf-8")
    print(f"wrote {FOLDER / CARD}")


if __name__ == "__main__":
    main()
