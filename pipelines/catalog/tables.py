"""Tables of the catalog and their numbered migrations.

A catalog has a version number. Opening it runs all later migrations in one transaction. A catalog
created by a newer version of PEAR is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.types import TypeDecorator

from pear.errors import InputError
from pear.times import to_iso
from pipelines.catalog.records import Status


class Moment(TypeDecorator[datetime]):
    """Wall-clock time: aware UTC in Python; SQLite stores it as text without the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store as UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return as aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ModelTime(TypeDecorator[np.datetime64]):
    """Model time: ``datetime64[s]`` in Python, stored as ISO 8601 text, which sorts by time."""

    impl = sa.String(32)
    cache_ok = True

    def process_bind_param(self, value: np.datetime64 | None, dialect: Dialect) -> str | None:
        """Store as ISO 8601 with ``Z``."""
        return None if value is None else to_iso(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> np.datetime64 | None:
        """Return as ``datetime64[s]``."""
        return None if value is None else np.datetime64(value.removesuffix("Z"), "s")


class Document(TypeDecorator[dict[str, Any]]):
    """JSON object stored as text with sorted keys; NaN and infinity are refused."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Any] | None, dialect: Dialect) -> str:
        """Store as JSON text."""
        return json.dumps(dict(value or {}), sort_keys=True, allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, Any]:
        """Return the object."""
        return dict(json.loads(value)) if value else {}


class StatusText(TypeDecorator[Status]):
    """State of a job, stored as text."""

    impl = sa.String(16)
    cache_ok = True

    def process_bind_param(self, value: Status | None, dialect: Dialect) -> str | None:
        """Store as text."""
        return None if value is None else Status(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> Status | None:
        """Return the state."""
        return None if value is None else Status(value)


metadata: Final = sa.MetaData()

version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, nullable=False))

stores = sa.Table(
    "stores",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("nside", sa.Integer, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("first_time", ModelTime),
    sa.Column("last_time", ModelTime),
    sa.Column("attributes", Document, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("nside", sa.Integer, nullable=False),
    sa.Column("step_hours", sa.Integer, nullable=False),
    sa.Column("attributes", Document, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
)


def _job_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("status", StatusText, nullable=False, index=True),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("seconds_per_step", sa.Float),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("stalled", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("reason", sa.Text),
        sa.Column("error_kind", sa.String(64)),
        sa.Column("created_at", Moment, nullable=False, index=True),
        sa.Column("queued_at", Moment, nullable=False),
        sa.Column("started_at", Moment),
        sa.Column("finished_at", Moment),
        sa.Column("updated_at", Moment, nullable=False),
        sa.Column("read_at", Moment),
    ]


runs = sa.Table(
    "runs",
    metadata,
    *_job_columns(),
    sa.Column("init_time", ModelTime, nullable=False, index=True),
    sa.Column("lead_hours", sa.Integer, nullable=False),
    sa.Column("options", Document, nullable=False),
)

evaluations = sa.Table(
    "evaluations", metadata, *_job_columns(), sa.Column("request", Document, nullable=False)
)

schedule_runs = sa.Table(
    "schedule_runs",
    metadata,
    *_job_columns(),
    sa.Column("schedule", sa.String(128), nullable=False, index=True),
    sa.Column("request", Document, nullable=False),
    sa.Column("result", Document, nullable=False),
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("cron", sa.String(64), nullable=False),
    sa.Column("action", Document, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.Column("last_fire", Moment, key="last_run_at"),
    sa.Column("last_status", StatusText),
    sa.Column("last_reason", sa.Text),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("subject", sa.String(128), nullable=False, index=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("level", sa.String(8), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("details", Document, nullable=False),
)

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("content", Document, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)

rates = sa.Table(
    "rates",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("client", sa.String(128), primary_key=True),
    sa.Column("tokens", sa.Float, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("client", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("body", sa.String(64), nullable=False),
    sa.Column("created_at", Moment, nullable=False, index=True),
)


def _first(connection: Connection) -> None:
    metadata.create_all(connection, checkfirst=True)


def _second(connection: Connection) -> None:
    schedule_runs.create(connection, checkfirst=True)


def _third(connection: Connection) -> None:
    for table in (documents, rates, idempotency_keys):
        table.create(connection, checkfirst=True)


MIGRATIONS: Final[tuple[Callable[[Connection], None], ...]] = (_first, _second, _third)
"""Migration n brings a catalog from version n to n + 1; a released one is never edited."""

VERSION: Final = len(MIGRATIONS)


def migrate(connection: Connection) -> int:
    """Bring a catalog to the current version.

    Parameters
    ----------
    connection
        A write transaction.

    Returns
    -------
    int
        Version of the catalog before.

    Raises
    ------
    InputError
        If a newer version of PEAR created the catalog.
    """
    version.create(connection, checkfirst=True)
    found = int(connection.execute(sa.select(version.c.version)).scalar() or 0)
    if found > VERSION:
        raise InputError(
            f"the catalog has version {found}, newer than version {VERSION} of this PEAR",
            field="catalog",
            hint="use the newer version of PEAR that created it",
        )
    for migration in MIGRATIONS[found:]:
        migration(connection)
    if found < VERSION:
        connection.execute(version.delete())
        connection.execute(version.insert().values(version=VERSION))
    return found
