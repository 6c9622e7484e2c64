"""Choices of a forecast: channels and leads, precision, runs side by side."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.rollout import PearForecaster
from pear.store.reader import open_store
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.forecasting import forecast
from pipelines.forecasting.forecast import run_forecast, run_forecasts
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from tests.fixtures.engine import DAY, START, die_after, make_world, perform, read_fields, submit


def test_the_same_wish_is_the_same_options_however_it_is_written() -> None:
    plain = ForecastOptions.of({"members": 1, "variables": None, "seed": 0})
    assert plain.to_dict() == {}
    one = ForecastOptions.of({"variables": ["t2m", "z"], "levels": [500], "leads": [48, 24]})
    other = ForecastOptions.of(
        {"variables": ["geopotential", "2t"], "levels": (500,), "leads": [24, 48]}
    )
    assert one == other
    assert ForecastOptions.of(one.to_dict()) == one


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"variable": ["t2m"]}, "did you mean variables"),
        ({"variables": ["rain"]}, "unknown variable 'rain'"),
        ({"variables": []}, "variables is empty"),
        ({"precision": "float8"}, "unknown"),
        ({"members": 0}, "no ensemble"),
        ({"members": 2.5}, "no whole number"),
        ({"members": 1000}, "no ensemble"),
        ({"members": 4, "source": "orbit"}, "eight members"),
        ({"members": 4, "quantiles": [100]}, "1…99"),
        ({"quantiles": [10]}, "no quantiles"),
        ({"exceedance": ["t2m>300"]}, "no probabilities"),
        ({"members": 4, "exceedance": ["t2m<300"]}, "is no threshold"),
        ({"members": 4, "exceedance": ["z>300"]}, "names no level"),
        ({"members": 4, "exceedance": ["rain>1"]}, "unknown variable"),
        ({"members": 4, "amplitude": -1.0}, "outside"),
        ({"members": 4, "amplitude": {"rain": 0.1}}, "unknown variable"),
        ({"members": 4, "amplitude": {}}, "outside"),
        ({"members": 4, "amplitude": "much"}, "no number"),
        ({"members": 4, "length_km": 1}, "outside"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ForecastOptions.of(given)


def test_what_the_model_has_not_is_refused_before_it_is_queued(
    data: DataFolder, catalog: Catalog
) -> None:
    for options, words in (
        ({"variables": ["temperature"]}, "the model has no temperature"),
        ({"levels": [300]}, "no level 300"),
        ({"leads": [36]}, "lead 36 h is none"),
        ({"leads": [96]}, "lead 96 h is none"),
        ({"members": 4, "exceedance": ["z300>1"]}, "does not forecast geopotential@300"),
        ({"members": 4, "amplitude": {"temperature": 1}}, "the model has no temperature"),
    ):
        with pytest.raises(InputError, match=words):
            submit(data, catalog, **options)
    assert catalog.runs.page().items == ()


def test_chosen_channels_and_leads_are_those_of_the_whole_forecast(
    data: DataFolder, catalog: Catalog
) -> None:
    whole = perform(data, catalog, submit(data, catalog))
    run = submit(data, catalog, variables=["z", "t2m"], levels=[500], leads=[24, 72])
    part = perform(data, catalog, run)
    assert set(part) == {"geopotential", "2m_temperature"}
    np.testing.assert_array_equal(part["2m_temperature"], whole["2m_temperature"][:, [1, 3]])
    np.testing.assert_array_equal(
        part["geopotential"][:, :, 0], whole["geopotential"][:, [1, 3], 0]
    )
    with open_store(data.forecast(run.id)) as store:
        assert store["level"].values.tolist() == [500]
        hours = store["prediction_timedelta"].values / np.timedelta64(1, "h")
        assert hours.tolist() == [24, 72]


def test_a_killed_run_that_keeps_a_part_goes_on_to_the_same_bits(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = perform(data, catalog, submit(data, catalog))
    run = submit(data, catalog, variables=["t2m"], leads=[72])
    with pytest.MonkeyPatch.context() as patch:
        die_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run_forecast(str(data.root), run.id, str(data.catalog))
    assert catalog.runs.get(run.id).progress.step == 2
    die_after(1, monkeypatch)  # one step is left: a second would be one too many
    part = perform(data, catalog, run)
    np.testing.assert_array_equal(part["2m_temperature"][0, 0], whole["2m_temperature"][0, 3])


def test_an_output_that_a_power_cut_took_is_computed_again(
    data: DataFolder, catalog: Catalog
) -> None:
    whole = perform(data, catalog, submit(data, catalog))
    run = submit(data, catalog, variables=["t2m"], leads=[24, 72])
    with pytest.MonkeyPatch.context() as patch:
        die_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run_forecast(str(data.root), run.id, str(data.catalog))
    final = data.forecast(run.id)
    shutil.rmtree(final.parent / f".{final.name}.steps" / "store" / "2m_temperature" / "c")
    part = perform(data, catalog, run)
    np.testing.assert_array_equal(part["2m_temperature"][0], whole["2m_temperature"][0, [1, 3]])


def test_bfloat16_is_near_and_its_state_is_not_rounded(data: DataFolder, catalog: Catalog) -> None:
    exact = perform(data, catalog, submit(data, catalog, lead=24))
    rough = perform(data, catalog, submit(data, catalog, lead=24, precision="bfloat16"))
    for name, spread in (("2m_temperature", 10.0), ("geopotential", 650.0)):
        np.testing.assert_array_equal(rough[name][0, 0], exact[name][0, 0])
        error = np.abs(rough[name][0, 1] - exact[name][0, 1]).mean() / spread
        assert 1e-6 < error < 0.03


def test_runs_side_by_side_are_each_what_they_are_alone(
    data: DataFolder, catalog: Catalog, tmp_path: Path
) -> None:
    other = make_world(tmp_path / "twin")
    with Catalog(other.catalog) as twin:
        refresh(other, twin)
        alone = [perform(other, twin, submit(other, twin, START + day * DAY)) for day in range(3)]
    runs = [submit(data, catalog, START + day * DAY) for day in range(3)]
    outcomes = run_forecasts(str(data.root), [run.id for run in runs], str(data.catalog))
    assert set(outcomes.values()) == {"succeeded"}
    for run, expected in zip(runs, alone, strict=True):
        for name, values in read_fields(data.forecast(run.id)).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-2)


def test_a_batch_that_does_not_fit_into_memory_is_done_in_smaller_pieces(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sizes = PearForecaster.step, []

    def advance(self: PearForecaster, state: Any) -> Any:
        sizes.append(state.batch)
        if state.batch > 2:
            raise torch.OutOfMemoryError("out of memory")
        return whole(self, state)

    expected = perform(data, catalog, submit(data, catalog, lead=24, members=5))
    monkeypatch.setattr(PearForecaster, "step", advance)
    again = submit(data, catalog, lead=24, members=5, keep_members=True)
    for name, values in perform(data, catalog, again).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-2)
    assert sizes == [5, 2, 2, 1]


def test_a_device_that_is_not_there_fails_the_run_in_words(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_DEVICE", "cuda:7")
    for cached in (forecast.device, forecast._forecaster):
        cached.cache_clear()
    run = submit(data, catalog)
    try:
        assert run_forecast(str(data.root), run.id, str(data.catalog)) == "failed"
        assert "there is no device cuda:7" in str(catalog.runs.get(run.id).reason)
    finally:
        forecast.device.cache_clear()


def test_what_happens_to_one_run_happens_to_no_other_beside_it(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [submit(data, catalog, START + day * DAY, lead=24 * (3 - day)) for day in range(3)]
    whole = ForecastWriter.write_step

    def write(self: ForecastWriter, index: int, surface: Any, upper: Any) -> None:
        whole(self, index, surface, upper)
        if index == 1 and runs[1].id in self.path.name:
            catalog.runs.cancel(runs[1].id)

    monkeypatch.setattr(ForecastWriter, "write_step", write)
    outcomes = run_forecasts(str(data.root), [run.id for run in runs], str(data.catalog))
    assert outcomes == {runs[0].id: "succeeded", runs[1].id: "cancelled", runs[2].id: "succeeded"}
