"""Every refusal names the parameter as it was sent, its value and what is allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.fixtures.service import SHA, problem

RAW = re.compile(r"Input should|Value error|valid (integer|number|dictionary|string)|unable to pa")
"""Words of pydantic, which leave out the value."""
ODD = ("-1", "NaN", "9" * 30, "2.5", "\N{SNOWMAN}", "1,2,3,4,5")
GOOD = {
    "latitude": "1",
    "longitude": "2",
    "bbox": "0,0,60,60",
    "within": "5000",
    "lead_time": "24",
    "line": "@daily",
    "time": "2001-03-01T00:00:00Z",
    "variable": "z500",
    "lead_days": "1",
    "request": "GetMap",
    "layers": "2m_temperature",
}
COORDS = {
    "area": "POLYGON((0 0,60 0,60 60,0 0))",
    "trajectory": "LINESTRING(1 2,30 40)",
}


def operations(client: httpx.Client, run_id: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield each operation that reads: its path with names filled in, itself, its pattern."""
    places = {
        "run_id": run_id,
        "instance_id": run_id,
        "collection_id": SHA[:12],
        "model_id": SHA[:12],
        "variable": "t2m",
        "kind": "analysis",
        "name": "made-up",
        "path": "zarr.json",
        "collection": "analysis-made-up",
        "data_type": "map",
        "tile_matrix_set": "WebMercatorQuad",
        **dict.fromkeys(("x", "y", "z", "tile_matrix", "tile_row", "tile_col"), "0"),
    }
    for path, verbs in client.get("/openapi.json").json()["paths"].items():
        # A collection answers as its newest instance does.
        if "get" in verbs and not path.endswith("events") and "/instances/" not in path:
            filled = re.sub(r"\{(\w+)\}", lambda found: places.get(found[1], "nothing"), path)
            yield filled, verbs["get"], path


def send(
    client: httpx.Client, path: str, operation: dict[str, Any], given: dict[str, str]
) -> httpx.Response:
    """Send a request with what the operation requires, and these parameters."""
    query = {
        each["name"]: GOOD.get(each["name"], COORDS.get(path.rsplit("/", 1)[-1], "POINT(1 2)"))
        for each in operation.get("parameters", [])
        if each["in"] == "query" and each.get("required")
    }
    return client.get(path, params=query | given, follow_redirects=True)


def test_every_parameter_is_named_as_it_was_sent_with_its_value(
    client: httpx.Client, run_id: str
) -> None:
    refused, odd = 0, []
    for path, operation, pattern in operations(client, run_id):
        for each in operation.get("parameters", []):
            if each["in"] != "query" or path.endswith("/wms"):  # whose refusals are XML
                continue
            # Maps are slow to draw, and may be centred at any number.
            for value in ("NaN", "\N{SNOWMAN}") if "/maps/" in path else ODD:
                answer = send(client, path, operation, {each["name"]: value})
                if answer.status_code < 400:
                    continue
                refused += 1
                found = json.loads(answer.text)
                names = {other["name"] for other in operation["parameters"]}
                text = json.dumps(found, ensure_ascii=False)
                shown = value[:8] in text or (value == "1,2,3,4,5" and "5" in found["detail"])
                if (
                    answer.status_code >= 500
                    or RAW.search(text)
                    or found.get("field") not in names
                    or (found["field"] == each["name"] and not shown)
                ):
                    odd.append((pattern, each["name"], value, found))
    assert refused > 200
    assert not odd, odd[:5]


def test_names_in_the_path_are_quoted_with_a_remedy(client: httpx.Client, run_id: str) -> None:
    odd, count = [], 0
    for _, operation, pattern in operations(client, run_id):
        for each in operation.get("parameters", []):
            if each["in"] != "path" or each["name"] in ("path", "tile_row", "tile_col"):
                continue
            path = pattern.replace(f"{{{each['name']}}}", quote("nosuch-1"))
            for filled, _, other in operations(client, run_id) if "{" in path else [(path, 0, 0)]:
                if other == pattern:
                    path = merge(path, filled, pattern)
            if path.endswith("/wms"):
                continue
            answer = send(client, path, operation, {})
            if answer.status_code < 400:
                continue
            count += 1
            found = json.loads(answer.text)
            quoted = "nosuch-1" in found["detail"] or "'nothing'" in found["detail"]
            if not quoted or answer.status_code >= 500 or RAW.search(answer.text):
                odd.append((pattern, each["name"], found))
            elif not found.get("hint") and " must be " not in found["detail"]:
                odd.append((pattern, each["name"], "no remedy", found))
    assert count > 20
    assert not odd, odd[:5]


def merge(path: str, filled: str, pattern: str) -> str:
    """Return a path with the names that are left open taken from a filled one."""
    parts = zip(path.split("/"), filled.split("/"), pattern.split("/"), strict=True)
    return "/".join(good if "{" in own and own == open_ else own for own, good, open_ in parts)


@pytest.mark.parametrize(
    ("path", "field", "words"),
    [
        ("/v1/forecasts?limit=501", "limit", "limit must be 500 or less, not 501"),
        ("/v1/forecasts?limit=x", "limit", "limit must be a whole number, not 'x'"),
        ("/v1/forecasts?status=fialed", "status", "did you mean failed?"),
        ("/v1/cron", "line", "line is missing"),
        ("/v1/forecasts/latest/fields/t2m", "lead_time", "such as lead_time=24"),
        ("/v1/forecasts/latest/maps/t2m.png?lead_time=24&vmin=nan", "vmin", "finite number"),
        ("/v1/forecasts/latest/maps/t2m.png?lead_time=24&difference=no", "difference", "'no'"),
        ("/v1/forecasts/latest/point?latitude=1&longitude=2&levels=123", "levels", "123 hPa"),
        ("/v1/forecasts/latest/point?latitude=1&longitude=2&levels=500.5", "levels", "500.5"),
        ("/v1/forecasts/latest/point?latitude=1&longitude=2&variables=z123", "variables", "123"),
        ("/v1/forecasts/latest/download?lead_times=25", "lead_times", "25"),
        ("/v1/forecasts/latest/download?lead_times=24.5", "lead_times", "24.5"),
        ("/v1/cron?line=foo", "line", "'foo'"),
        ("/v1/stores/analysis/nosuch", "name", "'nosuch'"),
        ("/v1/stac/collections/nosuch", "collection", "'nosuch'"),
        ("/v1/forecasts/nosuch", "run_id", "list of runs"),
        ("/v1/evaluations/nosuch", "evaluation_id", "list of evaluations"),
        ("/v1/schedules/nosuch", "name", "'nosuch'"),
    ],
)
def test_a_refusal_names_what_was_sent_and_what_is_allowed(
    client: httpx.Client, path: str, field: str, words: str
) -> None:
    answer = client.get(path)
    found = problem(answer, answer.status_code)
    assert found["field"] == field
    assert words in f"{found['detail']}; {found.get('hint')}"


def test_more_names_than_are_read_are_refused(client: httpx.Client) -> None:
    names = ",".join(["t2m"] * 65)
    found = problem(
        client.get(f"/v1/forecasts/latest/point?latitude=1&longitude=2&variables={names}"), 422
    )
    assert found["detail"].startswith("variables has 65 names, and may have 64")


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_forgotten_content_type_is_named(client: httpx.Client, kind: str | None) -> None:
    body = b'{"init_time": "2001-03-01T00:00:00Z"}'
    headers = {} if kind is None else {"Content-Type": kind}
    found = problem(client.post("/v1/forecasts", content=body, headers=headers), 415)
    assert "Content-Type: application/json" in found["hint"]
    assert kind is None or kind in found["detail"]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "init_time", "init_time is missing"),
        ({"init_time": 5}, "init_time", "5"),
        ({"init_time": "2001-03-01", "lead_hours": 0}, "lead_hours", "1 or more, not 0"),
        ({"init_time": "2001-03-01", "lead_hours": 1.5}, "lead_hours", "whole number, not 1.5"),
        ({"init_time": "2001-03-01", "members": "x"}, "members", "'x' is not a number"),
        ({"init_time": "2001-03-01", "variables": 5}, "variables", "5"),
        ([], "body", "an object of names and values, not []"),
    ],
)
def test_a_fault_of_the_body_names_the_value(
    client: httpx.Client, body: object, field: str, words: str
) -> None:
    answer = client.post("/v1/forecasts", json=body)
    found = problem(answer, 422)
    assert found["field"] == field
    assert words in found["detail"]
    assert not RAW.search(answer.text)


def test_the_limit_of_a_link_is_one_number(client: httpx.Client, run_id: str) -> None:
    told = {
        problem(client.post("/v1/links", json={"run": run_id, "expires_in": seconds}), 422)[
            "detail"
        ].partition(", not")[0]
        for seconds in (1, 31 * 86_400, 400 * 86_400)
    }
    assert told == {"a link lasts 60 to 2592000 s"}


def test_a_method_that_a_path_does_not_have_names_those_it_has(client: httpx.Client) -> None:
    answer = client.delete("/v1/models")
    found = problem(answer, 405)
    assert "DELETE is not a method of /v1/models" in found["detail"]
    assert found["hint"] == "methods here: GET, HEAD"
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("given", "status"), [("bytes=99999999-", 416), ("bytes=9-1", 400), ("bytes=x", 400)]
)
def test_a_range_that_a_file_does_not_have_is_a_problem(
    client: httpx.Client, run_id: str, given: str, status: int
) -> None:
    path = f"/v1/forecasts/{run_id}/zarr/zarr.json"
    answer = client.get(path, headers={"Range": given})
    found = problem(answer, status)
    assert given in found["detail"]
    assert found["field"] == "range"
    assert ("Content-Range" in answer.headers) == (status == 416)
