"""The stage table of a bundle that is there already: base, replay, the network, replay of its family.

    python -m training.judge_bundle --bundle policies/pretrained --preset full --load DIR --out out/judged

Judged on the series that the preset's split of DIR holds out, in the preset's validation worlds. Not a copy of the
table in a manifest: the network is there already, so that no stage before it is made again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from policies.bundle import Bundle
from policies.network import Network
from policies.specs import load
from training.config import TrainConfig, load_config
from training.stage_replay import Constants, Variants, replayed
from training.stage_run import NOTHING_SEEN, make_held
from training.stages import BASE, Cost, StageTable
from training.train import all_loads, split
from training.validation import idle


def judge_bundle(bundle: Bundle, config: TrainConfig, out: Path) -> StageTable:
    """The table; costs are kept in `out`, so that a second call goes on where the first was cut off."""
    held = make_held(config, split(all_loads(config), config.worlds.held_out)[1])
    table, check, network = StageTable(held, out, config.seed), config.check, Network(bundle)
    table.cost(BASE, lambda: Cost(*held.roll(idle)))
    table.cost("network", lambda: Cost(*held.roll(network.act)))

    def constants() -> Cost:
        batch = held.batch()
        chosen = Constants(batch, check.replay_beliefs)
        return Cost(replayed(batch, chosen, days=check.replay_days), NOTHING_SEEN)

    def family() -> Cost:
        batch, prior = held.batch(), bundle.manifest.prior
        assert prior is not None
        chosen = Variants(network.act, batch, check.replay_beliefs, prior)
        return Cost(replayed(batch, chosen, days=check.replay_days), NOTHING_SEEN)

    table.cost("replay", constants)
    table.judge("replay", ["replay"], BASE)
    table.judge("network", ["network"], BASE)
    if bundle.manifest.prior is not None:
        table.cost("family", family)
        for against in ("network", "replay"):
            table.judge("family", ["family"], against)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.judge_bundle", description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--preset", default="full", help="preset or YAML file that it was trained with")
    parser.add_argument("--load", type=Path, help="folder of traces; default those that come with Trimtab")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = load_config(options.preset)
    if options.load:
        config = config.model_copy(update={"worlds": config.worlds.model_copy(update={"load_dir": options.load})})
    table = judge_bundle(load(options.bundle), config, options.out)
    table.write(options.out / "stages.csv")
    print((options.out / "stages.csv").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
