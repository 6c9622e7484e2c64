"""Answers are compressed as the client can read them, and their bytes and tags stay right."""

from __future__ import annotations

import gzip
import threading
import time

import brotli
import httpx
import numpy as np
import pytest
import zstandard

from tests.fixtures.service import NSIDE, synthetic_field

UNPACK = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


def raw(
    client: httpx.Client, path: str, encoding: str, **headers: str
) -> tuple[httpx.Response, bytes]:
    """Return a response and its body as it came."""
    with client.stream("GET", path, headers={"Accept-Encoding": encoding, **headers}) as answer:
        return answer, b"".join(answer.iter_raw())


@pytest.mark.parametrize("encoding", list(UNPACK))
@pytest.mark.parametrize(
    "path",
    [
        "fields/geopotential?level=500&lead_time=24&format=f32",
        "fields/geopotential?level=500&lead_time=24&format=json",
        "point?latitude=1,2,3&longitude=4,5,6&variables=t2m,msl,u10&format=csv",
        "point?latitude=1,2,3&longitude=4,5,6&variables=t2m,msl,u10&format=covjson",
        "zarr/zarr.json",
    ],
)
def test_what_is_unpacked_is_what_was_asked_for(
    client: httpx.Client, run_id: str, path: str, encoding: str
) -> None:
    url = f"/v1/forecasts/{run_id}/{path}"
    plain, whole = raw(client, url, "identity")
    packed, body = raw(client, url, encoding)
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == encoding
    assert "Accept-Encoding" in packed.headers["vary"]
    assert UNPACK[encoding](body) == whole
    assert len(body) < len(whole)
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"
    if "f32" in path:
        field = np.frombuffer(whole, "<f4")
        np.testing.assert_array_equal(field, synthetic_field("geopotential", 500, 24))
        assert field.size == 12 * NSIDE**2


def test_tags_of_packed_answers_are_recognised(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/fields/t2m?lead_time=24&format=json"
    packed, _ = raw(client, url, "gzip")
    tag = packed.headers["etag"]
    again, body = raw(client, url, "gzip", **{"If-None-Match": tag})
    assert (again.status_code, body, again.headers["etag"]) == (304, b"", tag)
    assert "Accept-Encoding" in again.headers["vary"]
    plain, _ = raw(client, url, "identity", **{"If-None-Match": tag.removeprefix("W/")})
    assert (plain.status_code, plain.headers["etag"]) == (304, tag.removeprefix("W/"))


def test_the_client_chooses(client: httpx.Client, run_id: str) -> None:
    url = f"/v1/forecasts/{run_id}/fields/t2m?lead_time=24&format=json"
    for accepted, sent in (
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("zstd;q=0, gzip", "gzip"),
        ("deflate", None),
        ("", None),
    ):
        assert raw(client, url, accepted)[0].headers.get("content-encoding") == sent


def test_chunks_ranges_maps_and_small_answers_are_sent_as_they_are(
    client: httpx.Client, run_id: str
) -> None:
    for path in (
        "zarr/geopotential/c/0/1/0/0",
        "maps/2m_temperature.png?lead_time=24&width=200",
        "download?variables=t2m&lead_times=24",
        "point?latitude=1&longitude=2&variables=t2m",
    ):
        answer, _ = raw(client, f"/v1/forecasts/{run_id}/{path}", "gzip, br, zstd")
        assert answer.status_code == 200
        assert "content-encoding" not in answer.headers
        assert not answer.headers["etag"].startswith("W/")
    url = f"/v1/forecasts/{run_id}/zarr/zarr.json"
    part, body = raw(client, url, "gzip", Range="bytes=0-2999")
    assert (part.status_code, len(body)) == (206, 3000)
    assert "content-encoding" not in part.headers


def test_events_are_not_held_back(client: httpx.Client, url: str, run_id: str) -> None:
    stream = f"{url}/v1/forecasts/{run_id}/events"
    with httpx.stream("GET", stream, headers={"Accept-Encoding": "gzip"}) as answer:
        assert next(answer.iter_lines()) == "event: end"


def test_a_large_answer_does_not_hold_up_others(url: str, run_id: str) -> None:
    """It is compressed in pieces, between which other requests are handled."""
    field = "fields/geopotential?level=500&lead_time=24&format=json&nside=64"
    big = f"{url}/v1/forecasts/{run_id}/{field}"
    httpx.get(big, headers={"Accept-Encoding": "identity"}, timeout=60)  # into the cache
    sizes: list[int] = []

    def ask() -> None:
        answer = httpx.get(big, headers={"Accept-Encoding": "gzip"}, timeout=60)
        sizes.append(len(answer.content))

    with httpx.Client(base_url=url) as client:
        client.get("/healthz")
        thread = threading.Thread(target=ask)
        thread.start()
        waits = []
        while thread.is_alive():
            began = time.monotonic()
            client.get("/healthz")
            waits.append(time.monotonic() - began)
        thread.join()
    assert sizes[0] > 256 * 1024
    assert len(waits) >= 2
