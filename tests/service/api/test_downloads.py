"""Downloads over HTTP: a run as one file, and as a Zarr store."""

from __future__ import annotations

import io
import sqlite3
import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr
import zarr

from pear.sphere.healpix import centres
from pipelines.catalog import Catalog
from pipelines.ingestion.readers import eccodes
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import LEADS, NSIDE, StubEngine, in_process, problem, synthetic_field


def test_xarray_opens_the_run_over_http(url: str, run_id: str) -> None:
    store = f"{url}/v1/forecasts/{run_id}/zarr"
    with xr.open_zarr(store, decode_timedelta=True) as dataset:
        leads = dataset["prediction_timedelta"].values.astype("timedelta64[h]").astype(int)
        assert leads.tolist() == list(LEADS)
        field = dataset["temperature"].sel(level=850).isel(time=0, prediction_timedelta=1)
        np.testing.assert_array_equal(field.values, synthetic_field("temperature", 850, 48))


def test_zarr_files_have_ranges_etags_and_cors(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/zarr/zarr.json"
    whole = client.get(url, headers={"Origin": "https://example.org"})
    assert whole.headers["access-control-allow-origin"] == "*"
    part = client.get(url, headers={"Range": "bytes=5-14"})
    assert part.status_code == 206
    assert part.content == whole.content[5:15]
    assert part.headers["content-range"].endswith(f"/{len(whole.content)}")
    last = client.get(url, headers={"Range": "bytes=-7"})
    assert last.content == whole.content[-7:]
    assert client.get(url, headers={"Range": "bytes=999999999-"}).status_code == 416
    head = client.head(url, headers={"Accept-Encoding": "identity"})
    assert head.headers["content-length"] == str(len(whole.content))
    assert client.get(url, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304


def test_grib_of_a_region_and_of_a_probability(
    client: httpx.Client, run_id: str, tmp_path: Path
) -> None:
    codes, url = eccodes.load(), f"/v1/forecasts/{run_id}/download"
    for query, keys in (
        ({"variables": "z500", "grid": "latlon:10", "bbox": "-20,30,40,70"}, {"Ni": 7, "Nj": 5}),
        ({"statistic": "p00"}, {"probabilityType": 3, "lowerLimit": 286.0, "Nside": NSIDE}),
    ):
        answer = client.get(url, params={"format": "grib", "lead_times": "48", **query})
        assert answer.headers["content-type"] == "application/wmo-GRIB2"
        assert answer.headers["content-disposition"].endswith('.grib2"')
        (tmp_path / "a.grib2").write_bytes(answer.content)
        with (tmp_path / "a.grib2").open("rb") as file:
            message = codes.codes_grib_new_from_file(file)
            assert {key: codes.codes_get(message, key) for key in keys} == keys
            assert codes.codes_get(message, "step") == 48
            codes.codes_release(message)
    refused = client.get(url, params={"format": "grib", "bbox": "0,30,40,70"})
    assert problem(refused, 422)["field"] == "bbox"


@pytest.mark.parametrize(
    "path",
    [
        "../../catalog.sqlite",
        "..%2f..%2fcatalog.sqlite",
        "%2e%2e/%2e%2e/catalog.sqlite",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "nothing",
        ".",
        "",
        "zarr.json/",
        "%00",
        "zarr.json%00",
        "..\\..\\catalog.sqlite",
        "time/../zarr.json",
    ],
)
def test_only_keys_of_the_store_are_served(client: httpx.Client, run_id: str, path: str) -> None:
    answer = client.send(
        httpx.Request("GET", f"{client.base_url}/v1/forecasts/{run_id}/zarr/{path}")
    )
    assert answer.status_code in (200, 404)
    if answer.status_code == 200:  # the client itself resolved the dots before sending
        assert answer.url.path.endswith("/zarr/zarr.json")


def fetch(client: httpx.Client, run_id: str, **params: Any) -> httpx.Response:
    answer = client.get(f"/v1/forecasts/{run_id}/download", params=params)
    assert answer.status_code == 200, answer.text
    return answer


def test_netcdf_on_healpix(client: httpx.Client, run_id: str, tmp_path: Path) -> None:
    answer = fetch(client, run_id, variables="t2m,z500", lead_times="48,24")
    assert answer.headers["content-disposition"].endswith('.nc"')
    file = tmp_path / "run.nc"
    file.write_bytes(answer.content)
    with xr.open_dataset(file, decode_timedelta=True) as found:
        assert set(found.data_vars) == {"2m_temperature", "geopotential"}
        assert found["level"].values.tolist() == [500]
        got = found["2m_temperature"].isel(time=0, prediction_timedelta=0).values
        np.testing.assert_array_equal(got, synthetic_field("2m_temperature", None, 24))
        assert found["2m_temperature"].attrs["units"] == "K"
        assert found.attrs["pear_run"] == run_id
        assert "not an official warning" in found.attrs["comment"]


def test_netcdf_on_a_latitude_longitude_grid(
    client: httpx.Client, run_id: str, tmp_path: Path
) -> None:
    answer = fetch(
        client, run_id, variables="t2m", lead_times="24", grid="latlon:2.5", bbox="-20,30,40,75"
    )
    file = tmp_path / "run.nc"
    file.write_bytes(answer.content)
    with xr.open_dataset(file, decode_timedelta=True) as found:
        lat, lon = found["latitude"].values, found["longitude"].values
        assert (lat.min(), lat.max()) == (30, 75)
        east = (lon + 180) % 360 - 180
        assert (east.min(), east.max()) == (-20, 40)
        got = found["2m_temperature"].squeeze().values
        phi, lam = np.radians(lat)[:, None], np.radians(lon)[None]
        want = 285 + 20 * np.cos(phi) * np.cos(lam - np.radians(12)) + 2 * np.sin(phi)
        np.testing.assert_allclose(got, want, atol=0.4)  # cells are 7° wide
        assert found["latitude"].attrs["units"] == "degrees_north"


def test_zipped_zarr(client: httpx.Client, run_id: str, tmp_path: Path) -> None:
    answer = fetch(client, run_id, variables="msl", format="zarr-zip", bbox="0,0,90,90")
    assert zipfile.is_zipfile(io.BytesIO(answer.content))
    file = tmp_path / "run.zip"
    file.write_bytes(answer.content)
    store = zarr.storage.ZipStore(file, mode="r")
    with xr.open_zarr(store, consolidated=False, decode_timedelta=True) as found:
        lat, lon = centres(NSIDE)
        cells = np.flatnonzero((lat >= 0) & (lon <= 90))
        np.testing.assert_array_equal(found["cell_ids"].values, cells)
        got = found["mean_sea_level_pressure"].isel(time=0, prediction_timedelta=2).values
        np.testing.assert_array_equal(
            got, synthetic_field("mean_sea_level_pressure", None, 72)[cells]
        )


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"grid": "latlon:0.001"}, 422),
        ({"grid": "latlon:7"}, 422),
        ({"grid": "mercator"}, 422),
        ({"grid": "latlon:nan"}, 422),
        ({"bbox": "1,2,3"}, 422),
        ({"bbox": "0,50,10,40"}, 422),
        ({"bbox": "inf,0,1,1"}, 422),
        ({"variables": "wind"}, 422),
        ({"lead_times": "25"}, 422),
        ({"format": "csv"}, 422),
        ({"grid": "latlon:0.25"}, 413),
    ],
)
def test_invalid_downloads_are_refused(
    client: httpx.Client, run_id: str, params: dict[str, str], status: int
) -> None:
    answer = client.get(f"/v1/forecasts/{run_id}/download", params=params)
    assert answer.status_code == status, answer.text
    assert answer.json()["field"]


def test_temporary_files_are_removed(client: httpx.Client, run_id: str, data: Any) -> None:
    fetch(client, run_id, variables="t2m", lead_times="24")
    refused = client.get(
        f"/v1/forecasts/{run_id}/download?variables=t2m&lead_times=24",
        headers={"Range": "bytes=999999999-"},
    )
    assert refused.status_code == 416
    until = time.monotonic() + 5
    while list(data.scratch.glob("download-*")) and time.monotonic() < until:
        time.sleep(0.05)  # the file goes after the answer has gone out
    assert not list(data.scratch.glob("download-*"))


def test_a_chunk_lost_on_disk_is_not_a_chunk_never_written(
    client: httpx.Client, data: DataFolder, run_id: str
) -> None:
    """A client takes 404 for fill values."""
    key = "geopotential/c/0/1/0/0"
    file = data.forecast(run_id) / key
    content = file.read_bytes()
    try:
        file.unlink()
        answer = client.get(f"/v1/forecasts/{run_id}/zarr/{key}")
    finally:
        file.write_bytes(content)
    assert problem(answer, 503)["detail"].startswith(key)


def test_first_reads_do_not_wait_for_a_locked_catalog(
    settings: Settings, catalog: Catalog, engine: StubEngine, data: DataFolder, run_id: str
) -> None:
    with (
        in_process(create_app(settings, catalog, engine)) as fresh,
        closing(sqlite3.connect(data.catalog, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        try:
            answer = fresh.get(f"/v1/forecasts/{run_id}/zarr/zarr.json")
            waited = time.monotonic() - began
        finally:
            other.execute("ROLLBACK")
    assert answer.status_code == 200
    assert waited < 15  # the catalog waits 30 s for a lock
