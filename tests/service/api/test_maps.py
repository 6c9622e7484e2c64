"""Maps over HTTP."""

from __future__ import annotations

import io

import httpx
from PIL import Image

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
