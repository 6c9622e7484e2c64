"""``pear store``: what hosts without a common disk share through object storage."""

from __future__ import annotations

from typing import Annotated

import typer

from pear.errors import InputError
from pipelines.catalog import Status
from pipelines.storage.shared import VARIABLE, SharedStores
from pipelines.storage.shared_index import KINDS, Kind
from service.cli.console import emit_json, emit_line, emit_table, interruptible, progress
from service.cli.options import Data, Json
from service.cli.runs import open_catalog

app = typer.Typer(add_completion=False, no_args_is_help=True)
_KEPT = "what has arrived is kept; run the command again to continue"


@app.callback()
def _group() -> None:
    """Send what a data folder has to the stores that hosts share, and list these."""


@app.command("push")
def push(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", help=f"Only of this kind: {', '.join(KINDS)}."),
    ] = None,
    *,
    data: Data,
    as_json: Json = False,
) -> None:
    """Send the models, analyses, climatologies, finished runs and evaluations that are not shared.

    What hosts make while PEAR_STORE is set is sent by itself; this is for what was there before.
    Every file is verified by its digest.

    Examples
    --------
    $ pear store push --data DATA
    $ pear store push analyses --data DATA
    """
    kinds = _kinds(kind)
    done = []
    with open_catalog(data) as (folder, catalog), interruptible(_KEPT):
        shared = _shared(SharedStores.of(folder))
        finished = {run.id for run in catalog.runs.iterate(status=Status.SUCCEEDED)}
        names = [
            (each, path.name.removesuffix(".zarr"))
            for each in kinds
            for path in sorted(folder.parts[each].glob("[!.]*"))
            if path.is_dir()
        ]
        names = [found for found in names if found[0] != "forecasts" or found[1] in finished]
        with progress("share", len(names)) as tick:
            for each, name in names:
                digest = shared.push(each, name)
                done.append({"kind": each, "name": name, "index_sha256": digest})
                tick(1)
    if as_json:
        emit_json(done)
        return
    emit_line(f"{len(done)} entries are in {shared.remote.address}")


@app.command("list")
def list_shared(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", help=f"Only of this kind: {', '.join(KINDS)}."),
    ] = None,
    *,
    data: Data,
    as_json: Json = False,
) -> None:
    """List what is shared, and whether this data folder has it.

    Examples
    --------
    $ pear store list --data DATA
    $ pear store list forecasts --data DATA --json
    """
    kinds = _kinds(kind)
    with open_catalog(data) as (folder, _):
        shared = _shared(SharedStores.of(folder))
        found = [
            {"kind": each, "name": name, "here": shared.path(each, name).is_dir()}
            for each in kinds
            for name in shared.names(each)
        ]
    if as_json:
        emit_json(found)
        return
    rows = [(each["kind"], each["name"], "yes" if each["here"] else "no") for each in found]
    emit_table(("kind", "name", "here"), rows)


def _kinds(kind: str | None) -> tuple[Kind, ...]:
    found = tuple(each for each in KINDS if kind in (None, each))
    if not found:
        raise InputError(f"unknown kind {kind!r}", field="KIND", hint=f"known: {', '.join(KINDS)}")
    return found


def _shared(shared: SharedStores | None) -> SharedStores:
    if shared is None:
        raise InputError(
            "no shared stores are named", field=VARIABLE, hint=f"set {VARIABLE}=s3://bucket/prefix"
        )
    return shared
