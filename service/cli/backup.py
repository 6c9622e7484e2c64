"""``pear backup`` and ``pear restore``: copies of whole data folders."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from pear.addresses import is_address
from pipelines.backup.backup import Backup, back_up
from pipelines.backup.backup import restore as restore_backup
from pipelines.publishing.destinations import destinations
from pipelines.storage.data_folder import DataFolder
from service.cli import options as opt
from service.cli.console import announced, console, emit_json, emit_line, interruptible

Place = Annotated[
    str,
    typer.Argument(
        metavar="PLACE", help="Folder, address such as s3://bucket/prefix, or a name of one."
    ),
]


def backup(place: Place, *, data: opt.Data, as_json: opt.Json = False) -> None:
    """Copy a data folder to another place, as it is at one moment; it may be in use.

    Copies stores, models, scores, the catalog with jobs and schedules, and the hashes of API
    keys. Jobs that are not finished begin anew where the backup is restored.

    Examples
    --------
    $ pear backup /mnt/backups/monday --data DATA
    $ pear backup s3://bucket/backups/monday --data DATA
    """
    folder = DataFolder.open(data)
    kept = "what was copied is kept; run the command again to continue"
    with interruptible(kept), announced("back up", "bytes") as progress:
        done = back_up(folder, _resolve(place), progress)
    _show(done, "backed up to", as_json=as_json)


def restore(place: Place, *, data: opt.Data, as_json: opt.Json = False) -> None:
    """Make a new data folder from a backup; every file is compared with its digest.

    The catalog goes into the database that PEAR_CATALOG names, if it is set; it must be empty.

    Examples
    --------
    $ pear restore /mnt/backups/monday --data NEW
    $ pear restore s3://bucket/backups/monday --data NEW
    """
    catalog = os.environ.get("PEAR_CATALOG") or None
    with interruptible("nothing is left behind"), announced("restore", "bytes") as progress:
        done = restore_backup(_resolve(place), data, catalog, progress)
    _show(done, f"restored to {data} from", as_json=as_json)


def _resolve(place: str) -> str:
    """Return the address of a destination with this name, else the place as it is."""
    return place if is_address(place) else destinations().get(place, place)


def _show(done: Backup, text: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(done.to_dict())
        return
    for note in done.notes:
        console.print(note, highlight=False, soft_wrap=True)
    stores = ", ".join(f"{number} {part}" for part, number in done.stores.items() if number)
    emit_line(f"{text} {done.place}: {done.files} files, {done.size / 1e6:.1f} MB ({stores})")
    if done.requeued:
        emit_line(f"{done.requeued} unfinished jobs begin anew")
