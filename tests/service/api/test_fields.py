"""Forecasts at points and as fields over HTTP."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import numpy as np
import pytest

from pear.sphere.healpix import cell_of, coarsen
from service.http.caching import RENDERED
from tests.fixtures.service import LEADS, NSIDE, SHA, problem, synthetic_field


@pytest.mark.parametrize(
    ("words", "field", "message"),
    [
        ({"variables": "t2m", "levels": "850"}, "levels", "levels=850, but t2m takes none"),
        ({"variables": "t2m,z500", "levels": "850"}, "levels", "t2m, z500 takes none"),
        ({"variables": "t2m,"}, "variables", "the name of a variable is empty"),
        ({"variables": ""}, "variables", "the name of a variable is empty"),
        ({"variables": "t3m"}, "variables", "unknown variable 't3m'"),
        ({"statistic": "q9"}, "statistic", "must be of the form spread, q90 (a quantile), p00"),
    ],
)
def test_points_name_what_cannot_be_given(
    client: httpx.Client, run_id: str, words: dict[str, str], field: str, message: str
) -> None:
    params = {"latitude": "59.3", "longitude": "18.1", **words}
    found = problem(client.get(f"/v1/forecasts/{run_id}/point", params=params), 422)
    assert found["field"] == field
    assert message in found["detail"]
    assert "pattern" not in str(found)


def test_the_closest_name_differs_in_one_letter(client: httpx.Client, run_id: str) -> None:
    params = {"latitude": "59.3", "longitude": "18.1", "variables": "t3m"}
    found = problem(client.get(f"/v1/forecasts/{run_id}/point", params=params), 422)
    assert found["hint"] == "did you mean t2m?"


def test_a_point_has_the_value_of_its_cell(client: httpx.Client, run_id: str) -> None:
    answer = client.get(
        f"/v1/forecasts/{run_id}/point",
        params={"latitude": "59.3,-33.9", "longitude": "18.1,151.2", "variables": "t2m,z500"},
    )
    document = answer.json()
    assert document["lead_hours"] == list(LEADS)
    assert document["init_time"] == "2001-03-01T00:00:00Z"
    assert document["valid_times"][0] == "2001-03-02T00:00:00Z"
    assert document["model"] == SHA[:12]
    for point, cell in zip(
        document["points"], cell_of([59.3, -33.9], [18.1, 151.2], NSIDE), strict=True
    ):
        assert point["cell"] == cell
        temperature, height = point["series"]
        assert (temperature["variable"], temperature["level"]) == ("2m_temperature", None)
        assert (height["variable"], height["level"]) == ("geopotential", 500)
        assert (temperature["units"], height["units"]) == ("K", "m2 s-2")
        want = [synthetic_field("2m_temperature", None, lead)[cell] for lead in LEADS]
        np.testing.assert_allclose(temperature["values"], want, rtol=1e-6)
        want = [synthetic_field("geopotential", 500, lead)[cell] for lead in LEADS]
        np.testing.assert_allclose(height["values"], want, rtol=1e-6)


def test_bilinear_is_closer_to_a_smooth_field(client: httpx.Client, run_id: str) -> None:
    lat, lon = np.array([12.3, -40.0, 71.5, 3.0]), np.array([45.6, 200.0, 301.0, 90.0])
    exact = (
        285
        + 20 * np.cos(np.radians(lat)) * np.cos(np.radians(lon - 12))
        + 2 * np.sin(np.radians(lat))
    )
    errors = {}
    for how in ("nearest", "bilinear"):
        params = {
            "latitude": ",".join(map(str, lat)),
            "longitude": ",".join(map(str, lon)),
            "variables": "t2m",
            "interpolation": how,
        }
        document = client.get(f"/v1/forecasts/{run_id}/point", params=params).json()
        got = np.array([point["series"][0]["values"][0] for point in document["points"]])
        errors[how] = np.abs(got - exact).max()
    assert errors["bilinear"] < 0.15
    assert errors["bilinear"] < errors["nearest"] / 3


def test_wind_speed_and_direction_are_computed(client: httpx.Client, run_id: str) -> None:
    params = {
        "latitude": 10,
        "longitude": 20,
        "variables": "u10,v10,10m_wind_speed,10m_wind_direction,wind_speed",
        "levels": "850",
    }
    series = client.get(f"/v1/forecasts/{run_id}/point", params=params).json()["points"][0]
    u, v, speed, direction, aloft = (np.array(s["values"]) for s in series["series"])
    np.testing.assert_allclose(speed, np.hypot(u, v), rtol=1e-5)
    toward = np.radians(direction + 180)
    np.testing.assert_allclose(speed * np.sin(toward), u, atol=1e-4)
    np.testing.assert_allclose(speed * np.cos(toward), v, atol=1e-4)
    assert series["series"][-1]["level"] == 850
    assert aloft.shape == speed.shape


def test_point_as_csv(client: httpx.Client, run_id: str) -> None:
    params = {"latitude": 59.3, "longitude": 18.1, "variables": "t2m", "format": "csv"}
    answer = client.get(f"/v1/forecasts/{run_id}/point", params=params)
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(row["lead_hours"]) for row in rows] == list(LEADS)
    cell = cell_of(59.3, 18.1, NSIDE)
    assert float(rows[0]["value"]) == pytest.approx(
        synthetic_field("2m_temperature", None, 24)[cell]
    )
    assert rows[0]["units"] == "K"


def test_point_as_coverage_json(client: httpx.Client, run_id: str) -> None:
    params = {"latitude": "1,2", "longitude": "3,4", "variables": "t2m,z500", "format": "covjson"}
    answer = client.get(f"/v1/forecasts/{run_id}/point", params=params)
    assert answer.headers["content-type"] == "application/prs.coverage+json"
    document = answer.json()
    assert document["type"] == "CoverageCollection"
    first = document["coverages"][0]
    assert first["domain"]["axes"]["x"]["values"] == [3.0]
    times = first["domain"]["axes"]["t"]["values"]
    values = first["ranges"]["geopotential_500hPa"]["values"]
    assert len(times) == len(values) == len(LEADS)
    assert values[0] == pytest.approx(
        synthetic_field("geopotential", 500, 24)[cell_of(1, 3, NSIDE)]
    )
    assert document["parameters"]["geopotential_500hPa"]["unit"]["symbol"] == "m2 s-2"


@pytest.mark.parametrize("encoding", ["f32", "u16", "json"])
def test_a_field_is_what_was_written(client: httpx.Client, run_id: str, encoding: str) -> None:
    url = f"/v1/forecasts/{run_id}/fields/temperature"
    params: dict[str, Any] = {"lead_time": 48, "level": 850, "format": encoding}
    answer = client.get(url, params=params)
    want = synthetic_field("temperature", 850, 48)
    if encoding == "json":
        document = answer.json()
        got = np.array(document["values"])
        assert (document["units"], document["valid_time"]) == ("K", "2001-03-03T00:00:00Z")
    elif encoding == "u16":
        packed = np.frombuffer(answer.content, "<u2")
        scale, offset = (float(answer.headers[f"pear-{name}"]) for name in ("scale", "offset"))
        got = offset + scale * packed
        assert np.abs(got - want).max() <= scale * 0.51
    else:
        got = np.frombuffer(answer.content, "<f4")
        np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(got, want, rtol=1e-4)
    assert answer.headers["pear-valid-time"] == "2001-03-03T00:00:00Z"
    assert answer.headers["pear-units"] == "K"


def test_a_field_on_a_coarser_grid(client: httpx.Client, run_id: str) -> None:
    params: dict[str, Any] = {"lead_time": 24, "nside": 2}
    answer = client.get(f"/v1/forecasts/{run_id}/fields/msl", params=params)
    got = np.frombuffer(answer.content, "<f4")
    want = coarsen(synthetic_field("mean_sea_level_pressure", None, 24), 2)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_a_field_on_a_finer_grid_is_smooth(client: httpx.Client, run_id: str) -> None:
    """Closer to the smooth field between the cells' centres than the cells themselves are."""
    finer = 4 * NSIDE
    params: dict[str, Any] = {"lead_time": 24, "nside": finer}
    answer = client.get(f"/v1/forecasts/{run_id}/fields/msl", params=params)
    got = np.frombuffer(answer.content, "<f4")
    assert answer.headers["pear-grid"] == f"healpix nside={finer} order=nested"
    want = synthetic_field("mean_sea_level_pressure", None, 24, finer)
    cells = np.repeat(synthetic_field("mean_sea_level_pressure", None, 24), 16)
    assert np.abs(got - want).max() < 0.5 * np.abs(cells - want).max()
    assert np.abs(got - want).mean() < 0.2 * np.abs(cells - want).mean()


def test_responses_of_finished_runs_are_kept_by_clients(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/fields/t2m?lead_time=24"
    first = client.get(url, headers={"Accept-Encoding": "identity"})
    assert first.headers["cache-control"] == RENDERED
    assert not first.headers["etag"].startswith("W/")
    again = client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    other = client.get(
        url.replace("time=24", "time=48"), headers={"If-None-Match": first.headers["etag"]}
    )
    assert other.status_code == 200


def test_statistics_of_an_ensemble(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/fields/t2m?lead_time=24"
    mean, spread = client.get(url), client.get(f"{url}&statistic=spread")
    got = np.frombuffer(spread.content, "<f4")
    np.testing.assert_allclose(got, 0.01 * np.frombuffer(mean.content, "<f4"), rtol=1e-5)
    assert "spread" in problem(client.get(f"{url}&statistic=q90"), 404)["hint"]
    problem(client.get(f"{url}&statistic=../x"), 422)
    likely = client.get(f"{url}&statistic=p00")
    assert likely.headers["pear-units"] == "1"
    assert mean.headers["pear-units"] == "K"
    assert 0 < np.frombuffer(likely.content, "<f4").min() < 0.1
    point = f"/v1/forecasts/{run_id}/point?latitude=80&longitude=0&variables=t2m&statistic=p00"
    assert client.get(point).json()["points"][0]["series"][0]["units"] == "1"
