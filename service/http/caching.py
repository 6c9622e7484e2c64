"""Bounded caches by bytes, and answers that never change: strong ETags and 304."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import Request

T = TypeVar("T")
IMMUTABLE = "public, max-age=31536000, immutable"


class BoundedCache(Generic[T]):
    """Least-recently-used cache that holds at most so many bytes; safe among threads.

    Parameters
    ----------
    limit
        Bytes.
    size
        How many bytes a value takes.
    """

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit, self._size = limit, size
        self._items: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: Hashable) -> T | None:
        """Return the value and mark it as used, or None."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                self.hits += 1
                return self._items[key]
            self.misses += 1
            return None

    def put(self, key: Hashable, value: T) -> T:
        """Keep a value; forget the longest unused ones if there is no room. Returns the value."""
        size = self._size(value)
        if size > self._limit:
            return value
        with self._lock:
            if key in self._items:
                self.bytes -= self._size(self._items.pop(key))
            self._items[key] = value
            self.bytes += size
            while self.bytes > self._limit:
                _, old = self._items.popitem(last=False)
                self.bytes -= self._size(old)
        return value

    def get_or(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the kept value, or make and keep it; two threads may both make it."""
        found = self.get(key)
        return found if found is not None else self.put(key, make())

    def drop(self, matches: Callable[[Hashable], bool]) -> None:
        """Forget every entry whose key matches."""
        with self._lock:
            for key in [key for key in self._items if matches(key)]:
                self.bytes -= self._size(self._items.pop(key))


@dataclass(frozen=True)
class CachedBody:
    """A finished answer: the bytes, what they are, and the headers that describe them."""

    body: bytes
    media_type: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def size(self) -> int:
        """Bytes, with room for the headers."""
        return len(self.body) + 512


def etag_of(*parts: object) -> str:
    """Strong ETag of an answer that is determined by these parts."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode("utf-8", "replace"))
    return f'"{digest.hexdigest()[:24]}"'


def matches_etag(request: Request, etag: str) -> bool:
    """Whether the client already holds the answer with this ETag."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    return given.strip() == "*" or etag in [tag.strip() for tag in given.split(",")]
