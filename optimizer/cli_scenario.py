"""`trimtab scenario`: list, show, check and make scenarios."""

from __future__ import annotations

import typer

app = typer.Typer(help="List, show, check and make scenarios.", no_args_is_help=True)


@app.callback()
def scenario() -> None:
    """List, show, check and make scenarios."""
