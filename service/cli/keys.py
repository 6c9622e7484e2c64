"""``pear keys``: who may use a service that is open to others."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import console, emit_json

if TYPE_CHECKING:
    from service.http.security import KeyFile

Data = Annotated[Path, typer.Option("--data", help="Data folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Name = Annotated[str, typer.Argument(help="Whose key it is.")]

verbs = typer.Typer(no_args_is_help=True, help="Make, list and remove API keys.")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.add_typer(verbs, name="keys")


@verbs.command("add")
def add(
    data: Data,
    name: Name,
    scope: Annotated[str, typer.Option(help="read, submit or admin.")] = "read",
    as_json: Json = False,
) -> None:
    """Make a key and show it once; only its hash is kept."""
    from service.http.permissions import scope_named

    secret = _file(data).add(name, scope_named(scope), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    if as_json:
        emit_json({"name": name, "scope": scope, "key": secret})
        return
    console.print(f"key of {name}, which may {scope}; it is shown this once:")
    typer.echo(secret)


@verbs.command("list")
def list_keys(data: Data, as_json: Json = False) -> None:
    """List names, scopes and ages; never the keys."""
    keys = _file(data).all()
    if as_json:
        emit_json(
            [{"name": key.name, "scope": key.scope, "created_at": key.created_at} for key in keys]
        )
        return
    for key in keys:
        console.print(f"{key.name}  {key.scope}  {key.created_at}", highlight=False)


@verbs.command("remove")
def remove(data: Data, name: Name) -> None:
    """Remove a key; it stops working at once."""
    _file(data).remove(name)
    console.print(f"removed the key of {name}")


def _file(data: Path) -> KeyFile:
    from pipelines.storage.data_folder import DataFolder
    from service.http.security import KeyFile

    return KeyFile(DataFolder.open(data).root / "keys.json")
