"""Who may do what, and how often: keys, and the guard that applies the rules.

Keys are random, so a plain SHA-256 of each is all that is stored. Without keys (on loopback) every
client may do everything; elsewhere a key is required unless the operator says otherwise.
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from pear.errors import InputError
from service.http.permissions import RULES, SCOPES, RoutePolicy, Scope
from service.http.problems import ProblemError

COOKIE: Final = "pear_key"


@dataclass(frozen=True)
class Key:
    """One API key, without the key itself."""

    name: str
    scope: Scope
    sha256: str
    created_at: str


class KeyFile:
    """The keys of a data folder: a JSON file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp = -1
        self._keys: dict[str, Key] = {}

    def all(self) -> list[Key]:
        """Every key, in the order they were made."""
        return list(self._load().values())

    def find(self, secret: str) -> Key | None:
        """Return the entry of a key that a client sent, or None."""
        digest = _digest(secret)
        found = self._load().get(digest)
        return found if found is not None and hmac.compare_digest(found.sha256, digest) else None

    def add(self, name: str, scope: Scope, created_at: str) -> str:
        """Make a key and return it; it can never be read again.

        Raises
        ------
        InputError
            If the name is taken.
        """
        keys = self._load()
        if any(key.name == name for key in keys.values()):
            raise InputError(f"there is a key named {name!r}", field="name")
        secret = "pear_" + secrets.token_urlsafe(32)
        self._write([*keys.values(), Key(name, scope, _digest(secret), created_at)])
        return secret

    def remove(self, name: str) -> None:
        """Forget a key.

        Raises
        ------
        InputError
            If there is none of this name.
        """
        keys = self._load()
        kept = [key for key in keys.values() if key.name != name]
        if len(kept) == len(keys):
            raise InputError(f"no key named {name!r}", field="name")
        self._write(kept)

    def _load(self) -> dict[str, Key]:
        try:
            stamp = self._path.stat().st_mtime_ns
        except OSError:
            return {}
        with self._lock:
            if stamp != self._stamp:
                rows = [Key(**row) for row in json.loads(self._path.read_text())]
                self._keys, self._stamp = {key.sha256: key for key in rows}, stamp
            return self._keys

    def _write(self, keys: list[Key]) -> None:
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".keys")  # mode 0600
        with os.fdopen(handle, "w") as file:
            json.dump([asdict(key) for key in keys], file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(self._path)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


@dataclass
class _Bucket:
    tokens: float
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Guard:
    """Applies the rules to requests.

    Attributes
    ----------
    keys
        Keys that are accepted.
    required
        Whether routes with a scope need one.
    per_minute
        Tokens of each client a minute; None for no limit.
    """

    keys: KeyFile
    required: bool
    per_minute: int | None
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, rule: RoutePolicy, headers: Headers, client: str) -> dict[str, str]:
        """Let a request pass; returns the headers that tell what is left of the rate limit.

        Raises
        ------
        ProblemError
            401 without a key where one is needed, 403 if its scope is too small, 429 if the
            client has asked for too much.
        """
        who = client
        if self.required and rule.scope is not None:
            key = self._key(headers)
            if SCOPES.index(key.scope) < SCOPES.index(rule.scope):
                raise ProblemError(
                    403,
                    f"key {key.name!r} may {key.scope}, this needs {rule.scope}",
                    field="X-API-Key",
                )
            who = key.sha256
        return self._take(who, rule.cost) if self.per_minute and rule.cost else {}

    def _key(self, headers: Headers) -> Key:
        secret = headers.get("x-api-key") or _cookie(headers)
        if secret is None:
            raise ProblemError(
                401,
                "this needs a key",
                field="X-API-Key",
                hint="send X-API-Key, or open /login in a browser; `pear keys add` makes keys",
                headers={"WWW-Authenticate": "X-API-Key"},
            )
        key = self.keys.find(secret)
        if key is None:
            raise ProblemError(
                401, "unknown key", field="X-API-Key", headers={"WWW-Authenticate": "X-API-Key"}
            )
        return key

    def _take(self, who: str, cost: int) -> dict[str, str]:
        limit, now = self.per_minute or 0, time.monotonic()
        with self._lock:
            if len(self._buckets) > 10_000:
                self._buckets.clear()  # clients by the thousand: start afresh, stay bounded
            bucket = self._buckets.setdefault(who, _Bucket(float(limit), now))
            bucket.tokens = min(limit, bucket.tokens + (now - bucket.at) * limit / 60)
            bucket.at = now
            short = cost - bucket.tokens
            if short <= 0:
                bucket.tokens -= cost
            left = int(bucket.tokens)
        headers = {
            "RateLimit-Policy": f'"default";q={limit};w=60',
            "RateLimit": f'"default";r={left};t={max(1, round((limit - left) * 60 / limit))}',
        }
        if short > 0:
            wait = max(1, round(short * 60 / limit))
            raise ProblemError(
                429,
                f"more than {limit} tokens a minute; this request costs {cost}",
                headers={**headers, "Retry-After": str(wait)},
            )
        return headers


def _cookie(headers: Headers) -> str | None:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return value
    return None


def client_of(scope: AsgiScope) -> str:
    """Address of the client, by which it is counted when it has no key."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def guarded(request: Request) -> None:
    """Apply the rule of the route that handles this request; a dependency of every route."""
    guard: Guard = request.app.state.guard
    method = "GET" if request.method == "HEAD" else request.method
    rule = RULES[method, request.scope["route"].path]
    client = client_of(request.scope)
    request.scope["pear_limits"] = guard.check(rule, request.headers, client)
    _refuse_repeated(request)


def _refuse_repeated(request: Request) -> None:
    """Refuse a parameter given twice: which of the two is meant, nobody can say."""
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) == len(set(names)):
        return
    for name in _query_names(request.scope["route"].dependant):
        if names.count(name) > 1:
            raise InputError(
                f"{name} is given {names.count(name)} times",
                field=name,
                hint="give it once; lists are separated by commas",
            )


def _query_names(dependant: Dependant) -> set[str]:
    """Names of the parameters that a route and what it depends on read from the query."""
    own = {str(param.alias) for param in dependant.query_params}
    return own.union(*(_query_names(each) for each in dependant.dependencies))
