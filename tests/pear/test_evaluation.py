"""Scores of Datasets equal those of the evaluation pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pear
from pear.errors import InputError
from pear.evaluation import evaluate
from pear.metrics import score
from pear.rollout import Ensemble, MemberGroup
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.evaluation.accumulators import EvaluationDesign
from pipelines.evaluation.climatology import HarmonicFit, build_climatology
from pipelines.evaluation.verify import verify
from tests.fixtures.evaluation import (
    CELLS,
    DAY,
    LAYOUT,
    NSIDE,
    TEST,
    TRAIN,
    Fading,
    usual,
    write_analysis,
)

REGIONS = ("global", "tropics")
METRICS = ("rmse", "acc", "mae", "bias", "activity", "acc_per_init")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("scores")
    train = write_analysis(folder / "train.zarr", TRAIN, usual(TRAIN))
    build_climatology(train, folder / "climatology.zarr", fit=HarmonicFit(2))
    return write_analysis(folder / "test.zarr", TEST), folder / "climatology.zarr"


@pytest.fixture(scope="module")
def forecast(stores: tuple[Path, Path]) -> xr.Dataset:
    return Fading().forecast(pear.open_analysis(stores[0]), init=TEST[:6], lead="5d")


@pytest.fixture(scope="module")
def scores(stores: tuple[Path, Path], forecast: xr.Dataset) -> xr.Dataset:
    analysis, climatology = stores
    data = pear.open_analysis(analysis)
    return evaluate({"pear": forecast}, data, climatology, metrics=METRICS, regions=REGIONS)


def test_numbers_are_those_of_the_pipeline(stores: tuple[Path, Path], scores: xr.Dataset) -> None:
    analysis, climatology = stores
    leads = DAY * np.arange(1, 6)
    design = EvaluationDesign.build(LAYOUT, NSIDE, TEST[:6], leads, REGIONS)
    forecasters = [
        Fading(),
        pear.Persistence(LAYOUT, NSIDE),
        pear.ClimatologyForecaster(Climatology.open(climatology, LAYOUT)),
    ]
    tables = verify(
        design,
        forecasters,
        Analysis(analysis, LAYOUT, NSIDE),
        Climatology.open(climatology, LAYOUT),
    )
    for forecaster, table in tables.items():
        for metric in METRICS:
            want = score(table.scores, metric)
            for row, (name, level) in enumerate(LAYOUT.channels):
                got = scores[name].sel(metric=metric, forecaster=forecaster)
                got = got if level is None else got.sel(level=level)
                np.testing.assert_array_equal(got.transpose(..., "region"), want[:, row])


def test_axes_and_attributes(scores: xr.Dataset) -> None:
    assert scores["2m_temperature"].dims == (
        "metric",
        "forecaster",
        "region",
        "prediction_timedelta",
    )
    assert scores["geopotential"].dims[-1] == "level"
    assert scores["forecaster"].values.tolist() == ["pear", "persistence", "climatology"]
    assert scores["prediction_timedelta"].values[0] == DAY
    assert scores["geopotential"].attrs["units"] == "m2 s-2"
    assert "not centred" in scores.attrs["acc_definition"]
    assert len(scores.attrs["init_times"]) == 6
    assert scores["geopotential"].sel(metric="acc", forecaster="climatology").isnull().all()


def test_a_forecast_of_the_truth_is_perfect(stores: tuple[Path, Path]) -> None:
    data = pear.open_analysis(stores[0]).load()
    parts = [data.isel(time=slice(k, k + 4)).assign_coords(time=np.arange(4) * DAY) for k in (0, 9)]
    parts = [
        part.drop_vars("complete").rename(time="prediction_timedelta").expand_dims(time=[TEST[k]])
        for part, k in zip(parts, (0, 9), strict=True)
    ]
    found = evaluate(parts, data, stores[1], baselines=False)
    z500 = found["geopotential"].sel(level=500, region="global", forecaster="forecast")
    np.testing.assert_allclose(z500.sel(metric="rmse"), 0)
    np.testing.assert_allclose(z500.sel(metric="acc"), 1)


def test_latlon_analyses_are_regridded(forecast: xr.Dataset, stores: tuple[Path, Path]) -> None:
    # One component of a wind cannot be regridded; the world of these tests has no other.
    grid = pear.to_latlon(pear.open_analysis(stores[0]).drop_vars("u_component_of_wind"), step=10)
    forecast = forecast.drop_vars("u_component_of_wind")
    found = evaluate(forecast, grid, stores[1], baselines=False)
    assert np.isfinite(found["geopotential"].sel(metric="rmse")).all()


class Shift:
    """Perturbation that shifts the members evenly."""

    def perturb(self, members: State, step: int = 0) -> State:
        surface = members.surface.clone()
        for number in range(members.batch):
            surface[number] += number - (members.batch - 1) / 2
        return State(surface, members.upper, members.valid_time, members.layout)


def test_ensembles_have_probabilistic_scores(stores: tuple[Path, Path]) -> None:
    data = pear.open_analysis(stores[0])
    ensemble = Ensemble([MemberGroup(Fading(), 5, Shift())])
    members = ensemble.forecast(data, init=TEST[:3], lead="2d")
    assert members["2m_temperature"].sizes["number"] == 5
    found = evaluate(members, data, stores[1], metrics=("rmse", "crps", "spread", "rmse_of_mean"))
    t2m = found["2m_temperature"].isel(forecaster=0, region=0)
    np.testing.assert_allclose(t2m.sel(metric="rmse"), t2m.sel(metric="rmse_of_mean"))
    assert (t2m.sel(metric="crps") < t2m.sel(metric="rmse")).all()
    assert (t2m.sel(metric="spread") > 0).all()
    assert found["2m_temperature"].sel(metric="crps", forecaster="persistence").isnull().all()


def test_refusals(forecast: xr.Dataset, stores: tuple[Path, Path]) -> None:
    analysis, climatology = stores
    data = pear.open_analysis(analysis)
    with pytest.raises(InputError, match="unknown metric 'rms'; did you mean rmse"):
        evaluate(forecast, data, climatology, metrics=["rms"])
    with pytest.raises(InputError, match="unknown region 'europ'"):
        evaluate(forecast, data, climatology, regions=["europ"])
    with pytest.raises(InputError, match="is not a forecast"):
        evaluate(data, data, climatology)
    with pytest.raises(InputError, match="no state at"):
        evaluate(forecast, data.isel(time=slice(0, 3)), climatology)
    shorter = forecast.isel(prediction_timedelta=slice(0, 3))
    with pytest.raises(InputError, match="differ in lead times"):
        evaluate({"a": forecast, "b": shorter}, data, climatology)
    with pytest.raises(InputError, match="no climatology at"):
        evaluate(forecast, data, analysis.parent / "none.zarr")
    with pytest.raises(InputError, match="no lead time after 0"):
        evaluate(forecast.isel(prediction_timedelta=[0]), data, climatology)
    with pytest.raises(InputError, match="name of a baseline"):
        evaluate({"persistence": forecast}, data, climatology)
    with pytest.raises(InputError, match="there are no forecasts"):
        evaluate([], data, climatology)
    coarse = Climatology.open(climatology, nside=2)
    with pytest.raises(InputError, match=f"lacks nside {NSIDE}"):
        evaluate(forecast, data, coarse)
    assert forecast.sizes["cell"] == CELLS


def test_another_climate_is_refused_and_where_allowed_the_scores_say_so(
    stores: tuple[Path, Path], forecast: xr.Dataset
) -> None:
    analysis, climatology = pear.open_analysis(stores[0]), stores[1]
    foreign = forecast.assign_attrs(simulated="true")
    with pytest.raises(InputError, match=r"the forecast is simulated.*allow_other_climate=True"):
        evaluate(foreign, analysis, climatology, metrics=["rmse"])
    found = evaluate(foreign, analysis, climatology, metrics=["rmse"], allow_other_climate=True)
    assert "the forecast is simulated" in found.attrs["other_climate"]
    noted = forecast.assign_attrs(other_climate="the mean is off")
    with pytest.raises(InputError, match="the mean is off"):
        evaluate(noted, analysis, climatology, metrics=["rmse"])
    high = analysis.assign(geopotential=analysis["geopotential"] + 20_000)
    with pytest.raises(InputError, match=r"global mean of geopotential.* of climatology climato"):
        evaluate(forecast, high, climatology, metrics=["rmse"])
    assert "other_climate" not in evaluate(forecast, analysis, climatology).attrs
