"""STAC: pystac reads the catalogue from the service, and validates every document."""

from __future__ import annotations

import json
import warnings
from typing import Any

import httpx
import numpy as np
import pystac
import pytest
import xarray as xr
from pystac.extensions.datacube import DatacubeExtension
from pystac.stac_io import DefaultStacIO
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from tests.fixtures.service import INIT, LEADS, NSIDE, SHA, problem

COLLECTION = f"forecasts-{SHA[:12]}"


class _Client(DefaultStacIO):
    """Reads through the test's client, and nothing else: no schema is fetched."""

    client: httpx.Client

    def read_text(self, source: Any, *_: Any, **__: Any) -> str:
        answer = self.client.get(str(source))
        assert answer.status_code == 200, source
        return answer.text


@pytest.fixture(scope="module")
def root(client: httpx.Client) -> pystac.Catalog:
    """The catalogue as pystac reads it."""
    reader = type("Reader", (_Client,), {"client": client})()
    return pystac.Catalog.from_file(f"{client.base_url}/v1/stac", stac_io=reader)


def validate(document: dict[str, Any]) -> None:
    """Check a document against the schemas that pystac brings along."""
    kind = {
        "Catalog": pystac.STACObjectType.CATALOG,
        "Collection": pystac.STACObjectType.COLLECTION,
        "Feature": pystac.STACObjectType.ITEM,
    }[document["type"]]
    checked = JsonSchemaSTACValidator().validate_core(document, kind, document["stac_version"])
    assert checked is not None


def test_every_document_is_valid(client: httpx.Client, root: pystac.Catalog) -> None:
    validate(client.get("/v1/stac").json())
    collections = client.get("/v1/stac/collections").json()["collections"]
    names = {each["id"] for each in collections}
    assert {COLLECTION, "analysis-made-up"} <= names
    for each in collections:
        validate(each)
        one = client.get(f"/v1/stac/collections/{each['id']}").json()
        validate(one)
        assert each == one
    items = client.get(f"/v1/stac/collections/{COLLECTION}/items").json()
    assert items["numberReturned"] == len(items["features"]) > 0
    for item in items["features"]:
        validate(item)
        assert item == client.get(f"/v1/stac/collections/{COLLECTION}/items/{item['id']}").json()
    assert all(None not in link.values() for each in collections for link in each["links"])
    broken = {**items["features"][0], "geometry": {"type": "Polygon", "coordinates": "none"}}
    with pytest.raises(pystac.errors.STACValidationError):
        validate(broken)


def test_links_lead_from_the_root_to_the_runs_and_back(
    client: httpx.Client, root: pystac.Catalog, run_id: str
) -> None:
    runs = next(each for each in root.get_children() if each.id == COLLECTION)
    page = client.get(str(runs.get_links("items")[0].absolute_href)).json()
    item = next(each for each in page["features"] if each["id"] == run_id)
    links = {link["rel"]: link["href"] for link in item["links"]}
    assert client.get(links["self"]).json() == item
    assert client.get(links["collection"]).json()["id"] == COLLECTION
    assert links["parent"] == links["collection"]
    assert client.get(links["root"]).json()["id"] == root.id
    run = client.get(links["about"]).json()
    assert run["links"]["stac"] == links["self"].removeprefix(str(client.base_url))


def test_pystac_finds_the_newest_runs(
    client: httpx.Client, root: pystac.Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `get_items` follows links to items alone, not the pages of `items`."""
    listed = client.get(f"/v1/stac/collections/{COLLECTION}/items").json()["features"]
    found = list(root.get_items(recursive=True))
    assert [item.id for item in found] == [item["id"] for item in listed]
    assert len(found) >= 2
    assert found[0].get_collection().id == COLLECTION
    monkeypatch.setattr("service.api.stac.MOST_ITEM_LINKS", 1)
    document = client.get(f"/v1/stac/collections/{COLLECTION}").json()
    links = [link["href"] for link in document["links"] if link["rel"] == "item"]
    assert len(links) == 1
    assert links[0].endswith(listed[0]["id"])


def test_pystac_client_finds_the_newest_runs_of_a_collection(url: str, run_id: str) -> None:
    """It reads the list of collections; a search is not offered, and it says so."""
    pystac_client = pytest.importorskip("pystac_client")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of reading links for want of a search
        root = pystac_client.Client.open(f"{url}/v1/stac")
        runs = next(each for each in root.get_collections() if each.id == COLLECTION)
        for found in (runs.get_items(), root.get_collection(COLLECTION).get_items()):
            assert run_id in [item.id for item in found]
        assert run_id in [item.id for item in root.get_items()]
        with pytest.raises(pystac_client.warnings.DoesNotConformTo, match="ITEM_SEARCH"):
            root.search(max_items=1)
    root._stac_io.session.close()


def test_an_item_says_what_the_run_is(client: httpx.Client, url: str, run_id: str) -> None:
    document = httpx.get(f"{url}/v1/stac/collections/{COLLECTION}/items/{run_id}").json()
    item = pystac.Item.from_dict(document)
    assert item.datetime is not None
    assert np.datetime64(item.datetime.replace(tzinfo=None), "s") == INIT
    properties = item.properties
    assert properties["end_datetime"] == "2001-03-11T00:00:00Z"
    assert properties["forecast:reference_datetime"] == "2001-03-01T00:00:00Z"
    assert properties["forecast:horizon"] == "PT240H"
    cube = DatacubeExtension.ext(item)
    assert cube.dimensions["prediction_timedelta"].values == list(LEADS)
    assert cube.dimensions["cell"].extent == [0, 12 * NSIDE**2 - 1]
    assert cube.variables["2m_temperature"].dimensions == ["time", "prediction_timedelta", "cell"]
    assert cube.variables["geopotential"].unit == "m2 s-2"
    with xr.open_zarr(item.assets["zarr"].href, decode_timedelta=True) as dataset:
        sizes = {name: dataset.sizes[name] for name in cube.dimensions}
    assert sizes["prediction_timedelta"] == len(LEADS)
    assert sizes["cell"] == 12 * NSIDE**2
    xr.open_zarr(item.assets["spread"].href, decode_timedelta=True).close()
    for name, selection in (
        ("netcdf", "&variables=t2m&lead_times=24"),
        ("grib", "&variables=t2m&lead_times=24"),
        ("thumbnail", ""),
    ):
        asset = item.assets[name]
        answer = client.get(asset.href.removeprefix(url) + selection)
        assert answer.status_code == 200, name
        assert answer.headers["content-type"] == asset.media_type
    assert json.dumps(document).count("NaN") == 0


def test_pages_of_items_have_every_run_once(client: httpx.Client) -> None:
    url = f"/v1/stac/collections/{COLLECTION}/items"
    whole = [each["id"] for each in client.get(url).json()["features"]]
    paged, link = [], f"{url}?limit=1"
    while link:
        page = client.get(link).json()
        paged += [each["id"] for each in page["features"]]
        link = next((each["href"] for each in page["links"] if each["rel"] == "next"), "")
    assert paged == whole
    assert len(whole) == len(set(whole)) >= 2


def test_an_analysis_is_a_collection_with_its_store(client: httpx.Client) -> None:
    found = client.get("/v1/stac/collections/analysis-made-up").json()
    assert found["extent"]["temporal"]["interval"] == [
        ["2001-03-01T00:00:00Z", "2001-03-04T00:00:00Z"]
    ]
    assert found["assets"]["zarr"]["href"].endswith("/v1/stores/analysis/made-up.zarr")
    assert client.get("/v1/stac/collections/analysis-made-up/items").json()["features"] == []
    runs = client.get(f"/v1/stac/collections/{COLLECTION}").json()
    first, last = runs["extent"]["temporal"]["interval"][0]
    assert (first, last) == ("2001-02-28T00:00:00Z", "2001-03-11T00:00:00Z")


def test_what_is_not_there_is_not_found(client: httpx.Client, run_id: str) -> None:
    for path in (
        "nothing",
        "nothing/items",
        f"analysis-made-up/items/{run_id}",
        f"{COLLECTION}/items/nothing",
    ):
        problem(client.get(f"/v1/stac/collections/{path}"), 404)
