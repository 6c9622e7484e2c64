"""Publish a store: a copy in object storage that readers see whole or not at all.

Chunks go first and the root metadata last, so a Zarr reader finds no store, or the one before,
until everything has arrived. Files that the server has already are recognised by their digest, so
that repeating an interrupted publication sends what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pear.errors import InputError
from pear.progress import ProgressFactory, no_progress
from pear.store.fetched import complete
from pipelines.publishing.catalogue import describe_store, write_catalogues
from pipelines.storage.atomic import shared_lock
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.remote import Remote, md5_of

_ROOT: Final = "zarr.json"


@dataclass(frozen=True)
class Publication:
    """What was done for one store or folder.

    Attributes
    ----------
    name
        Path below the address, such as ``forecasts/3f2a….zarr``.
    address
        Address of the published copy.
    files, size
        Number and bytes of the files of the copy.
    sent_files, sent_bytes
        Those that were uploaded in this run.
    removed_files
        Remote files that the store no longer has.
    """

    name: str
    address: str
    files: int
    size: int
    sent_files: int
    sent_bytes: int
    removed_files: int

    def to_dict(self) -> dict[str, object]:
        """Return the values as JSON can hold them."""
        return asdict(self)


def publish(
    source: Path, name: str, remote: Remote, progress: ProgressFactory | None = None
) -> Publication:
    """Copy a store or a folder of files to a remote folder, and enter it into the catalogue.

    Parameters
    ----------
    source
        A Zarr store, or a folder such as that of an evaluation.
    name
        Path of the copy below the remote folder.
    remote
        The remote folder.
    progress
        Given the number of bytes, returns the callback for bytes sent.

    Returns
    -------
    Publication
        What was sent; repeating it sends nothing.

    Raises
    ------
    InputError
        If there is no such store, or the server refuses access.
    """
    if not source.is_dir():
        raise InputError(f"no store at {source}", field="what")
    with shared_lock(source), complete(source):
        published = _mirror(source, name, remote, progress or (lambda _: no_progress))
        item = describe_store(source, name) if (source / _ROOT).exists() else None
    if item is not None:
        write_catalogues(remote, item)
    return published


def stores_of_run(data: DataFolder, run: str) -> list[Path]:
    """Return the stores of a finished run: its forecast, and statistics such as the spread."""
    return sorted((data.root / "forecasts").glob(f"{run}*.zarr"))


def _mirror(source: Path, name: str, remote: Remote, progress: ProgressFactory) -> Publication:
    """Make the remote copy equal to the store."""
    root = source / _ROOT
    document = root.read_bytes() if root.exists() else None
    files = {
        path.relative_to(source).as_posix(): path
        for path in sorted(source.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
    }
    there = remote.list_files(name)
    sizes = {key: path.stat().st_size for key, path in files.items()}
    missing = [
        key
        for key, path in files.items()
        if key not in there
        or there[key].size != sizes[key]
        or (there[key].md5 or remote.digest(f"{name}/{key}")) != md5_of(path)
    ]
    # Metadata of the arrays after their chunks, that of the root after everything else.
    missing.sort(key=lambda key: (key.endswith(_ROOT), key == _ROOT, key))
    tick: Callable[..., object] = progress(sum(sizes[key] for key in missing))
    for key in missing:
        if key == _ROOT and document is not None:
            remote.put_bytes(document, f"{name}/{key}")
        else:
            remote.put(files[key], f"{name}/{key}")
        tick(sizes[key])
    gone = [key for key in there if key not in files]
    for key in gone:
        remote.remove(f"{name}/{key}")
    return Publication(
        name,
        f"{remote.address}/{name}",
        len(files),
        sum(sizes.values()),
        len(missing),
        sum(sizes[key] for key in missing),
        len(gone),
    )
