"""Pages of those who operate a service: schedules, and everything that keeps it running."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from pear.errors import InputError
from pipelines.schedules import FetchAction
from service.api.operations import (
    CheckOut,
    find_checks,
    get_storage,
    get_workers,
    list_keys,
    list_sources,
)
from service.api.schedules import ScheduleOut, list_schedules
from service.dashboard.values import list_items
from service.dependencies import Services, ServicesDep
from service.http.html import OPERATOR, render
from service.http.permissions import ROLES
from service.http.routing import GuardedRoute
from service.http.security import AccessControl
from service.readers.nature import is_simulated

router = APIRouter(include_in_schema=False, route_class=GuardedRoute)
_SERVERS: Final = FetchAction.model_json_schema()["properties"]["source"]["enum"]
_FORECAST_DAYS: Final = (1, 2, 3, 5, 7, 10, 15)
_PRESETS: Final = (
    ("30 6 * * *", "every day at 06:30 UTC"),
    ("0 */6 * * *", "every six hours"),
    ("0 * * * *", "every hour"),
    ("0 3 * * 0", "on Sundays at 03:00 UTC"),
    ("0 3 1 * *", "on the first of the month at 03:00 UTC"),
)


@router.get("/schedules")
def schedules_page(request: Request, services: ServicesDep) -> Response:
    """Show all schedules with their next and past runs, and a form that adds or changes one."""
    longest = services.settings.max_lead_hours // 24
    values = {
        "schedules": [
            (row, list_action(row.action), uses_simulated(services, row.action))
            for row in list_schedules(services).items
        ],
        "rows": [row.model_dump() for row in list_schedules(services).items],
        "editable": is_editable,
        "runs_schedules": services.settings.schedules,
        "presets": _PRESETS,
        "servers": _SERVERS,
        "models": services.catalog.models.all(),
        "days": [day for day in _FORECAST_DAYS if day <= longest],
    }
    return render(request, "schedules.html", "/schedules", values)


@router.get("/operator")
def operator_page(request: Request, response: Response, services: ServicesDep) -> Response:
    """Show health, workers and queue, sources, disk space and API keys."""
    access: AccessControl = request.app.state.access
    try:
        keys, fault = list_keys(request, response), None
    except InputError:  # damaged; the checks say so
        keys, fault = None, access.keys.check()[1]
    values = {
        "checks": [CheckOut.from_check(each) for each in find_checks(services, access)],
        "workers": get_workers(services),
        "sources": list_sources(services).items,
        "storage": get_storage(services),
        "keys": keys,
        "keys_fault": fault,
        "roles": ROLES,
        "format_age": format_seconds,
    }
    return render(request, "operator.html", OPERATOR[0], values)


def is_editable(row: ScheduleOut) -> bool:
    """Return whether the form can hold a schedule: it has no files to ingest, nor addresses."""
    publish = row.action.get("publish")
    return "ingest" not in row.action and ":" not in str((publish or {}).get("to", ""))


def format_seconds(seconds: float) -> str:
    """Return an age as ``5 h`` or ``12 days``."""
    hours = seconds / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def uses_simulated(services: Services, action: Mapping[str, object]) -> bool:
    """Return whether a schedule forecasts or evaluates a simulated atmosphere."""
    for part in ("forecast", "evaluate"):
        settings = action.get(part)
        if isinstance(settings, Mapping):
            options = settings.get("options")
            named = settings.get("analysis")
            if named is None and isinstance(options, Mapping):
                named = options.get("analysis")
            if is_simulated(services.folder, None if named is None else str(named)):
                return True
    return False


def list_action(action: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the parts of an action with their settings."""
    items = []
    for kind, settings in action.items():
        items.append((kind, ""))
        items += [each for each in list_items(settings) if each[1] not in ("{}", "[]")]
    return items
