"""What is normal at a point: the climatology of the run's analysis, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from pear.sphere.healpix import cell_of
from pear.store.climatology import Climatology
from pear.times import year_phase
from pear.variables import SIMULATED, Layout
from pipelines.catalog import Catalog
from pipelines.evaluation.climatology import HarmonicFit, build_climatology
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import (
    INIT,
    LEADS,
    NSIDE,
    SHA,
    StubEngine,
    in_process,
    problem,
    write_run,
)

CELLS = 12 * NSIDE**2
TIMES = np.datetime64("1999-01-01", "s") + np.arange(731) * np.timedelta64(1, "D")
MONTHS = TIMES.astype("datetime64[M]").astype(int) % 12
SWING = np.where(np.isin(MONTHS, (2, 3)), 5.0, 1.0)
"""Anomalies by month, K: alternating in sign, five times as large in March and April."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A finished run, and the climatology of two years of its analysis with the spread."""
    made = DataFolder.create(tmp_path_factory.mktemp("normals"))
    layout = Layout(
        ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind"), (), ()
    )
    fields = np.zeros((TIMES.size, 3, CELLS), np.float32)
    cycle = 280.0 + 8.0 * np.cos(2 * np.pi * year_phase(TIMES)) + SWING * (-1.0) ** np.arange(731)
    fields[:, 0] = cycle[:, None] + np.arange(CELLS) / 100
    source = made.root / "source.zarr"
    with AnalysisWriter(source, layout, NSIDE) as writer:
        writer.append(TIMES, fields, np.zeros((TIMES.size, 0, 0, CELLS), np.float32))
    build_climatology(source, made.climatology("made-up"), fit=HarmonicFit(1), spread=True)
    return made


@pytest.fixture(scope="module")
def client(folder: DataFolder) -> Iterator[httpx.Client]:
    with Catalog(folder.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        for name in ("made-up", "other"):
            run, _ = catalog.runs.submit(SHA[:12], INIT, 240, options={"analysis": name})
            catalog.runs.claim(run.id, "test")
            write_run(folder, run, about={SIMULATED: "true"} if name == "made-up" else None)
            catalog.runs.succeed(run.id, owner="test")
        settings = Settings(data=folder.root)
        with in_process(create_app(settings, catalog, StubEngine(catalog, folder))) as opened:
            yield opened


def _run(client: httpx.Client, analysis: str) -> str:
    items = client.get("/v1/forecasts").json()["items"]
    return next(str(each["id"]) for each in items if each["options"]["analysis"] == analysis)


def test_mean_and_spread_are_those_of_hour_and_month(
    client: httpx.Client, folder: DataFolder
) -> None:
    run = _run(client, "made-up")
    where = {"latitude": 50, "longitude": 10}
    found = client.get(f"/v1/forecasts/{run}/normals/t2m", params=where).json()
    assert found["lead_hours"] == list(LEADS)
    assert (found["climatology"], found["kind"], found["units"]) == ("made-up", "harmonic", "K")
    assert found["period"] == ["1999-01-01T00:00:00Z", "2000-12-31T00:00:00Z"]
    cell = cell_of(np.array([50.0]), np.array([10.0]), NSIDE)
    times = INIT + np.array(LEADS, "timedelta64[h]")
    layout = Layout(("2m_temperature",), (), ())
    stored = Climatology.open(folder.climatology("made-up"), layout).at(times)[0][:, 0, cell]
    np.testing.assert_allclose(found["mean"], stored[:, 0], atol=1e-3)
    wanted = 280.0 + 8.0 * np.cos(2 * np.pi * year_phase(times)) + float(cell[0]) / 100
    np.testing.assert_allclose(found["mean"], wanted, atol=0.1)
    # 2 March is two weeks from the middles of February (1 K) and March (5 K); the variances meet.
    assert 3.0 < found["spread"][0] < 4.2
    assert np.all(np.diff(found["spread"]) > 0), "towards the middle of March"
    assert "month" in found["definition"]
    assert found["atmosphere"] == "simulated atmosphere, not observed"


def test_what_has_no_normal_range_is_said(client: httpx.Client) -> None:
    where = {"latitude": 50, "longitude": 10}
    run, other = _run(client, "made-up"), _run(client, "other")
    wind = client.get(f"/v1/forecasts/{run}/normals/u10", params=where)
    assert "component" in problem(wind, 422)["detail"]
    lacking = client.get(f"/v1/forecasts/{run}/normals/msl", params=where)
    assert "lacks mean_sea_level_pressure" in problem(lacking, 422)["detail"]
    none = client.get(f"/v1/forecasts/{other}/normals/t2m", params=where)
    assert "pear climatology --analysis other" in problem(none, 422)["hint"]


def test_the_page_offers_what_there_is(client: httpx.Client) -> None:
    page = client.get(f"/?run={_run(client, 'made-up')}", headers={"Accept": "text/html"}).text
    assert '"normals": ["2m_temperature"]' in page
    page = client.get(f"/?run={_run(client, 'other')}", headers={"Accept": "text/html"}).text
    assert '"normals": []' in page
