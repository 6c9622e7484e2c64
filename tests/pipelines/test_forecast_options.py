"""Choices of a forecast: channels and leads, precision, ensembles, runs side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_world import DAY, LAYOUT, START, make_world, read_fields, tiny_model, write_model

from pear.errors import InputError
from pear.rollout import PearForecaster
from pear.sphere.symmetry import C4H
from pipelines import forecast
from pipelines.catalog import Catalog, Run
from pipelines.datafolder import DataFolder
from pipelines.doctor import examine
from pipelines.forecast import forecaster_of, run_forecast, run_forecasts
from pipelines.options import Options
from pipelines.register import refresh
from pipelines.requests import ForecastRequest
from pipelines.states import read_state
from pipelines.store import ForecastWriter, open_store


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return make_world(tmp_path / "data")


@pytest.fixture
def catalog(data: DataFolder) -> Iterator[Catalog]:
    with Catalog(data.catalog) as made:
        refresh(data, made)
        yield made


def submit(
    data: DataFolder, catalog: Catalog, init: np.datetime64 = START, lead: int = 72, **options: Any
) -> Run:
    request = ForecastRequest.check(data, catalog, init, lead, None, None, options)
    return catalog.submit_run(request.model.id, init, lead, options=request.options)[0]


def perform(data: DataFolder, catalog: Catalog, run: Run) -> dict[str, np.ndarray]:
    outcome = run_forecast(str(data.root), run.id, str(data.catalog))
    assert outcome == "succeeded", catalog.run(run.id).reason
    return read_fields(data.forecast(run.id))


def die_after(step: int, patch: pytest.MonkeyPatch) -> None:
    whole = PearForecaster.advance
    calls = iter(range(10_000))

    def advance(self: PearForecaster, state: Any) -> Any:
        if next(calls) == step:
            raise KeyboardInterrupt
        return whole(self, state)

    patch.setattr(PearForecaster, "advance", advance)


def test_the_same_wish_is_the_same_options_however_it_is_written() -> None:
    plain = Options.of({"members": 1, "variables": None, "seed": 0})
    assert plain.to_dict() == {}
    one = Options.of({"variables": ["t2m", "z"], "levels": [500], "leads": [48, 24]})
    other = Options.of({"variables": ["geopotential", "2t"], "levels": (500,), "leads": [24, 48]})
    assert one == other
    assert Options.of(one.to_dict()) == one


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
        Options.of(given)


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
    assert catalog.runs().items == ()


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
    assert catalog.run(run.id).progress.step == 2
    die_after(1, monkeypatch)  # one step is left: a second would be one too many
    part = perform(data, catalog, run)
    np.testing.assert_array_equal(part["2m_temperature"][0, 0], whole["2m_temperature"][0, 3])


def test_bfloat16_is_near_and_its_state_is_not_rounded(data: DataFolder, catalog: Catalog) -> None:
    exact = perform(data, catalog, submit(data, catalog, lead=24))
    rough = perform(data, catalog, submit(data, catalog, lead=24, precision="bfloat16"))
    for name, spread in (("2m_temperature", 10.0), ("geopotential", 650.0)):
        np.testing.assert_array_equal(rough[name][0, 0], exact[name][0, 0])
        error = np.abs(rough[name][0, 1] - exact[name][0, 1]).mean() / spread
        assert 1e-6 < error < 0.03


def test_an_ensemble_is_its_members_and_its_control_is_the_forecast(
    data: DataFolder, catalog: Catalog
) -> None:
    single = perform(data, catalog, submit(data, catalog))
    run = submit(data, catalog, members=5, seed=3, quantiles=[10, 50], keep_members=True)
    mean = perform(data, catalog, run)
    members = [read_fields(data.forecast(f"{run.id}.m{index:02d}")) for index in range(5)]
    spread = read_fields(data.forecast(f"{run.id}.spread"))
    median = read_fields(data.forecast(f"{run.id}.q50"))
    for name, values in mean.items():
        stack = np.stack([member[name] for member in members]).astype(np.float64)
        scale = stack.std()
        np.testing.assert_allclose(members[0][name], single[name], atol=1e-4 * scale)
        np.testing.assert_allclose(values, stack.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(spread[name], stack.std(axis=0, ddof=1), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(median[name], np.median(stack, axis=0), rtol=1e-6, atol=1e-5)
        assert (spread[name] > 0).mean() > 0.99
    # The noise has the amplitude that was asked for: 0.1 of the change over one step.
    noise = members[1]["2m_temperature"][0, 0] - single["2m_temperature"][0, 0]
    assert 0.3 < noise.std() / (0.1 * 10.0) < 2


def test_how_likely_a_threshold_is_exceeded_is_the_share_of_the_members(
    data: DataFolder, catalog: Catalog
) -> None:
    run = submit(
        data, catalog, members=6, seed=2, keep_members=True, variables=["t2m"],
        exceedance=["z500>55100", "2t>286"],
    )  # fmt: skip
    assert run.options["exceedance"] == ["2m_temperature>286", "geopotential@500>55100"]
    perform(data, catalog, run)
    members = [read_fields(data.forecast(f"{run.id}.m{k:02d}"))["2m_temperature"] for k in range(6)]
    stack = np.stack(members)
    with open_store(data.forecast(f"{run.id}.p00")) as store:
        found = store["2m_temperature"]
        np.testing.assert_allclose(found.values, (stack > 286).mean(axis=0), atol=1e-6)
        assert found.attrs["units"] == "1"
        assert found.attrs["long_name"] == "Probability of air temperature at 2 m above 286 K"
        assert "standard_name" not in found.attrs
    assert 0.2 < float(found.mean()) < 0.8
    above = read_fields(data.forecast(f"{run.id}.p01"))  # of a field that is not kept itself
    assert above["geopotential"].shape == (1, 4, 1, 768)
    assert 0.2 < above["geopotential"].mean() < 0.8
    assert not examine(data.forecast(f"{run.id}.p00")).findings


def test_noise_of_chosen_variables_leaves_the_others_alone(
    data: DataFolder, catalog: Catalog
) -> None:
    options = {"members": 3, "amplitude": {"t2m": 0.2}, "leads": [0]}
    run = submit(data, catalog, lead=24, **options)
    assert run.options["amplitude"] == {"2m_temperature": 0.2}
    perform(data, catalog, run)
    spread = read_fields(data.forecast(f"{run.id}.spread"))
    assert 0.5 < spread["2m_temperature"].mean() / (0.2 * 10.0) < 1.5
    assert spread["geopotential"].max() == spread["10m_v_component_of_wind"].max() == 0


def test_a_killed_ensemble_goes_on_to_the_same_bits(
    data: DataFolder, catalog: Catalog, tmp_path: Path
) -> None:
    options = {"members": 3, "seed": 1}
    other = make_world(tmp_path / "twin")
    with Catalog(other.catalog) as twin:
        refresh(other, twin)
        expected = perform(other, twin, submit(other, twin, **options))
    run = submit(data, catalog, **options)
    with pytest.MonkeyPatch.context() as patch:
        die_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            run_forecast(str(data.root), run.id, str(data.catalog))
    found = perform(data, catalog, run)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_the_orbit_spreads_by_what_the_network_lacks_of_symmetry(
    data: DataFolder, catalog: Catalog
) -> None:
    run = submit(data, catalog, lead=24, source="orbit")
    perform(data, catalog, run)
    spread = read_fields(data.forecast(f"{run.id}.spread"))["2m_temperature"][0, 1]
    # Rotations are kept exactly by this network, the mirror is not: two values, four of each.
    forecaster = forecaster_of(data, catalog.model())
    initial = read_state(data.analysis("demo"), START, LAYOUT)
    plain = next(iter(forecaster.forecast(initial, 1))).surface[0, 0]
    mirrored = next(
        iter(PearForecaster(forecaster.checkpoint, group=(C4H[4],)).forecast(initial, 1))
    ).surface[0, 0]
    expected = (plain - mirrored).abs() / 2 * np.sqrt(8 / 7)
    np.testing.assert_allclose(spread, expected.numpy(), atol=1e-3)
    assert spread.mean() > 0.1


def test_a_symmetrised_forecast_keeps_every_symmetry(data: DataFolder, catalog: Catalog) -> None:
    checkpoint = forecaster_of(data, catalog.model()).checkpoint
    initial = read_state(data.analysis("demo"), START, LAYOUT)
    averaged = PearForecaster(checkpoint, group=C4H)
    expected = averaged.advance(initial)
    moved = PearForecaster(checkpoint, group=[element * C4H[5] for element in C4H])
    for one, other in (
        (expected.surface, moved.advance(initial).surface),
        (expected.upper, moved.advance(initial).upper),
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-2)
    run = submit(data, catalog, lead=24, symmetrise=True)
    stored = perform(data, catalog, run)["2m_temperature"][0, 1]
    np.testing.assert_array_equal(stored, expected.surface[0, 0].numpy())


def test_several_checkpoints_are_members_of_one_ensemble(
    data: DataFolder, catalog: Catalog
) -> None:
    first = catalog.model()
    other = write_model(data, tiny_model(seed=9))
    refresh(data, catalog)
    request = ForecastRequest.check(
        data, catalog, START, 24, first.id, None, {"models": [other], "keep_members": True}
    )
    run, _ = catalog.submit_run(first.id, START, 24, options=request.options)
    mean = perform(data, catalog, run)["2m_temperature"]
    members = [read_fields(data.forecast(f"{run.id}.m{k:02d}"))["2m_temperature"] for k in range(2)]
    assert np.abs(members[0] - members[1])[0, 1].mean() > 1
    np.testing.assert_allclose(mean, (members[0] + members[1]) / 2, rtol=1e-6)


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
    whole, sizes = PearForecaster.advance, []

    def advance(self: PearForecaster, state: Any) -> Any:
        sizes.append(state.batch)
        if state.batch > 2:
            raise torch.OutOfMemoryError("out of memory")
        return whole(self, state)

    expected = perform(data, catalog, submit(data, catalog, lead=24, members=5))
    monkeypatch.setattr(PearForecaster, "advance", advance)
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
        assert "there is no device cuda:7" in str(catalog.run(run.id).reason)
    finally:
        forecast.device.cache_clear()


def test_what_happens_to_one_run_happens_to_no_other_beside_it(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [submit(data, catalog, START + day * DAY, lead=24 * (3 - day)) for day in range(3)]
    whole = ForecastWriter.write_step

    def write(self: ForecastWriter, index: int, surface: Any, upper: Any) -> None:
        whole(self, index, surface, upper)
        if index == 1 and runs[1].id in self.final.name:
            catalog.cancel(runs[1].id)

    monkeypatch.setattr(ForecastWriter, "write_step", write)
    outcomes = run_forecasts(str(data.root), [run.id for run in runs], str(data.catalog))
    assert outcomes == {runs[0].id: "succeeded", runs[1].id: "cancelled", runs[2].id: "succeeded"}
