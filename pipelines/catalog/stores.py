"""Stores of the catalog."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pear.errors import did_you_mean
from pear.times import as_utc
from pear.typing import Times
from pipelines.catalog import tables
from pipelines.catalog.database import Database
from pipelines.catalog.errors import NotFoundError
from pipelines.catalog.records import Store, StoreKind


class Stores:
    """Analyses and climatologies, identified by kind and name."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = database, clock

    def add(
        self,
        name: str,
        path: str,
        *,
        nside: int,
        times: Times | None = None,
        kind: StoreKind = "analysis",
        attributes: Mapping[str, Any] | None = None,
    ) -> Store:
        """Add a store, or update its entry.

        Parameters
        ----------
        name
            Name of the store, unique for its kind.
        path
            Folder of the store, absolute or relative to the data folder.
        nside
            Resolution.
        times
            Valid times, UTC; their number, first and last are kept.
        kind
            Kind of store.
        attributes
            Other facts, as JSON values.

        Returns
        -------
        Store
            The entry.
        """
        axis = as_utc(times) if times is not None and len(times) else None
        now = self._clock()
        values = {
            "path": path,
            "nside": nside,
            "times": 0 if axis is None else len(axis),
            "first_time": None if axis is None else axis.min(),
            "last_time": None if axis is None else axis.max(),
            "attributes": dict(attributes or {}),
            "updated_at": now,
        }
        self._db.upsert(tables.stores, {"kind": kind, "name": name}, values, {"created_at": now})
        return self.get(name, kind)

    def get(self, name: str, kind: StoreKind = "analysis") -> Store:
        """Return one store, or raise NotFoundError."""
        known = {store.name: store for store in self.all(kind)}
        if name not in known:
            hint = did_you_mean(name, known)
            raise NotFoundError(f"no {kind} {name!r} in the catalog", field="store", hint=hint)
        return known[name]

    def all(self, kind: StoreKind | None = None) -> list[Store]:
        """Return all stores (of one kind), by kind and name."""
        columns = tables.stores.c
        query = sa.select(tables.stores).order_by(columns.kind, columns.name)
        if kind is not None:
            query = query.where(columns.kind == kind)
        with self._db.read() as connection:
            return [Store(**row) for row in connection.execute(query).mappings()]
