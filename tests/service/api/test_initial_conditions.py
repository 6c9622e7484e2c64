"""Initial conditions over HTTP."""

from __future__ import annotations

import httpx


def test_initial_conditions_are_paged_newest_first(client: httpx.Client) -> None:
    document = client.get("/v1/initial-conditions?limit=3").json()
    times = [each["init_time"] for each in document["items"]]
    assert times == [f"2001-03-0{day}T00:00:00Z" for day in (4, 3, 2)]
    assert all(each["complete"] for each in document["items"])
    rest = client.get("/v1/initial-conditions", params={"cursor": document["next"]}).json()
    assert [each["init_time"] for each in rest["items"]] == ["2001-03-01T00:00:00Z"]
    assert rest["next"] is None
    assert client.get("/v1/initial-conditions?complete=false").json()["items"] == []
