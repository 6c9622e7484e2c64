"""Fields of analyses over HTTP."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from tests.fixtures.service import NSIDE, problem, synthetic_field

BASE = "/v1/stores/analysis/made-up/fields"


def test_a_field_is_that_of_the_time(client: httpx.Client) -> None:
    answer = client.get(f"{BASE}/z500?time=2001-03-03T00:00:00Z")
    want = synthetic_field("geopotential", 500, 48)
    np.testing.assert_allclose(np.frombuffer(answer.content, "<f4"), want, rtol=1e-4)
    assert answer.headers["pear-valid-time"] == "2001-03-03T00:00:00Z"
    assert answer.headers["pear-level"] == "500"
    assert answer.headers["pear-grid"] == f"healpix nside={NSIDE} order=nested"
    packed = client.get(f"{BASE}/z500?time=2001-03-03T00:00:00Z&format=u16")
    scale, offset = (float(packed.headers[f"pear-{name}"]) for name in ("scale", "offset"))
    values = offset + scale * np.frombuffer(packed.content, "<u2")
    np.testing.assert_allclose(values, np.frombuffer(answer.content, "<f4"), atol=scale)
    again = client.get(
        f"{BASE}/z500?time=2001-03-03T00:00:00Z", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert again.status_code == 304


def test_other_resolutions_are_those_of_the_forecasts(client: httpx.Client, run_id: str) -> None:
    ours = client.get(f"{BASE}/u10?time=2001-03-02T00:00:00Z&nside=16").content
    theirs = client.get(f"/v1/forecasts/{run_id}/fields/u10?lead_time=24&nside=16").content
    np.testing.assert_allclose(np.frombuffer(ours, "<f4"), np.frombuffer(theirs, "<f4"), atol=0.02)


@pytest.mark.parametrize(
    ("query", "status", "told"),
    [
        ("t2m?time=2001-04-01T00:00:00Z", 422, "does not have the time"),
        ("t2m?time=2001-03-01T06:00:00Z", 422, "does not have the time"),
        ("t2m", 422, "time"),
        ("nosuch?time=2001-03-01T00:00:00Z", 422, "nosuch"),
        ("z501?time=2001-03-01T00:00:00Z", 422, "501"),
    ],
)
def test_what_an_analysis_lacks_is_refused(
    client: httpx.Client, query: str, status: int, told: str
) -> None:
    assert told in problem(client.get(f"{BASE}/{query}"), status)["detail"]


def test_an_unknown_analysis_is_not_found(client: httpx.Client) -> None:
    path = "/v1/stores/analysis/nosuch/fields/t2m?time=2001-03-01T00:00:00Z"
    problem(client.get(path), 404)
