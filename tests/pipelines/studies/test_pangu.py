"""PEAR and Pangu on tiny grids: same files, both trained, both grids scored."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.models import checkpoint
from pear.state import State
from pear.variables import Layout
from pipelines.evaluation.climatology import HarmonicFit, build_climatology
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from pipelines.studies.pangu import PanguStudy
from pipelines.studies.pangu_forecaster import PanguForecaster, point_areas

NSIDE = 8
LAYOUT = Layout(("2m_temperature",), ("geopotential",), (850, 500))


def weather(days: int = 366) -> xr.Dataset:
    """Waves that travel east over a gradient, on 10 degrees."""
    lat, lon = np.linspace(90, -90, 19), np.arange(36) * 10.0
    day = np.arange(days)[:, None, None]
    wave = np.cos(np.radians(lat))[:, None] * np.cos(np.radians(2 * lon - 29.3 * day))
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
def study(tmp_path_factory: pytest.TempPathFactory) -> PanguStudy:
    folder = tmp_path_factory.mktemp("pangu")
    weather().to_netcdf(folder / "w.nc")
    ingest([folder / "w.nc"], folder / "a.zarr", NSIDE, options=IngestOptions(levels=(850, 500)))
    build_climatology(folder / "a.zarr", folder / "c.zarr", fit=HarmonicFit(1))
    return PanguStudy(
        folder=folder / "study",
        store=folder / "a.zarr",
        climatology=folder / "c.zarr",
        period=("2001-01-01", "2001-02-20"),
        test=("2001-03-01", "2001-03-20"),
        every=6,
        days=2,
        minutes=0.01,
        seeds=(0,),
        embed=64,
        batch=2,
        sources=(folder / "w.nc",),
        depths=(1, 1, 1, 1),
    )


@pytest.mark.slow
def test_both_networks_are_scored_on_both_grids(study: PanguStudy) -> None:
    folder, report = study.folder, study.run()
    shape = (study.states.grid.shape[0], study.states.grid.columns)
    assert np.prod(shape) == pytest.approx(12 * NSIDE**2, rel=0.05)
    with (folder / "pangu.csv").open() as file:
        found = list(csv.DictReader(file))
    assert {(r["budget"], r["grid"], r["field"], r["day"]) for r in found} == set(
        product(("time", "steps"), ("cells", "points"), ("z500", "t2m"), ("1", "2"))
    )
    trials, plan = study.design(), study.plan()
    assert {trial.name for trial in trials if trial.seconds} == {
        f"train {name} seed 0" for name in ("pear", "pangu", "pangu-steps")
    }
    for name, steps in (("pear", "pear"), ("pangu", "pangu"), ("pangu-steps", "pear")):
        log = (folder / "seed0" / name / "train.jsonl").read_text().splitlines()
        assert json.loads(log[-1])["step"] == plan[steps]["steps"]
    assert (
        (report["low"] <= report["difference"]) & (report["difference"] <= report["high"])
    ).all()
    assert (folder / "pangu.png").stat().st_size > 5000
    # Both views of one forecast agree: the points and the cells hold the same weather.
    rmse = report["reference"].sel(budget="time", field="z500", day=1, score="rmse")
    assert rmse.sel(grid="cells") == pytest.approx(float(rmse.sel(grid="points")), rel=0.25)

    stamp = (folder / "seed0/pangu.nc").stat().st_mtime_ns
    again = replace(study)
    assert again.plan() == plan
    assert all(trial.is_done(folder) for trial in again.design())
    again.run()
    assert (folder / "seed0/pangu.nc").stat().st_mtime_ns == stamp
    with pytest.raises(InputError, match="another study"):
        replace(study, days=1).plan()

    trained = checkpoint.load_pangu(folder / "seed0/pangu/checkpoint")
    forecaster = PanguForecaster(trained.model, trained.normaliser, study.states, NSIDE)
    initial = State.from_store(study.store, "2001-03-01", LAYOUT, NSIDE)
    step = next(forecaster.iterate(initial, 1))
    assert step.valid_time[0] == np.datetime64("2001-03-02")
    # However short the training, every cell has the weather of its own place.
    came = State.from_store(study.store, "2001-03-02", LAYOUT, NSIDE)
    assert np.corrcoef(step.surface[0, 0].numpy(), came.surface[0, 0].numpy())[0, 1] > 0.7
    with pytest.raises(InputError, match="lack an init time"):
        next(forecaster.iterate_native(["2003-01-01"], 1))


def test_an_unknown_budget_is_refused(study: PanguStudy) -> None:
    with pytest.raises(InputError, match="unknown budget 'step'"):
        replace(study, budgets=("step",))


def test_areas_of_points_sum_to_the_sphere() -> None:
    areas = point_areas(np.linspace(90, -90, 19), 36).reshape(19, 36)
    assert areas.sum() == pytest.approx(1.0)
    assert areas[9, 0] == pytest.approx(np.sin(np.radians(5)) / 36)
    assert areas[0].sum() == pytest.approx((1 - np.cos(np.radians(5))) / 2)
