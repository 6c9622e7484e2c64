"""The lat-lon peer beside PEAR in the small: same files, both trained, both grids scored."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.models import checkpoint
from pear.state import State
from pear.variables import Layout
from pipelines.evaluation.climatology import build_climatology as climatology
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.studies import pangu
from pipelines.studies.pangu_forecaster import PanguForecaster, point_areas
from pipelines.training.latlon_dataset import collect_states

NSIDE = 8
LAYOUT = Layout(("2m_temperature",), ("geopotential",), (850, 500))


def weather(days: int = 366) -> xr.Dataset:
    """Waves that travel east over a gradient, on 10 degrees."""
    lat, lon = np.linspace(90, -90, 19), np.arange(36) * 10.0
    day = np.arange(days)[:, None, None]
    wave = np.cos(np.radians(lat))[:, None] * np.cos(np.radians(2 * lon - 30.0 * day))
    t2m = 280.0 + 20.0 * np.cos(np.radians(lat))[:, None] + 5.0 * wave
    z = np.stack([14_000.0 + 500.0 * wave, 54_000.0 + 900.0 * wave], axis=1)
    times = np.datetime64("2001-01-01", "ns") + day[:, 0, 0] * np.timedelta64(1, "D")
    return xr.Dataset(
        {
            "t2m": (("time", "latitude", "longitude"), t2m.astype("f4"), {"units": "K"}),
            "z": (
                ("time", "level", "latitude", "longitude"),
                z.astype("f4"),
                {"units": "m**2 s**-2"},
            ),
        },
        {
            "time": times,
            "level": ("level", [850, 500], {"units": "hPa"}),
            "latitude": lat,
            "longitude": lon,
        },
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pangu.PeerStudy:
    folder = tmp_path_factory.mktemp("peer")
    weather().to_netcdf(folder / "w.nc")
    ingest([folder / "w.nc"], folder / "a.zarr", NSIDE, options=IngestOptions(levels=(850, 500)))
    climatology(folder / "a.zarr", folder / "c.zarr", harmonics=1)
    return pangu.PeerStudy(
        folder / "a.zarr",
        folder / "c.zarr",
        ("2001-01-01", "2001-02-20"),
        ("2001-03-01", "2001-03-20"),
        every=6,
        days=2,
        minutes=0.01,
        seeds=(0,),
        embed=64,
        batch=2,
        sources=(folder / "w.nc",),
        depths=(1, 1, 1, 1),
    )


def test_a_study_scores_both_networks_on_both_grids(study: pangu.PeerStudy, tmp_path: Path) -> None:
    work = pangu.Work(study, tmp_path)
    pangu.write(work.run(), tmp_path)
    rows, columns = work.plan["points"]
    assert rows * columns == pytest.approx(12 * NSIDE**2, rel=0.05)
    with (tmp_path / "peer.csv").open() as file:
        found = list(csv.DictReader(file))
    assert {(r["budget"], r["grid"], r["field"], r["day"]) for r in found} == set(
        product(("time", "steps"), ("cells", "points"), ("z500", "t2m"), ("1", "2"))
    )
    trained = {job.name: job for job in work.trainings()}
    assert set(trained) == {f"train {name} seed 0" for name in ("pear", "pangu", "pangu-steps")}
    for name, steps in (("pear", "pear"), ("pangu", "pangu"), ("pangu-steps", "pear")):
        log = (tmp_path / "seed0" / name / "train.jsonl").read_text().splitlines()
        assert json.loads(log[-1])["step"] == work.plan[steps]["steps"]
    assert all(float(r["low"]) <= float(r["difference"]) <= float(r["high"]) for r in found)
    assert (tmp_path / "peer.png").stat().st_size > 5000
    # The peer's two views of one forecast agree: its grid and the cells hold the same weather.
    rmse = {
        r["grid"]: float(r["reference"])
        for r in found
        if [r[k] for k in ("budget", "field", "day", "score")] == ["time", "z500", "1", "rmse"]
    }
    assert rmse["cells"] == pytest.approx(rmse["points"], rel=0.25)

    stamp = (tmp_path / "seed0/points-pangu.npz").stat().st_mtime_ns
    again = pangu.Work(study, tmp_path)
    assert again.plan == work.plan
    assert all(job.done for job in (*again.trainings(), *again.verifications()))
    again.run()
    assert (tmp_path / "seed0/points-pangu.npz").stat().st_mtime_ns == stamp
    other = pangu.PeerStudy(**{**vars(study), "days": 1})
    with pytest.raises(InputError, match="another study"):
        pangu.Work(other, tmp_path)

    with pytest.raises(InputError, match="no budget 'step'"):
        pangu.PeerStudy(**{**vars(study), "budgets": ("step",)})

    states = collect_states((), tmp_path / "latlon", (rows, columns), LAYOUT)
    held = checkpoint.load_pangu(tmp_path / "seed0/pangu/checkpoint")
    forecaster = PanguForecaster(held.model, held.normaliser, states, NSIDE)
    initial = State.from_store(study.store, "2001-03-01", LAYOUT, NSIDE)
    step = next(forecaster.iterate(initial, 1))
    assert step.valid_time[0] == np.datetime64("2001-03-02")
    # However short the training, every cell has the weather of its own place.
    came = State.from_store(study.store, "2001-03-02", LAYOUT, NSIDE)
    assert np.corrcoef(step.surface[0, 0].numpy(), came.surface[0, 0].numpy())[0, 1] > 0.7


def test_points_stand_for_the_whole_sphere() -> None:
    areas = point_areas(np.linspace(90, -90, 19), 36).reshape(19, 36)
    assert areas.sum() == pytest.approx(1.0)
    assert areas[9, 0] == pytest.approx(np.sin(np.radians(5)) / 36)
    assert areas[0].sum() == pytest.approx((1 - np.cos(np.radians(5))) / 2)
