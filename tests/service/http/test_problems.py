"""Problem documents name the parameter, the reason and a remedy."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.fixtures.service import problem


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/forecasts/nothing-here", 404, "nothing-here"),
        ("/v1/models/nobody", 404, "nobody"),
        ("/v1/scores?evaluation=none", 404, "none"),
        ("/v1/nowhere", 404, "/v1/nowhere"),
        ("/v1/forecasts/{run}/fields/t2n?lead_time=24", 422, "did you mean t2m?"),
        ("/v1/forecasts/{run}/fields/t2m?lead_time=25", 422, "24, 48"),
        ("/v1/forecasts/{run}/fields/t2m", 422, "lead_time"),
        ("/v1/forecasts/{run}/fields/z?lead_time=24", 422, "levels: 50"),
        ("/v1/forecasts/{run}/fields/z500?lead_time=24&level=850", 422, "500"),
        ("/v1/forecasts/{run}/fields/t2m?lead_time=24&level=850", 422, "surface"),
        ("/v1/forecasts/{run}/fields/t2m?lead_time=24&nside=3", 422, "power of two"),
        ("/v1/forecasts/{run}/fields/t2m?lead_time=24&nside=128", 422, "power of two"),
        ("/v1/forecasts/{run}/point?latitude=91&longitude=0", 422, "±90"),
        ("/v1/forecasts/{run}/point?latitude=nan&longitude=0", 422, "finite"),
        ("/v1/forecasts/{run}/point?latitude=1,2&longitude=0", 422, "equal length"),
        ("/v1/forecasts/{run}/point?latitude=x&longitude=0", 422, "numbers"),
        ("/v1/forecasts/{run}/point?latitude=0&longitude=0&variables=wind", 422, "wind"),
        ("/v1/forecasts/{run}/maps/t2m.png?lead_time=24&vmin=9&vmax=3", 422, "vmax"),
        ("/v1/forecasts/{run}/maps/t2m.png?lead_time=24&cmap=jet", 422, "jet"),
        ("/v1/forecasts?status=lost", 422, "status"),
        ("/v1/forecasts?cursor=%00", 422, "cursor"),
        ("/v1/initial-conditions?cursor=x", 422, "cursor"),
    ],
)
def test_a_problem_names_the_reason(
    client: httpx.Client, run_id: str, path: str, status: int, words: str
) -> None:
    document = problem(client.get(path.replace("{run}", run_id)), status)
    assert words in json.dumps(document, ensure_ascii=False)


@pytest.mark.parametrize(
    ("content", "key", "field"),
    [(b"{", "a", "body"), (b'{"a": }', "a", "body"), (b"{}", "", "idempotency-key")],
)
def test_a_fault_of_the_body_or_a_header_is_named_so(
    client: httpx.Client, content: bytes, key: str, field: str
) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    found = problem(client.post("/v1/forecasts", content=content, headers=headers), 422)
    assert found["field"] == field
    assert field in {each["field"] for each in found["errors"]}
