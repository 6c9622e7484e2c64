"""Analyses and climatologies as collections of the OGC interfaces, by their own clients."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr
from covjson_pydantic.coverage import CoverageCollection
from edr_pydantic.collections import Collection, Collections
from owslib.ogcapi.edr import EnvironmentalDataRetrieval
from owslib.wms import WebMapService
from PIL import Image

from pear import open_climatology, resources
from pear.sphere.healpix import cell_of
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.readers.ogc.selection import list_times
from service.settings import Settings
from tests.fixtures.service import (
    INIT,
    NSIDE,
    StubEngine,
    in_process,
    served,
    synthetic_field,
    write_analysis,
)

DAYS = 6
ANALYSIS = "/ogc/collections/analysis.made-up"
CLIMATOLOGY = "/ogc/collections/climatology.shipped"
PLACE = "POINT(18.1 59.3)"
T2M = {"coords": PLACE, "parameter-name": "t2m"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A folder with an analysis and a climatology, and without a model."""
    made = DataFolder.create(tmp_path_factory.mktemp("stores") / "data")
    write_analysis(made, days=DAYS)
    shutil.copytree(resources.path("climatology"), made.climatology("shipped"))
    with Catalog(made.catalog) as catalog:
        times = INIT + np.arange(DAYS) * np.timedelta64(1, "D")
        catalog.stores.add("made-up", "analyses/made-up.zarr", nside=NSIDE, times=times)
    return made


@pytest.fixture(scope="module")
def stores(folder: DataFolder) -> Iterator[httpx.Client]:
    with Catalog(folder.catalog) as catalog:
        app = create_app(Settings(data=folder.root), catalog, StubEngine(catalog, folder))
        with in_process(app) as client:
            yield client


@pytest.fixture(scope="module")
def address(folder: DataFolder) -> Iterator[str]:
    with Catalog(folder.catalog) as catalog:
        app = create_app(Settings(data=folder.root), catalog, StubEngine(catalog, folder))
        with served(app) as base:
            yield base


def truth(name: str, level: int | None, day: int) -> float:
    cell = cell_of(np.array([59.3]), np.array([18.1]), NSIDE)
    return float(synthetic_field(name, level, 24 * day)[cell][0])


def test_collections_describe_the_stores(stores: httpx.Client) -> None:
    answer = stores.get("/ogc/collections")
    found = Collections.model_validate_json(answer.content).collections
    names = [each.id for each in found]
    assert names == ["analysis.made-up", "climatology.shipped"]
    for each in found:
        own = stores.get(f"/ogc/collections/{each.id}")
        assert Collection.model_validate_json(own.content) == each
        assert own.headers["last-modified"]
        for link in own.json()["links"]:
            target = link["href"].replace("http://localhost", "")
            if link["type"] != "application/vnd.zarr":
                assert stores.get(target).status_code == 200, link
        listed = stores.get(f"/ogc/collections/{each.id}/instances").json()
        assert listed["instances"] == []
    analysis, climatology = (each["extent"]["temporal"] for each in answer.json()["collections"])
    assert analysis["values"] == [f"2001-03-0{day}T00:00:00Z" for day in range(1, DAYS + 1)]
    assert climatology["values"] == ["R366/2000-01-01T00:00:00Z/PT24H"]
    assert "stands for any year" in answer.json()["collections"][1]["description"]


def test_owslib_reads_an_analysis(address: str, stores: httpx.Client) -> None:
    edr = EnvironmentalDataRetrieval(f"{address}/ogc")
    assert edr.data() == ["analysis.made-up", "climatology.shipped"]
    assert edr.collections()["collections"][0]["id"] == "analysis.made-up"
    asked = {"coords": PLACE, "parameter_names": "2m_temperature,temperature", "z": "500"}
    with httpx.Client() as client:
        path = f"{address}{ANALYSIS}/position"
        body = client.get(path, params={**asked, "datetime": "2001-03-02/2001-03-04"}).content
    document = CoverageCollection.model_validate_json(body)
    flat, upper = document.coverages
    for name, level, one in (("2m_temperature", None, flat), ("temperature", 500, upper)):
        expected = [truth(name, level, day) for day in (1, 2, 3)]
        np.testing.assert_allclose(one.ranges[name].values, expected, rtol=1e-6)
    same = edr.query_data(
        "analysis.made-up", "position", coords=PLACE, parameter_names=["2m_temperature"]
    )
    whole = CoverageCollection.model_validate_json(json.dumps(same))
    values = whole.coverages[0].ranges["2m_temperature"].values
    expected = [truth("2m_temperature", None, day) for day in range(DAYS)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("position", {"coords": PLACE}),
        ("radius", {"coords": PLACE, "within": "1500"}),
        ("area", {"coords": "POLYGON((160 -20,200 -20,200 25,160 25,160 -20))"}),
        ("cube", {"bbox": "160,-20,-160,25"}),
        ("trajectory", {"coords": "LINESTRING(18.1 59.3,10.7 59.9,4.9 52.4)"}),
    ],
)
def test_every_query_and_format(stores: httpx.Client, query: str, asked: dict[str, str]) -> None:
    what = {**asked, "parameter-name": "t2m,u,wind_speed", "z": "850"}
    for base, time in ((ANALYSIS, "2001-03-03"), (CLIMATOLOGY, "2000-03-03")):
        given = {**what, "datetime": time}
        document = stores.get(f"{base}/{query}", params=given)
        assert document.status_code == 200, document.text
        CoverageCollection.model_validate_json(document.content)
        netcdf = stores.get(f"{base}/{query}", params={**given, "f": "NetCDF"})
        with xr.open_dataset(io.BytesIO(netcdf.content), engine="scipy") as file:
            assert set(file.data_vars) == {"2m_temperature", "u_component_of_wind", "wind_speed"}
            assert "pear_init_time" not in file.attrs
        assert stores.get(f"{base}/{query}", params={**given, "f": "GeoJSON"}).json()["features"]


def test_a_climatology_has_the_values_of_the_library(
    stores: httpx.Client, folder: DataFolder
) -> None:
    climatology = open_climatology(folder.climatology("shipped"))
    document = stores.get(
        f"{CLIMATOLOGY}/position", params={**T2M, "datetime": "2000-02-29,2000-07-01"}
    ).json()
    values = document["coverages"][0]["ranges"]["2m_temperature"]["values"]
    place = climatology.layout.surface.index("2m_temperature")
    cell = cell_of(np.array([59.3]), np.array([18.1]), climatology.nside)
    expected = climatology.at(["2000-02-29", "2000-07-01"])[0][:, place, cell][:, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    label = document["parameters"]["2m_temperature"]["observedProperty"]["label"]["en"]
    assert "on this day of the year" in label
    assert document["pear:run"]["climatology"] == "shipped"


def test_tiles_and_maps(stores: httpx.Client, address: str) -> None:
    tile = f"{ANALYSIS}/coverage/tiles/WorldCRS84Quad/0/0/1"
    answer = stores.get(tile, params={"parameter-name": "t2m", "interpolation": "nearest"})
    assert answer.headers["pear-store"] == "analysis/made-up"
    assert answer.headers["pear-valid-time"] == f"2001-03-0{DAYS}T00:00:00Z", "the newest"
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)
    row, column = int((90 - 59.3) / 180 * 256), int(18.1 / 180 * 256)
    code = pixels[row, column] @ (65536, 256, 1)
    scale, offset = (float(answer.headers[f"pear-{name}"]) for name in ("scale", "offset"))
    north, east = 90 - (row + 0.5) * 180 / 256, (column + 0.5) * 180 / 256
    cell = cell_of(np.array([north]), np.array([east]), NSIDE)
    field = synthetic_field("2m_temperature", None, 24 * (DAYS - 1))
    assert offset + scale * code == pytest.approx(float(field[cell][0]), abs=scale)
    for base in (ANALYSIS, CLIMATOLOGY):
        wms = WebMapService(f"{address}{base}/wms", version="1.3.0")
        layer = wms["2m_temperature"]
        assert "reference_time" not in layer.dimensions
        assert layer.dimensions["time"]["values"]
        drawn = wms.getmap(
            layers=["2m_temperature"],
            styles=["default"],
            srs="CRS:84",
            bbox=(-180, -90, 180, 90),
            size=(64, 32),
            format="image/png",
        )
        with Image.open(io.BytesIO(drawn.read())) as image:
            assert image.size == (64, 32)
    times = wms["2m_temperature"].dimensions["time"]["values"]
    assert times == ["2000-01-01T00:00:00Z/2000-12-31T00:00:00Z/PT24H"]


def test_an_analysis_that_has_grown_is_read_again(tmp_path: Path) -> None:
    folder = DataFolder.create(tmp_path / "data")
    write_analysis(folder, days=2)
    with Catalog(folder.catalog) as catalog:
        times = INIT + np.arange(2) * np.timedelta64(1, "D")
        catalog.stores.add("made-up", "analyses/made-up.zarr", nside=NSIDE, times=times)
        app = create_app(Settings(data=folder.root), catalog, StubEngine(catalog, folder))
        with in_process(app) as client:
            first = client.get(f"{ANALYSIS}/position", params=T2M)
            tag = {"If-None-Match": first.headers["etag"]}
            assert client.get(f"{ANALYSIS}/position", params=T2M, headers=tag).status_code == 304
            shutil.rmtree(folder.analysis("made-up"))
            write_analysis(folder, days=3)
            second = client.get(f"{ANALYSIS}/position", params=T2M, headers=tag)
    counts = [
        len(one.json()["coverages"][0]["ranges"]["2m_temperature"]["values"])
        for one in (first, second)
    ]
    assert counts == [2, 3]
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("path", "params", "status", "words"),
    [
        ("/ogc/collections/analysis.nothing", {}, 404, "no collection"),
        (f"{ANALYSIS}/instances/abc", {}, 404, "has no instances"),
        (f"{ANALYSIS}/position", {**T2M, "datetime": "2020-01-01"}, 400, "analysis made-up has"),
        (f"{ANALYSIS}/position", {**T2M, "parameter-name": "d2m"}, 400, "analysis made-up does"),
        (f"{CLIMATOLOGY}/position", {"coords": PLACE}, 400, "fields of climatology shipped, limit"),
    ],
)
def test_what_a_store_does_not_have(
    stores: httpx.Client, path: str, params: dict[str, Any], status: int, words: str
) -> None:
    answer = stores.get(path, params=params)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    assert answer.json()["code"]


def test_long_series_are_listed_by_their_step() -> None:
    times = np.datetime64("2001-01-01", "s") + np.arange(500) * np.timedelta64(6, "h")
    gap = np.delete(times, [300, 301])
    assert list_times(gap) == [
        "R300/2001-01-01T00:00:00Z/PT6H",
        "R198/2001-03-17T12:00:00Z/PT6H",
    ]
