"""Removal of forecast runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pipelines.catalog import BeingReadError, Catalog, Status
from pipelines.logging import logger
from pipelines.storage.atomic import exclusive_lock
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import SharedStores


def remove_run(
    data: DataFolder, catalog: Catalog, run_id: str, *, unread_since: datetime | None = None
) -> None:
    """Mark a run that has ended expired and remove its stores, unless somebody reads them.

    Each store disappears in one rename. Of an expired run, stores are removed that an interrupted
    removal left; of a failed or cancelled one, what it had written. An active run raises
    FinishedError. Copies in object storage go too. BeingReadError
    is raised, and nothing removed, if a reader holds a lock on one of the stores
    (:func:`pipelines.storage.atomic.shared_lock`) or the run was read after ``unread_since``.

    Parameters
    ----------
    data
        The data folder.
    catalog
        Its catalog.
    run_id
        Id of the run.
    unread_since
        Keep the run if it was read after this time; None ignores reads that have ended.
    """
    data.require_writable()
    with _locked(data, catalog, run_id) as stores:
        if catalog.runs.get(run_id).status is not Status.EXPIRED:
            catalog.runs.expire(run_id, unread_since=unread_since)
        _remove(data, stores)
        shared = SharedStores.of(data)
        if shared is not None:
            try:
                shared.remove("forecasts", run_id)
            except OSError as error:  # the next call of remove_leftovers does it
                logger(run_id=run_id).warning("its copy was not removed", reason=str(error))


def remove_leftovers(data: DataFolder, catalog: Catalog) -> list[str]:
    """Remove the stores of expired runs, which interrupted removals left, or other hosts removed.

    Parameters
    ----------
    data
        The data folder.
    catalog
        Its catalog.

    Returns
    -------
    list of str
        Ids of the runs of which something was removed. Shared stores whose server does not respond
        are an OSError.
    """
    removed = []
    shared = SharedStores.of(data)
    copies = set() if shared is None else set(shared.names("forecasts"))
    for run in catalog.runs.iterate(status=Status.EXPIRED):
        if run.id not in copies and not run_stores(data, run.id):
            continue
        with suppress(BeingReadError), _locked(data, catalog, run.id) as stores:
            if catalog.runs.get(run.id).status is Status.EXPIRED:
                _remove(data, stores)
                removed.append(run.id)
                if shared is not None and run.id in copies:
                    shared.remove("forecasts", run.id)
    return removed


def run_stores(data: DataFolder, run_id: str) -> list[Path]:
    """Return the stores of a run that exist: of each statistic and member, and its own."""
    main = data.forecast(run_id)
    return [path for path in (*sorted(main.parent.glob(f"{run_id}.*.zarr")), main) if path.exists()]


def reading_lock(run_id: str) -> str:
    """Return the name of the lock that hosts share while they read a run as a whole."""
    return f"read/{run_id}"


@contextmanager
def _locked(data: DataFolder, catalog: Catalog, run_id: str) -> Iterator[list[Path]]:
    """Hold the exclusive locks of all stores of a run, against readers of other hosts too."""
    stores = []
    with ExitStack() as locks:
        if not locks.enter_context(catalog.lock_among_hosts(reading_lock(run_id))):
            raise BeingReadError(
                f"run {run_id} is being read by another host",
                field="id",
                hint="try again when its readers have finished",
            )
        for store in run_stores(data, run_id):
            with suppress(FileNotFoundError):  # another process has just removed it
                if not locks.enter_context(exclusive_lock(store)):
                    raise BeingReadError(
                        f"run {run_id} is being read",
                        field="id",
                        hint="try again when its readers have finished",
                    )
                stores.append(store)
        yield stores


def _remove(data: DataFolder, stores: list[Path]) -> None:
    for store in stores:
        aside = data.scratch / f"removed.{store.name}"
        shutil.rmtree(aside, ignore_errors=True)
        store.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
