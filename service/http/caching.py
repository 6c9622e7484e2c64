"""Memory cache of what belongs to a run, and the validators of HTTP caching: ETag and 304."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final, Generic, TypeVar

from cachetools import LRUCache
from fastapi import Request, Response

from pear import __version__

T = TypeVar("T")
IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""Files of finished runs."""
RENDERED: Final = "public, max-age=86400"
"""Answers about finished runs: the values stay, but another version of PEAR may write them in
another form, which clients have a day later; ``ETag`` tells them whether it does."""


class CacheSection(Generic[T]):
    """Least-recently-used cache of one kind of value, bounded by total size; thread-safe.

    Parameters
    ----------
    max_size
        Upper bound of the summed sizes, in the unit of ``size_of``. Larger values are not kept.
    size_of
        Returns the size of a value.
    """

    def __init__(self, max_size: int, size_of: Callable[[T], int]) -> None:
        self._size_of = size_of
        self._entries: LRUCache[Hashable, tuple[str, T]] = LRUCache(
            max_size, getsizeof=lambda entry: size_of(entry[1])
        )
        self._lock = threading.Lock()
        self.hits = 0

    @property
    def size(self) -> int:
        """Summed size of the kept values."""
        return int(self._entries.currsize)

    def get(self, key: Hashable) -> T | None:
        """Return a value and mark it as used, or return None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self.hits += 1
            return entry[1]

    def put(self, run: str, key: Hashable, value: T) -> T:
        """Keep a value of a run under a key; return the value."""
        if self._size_of(value) <= self._entries.maxsize:
            with self._lock:
                self._entries[key] = (run, value)
        return value

    def get_or_compute(self, run: str, key: Hashable, compute: Callable[[], T]) -> T:
        """Return the kept value, or compute and keep it; two threads may both compute it."""
        kept = self.get(key)
        return kept if kept is not None else self.put(run, key, compute())

    def drop(self, run: str) -> None:
        """Remove every value of a run."""
        with self._lock:
            for key in [key for key, entry in self._entries.items() if entry[0] == run]:
                del self._entries[key]


class RunCache:
    """Everything that the process keeps in memory of finished runs, in sections by kind.

    Sections have bounds of their own, so that reading many fields does not evict responses.
    """

    def __init__(self) -> None:
        self._sections: list[CacheSection[Any]] = []

    def add_section(self, max_size: int, size_of: Callable[[T], int]) -> CacheSection[T]:
        """Create a section; see :class:`CacheSection`."""
        section = CacheSection(max_size, size_of)
        self._sections.append(section)
        return section

    def drop(self, run: str) -> None:
        """Remove everything that is kept of a run."""
        for section in self._sections:
            section.drop(run)


def make_etag(*parts: object) -> str:
    """Return the strong ETag of a response that these parts determine."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode("utf-8", "replace"))
    return f'"{digest.hexdigest()[:24]}"'


def make_answer_etag(*parts: object) -> str:
    """Return the strong ETag of what this version of PEAR makes of these parts."""
    return make_etag(__version__, *parts)


def etag_matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether an ``If-None-Match`` header names this ETag."""
    if if_none_match is None:
        return False
    # Compressed responses have weak tags; If-None-Match compares weakly (RFC 9110, 13.1.2).
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def last_modified(moment: datetime | None) -> dict[str, str]:
    """Return the header ``Last-Modified`` of what was finished at a moment; none without one."""
    if moment is None:
        return {}
    utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return {"Last-Modified": format_datetime(utc, usegmt=True)}


def date_matches(if_modified_since: str | None, modified: str | None) -> bool:
    """Return whether ``If-Modified-Since`` names exactly this date."""
    # Not a later one: when a run is removed, `latest` is one that was finished before.
    return modified is not None and if_modified_since == modified


def with_validators(request: Request, response: Response) -> Response:
    """Return a JSON response with an ETag of its content, or 304 if the client has that already.

    Parameters
    ----------
    request
        The request.
    response
        Its response; one that has an ETag, is not to be stored or is not JSON stays as it is.

    Returns
    -------
    Response
        With ``Cache-Control: no-cache`` unless the handler set another.
    """
    headers = response.headers
    if (
        request.method != "GET"
        or response.status_code != 200
        or "etag" in headers
        or "no-store" in headers.get("cache-control", "")
        or not headers.get("content-type", "").startswith("application/json")
        or not isinstance(body := getattr(response, "body", None), bytes)
    ):
        return response
    headers["ETag"] = make_etag(hashlib.sha256(body).hexdigest())
    headers.setdefault("Cache-Control", "no-cache")
    kept = ("ETag", "Cache-Control", "Last-Modified", "Link", "Vary")
    return (
        not_modified(request, {name: headers[name] for name in kept if name in headers}) or response
    )


def not_modified(request: Request, headers: dict[str, str]) -> Response | None:
    """Return a 304 response if the client already has the one with these headers, or None."""
    if_none_match = request.headers.get("if-none-match")
    since, modified = request.headers.get("if-modified-since"), headers.get("Last-Modified")
    same_date = if_none_match is None and date_matches(since, modified)  # ETags go first
    if not (same_date or etag_matches(if_none_match, headers["ETag"])):
        return None
    return Response(status_code=304, headers=headers)
