"""Carrying out a schedule's action against a data folder and its catalog."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from pipelines.catalog import BeingReadError, Catalog
from pipelines.storage.atomic import exclusive_lock
from pipelines.storage.data_folder import DataFolder


def remove(
    data: DataFolder, catalog: Catalog, run_id: str, unread_since: datetime | None = None
) -> None:
    """Expire a succeeded run and remove its stores: out of sight first, in one rename each.

    Raises
    ------
    BeingReadError
        If somebody holds one of its stores (:func:`pipelines.storage.atomic.shared_lock`), or has
        read the run since ``unread_since``; nothing is removed.
    """
    with ExitStack() as held:
        for store in _stores(data, run_id):
            if not held.enter_context(exclusive_lock(store)):
                raise BeingReadError(f"{store.name} is being read", field="id")
        catalog.expire(run_id, unread_since=unread_since)
        _sweep(data, run_id)


def _sweep(data: DataFolder, run_id: str) -> None:
    for store in _stores(data, run_id):
        aside = data.scratch / f"removed.{store.name}"
        shutil.rmtree(aside, ignore_errors=True)
        store.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _stores(data: DataFolder, run_id: str) -> list[Path]:
    main = data.forecast(run_id)
    return [path for path in (*main.parent.glob(f"{run_id}.*.zarr"), main) if path.exists()]
