"""``pear keys``: the API keys of a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.cli.console import console, emit_json, emit_line, emit_records
from service.cli.options import Data, Json
from service.http.keys import KeyFile

app = typer.Typer(add_completion=False, no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Name of the key's owner.")]
Scope = Literal["read", "submit", "admin"]


@app.command("add")
def add(
    name: Name,
    *,
    data: Data,
    scope: Annotated[
        Scope, typer.Option(metavar="SCOPE", help="What the key permits: read, submit or admin.")
    ] = "read",
    as_json: Json = False,
) -> None:
    """Create a key and print it once; only its hash is stored.

    Examples
    --------
    $ pear keys add dashboard --data pear-data
    $ pear keys add operator --scope admin --data pear-data
    """
    with _keys(data, write=True) as keys:
        secret = keys.add(name, scope, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    if as_json:
        emit_json({"name": name, "scope": scope, "key": secret})
        return
    console.print(f"key of {name} with scope {scope}; it is not shown again:")
    emit_line(secret)


@app.command("list")
def list_keys(*, data: Data, as_json: Json = False) -> None:
    """List names, scopes and creation times.

    Examples
    --------
    $ pear keys list --data pear-data
    $ pear keys list --data pear-data --json
    """
    fields = ("name", "scope", "created_at")
    with _keys(data) as file:
        keys = [{field: getattr(key, field) for field in fields} for key in file.all()]
    columns = {"name": "name", "scope": "scope", "created": "created_at"}
    emit_records(keys, columns, as_json=as_json)


@app.command("remove")
def remove(name: Name, *, data: Data) -> None:
    """Remove a key; it stops working at once.

    Examples
    --------
    $ pear keys remove dashboard --data pear-data
    $ PEAR_DATA=pear-data pear keys remove dashboard
    """
    with _keys(data, write=True) as keys:
        keys.remove(name)
    console.print(f"removed the key of {name}")


@contextmanager
def _keys(data: Path, *, write: bool = False) -> Iterator[KeyFile]:
    folder = DataFolder.open(data)
    if write:
        folder.require_writable()
    file = KeyFile(folder.root / "keys.json")
    if folder.catalog_url == str(folder.catalog):
        yield file
        return
    with Catalog(folder.catalog_url) as catalog:
        if catalog.clients.shared:
            file.share(catalog.clients)
        yield file
