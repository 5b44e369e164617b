"""`trimtab prices`: look into the price book."""

from __future__ import annotations

import typer

app = typer.Typer(help="Look into the price book.", no_args_is_help=True)


@app.callback()
def prices() -> None:
    """Look into the price book."""
