"""Forecasts in open-meteo's format over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from pear.sphere.healpix import cell_of
from tests.fixtures.service import NSIDE, synthetic_field


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
    assert "immutable" in pinned.headers["cache-control"]
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
