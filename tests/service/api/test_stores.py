"""Every Zarr store has an address that readers of the field open without hints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import xarray as xr

from pear import open_climatology, resources
from pear.sphere.healpix import centres
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.service import INIT, LEADS, NSIDE, problem, synthetic_field

CLIMATOLOGY = "shipped"


@pytest.fixture(scope="module", autouse=True)
def climatology(data: DataFolder) -> Iterator[Path]:
    """A climatology in the folder, which the catalog does not know."""
    path = data.climatology(CLIMATOLOGY)
    shutil.copytree(resources.path("climatology"), path)
    yield path
    shutil.rmtree(path)


def test_every_store_of_the_list_is_opened_by_its_address(
    url: str, data: DataFolder, run_id: str, climatology: Path
) -> None:
    stores = httpx.get(f"{url}/v1/stores").json()["items"]
    found = {(each["kind"], each["name"]): each for each in stores}
    assert {("analysis", "made-up"), ("climatology", CLIMATOLOGY)} < set(found)
    assert {("forecast", f"{run_id}{end}") for end in ("", ".spread", ".p00")} < set(found)
    for (kind, name), each in found.items():
        with xr.open_zarr(each["url"], chunks=None) as dataset:
            assert dataset.attrs["pear_kind"] == kind
            assert set(each["variables"]) <= set(dataset.data_vars)
            assert dataset.sizes["cell"] == 12 * each["nside"] ** 2
        local = {
            "analysis": data.analysis,
            "climatology": data.climatology,
            "forecast": data.forecast,
        }[kind](name)
        sizes = [path.stat().st_size for path in local.rglob("*") if path.is_file()]
        assert each["nbytes"] == sum(sizes)


def test_values_over_http_are_those_of_the_stores(url: str, run_id: str, climatology: Path) -> None:
    base = f"{url}/v1/stores"
    with xr.open_zarr(f"{base}/analysis/made-up.zarr") as analysis:
        days = INIT + np.arange(4) * np.timedelta64(1, "D")
        np.testing.assert_array_equal(analysis["time"].values, days)
        got = analysis["geopotential"].sel(level=500).isel(time=2)
        np.testing.assert_array_equal(got, synthetic_field("geopotential", 500, 48))
    with xr.open_zarr(f"{base}/forecast/{run_id}.spread.zarr", decode_timedelta=True) as spread:
        got = spread["2m_temperature"].isel(time=0, prediction_timedelta=3)
        want = np.float32(0.01) * synthetic_field("2m_temperature", None, LEADS[3])
        np.testing.assert_allclose(got, want, rtol=1e-6)
    with xr.open_zarr(f"{base}/forecast/{run_id}.p00.zarr", decode_timedelta=True) as exceeding:
        got = exceeding["2m_temperature"].isel(time=0, prediction_timedelta=0)
        np.testing.assert_allclose(got, centres(NSIDE)[0] / 180 + 0.5, atol=1e-6)
    with (
        xr.open_zarr(f"{base}/climatology/{CLIMATOLOGY}.zarr") as remote,
        xr.open_zarr(climatology) as local,
    ):
        xr.testing.assert_identical(remote.load(), local.load())
        assert remote.sizes["cell"] == 12 * open_climatology(climatology).nside ** 2


def test_xarray_needs_no_engine(url: str) -> None:
    with xr.open_dataset(f"{url}/v1/stores/analysis/made-up.zarr") as analysis:
        assert analysis.sizes["time"] == 4


def test_an_entry_says_what_the_store_is(client: httpx.Client, run_id: str) -> None:
    entry = client.get("/v1/stores/analysis/made-up").json()
    assert entry == client.get("/v1/stores/analysis/made-up.zarr").json()
    assert (entry["times"], entry["first_time"], entry["last_time"]) == (
        4,
        "2001-03-01T00:00:00Z",
        "2001-03-04T00:00:00Z",
    )
    spread = client.get(f"/v1/stores/forecast/{run_id}.spread").json()
    assert (spread["statistic"], spread["lead_hours"]) == ("spread", 240)
    assert spread["links"]["run"] == f"/v1/forecasts/{run_id}"
    years = client.get(f"/v1/stores/climatology/{CLIMATOLOGY}").json()
    assert years["first_time"][:4] == "2000"
    assert years["times"] is None


def test_pages_of_the_list_have_every_store_once(client: httpx.Client) -> None:
    whole = [each["url"] for each in client.get("/v1/stores").json()["items"]]
    paged, link = [], "/v1/stores?limit=1"
    while link:
        page = client.get(link)
        paged += [each["url"] for each in page.json()["items"]]
        link = page.headers.get("link", "").partition("<")[2].partition(">")[0]
    assert paged == whole
    assert len(set(whole)) == len(whole)
    kinds = {each["kind"] for each in client.get("/v1/stores?kind=forecast").json()["items"]}
    assert kinds == {"forecast"}
    assert problem(client.get("/v1/stores?cursor=x9"), 422)["field"] == "cursor"


@pytest.mark.parametrize(
    "path",
    [
        "analysis/made-up.zarr/../../catalog.sqlite",
        "analysis/made-up.zarr/..%2f..%2fcatalog.sqlite",
        "analysis/made-up.zarr/%2e%2e/%2e%2e/catalog.sqlite",
        "analysis/made-up.zarr//etc/passwd",
        "analysis/made-up.zarr/%2fetc%2fpasswd",
        "analysis/made-up.zarr/time/../zarr.json",
        "analysis/made-up.zarr/.hidden",
        "analysis/made-up.zarr/link.json",
        "analysis/made-up.zarr/",
        "analysis/made-up.zarr/%00",
        "analysis/..%2fanalyses%2fmade-up.zarr/zarr.json",
        "analysis/nothing.zarr/zarr.json",
        "climatology/made-up.zarr/zarr.json",
        "forecast/..%2fanalyses%2fmade-up.zarr/zarr.json",
        "forecast/latest.zarr/zarr.json",
        "forecast/nothing.zarr/zarr.json",
    ],
)
def test_nothing_but_files_of_known_stores_is_served(url: str, data: DataFolder, path: str) -> None:
    store, place = data.analysis("made-up"), urlsplit(url)
    hidden, link = store / ".hidden", store / "link.json"
    hidden.write_text("secret")
    link.symlink_to(data.catalog)
    # A client of its own sends the path as it stands; others take the dots away.
    connection = HTTPConnection(str(place.hostname), place.port, timeout=30)
    try:
        connection.request("GET", f"/v1/stores/{path}")
        answer = connection.getresponse()
        assert answer.status == 404
        assert b"secret" not in answer.read()
    finally:
        connection.close()
        hidden.unlink()
        link.unlink()


def test_a_statistic_that_the_run_lacks_is_named(client: httpx.Client, run_id: str) -> None:
    answer = client.get(f"/v1/stores/forecast/{run_id}.q90.zarr/zarr.json")
    assert problem(answer, 404)["hint"] == "it has p00, spread"


def test_files_have_validators_ranges_and_heads(client: httpx.Client, run_id: str) -> None:
    for store in ("analysis/made-up", f"forecast/{run_id}", f"climatology/{CLIMATOLOGY}"):
        url = f"/v1/stores/{store}.zarr/zarr.json"
        whole = client.get(url, headers={"Accept-Encoding": "identity"})
        tag, date = whole.headers["etag"], whole.headers["last-modified"]
        pinned = "immutable" in whole.headers["cache-control"]
        assert pinned == store.startswith("forecast")
        for headers in ({"If-None-Match": tag}, {"If-Modified-Since": date}):
            assert client.get(url, headers=headers).status_code == 304
        part = client.get(url, headers={"Range": "bytes=5-14", "If-Range": tag})
        assert (part.status_code, part.content) == (206, whole.content[5:15])
        head = client.head(url, headers={"Accept-Encoding": "identity"})
        assert head.headers["content-length"] == str(len(whole.content))
        assert client.get(url, headers={"Range": "bytes=99999999-"}).status_code == 416


def test_a_store_that_has_changed_has_another_tag(client: httpx.Client, data: DataFolder) -> None:
    url = "/v1/stores/analysis/made-up.zarr/zarr.json"
    before = client.get(url)
    file = data.analysis("made-up") / "zarr.json"
    copy = file.with_name(".copy")
    copy.write_bytes(file.read_bytes() + b" ")
    kept = file.with_name(".kept")
    file.rename(kept)
    copy.rename(file)
    try:
        after = client.get(url, headers={"If-None-Match": before.headers["etag"]})
    finally:
        kept.rename(file)
    assert (after.status_code, after.content) == (200, before.content + b" ")
