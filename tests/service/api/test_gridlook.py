"""The catalogue for gridlook, and what gridlook asks of a store: by its own library, zarrita."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from pear.store.reader import open_store
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.node import needs, run_module
from tests.fixtures.service import NSIDE

ORIGIN = {"Origin": "https://gridlook.pages.dev"}
# What gridlook does: catalogue, consolidated metadata, the grid by the attributes of crs or of the
# group, and one field.
SCRIPT = """
import * as zarr from "zarrita";
const catalog = await (await fetch(process.argv[2])).json();
const found = [];
for (const { url } of catalog.datasets) {
  const store = await zarr.withConsolidatedMetadata(new zarr.FetchStore(url));
  const root = await zarr.open(store, { kind: "group" });
  const { attrs } = await zarr.open(root.resolve("crs"), { kind: "array" });
  const nside = attrs.healpix_nside ?? 2 ** root.attrs.dggs.refinement_level;
  const array = await zarr.open(root.resolve("2m_temperature"), { kind: "array" });
  const where = array.shape.map((_, i) => (i === array.shape.length - 1 ? null : 0));
  const { data } = await zarr.get(array, where);
  const names = array.dimensionNames ?? array.attrs._ARRAY_DIMENSIONS;
  found.push({ url, crs: attrs, nside, names, values: Array.from(data) });
}
console.log(JSON.stringify(found));
"""


def test_the_catalogue_lists_analyses_and_runs(client: httpx.Client, run_id: str) -> None:
    answer = client.get("/v1/gridlook.json", headers=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == "*"
    document = answer.json()
    assert document["type"] == "gridlook_catalog"
    assert "link" not in answer.headers
    urls = [each["url"].rpartition("/")[2] for each in document["datasets"]]
    assert urls[:4] == ["made-up.zarr", *(f"{run_id}{end}.zarr" for end in ("", ".p00", ".spread"))]
    assert {each["tag"] for each in document["datasets"]} == {"healpix"}
    titles = [each["title"] for each in document["datasets"]]
    assert titles[0] == "Analysis made-up, 2001-03-01T00:00:00Z to 2001-03-04T00:00:00Z"
    assert titles[3] == "Forecast by made-up from 2001-03-01T00:00:00Z, 240 h, spread"
    few = client.get("/v1/gridlook.json", params={"runs": 1}).json()["datasets"]
    assert len(few) == 4


def test_a_page_of_another_host_reads_ranges(client: httpx.Client, run_id: str) -> None:
    path = f"/v1/stores/forecast/{run_id}.zarr/zarr.json"
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    allowed = client.options(path, headers={**ORIGIN, **asked})
    assert allowed.status_code == 200
    assert "Range" in allowed.headers["access-control-allow-headers"]
    part = client.get(path, headers={**ORIGIN, "Range": "bytes=0-9"})
    assert (part.status_code, len(part.content)) == (206, 10)
    assert part.headers["access-control-allow-origin"] == "*"
    missing = client.get(f"/v1/stores/forecast/{run_id}.zarr/.zmetadata", headers=ORIGIN)
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, "*")


@pytest.mark.slow
@needs("zarrita")
def test_zarrita_reads_every_store_of_the_catalogue(
    url: str, data: DataFolder, run_id: str, tmp_path: Path
) -> None:
    found = json.loads(run_module(tmp_path, SCRIPT, f"{url}/v1/gridlook.json"))
    assert len(found) >= 4
    for each in found:
        assert each["crs"]["grid_mapping_name"] == "healpix"
        assert each["nside"] == NSIDE
        assert each["names"][-1] == "cell"
        _, kind, file = each["url"].rsplit("/", 2)
        name = file.removesuffix(".zarr")
        path = data.analysis(name) if kind == "analysis" else data.forecast(name)
        truth = open_store(path)["2m_temperature"].isel(time=0)
        truth = truth.isel(prediction_timedelta=0) if kind == "forecast" else truth
        np.testing.assert_array_equal(np.float32(each["values"]), truth.values)
