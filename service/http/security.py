"""Access control: the policy of each route applied to keys, scopes and rates of requests.

On loopback no key is needed; elsewhere one is, unless the operator decides otherwise.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cachetools import LRUCache
from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope as AsgiScope

from pipelines.catalog.clients import Clients
from service.http.errors import ProblemError
from service.http.keys import ApiKey, KeyFile
from service.http.permissions import KEY_IN_QUERY, SCOPES, RoutePolicy, Scope
from service.http.request_state import RawHeaders, encode_headers

COOKIE: Final = "pear_key"
FAILURES_PER_MINUTE: Final = 120
_MAX_CLIENTS: Final = 10_000


@dataclass(frozen=True)
class Access:
    """Access that was granted.

    Attributes
    ----------
    client
        The client: the hash of its key, or its address.
    headers
        Headers of the response that describe the rate limit.
    scope
        Scope of its key; the widest where no key is needed, None on a public route of a service
        that needs one.
    key
        Name of its key, if one was needed.
    """

    client: str
    headers: RawHeaders
    scope: Scope | None = None
    key: str | None = None


class RateLimiter:
    """Token buckets, one for each client; a full bucket holds the tokens of one minute.

    Parameters
    ----------
    per_minute
        Tokens that a client gains each minute; None for no limit.
    what
        What a token is, for the message.
    kind
        Name of these buckets among those that hosts share.
    """

    def __init__(
        self, per_minute: int | None, what: str = "tokens", kind: str = "requests"
    ) -> None:
        self._limit, self._what, self._kind = per_minute, what, kind
        self._taken: dict[str, float] | None = None
        self._since = 0.0
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
                if self._taken is not None:
                    self._taken[client] = self._taken.get(client, 0.0) + cost
            self._buckets[client] = (tokens, now)
        seconds_to_full = max(1, round((limit - int(tokens)) * 60 / limit))
        headers = {
            "RateLimit-Policy": f'"default";q={limit};w=60',
            "RateLimit": f'"default";r={max(0, int(tokens))};t={seconds_to_full}',
        }
        if missing > 0:
            raise ProblemError(
                429,
                f"rate limit of {limit} {self._what} a minute exceeded; this request costs {cost}",
                headers={**headers, "Retry-After": str(max(1, round(missing * 60 / limit)))},
            )
        return headers

    def exchange(self, clients: Clients) -> None:
        """Tell other hosts what was taken here, and learn what was taken there.

        Between two calls a host gives what is left as far as it knows; what was too much is taken
        off afterwards. While the database is away each host limits by itself.

        Parameters
        ----------
        clients
            What the hosts share.
        """
        limit = self._limit
        if limit is None:
            return
        with self._lock:
            taken, self._taken = self._taken or {}, {}
        try:
            left = clients.exchange(self._kind, limit, taken, self._since)
        except BaseException:
            with self._lock:
                for client, tokens in taken.items():
                    if len(self._taken) < _MAX_CLIENTS:
                        self._taken[client] = self._taken.get(client, 0.0) + tokens
            raise
        now = time.monotonic()
        with self._lock:
            for client, tokens in left.tokens.items():
                self._buckets[client] = (tokens - self._taken.get(client, 0.0), now)
        self._since = left.until


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
    failures_per_minute
        Requests of one address without a valid key that are looked at; further ones get 429.
    """

    def __init__(
        self,
        keys: KeyFile,
        *,
        keys_required: bool,
        per_minute: int | None,
        failures_per_minute: int = FAILURES_PER_MINUTE,
    ) -> None:
        self.keys, self.keys_required = keys, keys_required
        self._limiter = RateLimiter(per_minute)
        self._failures = RateLimiter(
            failures_per_minute, "requests without a valid key", "failures"
        )

    def exchange(self, clients: Clients) -> None:
        """Bring keys and rates in line with those of other hosts.

        Parameters
        ----------
        clients
            What the hosts share.
        """
        self.keys.synchronise()
        self._limiter.exchange(clients)
        self._failures.exchange(clients)

    def check(
        self, policy: RoutePolicy, headers: Headers, address: str, secret: str | None = None
    ) -> Access:
        """Check that a request may pass.

        Parameters
        ----------
        policy
            Policy of its route.
        headers
            Headers of the request.
        address
            Address of the client.
        secret
            Key that came in another way than by a header.

        Returns
        -------
        Access
            The client, and its rate limit.

        Raises
        ------
        ProblemError
            401 without a valid key where one is required, 403 if its scope does not suffice, 429
            if the client exceeds its rate limit, or its address that of wrong keys.
        """
        client, name = address, None
        scope: Scope | None = None if self.keys_required else SCOPES[-1]
        if self.keys_required and policy.scope is not None:
            key = self._find_key(headers, address, secret)
            scope, name = key.scope, key.name
            if SCOPES.index(key.scope) < SCOPES.index(policy.scope):
                raise ProblemError(
                    403,
                    f"API key {key.name!r} has scope {key.scope!r}; "
                    f"this request needs {policy.scope!r}",
                    field="X-API-Key",
                )
            client = key.sha256
        limits = encode_headers(self._limiter.take(client, policy.cost))
        return Access(client, limits, scope, name)

    def check_link(self, policy: RoutePolicy, client: str) -> Access:
        """Check that a request with a signed link may pass.

        Parameters
        ----------
        policy
            Policy of its route.
        client
            Who the link counts as.

        Returns
        -------
        Access
            The client, and its rate limit.

        Raises
        ------
        ProblemError
            403 if the route needs more than the scope of reading, 429 if the client exceeds its
            rate limit.
        """
        if policy.scope not in (None, "read"):
            raise ProblemError(403, "a signed link reads, and changes nothing")
        return Access(client, encode_headers(self._limiter.take(client, policy.cost)), "read")

    def count_failure(self, address: str) -> None:
        """Count a wrong link against an address; a 429 problem if there were too many."""
        self._failures.take(address, 1)

    def find_key(self, secret: str | None, address: str) -> ApiKey | None:
        """Return the key with this secret, or None; count a wrong one against the address.

        A right key passes whatever others did from its address.

        Parameters
        ----------
        secret
            What the client sent.
        address
            Address of the client.

        Returns
        -------
        ApiKey or None
            The key; a 429 problem if too many wrong ones came from the address.
        """
        key = None if secret is None else self.keys.find(secret)
        if key is None:
            self._failures.take(address, 1)
        return key

    def _find_key(self, headers: Headers, address: str, secret: str | None) -> ApiKey:
        secret = (
            headers.get("x-api-key") or _read_bearer(headers) or secret or _read_cookie(headers)
        )
        key = self.find_key(secret, address)
        if key is not None:
            return key
        readable, state = self.keys.check()
        if not readable:
            raise ProblemError(503, f"API keys cannot be checked: {state}", hint="see /readyz")
        raise ProblemError(
            401,
            "an API key is required" if secret is None else "the API key is not known",
            field="X-API-Key",
            hint="send X-API-Key or Authorization: Bearer, or open /login in a browser; "
            "`pear keys add` creates keys",
            headers={"WWW-Authenticate": 'X-API-Key, Bearer realm="PEAR"'},
        )


def key_in_query(route: str, query: bytes) -> str | None:
    """Return the key in the query string of a route that takes one there."""
    if route not in KEY_IN_QUERY or b"apikey" not in query:
        return None
    return QueryParams(query).get("apikey")


def _read_bearer(headers: Headers) -> str | None:
    """Return the key of ``Authorization: Bearer``, as Prometheus and others send it."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return (secret.strip() or None) if scheme.lower() == "bearer" else None


def _read_cookie(headers: Headers) -> str | None:
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return value
    return None


def client_address(scope: AsgiScope) -> str:
    """Return the address that identifies a client without a key: of IPv6, the network of /64."""
    client = scope.get("client")
    return _identify(str(client[0])) if client else ""


@lru_cache(maxsize=4096)  # each request asks several times
def _identify(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text  # a Unix socket
    if address.version == 6:
        mapped = address.ipv4_mapped
        network = ipaddress.ip_network((int(address) >> 64 << 64, 64))
        return str(mapped or network)
    return text
