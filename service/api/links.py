"""Signed links: one store or run, for readers that cannot set headers, until they expire."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pear.errors import InputError
from pipelines.settings import StrictModel, Whole
from service.api.schemas import format_utc
from service.api.stores import find_run
from service.dependencies import ServicesDep
from service.http.errors import ProblemError
from service.http.forms import STORE
from service.http.links import NO_KEY, PREFIX, LinkSigner, key_id_of
from service.http.problems import problem_responses
from service.http.request_state import RequestState
from service.http.routing import GuardedRoute
from service.http.security import AccessControl
from service.readers.store_files import find_store

router = APIRouter(prefix="/v1/links", tags=["stores"], route_class=GuardedRoute)
_SHORTEST: int = 60
_ZARR = "zarr"
_DAY: int = 86_400


class LinkRequest(StrictModel):
    """What a link opens, and for how long."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"store": "analysis/simulated", "expires_in": _DAY}]}
    )

    store: (
        Annotated[
            str,
            Field(max_length=160, pattern=STORE),
        ]
        | None
    ) = Field(default=None, description="Kind and name of a store: `analysis/simulated`.")
    run: Annotated[str, Field(max_length=128)] | None = Field(
        default=None,
        description="Run id or `latest`: its stores, fields, points and downloads.",
    )
    expires_in: Whole = Field(
        default=_DAY,
        description=f"Lifetime, seconds: {_SHORTEST} or more, and at most what the setting "
        "PEAR_MAX_LINK_SECONDS of the service allows (default: 30 days).",
    )

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        if (self.store is None) == (self.run is None):
            raise InputError("name a store or a run, and not both", field="store")
        return self


class SignedLink(BaseModel):
    """A link that opens one store or run without a key."""

    url: str = Field(
        description="Address for `xarray.open_zarr(url)`: of the store, or of the run's own."
    )
    opens: str = Field(description="Path of the store or run.")
    expires_at: str = Field(description="End of its lifetime, UTC.")
    links: dict[str, str] = Field(description="Addresses below it.")


@router.post(
    "",
    summary="Sign a link",
    status_code=201,
    responses=problem_responses(400, 404, 409, 410, 413, 422, 503),
)
def sign_link(
    request: Request, response: Response, services: ServicesDep, body: LinkRequest
) -> SignedLink:
    """Make a link that opens one store or run, by GET and HEAD alone, until it expires.

    It ends before that if the API key that made it is removed. Whoever has the link can read.

    Returns
    -------
    SignedLink
        With an absolute address.

    Raises
    ------
    ProblemError
        403 if the service gives no links.
    InputError
        If it is to last too long.
    """
    longest = services.settings.max_link_seconds
    if longest == 0:
        raise ProblemError(403, "this service signs no links", hint="see PEAR_MAX_LINK_SECONDS")
    if not _SHORTEST <= body.expires_in <= longest:
        raise InputError(
            f"a link lasts {_SHORTEST} to {longest} s, not {body.expires_in} s",
            field="expires_in",
            hint="the setting PEAR_MAX_LINK_SECONDS of the service says how long",
        )
    target, children = _target(services, body)
    access: AccessControl = request.app.state.access
    signer: LinkSigner = request.app.state.signer
    client = RequestState.from_scope(request.scope).client
    key_id = key_id_of(client) if access.keys_required else NO_KEY
    expires_at = int(time.time()) + body.expires_in
    token = signer.sign(target, expires_at, key_id)
    url = f"{str(request.base_url).rstrip('/')}{PREFIX}{token}/{target}"
    response.headers["Cache-Control"] = "no-store"
    return SignedLink(
        url=url if body.run is None else f"{url}/{_ZARR}",
        opens=f"/v1/{target}",
        expires_at=str(format_utc(datetime.fromtimestamp(expires_at, UTC))),
        links={name: f"{url}/{name}" for name in children},
    )


def _target(services: ServicesDep, body: LinkRequest) -> tuple[str, tuple[str, ...]]:
    """Return what is to be opened, and what lies below it."""
    if body.store is not None:
        kind, _, name = body.store.partition("/")
        if kind == "forecast":
            find_run(services, name)
        elif kind == "analysis":
            find_store(services.folder, services.catalog, "analysis", name)
        else:
            find_store(services.folder, services.catalog, "climatology", name)
        return f"stores/{body.store}.zarr", ()
    run = services.catalog.runs.latest() if body.run == "latest" else None
    run_id = str(body.run) if run is None else run.id
    return f"forecasts/{find_run(services, run_id)[0].id}", ("zarr", "download", "point")
