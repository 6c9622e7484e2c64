"""Backups: a folder with every file of a data folder and a list of them with their digests.

``backup.json`` is written last, so a folder without it is a backup that was interrupted. The files
lie as in the data folder, and stores can be opened where they are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pear import __version__
from pear.addresses import is_address
from pear.errors import InputError
from pear.progress import ProgressFactory, no_progress
from pipelines.backup.snapshot import CATALOG, FILES, PARTS, take_snapshot
from pipelines.catalog.transfer import import_catalog, require_empty
from pipelines.storage.atomic import require_space, sync_filesystem, try_lock
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.remote import Remote, md5_of

LIST: Final = "backup.json"
_FORMAT: Final = 1
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Backup:
    """A backup that was written or restored.

    Attributes
    ----------
    place
        Folder or address.
    created
        When it was made, ISO 8601.
    files, size
        Number and bytes of its files.
    stores
        Number of analyses, climatologies, models, forecasts and evaluations, by part.
    notes
        What the catalog names and the folder did not hold.
    requeued
        Restored: number of jobs that were queued or running and begin anew.
    """

    place: str
    created: str
    files: int
    size: int
    stores: dict[str, int]
    notes: tuple[str, ...] = ()
    requeued: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return the values as JSON can hold them."""
        return asdict(self)


def back_up(data: DataFolder, place: str, progress: ProgressFactory | None = None) -> Backup:
    """Copy a data folder that may be in use, as it is at one moment.

    Forecasts, ingestion and the service may go on meanwhile. Partial results of jobs are not
    copied: the jobs begin anew where the backup is restored.

    Parameters
    ----------
    data
        The data folder, which can be written: hard links keep its present files for the time of
        the copy.
    place
        Folder or address (``s3://bucket/prefix``) to write: new, empty, or with a backup that was
        interrupted, which is continued.
    progress
        Given the number of bytes, returns the callback for bytes copied.

    Returns
    -------
    Backup
        What was copied; InputError if there is a backup or something else already, or the place
        lies in the data folder.
    """
    remote = _open(place)
    _require_free(remote, place, data)
    with _snapshot(data) as (snapshot, notes):
        created = datetime.now(UTC).isoformat(timespec="seconds")
        files = _copy(snapshot, remote, place, progress or (lambda _: no_progress))
    document = {
        "pear_kind": "backup",
        "format": _FORMAT,
        "pear": __version__,
        "created": created,
        "notes": notes,
        "files": files,
    }
    remote.put_bytes(json.dumps(document, indent=1).encode(), LIST)
    if not is_address(place):
        sync_filesystem(Path(place))
    return _describe(place, document)


def restore(
    place: str, root: Path, catalog: str | None = None, progress: ProgressFactory | None = None
) -> Backup:
    """Make a data folder from a backup; each file is compared with its digest.

    Parameters
    ----------
    place
        Folder or address of the backup.
    root
        The data folder to make, new or empty.
    catalog
        URL of a database without tables or rows for the catalog (default: SQLite in the folder).
    progress
        Given the number of bytes, returns the callback for bytes copied.

    Returns
    -------
    Backup
        What was restored.

    Raises
    ------
    InputError
        If there is no whole backup, a file of it is missing or damaged, or the target holds
        anything; nothing is left behind then.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not empty", field="--data", hint="name a new folder")
    remote = _open(place)
    document = _read_list(remote, place)
    if catalog is not None:
        require_empty(catalog)
    root = root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    files = document["files"]
    require_space(root.parent, sum(file["size"] for file in files.values()) // 2)
    hidden = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    tick = (progress or (lambda _: no_progress))(sum(file["size"] for file in files.values()))
    try:
        made = DataFolder.create(hidden)
        for name, file in files.items():
            _fetch(remote, name, file, hidden / name)
            tick(file["size"])
        exported = hidden / f"{CATALOG}.exported"
        (hidden / CATALOG).rename(exported)
        requeued = import_catalog(exported, catalog or made.catalog)
        exported.unlink()
        sync_filesystem(hidden)
        if root.exists():
            root.rmdir()
        hidden.rename(root)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return _describe(place, document, requeued)


@contextmanager
def _snapshot(data: DataFolder) -> Iterator[tuple[Path, list[str]]]:
    """Take a snapshot in the folder's scratch; those of killed backups are removed."""
    data.require_writable()
    with try_lock(data.scratch / "backup.lock") as locked:
        if not locked:
            raise InputError(
                f"another backup of {data.root} is running", field="--data", hint="wait for it"
            )
        for old in data.scratch.glob("backup-*"):
            shutil.rmtree(old, ignore_errors=True)
        snapshot = data.scratch / f"backup-{uuid.uuid4().hex}"
        try:
            yield snapshot, take_snapshot(data, snapshot)
        finally:
            shutil.rmtree(snapshot, ignore_errors=True)


def _copy(
    snapshot: Path, remote: Remote, place: str, progress: ProgressFactory
) -> dict[str, dict[str, int | str]]:
    """Copy what is not there yet; return size and digest of every file."""
    found = {path.relative_to(snapshot).as_posix(): path for path in sorted(snapshot.rglob("*"))}
    files = {name: path for name, path in found.items() if path.is_file() and _is_known(name)}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if not is_address(place):
        require_space(_existing(Path(place)), sum(sizes.values()) // 2)
    there = remote.list_files("")
    tick = progress(sum(sizes.values()))
    listed: dict[str, dict[str, int | str]] = {}
    for name, path in files.items():
        old = there.get(name)
        if old is None or old.size != sizes[name] or remote.digest(name) != md5_of(path):
            remote.put(path, name)
        listed[name] = {"size": sizes[name], "sha256": _sha256(path)}
        tick(sizes[name])
    for name in there.keys() - files.keys():  # of the interrupted backup
        remote.remove(name)
    return listed


def _open(place: str) -> Remote:
    return Remote.open(place if is_address(place) else Path(place).resolve().as_uri())


def _require_free(remote: Remote, place: str, data: DataFolder) -> None:
    if not is_address(place):
        path = Path(place).resolve()
        if path.is_relative_to(data.root.resolve()) or data.root.resolve().is_relative_to(path):
            raise InputError(
                f"{place} lies in the data folder {data.root}, or holds it",
                field="place",
                hint="name a folder on another disk, or an address",
            )
        if path.exists() and not path.is_dir():
            raise InputError(f"{place} is not a folder", field="place", hint="name a new folder")
    if remote.read_json(LIST) is not None:
        raise InputError(
            f"{place} holds a backup already", field="place", hint="name a new folder for each"
        )
    foreign = sorted(name for name in remote.list_files("") if not _is_known(name))
    if foreign:
        raise InputError(
            f"{place} is not empty: it holds {foreign[0]}",
            field="place",
            hint="name a new folder for each backup",
        )


def _is_known(name: str) -> bool:
    """Return whether a path may be that of a file in a backup; it cannot leave the folder."""
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or name.startswith("/") or "\\" in name or "\0" in name:
        return False
    return parts[0] in PARTS if len(parts) > 1 else parts[0] in (CATALOG, *FILES)


def _read_list(remote: Remote, place: str) -> dict[str, Any]:
    try:
        document = remote.read_json(LIST)
    except (OSError, ValueError) as error:
        raise InputError(f"{place}: {LIST} cannot be read: {error}", field="place") from error
    if document is None:
        raise InputError(
            f"no whole backup at {place}: it has no {LIST}",
            field="place",
            hint="`pear backup` writes it last; run it again to the same place to continue",
        )
    try:
        newer = document["format"] > _FORMAT
        files = {str(name): dict(file) for name, file in document["files"].items()}
        sound = all(
            _is_known(name) and isinstance(file["size"], int) and len(file["sha256"]) == 64
            for name, file in files.items()
        )
        str(document["created"]), list(document["notes"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{place}: {LIST} is damaged: {error!r}", field="place") from error
    if newer:
        raise InputError(
            f"{place} was written by PEAR {document.get('pear')}, newer than this one",
            field="place",
            hint="restore it with that version",
        )
    if not sound or CATALOG not in files:
        raise InputError(f"{place}: {LIST} is damaged: it lists unknown files", field="place")
    return document


def _fetch(remote: Remote, name: str, file: dict[str, Any], target: Path) -> None:
    """Copy a file and compare it with its digest."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with remote.filesystem.open(remote.path(name), "rb") as source, target.open("xb") as copy:
            while block := source.read(_BLOCK):
                digest.update(block)
                copy.write(block)
    except FileNotFoundError as error:
        raise InputError(
            f"{remote.address} lacks {name}", field="place", hint="restore another backup"
        ) from error
    if digest.hexdigest() != file["sha256"]:
        raise InputError(
            f"{name} in {remote.address} is damaged: its digest differs",
            field="place",
            hint="restore another backup",
        )
    if name in FILES:
        target.chmod(0o600)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _existing(path: Path) -> Path:
    """Return the nearest folder above that exists."""
    path = path.resolve()
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _describe(place: str, document: dict[str, Any], requeued: int = 0) -> Backup:
    files: dict[str, dict[str, int]] = document["files"]
    stores = {
        part: len({name.split("/")[1] for name in files if name.startswith(f"{part}/")})
        for part in PARTS
    }
    return Backup(
        place,
        document["created"],
        len(files),
        sum(file["size"] for file in files.values()),
        stores,
        tuple(f"the catalog names {note}, which does not exist" for note in document["notes"]),
        requeued,
    )
