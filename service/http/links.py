"""Signed links that expire, for readers that cannot set headers.

``/v1/signed/TOKEN/stores/analysis/era5.zarr/zarr.json`` is answered like the path without
``/signed/TOKEN``. The token is a segment of the path, so that the keys of a Zarr store resolve
below it. It holds when the link expires, the beginning of the hash of the API key that made it, and
an HMAC-SHA256 (RFC 2104) of both and of what it opens; only the service knows the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.logging import logger
from service.http.errors import ProblemError
from service.http.problems import problem_response
from service.http.request_state import RequestState
from service.http.security import AccessControl, client_address

PREFIX: Final = "/v1/signed/"
NO_KEY: Final = "0"
"""Key id of links that were made where no API key is needed."""
SECRET_FILE: Final = "links.secret"  # noqa: S105
_ID_DIGITS: Final = 16
_SECRET_BYTES: Final = 32
_TOKEN: Final = re.compile(r"([0-9]{1,12})\.([0-9a-f]{16}|0)\.([A-Za-z0-9_-]{43})", re.ASCII)
_STORE: Final = re.compile(r"(stores/(analysis|climatology|forecast)/([^/]+)\.zarr)/.*", re.DOTALL)
_RUN: Final = re.compile(r"(forecasts/([^/]+))/(?:zarr/.*|fields/.*|point|download)", re.DOTALL)


@dataclass(frozen=True)
class Link:
    """What a token says, once its signature was found right.

    Attributes
    ----------
    expires_at
        Seconds since 1970.
    key_id
        Beginning of the hash of the key that made it, or :data:`NO_KEY`.
    """

    expires_at: int
    key_id: str


class LinkSigner:
    """Signs links, and checks them.

    Parameters
    ----------
    path
        File of the secret, which only its owner can read; made when the first link is signed.
    secret
        The secret itself, used instead of the file.
    """

    def __init__(self, path: Path, secret: str | None = None) -> None:
        self._path = path
        self._secret = None if secret is None else secret.encode()
        self._lock = threading.Lock()

    def sign(self, target: str, expires_at: int, key_id: str) -> str:
        """Return the token of a link; a 503 problem if there is no secret and none can be written.

        Parameters
        ----------
        target
            What it opens: ``stores/KIND/NAME.zarr`` or ``forecasts/ID``.
        expires_at
            Seconds since 1970.
        key_id
            As in :class:`Link`.

        Returns
        -------
        str
            One segment of a path.
        """
        secret = self._read() or self._create()
        return f"{expires_at}.{key_id}.{_signature(secret, target, expires_at, key_id)}"

    def check(self, token: str, targets: tuple[str, ...]) -> Link | None:
        """Return what a token says if it opens one of the targets, or None; it may have expired."""
        match = _TOKEN.fullmatch(token)
        secret = self._read()
        if match is None or secret is None:
            return None
        link = Link(int(match[1]), match[2])
        right = [_signature(secret, each, link.expires_at, link.key_id) for each in targets]
        found = [hmac.compare_digest(match[3], each) for each in right]
        return link if any(found) else None

    def _read(self) -> bytes | None:
        with self._lock:
            if self._secret is None:
                with suppress(FileNotFoundError):
                    secret = self._path.read_bytes().strip()
                    if len(secret) < _SECRET_BYTES:
                        raise ProblemError(503, f"{self._path.name} is damaged", hint="remove it")
                    if os.name == "posix" and self._path.stat().st_mode & 0o077:
                        logger().warning("secret of links can be read by others", mode="0600")
                    self._secret = secret
            return self._secret

    def _create(self) -> bytes:
        try:
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".links")  # mode 0600
            temporary = Path(name)
            try:
                with os.fdopen(handle, "w") as file:
                    file.write(secrets.token_hex(_SECRET_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):  # of another process, and then the one to use
                    self._path.hardlink_to(temporary)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise ProblemError(
                503,
                f"the secret of links cannot be written: {error.strerror}",
                hint="set PEAR_LINK_SECRET",
            ) from error
        secret = self._read()
        if secret is None:
            raise ProblemError(503, "the secret of links was removed", headers={"Retry-After": "1"})
        return secret


def _signature(secret: bytes, target: str, expires_at: int, key_id: str) -> str:
    text = "\n".join(("pear-link-1", target, str(expires_at), key_id))
    digest = hmac.new(secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def key_id_of(sha256: str) -> str:
    """Return the key id of links that the key with this hash makes."""
    return sha256[:_ID_DIGITS]


def hide_token(path: str) -> str:
    """Return a path without the token of a signed link, as the log shows it.

    Returns
    -------
    str
        Other paths as they are.

    Examples
    --------
    >>> hide_token("/v1/signed/1800000000.0.abc/forecasts/latest/point")
    '/v1/signed/…/forecasts/latest/point'
    """
    return re.sub(f"^{PREFIX}[^/]+", f"{PREFIX}…", path)


class SignedLinks:
    """Check signed links, and pass their requests on as those of the path behind the token.

    Parameters
    ----------
    app
        The next ASGI application.
    signer
        Checks signatures.
    access
        Counts wrong links, and knows which keys there are.
    """

    def __init__(self, app: ASGIApp, *, signer: LinkSigner, access: AccessControl) -> None:
        self._app, self._signer, self._access = app, signer, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            try:
                self._open(scope)
            except ProblemError as problem:
                scope["path"] = hide_token(scope["path"])
                await problem_response(Request(scope), problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _open(self, scope: Scope) -> None:
        """Check the link, and take the token out of the path.

        Parameters
        ----------
        scope
            Scope of the request; changed.

        Raises
        ------
        ProblemError
            403 if the link does not open this, 405 if the request does not read.
        """
        token, _, rest = scope["path"].removeprefix(PREFIX).partition("/")
        if scope["method"] not in ("GET", "HEAD"):
            allowed = {"Allow": "GET, HEAD"}
            raise ProblemError(405, "a signed link reads, and changes nothing", headers=allowed)
        targets = targets_of(rest)
        link = self._signer.check(token, targets) if targets else None
        if link is None:
            self._access.count_failure(client_address(scope))
            raise ProblemError(
                403,
                "the signature of the link does not fit: it was altered, or opens something else",
                hint="POST /v1/links makes a link of one store or run",
            )
        if link.expires_at < time.time():
            when = datetime.fromtimestamp(link.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise ProblemError(
                403, f"the link expired at {when}", hint="POST /v1/links makes another"
            )
        client = client_address(scope)
        if self._access.keys_required:
            key = self._access.keys.find_by_id(link.key_id)
            if key is None:
                raise ProblemError(
                    403,
                    "the API key that made the link was removed",
                    hint="POST /v1/links makes another",
                )
            client = key.sha256
        RequestState.from_scope(scope).link_client = client
        scope["path"] = f"/v1/{rest}"
        scope["raw_path"] = quote(scope["path"]).encode()


def targets_of(rest: str) -> tuple[str, ...]:
    """Return what a link must be of to open a path.

    Parameters
    ----------
    rest
        Path behind the token.

    Returns
    -------
    tuple of str
        The store, and the run that it belongs to; empty if no link opens the path.

    Examples
    --------
    >>> targets_of("stores/forecast/abc.spread.zarr/zarr.json")
    ('stores/forecast/abc.spread.zarr', 'forecasts/abc')
    >>> targets_of("forecasts/abc/log")
    ()
    """
    store = _STORE.fullmatch(rest)
    if store is not None:
        of_run = (f"forecasts/{store[3].partition('.')[0]}",) if store[2] == "forecast" else ()
        return (store[1], *of_run)
    run = _RUN.fullmatch(rest)
    return () if run is None else (run[1],)
