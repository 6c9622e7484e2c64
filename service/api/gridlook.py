"""Catalogue of the stores for gridlook, the viewer of HEALPix in the browser."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from service.api.schemas import StoreOut
from service.api.stores import list_stores
from service.dependencies import Services, ServicesDep
from service.http.disclaimer import DISCLAIMER
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute
from service.readers.nature import Nature, is_simulated, nature_of

router = APIRouter(prefix="/v1", tags=["stores"], route_class=GuardedRoute)


class GridlookDataset(BaseModel):
    """A store that gridlook opens."""

    url: str = Field(description="Address of the Zarr store.")
    title: str = Field(description="What it is, with its times.")
    tag: Literal["healpix"] = Field(description="Grid.")
    description: str = Field(description="Variables, size, and what has to be known.")


class GridlookCatalog(BaseModel):
    """What gridlook opens as a catalogue."""

    type: Literal["gridlook_catalog"] = Field(description="As gridlook tells a catalogue.")
    title: str = Field(description="Title.")
    datasets: list[GridlookDataset] = Field(description="Analyses, then runs, newest first.")


@router.get(
    "/gridlook.json", summary="Catalogue for gridlook", responses=problem_responses(422, 503)
)
def get_gridlook_catalog(
    request: Request,
    response: Response,
    services: ServicesDep,
    runs: Annotated[
        int, Query(ge=1, le=200, description="Newest runs that are listed.", examples=[20])
    ] = 50,
) -> GridlookCatalog:
    """Return analyses and the newest runs with their statistics, as gridlook reads a catalogue."""
    found = list_stores(request, response, services, "analysis", 200).items
    found += list_stores(request, response, services, "forecast", runs).items
    if "Link" in response.headers:  # of the pages of the list, which this has not
        del response.headers["Link"]
    return GridlookCatalog(
        type="gridlook_catalog",
        title="PEAR",
        datasets=[_describe(services, each) for each in found],
    )


def _describe(services: Services, store: StoreOut) -> GridlookDataset:
    if store.kind == "forecast":
        run = services.catalog.runs.get(store.name.partition(".")[0])
        nature = nature_of(services.folder, run)
        model = services.catalog.models.get(run.model).name
        title = f"Forecast by {model} from {store.first_time}, {store.lead_hours} h"
        title += "" if store.statistic is None else f", {store.statistic}"
    else:
        nature = Nature(simulated=is_simulated(services.folder, store.name))
        title = f"Analysis {store.name}, {store.first_time} to {store.last_time}"
    title += f", {nature.atmosphere}" if nature.simulated else ""
    words = f"{store.title}. {len(store.variables)} variables, nside {store.nside}, "
    words += f"{store.nbytes / 1e6:.0f} MB. {nature.describe()}{DISCLAIMER}"
    return GridlookDataset(url=store.url, title=title, tag="healpix", description=words)
