"""The part of the catalog that lists things: stores, models, schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pear.errors import InputError, did_you_mean
from pear.times import as_utc
from pear.typing import Times
from pipelines.catalog import tables
from pipelines.catalog.database import Database
from pipelines.catalog.jobs import JobReader, NotFoundError
from pipelines.catalog.records import Model, Run, Schedule, Store, StoreKind


class Things:
    """Stores, models and schedules; :class:`pipelines.catalog.Catalog` adds the jobs."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = database, clock

    # --- stores ------------------------------------------------------------------------------

    def add_store(
        self,
        name: str,
        path: str,
        *,
        nside: int,
        times: Times | None = None,
        kind: StoreKind = "analysis",
        attributes: Mapping[str, Any] | None = None,
    ) -> Store:
        """Enter a store, or bring its entry up to date.

        Parameters
        ----------
        path
            Relative to the data folder, or absolute.
        times
            Its valid times, UTC; their number, first and last are kept.
        attributes
            Whatever else is worth knowing, as JSON.
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
        key = {"kind": kind, "name": name}
        with self._db.write() as connection:
            _upsert(connection, tables.stores, key, values, {"created_at": now})
        return self.store(name, kind)

    def store(self, name: str, kind: StoreKind = "analysis") -> Store:
        """Return one store; NotFoundError if there is none."""
        columns = tables.stores.c
        query = sa.select(tables.stores).where(columns.kind == kind, columns.name == name)
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFoundError(
                f"no {kind} {name!r} in the catalog",
                field="store",
                hint=did_you_mean(name, [s.name for s in self.stores(kind)]),
            )
        return Store(**row)

    def stores(self, kind: StoreKind | None = None) -> list[Store]:
        """Return every store, by kind and name."""
        columns = tables.stores.c
        query = sa.select(tables.stores).order_by(columns.kind, columns.name)
        if kind is not None:
            query = query.where(columns.kind == kind)
        with self._db.read() as connection:
            return [Store(**row) for row in connection.execute(query).mappings()]

    # --- models --------------------------------------------------------------------------------

    def add_model(
        self,
        sha256: str,
        path: str,
        *,
        nside: int,
        step_hours: int,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Model:
        """Enter a checkpoint, or return its entry; its identity is the start of its sha256."""
        if len(sha256) != 64:
            raise InputError(f"{sha256!r} is no sha256", field="sha256")
        model_id = sha256[:12]
        values = {"path": path, "nside": nside, "step_hours": step_hours}
        values |= {"attributes": dict(attributes or {}), "name": name or model_id}
        once = {"sha256": sha256, "created_at": self._clock()}
        with self._db.write() as connection:
            _upsert(connection, tables.models, {"id": model_id}, values, once)
        return self.model(model_id)

    def model(self, name: str | None = None) -> Model:
        """Return the model of this identity, sha256 or name; the newest one by default.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        known = self.models()
        if name is None:
            if not known:
                raise NotFoundError(
                    "no model in the catalog",
                    field="model",
                    hint="add one with `pear models add CHECKPOINT --data DIR`",
                )
            return known[0]
        for model in known:
            if name in (model.id, model.sha256):
                return model
        for model in known:
            if name == model.name:
                return model
        names = [label for model in known for label in (model.id, model.name)]
        raise NotFoundError(
            f"no model {name!r} in the catalog", field="model", hint=did_you_mean(name, names)
        )

    def models(self) -> list[Model]:
        """Return every model, newest first."""
        columns = tables.models.c
        query = sa.select(tables.models).order_by(columns.created_at.desc(), columns.id)
        with self._db.read() as connection:
            return [Model(**row) for row in connection.execute(query).mappings()]

    # --- schedules -----------------------------------------------------------------------------

    def add_schedule(self, name: str, cron: str, action: Mapping[str, Any]) -> Schedule:
        """Enter a schedule, or change its cron line and action."""
        now = self._clock()
        values = {"cron": cron, "action": dict(action), "updated_at": now}
        once = {"created_at": now, "paused": False}
        with self._db.write() as connection:
            _upsert(connection, tables.schedules, {"name": name}, values, once)
        return self.schedule(name)

    def schedule(self, name: str) -> Schedule:
        """Return one schedule; NotFoundError if there is none."""
        for schedule in self.schedules():
            if schedule.name == name:
                return schedule
        hint = did_you_mean(name, [schedule.name for schedule in self.schedules()])
        raise NotFoundError(f"no schedule {name!r} in the catalog", field="schedule", hint=hint)

    def schedules(self) -> list[Schedule]:
        """Return every schedule by name."""
        query = sa.select(tables.schedules).order_by(tables.schedules.c.name)
        with self._db.read() as connection:
            return [Schedule(**row) for row in connection.execute(query).mappings()]

    def pause_schedule(self, name: str, paused: bool = True) -> Schedule:
        """Stop a schedule from firing, or let it fire again."""
        self._change_schedule(name, {"paused": paused, "updated_at": self._clock()})
        return self.schedule(name)

    def remove_schedule(self, name: str) -> None:
        """Forget a schedule; NotFoundError if there is none."""
        with self._db.write() as connection:
            query = tables.schedules.delete().where(tables.schedules.c.name == name)
            if connection.execute(query).rowcount == 0:
                raise NotFoundError(f"no schedule {name!r} in the catalog", field="schedule")

    def claim_trigger(self, name: str, fire: datetime) -> bool:
        """Take one fire of a schedule; False if another scheduler has taken it, or a later one."""
        columns = tables.schedules.c
        free = sa.or_(columns.last_fire.is_(None), columns.last_fire < fire)
        query = (
            tables.schedules.update()
            .where(columns.name == name, columns.paused.is_(False), free)
            .values(last_fire=fire, last_status="running", last_reason=None)
        )
        with self._db.write() as connection:
            return connection.execute(query).rowcount == 1

    def finish_trigger(self, name: str, status: str, reason: str | None = None) -> None:
        """Note how the last fire ended."""
        self._change_schedule(name, {"last_status": status, "last_reason": reason})

    def _change_schedule(self, name: str, values: dict[str, Any]) -> None:
        query = tables.schedules.update().where(tables.schedules.c.name == name).values(**values)
        with self._db.write() as connection:
            if connection.execute(query).rowcount == 0:
                raise NotFoundError(f"no schedule {name!r} in the catalog", field="schedule")

    def _latest(self, jobs: JobReader[Run], table: sa.Table, model: str | None) -> Run | None:
        query = sa.select(table.c.id).where(table.c.status == "succeeded")
        if model is not None:
            query = query.where(table.c.model == model)
        query = query.order_by(table.c.init_time.desc(), table.c.created_at.desc()).limit(1)
        with self._db.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else jobs.get(str(found))

    def _latest_init(self, table: sa.Table, model: str, lead_hours: int) -> np.datetime64 | None:
        query = sa.select(sa.func.max(table.c.init_time, type_=table.c.init_time.type)).where(
            table.c.model == model, table.c.lead_hours == lead_hours
        )
        with self._db.read() as connection:
            found: np.datetime64 | None = connection.execute(query).scalar()
        return found


def _upsert(
    connection: Connection,
    table: sa.Table,
    key: Mapping[str, Any],
    values: Mapping[str, Any],
    once: Mapping[str, Any],
) -> None:
    """Update the row of this key, or insert it; ``once`` is written on insertion only."""
    same = sa.and_(*(table.c[name] == value for name, value in key.items()))
    if connection.execute(table.update().where(same).values(**values)).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(table.insert().values(**key, **values, **once))
    except sa.exc.IntegrityError:  # another process inserted it between our two statements
        connection.execute(table.update().where(same).values(**values))
