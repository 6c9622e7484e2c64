"""Pages and static files of the dashboard, without a browser."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest
import xarray as xr

from pear.times import to_iso
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.dashboard import assets
from service.dashboard.operation import list_action
from service.dashboard.routes import _format_age
from service.dashboard.scores import evaluation_label
from service.readers.scores import Scores
from service.settings import Settings
from tests.fixtures.service import NSIDE, SHA, StubEngine, in_process, write_run

HTML = {"Accept": "text/html"}
STATIC = Path(assets.__file__).parent / "static"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "Forecast"),
        ("/forecasts", "Submit a forecast"),
        ("/forecasts/{run}", "Read in Python"),
        ("/scores", "Scorecard"),
        ("/schedules", "No schedules yet"),
        ("/models/made-up", "Equivariance error"),
        ("/docs", "/v1/forecasts/{{run_id}}/point"),
        ("/login", "API key required"),
    ],
)
def test_pages(client: httpx.Client, run_id: str, path: str, text: str) -> None:
    answer = client.get(path.format(run=run_id), headers=HTML)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["cache-control"] == "no-cache"
    assert text.replace("{{", "{").replace("}}", "}") in answer.text
    assert answer.text.count("<h1") == 1
    assert "not an official warning" in answer.text


def test_pages_say_what_is_simulated(
    client: httpx.Client, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def simulated(_: DataFolder, analysis: str | None) -> bool:
        asked.append(analysis)
        return True

    settings = {"lead_hours": 48, "options": {"analysis": "named"}}
    catalog.schedules.add("x", "0 0 * * *", {"forecast": settings})
    try:
        assert "simulated atmosphere" not in client.get("/schedules", headers=HTML).text
        monkeypatch.setattr("service.dashboard.operation.is_simulated", simulated)
        assert "simulated atmosphere" in client.get("/schedules", headers=HTML).text
        assert asked == ["named"]
        scores = Scores("e", {"model": "m", "analysis": "a", "inits": ["t"]}, xr.Dataset())
        label = evaluation_label(scores, {}, simulated=True)
        assert label == "m, a (simulated atmosphere), 1 init times"
    finally:
        catalog.schedules.remove("x")


def test_forecast_page_shows_scores_of_the_model_of_its_run(
    client: httpx.Client, run_id: str, data: DataFolder
) -> None:
    def evaluation() -> dict[str, Any] | None:
        page = client.get(f"/?run={run_id}", headers=HTML).text
        found = re.search(r'"evaluation": ?(null|\{.*?\})', page)
        assert found is not None
        return cast("dict[str, Any] | None", json.loads(found[1]))

    own = data.evaluation("evaluation-0123456789ab")
    other = data.evaluation("evaluation-of-another-model")
    shutil.copytree(own, other)
    path = other / "scores.json"
    path.write_text(path.read_text().replace(SHA[:12], "another"))
    try:
        shown = evaluation()
        assert shown is not None
        assert shown["id"] == own.name
        assert "geopotential:500" in shown["fields"]
        (own / "scores.json").rename(own / "kept.json")
        assert evaluation() is None
    finally:
        (own / "kept.json").rename(own / "scores.json")
        shutil.rmtree(other)


def test_an_unfinished_run_has_a_page_that_says_so(client: httpx.Client) -> None:
    body = {"init_time": "2004-05-01T00:00:00Z", "lead_hours": 24}
    run = client.post("/v1/forecasts", json=body).json()
    try:
        page = client.get(f"/?run={run['id']}", headers=HTML).text
        assert f"Run {run['id']} is queued" in page
        assert "curl -X POST http://localhost/v1/forecasts" in page
    finally:
        client.post(run["links"]["cancel"])


def test_errors_are_pages_for_browsers_and_problems_for_programs(client: httpx.Client) -> None:
    page = client.get("/models/nobody", headers=HTML)
    assert page.status_code == 404
    assert "nobody" in page.text
    assert page.headers["x-request-id"] in page.text
    assert client.get("/models/nobody").headers["content-type"] == "application/problem+json"
    assert client.get("/v1/models/nobody", headers=HTML).json()["status"] == 404


def test_text_of_a_request_is_escaped(client: httpx.Client) -> None:
    page = client.get("/?run=%3Cscript%3Ealert(1)%3C/script%3E", headers=HTML).text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page


def test_static_files_are_compressed_and_revalidated(client: httpx.Client) -> None:
    plain = client.get("/static/style.css", headers={"Accept-Encoding": "identity"})
    assert plain.headers["content-type"].startswith("text/css")
    assert "content-encoding" not in plain.headers
    packed = client.get("/static/style.css", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text
    again = client.get("/static/style.css", headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("nothing.js", "../login.py", "..%2flogin.py"):
        assert client.get(f"/static/{name}").status_code == 404


def test_static_files_have_the_digest_of_all_in_their_address(client: httpx.Client) -> None:
    page = client.get("/docs", headers=HTML).text
    found = set(re.findall(r"/static/([0-9a-f]{24})/[\w.-]+", page))
    assert len(found) == 1
    assert not re.search(r'"/static/[^/"]+"', page), "an address without a digest"
    digest = found.pop()
    answer = client.get(f"/static/{digest}/style.css")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.text == client.get("/static/style.css").text
    assert client.get("/static/style.css").headers["cache-control"] == "no-cache"
    gone = client.get(f"/static/{'0' * 24}/style.css")
    assert gone.status_code == 404
    assert "load the page again" in gone.json()["hint"]


def test_scripts_name_other_files_relative_to_themselves() -> None:
    """Otherwise a page of an old version would load new files after an upgrade."""
    for path in STATIC.glob("*.js"):
        assert "/static/" not in path.read_text(), path.name
    for path in (STATIC.parent / "templates").glob("*.html"):
        assert "/static/" not in path.read_text(), path.name


def test_another_file_changes_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    makers = dict(assets._makers())
    before = assets.version()
    monkeypatch.setattr(assets, "_makers", lambda: makers | {"style.css": lambda: b"new"})
    for cached in (assets.version, assets.asset):
        cached.cache_clear()
    try:
        assert assets.version() != before
    finally:
        monkeypatch.undo()
        for cached in (assets.version, assets.asset):
            cached.cache_clear()
    assert assets.version() == before


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/scores?evaluation=nosuch", 404, "nosuch"),
        ("/scores?metric=nosuch", 200, "metric=nosuch of the address is not known here"),
        ("/scores?field=nosuch&region=mars", 200, "region=mars of the address is not known here"),
        ("/?run=nosuch", 404, "nosuch"),
        ("/?run=", 200, '"ignored": [["run", ""]]'),
        ("/forecasts?model=nosuch", 422, "nosuch"),
        ("/forecasts?status=nosuch", 422, "nosuch"),
    ],
)
def test_what_an_address_names_and_does_not_exist_is_said(
    client: httpx.Client, path: str, status: int, words: str
) -> None:
    page = client.get(path, headers=HTML)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert words in page.text


def test_coastlines_are_longitude_and_latitude(client: httpx.Client) -> None:
    lines = client.get("/static/coastlines-110m.json").json()
    points = np.concatenate([np.reshape(line, (-1, 2)) for line in lines]) / 100
    assert np.abs(points[:, 0]).max() <= 180
    assert np.abs(points[:, 1]).max() <= 90
    assert len(points) > 1000


def test_places_are_the_largest_towns(client: httpx.Client) -> None:
    rows = client.get("/static/places.json").json()
    assert len(rows) == 5000
    found = {name: (lat / 100, lon / 100) for name, country, lat, lon in rows if country == "SE"}
    assert found["Stockholm"] == pytest.approx((59.33, 18.07), abs=0.1)


@pytest.mark.parametrize(
    ("hours", "text"), [(5, "5 h"), (47, "47 h"), (72, "3 days"), (24 * 365 * 25, None)]
)
def test_ages_have_one_unit_and_old_runs_have_none(hours: int, text: str | None) -> None:
    assert _format_age(np.timedelta64(hours, "h")) == text


def test_actions_are_listed_with_their_settings() -> None:
    action = {"forecast": {"lead_hours": 240, "options": {}}, "evaluate": {}}
    assert list_action(action) == [("forecast", ""), ("lead hours", "240"), ("evaluate", "")]


def test_gzip_is_reproducible(client: httpx.Client) -> None:
    """Otherwise the compressed file would differ between processes behind one address."""
    with client.stream("GET", "/static/map.js", headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert raw[4:8] == bytes(4), "no time of compression"
    assert gzip.decompress(raw).startswith(b"// @ts-check\n// Map of one field")


def test_runs_of_the_same_valid_times_and_grid_are_offered_for_comparison(
    data: DataFolder, run_id: str, tmp_path: Path
) -> None:
    own = DataFolder(Path(shutil.copytree(data.root, tmp_path / "data")))
    made = {}
    with Catalog(own.catalog) as catalog:
        newest = catalog.runs.get(run_id)
        catalog.models.add("cd34" * 16, "models/other", nside=2 * NSIDE, step_hours=24, name="fine")
        for name, model, days in (
            *(("too early", SHA, -11), ("of another grid", "cd34" * 16, -1)),
            ("without its result", SHA, -2),
        ):
            init = newest.init_time + np.timedelta64(days, "D")
            made[name], _ = catalog.runs.submit(model, init, 240)
            catalog.runs.claim(made[name].id, "test")
            catalog.runs.succeed(made[name].id, owner="test")
        made["at other hours"], _ = catalog.runs.submit(
            SHA[:12], newest.init_time + np.timedelta64(6, "h"), 240
        )
        catalog.runs.claim(made["at other hours"].id, "test")
        write_run(own, made["at other hours"])
        catalog.runs.succeed(made["at other hours"].id, owner="test")
        app = create_app(Settings(data=own.root), catalog, StubEngine(catalog, own))
        with in_process(app) as client:
            html = client.get(f"/?run={run_id}", headers=HTML).text
    found = re.search(r'id="page-data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    others = {each["id"]: each for each in json.loads(found.group(1))["others"]}
    earlier = newest.init_time - np.timedelta64(1, "D")
    assert to_iso(earlier) in {each["init"] for each in others.values()}
    assert not {run_id, *(run.id for run in made.values())} & set(others)
    for each in others.values():
        assert f'<option value="{each["id"]}">{each["model"]}, {each["shown"]}' in html
