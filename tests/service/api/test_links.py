"""Signed links open one store or run for readers that cannot set headers, until they expire."""

from __future__ import annotations

import logging
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import xarray as xr
from fastapi import FastAPI

import pear
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http import links
from service.http.errors import ProblemError
from service.http.keys import KeyFile
from service.http.links import SECRET_FILE, LinkSigner
from service.settings import Settings
from tests.fixtures.service import StubEngine, problem, served, synthetic_field


@pytest.fixture(scope="module")
def app(
    data: DataFolder,
    catalog: Catalog,
    engine: StubEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> FastAPI:
    """The service as an operator exposes it, with a key file of its own."""
    keys = tmp_path_factory.mktemp("keys") / "keys.json"
    settings = Settings(
        data=data.root, require_keys=True, keys_file=keys, failure_limit=30, rate_limit=100_000
    )
    return create_app(settings, catalog, engine)


@pytest.fixture(scope="module")
def keys(app: FastAPI) -> KeyFile:
    file: KeyFile = app.state.access.keys
    return file


@pytest.fixture(scope="module")
def base(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture(scope="module")
def client(base: str, keys: KeyFile) -> Iterator[httpx.Client]:
    key = keys.add("reader", "read", "2001-03-01T00:00:00Z")
    with httpx.Client(base_url=base, headers={"X-API-Key": key}) as opened:
        yield opened


def sign(client: httpx.Client, **body: object) -> dict[str, object]:
    answer = client.post("/v1/links", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_xarray_opens_a_link_without_a_key(
    client: httpx.Client, base: str, data: DataFolder, run_id: str
) -> None:
    assert httpx.get(f"{base}/v1/stores/analysis/made-up.zarr/zarr.json").status_code == 401
    link = sign(client, store="analysis/made-up")
    assert link["opens"] == "/v1/stores/analysis/made-up.zarr"
    with xr.open_zarr(str(link["url"])) as analysis:
        got = analysis["geopotential"].sel(level=500).isel(time=1)
        np.testing.assert_array_equal(got, synthetic_field("geopotential", 500, 24))
    run = sign(client, run="latest")
    with pear.open_forecast(str(run["url"])) as forecast:
        assert forecast.sizes["prediction_timedelta"] == 10
    assert run["links"]["zarr"] == run["url"]
    spread = (
        str(run["url"])
        .removesuffix("/zarr")
        .replace(f"forecasts/{run_id}", f"stores/forecast/{run_id}.spread.zarr")
    )
    xr.open_zarr(spread, decode_timedelta=True).close()
    mode = (data.root / SECRET_FILE).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_a_run_is_read_and_nothing_else(client: httpx.Client, run_id: str) -> None:
    url = str(sign(client, run=run_id)["url"]).removesuffix("/zarr")
    point = "point?latitude=1&longitude=2&variables=t2m"
    answers = [httpx.get(f"{url}/{point}") for _ in range(2)]  # the second from the cache
    assert answers[0].json() == client.get(f"/v1/forecasts/{run_id}/{point}").json()
    assert answers[1].content == answers[0].content
    assert httpx.head(f"{url}/zarr/zarr.json").status_code == 200
    assert httpx.get(f"{url}/fields/t2m?lead_time=24&format=u16").status_code == 200
    other = next(
        each["id"] for each in client.get("/v1/forecasts").json()["items"] if each["id"] != run_id
    )
    for refused in (
        url,
        f"{url}/log",
        f"{url}/events",
        f"{url}/maps/2m_temperature.png?lead_time=24&difference={other}",
        f"{url}/zarr/zarr.json".replace(run_id, other),
        f"{url}/zarr/zarr.json".replace(run_id, "latest"),
        f"{url}/zarr/zarr.json".replace(f"forecasts/{run_id}", "stores/analysis/made-up.zarr"),
    ):
        problem(httpx.get(refused), 403)
    missing = f"{url}/zarr/..%2f..%2fanalyses%2fmade-up.zarr%2fzarr.json"
    assert httpx.get(missing).status_code == 404
    for method in ("POST", "DELETE", "PUT"):
        answer = httpx.request(method, f"{url}/zarr/zarr.json")
        assert answer.headers["allow"] == "GET, HEAD"
        problem(answer, 405)
    # What the link brought into the cache is not open to those without one.
    assert httpx.get(f"{client.base_url}/v1/forecasts/{run_id}/{point}").status_code == 401


def test_altered_and_expired_links_say_so(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = sign(client, store="analysis/made-up", expires_in=60)
    url = f"{link['url']}/zarr.json"
    token = url.partition("/signed/")[2].partition("/")[0]
    expires, key, signature = token.split(".")
    turned = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    for other in (
        f"{int(expires) + 1}.{key}.{signature}",
        f"{expires}.{key[::-1]}.{signature}",
        f"{expires}.{links.NO_KEY}.{signature}",
        f"{expires}.{key}.{turned}",
        f"{expires}.{key}.",
        "x",
    ):
        answer = httpx.get(url.replace(token, other))
        assert "altered" in problem(answer, 403)["detail"]
        assert other not in answer.text or other == "x"
    assert httpx.get(url).status_code == 200
    now = time.time()
    monkeypatch.setattr(links.time, "time", lambda: now + 61)
    expired = problem(httpx.get(url), 403)
    assert expired["detail"] == f"the link expired at {link['expires_at']}"
    # Only who knows the signature learns when it expired.
    assert "altered" in problem(httpx.get(url.replace(signature, turned)), 403)["detail"]


def test_a_link_ends_with_the_key_that_made_it(client: httpx.Client, keys: KeyFile) -> None:
    key = keys.add("leaver", "read", "2001-03-01T00:00:00Z")
    made = httpx.post(
        f"{client.base_url}/v1/links",
        json={"store": "analysis/made-up"},
        headers={"Authorization": f"Bearer {key}"},
    )
    url = f"{made.json()['url']}/zarr.json"
    assert httpx.get(url).status_code == 200
    keys.remove("leaver")
    assert "was removed" in problem(httpx.get(url), 403)["detail"]


def test_requests_that_make_no_sense_are_refused(client: httpx.Client, run_id: str) -> None:
    for body, status in (
        ({}, 422),
        ({"store": "analysis/made-up", "run": run_id}, 422),
        ({"store": "analysis/../catalog"}, 422),
        ({"store": "analysis/nothing"}, 404),
        ({"run": "nothing"}, 404),
        ({"run": run_id, "expires_in": 59}, 422),
        ({"run": run_id, "expires_in": 31 * 86_400}, 422),
        ({"run": run_id, "expires_in": True}, 422),
    ):
        problem(client.post("/v1/links", json=body), status)
    found = problem(client.post("/v1/links", json={"store": "made-up"}), 422)
    assert "of the form analysis/NAME" in found["detail"]
    found = problem(client.post("/v1/links", json={"run": run_id, "expires_in": 31 * 86_400}), 422)
    assert "PEAR_MAX_LINK_SECONDS" in found["hint"]
    assert httpx.post(f"{client.base_url}/v1/links", json={"run": run_id}).status_code == 401


def test_tokens_are_not_in_the_log(
    client: httpx.Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    url = str(sign(client, store="analysis/made-up")["url"])
    token = url.partition("/signed/")[2].partition("/")[0]
    with caplog.at_level(logging.DEBUG):
        httpx.get(f"{url}/zarr.json")
        httpx.get(f"{url}/nothing")
        httpx.get(url.replace("made-up", "other") + "/zarr.json")
        httpx.options(url, headers={"Origin": "https://a.org"})
    out, err = capfd.readouterr()
    assert token not in "".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("httpx")
    )
    assert token not in out + err
    assert links.hide_token(f"/v1/signed/{token}/stores/x") == "/v1/signed/…/stores/x"


def test_wrong_links_count_against_the_address(client: httpx.Client, base: str) -> None:
    statuses = [httpx.get(f"{base}/v1/signed/x/forecasts/a/point").status_code for _ in range(40)]
    assert set(statuses) == {403, 429}
    good = str(sign(client, store="analysis/made-up")["url"])
    assert httpx.get(f"{good}/zarr.json").status_code == 200


def test_secrets_of_two_services_differ(tmp_path: Path) -> None:
    one, other = LinkSigner(tmp_path / "a"), LinkSigner(tmp_path / "b")
    token = one.sign("forecasts/a", 2_000_000_000, links.NO_KEY)
    other.sign("forecasts/a", 2_000_000_000, links.NO_KEY)
    assert LinkSigner(tmp_path / "a").check(token, ("forecasts/a",)) is not None
    assert one.check(token, ("forecasts/b",)) is None
    assert other.check(token, ("forecasts/a",)) is None
    with pytest.raises(ProblemError, match="cannot be written"):
        LinkSigner(tmp_path / "nothing" / "a").sign("forecasts/a", 0, links.NO_KEY)
