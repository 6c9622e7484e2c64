"""What the services of several hosts share about their clients, in a catalog on PostgreSQL.

API keys are one document that each host copies into its own file. Rates are exchanged in intervals:
each host says what was taken from the buckets since the last time and learns what is left of them,
so that no request waits for the database. Of idempotency keys only hashes are kept, for a day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from pipelines.catalog import tables
from pipelines.catalog.database import Database

MAX_KEYS_PER_CLIENT: Final = 1_000
_KEPT: Final = timedelta(days=1)
_KEYS: Final = "api-keys"
_NOW: Final = sa.text("SELECT extract(epoch FROM clock_timestamp())")
_TAKE: Final = sa.text(
    """
    INSERT INTO rates (kind, client, tokens, at)
    VALUES (:kind, :client, :limit - :taken, extract(epoch FROM clock_timestamp()))
    ON CONFLICT (kind, client) DO UPDATE SET
        tokens = LEAST(
            :limit,
            rates.tokens + (extract(epoch FROM clock_timestamp()) - rates.at) * :limit / 60
        ) - :taken,
        at = extract(epoch FROM clock_timestamp())
    """
)
_CHANGED: Final = sa.text("SELECT client, tokens, at FROM rates WHERE kind = :kind AND at > :since")
_FULL: Final = sa.text(
    """
    DELETE FROM rates WHERE kind = :kind
    AND tokens + (extract(epoch FROM clock_timestamp()) - at) * :limit / 60 >= :limit
    """
)


@dataclass(frozen=True)
class Balances:
    """What is left in the buckets of clients.

    Attributes
    ----------
    tokens
        Tokens by client, below 0 if hosts gave more than there was before they knew.
    until
        Time of the database up to which changes are in; the next exchange begins there.
    """

    tokens: Mapping[str, float]
    until: float


class Clients:
    """API keys, rates and idempotency keys that hosts share.

    Attributes
    ----------
    shared
        True if the catalog is on PostgreSQL, where other hosts can see it.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = database, clock
        self.shared = not database.sqlite

    def read_keys(self) -> list[dict[str, Any]] | None:
        """Return the rows of the shared API keys; None if no host has shared any yet."""
        query = sa.select(tables.documents.c.content).where(tables.documents.c.name == _KEYS)
        with self._db.read() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else list(found["keys"])

    def change_keys(
        self,
        change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]],
        first: Sequence[Mapping[str, Any]] = (),
    ) -> list[dict[str, Any]]:
        """Replace the shared API keys, one host at a time.

        Parameters
        ----------
        change
            Takes the present rows, returns the new ones; if it raises, nothing changes.
        first
            The present rows if no host has shared any yet.

        Returns
        -------
        list of dict
            The new rows.
        """
        table, where = tables.documents, tables.documents.c.name == _KEYS
        with self._db.write() as connection:
            # The lock covers a row that does not exist yet, too.
            connection.execute(sa.text("LOCK TABLE documents IN SHARE ROW EXCLUSIVE MODE"))
            found = connection.execute(sa.select(table.c.content).where(where)).scalar()
            rows = [dict(row) for row in (first if found is None else found["keys"])]
            changed = change(rows)
            values = {"content": {"keys": changed}, "updated_at": self._clock()}
            if found is None:
                connection.execute(table.insert().values(name=_KEYS, **values))
            elif changed != rows:
                connection.execute(table.update().where(where).values(**values))
        return changed

    def exchange(
        self, kind: str, limit: int, taken: Mapping[str, float], since: float = 0.0
    ) -> Balances:
        """Take from shared buckets what was given to clients here, and learn what is left.

        Parameters
        ----------
        kind
            What the tokens are.
        limit
            Tokens of a full bucket, and those that flow in during one minute.
        taken
            Tokens by client since the last exchange.
        since
            ``until`` of the last exchange.

        Returns
        -------
        Balances
            Of all buckets that changed since then, here or at another host.
        """
        with self._db.write() as connection:
            # In one order, so that hosts do not wait for each other's rows in a circle.
            for client, tokens in sorted(taken.items()):
                values = {"kind": kind, "client": client, "taken": tokens, "limit": float(limit)}
                connection.execute(_TAKE, values)
            now = float(connection.execute(_NOW).scalar_one())
            rows = connection.execute(_CHANGED, {"kind": kind, "since": since}).all()
            connection.execute(_FULL, {"kind": kind, "limit": float(limit)})
        left = {
            client: min(float(limit), tokens + max(0.0, now - at) * limit / 60)
            for client, tokens, at in rows
        }
        # Changes of transactions that were under way have times before now: look back a little.
        return Balances(left, now - 2.0)

    def claim(self, client: str, key: str, body: str) -> tuple[bool, bool]:
        """Remember that a client used an idempotency key with a body.

        Parameters
        ----------
        client, key, body
            Their hashes.

        Returns
        -------
        is_same, is_new
            Whether the key is free or came with this body, and whether it is remembered anew.
        """
        table, now = tables.idempotency_keys, self._clock()
        own = sa.and_(table.c.client == client, table.c.key == key)
        with self._db.write() as connection:
            connection.execute(table.delete().where(table.c.created_at < now - _KEPT))
            done = connection.execute(
                sa.text(
                    "INSERT INTO idempotency_keys (client, key, body, created_at) "
                    "VALUES (:client, :key, :body, :at) ON CONFLICT DO NOTHING"
                ).bindparams(sa.bindparam("at", type_=tables.Moment())),
                {"client": client, "key": key, "body": body, "at": now},
            )
            kept = connection.execute(sa.select(table.c.body).where(own)).scalar_one()
            if done.rowcount:
                oldest = (
                    sa.select(table.c.key)
                    .where(table.c.client == client)
                    .order_by(table.c.created_at.desc(), table.c.key)
                    .offset(MAX_KEYS_PER_CLIENT)
                )
                connection.execute(
                    table.delete().where(table.c.client == client, table.c.key.in_(oldest))
                )
        return kept == body, bool(done.rowcount)

    def release(self, client: str, key: str) -> None:
        """Forget an idempotency key, because its request failed."""
        table = tables.idempotency_keys
        query = table.delete().where(table.c.client == client, table.c.key == key)
        with self._db.write() as connection:
            connection.execute(query)
