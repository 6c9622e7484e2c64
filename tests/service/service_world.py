"""A made-up world for the service: a finished run with known values, scores, a server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI

from pear.sphere.grid import centres
from pear.variables import BY_NAME, PUBLISHED, Layout
from pipelines.catalog import Catalog, Evaluation, Job, Run, Schedule
from pipelines.datafolder import DataFolder
from pipelines.execute import Engine, Performed
from pipelines.store import PROBABILITY, AnalysisWriter, ForecastWriter

NSIDE = 8
PROBLEM = "application/problem+json"
INIT = np.datetime64("2001-03-01T00:00:00", "s")
LEADS = tuple(range(24, 241, 24))
SHA = "ab12" * 16


def truth(name: str, level: int | None, lead_hours: int, nside: int = NSIDE) -> np.ndarray:
    """The made-up forecast: smooth on the sphere, drifting east, different in every channel."""
    lat, lon = (np.radians(axis) for axis in centres(nside))
    wave = np.cos(lat) * np.cos(lon - np.radians(lead_hours / 2))
    middle = {
        "mean_sea_level_pressure": 101_300.0,
        "2m_temperature": 285.0,
        "geopotential": 55_000.0,
        "specific_humidity": 0.005,
        "temperature": 260.0,
    }.get(name, 2.0)
    spread = {
        "mean_sea_level_pressure": 1500.0,
        "2m_temperature": 20.0,
        "geopotential": 2000.0,
        "specific_humidity": 0.002,
        "temperature": 15.0,
    }.get(name, 8.0)
    step = 0.0 if level is None else (level - 500) / 5000
    return (middle + spread * (wave + step) + 0.1 * spread * np.sin(lat)).astype(np.float32)


class StubEngine:
    """Takes requests into the catalog and leaves the work undone."""

    def __init__(self, catalog: Catalog, data: DataFolder) -> None:
        self.catalog, self.up, self.data = catalog, True, data

    def request_forecast(
        self,
        init_time: Any,
        lead_hours: int,
        *,
        model: str | None = None,
        analysis: str | None = None,
        options: dict[str, Any] | None = None,
        **_: Any,
    ) -> tuple[Run, bool]:
        found = self.catalog.model(model)
        if analysis is not None:
            self.data.analysis(analysis)  # refuses what is no name, as the engine does
        wanted = {**(options or {}), "analysis": analysis}
        return self.catalog.submit_run(found.id, init_time, lead_hours, options=wanted)

    def request_evaluation(
        self, model: str | None, request: dict[str, Any], *, total: int = 1
    ) -> tuple[Evaluation, bool]:
        return self.catalog.submit_evaluation(self.catalog.model(model).id, request, total=total)

    def add_schedule(self, name: str, cron: str, action: Mapping[str, Any]) -> Schedule:
        return Engine.add_schedule(self, name, cron, action)  # type: ignore[arg-type]

    def run_schedule(self, name: str) -> Performed:
        return Performed(runs=[self.catalog.runs(limit=1).items[0].id])

    def cancel(self, job_id: str) -> Job:
        return self.catalog.cancel(job_id)

    def ready(self, timeout: float | None = 0) -> bool:
        return self.up

    def status(self) -> dict[str, Any]:
        return {"alive": self.up}

    def close(self) -> None:
        self.up = False


def state(lead_hours: int) -> tuple[np.ndarray, np.ndarray]:
    """The whole made-up state at one lead: (surface, cell) and (upper, level, cell)."""
    surface = np.stack([truth(name, None, lead_hours) for name in PUBLISHED.surface])
    levels = PUBLISHED.levels
    upper = [np.stack([truth(n, level, lead_hours) for level in levels]) for n in PUBLISHED.upper]
    return surface, np.stack(upper)


def write_run(folder: DataFolder, run: Run, suffix: str = "", scale: float = 1.0) -> None:
    """Write the store of a run, or of one statistic of its ensemble."""
    leads = np.array(LEADS, "timedelta64[h]")
    path = folder.forecast(run.id + suffix)
    writer = ForecastWriter(path, PUBLISHED, NSIDE, run.init_time, leads, {"title": "made up"})
    for index, lead in enumerate(LEADS):
        writer.write_step(index, *(scale * fields for fields in state(lead)))
    writer.publish()


def write_probability(folder: DataFolder, run: Run) -> None:
    """Write how likely 2 m are warmer than 286 K: more so to the north, by this account."""
    about = {PROBABILITY: "air temperature at 2 m above 286 K"}
    layout, leads = Layout(("2m_temperature",), (), ()), np.array(LEADS, "timedelta64[h]")
    path = folder.forecast(f"{run.id}.p00")
    writer = ForecastWriter(path, layout, NSIDE, run.init_time, leads, about)
    for index in range(len(LEADS)):
        writer.write_step(
            index, centres(NSIDE)[0][None] / 180 + 0.5, np.zeros((0, 0, 12 * NSIDE**2))
        )
    writer.publish()


def write_analysis(folder: DataFolder, name: str = "made-up", days: int = 4) -> None:
    """Write the truth as an analysis, from the init time on."""
    states = [state(24 * day) for day in range(days)]
    times = INIT + np.arange(days) * np.timedelta64(1, "D")
    with AnalysisWriter(folder.analysis(name), PUBLISHED, NSIDE) as writer:
        writer.append(times, *(np.stack(parts) for parts in zip(*states, strict=True)))


def write_scores(folder: DataFolder) -> None:
    records = []
    for forecaster, skill in (("pear", 0.97), ("persistence", 0.8), ("climatology", 0.0)):
        for name, level in (("mean_sea_level_pressure", None), ("geopotential", 500)):
            for day in range(1, 11):
                acc = skill**day if skill else 0.0
                error = (1.0 - acc) * (BY_NAME[name].valid_range[1] / 1000)
                records.append(
                    {
                        "forecaster": forecaster,
                        "variable": name,
                        "level": level,
                        "lead_days": day,
                        "region": "global",
                        "init_times": 3,
                        "acc": acc,
                        "rmse": error,
                        "mae": 0.8 * error,
                        "bias": 0.1 * error,
                    }
                )
    target = folder.evaluation("evaluation-0123456789ab")
    target.mkdir(parents=True)
    document = {"id": target.name, "model": SHA[:12], "climatology": "demo", "scores": records}
    (target / "scores.json").write_text(json.dumps(document))


def problem(answer: Any, status: int) -> dict[str, Any]:
    """Check the form of an error and return its document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    document = answer.json()
    assert document["status"] == status
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["detail"]
    return dict(document)


@contextmanager
def served(app: FastAPI, **options: Any) -> Iterator[str]:
    """Serve an application on a free port of this machine while the block runs."""
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="on", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise RuntimeError("the service did not start")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
