"""Winds over HTTP are vectors: flows across the poles in files, at points, in fields and maps."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr

from pear.sphere.healpix import centres
from pear.store.schema import STATISTIC
from pear.variables import Layout
from pipelines.catalog import Catalog, Run
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import INIT, SHA, StubEngine, in_process, problem
from tests.fixtures.winds import AXES, largest_error, rotation

NSIDE = 16
BOUND = 1.4e-3
"""Share of the largest speed; the square of the distance of cells over eight, and four digits."""
LEADS = tuple(24 * (number + 1) for number in range(len(AXES)))
WIND = ("10m_u_component_of_wind", "10m_v_component_of_wind")
UPPER = ("u_component_of_wind", "v_component_of_wind")
PLACES = ((90.0, 0.0), (90.0, 222.0), (-90.0, 100.0), (89.2, -30.0), (-87.0, 12.0), (5.0, 44.0))


def write(folder: DataFolder, run: Run, layout: Layout, suffix: str = "", **about: str) -> None:
    """Write a run whose wind turns about another axis at each lead time."""
    leads = np.array(LEADS, "timedelta64[h]")
    path = folder.forecast(run.id + suffix)
    writer = ForecastWriter(
        path, layout, NSIDE, run.init_time, leads, {"title": "made up", **about}
    )
    for index, axis in enumerate(AXES):
        wind = dict(zip((*WIND, *UPPER), 2 * rotation(axis, *centres(NSIDE)), strict=True))
        cells, levels = 12 * NSIDE**2, len(layout.levels)
        surface = np.array([wind[name] for name in layout.surface])
        upper = np.array([[wind[name]] * levels for name in layout.upper])
        writer.write_step(
            index, surface, upper.reshape(-1, levels, cells) if levels else np.zeros((0, 0, cells))
        )
    writer.publish()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, str, str]]:
    """A client, a run with its spread, and a run that kept one component only."""
    folder = DataFolder.create(tmp_path_factory.mktemp("wind"))
    with Catalog(folder.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        ids = []
        layouts = Layout(WIND, UPPER, (250,)), Layout(WIND[:1], (), ())
        for day, layout in enumerate(layouts):
            init = INIT + np.timedelta64(day, "D")
            run, _ = catalog.runs.submit(SHA[:12], init, LEADS[-1], options={})
            catalog.runs.claim(run.id, "test")
            write(folder, run, layout)
            if day == 0:
                write(folder, run, layout, ".spread", **{STATISTIC: "spread"})
            catalog.runs.succeed(run.id, owner="test")
            ids.append(run.id)
        app = create_app(Settings(data=folder.root), catalog, StubEngine(catalog, folder))
        with in_process(app) as client:
            yield client, *ids


def download(client: httpx.Client, run: str, tmp_path: Path, **query: str) -> xr.Dataset:
    answer = client.get(f"/v1/forecasts/{run}/download", params=query)
    assert answer.status_code == 200, answer.text
    if query.get("format") == "zarr-zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            archive.extractall(tmp_path / "zarr")
        return xr.open_zarr(tmp_path / "zarr", consolidated=False, decode_timedelta=True).load()
    (tmp_path / "file.nc").write_bytes(answer.content)
    return xr.load_dataset(tmp_path / "file.nc", decode_timedelta=True)


@pytest.mark.parametrize("file_format", ["netcdf", "zarr-zip"])
@pytest.mark.parametrize("pair", [WIND, UPPER])
def test_downloads(
    runs: tuple[httpx.Client, str, str], tmp_path: Path, file_format: str, pair: tuple[str, str]
) -> None:
    client, run, _ = runs
    query = {"grid": "latlon:3", "variables": ",".join(pair), "format": file_format}
    got = download(client, run, tmp_path, **query)
    grid = np.meshgrid(got["latitude"], got["longitude"], indexing="ij")
    for index, axis in enumerate(AXES):
        at = got.isel(prediction_timedelta=index).squeeze()
        assert largest_error([at[name].values for name in pair], rotation(axis, *grid)) < BOUND


@pytest.mark.parametrize("name", WIND)
def test_one_component_alone_is_part_of_the_same_vector(
    runs: tuple[httpx.Client, str, str], tmp_path: Path, name: str
) -> None:
    client, run, _ = runs
    got = download(client, run, tmp_path, grid="latlon:3", variables=name, bbox="-60,60,90,90")
    assert list(got.data_vars) == [name]
    grid = np.meshgrid(got["latitude"], got["longitude"], indexing="ij")
    truth = rotation(AXES[1], *grid)[WIND.index(name)]
    found = got[name].isel(prediction_timedelta=1).squeeze().values
    assert np.abs(found - truth).max() < 20 * BOUND


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize(("pair", "prefix"), [(WIND, "10m_"), (UPPER, "")])
def test_points(
    runs: tuple[httpx.Client, str, str], interpolation: str, pair: tuple[str, str], prefix: str
) -> None:
    client, run, _ = runs
    names = [*pair, f"{prefix}wind_speed", f"{prefix}wind_direction"]
    query = {
        "latitude": ",".join(str(lat) for lat, _ in PLACES),
        "longitude": ",".join(str(lon) for _, lon in PLACES),
        "variables": ",".join(names),
        "interpolation": interpolation,
    } | ({} if prefix else {"levels": "250"})
    document = client.get(f"/v1/forecasts/{run}/point", params=query).json()
    text = client.get(f"/v1/forecasts/{run}/point", params={**query, "format": "csv"}).text
    lines = [float(line["value"]) for line in csv.DictReader(io.StringIO(text))]
    bound = BOUND if interpolation == "bilinear" else 0.06
    values = []
    for place, point in zip(PLACES, document["points"], strict=True):
        series = {each["variable"]: np.array(each["values"]) for each in point["series"]}
        truth = np.transpose([rotation(axis, *place) for axis in AXES])
        assert largest_error([series[name] for name in pair], truth) < bound
        speed, blows_to = series[names[2]], np.radians(series[names[3]] + 180)
        again = speed * np.sin(blows_to), speed * np.cos(blows_to)
        assert largest_error(again, [series[name] for name in pair]) < 1e-5
        values += [*np.concatenate([series[name] for name in names])]
    assert lines == values


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize(("latitude", "longitude"), PLACES)
def test_open_meteo(
    runs: tuple[httpx.Client, str, str], interpolation: str, latitude: float, longitude: float
) -> None:
    client, run, _ = runs
    query: dict[str, Any] = {
        "latitude": latitude,
        "longitude": longitude,
        "run": run,
        "interpolation": interpolation,
        "wind_speed_unit": "ms",
        "hourly": "wind_speed_10m,wind_direction_10m,wind_speed_250hPa,wind_direction_250hPa",
    }
    hourly = client.get("/v1/forecast", params=query).json()["hourly"]
    truth = np.transpose([rotation(axis, latitude, longitude) for axis in AXES])
    for where in ("10m", "250hPa"):
        speed = np.array(hourly[f"wind_speed_{where}"])
        blows_to = np.radians(np.array(hourly[f"wind_direction_{where}"]) + 180)
        found = speed * np.sin(blows_to), speed * np.cos(blows_to)
        assert largest_error(found, truth) < (BOUND + 1e-4 if interpolation == "bilinear" else 0.06)


def test_edr(runs: tuple[httpx.Client, str, str]) -> None:
    """Points on and around the poles, a grid with them, and cells."""
    client, run, _ = runs
    base = f"/ogc/collections/{SHA[:12]}/instances/{run}"
    points = ",".join(f"({lon} {lat})" for lat, lon in PLACES)
    for query, asked, bound in (
        ("position", {"coords": f"MULTIPOINT({points})", "interpolation": "bilinear"}, BOUND),
        ("position", {"coords": f"MULTIPOINT({points})"}, 0.06),
        ("cube", {"bbox": "-180,60,180,90"}, BOUND),
        ("radius", {"coords": "POINT(0 -90)", "within": "2000"}, 1e-6),
    ):
        params = {**asked, "parameter-name": "u10,v10", "f": "NetCDF"}
        answer = client.get(f"{base}/{query}", params=params)
        assert answer.status_code == 200, answer.text
        with xr.open_dataset(io.BytesIO(answer.content), engine="scipy") as file:
            place = file["latitude"].values, file["longitude"].values
            grid = np.meshgrid(*place, indexing="ij") if query == "cube" else place
            for index, axis in enumerate(AXES):
                found = [file[name].values[index] for name in WIND]
                assert largest_error(found, rotation(axis, *grid)) < bound


@pytest.mark.parametrize(("nside", "bound"), [(4, 0.1), (8, 0.03), (64, BOUND)])
def test_fields_at_other_resolutions(
    runs: tuple[httpx.Client, str, str], nside: int, bound: float
) -> None:
    client, run, _ = runs
    for lead, axis in zip(LEADS, AXES, strict=True):
        found = []
        for name in WIND:
            query = {"lead_time": lead, "nside": nside}
            answer = client.get(f"/v1/forecasts/{run}/fields/{name}", params=query)
            found.append(np.frombuffer(answer.content, "<f4"))
        assert largest_error(found, rotation(axis, *centres(nside))) < bound


def test_maps_draw_both_components(runs: tuple[httpx.Client, str, str]) -> None:
    client, run, _ = runs
    for name in ("u10", "v10", "u250"):
        for more in ({}, {"wind": "true"}, {"projection": "north_polar"}):
            query = {"lead_time": 48, "width": 300, **more}
            answer = client.get(f"/v1/forecasts/{run}/maps/{name}.png", params=query)
            assert answer.status_code == 200, answer.text


def test_run_that_kept_one_component(runs: tuple[httpx.Client, str, str]) -> None:
    """What needs the vector says so; the component on its cells is there."""
    client, _, lone = runs
    base = f"/v1/forecasts/{lone}"
    place = {"latitude": 89, "longitude": 10, "variables": "u10"}
    for path, query in (
        ("point", place),
        ("point", {**place, "variables": "10m_wind_speed"}),
        ("download", {"grid": "latlon:3"}),
        ("maps/u10.png", {"lead_time": 24, "wind": "true"}),
        ("fields/u10", {"lead_time": 24, "nside": 4}),
    ):
        document = problem(client.get(f"{base}/{path}", params=query), 422)
        assert "10m_v_component_of_wind" in document["detail"]
        assert "vector" in document["detail"]
    assert client.get(f"{base}/fields/u10", params={"lead_time": 24}).status_code == 200
    assert client.get(f"{base}/download", params={"grid": "healpix"}).status_code == 200
    assert client.get(f"{base}/maps/u10.png", params={"lead_time": 24}).status_code == 200


def test_spread_of_components_has_no_wind_speed(runs: tuple[httpx.Client, str, str]) -> None:
    client, run, _ = runs
    query = {"latitude": 10, "longitude": 20, "statistic": "spread", "variables": "10m_wind_speed"}
    document = problem(client.get(f"/v1/forecasts/{run}/point", params=query), 422)
    assert "statistic of each component" in document["detail"]
    query["variables"] = "u10"
    assert client.get(f"/v1/forecasts/{run}/point", params=query).status_code == 200
