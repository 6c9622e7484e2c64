"""``pear keys``: the API keys of a service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.console import console, emit_json, emit_line, emit_table
from service.cli.options import Data, Json, examples

if TYPE_CHECKING:
    from service.http.security import KeyFile

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Create, list and remove API keys."
)
Name = Annotated[str, typer.Argument(help="Name of the key's owner.")]


@app.command(
    "add",
    epilog=examples(
        "pear keys add dashboard --data pear-data",
        "pear keys add operator --scope admin --data pear-data",
    ),
)
def add(
    name: Name,
    *,
    data: Data,
    scope: Annotated[
        Literal["read", "submit", "admin"], typer.Option(help="What the key may do.")
    ] = "read",
    as_json: Json = False,
) -> None:
    """Create a key and print it once; only its hash is stored."""
    secret = _file(data).add(name, scope, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    if as_json:
        emit_json({"name": name, "scope": scope, "key": secret})
        return
    console.print(f"key of {name} with scope {scope}; it is not shown again:")
    emit_line(secret)


@app.command(
    "list",
    epilog=examples("pear keys list --data pear-data", "pear keys list --data pear-data --json"),
)
def list_keys(*, data: Data, as_json: Json = False) -> None:
    """List names, scopes and creation times."""
    keys = _file(data).all()
    if as_json:
        emit_json(
            [{"name": key.name, "scope": key.scope, "created_at": key.created_at} for key in keys]
        )
        return
    emit_table(
        ("name", "scope", "created"), [(key.name, key.scope, key.created_at) for key in keys]
    )


@app.command(
    "remove",
    epilog=examples(
        "pear keys remove dashboard --data pear-data",
        "PEAR_DATA=pear-data pear keys remove dashboard",
    ),
)
def remove(name: Name, *, data: Data) -> None:
    """Remove a key; it stops working at once."""
    _file(data).remove(name)
    console.print(f"removed the key of {name}")


def _file(data: Path) -> KeyFile:
    from pipelines.storage.data_folder import DataFolder
    from service.http.security import KeyFile

    return KeyFile(DataFolder.open(data).root / "keys.json")
