"""Maps over HTTP: PNG, SVG and animation, regions, and what is refused."""

from __future__ import annotations

import io
import struct
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest
from PIL import Image, ImageSequence

from tests.fixtures.service import problem


def test_a_map_is_a_png_of_the_requested_width(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/maps/z500.png"
    answer = client.get(url, params={"lead_time": 24, "width": 400})
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).width == 400
    assert answer.content == client.get(url, params={"lead_time": 24, "width": 400}).content


def test_differences_statistics_and_wind(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/maps/t2m.png"
    before = client.get("/v1/forecasts?init_time=2001-02-28T00:00:00Z").json()["items"][0]["id"]
    seen = set()
    for more in (
        {},
        {"difference": "analysis"},
        {"difference": before},
        {"statistic": "spread"},
        {"statistic": "p00"},
        {"wind": "true"},
        {"projection": "south_polar"},
    ):
        answer = client.get(url, params={"lead_time": 48, "width": 300, **more})
        assert answer.status_code == 200, answer.text
        seen.add(answer.content)
    assert len(seen) == 7
    late = client.get(url, params={"lead_time": 240, "difference": "analysis"})
    assert "2001-03-11" in problem(late, 422)["detail"]
    problem(client.get(url, params={"lead_time": 24, "difference": "nobody"}), 404)
    own = client.get(url, params={"lead_time": 24, "difference": run_id})
    assert "itself" in problem(own, 422)["detail"]


def _map(run_id: str, ending: str = "png") -> str:
    return f"/v1/forecasts/{run_id}/maps/msl.{ending}"


def test_a_region_by_name_is_that_of_its_edges(client: httpx.Client, run_id: str) -> None:
    small = {"lead_time": 24, "width": 300}
    by_name = client.get(_map(run_id), params={**small, "region": "europe"})
    by_edges = client.get(_map(run_id), params={**small, "bbox": "-12.5,35,42.5,75"})
    assert by_name.status_code == 200
    assert by_name.content == by_edges.content
    assert by_name.content != client.get(_map(run_id), params=small).content
    assert struct.unpack(">I", by_name.content[16:20])[0] == 300
    across = client.get(_map(run_id), params={**small, "bbox": "150,-50,-150,0"})
    assert across.status_code == 200, "a box may lie across the date line"


def test_a_region_that_is_none_is_refused(client: httpx.Client, run_id: str) -> None:
    for given, field in (
        ({"region": "eurpe"}, "region"),
        ({"bbox": "0,10,1,11"}, "bbox"),
        ({"bbox": "0,-80,3,80"}, "bbox"),
        ({"bbox": "0,40,20"}, "bbox"),
        ({"bbox": "0,40,20,60", "region": "europe"}, "bbox"),
        ({"bbox": "0,40,20,60", "projection": "south_polar"}, "bbox"),
    ):
        answer = client.get(_map(run_id), params={"lead_time": 24, **given})
        assert problem(answer, 422)["field"] == field, given


def test_a_map_as_svg_has_curves_and_the_title(client: httpx.Client, run_id: str) -> None:
    asked = {"lead_time": 24, "width": 400, "title": "Storm for 5 $ & more"}
    answer = client.get(_map(run_id, "svg"), params=asked)
    assert answer.headers["content-type"] == "image/svg+xml"
    root = ElementTree.fromstring(answer.content)  # noqa: S314 — our own
    assert root.get("width") == "288pt", "400 pixels at 100 per inch"
    assert answer.text.count("<path") > 100
    assert answer.text.count("<image") == 2, "the field and the colour bar"
    assert "Storm for 5 $" in answer.text, "what is drawn as curves is kept as a comment"
    assert client.get(_map(run_id, "svg"), params=asked).content == answer.content


def test_a_run_is_an_animation_of_its_lead_times(client: httpx.Client, run_id: str) -> None:
    asked = {"width": 200, "every": 4, "milliseconds": 100}
    answer = client.get(_map(run_id, "webp"), params=asked)
    assert answer.headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.n_frames == 3, "10 lead times, every fourth"
        assert picture.width == 200
        frames = [np.asarray(frame.convert("L"), int) for frame in ImageSequence.Iterator(picture)]
    assert np.abs(frames[0] - frames[2]).max() > 50, "the field drifts"
    # The bar below the map does not change from frame to frame.
    assert np.abs(frames[0][-40:] - frames[2][-40:]).max() < 40
    wide = client.get(_map(run_id, "webp"), params={"width": 1400})
    assert problem(wide, 422)["field"] == "width"


@pytest.mark.parametrize(("statistic", "words"), [("spread", "a spread"), ("p00", "a probability")])
def test_what_is_not_a_field_is_not_subtracted_from(
    client: httpx.Client, run_id: str, statistic: str, words: str
) -> None:
    """One half minus 280 K was drawn as a difference of temperatures."""
    before = client.get("/v1/forecasts?init_time=2001-02-28T00:00:00Z").json()["items"][0]["id"]
    for other in ("analysis", before):
        asked = {"lead_time": 24, "statistic": statistic, "difference": other}
        refused = client.get(f"/v1/forecasts/{run_id}/maps/t2m.png", params=asked)
        found = problem(refused, 422)
        assert (found["field"], words in found["detail"]) == ("difference", True)
