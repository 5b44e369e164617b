"""The notebooks run from top to bottom and show what they promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
TRAINING = FOLDER / "03_train.ipynb"
NOTEBOOKS = sorted(set(FOLDER.glob("*.ipynb")) - {TRAINING})


def run(path: Path) -> dict[str, Any]:
    """Every code cell in its order, in one namespace, as a fresh kernel would; names it leaves behind."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
    return names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_ends_with_a_table_that_has_a_cost_in_each_row(path: Path) -> None:
    table = run(path)["result"].table
    assert len(table) >= 2
    assert (table.cost_usd > 0).all()


def test_the_training_notebook_trains_judges_and_asks_the_shipped_network() -> None:
    pytest.importorskip("stable_baselines3", reason="needs the extra `train`")
    names = run(TRAINING)
    assert list(names["result"].violation_price) == [30.0, 100.0, 300.0, 1000.0]
    assert (names["trained"].bundle / "policy.onnx").exists()
    calm, rising = names["network"].act(names["seen"])
    assert rising[0] < calm[0]  # more room where the load has doubled
