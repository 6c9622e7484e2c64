"""Run by test_whole_way.py in a process of its own: serve, ask, watch, read; never load torch.

Prints one JSON object with what came back.
"""

from __future__ import annotations

import json
import sys

import httpx
from service_world import served

from service.app import create_app
from service.settings import Settings


def main(folder: str) -> None:
    found: dict[str, object] = {}
    with (
        served(create_app(Settings(data=folder, max_points=5))) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        found["initial"] = client.get("/v1/initial-conditions").json()["items"]
        asked = client.post(
            "/v1/forecasts", json={"init_time": "2001-03-04T00:00:00Z", "lead_hours": 48}
        )
        found["asked"] = asked.status_code
        link = asked.headers["location"]
        with client.stream("GET", f"{link}/events") as stream:
            lines = [line for line in stream.iter_lines() if line.startswith("data:")]
        found["events"] = [json.loads(line[5:])["status"] for line in lines]
        found["run"] = client.get(link).json()
        point = {"latitude": 59.3, "longitude": 18.1, "variables": "t2m,z500"}
        found["point"] = client.get(f"{link}/point", params=point).json()
        found["map"] = client.get(f"{link}/maps/t2m.png?lead_time=24").headers["content-type"]
        found["page"] = client.get("/").status_code
        found["again"] = client.post(
            "/v1/forecasts", json={"init_time": "2001-03-04T00:00:00Z", "lead_hours": 48}
        ).status_code
        late = client.post(
            "/v1/forecasts", json={"init_time": "2031-01-01T00:00:00Z", "lead_hours": 48}
        )
        found["late"] = late.json()
    found["torch"] = "torch" in sys.modules
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
