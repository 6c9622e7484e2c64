"""What is normal at a point at the valid times of a run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from pear.errors import InputError
from pear.times import to_iso
from service.api.fields import Level, VariableName
from service.api.schemas import inline
from service.dependencies import RunDep, ServicesDep, StoreDep, Work
from service.http.problems import problem_responses
from service.http.response_cache import CachedBody
from service.http.routing import GuardedRoute
from service.readers.nature import nature_of
from service.readers.normals import normals_path, read_normals
from service.readers.serialisers import dump_json

router = APIRouter(prefix="/v1/forecasts", route_class=GuardedRoute)


class NormalRange(BaseModel):
    """Mean and spread of the climatology at a point."""

    run: str = Field(description="Run id.")
    atmosphere: str | None = Field(
        default=None,
        description="`simulated atmosphere, not observed`; absent for the observed one.",
    )
    climatology: str = Field(description="Name of the climatology: that of the run's analysis.")
    kind: str = Field(description="harmonic, daily or smoothed: how the mean follows the year.")
    period: list[str] = Field(description="First and last time of its analyses, UTC.")
    variable: str = Field(description="Canonical name.")
    level: int | None = Field(description="Pressure level, hPa; null at the surface.")
    units: str = Field(description="Unit of mean and spread.")
    lead_hours: list[int] = Field(description="Lead times, hours.")
    valid_times: list[str] = Field(description="Valid times, UTC.")
    mean: list[float | None] = Field(
        description="Mean for the hour and day of the year; null at hours not covered."
    )
    spread: list[float | None] | None = Field(
        description="Standard deviation; null if the climatology was built without `--spread`."
    )
    definition: str = Field(description="What the spread is.")


@router.get(
    "/{run_id}/normals/{variable}",
    tags=["points"],
    summary="Normal range at a point",
    response_class=Response,
    responses={
        200: {
            "description": "Mean and spread of the climatology at every valid time.",
            "content": {"application/json": {"schema": inline(NormalRange)}},
        },
        304: {"description": "Not modified."},
        **problem_responses(404, 409, 410, 422, 503),
    },
)
async def get_normals(
    request: Request,
    services: ServicesDep,
    run: RunDep,
    store: StoreDep,
    variable: VariableName,
    latitude: Annotated[float, Query(ge=-90, le=90, description="Degrees north.", examples=[59.3])],
    longitude: Annotated[
        float, Query(ge=-360, le=360, description="Degrees east.", examples=[18.1])
    ],
    level: Level = None,
) -> Response:
    """Return what is normal at the cell of a point for the hour and day of each valid time."""
    selected, at_level = store.select(variable, level)
    path = normals_path(services.folder, run)
    if path is None:
        name = run.options.get("analysis")
        raise InputError(
            f"the analysis {name!r} of the run has no climatology",
            field="run_id",
            hint=f"build one: pear climatology --analysis {name} --spread",
        )

    def make() -> CachedBody:
        found = read_normals(path, store, (selected.name, at_level), latitude, longitude)
        atmosphere = nature_of(services.folder, run).kind
        document = {
            "run": run.id,
            **({"atmosphere": atmosphere} if atmosphere else {}),
            "variable": selected.name,
            "level": at_level,
            "units": store.units(selected.name),
            "lead_hours": list(store.lead_hours),
            "valid_times": [to_iso(time) for time in store.valid_times],
            **found.fields(),
        }
        return CachedBody(dump_json(document), "application/json")

    built = (path / "zarr.json").stat().st_mtime_ns  # it may be built anew
    key = ("normals", store.run, selected.name, at_level, latitude, longitude, built)
    nbytes = 4 * 12 * store.nside**2 * (len(store.lead_hours) + 16)
    return await services.respond(request, run, key, Work(make, nbytes), pinned=False)
