"""API keys, and the access control that applies the policy of each route.

Keys are random, so only a plain SHA-256 digest of each is stored. On loopback no key is needed;
elsewhere one is, unless the operator decides otherwise.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cachetools import LRUCache
from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from pear.errors import InputError
from service.http.errors import ProblemError
from service.http.permissions import SCOPES, RoutePolicy, Scope
from service.http.request_state import RawHeaders, encode_headers

COOKIE: Final = "pear_key"
_MAX_CLIENTS: Final = 10_000


@dataclass(frozen=True)
class ApiKey:
    """One API key, without its secret."""

    name: str
    scope: Scope
    sha256: str
    created_at: str


class KeyFile:
    """API keys of a data folder, in a JSON file that only its owner can read.

    Parameters
    ----------
    path
        The file; a missing one holds no keys.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._modified_at = -1
        self._keys: dict[str, ApiKey] = {}

    def all(self) -> list[ApiKey]:
        """Return every key, in the order of creation."""
        return list(self._load().values())

    def find(self, secret: str) -> ApiKey | None:
        """Return the key with this secret, or None."""
        digest = _sha256(secret)
        key = self._load().get(digest)
        return key if key is not None and hmac.compare_digest(key.sha256, digest) else None

    def add(self, name: str, scope: Scope, created_at: str) -> str:
        """Create a key.

        Returns
        -------
        str
            The secret, which cannot be read again.

        Raises
        ------
        InputError
            If a key of this name exists.
        """
        keys = self.all()
        if any(key.name == name for key in keys):
            raise InputError(
                f"an API key named {name!r} exists",
                field="name",
                hint="choose another name, or remove it first",
            )
        secret = "pear_" + secrets.token_urlsafe(32)
        self._write([*keys, ApiKey(name, scope, _sha256(secret), created_at)])
        return secret

    def remove(self, name: str) -> None:
        """Remove a key.

        Raises
        ------
        InputError
            If no key has this name.
        """
        keys = self.all()
        kept = [key for key in keys if key.name != name]
        if len(kept) == len(keys):
            names = ", ".join(key.name for key in keys) or "none"
            raise InputError(f"no API key named {name!r}", field="name", hint=f"keys: {names}")
        self._write(kept)

    def _load(self) -> dict[str, ApiKey]:
        try:
            modified_at = self._path.stat().st_mtime_ns
        except OSError:
            return {}
        with self._lock:
            if modified_at != self._modified_at:
                keys = [ApiKey(**row) for row in json.loads(self._path.read_text())]
                self._keys = {key.sha256: key for key in keys}
                self._modified_at = modified_at
            return self._keys

    def _write(self, keys: list[ApiKey]) -> None:
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".keys")  # mode 0600
        with os.fdopen(handle, "w") as file:
            json.dump([asdict(key) for key in keys], file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self._path)


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class RateLimiter:
    """Token buckets, one for each client; a full bucket holds the tokens of one minute.

    Parameters
    ----------
    per_minute
        Tokens that a client gains each minute; None for no limit.
    """

    def __init__(self, per_minute: int | None) -> None:
        self._limit = per_minute
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(_MAX_CLIENTS)
        self._lock = threading.Lock()

    def take(self, client: str, cost: int) -> dict[str, str]:
        """Take tokens from the bucket of a client.

        Returns
        -------
        dict
            ``RateLimit`` headers (draft-ietf-httpapi-ratelimit-headers) with what is left.

        Raises
        ------
        ProblemError
            429 if the bucket holds fewer tokens.
        """
        limit = self._limit
        if limit is None or cost == 0:
            return {}
        now = time.monotonic()
        with self._lock:
            tokens, filled_at = self._buckets.get(client, (float(limit), now))
            tokens = min(limit, tokens + (now - filled_at) * limit / 60)
            missing = cost - tokens
            if missing <= 0:
                tokens -= cost
            self._buckets[client] = (tokens, now)
        seconds_to_full = max(1, round((limit - int(tokens)) * 60 / limit))
        headers = {
            "RateLimit-Policy": f'"default";q={limit};w=60',
            "RateLimit": f'"default";r={int(tokens)};t={seconds_to_full}',
        }
        if missing > 0:
            raise ProblemError(
                429,
                f"rate limit of {limit} tokens a minute exceeded; this request costs {cost}",
                headers={**headers, "Retry-After": str(max(1, round(missing * 60 / limit)))},
            )
        return headers


class AccessControl:
    """Applies the policy of a route to a request: key, scope and rate limit.

    Parameters
    ----------
    keys
        Accepted keys.
    keys_required
        True if routes with a scope need a key.
    per_minute
        Rate limit of each client, tokens; None for no limit.
    """

    def __init__(self, keys: KeyFile, *, keys_required: bool, per_minute: int | None) -> None:
        self.keys = keys
        self._keys_required = keys_required
        self._limiter = RateLimiter(per_minute)

    def check(self, policy: RoutePolicy, headers: Headers, client: str) -> RawHeaders:
        """Check that a request may pass.

        Returns
        -------
        list
            Headers of the response that describe the rate limit.

        Raises
        ------
        ProblemError
            401 without a valid key where one is required, 403 if its scope does not suffice, 429
            if the client exceeds its rate limit.
        """
        if self._keys_required and policy.scope is not None:
            key = self._find_key(headers)
            if SCOPES.index(key.scope) < SCOPES.index(policy.scope):
                raise ProblemError(
                    403,
                    f"API key {key.name!r} has scope {key.scope!r}; "
                    f"this request needs {policy.scope!r}",
                    field="X-API-Key",
                )
            client = key.sha256
        return encode_headers(self._limiter.take(client, policy.cost))

    def _find_key(self, headers: Headers) -> ApiKey:
        secret = headers.get("x-api-key") or _read_cookie(headers)
        key = None if secret is None else self.keys.find(secret)
        if key is not None:
            return key
        raise ProblemError(
            401,
            "an API key is required" if secret is None else "the API key is not known",
            field="X-API-Key",
            hint="send X-API-Key, or open /login in a browser; `pear keys add` creates keys",
            headers={"WWW-Authenticate": "X-API-Key"},
        )


def _read_cookie(headers: Headers) -> str | None:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return value
    return None


def client_address(scope: AsgiScope) -> str:
    """Return the address of the client, which identifies it when it has no key."""
    client = scope.get("client")
    return str(client[0]) if client else ""
