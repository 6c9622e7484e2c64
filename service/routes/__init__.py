"""One file a resource."""

from typing import Final

from fastapi import APIRouter

from service.routes import (
    fields,
    forecasts,
    initial_conditions,
    maps,
    models,
    pages,
    points,
    scores,
    system,
)

ROUTERS: Final[tuple[APIRouter, ...]] = tuple(
    module.router
    for module in (
        system, models, initial_conditions, forecasts, points, fields, maps, scores, pages,
    )
)  # fmt: skip
