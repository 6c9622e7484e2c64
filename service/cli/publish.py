"""``pear publish``: runs, analyses and scores in object storage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pear.errors import InputError
from pipelines.catalog import Catalog
from pipelines.publishing.destinations import resolve_destination
from pipelines.publishing.publish import publish as publish_store
from pipelines.publishing.publish import stores_of_run
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.remote import Remote
from service.cli import options as opt
from service.cli.console import announced, console, emit_json, interruptible
from service.cli.runs import open_catalog

_FOLDERS = ("analyses", "evaluations", "forecasts")


def publish(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help="Run id, prefix or latest; analyses/NAME; evaluations/ID.",
        ),
    ],
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Such as s3://bucket/prefix, or a name.")
    ],
    *,
    data: opt.Data,
    as_json: opt.Json = False,
) -> None:
    """Copy a finished run, an analysis or scores to object storage, and list it there.

    Chunks go first and the metadata last, so readers see a whole store or none. Every file is
    verified by its digest. catalog.json is for STAC clients, gridlook.json for gridlook.

    Examples
    --------
    $ pear publish latest s3://bucket/pear --data DATA
    $ pear publish analyses/era5 s3://bucket/pear --data DATA
    """
    kept = "what has arrived is kept; run the command again to continue"
    remote = Remote.open(resolve_destination(address))
    done = []
    with open_catalog(data) as (folder, catalog), interruptible(kept):
        for store in find_stores(folder, catalog, what):
            with announced("publish", "bytes") as progress:
                name = store.relative_to(folder.root).as_posix()
                done.append(publish_store(store, name, remote, progress))
    if as_json:
        emit_json([each.to_dict() for each in done])
        return
    for each in done:
        console.print(
            f"{each.address}: {each.files} files, {each.size / 1e6:.1f} MB, "
            f"{each.sent_files} of them sent now",
            highlight=False,
        )


def find_stores(folder: DataFolder, catalog: Catalog, what: str) -> list[Path]:
    """Return the stores that a word names.

    Parameters
    ----------
    folder
        The data folder.
    catalog
        Its catalog.
    what
        A run by id, prefix or ``latest``, or ``FOLDER/NAME`` in the data folder.

    Returns
    -------
    list of Path
        Existing folders: of a run also its statistics, such as the spread.

    Raises
    ------
    InputError
        If there is no such store, or the run has not succeeded.
    """
    kind, slash, name = what.partition("/")
    if slash:
        name = name.removesuffix(".zarr")
        paths = {
            "analyses": folder.analysis,
            "evaluations": folder.evaluation,
            "forecasts": folder.forecast,
        }
        if kind not in paths:
            raise InputError(
                f"nothing to publish in {kind!r}",
                field="WHAT",
                hint=f"known: {', '.join(_FOLDERS)}",
            )
        path = paths[kind](name)
        if not path.is_dir():
            raise InputError(f"no {what} in {folder.root}", field="WHAT")
        return [path]
    run = catalog.runs.resolve(what)
    if run.status != "succeeded":
        raise InputError(
            f"run {run.id} is {run.status}", field="WHAT", hint="publish it when it has succeeded"
        )
    return stores_of_run(folder, run.id)
