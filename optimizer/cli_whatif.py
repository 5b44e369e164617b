"""`trimtab whatif`: every stack x variation x seed on a scenario."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("whatif")
    def whatif(scenario: str) -> None:
        """What a scenario would have cost, and which SLOs it would have broken, stack by stack."""
        raise typer.Exit(0 if scenario else 2)
