"""Initial conditions: the states that a forecast can start from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query

from pear.errors import InputError
from pear.times import to_iso
from service.api.schemas import InitialConditionList, InitialConditionOut
from service.dependencies import ServicesDep
from service.http.problems import problem_responses
from service.http.routing import GuardedRoute

router = APIRouter(
    prefix="/v1/initial-conditions", tags=["initial conditions"], route_class=GuardedRoute
)


@router.get(
    "", summary="Times that a forecast can start from", responses=problem_responses(422, 503)
)
def list_initial_conditions(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Entries per page.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=32, description="`next` of the previous page.")
    ] = None,
    complete: Annotated[
        bool | None, Query(description="Only complete, or only incomplete, states.")
    ] = None,
) -> InitialConditionList:
    """Return every time of every analysis store, newest first, with its missing variables."""
    states = services.initial_conditions.all()
    newest = states[0].time if states else None
    if complete is not None:
        states = [each for each in states if complete == (not each.missing)]
    start = _parse_cursor(cursor)
    return InitialConditionList(
        items=[
            InitialConditionOut(
                init_time=to_iso(each.time),
                analysis=each.analysis,
                complete=not each.missing,
                missing=list(each.missing),
            )
            for each in states[start : start + limit]
        ],
        next=str(start + limit) if start + limit < len(states) else None,
        newest_age_seconds=None if newest is None else _age_seconds(newest),
    )


def _parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InputError("invalid cursor", field="cursor", hint="use `next` unchanged")
    return int(cursor)


def _age_seconds(time: np.datetime64) -> float:
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s")
    return float((now - time) / np.timedelta64(1, "s"))
