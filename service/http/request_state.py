"""State that the middleware and the handlers share about one request."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from starlette.types import Scope

from service.http.permissions import Scope as KeyScope

RawHeaders = list[tuple[bytes, bytes]]
_KEY: Final = "pear"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class CacheableResponse:
    """A response of a run that the same request line always has.

    Attributes
    ----------
    run
        Run id.
    content
        Body.
    headers
        Headers, without those that are added to every response.
    etag
        Strong ETag.
    """

    run: str
    content: bytes
    headers: RawHeaders
    etag: str


@dataclass
class RequestState:
    """State of one request, kept in the ASGI scope.

    Attributes
    ----------
    request_id
        The client's ``X-Request-ID``, or a new identifier.
    request_headers
        Headers of the request, undecoded; the last one of equal names.
    headers
        Headers added to the response, whoever sends it, unless it has them itself.
    link_client
        Who a signed link counts as, which gives access without a key; None without such a link.
    client
        Who sent the request: the hash of its key, or its address.
    scope, key
        Scope of the client, None if it is not known, and the name of its key, if it has one.
    route
        Path pattern of the route that answered, if it is not in the scope itself.
    cacheable
        The response, if it may be sent again to the same request line.
    document
        Body of the request, if it is JSON.
    """

    request_id: str
    request_headers: dict[bytes, bytes]
    headers: RawHeaders = field(default_factory=list)
    link_client: str | None = None
    client: str = ""
    scope: KeyScope | None = None
    key: str | None = None
    route: str | None = None
    cacheable: CacheableResponse | None = None
    document: object = None

    @classmethod
    def attach(cls, scope: Scope) -> RequestState:
        """Create the state of a request and store it in its scope."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        state = cls(request_id, headers)
        scope.setdefault("state", {})[_KEY] = state
        return state

    @classmethod
    def from_scope(cls, scope: Scope) -> RequestState:
        """Return the state of the request with this scope."""
        state: RequestState = scope["state"][_KEY]
        return state


def encode_headers(headers: dict[str, str]) -> RawHeaders:
    """Encode headers as ASGI sends them: lower-case names, latin-1 bytes."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
