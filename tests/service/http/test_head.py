"""HEAD is answered wherever GET is, with the same status and headers."""

from __future__ import annotations

import httpx
import pytest

from service.http.permissions import ROUTE_POLICIES
from tests.fixtures.service import SHA

PATHS = {
    "{collection_id}": SHA[:12],
    "{collection}": f"forecasts-{SHA[:12]}",
    "{model_id}": SHA[:12],
    "{variable}": "2m_temperature",
    "{kind}": "analysis",
    "{name}.zarr/{path:path}": "made-up.zarr/zarr.json",
    "{path:path}": "zarr.json",
    "{name:path}": "style.css",
    "{data_type}": "map",
    "{tile_matrix_set}": "WebMercatorQuad",
}
HEAVY = ("/download", "maps", "/plots/")
STATES = (
    "/metrics",
    "/healthz",
    "/readyz",
    "/health",
    "/workers",
    "/storage",
    "/sources",
    "/operator",
)
"""Ends of routes whose content is another with each request."""
CHANGING = ("x-request-id", "ratelimit-remaining", "ratelimit-reset")
GET_PATHS = [path for method, path in ROUTE_POLICIES if method == "GET" and path != "/v1/events"]


def headers_of(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in CHANGING}


def test_every_route_answers_head_as_get(client: httpx.Client, run_id: str) -> None:
    found = 0
    for path in GET_PATHS:
        url = path
        for name, value in {**PATHS, "{run_id}": run_id, "{instance_id}": run_id}.items():
            url = url.replace(name, value)
        if any(name in url for name in HEAVY):
            url += "?unknown=1"
        whole, head = client.get(url), client.head(url)
        assert (head.status_code, head.content) == (whole.status_code, b""), url
        if not url.endswith(STATES):
            assert headers_of(head) == headers_of(whole), url
        found += whole.status_code == 200
    assert found > 25


@pytest.mark.parametrize("query", ["download?variables=t2m&lead_times=24", "point?latitude=1&x=1"])
def test_lengths_and_errors_are_those_of_get(url: str, run_id: str, query: str) -> None:
    path = f"{url}/v1/forecasts/{run_id}/{query}"
    head, whole = httpx.head(path, timeout=60), httpx.get(path, timeout=60)
    assert head.status_code == whole.status_code
    assert head.headers["content-length"] == str(len(whole.content))
    assert head.headers["content-type"] == whole.headers["content-type"]


def test_what_has_no_get_has_no_head(client: httpx.Client) -> None:
    answer = client.head("/v1/links")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert client.put("/v1/models").headers["allow"] == "GET, HEAD"


def test_ranges_are_of_get_alone_and_in_bytes(url: str, run_id: str) -> None:
    """RFC 9110, 14.2: both headers are passed over, and the whole is there."""
    path = f"{url}/v1/forecasts/{run_id}/download?variables=t2m&lead_times=24"
    whole = httpx.get(path, timeout=60)
    head = httpx.head(path, headers={"Range": "bytes=0-9"}, timeout=60)
    assert head.status_code == 200
    assert head.headers["content-length"] == whole.headers["content-length"]
    other = httpx.get(path, headers={"Range": "items=1-2"}, timeout=60)
    assert (other.status_code, len(other.content)) == (200, len(whole.content))
    part = httpx.get(path, headers={"Range": "bytes=0-9"}, timeout=60)
    assert (part.status_code, part.content) == (206, whole.content[:10])
