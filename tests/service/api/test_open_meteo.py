"""Forecasts in open-meteo's format over HTTP."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

import httpx
import numpy as np
import openmeteo_requests
import pytest
import requests
from openmeteo_requests.Client import OpenMeteoRequestsError
from openmeteo_sdk.Aggregation import Aggregation
from openmeteo_sdk.Unit import Unit
from openmeteo_sdk.Variable import Variable
from openmeteo_sdk.WeatherApiResponse import WeatherApiResponse

from pear.sphere.healpix import cell_of
from service.http.caching import RENDERED
from service.readers.open_meteo_answer import Block, Place, Zone, to_flatbuffers
from service.readers.timeline import Timeline
from tests.fixtures.service import INIT, NSIDE, problem, synthetic_field


def test_units_columns_and_caching(client: httpx.Client, run_id: str) -> None:
    params: dict[str, Any] = {
        "latitude": 59.3,
        "longitude": 18.1,
        "wind_speed_unit": "ms",
        "hourly": "temperature_2m,pressure_msl,wind_speed_10m,geopotential_height_500hPa",
    }
    answer = client.get("/v1/forecast", params=params)
    document = answer.json()
    assert answer.headers["cache-control"] == "no-cache"
    assert document["run"] == run_id
    assert document["hourly"]["time"][0] == "2001-03-02T00:00"
    assert document["hourly_units"] == {
        "time": "iso8601",
        "temperature_2m": "°C",
        "pressure_msl": "hPa",
        "wind_speed_10m": "m/s",
        "geopotential_height_500hPa": "m",
    }
    cell = cell_of(59.3, 18.1, NSIDE)
    hourly = document["hourly"]
    assert hourly["temperature_2m"][0] == pytest.approx(
        synthetic_field("2m_temperature", None, 24)[cell] - 273.15, abs=1e-3
    )
    assert hourly["geopotential_height_500hPa"][1] == pytest.approx(
        synthetic_field("geopotential", 500, 48)[cell] / 9.80665, abs=1e-2
    )
    pinned = client.get("/v1/forecast", params={**params, "run": run_id})
    assert pinned.headers["cache-control"] == RENDERED
    several = client.get("/v1/forecast", params={"latitude": "1,2", "longitude": "3,4"}).json()
    assert [len(each["hourly"]["time"]) for each in several] == [10, 10]


def test_hours_between_the_steps_are_interpolated_and_labelled(
    client: httpx.Client, run_id: str
) -> None:
    params: dict[str, Any] = {
        "latitude": 59.3,
        "longitude": 18.1,
        "run": run_id,
        "wind_speed_unit": "ms",
        "hourly": "temperature_2m,wind_u_component_10m,wind_v_component_10m,wind_speed_10m",
    }
    steps = client.get("/v1/forecast", params=params).json()
    assert "time_interpolation" not in steps, "the steps of the model are its own"
    answer = client.get("/v1/forecast", params={**params, "temporal_resolution": "hourly"}).json()
    assert answer["lead_hours"] == list(range(24, 241))
    label, hourly = answer["time_interpolation"], answer["hourly"]
    assert label["model_lead_hours"] == steps["lead_hours"]
    assert label["is_interpolated"].count(False) == 10
    assert "not forecast" in label["note"]
    first = steps["hourly"]
    assert hourly["time"][::24] == first["time"]
    for name in params["hourly"].split(","):
        assert hourly[name][::24] == first[name]
    between = np.interp(30, [24, 48], first["temperature_2m"][:2])
    assert hourly["temperature_2m"][6] == pytest.approx(between, abs=1e-3)
    speed = np.hypot(hourly["wind_u_component_10m"], hourly["wind_v_component_10m"])
    np.testing.assert_allclose(hourly["wind_speed_10m"], speed, atol=2e-3)
    assert len(hourly["time"]) == 24 * 9 + 1
    refused = client.get("/v1/forecast", params={**params, "temporal_resolution": "daily"})
    assert refused.status_code == 422


PLACES: dict[str, Any] = {"latitude": [59.3, -33.9], "longitude": [18.1, 151.2]}


class Adapter(requests.adapters.BaseAdapter):
    """Sends the requests of the official client to the service in this process."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__()
        self._client = client

    def send(self, request: Any, **_: Any) -> requests.Response:
        got = self._client.get(request.path_url)
        answer = requests.Response()
        answer.status_code, answer.raw = got.status_code, io.BytesIO(got.content)
        answer.headers.update(got.headers)
        return answer

    def close(self) -> None:
        pass


@pytest.fixture
def official(client: httpx.Client) -> Any:
    session = requests.Session()
    session.mount("http://pear", Adapter(client))
    return openmeteo_requests.Client(session)


URL = "http://pear/v1/forecast"


def test_the_official_client_reads_points_hours_and_units(
    client: httpx.Client, official: Any
) -> None:
    hourly = ["temperature_2m", "wind_speed_10m", "geopotential_height_500hPa"]
    asked = {**PLACES, "hourly": hourly, "timezone": "Europe/Stockholm"}
    plain = client.get("/v1/forecast", params=asked).json()
    answers = official.weather_api(URL, params=dict(asked))
    assert len(answers) == 2
    for answer, document in zip(answers, plain, strict=True):
        assert answer.Latitude() == pytest.approx(document["latitude"], abs=1e-4)
        assert (answer.Timezone(), answer.UtcOffsetSeconds()) == (b"Europe/Stockholm", 3600)
        block = answer.Hourly()
        assert (block.Interval(), block.VariablesLength()) == (86400, 3)
        assert block.TimeEnd() - block.Time() == 10 * 86400
        for index, name in enumerate(hourly):
            values = block.Variables(index).ValuesAsNumpy()
            np.testing.assert_allclose(values, document["hourly"][name], atol=1e-2)
    column = answers[0].Hourly().Variables(0)
    assert (column.Variable(), column.Unit()) == (Variable.temperature, Unit.celsius)
    assert column.Altitude() == 2
    assert answers[0].Hourly().Variables(2).PressureLevel() == 500
    assert plain[0]["hourly"]["time"][0] == "2001-03-02T01:00"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"hourly": "temperatur_2m"}, "unknown variable 'temperatur_2m' in hourly; did you mean"),
        ({"bounding_box": "1,2,3,4"}, "give latitude and longitude, or a bounding_box"),
        ({"timezone": "Europe/Nowhere"}, "unknown time zone 'Europe/Nowhere'"),
        ({"daily": "temperature_2m_max"}, "steps of 24 h has no highest"),
        ({"daily": "temperature_2m_median"}, "unknown variable 'temperature_2m_median' in daily"),
        ({"current": "temperature_2m"}, "not the present"),
        ({"start_date": "2020-01-01"}, "2020-01-01"),
        ({"end_date": "2001-03-12"}, "Parameter 'end_date' is out of allowed range"),
        ({"start_date": "2001-03-05", "end_date": "2001-03-04"}, "no times from 2001-03-05"),
        ({"start_date": "yesterday"}, "'yesterday' is not a date"),
        ({"forecast_days": 99}, "Forecast days is invalid. Allowed range 1 to 10. Given 99."),
        ({"hourly": "precipitation"}, "precipitation: run "),
        ({"models": "icon_global"}, "there is no model icon_global"),
        ({"elevation": "3"}, "unknown parameter 'elevation'"),
        ({"past_days": 3}, "analysis made-up has nothing at 2001-02-28T00:00:00Z, before run"),
        ({"past_days": 1, "end_date": "2001-03-04"}, "exclude each other"),
        ({"start_date": "2001-01-01"}, "analysis made-up has nothing at"),
        ({"start_date": "1990-01-01"}, "days before run"),
    ],
)
def test_errors_are_those_of_open_meteo(
    client: httpx.Client, official: Any, changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OpenMeteoRequestsError) as caught:
        official.weather_api(URL, params={**PLACES, **changed})
    (document,) = caught.value.args
    assert document["error"] is True
    assert (document["status"], document["title"]) == (400, "Bad Request")
    assert reason in document["reason"]
    answer = client.get("/v1/forecast", params={**PLACES, **changed})
    assert problem(answer, 422)["reason"] == document["reason"]


def test_dates_units_and_models(client: httpx.Client, run_id: str) -> None:
    place = {"latitude": 59.3, "longitude": 18.1, "hourly": "temperature_2m"}
    model = client.get(f"/v1/forecasts/{run_id}").json()["model"]
    asked = {**place, "start_date": "2001-03-03", "end_date": "2001-03-05", "models": model}
    document = client.get("/v1/forecast", params=asked).json()
    assert document["hourly"]["time"] == [f"2001-03-0{day}T00:00" for day in (3, 4, 5)]
    assert document["lead_hours"] == [48, 72, 96]
    two = client.get("/v1/forecast", params={**place, "forecast_days": 2}).json()
    assert len(two["hourly"]["time"]) == 2
    cold = client.get("/v1/forecast", params={**place, "temperature_unit": "fahrenheit"}).json()
    celsius = document["hourly"]["temperature_2m"][0]
    assert cold["hourly"]["temperature_2m"][1] == pytest.approx(celsius * 1.8 + 32, abs=1e-2)


def test_days_before_a_run_are_those_of_its_analysis(
    client: httpx.Client, official: Any, run_id: str
) -> None:
    hourly = ["temperature_2m", "wind_speed_10m", "geopotential_height_500hPa"]
    asked = {"latitude": 59.3, "longitude": 18.1, "hourly": hourly, "run": run_id}
    plain = client.get("/v1/forecast", params=asked).json()
    answer = client.get("/v1/forecast", params={**asked, "past_days": 1})
    assert answer.headers["cache-control"] == "no-cache"
    document = answer.json()
    assert document["hourly"]["time"] == ["2001-03-01T00:00", *plain["hourly"]["time"]]
    assert document["lead_hours"] == [0, *plain["lead_hours"]]
    past = document["past"]
    assert (past["analysis"], past["is_analysis"]) == ("made-up", [True] + [False] * 10)
    cell = cell_of(np.array([59.3]), np.array([18.1]), NSIDE)
    truth = {
        "temperature_2m": synthetic_field("2m_temperature", None, 0)[cell][0] - 273.15,
        "geopotential_height_500hPa": synthetic_field("geopotential", 500, 0)[cell][0] / 9.80665,
    }
    for name, value in truth.items():
        assert document["hourly"][name][0] == pytest.approx(float(value), abs=1e-3)
    assert "past" not in plain
    by_date = client.get("/v1/forecast", params={**asked, "start_date": "2001-03-01"}).json()
    assert by_date["hourly"] == document["hourly"]
    every = {**asked, "past_days": 1, "temporal_resolution": "hourly"}
    between = client.get("/v1/forecast", params=every).json()
    series = between["hourly"]["temperature_2m"]
    assert series[0] == document["hourly"]["temperature_2m"][0]
    assert series[6] == pytest.approx(0.75 * series[0] + 0.25 * series[24], abs=1e-3)
    assert between["time_interpolation"]["is_interpolated"][:2] == [False, True]
    (message,) = official.weather_api(URL, params={**asked, "past_days": 1})
    block = message.Hourly()
    assert block.Time() == INIT.astype(int)
    for index, name in enumerate(hourly):
        values = block.Variables(index).ValuesAsNumpy()
        np.testing.assert_allclose(values, document["hourly"][name], atol=1e-2)


def test_sums_before_the_first_hour_are_shared_out_too() -> None:
    timeline = Timeline.choose((-12, -6, 0, 6), "hourly_3")
    sums = np.array([[6.0], [12.0], [0.0], [3.0]])
    shared = timeline.interpolate("total_precipitation_6hr", sums)[:, 0]
    np.testing.assert_allclose(shared, [3, 6, 6, 0, 0, 1.5, 1.5])


def test_flatbuffers_of_the_present_and_of_days() -> None:
    times = np.datetime64("2026-03-01", "s") + np.arange(2) * np.timedelta64(1, "D")
    one, two = np.ones((1, 1)), np.array([[3.0], [4.0]])
    blocks = [
        Block("current", times[:1], 3600, [("wind_speed_10m", "km/h", one)]),
        Block("daily", times, 86400, [("temperature_2m_max", "°C", two)]),
    ]
    (message,) = to_flatbuffers([Place(1.5, -2.5)], blocks, Zone())
    assert int.from_bytes(message[:4], "little") == len(message) - 4
    found = WeatherApiResponse.GetRootAs(message, 4)
    assert (found.Latitude(), found.Longitude(), found.Hourly()) == (1.5, -2.5, None)
    assert found.Current().Variables(0).Value() == 1.0
    column = found.Daily().Variables(0)
    assert (column.Aggregation(), column.Altitude()) == (Aggregation.maximum, 2)
    assert column.ValuesAsNumpy().tolist() == [3.0, 4.0]


def test_the_present_hour(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = dt.datetime(2001, 3, 2, 6, 40, tzinfo=dt.UTC)
    monkeypatch.setattr("service.api.open_meteo._now", lambda: moment)
    place = {"latitude": 59.3, "longitude": 18.1}
    now = client.get("/v1/forecast", params={**place, "current": "temperature_2m"}).json()
    assert "hourly" not in now
    assert (now["current"]["time"], now["current"]["interval"]) == ("2001-03-02T06:00", 3600)
    asked = {**place, "hourly": "temperature_2m", "temporal_resolution": "hourly"}
    hourly = client.get("/v1/forecast", params=asked).json()["hourly"]
    expected = hourly["temperature_2m"][hourly["time"].index("2001-03-02T06:00")]
    assert now["current"]["temperature_2m"] == expected
