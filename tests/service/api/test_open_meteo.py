"""Forecasts in open-meteo's format over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
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
