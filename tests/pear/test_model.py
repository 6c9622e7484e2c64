"""Forecasts of a model as Datasets equal what the engine writes, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import pear
from pear.errors import InputError
from pear.model import Model
from pear.models import checkpoint
from pear.models.pear import Pear
from pear.rollout import ClimatologyForecaster, Persistence
from pear.state import State
from pear.store.climatology import Climatology
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import DAY, LAYOUT, NSIDE, START, make_data_folder, perform, submit

RUN_ATTRIBUTES = ("run_id", "initial_state", "initial_state_source", "options", "pear_digest")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    return make_data_folder(tmp_path_factory.mktemp("api"), days=5)


@pytest.fixture(scope="module")
def model(data: DataFolder) -> Model:
    (folder,) = data.model("x").parent.iterdir()
    return pear.load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def analysis(data: DataFolder) -> xr.Dataset:
    return pear.open_analysis(data.analysis("demo"))


def test_forecast_is_identical_to_the_engines_store(
    data: DataFolder, model: Model, analysis: xr.Dataset
) -> None:
    with Catalog(data.catalog_url) as catalog:
        _register(data, catalog)
        run = submit(data, catalog, START + DAY, 72)
        perform(data, catalog, run)
    stored = pear.open_forecast(data.forecast(run.id)).load()
    ours = model.forecast(analysis, init=START + DAY, lead="72h")
    assert stored.attrs.pop("initial_state_source") == analysis.attrs["source"]
    for name in RUN_ATTRIBUTES:
        stored.attrs.pop(name, None)
    xr.testing.assert_identical(ours, stored)
    for name in ours.variables:
        assert ours[name].dtype == stored[name].dtype


def test_members_are_identical_to_the_engines(
    data: DataFolder, model: Model, analysis: xr.Dataset
) -> None:
    with Catalog(data.catalog_url) as catalog:
        _register(data, catalog)
        run = submit(data, catalog, START, 48, members=3, keep_members=True)
        perform(data, catalog, run)
    ours = model.forecast(analysis, init=START, lead="2d", members=3)
    assert ours["geopotential"].dims == (
        "time",
        "prediction_timedelta",
        "number",
        "level",
        "cell",
    )
    for member in range(3):
        stored = pear.open_forecast(data.forecast(f"{run.id}.m{member:02d}"))
        for name in LAYOUT.names:
            assert np.array_equal(ours[name].isel(number=member).values, stored[name].values)


def _register(data: DataFolder, catalog: Catalog) -> None:
    from pipelines.catalog.scan import refresh

    refresh(data, catalog)


def test_several_init_times_are_those_of_single_forecasts(
    model: Model, analysis: xr.Dataset
) -> None:
    many = model.forecast(analysis, init=[START, START + DAY], lead="2d", variables=["z"])
    assert list(many.data_vars) == ["geopotential"]
    for row, init in enumerate((START, START + DAY)):
        one = model.forecast(analysis, init=init, lead="2d", variables=["geopotential"])
        xr.testing.assert_identical(many.isel(time=[row]), one)


def test_a_state_and_a_single_time_need_no_init(model: Model, analysis: xr.Dataset) -> None:
    state = analysis.pear.to_state(START, LAYOUT)
    from_state = model.forecast(state, lead="1d")
    from_one_time = model.forecast(analysis.isel(time=[0]), lead="1d")
    xr.testing.assert_identical(from_state, from_one_time)
    with pytest.raises(InputError, match="the state is valid at 2001-03-01"):
        model.forecast(state, init=START + DAY, lead="1d")


def test_the_first_lead_is_the_analysis(model: Model, analysis: xr.Dataset) -> None:
    forecast = model.forecast(analysis, init=START, lead="1d")
    for name in LAYOUT.names:
        first = forecast[name].isel(prediction_timedelta=0).values
        assert np.array_equal(first, analysis[name].sel(time=[START]).values)


def test_iterate_and_step_stream_states(model: Model, analysis: xr.Dataset) -> None:
    initial = analysis.pear.to_state(START, LAYOUT)
    states = list(model.iterate(initial, 2))
    assert [str(s.valid_time[0])[:10] for s in states] == ["2001-03-02", "2001-03-03"]
    assert torch.equal(model.step(model.prepare(initial)).surface, states[0].surface)


def test_progress_is_reported(
    model: Model, analysis: xr.Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    notes: list[str] = []
    model.forecast(
        analysis, init=START, lead="2d", progress=lambda advance=1, note="": notes.append(note)
    )
    assert len(notes) == 2
    assert notes[-1].endswith("step 2 of 2")
    model.forecast(analysis, init=START, lead="2d", progress=True)
    assert "100%" in capsys.readouterr().err


def test_baselines_forecast_datasets(analysis: xr.Dataset) -> None:
    held = Persistence(LAYOUT, NSIDE).forecast(analysis, init=START, lead="2d")
    for step in range(3):
        assert np.array_equal(
            held["geopotential"].isel(prediction_timedelta=step),
            held["geopotential"].isel(prediction_timedelta=0),
        )
    surface, upper = State.from_xarray(analysis, START, LAYOUT).to_arrays()
    usual = Climatology("test", "daily", LAYOUT, NSIDE, (0,), ("", ""), lambda t: (surface, upper))
    expected = ClimatologyForecaster(usual).forecast(analysis, init=START, lead="1d")
    assert np.array_equal(
        expected["2m_temperature"].isel(time=0, prediction_timedelta=1), surface[0, 0]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lead": "30h"}, "lead time 30 h is not a multiple of the 24 h model step"),
        ({"lead": "10x"}, "invalid duration '10x'"),
        ({"lead": np.timedelta64(-1, "D")}, "not positive"),
        ({"init": "2001-04-01"}, r"no state at 2001-04-01.*nearest is 2001-03-05"),
        ({"init": "yesterday"}, "invalid init time"),
        ({"init": None}, r"the analyses have 5 times; give an init time from 2001-03-01"),
        ({"init": ["2001-03-02", "2001-03-01"]}, "init times must be strictly increasing"),
        ({"variables": ["q"]}, "the model does not forecast specific_humidity"),
        ({"variables": []}, "variables is empty"),
        ({"members": 0}, "at least 1 member"),
        ({"perturbation": object()}, "a perturbation needs an ensemble"),
    ],
)
def test_bad_arguments(
    model: Model, analysis: xr.Dataset, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        model.forecast(analysis, **{"init": START, "lead": "1d", **arguments})  # type: ignore[arg-type]


def test_bad_analyses(model: Model, analysis: xr.Dataset) -> None:
    with pytest.raises(InputError, match="lacks 10m_v_component_of_wind"):
        model.forecast(analysis.drop_vars("10m_v_component_of_wind"), init=START, lead="1d")
    with pytest.raises(InputError, match="lacks the levels 500 hPa"):
        model.forecast(analysis.sel(level=[850]), init=START, lead="1d")
    broken = analysis.load().copy(deep=True)
    broken["geopotential"][0, 0, :3] = np.nan
    with pytest.raises(InputError, match=r"geopotential at 500 hPa has 3 values .* 2001-03-01"):
        model.forecast(broken, init=START, lead="1d")
    coarse = analysis.isel(cell=slice(0, 12)).assign_coords(cell=np.arange(12))
    with pytest.raises(InputError, match="nside 1, coarser than the requested nside 8"):
        model.forecast(coarse, init=START, lead="1d")
    forecast = model.forecast(analysis, init=START, lead="1d")
    with pytest.raises(InputError, match="holds forecasts, not analyses"):
        model.forecast(forecast, init=START, lead="1d")
    with pytest.raises(InputError, match="no variable of PEAR"):
        model.forecast(xr.Dataset({"a": ("x", np.zeros(3))}), init=START, lead="1d")


def test_models_are_loaded_from_where_they_are(data: DataFolder, tmp_path: Path) -> None:
    (folder,) = data.model("x").parent.iterdir()
    model = pear.load_model(str(folder), device="cpu", symmetrise=True)
    assert model.id in repr(model)
    assert model.provenance == {"name": "tiny"}
    assert model.config.nside == NSIDE
    assert set(model.equivariance_error()) == {"R", "M", "RM"}
    with pytest.raises(InputError, match="no model at"):
        pear.load_model(tmp_path / "none")
    with pytest.raises(InputError, match="unknown dtype 'float16'"):
        pear.load_model(folder, dtype="float16")  # type: ignore[arg-type]
    pickled = tmp_path / "evil.pt"
    torch.save({"model": Pear}, pickled)
    with pytest.raises(InputError, match=r"evil\.pt"):
        pear.load_model(pickled)


def test_compile_keeps_the_numbers(data: DataFolder) -> None:
    (folder,) = data.model("x").parent.iterdir()
    network = checkpoint.load(folder).model
    fast = pear.compile(network)
    assert type(fast).__name__
    generator = torch.Generator().manual_seed(0)
    cells = 12 * NSIDE**2
    surface = torch.randn(1, 2, cells, generator=generator)
    upper = torch.randn(1, 1, 2, cells, generator=generator)
    with torch.inference_mode():
        for got, want in zip(fast(surface, upper), network(surface, upper), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_a_model_is_not_averaged_over_a_mirror_that_it_never_learnt() -> None:
    with pytest.raises(InputError, match=r"does not keep the mirror .*measured error [0-9.]+ of a"):
        pear.load_model("shipped", device="cpu", symmetrise=True)
