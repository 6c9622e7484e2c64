"""WMS 1.3.0 and 1.1.1: read by owslib, axes of each reference system, and XML for errors."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from owslib.util import ServiceException
from owslib.wms import WebMapService
from PIL import Image

from service.maps.tiles import Colours, palette
from tests.fixtures.ogc import COLLECTION, WORDS, simulated_service
from tests.fixtures.service import synthetic_field

PATH = f"/ogc/collections/{COLLECTION}/wms"
MERCATOR = 20_037_508.342789244
MAP = {
    "service": "WMS",
    "version": "1.3.0",
    "request": "GetMap",
    "layers": "2m_temperature",
    "styles": "",
    "crs": "CRS:84",
    "bbox": "-180,-90,180,90",
    "width": "360",
    "height": "180",
    "format": "image/png",
}
INFO = {**MAP, "request": "GetFeatureInfo", "query_layers": "2m_temperature", "i": "198", "j": "30"}
INFO |= {"info_format": "application/json"}


def picture(client: httpx.Client, mode: str = "RGB", **more: str) -> np.ndarray:
    answer = client.get(PATH, params={**MAP, **more})
    assert answer.status_code == 200, answer.text
    return np.array(Image.open(io.BytesIO(answer.content)).convert(mode))


def exception(answer: httpx.Response, status: int = 400) -> ET.Element:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("text/xml")
    root = ET.fromstring(answer.content)  # noqa: S314 - our own
    assert root.attrib["version"] == "1.3.0"
    (found,) = root
    assert found.tag == "{http://www.opengis.net/ogc}ServiceException"
    assert found.text
    return found


def value_at(client: httpx.Client, **more: str) -> dict[str, Any]:
    answer = client.get(PATH, params={**INFO, **more})
    assert answer.status_code == 200, answer.text
    (feature,) = answer.json()["features"]
    return {**feature["properties"], "place": feature["geometry"]["coordinates"]}


def test_owslib_reads_capabilities_maps_values_and_legends(url: str) -> None:
    wms = WebMapService(f"{url}{PATH}", version="1.3.0")
    assert {operation.name for operation in wms.operations} >= {"GetMap", "GetFeatureInfo"}
    layer = wms["temperature"]
    assert layer.queryable
    assert set(layer.crsOptions) >= {"CRS:84", "EPSG:4326", "EPSG:3857"}
    assert layer.boundingBoxWGS84 == (-180, -90, 180, 90)
    assert layer.dimensions["time"]["default"] == "2001-03-02T00:00:00Z"
    assert "500" in layer.dimensions["elevation"]["values"]
    starts = layer.dimensions["reference_time"]["values"]
    assert starts == ["2001-02-28T00:00:00Z", "2001-03-01T00:00:00Z"]
    asked = {"layers": ["temperature"], "styles": ["default"], "srs": "EPSG:4326"}
    asked |= {"bbox": (-180, -90, 180, 90), "size": (60, 30), "format": "image/png"}
    asked |= {"time": "2001-03-04T00:00:00Z", "elevation": "850"}
    got = wms.getmap(**asked)
    assert got.info()["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(got.read())).size == (60, 30)
    info = wms.getfeatureinfo(
        **asked, query_layers=["temperature"], info_format="application/json", xy=(30, 10)
    )
    assert b'"elevation":850' in info.read()
    legend = layer.styles["default"]["legend"]
    answer = httpx.get(legend)
    assert Image.open(io.BytesIO(answer.content)).size[1] > 200
    with pytest.raises(ServiceException, match="850"):
        wms.getmap(**{**asked, "elevation": "851"})
    assert list(wms.contents)[:2] == ["mean_sea_level_pressure", "10m_u_component_of_wind"]


def test_owslib_reads_the_version_that_it_asks_for_by_itself(url: str) -> None:
    """Version 1.1.1, as Leaflet does: SRS, X and Y, and longitude first."""
    wms = WebMapService(f"{url}{PATH}")
    assert wms.identification.version == "1.1.1"
    layer = wms["temperature"]
    assert set(layer.crsOptions) == {"EPSG:4326", "EPSG:3857"}
    assert layer.boundingBoxWGS84 == (-180, -90, 180, 90)
    assert layer.defaulttimeposition == "2001-03-02T00:00:00Z"
    assert layer.defaulttimeposition in layer.timepositions
    assert "500" in layer.elevations
    asked = {"layers": ["temperature"], "styles": [""], "srs": "EPSG:4326", "elevation": "850"}
    asked |= {"bbox": (-180, -90, 180, 90), "size": (60, 30), "format": "image/png"}
    got = wms.getmap(**asked)
    picture = np.array(Image.open(io.BytesIO(got.read())).convert("RGB"))
    newer = WebMapService(f"{url}{PATH}", version="1.3.0").getmap(**asked)
    np.testing.assert_array_equal(picture, Image.open(io.BytesIO(newer.read())).convert("RGB"))
    info = wms.getfeatureinfo(
        **asked, query_layers=["temperature"], info_format="application/json", xy=(50, 5)
    )
    (feature,) = json.loads(info.read())["features"]
    assert feature["geometry"]["coordinates"] == [123.0, 57.0]
    legend = httpx.get(layer.styles["default"]["legend"])
    assert "version=1.1.1" in str(legend.url)
    assert Image.open(io.BytesIO(legend.content)).size[1] > 200
    with pytest.raises(ServiceException, match="EPSG:1"):
        wms.getmap(**{**asked, "srs": "EPSG:1"})


def test_gdal_lists_layers_and_draws_one(url: str, client: httpx.Client, tmp_path: Path) -> None:
    gdalinfo, translate = shutil.which("gdalinfo"), shutil.which("gdal_translate")
    if gdalinfo is None or translate is None:
        pytest.skip("no gdalinfo: apt-get install gdal-bin")
    options = {"cwd": tmp_path, "check": True, "capture_output": True, "timeout": 120}
    command = [gdalinfo, "-json", f"WMS:{url}{PATH}"]
    found = json.loads(subprocess.run(command, **options).stdout)["metadata"]["SUBDATASETS"]
    layers = [name for name in found.values() if "LAYERS=2m_temperature&" in name]
    assert len(layers) == 1
    size = ["-outsize", "64", "32", "-of", "PNG"]
    subprocess.run([translate, *size, layers[0], "a.png"], **options)
    drawn = np.array(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    ours = picture(client, width="64", height="32").astype(int)
    assert np.abs(drawn - ours).mean() < 4  # it asks for JPEG, larger, and scales that
    jpeg = client.get(PATH, params={**MAP, "format": "image/jpeg", "transparent": "TRUE"})
    assert jpeg.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(jpeg.content)).format == "JPEG"


def test_versions_are_negotiated(client: httpx.Client) -> None:
    asked = {"service": "WMS", "request": "GetCapabilities"}
    for sent, want in ((None, "1.3.0"), ("1.4.0", "1.3.0"), ("1.2.0", "1.1.1"), ("1.0", "1.1.1")):
        answer = client.get(PATH, params=asked | ({"version": sent} if sent else {}))
        assert ET.fromstring(answer.content).attrib["version"] == want  # noqa: S314
    earlier = {**MAP, "version": "1.1.1", "srs": "EPSG:1"}
    answer = client.get(PATH, params={k: v for k, v in earlier.items() if k != "crs"})
    assert (answer.status_code, answer.headers["content-type"]) == (
        400,
        "application/vnd.ogc.se_xml",
    )
    root = ET.fromstring(answer.content)  # noqa: S314
    assert (root.attrib["version"], root[0].tag) == ("1.1.1", "ServiceException")
    assert root[0].attrib["code"] == "InvalidSRS"


@pytest.mark.parametrize(
    ("statistic", "words"),
    [("spread", "standard deviation"), ("p00", "probability of air temperature at 2 m")],
)
def test_owslib_reads_statistics_of_an_ensemble(
    url: str, run_id: str, statistic: str, words: str
) -> None:
    wms = WebMapService(f"{url}/ogc/collections/{COLLECTION}.{statistic}/wms", version="1.3.0")
    layer = wms["2m_temperature"]
    assert words in layer.title
    assert ("°C" in layer.title) is False  # the colours are of the statistic
    assert layer.dimensions["reference_time"]["values"] == ["2001-03-01T00:00:00Z"]
    asked = {"layers": [layer.name], "styles": [""], "srs": "EPSG:4326", "format": "image/png"}
    asked |= {"bbox": (-180, -90, 180, 90), "size": (8, 4)}
    assert words.split()[0] in wms.getmap(**asked).info()["PEAR-Statistic"]
    kind = {"query_layers": [layer.name], "info_format": "application/json", "xy": (5, 1)}
    (feature,) = json.loads(wms.getfeatureinfo(**asked, **kind).read())["features"]
    longitude, latitude = feature["geometry"]["coordinates"]
    query = f"latitude={latitude}&longitude={longitude}&variables=t2m&interpolation=bilinear"
    path = f"{url}/v1/forecasts/{run_id}/point?{query}&statistic={statistic}"
    want = httpx.get(path).json()["points"][0]["series"][0]["values"][0]
    assert feature["properties"]["value"] == pytest.approx(want, rel=1e-5)
    assert words in feature["properties"]["statistic"]


def test_values_are_those_of_points(client: httpx.Client) -> None:
    found = value_at(client)
    assert (found["place"], found["units"]) == ([18.5, 59.5], "K")
    query = {"latitude": "59.5", "longitude": "18.5", "variables": "t2m"}
    query |= {"interpolation": "bilinear"}
    series = client.get("/v1/forecasts/latest/point", params=query).json()["points"][0]["series"]
    assert found["value"] == pytest.approx(series[0]["values"][0], rel=1e-6)
    later = value_at(client, time="2001-03-03T00:00:00Z")
    assert later["value"] == pytest.approx(series[0]["values"][1], rel=1e-6)
    before = value_at(client, time="2001-03-02", dim_reference_time="2001-02-28T00:00:00Z")
    assert before["reference_time"] == "2001-02-28T00:00:00Z"
    assert before["value"] == pytest.approx(series[0]["values"][1], rel=1e-6)  # its second step
    text = client.get(PATH, params={**INFO, "info_format": "text/plain"}).text
    assert f"value: {found['value']}" in text


def test_latitude_comes_first_in_epsg_4326_alone(client: httpx.Client) -> None:
    asked = {"width": "40", "height": "20"}
    plain = picture(client, bbox="0,40,40,60", **asked)
    np.testing.assert_array_equal(
        plain, picture(client, crs="EPSG:4326", bbox="40,0,60,40", **asked)
    )
    other = picture(client, crs="EPSG:4326", bbox="0,40,40,60", **asked)
    assert (plain != other).any()
    for crs, bbox in (("CRS:84", "0,40,40,60"), ("EPSG:4326", "40,0,60,40")):
        assert value_at(client, crs=crs, bbox=bbox, i="0", j="0", **asked)["place"] == [0.5, 59.5]


def test_mercator_maps_are_tiles(client: httpx.Client) -> None:
    half = MERCATOR / 2
    box = {"crs": "EPSG:3857", "bbox": f"{half},0,{MERCATOR},{half}"}
    whole = picture(client, **box, width="256", height="256")
    tile = client.get(f"/ogc/collections/{COLLECTION}/map/tiles/WebMercatorQuad/2/1/3")
    other = np.array(Image.open(io.BytesIO(tile.content)).convert("RGB"))
    assert (np.abs(whole.astype(int) - other) <= 2).all()


def test_colours_meet_at_the_date_line_and_stop_at_the_poles(client: httpx.Client) -> None:
    wide = picture(
        client, "RGBA", bbox="-360,-120,360,120", width="144", height="48", transparent="TRUE"
    )
    assert (wide[:6, :, 3] == 0).all()
    assert (wide[-6:, :, 3] == 0).all()
    assert (wide[6:-6, :, 3] == 255).all()
    np.testing.assert_array_equal(wide[:, :72], wide[:, 72:])
    filled = picture(client, bbox="-180,-120,180,120", width="36", height="24", bgcolor="0x102030")
    assert filled[0, 0].tolist() == [16, 32, 48]
    beyond = {"bbox": "-180,-120,180,120", "width": "36", "height": "24", "i": "3", "j": "0"}
    assert client.get(PATH, params={**INFO, **beyond}).json()["features"] == []
    colours = Colours.of(
        synthetic_field("2m_temperature", None, 24), "2m_temperature", None, "field"
    )
    table = {tuple(each) for each in palette(colours.name).tolist()}
    assert {tuple(each) for each in picture(client).reshape(-1, 3).tolist()} <= table


def test_names_in_any_case_and_parameters_of_others_pass(client: httpx.Client) -> None:
    upper = {name.upper(): value for name, value in MAP.items()}
    others = {"DPI": "96", "MAP_RESOLUTION": "96", "TILED": "true"}
    answer = client.get(PATH, params={**upper, **others})
    assert answer.content == client.get(PATH, params=MAP).content
    etag = {"If-None-Match": answer.headers["etag"]}
    assert client.get(PATH, params=MAP, headers=etag).status_code == 304


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"layers": "nothing"}, "LayerNotDefined"),
        ({"layers": "2m_temperature,geopotential"}, "LayerNotDefined"),
        ({"styles": "boxfill"}, "StyleNotDefined"),
        ({"crs": "EPSG:4258"}, "InvalidCRS"),
        ({"format": "image/tiff"}, "InvalidFormat"),
        ({"time": "2001-03-02T01:00:00Z"}, "InvalidDimensionValue"),
        ({"time": "yesterday"}, "InvalidDimensionValue"),
        ({"layers": "temperature", "elevation": "501"}, "InvalidDimensionValue"),
        ({"dim_reference_time": "1999-01-01"}, "InvalidDimensionValue"),
        ({"request": "GetStyles"}, "OperationNotSupported"),
        ({"request": ""}, "OperationNotSupported"),
        ({"version": "1.2.0"}, None),
        ({"width": "0"}, None),
        ({"width": "2049"}, None),
        ({"height": "1.5"}, None),
        ({"bbox": "1,2,3"}, None),
        ({"bbox": "10,0,-10,5"}, None),
        ({"bbox": "nan,0,10,5"}, None),
        ({"bgcolor": "white"}, None),
        ({"bbox": ""}, None),
        ({"Width": "3"}, None),
    ],
)
def test_errors_are_service_exceptions(
    client: httpx.Client, changed: dict[str, str], code: str | None
) -> None:
    assert exception(client.get(PATH, params={**MAP, **changed})).get("code") == code


def test_pixels_off_the_map_and_unknown_collections(client: httpx.Client) -> None:
    found = exception(client.get(PATH, params={**INFO, "i": "360"}))
    assert (found.get("code"), found.get("locator")) == ("InvalidPoint", "i")
    other = client.get("/ogc/collections/nothing/wms", params=MAP)
    assert "nothing" in str(exception(other, 404).text)
    assert exception(client.get(PATH, params={"request": "<&\x00>"})).text


@settings(max_examples=20)
@given(
    name=st.sampled_from(sorted({*MAP, *INFO, "time", "elevation", "bgcolor", "layer"})),
    value=st.text(max_size=20),
    request=st.sampled_from(["GetMap", "GetFeatureInfo", "GetLegendGraphic"]),
)
def test_no_value_breaks_it(client: httpx.Client, name: str, value: str, request: str) -> None:
    small = {**INFO, "request": request, "layer": "2m_temperature", "width": "9", "height": "5"}
    answer = client.get(PATH, params={**small, "i": "1", "j": "1", name: value})
    if answer.status_code != 200:
        exception(answer)


def test_a_simulated_atmosphere_is_named(tmp_path: Path) -> None:
    with simulated_service(tmp_path / "data") as client:
        document = client.get(PATH, params={"service": "WMS", "request": "GetCapabilities"})
        root = ET.fromstring(document.content)  # noqa: S314 - our own
        titles = [each.text or "" for each in root.iter("{http://www.opengis.net/wms}Title")]
        assert sum(WORDS in title for title in titles) >= 4
        assert "simulated, not observed" in document.text
        assert client.get(PATH, params=MAP).headers["pear-atmosphere"] == "simulated"
        assert "simulated" in value_at(client)["note"]
