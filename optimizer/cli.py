"""`trimtab`: the command line. Heavy libraries are imported inside commands, so that --help is instant."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from envs.errors import InputError
from optimizer import cli_calibrate, cli_evaluate, cli_policy, cli_prices, cli_scenario, cli_tune, cli_whatif

app = typer.Typer(
    name="trimtab",
    help="Cost and capacity for Kubernetes: simulate your load under the autoscalers of today, and better ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trimtab {version('trimtab')}")
        raise typer.Exit


VERSION = typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_say_version)


@app.callback()
def _options(_: Annotated[bool, VERSION] = False) -> None:
    """Cost and capacity for Kubernetes: simulate your load under the autoscalers of today, and better ones."""


cli_whatif.register(app)
cli_tune.register(app)
cli_evaluate.register(app)
cli_calibrate.register(app)
app.add_typer(cli_scenario.app, name="scenario")
app.add_typer(cli_prices.app, name="prices")
app.add_typer(cli_policy.app, name="policy")
COMMANDS = "trimtab.commands"  # entry points: a function that takes the application and adds a command, lazily


def register_commands() -> None:
    """Commands of other packages, such as training's, which this one may not import. Each name once."""
    for name, entry in sorted({entry.name: entry for entry in entry_points(group=COMMANDS)}.items()):
        try:
            entry.load()(app)
        except Exception as error:
            typer.echo(f"trimtab: the command {name} is left out: {type(error).__name__}: {error}", err=True)


def flowing(text: str) -> str:
    """Help as a terminal of any width shows it: a paragraph is one line, brackets are no markup, examples stay."""
    parts = text.strip().split("\n\n")
    flowed = (part if "    " in part else " ".join(part.split()) for part in parts)
    return "\n\n".join(flowed).replace("[", "\\[")


register_commands()
for _command in app.registered_commands:
    _command.help = flowing(_command.help or "") or None
cli_policy.app.info.help = flowing(cli_policy.HELP)


@app.command("setup")
def setup() -> None:
    """Compile the simulator's kernels into the cache (once per version; 1-2 minutes)."""
    from envs.sim.warmup import compile_kernels

    compile_kernels()


def main() -> None:
    """Entry point: bad input is one line on stderr and exit code 2."""
    try:
        app()
    except InputError as error:
        typer.echo(f"trimtab: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("trimtab: interrupted", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
