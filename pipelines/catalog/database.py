"""Database of the catalog: SQLite in WAL mode, or PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from pear.errors import InputError
from pipelines.catalog.host_locks import HostLocks
from pipelines.catalog.read_only import ReadOnlyFile, is_protected
from pipelines.catalog.tables import VERSION, migrate, version
from pipelines.storage.data_folder import UnwritableError

if TYPE_CHECKING:
    import psycopg

_BUSY_SECONDS = 30.0
_PROBE_SECONDS = 2.0
_IDLE_SESSIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'pear'
      AND state LIKE 'idle in transaction%'
      AND state_change < clock_timestamp() - interval '2 seconds'
"""
_POSTGRESQL: Final = {
    "application_name": "pear",
    "lock_timeout": "30s",
    "statement_timeout": "120s",
    # The server ends the transaction of a process that was frozen inside it.
    "idle_in_transaction_session_timeout": "60s",
    # It ends the session of a host that has vanished, and so releases its locks, within 30 s.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "4",
    "tcp_user_timeout": "30s",
}
_CLIENT: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""Options of libpq: without them a request to a server that has vanished waits for hours."""
_REBUILD: Final = "`pear catalog rebuild --data DIR` makes it anew from the stores"
_POSTGRES: Final = "postgresql"
_MIGRATION_LOCK = 0x50454152  # "PEAR": the advisory lock that lets one process migrate at a time

UNAVAILABLE: Final = (sa.exc.DatabaseError, sa.exc.InterfaceError, sa.exc.TimeoutError)
"""Exceptions raised while the database is unreachable, locked or damaged."""


class Database:
    """Database with read and write transactions.

    A write transaction of SQLite takes the write lock when it begins. Otherwise one that reads
    first and then writes would fail immediately if another writer committed in between.

    A SQLite file that may not be written, or lies on a read-only file system, is only read; where
    there is none and none can be made, an empty one is made in a temporary folder.

    Parameters
    ----------
    url
        A path or ``sqlite:///PATH``, or ``postgresql://USER:PASSWORD@HOST/NAME``.

    Attributes
    ----------
    read_only, temporary
        As of :class:`pipelines.catalog.Catalog`.

    Raises
    ------
    InputError
        If the URL is invalid, the driver is missing, the database cannot be opened, or a newer
        version of PEAR created it.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = _url(url)
        options = {"connect_args": dict(_CLIENT)} if self.url.startswith(_POSTGRES) else {}
        try:
            self.engine: Engine = sa.create_engine(self.url, pool_pre_ping=True, **options)
        except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError) as error:
            raise InputError(
                f"catalog {self.url!r} is not a database URL",
                field="catalog",
                hint="give the path of a SQLite file or postgresql://USER:PASSWORD@HOST/NAME",
            ) from error
        except ModuleNotFoundError as error:
            raise InputError(
                f"catalog {self.url!r} needs {error.name}",
                field="catalog",
                hint="pip install 'pear-weather[postgres]'",
            ) from error
        self.sqlite = self.engine.dialect.name == "sqlite"
        self.read_only = self.temporary = False
        self._locks: HostLocks | None = None
        self._copy: ReadOnlyFile | None = None
        if self.sqlite:
            self._open_protected()
            prepare = _prepare_read_only if self.read_only else _prepare_sqlite
            sa.event.listen(self.engine, "connect", prepare)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        else:
            alone = sa.create_engine(self.url, poolclass=sa.pool.NullPool, **options)
            for each in (self.engine, alone):
                sa.event.listen(each, "connect", _prepare_postgresql)
            self._locks = HostLocks(alone)
        try:
            if self.sqlite:
                self._require_sound()
            if self.read_only:
                self._require_version()
            else:
                self._migrate()
        except BaseException as error:
            self.close()
            if isinstance(error, sa.exc.DatabaseError):
                raise InputError(
                    f"catalog {self.engine.url!r} cannot be opened: {error.orig}",
                    field="catalog",
                    hint=_REBUILD if self.sqlite else None,
                ) from error
            raise

    def _open_protected(self) -> None:
        """Replace the engine by one that only reads, if the file cannot be written."""
        path = Path(str(self.engine.url.database))
        if not self.engine.url.database or not is_protected(path):
            return
        self._copy = ReadOnlyFile(path)
        if path.exists():
            self.read_only = True
            # Each transaction looks anew how the file can be read: another machine may write it.
            self.engine = sa.create_engine(
                self.url, creator=self._copy.connect, poolclass=sa.pool.NullPool
            )
        else:
            self.temporary = True
            self.engine = sa.create_engine(f"sqlite:///{self._copy.private}", pool_pre_ping=True)

    def _require_version(self) -> None:
        """Raise if a catalog that cannot be migrated has another version."""
        with self.read() as connection:
            found = connection.execute(sa.select(version.c.version)).scalar()
        if found != VERSION:
            raise InputError(
                f"catalog {self.engine.url.database} has version {found}, this PEAR reads "
                f"version {VERSION}, and the file cannot be written",
                field="catalog",
                hint="open it once where it can be written, or copy the folder",
            )

    def _require_sound(self) -> None:
        """Raise unless the pages of a SQLite catalog fit together."""
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise InputError(
                f"catalog {self.engine.url.database} is damaged: {found}",
                field="catalog",
                hint=_REBUILD,
            )

    def _migrate(self) -> None:
        with self.write() as connection:
            if not self.sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            migrate(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read-only transaction that sees one snapshot of the catalog."""
        with self.engine.connect() as connection:
            yield connection.execution_options(pear_read=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that is committed as a whole or not at all."""
        if self.read_only:
            raise UnwritableError(
                f"the catalog cannot be written: {self.engine.url.database} is read-only",
                field="--data",
                hint="what it holds can be read; submit work where it is writable",
            )
        with self.engine.begin() as connection:
            yield connection

    def find_damage(self) -> list[str]:
        """Return what is wrong with a SQLite file; nothing for PostgreSQL."""
        if not self.sqlite:
            return []
        with self.read() as connection:
            rows = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars()
            return [str(row) for row in rows if row != "ok"]

    def is_locked(self) -> bool:
        """Return whether a process stays inside a write transaction, which takes milliseconds.

        Returns
        -------
        bool
            SQLite: another process keeps the write lock for seconds. PostgreSQL: a session of PEAR
            has been idle within its transaction for seconds.
        """
        if not self.sqlite:
            with self.read() as connection:
                return bool(connection.execute(sa.text(_IDLE_SESSIONS)).scalar_one())
        if self.read_only:
            return False
        path = str(self.engine.url.database)
        probe = sqlite3.connect(path, timeout=_PROBE_SECONDS, isolation_level=None)
        with closing(probe) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            connection.execute("ROLLBACK")
        return False

    @contextmanager
    def lock_among_hosts(self, name: str, *, shared: bool = False) -> Iterator[bool]:
        """Hold a lock that processes of other hosts see; of SQLite, which one host has, none.

        Parameters
        ----------
        name
            What is locked.
        shared
            Whether other hosts may hold it too, as long as none wants it alone.

        Yields
        ------
        bool
            False, immediately, if another host holds it.
        """
        if self._locks is None:
            yield True
            return
        with self._locks.hold(name, shared=shared) as held:
            yield held

    def upsert(
        self,
        table: sa.Table,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
        once: Mapping[str, Any],
    ) -> None:
        """Update the row with this key, or insert it; ``once`` is written on insertion only."""
        same = sa.and_(*(table.c[name] == value for name, value in key.items()))
        update = table.update().where(same).values(**values)
        with self.write() as connection:
            if connection.execute(update).rowcount:
                return
            try:
                with connection.begin_nested():
                    connection.execute(table.insert().values(**key, **values, **once))
            except sa.exc.IntegrityError:  # another process inserted it in between
                connection.execute(update)

    def close(self) -> None:
        """Close all connections."""
        if self._locks is not None:
            self._locks.close()
        self.engine.dispose()
        if self._copy is not None:
            self._copy.close()


def is_sound(path: Path) -> bool:
    """Return whether SQLite can read every page and index of a catalog.

    Returns
    -------
    bool
        False also for a file of another kind.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()
            connection.execute("SELECT version FROM schema_version")
    except sqlite3.Error:
        return False
    return bool(found == ("ok",))


def _url(url: str | Path) -> str:
    text = str(url)
    if isinstance(url, Path) or "://" not in text:
        return f"sqlite:///{Path(text).resolve()}"
    for plain in ("postgresql://", "postgres://"):
        if text.startswith(plain):
            return _POSTGRES + "+psycopg://" + text.removeprefix(plain)
    return text


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # SQLAlchemy begins transactions (see below); the driver would begin one only before the first
    # write, which is too late.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
    _write_ahead(cursor)
    # FULL: an acknowledged run survives a power cut, at a cost of milliseconds per step.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _prepare_read_only(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")


def _prepare_postgresql(connection: psycopg.Connection, _record: object) -> None:
    connection.autocommit = True  # the settings outlive a transaction that is rolled back
    for name, value in _POSTGRESQL.items():
        connection.execute(f"SET {name} = '{value}'")
    connection.autocommit = False


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Set WAL mode; retry, because SQLite does not wait for another process that sets it now."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("pear_read", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
