"""Guarded routes: nothing that a client writes is ignored, and access is checked first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import ROUTERS, create_app
from service.http.permissions import ROUTE_POLICIES, RoutePolicy
from service.settings import Settings
from tests.fixtures.service import StubEngine, in_process, problem

JSON = {"Content-Type": "application/json"}
# WMS passes over parameters that it does not know, as its standard wants.
ROUTES = [
    key
    for key in ROUTE_POLICIES
    if not key[1].startswith("/static/") and not key[1].endswith("/wms")
]


def filled(path: str, run: str) -> str:
    return re.sub(r"\{[^}]*\}", "nothing", path.replace("{run_id}", run))


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_refuses_an_unknown_parameter(
    client: httpx.Client, run_id: str, method: str, path: str
) -> None:
    answer = client.request(method, filled(path, run_id), params={"surprise": "1"})
    found = problem(answer, 400 if path.startswith("/ogc") else 422)
    assert found["field"] == "surprise"
    assert "unknown parameter 'surprise'" in found["detail"]
    assert found["hint"].startswith(("known: ", "did you mean ", "this request takes none"))


@pytest.mark.parametrize(
    ("target", "wrong", "meant"),
    [
        ("/v1/forecast?latitude=59&longitude=18", "windspeed_unit=kn", "wind_speed_unit"),
        ("/v1/forecast?latitude=59&longitude=18", "time_format=unixtime", "timeformat"),
        ("/v1/forecasts/latest/point?latitude=59&longitude=18", "variable=t2m", "variables"),
        (
            "/v1/forecasts/latest/point?latitude=59&longitude=18",
            "interpolate=bilinear",
            "interpolation",
        ),
        ("/v1/forecasts/latest/fields/t2m?lead_time=24", "Level=500", "level"),
        ("/v1/forecasts/latest/maps/t2m.png?lead_time=24", "colormap=x", "cmap"),
        ("/v1/forecasts/latest/download?variables=t2m", "lead_time=24", "lead_times"),
        ("/v1/forecasts?limit=2", "state=failed", "status"),
        ("/v1/scores?variable=z500", "evalution=x", "evaluation"),
        ("/?run=latest", "leed=24", "lead"),
        ("/scores", "metrics=acc", "metric"),
    ],
)
def test_a_misspelt_parameter_is_named_with_the_one_meant(
    client: httpx.Client, target: str, wrong: str, meant: str
) -> None:
    found = problem(client.get(f"{target}{'&' if '?' in target else '?'}{wrong}"), 422)
    assert found["field"] == wrong.partition("=")[0]
    assert found["hint"] == f"did you mean {meant}?"


@pytest.mark.parametrize("value", ["Europe/Nowhere"])
def test_times_in_an_unknown_zone_are_refused_not_answered_in_utc(
    client: httpx.Client, value: str
) -> None:
    place = {"latitude": 59, "longitude": 18}
    assert client.get("/v1/forecast", params={**place, "timezone": "GMT"}).status_code == 200
    problem(client.get("/v1/forecast", params={**place, "timezone": value}), 422)
    for name in ("daily", "start_date", "models", "elevation"):
        problem(client.get("/v1/forecast", params={**place, name: "1"}), 422)


def test_parameters_of_pages_that_their_script_writes_are_known(
    client: httpx.Client, run_id: str
) -> None:
    state = f"/?run={run_id}&variable=geopotential&level=500&lead=24&view=globe&cells=smooth"
    state += "&lon=10.0&lat=35.0&plat=1&plon=2&painter=canvas"
    assert client.get(state).status_code == 200
    scores = "/scores?field=geopotential%3A500&region=global&metric=acc&baseline=x"
    assert client.get(scores).status_code == 200
    assert client.get(f"{scores}&evaluation=x").status_code == 404, "known, and there is no x"


def test_static_files_take_any_parameter(client: httpx.Client) -> None:
    assert client.get("/static/style.css?v=3").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "hint"),
    [
        ("POST", "/v1/forecasts", {"lead_hour": 24}, "lead_hour", "did you mean lead_hours?"),
        ("POST", "/v1/forecasts", {"member": 4}, "member", "did you mean members?"),
        ("POST", "/v1/evaluations", {"init_time": []}, "init_time", "did you mean init_times?"),
        ("POST", "/v1/schedules", {"crom": "x"}, "crom", "did you mean cron?"),
        ("PATCH", "/v1/schedules/x", {"pause": True}, "pause", "did you mean paused?"),
        (
            "POST",
            "/v1/schedules",
            {"name": "a", "cron": "0 6 * * *", "action": {"forecast": {"lead": 24}}},
            "action.forecast.lead",
            "did you mean lead_hours?",
        ),
        (
            "POST",
            "/v1/schedules",
            {"name": "a", "cron": "0 6 * * *", "action": {"forecast": {"options": {"lead": 1}}}},
            "action.forecast.options.lead",
            "did you mean leads?",
        ),
    ],
)
def test_an_unknown_field_of_a_body_is_named_with_the_one_meant(
    client: httpx.Client, method: str, path: str, body: dict[str, Any], field: str, hint: str
) -> None:
    found = problem(client.request(method, path, json=body), 422)
    assert (found["field"], found["hint"]) == (field, hint)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/forecasts/latest/cancel"),
        ("POST", "/v1/schedules/x/run"),
        ("DELETE", "/v1/schedules/x"),
        ("GET", "/v1/models"),
    ],
)
def test_a_body_where_none_is_read_is_refused(client: httpx.Client, method: str, path: str) -> None:
    found = problem(client.request(method, path, json={"force": True}), 422)
    assert found["field"] == "force"
    problem(client.request(method, path, content=b"\xff"), 422)
    assert client.request(method, path, json={}).status_code != 422


def test_a_field_that_is_given_twice_is_refused(client: httpx.Client) -> None:
    body = b'{"init_time": "2001-03-01T00:00:00Z", "lead_hours": 24, "lead_hours": 48}'
    found = problem(client.post("/v1/forecasts", content=body, headers=JSON), 422)
    assert (found["field"], found["hint"]) == ("lead_hours", "give it once")


def test_the_form_of_the_login_has_one_field(client: httpx.Client) -> None:
    assert problem(client.post("/login", data={"key": "x", "password": "y"}), 422)["field"] == (
        "password"
    )


@pytest.fixture(scope="module")
def keyed(data: DataFolder, catalog: Catalog, engine: StubEngine) -> Iterator[httpx.Client]:
    app = create_app(Settings(data=data.root, require_keys=True), catalog, engine)
    with in_process(app) as opened:
        yield opened


@pytest.mark.parametrize("body", [b"{", b"[" * 20_000, b'{"a": 1, "a": 2}', b"\xff", b"{}"])
def test_access_is_checked_before_the_body_and_the_parameters(
    keyed: httpx.Client, body: bytes
) -> None:
    for path in ("/v1/forecasts", "/v1/evaluations", "/v1/schedules"):
        problem(keyed.post(path, content=body, headers=JSON), 401)
    problem(keyed.patch("/v1/schedules/x", content=body, headers=JSON), 401)
    problem(keyed.get("/v1/forecasts?surprise=1"), 401)


def test_a_route_without_the_checks_is_refused_at_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = APIRouter()
    router.get("/v1/open")(lambda: None)
    monkeypatch.setattr("service.app.ROUTERS", (*ROUTERS, router))
    monkeypatch.setitem(ROUTE_POLICIES, ("GET", "/v1/open"), RoutePolicy("read"))
    with pytest.raises(RuntimeError, match=r"GuardedRoute.*/v1/open"):
        create_app(settings)
