"""Snapshot of a data folder that is in use: hard links of its files, and a copy of its catalog.

Every file of a store is replaced and never rewritten (:mod:`pipelines.storage.atomic`), so a second
name of a file keeps what it holds now, and taking the names costs no reading. What a writer commits
while a store is linked shows in its root metadata or its folder, and the store is linked again.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pear.errors import InputError
from pear.store.fetched import complete
from pipelines.catalog import Catalog, Status
from pipelines.catalog.transfer import export_catalog
from pipelines.storage.atomic import PARTIAL
from pipelines.storage.data_folder import DataFolder

PARTS: Final = ("analyses", "climatology", "models", "forecasts", "evaluations")
FILES: Final = ("keys.json", "variables.toml")
"""Files beside the parts: hashes of API keys, and variables of one's own."""
CATALOG: Final = "catalog.sqlite"

_ATTEMPTS: Final = 20
_PAUSE: Final = 0.2
_NO_LINKS: Final = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP)
_IGNORED: Final = shutil.ignore_patterns(".*", f"*{PARTIAL}")


def take_snapshot(data: DataFolder, target: Path) -> list[str]:
    """Link the finished stores, models and scores of a data folder, and copy its catalog.

    Parameters
    ----------
    data
        The data folder, which others may read and write.
    target
        A folder to be made, on the same file system if no file is to be copied.

    Returns
    -------
    list of str
        What the catalog names and the folder does not hold; InputError if a store changes too often
        to be linked in one state.
    """
    target.mkdir(parents=True)
    for part in PARTS:
        (target / part).mkdir()
        for source in sorted((data.root / part).glob("[!.]*")):
            if source.is_dir():
                link_store(source, target / part / source.name)
    for name in FILES:
        with suppress(FileNotFoundError):
            shutil.copy2(data.root / name, target / name)
    lacking: list[str] = []
    for _ in range(_ATTEMPTS):
        (target / CATALOG).unlink(missing_ok=True)
        export_catalog(data.catalog_url, target / CATALOG)
        # What finished since its part was linked is linked now. What is missing may have been
        # removed since the catalog was copied: a second look tells.
        before, lacking = lacking, _link_missing(data, target)
        if not lacking or lacking == before:
            break
    _drop_removed(data, target)
    return lacking


def link_store(source: Path, target: Path) -> bool:
    """Link the files of a store, in one of the states that a reader may see.

    Parameters
    ----------
    source
        Folder of a store, a model or an evaluation.
    target
        A folder to be made.

    Returns
    -------
    bool
        False if there is no such store, or it was removed meanwhile.

    Raises
    ------
    InputError
        If it changes faster than it can be linked.
    """
    for _ in range(_ATTEMPTS):
        before = _state(source)
        if before is None:
            return False
        with complete(source):
            if _link_tree(source, target) and _state(source) == before:
                return True
        shutil.rmtree(target, ignore_errors=True)
        time.sleep(_PAUSE)
    raise InputError(
        f"{source} changes faster than it can be copied",
        field="--data",
        hint="repeat the backup when less is written to it",
    )


def _link_tree(source: Path, target: Path) -> bool:
    """Return whether all files could be linked: none was renamed or removed meanwhile."""
    try:
        shutil.copytree(source, target, copy_function=_link, ignore=_IGNORED)
    except (shutil.Error, FileNotFoundError) as error:
        if not _is_absence(error):
            raise
        return False
    return True


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target)


def _state(store: Path) -> tuple[int, bytes] | None:
    """Return what every commit changes: the folder itself, or the metadata of the root."""
    try:
        root = store / "zarr.json"
        return store.stat().st_ino, root.read_bytes() if root.exists() else b""
    except FileNotFoundError:
        return None


def _is_absence(error: OSError) -> bool:
    """Return whether all that failed is files that were renamed or removed meanwhile."""
    if isinstance(error, FileNotFoundError):
        return True
    reasons = [str(reason) for *_, reason in error.args[0]]
    return all(f"[Errno {errno.ENOENT}]" in reason for reason in reasons)


def _named(path: Path) -> Iterator[str]:
    """Yield the paths of the stores, models, runs and evaluations that a catalog names."""
    with Catalog(path) as catalog:
        yield from (store.path for store in catalog.stores.all())
        yield from (model.path for model in catalog.models.all())
        for run in catalog.runs.iterate(status=Status.SUCCEEDED):
            yield f"forecasts/{run.id}.zarr"
        for evaluation in catalog.evaluations.iterate(status=Status.SUCCEEDED):
            yield f"evaluations/{evaluation.id}"


def _link_missing(data: DataFolder, target: Path) -> list[str]:
    """Link what the copied catalog names and has not been linked; return what does not exist."""
    missing = [name for name in _named(target / CATALOG) if not (target / name).exists()]
    return [name for name in missing if not link_store(data.root / name, target / name)]


def _drop_removed(data: DataFolder, target: Path) -> None:
    """Drop runs that were removed after they had been linked."""
    with Catalog(target / CATALOG) as catalog:
        kept = {run.id for run in catalog.runs.iterate() if run.status is not Status.EXPIRED}
    for store in (target / "forecasts").iterdir():
        name = store.name.partition(".")[0]  # of a statistic too
        if name not in kept and not (data.root / "forecasts" / store.name).exists():
            shutil.rmtree(store)
