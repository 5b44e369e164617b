"""`trimtab policy`: learned policies in the model registry, and bundles on disk."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from envs.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from optimizer.gates import Gate
    from policies.bundle import Bundle

HELP = """Learned policies: registered versions, which of them is in use, and bundles on disk.

The registry is MLflow's, at MLFLOW_TRACKING_URI, or mlflow.db in this folder. A version is a bundle (policy.onnx and
manifest.json). `champion` is the one in use, `challenger` the one that was registered last. Versions are named NAME
(its champion, else the newest), NAME@alias, or NAME/number.

Example: register what a training run made, judge it against the champion, promote it

    trimtab policy import out/quick/bundle

    trimtab policy promote web --evaluation evaluation.json --candidate new --champion old

    trimtab policy rollback web

Example: check a folder from a colleague; needs no registry and no MLflow

    trimtab policy verify their-bundle
"""
app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="rich")
Reference = Annotated[str, typer.Argument(help="NAME, NAME@alias or NAME/number.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_policies(
    name: Annotated[str, typer.Argument(help="Of one policy; default all.")] = "", as_json: AsJson = False
) -> None:
    """Registered versions, newest first.

    Example: trimtab policy list
    """
    from optimizer.policy_console import print_versions, version_dict
    from optimizer.registry import NONE_YET, Registry

    registry = Registry()
    versions = [v for one in ([name] if name else registry.names()) for v in registry.versions(one)]
    if as_json:
        typer.echo(json.dumps([version_dict(v) for v in versions], indent=1))
    elif versions:
        print_versions(versions, _console())
    else:
        typer.echo(NONE_YET[0].upper() + NONE_YET[1:] + ".")


@app.command("show")
def show(reference: Reference, as_json: AsJson = False) -> None:
    """What a version is: where it comes from, what it was trained on, how it did, how it was promoted.

    Example: trimtab policy show web@champion
    """
    from optimizer.policy_console import print_bundle, version_dict
    from optimizer.registry import Registry

    registry = Registry()
    version = registry.find(reference)
    bundle = registry.fetch(version)
    if as_json:
        typer.echo(json.dumps(version_dict(version, bundle), indent=1))
    else:
        print_bundle(bundle, _console(), version)


@app.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(help="Folder with policy.onnx and manifest.json.")],
    as_json: AsJson = False,
) -> None:
    """Check a bundle as each use does: files, checksums, operators, this version's observation and action.

    Exit code 0: it can be used here. 2: it cannot, and the line says why. Needs no MLflow.

    Example: trimtab policy verify out/quick/bundle
    """
    from optimizer.policy_console import print_bundle
    from policies.specs import load

    bundle = load(folder)
    if as_json:
        typer.echo(json.dumps({"ok": True, "manifest": bundle.manifest.model_dump(mode="json")}, indent=1))
    else:
        print_bundle(bundle, _console())
        typer.echo("\nOK: every check passed.")


@app.command("import")
def import_bundle(
    folder: Annotated[Path, typer.Argument(help="Folder with policy.onnx and manifest.json.")],
    name: Annotated[str, typer.Option(help="Register under this name; default the manifest's.")] = "",
) -> None:
    """Register a bundle as the newest version of its policy, and as its challenger.

    Example: trimtab policy import out/quick/bundle --name web
    """
    from optimizer.registry import NAME, Registry
    from policies.specs import load

    bundle = load(folder)
    name = name or bundle.manifest.name
    if not NAME.fullmatch(name):
        raise InputError(None, "--name", name, "must be lower-case letters, digits and dashes")
    version = Registry().add(bundle, name)
    typer.echo(f"{version.ref} is registered, and is the challenger.")


@app.command("export")
def export(
    reference: Reference,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a bundle that is there.")] = False,
) -> None:
    """Write a version's bundle into a folder, byte for byte as registered.

    Example: trimtab policy export web@champion --out champion
    """
    from optimizer.registry import Registry
    from policies.bundle_writer import check_free, save_bundle

    check_free(out, force=force)
    registry = Registry()
    version = registry.find(reference)
    save_bundle(out, registry.fetch(version).files, force=force)
    typer.echo(f"{version.ref} is in {out}.")


@app.command("promote")
def promote(
    reference: Annotated[str, typer.Argument(help="NAME (its challenger), NAME@alias or NAME/number.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="From trimtab evaluate --json, with both policies in it.")
    ] = None,
    candidate: Annotated[str, typer.Option(help="What the candidate is called there.")] = "challenger",
    champion: Annotated[str, typer.Option(help="What the champion is called there.")] = "champion",
    force: Annotated[str, typer.Option(metavar="REASON", help="In spite of failed gates; the reason is kept.")] = "",
) -> None:
    """Make a version the champion, if it passes the gates.

    The gates: the bundle's checks; this version's observation and action; and against the champion in the evaluation:
    cheaper at equal SLO with the whole 95 % interval, on no source dearer by more than 2 %, on no trace that it was
    trained on, and evaluated with this very network. Without a champion the last four have nobody to compare with and
    may be left out. What each gate said stays on the version, and so does the reason of --force. A damaged bundle
    cannot be forced.

    Example: trimtab policy promote web --evaluation evaluation.json --candidate new --champion old

    Example: trimtab policy promote web/3 --force "rollback drill, 5 January"
    """
    from optimizer.policy_console import print_gates
    from optimizer.registry import CHALLENGER, CHAMPION, Registry

    registry = Registry()
    plain = not {"@", "/"} & set(reference)
    version = registry.find(f"{reference}@{CHALLENGER}" if plain else reference)
    if CHAMPION in version.aliases:
        raise InputError(None, "policy", version.ref, "is the champion already")
    has_champion = any(CHAMPION in v.aliases for v in registry.versions(version.name))
    bundle = registry.fetch(version)
    gates = judge(bundle, evaluation, candidate, champion, has_champion=has_champion)
    print_gates(gates, _console())
    failed = [gate.name for gate in gates if not gate.passed]
    if failed and not force:
        raise InputError(None, "policy", version.ref, f"failed {', '.join(failed)}; --force REASON promotes it anyway")
    before = registry.promote(version, gates, force if failed else "")
    instead = f" instead of {before.ref}" if before else ""
    typer.echo(f"{version.ref} is the champion{instead}{', forced' if failed else ''}.")


def judge(bundle: Bundle, evaluation: Path | None, candidate: str, champion: str, *, has_champion: bool) -> list[Gate]:
    """All gates that apply. Raises InputError where an evaluation is needed and missing, or is no such file."""
    from optimizer import gates

    found = [gates.exported_well(bundle), gates.parity(bundle)]
    if not has_champion and evaluation is None:
        return found
    if evaluation is None:
        return [*found, gates.Gate("better", False, "no evaluation against the champion was given (--evaluation)")]
    judged = gates.load_evaluation(evaluation, candidate, champion)
    compared = [gates.better(judged), gates.no_source_worse(judged)]
    return [*found, *compared, gates.unseen(bundle, judged), gates.identity(bundle, judged)]


@app.command("rollback")
def rollback(name: Annotated[str, typer.Argument(help="Of the policy.")]) -> None:
    """Make the champion before this one the champion again; needs no gates, as it had passed them.

    Example: trimtab policy rollback web
    """
    from optimizer.registry import Registry

    now, old = Registry().rollback(name)
    typer.echo(f"{now.ref} is the champion again, {old.ref} no longer.")


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)
