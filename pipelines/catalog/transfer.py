"""Copies of a whole catalog: from one database into another, of the same kind or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pear.errors import InputError
from pipelines.catalog import tables
from pipelines.catalog.database import Database
from pipelines.catalog.records import ACTIVE, Status

_ROWS: Final = 1000
_JOBS: Final = (tables.runs, tables.evaluations, tables.schedule_runs)
_QUEUED: Final = {"status": Status.QUEUED, "owner": None, "step": 0, "started_at": None}


def export_catalog(url: str | Path, path: Path) -> None:
    """Copy a catalog into a new SQLite file, as it is at one moment.

    Parameters
    ----------
    url
        Path of the SQLite file or URL of the catalog; others may read and write it meanwhile.
    path
        The new file.
    """
    source, target = Database(url), Database(path)
    try:
        with target.write() as to:
            _copy(source, to)
    finally:
        source.close()
        target.close()


def import_catalog(path: Path, url: str | Path) -> int:
    """Copy the rows of an exported catalog into an empty one.

    Parameters
    ----------
    path
        File that :func:`export_catalog` wrote, also of an earlier version of PEAR; it is brought to
        the present version.
    url
        Path of the SQLite file or URL of the catalog, which is made if there is none.

    Returns
    -------
    int
        Number of jobs that were queued or running: they are queued, to be computed from the start.
        InputError if the target holds anything, or a newer version of PEAR wrote the file.
    """
    source, target = Database(path), Database(url)
    try:
        with target.write() as to:
            _require_empty(to)
            _copy(source, to)
            active = sum(
                to.execute(
                    table.update().where(table.c.status.in_(ACTIVE)).values(**_QUEUED)
                ).rowcount
                for table in _JOBS
            )
            if not target.sqlite:
                # Rows that name their number do not move the sequence on.
                number = tables.events.c.number
                to.execute(
                    sa.select(
                        sa.func.setval(
                            sa.func.pg_get_serial_sequence("events", "number"),
                            sa.select(sa.func.coalesce(sa.func.max(number), 1)).scalar_subquery(),
                        )
                    )
                )
            return active
    finally:
        source.close()
        target.close()


def require_empty(url: str | Path) -> None:
    """Raise InputError if a catalog holds anything; one that does not exist is made."""
    target = Database(url)
    try:
        with target.read() as connection:
            _require_empty(connection)
    finally:
        target.close()


def _copied() -> list[sa.Table]:
    return [table for table in tables.metadata.sorted_tables if table is not tables.version]


def _require_empty(connection: Connection) -> None:
    for table in _copied():
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise InputError(
                f"the catalog to restore into is not empty: it has {table.name}",
                field="catalog",
                hint="give an empty database in PEAR_CATALOG, or unset it for one in the folder",
            )


def _copy(source: Database, to: Connection) -> None:
    """Copy all rows, read in one transaction that sees one moment."""
    with source.read() as connection:
        if not source.sqlite:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        for table in _copied():
            rows = connection.execute(sa.select(table)).mappings()
            while block := rows.fetchmany(_ROWS):
                to.execute(table.insert(), [_by_key(table, row) for row in block])


def _by_key(table: sa.Table, row: sa.RowMapping) -> dict[str, Any]:
    return {column.key: row[column] for column in table.columns}
