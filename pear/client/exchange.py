"""Requests to a service, without input and output of their own.

Each operation is a generator: it yields what is to be done, an :class:`Ask` or a :class:`Wait`, and
is sent the response. One driver sends them with blocking sockets, another one in an event loop
(:mod:`pear.client.transport`), so that retries, errors and the order of requests are written once.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

import httpx

from pear.addresses import without_secrets
from pear.client.errors import RefusedError, UnavailableError
from pear.errors import InputError

_RETRIED: Final = (429, 503)
_MOST_RETRIES: Final = 20
_MOST_RECONNECTIONS: Final = 2
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 8.0
_MOST_SHOWN: Final = 2000


@dataclass(frozen=True)
class Server:
    """Where a service is, and how patiently it is asked.

    Attributes
    ----------
    url
        Address without a slash at its end.
    key
        API key; shown nowhere.
    timeout
        Longest silence of the service, seconds.
    patience
        Longest time that one request is repeated while the service is busy, seconds.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 60.0
    patience: float = 60.0

    def __post_init__(self) -> None:
        for name, value in (("timeout", self.timeout), ("patience", self.patience)):
            if not (math.isfinite(value) and value >= 0) or (name == "timeout" and value == 0):
                raise InputError(f"{name} {value} is not a number of seconds", field=name)

    @classmethod
    def at(cls, url: str, key: str | None, timeout: float, patience: float) -> Server:
        """Return the service at an address.

        Returns
        -------
        Server
            Not asked yet.

        Raises
        ------
        InputError
            If the address or the key cannot be one; a key is never repeated.
        """
        shown = without_secrets(str(url))
        try:
            parts = urlsplit(str(url).strip())
            fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits or parts.query or parts.fragment:
            raise InputError(
                f"{shown!r} is not the address of a service",
                field="url",
                hint="give it as http://127.0.0.1:8000 or https://HOST/PATH",
            )
        if "@" in parts.netloc:
            raise InputError(
                f"{shown} holds a user name", field="url", hint="give the API key by key="
            )
        if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
            raise InputError(
                "the API key holds what no key has: it is empty, or has spaces, line breaks or "
                "letters outside ASCII",
                field="key",
                hint="`pear keys add NAME` prints a key",
            )
        address = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        # The paths of the service begin with /v1, which many give as a part of its address.
        return cls(address.removesuffix("/v1").rstrip("/"), key, timeout, patience)

    def scrub(self, text: str) -> str:
        """Return a text of the service or of a library without the key and other secrets."""
        text = without_secrets(text)
        text = text if self.key is None else text.replace(self.key, "[key]")
        return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes
    ----------
    method, path
        HTTP method, and path below the address of the service.
    params
        Parameters of the query.
    body
        JSON.
    headers
        Further headers.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """Nothing, for some seconds."""

    seconds: float


T = TypeVar("T")
Operation: TypeAlias = Generator[Ask | Wait, httpx.Response | None, T]
"""Yields what is to be done, is sent the response, and returns a result."""


def exchange(server: Server, ask: Ask) -> Operation[httpx.Response]:
    """Send a request until it succeeds, while the service says that it is busy.

    A response 429 or 503 is waited for as long as its ``Retry-After`` says, or ever longer, and
    :attr:`Server.patience` seconds in all. A connection that breaks is opened twice more.

    Parameters
    ----------
    server
        The service.
    ask
        A request that may be sent twice.

    Yields
    ------
    Ask or Wait
        What is to be done.

    Returns
    -------
    httpx.Response
        With a status of 2xx. What the service refuses is a RefusedError; that it cannot be reached,
        fails or stays busy an UnavailableError.
    """
    waited, broken, attempt = 0.0, 0, 0
    while True:
        pause = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
        try:
            answer = cast("httpx.Response", (yield ask))
        except httpx.TransportError as error:
            broken += 1
            failure: RefusedError | UnavailableError = _unreachable(server, error)
            may_retry = broken <= _MOST_RECONNECTIONS
        else:
            if answer.is_success:
                return answer
            failure = to_error(server, answer)
            may_retry = answer.status_code in _RETRIED
            asked = _retry_after(answer)
            pause = pause if asked is None else max(asked, _FIRST_PAUSE / 2)
        if not may_retry or attempt >= _MOST_RETRIES or waited + pause > server.patience:
            raise failure
        yield Wait(pause)
        waited, attempt = waited + pause, attempt + 1


def read_json(server: Server, answer: httpx.Response) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON of a response.

    Returns
    -------
    object
        As :func:`json.loads` does.

    Raises
    ------
    UnavailableError
        If it is none.
    """
    try:
        return answer.json()
    except ValueError:
        kind = server.scrub(answer.headers.get("content-type", "no type"))
        raise UnavailableError(
            f"{server.url} answers with {kind} that is not JSON; is it PEAR's service?"
        ) from None


def _unreachable(server: Server, error: httpx.TransportError) -> UnavailableError:
    if isinstance(error, httpx.TimeoutException):
        reason = f"no answer within {server.timeout:g} s"
    else:
        reason = server.scrub(str(error)) or type(error).__name__
    return UnavailableError(
        f"{server.url} does not respond: {reason}; is `pear serve` running, and the address right?"
    )


def to_error(server: Server, answer: httpx.Response) -> RefusedError | UnavailableError:
    """Return the error that a response of another status than 2xx stands for.

    Parameters
    ----------
    server
        The service.
    answer
        A problem document (RFC 9457), or anything that a proxy answers.

    Returns
    -------
    RefusedError or UnavailableError
        The latter of a status of 5xx.
    """
    status, problem = answer.status_code, _problem(answer)

    def text(name: str) -> str | None:
        value = problem.get(name)
        return server.scrub(value) if isinstance(value, str) and value else None

    phrase = f"{status} {HTTPStatus(status).phrase}" if status in _STATUSES else str(status)
    detail, hint = text("detail"), text("hint")
    asked = _retry_after(answer)
    if hint is None and status in _RETRIED and asked is not None:
        hint = f"the service asks to try again in {asked:.0f} s"
    if status >= 500:
        said = f": {detail}" if detail else ""
        return UnavailableError(
            f"{server.url} answers {phrase}{said}" + (f"; {hint}" if hint else "")
        )
    if status == 401:
        hint = "give a key to pear.connect by key=; `pear keys add NAME` makes one"
    if answer.has_redirect_location:
        target = server.scrub(answer.headers["location"])
        detail, hint = f"{server.url} redirects to {target}", "connect to that address"
    return RefusedError(
        detail or f"{server.url} answers {phrase}",
        field=text("field"),
        hint=hint,
        status=status,
        request_id=text("request_id"),
    )


_STATUSES: Final = frozenset(int(each) for each in HTTPStatus)


def _problem(answer: httpx.Response) -> dict[str, object]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _retry_after(answer: httpx.Response) -> float | None:
    """Return the seconds that a response asks to wait: a number, or until a date."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
