"""Tiles: numbered as morecantile does, equal at their edges, with values that can be read back."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import morecantile
import numpy as np
import pytest
from PIL import Image
from pyproj import Transformer

from pear.sphere.healpix import cell_of
from service.http.caching import RENDERED
from service.maps.tiles import Encoding, palette
from tests.fixtures.ogc import COLLECTION, WORDS, simulated_service
from tests.fixtures.service import NSIDE, problem, synthetic_field

BASE = f"/ogc/collections/{COLLECTION}"
XYZ = "/v1/forecasts/latest/tiles"
SETS = ("WebMercatorQuad", "WorldCRS84Quad")


def pixels(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.array(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def values(answer: httpx.Response) -> np.ndarray:
    """Read the numbers of a tile as a client does."""
    red, green, blue = pixels(answer).astype(np.int64).transpose(2, 0, 1)
    code = 65536 * red + 256 * green + blue
    return float(answer.headers["pear-offset"]) + float(answer.headers["pear-scale"]) * code


def tile(
    client: httpx.Client,
    name: str,
    zoom: int,
    row: int,
    col: int,
    kind: str = "coverage",
    **more: str,
) -> httpx.Response:
    params = {each.replace("_", "-"): value for each, value in more.items()}
    return client.get(f"{BASE}/{kind}/tiles/{name}/{zoom}/{row}/{col}", params=params)


def places(name: str, z: int, row: int, col: int) -> tuple[np.ndarray, np.ndarray]:
    """Return latitude and longitude of the pixels of a tile, by morecantile and PROJ."""
    matrices = morecantile.tms.get(name)
    box = matrices.xy_bounds(morecantile.Tile(col, row, z))
    x = np.linspace(box.left, box.right, 513)[1::2]
    y = np.linspace(box.top, box.bottom, 513)[1::2]
    grid = np.meshgrid(x, y)
    if name == "WorldCRS84Quad":
        return grid[1], grid[0]
    lon, lat = Transformer.from_crs(3857, "OGC:CRS84", always_xy=True).transform(*grid)
    return lat, lon


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("z", "row", "col"), [(0, 0, 0), (2, 1, 3), (5, 11, 17)])
def test_value_tiles_hold_the_values_of_cells(
    client: httpx.Client, name: str, z: int, row: int, col: int
) -> None:
    when = "2001-03-03T00:00:00Z"
    asked = {"parameter_name": "t2m", "datetime": when, "interpolation": "nearest"}
    answer = tile(client, name, z, row, col, **asked)
    found = values(answer)
    cells = cell_of(*places(name, z, row, col), NSIDE)
    truth = synthetic_field("2m_temperature", None, 48)[cells]
    step = float(answer.headers["pear-scale"])
    assert step <= 1e-4
    assert answer.headers["pear-units"] == "K"
    # Rounding decides for a pixel whose centre lies on the edge of a cell.
    assert (np.abs(found - truth) <= 0.51 * step + 1e-5).mean() > 0.998


@pytest.mark.parametrize("field", ["t2m", "10m_wind_speed", "u10"])
def test_smooth_tiles_have_the_values_of_points(client: httpx.Client, field: str) -> None:
    found = values(tile(client, "WebMercatorQuad", 3, 2, 5, parameter_name=field))
    lat, lon = places("WebMercatorQuad", 3, 2, 5)
    at = [(0, 0), (0, 255), (100, 30), (255, 255)]
    query = {
        "latitude": ",".join(f"{lat[one]:.9f}" for one in at),
        "longitude": ",".join(f"{lon[one]:.9f}" for one in at),
        "variables": field,
        "interpolation": "bilinear",
    }
    document = client.get("/v1/forecasts/latest/point", params=query).json()
    truth = [point["series"][0]["values"][0] for point in document["points"]]
    np.testing.assert_allclose([found[one] for one in at], truth, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("field", ["t2m", "v10"])
def test_neighbouring_tiles_meet_also_at_the_date_line(
    client: httpx.Client, name: str, field: str
) -> None:
    """The jump across an edge of tiles is as small as that between pixels inside."""
    count = 8 if name == "WebMercatorQuad" else 16
    for left, right in ((1, 2), (count - 1, 0)):
        pair = [
            values(tile(client, name, 3, 3, col, parameter_name=field)) for col in (left, right)
        ]
        across = np.abs(pair[1][:, 0] - pair[0][:, -1])
        inside = np.abs(np.diff(np.hstack([pair[0][:, -4:], pair[1][:, :4]]), axis=1))
        assert across.max() <= 1.5 * inside.max()
    pair = [values(tile(client, name, 3, row, 2, parameter_name=field)) for row in (2, 3)]
    across = np.abs(pair[1][0] - pair[0][-1])
    assert across.max() <= 1.5 * np.abs(np.diff(pair[0], axis=0)).max()


def test_xyz_tiles_are_those_of_the_standard(client: httpx.Client, run_id: str) -> None:
    params = {"lead_time": "24", "level": "500", "encoding": "value"}
    mine = client.get(f"{XYZ}/geopotential/2/3/1.png", params=params)
    other = tile(client, "WebMercatorQuad", 2, 1, 3, parameter_name="geopotential", z="500")
    assert mine.content == other.content
    params["encoding"] = "colour"
    mine = client.get(f"/v1/forecasts/{run_id}/tiles/z500/2/3/1.png", params={"lead_time": "24"})
    other = tile(client, "WebMercatorQuad", 2, 1, 3, "map", parameter_name="z", z="500")
    assert mine.content == other.content
    assert mine.headers["cache-control"] == RENDERED
    etag = {"If-None-Match": mine.headers["etag"]}
    path = f"/v1/forecasts/{run_id}/tiles/z500/2/3/1.png"
    assert client.get(path, params={"lead_time": "24"}, headers=etag).status_code == 304
    assert other.headers["cache-control"] == "no-cache"
    for statistic in ("spread", "p00"):
        asked = {"lead_time": "24", "statistic": statistic, "encoding": "value"}
        answer = client.get(f"{XYZ}/t2m/0/0/0.png", params=asked)
        point = {"latitude": "0.7", "longitude": "-0.7", "variables": "t2m", "statistic": statistic}
        series = client.get(
            "/v1/forecasts/latest/point", params={**point, "interpolation": "bilinear"}
        ).json()["points"][0]["series"][0]
        assert abs(values(answer)[127, 127] - series["values"][0]) < 1e-4


def test_colours_are_those_of_the_map(client: httpx.Client) -> None:
    picture = pixels(tile(client, "WorldCRS84Quad", 0, 0, 0, "map", parameter_name="t2m"))
    numbers = values(tile(client, "WorldCRS84Quad", 0, 0, 0, parameter_name="t2m"))
    about = client.get(f"{XYZ}/t2m.json", params={"lead_time": 24}).json()["legend"]
    low, high = about["limits"]
    assert about["units"] == "°C"
    part = (numbers - 273.15 - low) / (high - low)
    index = np.clip((part * 256).astype(int), 0, 255)
    same = (palette(about["colours"])[index] == picture).all(axis=2)
    assert same.mean() > 0.999


def test_descriptions_lead_to_tiles(client: httpx.Client, run_id: str) -> None:
    asked = {"parameter-name": "temperature", "z": "850", "datetime": "2001-03-04T00:00:00Z"}
    for base in (BASE, f"{BASE}/instances/{run_id}"):
        for kind in ("map", "coverage"):
            found = client.get(f"{base}/{kind}/tiles", params=asked).json()["tilesets"]
            assert [one["tileMatrixSetURI"].rpartition("/")[2] for one in found] == list(SETS)
            for one in found:
                links = {link["rel"].rpartition("/")[2]: link["href"] for link in one["links"]}
                own = client.get(links["self"].replace("http://localhost", ""))
                assert own.json() == one
                definition = client.get(links["tiling-scheme"].replace("http://localhost", ""))
                morecantile.TileMatrixSet.model_validate(definition.json())
                path = links["item"].format(tileMatrix=1, tileRow=0, tileCol=1)
                answer = client.get(path.replace("http://localhost", ""))
                assert answer.headers["pear-level"] == "850"
                assert answer.headers["pear-valid-time"] == "2001-03-04T00:00:00Z"
    sets = client.get("/ogc/tileMatrixSets").json()["tileMatrixSets"]
    assert [each["id"] for each in sets] == list(SETS)
    asked = {"lead_time": "48", "encoding": "value", "level": "850"}
    about = client.get(f"{XYZ}/temperature.json", params=asked).json()
    address = about["tiles"][0].format(z=1, x=1, y=0).replace("http://localhost", "")
    answer = client.get(address)
    rgb = pixels(answer).astype(float)
    factors = [about[f"{colour}Factor"] for colour in ("red", "green", "blue")]
    decoded = rgb @ factors - about["baseShift"]  # as MapLibre's encoding "custom"
    np.testing.assert_allclose(decoded, values(answer), rtol=1e-9)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("map/tiles/WebMercatorQuad/2/4/0", 400),
        ("map/tiles/WebMercatorQuad/2/0/4", 400),
        ("map/tiles/WebMercatorQuad/13/0/0", 400),
        ("map/tiles/WorldMercator/0/0/0", 400),
        ("relief/tiles/WebMercatorQuad/0/0/0", 400),
        ("map/tiles/WebMercatorQuad/0/0/0?parameter-name=t2m,u10", 400),
        ("map/tiles/WebMercatorQuad/0/0/0?parameter-name=t&z=850,500", 400),
        ("map/tiles/WebMercatorQuad/0/0/0?datetime=2001-03-02/..", 400),
        ("map/tiles/WebMercatorQuad/0/0/0?format=jpeg", 400),
        ("map/tiles/WebMercatorQuad/0/0", 404),
    ],
)
def test_bad_tiles_are_refused(client: httpx.Client, path: str, status: int) -> None:
    problem(client.get(f"{BASE}/{path}"), status)


def test_a_bad_xyz_tile_is_refused(client: httpx.Client) -> None:
    found = problem(client.get(f"{XYZ}/t2m/1/2/0.png", params={"lead_time": 24}), 422)
    assert found["field"] == "x"
    problem(client.get(f"{XYZ}/t2m/0/0/0.png", params={"lead_time": 25}), 422)


def test_an_encoding_refuses_what_it_does_not_hold() -> None:
    code = Encoding(0.001, 100.0)
    rgb = code.encode(np.array([[100.0, 100.001, 100.256, 16877.215]]))
    assert rgb[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [255, 255, 255]]
    for beyond in (99.0, 16878.0):
        with pytest.raises(OverflowError):
            code.encode(np.array([beyond]))


def test_tiles_of_a_simulated_atmosphere_say_so(tmp_path: Path) -> None:
    with simulated_service(tmp_path / "data") as client:
        about = client.get(f"{XYZ}/t2m.json", params={"lead_time": 24}).json()
        assert WORDS in about["attribution"]
        assert "simulated, not observed" in about["description"]
        tileset = client.get(f"{BASE}/map/tiles/WebMercatorQuad").json()
        assert WORDS in tileset["attribution"]
        assert WORDS in tileset["title"]
        answer = tile(client, "WebMercatorQuad", 0, 0, 0, "map")
        assert answer.headers["pear-atmosphere"] == "simulated"


def test_too_many_tiles_at_once_are_told_to_come_again(tmp_path: Path) -> None:
    with simulated_service(tmp_path / "data", heavy_slots=1, heavy_waiting=0) as client:
        services = client._transport._transport.app.state.services  # type: ignore[attr-defined]
        services.heavy._held = 1
        refused = problem(client.get(f"{BASE}/map/tiles/WebMercatorQuad/0/0/0"), 503)
        assert refused["code"] == "ServiceUnavailable"
        services.heavy._held = 0
        assert tile(client, "WebMercatorQuad", 0, 0, 0, "map").status_code == 200
