"""Initial conditions: the states a forecast can start from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query

from pear.errors import InputError
from pear.times import to_iso
from service.api.schemas import InitialConditionList, InitialConditionOut
from service.dependencies import ServicesDep
from service.http.problems import documented

router = APIRouter(prefix="/v1/initial-conditions", tags=["initial conditions"])


@router.get("", summary="Times a forecast can start from", responses=documented(422, 503))
def list_initial_conditions(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=1000, description="Entries on a page.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=32, description="`next` of the page before.")
    ] = None,
    complete: Annotated[
        bool | None, Query(description="Only complete, or only incomplete, states.")
    ] = None,
) -> InitialConditionList:
    """Every time of every analysis store, newest first, with what it lacks."""
    every = services.initial_conditions.all()
    newest = every[0].time if every else None
    if complete is not None:
        every = [each for each in every if complete == (not each.missing)]
    start = _offset(cursor)
    page = every[start : start + limit]
    more = start + limit < len(every)
    return InitialConditionList(
        items=[
            InitialConditionOut(
                init_time=to_iso(each.time),
                analysis=each.analysis,
                complete=not each.missing,
                missing=list(each.missing),
            )
            for each in page
        ],
        next=str(start + limit) if more else None,
        newest_age_seconds=None if newest is None else _age(newest),
    )


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise InputError("cursor is none of this list", field="cursor", hint="use `next` as it is")
    return int(cursor)


def _age(time: np.datetime64) -> float:
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s")
    return float((now - time) / np.timedelta64(1, "s"))
