"""Locks among hosts: advisory locks of PostgreSQL, held by a session of each process.

The server releases them when the process dies or its host stops answering, as the kernel does with
lock files on one file system.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

# The schema belongs to the name: locks are those of a database, which may hold several catalogs.
_KEY = "hashtextextended(current_schema() || '/' || :name, 0)"
_TAKE = sa.text(f"SELECT pg_try_advisory_lock({_KEY})")
_GIVE_BACK = sa.text(f"SELECT pg_advisory_unlock({_KEY})")
_SHARE = sa.text(f"SELECT pg_try_advisory_lock_shared({_KEY})")
_GIVE_BACK_SHARED = sa.text(f"SELECT pg_advisory_unlock_shared({_KEY})")


class HostLocks:
    """Locks that one process holds among all hosts.

    All are held by one connection, so that a batch of many jobs needs no more. Within the process
    they do not exclude each other. If the connection is lost, so are they.

    Parameters
    ----------
    engine
        Engine of the PostgreSQL database without a pool, which would give a connection to others
        with the locks that it holds.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._mutex = threading.Lock()

    @contextmanager
    def hold(self, name: str, *, shared: bool = False) -> Iterator[bool]:
        """Hold a lock while the block runs.

        Parameters
        ----------
        name
            What is locked.
        shared
            Whether others may hold it too, as long as nobody wants it alone.

        Yields
        ------
        bool
            False, immediately, if a process of another host holds it.
        """
        held = self._take(name, _SHARE if shared else _TAKE)
        try:
            yield held
        finally:
            if held:
                self._give_back(name, _GIVE_BACK_SHARED if shared else _GIVE_BACK)

    def close(self) -> None:
        """Release all locks."""
        with self._mutex:
            self._drop()

    def _take(self, name: str, how: sa.TextClause) -> bool:
        with self._mutex:
            try:
                return bool(self._session().execute(how, {"name": name}).scalar_one())
            except (sa.exc.DBAPIError, sa.exc.InvalidRequestError):
                self._drop()  # the server was restarted, or the network lost
                return bool(self._session().execute(how, {"name": name}).scalar_one())

    def _give_back(self, name: str, how: sa.TextClause) -> None:
        with self._mutex:
            if self._connection is None:
                return
            try:
                self._connection.execute(how, {"name": name})
            except sa.exc.SQLAlchemyError:
                self._drop()

    def _session(self) -> Connection:
        if self._connection is None:
            made = self._engine.connect()
            self._connection = made.execution_options(isolation_level="AUTOCOMMIT")
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sa.exc.SQLAlchemyError):
                self._connection.invalidate()
                self._connection.close()
            self._connection = None
