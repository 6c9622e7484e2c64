"""Memory of idempotency keys: the same key with another body is refused.

Requests are idempotent by themselves (a run is addressed by what it computes), so only recent keys
are kept: in memory, and for a day in a catalog that hosts share. Of key and body only the hashes.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipelines.catalog.clients import Clients
from service.http.errors import ProblemError

MAX_KEYS: Final = 10_000
MAX_KEYS_PER_CLIENT: Final = 1_000
_OTHER_BODY: Final = "this idempotency key was used with another request body"
_FIELD: Final = "Idempotency-Key"
_HINT: Final = "use a new key for a new request"


class IdempotencyMemory:
    """Hashes of the bodies that came with the idempotency keys of each client.

    A client that uses very many keys loses its own oldest ones, never those of others.

    Parameters
    ----------
    max_keys, max_per_client
        Largest number of keys in all, and of one client.
    """

    def __init__(self, max_keys: int = MAX_KEYS, max_per_client: int = MAX_KEYS_PER_CLIENT) -> None:
        self._max_keys, self._max_per_client = max_keys, max_per_client
        self._clients: dict[str, OrderedDict[bytes, bytes]] = {}
        self._under_way: defaultdict[tuple[str, bytes], list[bytes]] = defaultdict(list)
        self._count = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def use(self, client: str, key: str | None, body: str) -> Iterator[None]:
        """Refuse a key that came with another body ; remember it if the block succeeds.

        Parameters
        ----------
        client
            Who sent the request; clients do not share keys.
        key
            The idempotency key; None if there is none.
        body
            The request body in canonical form.

        Raises
        ------
        ProblemError
            422 if the client used the key with another body before.
        """
        if key is None:
            yield
            return
        name, digest = _hash(key), _hash(body)
        with self._lock:
            kept = self._clients.get(client)
            known = None if kept is None else kept.get(name)
            under_way = self._under_way[client, name]
            if (known or digest) != digest or any(other != digest for other in under_way):
                raise ProblemError(422, _OTHER_BODY, field=_FIELD, hint=_HINT)
            under_way.append(digest)
        try:
            yield
        except BaseException:
            self._end(client, name, digest, succeeded=False)
            raise
        self._end(client, name, digest, succeeded=True)

    def _end(self, client: str, name: bytes, digest: bytes, *, succeeded: bool) -> None:
        with self._lock:
            self._under_way[client, name].remove(digest)
            if not self._under_way[client, name]:
                del self._under_way[client, name]
            if succeeded:
                self._remember(client, name, digest)

    def _remember(self, client: str, name: bytes, digest: bytes) -> None:
        kept = self._clients.setdefault(client, OrderedDict())
        self._count += name not in kept
        kept.setdefault(name, digest)
        kept.move_to_end(name)
        if len(kept) > self._max_per_client:
            self._forget_oldest(client)
        if self._count > self._max_keys:
            self._forget_oldest(max(self._clients, key=lambda each: len(self._clients[each])))

    def _forget_oldest(self, client: str) -> None:
        kept = self._clients[client]
        kept.popitem(last=False)
        self._count -= 1
        if not kept:
            del self._clients[client]


@contextmanager
def share_idempotency_key(
    clients: Clients, client: str, key: str | None, body: str
) -> Iterator[None]:
    """Refuse a key that came with another body to any host; keep it if the block succeeds.

    Does nothing without a key, or where hosts share no catalog.

    Parameters
    ----------
    clients
        What the hosts share.
    client, key, body
        As of :meth:`IdempotencyMemory.use`.

    Raises
    ------
    ProblemError
        422 if the client used the key with another body before.
    """
    if key is None or not clients.shared:
        yield
        return
    owner, name, digest = (_hash(text).hex() for text in (client, key, body))
    is_same, is_new = clients.claim(owner, name, digest)
    if not is_same:
        raise ProblemError(422, _OTHER_BODY, field=_FIELD, hint=_HINT)
    try:
        yield
    except BaseException:
        if is_new:
            clients.release(owner, name)
        raise


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
