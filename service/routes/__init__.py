"""One file a resource."""

from typing import Final

from fastapi import APIRouter

from service.routes import (
    downloads,
    evaluations,
    fields,
    forecasts,
    initial_conditions,
    login,
    maps,
    meteo,
    models,
    pages,
    points,
    run_pages,
    schedules,
    scores,
    system,
    zarr,
)

ROUTERS: Final[tuple[APIRouter, ...]] = tuple(
    module.router
    for module in (
        system,
        models,
        initial_conditions,
        forecasts,
        points,
        fields,
        maps,
        zarr,
        downloads,
        meteo,
        evaluations,
        scores,
        schedules,
        pages,
        run_pages,
        login,
    )
)
