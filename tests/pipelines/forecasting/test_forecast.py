"""The worker's task: what a run holds, and how it ends when it is killed, cancelled or fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pear.rollout import PearForecaster
from pear.state import State
from pipelines.catalog import Catalog, Run
from pipelines.catalog.scan import refresh
from pipelines.forecasting import forecast
from pipelines.storage.atomic import try_lock
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from tests.fixtures.engine import (
    DAY,
    LAYOUT,
    START,
    fields,
    make_data_folder,
    normaliser,
    read_fields,
    tiny_model,
    write_model,
)
from tests.fixtures.engine import perform as compute
from tests.fixtures.engine import submit as queue


def submit(catalog: Catalog, init: np.datetime64 = START, lead: int = 96) -> Run:
    return catalog.runs.submit("tiny", init, lead, options={"analysis": "demo"})[0]


def perform(data: DataFolder, run: Run) -> str:
    return forecast.run_forecast(str(data.root), run.id, str(data.catalog))


def test_a_run_holds_the_states_of_the_model_bit_for_bit(
    data: DataFolder, catalog: Catalog
) -> None:
    run = submit(catalog)
    assert perform(data, run) == "succeeded"
    stored = read_fields(data.forecast(run.id))
    forecaster = forecast.load_forecaster(data, catalog.models.get())
    initial = State.from_store(data.analysis("demo"), START, LAYOUT)
    states = [initial, *forecaster.iterate(initial, 4)]
    for lead, state in enumerate(states):
        for name, level, values in state.fields():
            kept = stored[name][0, lead]
            if level is not None:
                kept = kept[sorted(LAYOUT.levels).index(level)]
            np.testing.assert_array_equal(kept, values[0].numpy())
    assert catalog.runs.get(run.id).progress.step == 4
    assert not list(data.scratch.glob("*.lock"))


def test_a_run_that_has_ended_is_not_touched_again(data: DataFolder, catalog: Catalog) -> None:
    run = submit(catalog)
    perform(data, run)
    before = catalog.runs.get(run.id)
    assert perform(data, run) == "succeeded"
    assert catalog.runs.get(run.id) == before


class KilledError(BaseException):
    """Stands for SIGKILL: nothing may catch it and tidy up."""


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Call ``act`` when the step of this lead has been written."""
    whole = ForecastWriter.write_step

    def write(self: ForecastWriter, index: int, surface: Any, upper: Any) -> None:
        whole(self, index, surface, upper)
        if index == step:
            act()

    monkeypatch.setattr(ForecastWriter, "write_step", write)


@pytest.mark.parametrize("step", [0, 1, 3, 4])
def test_a_killed_run_resumes_from_its_last_step_to_the_same_bits(
    data: DataFolder, catalog: Catalog, step: int
) -> None:
    def die() -> None:
        raise KilledError

    whole, broken = submit(catalog), submit(catalog, START + DAY)
    perform(data, whole)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(step, patch, die)
        with pytest.raises(KilledError):
            perform(data, broken)
    assert catalog.runs.get(broken.id).status == "running"
    assert not data.forecast(broken.id).exists()
    steps: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        for index in range(5):
            stop_at(index, patch, lambda index=index: steps.append(index))  # type: ignore[misc]
        assert perform(data, broken) == "succeeded"
    assert steps == list(range(step + 1, 5))
    stored = read_fields(data.forecast(broken.id))
    forecaster = forecast.load_forecaster(data, catalog.models.get())
    initial = State.from_store(data.analysis("demo"), START + DAY, LAYOUT)
    for lead, state in enumerate(forecaster.iterate(initial, 4), 1):
        np.testing.assert_array_equal(
            stored["2m_temperature"][0, lead], state.surface[0, 0].numpy()
        )


def test_a_run_killed_after_publishing_is_not_computed_again(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit(catalog)
    publish = ForecastWriter.publish

    def then_die(self: ForecastWriter) -> Path:
        publish(self)
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForecastWriter, "publish", then_die)
        with pytest.raises(KilledError):
            perform(data, run)
    stamp = data.forecast(run.id).stat().st_mtime_ns
    stop_at(1, monkeypatch, lambda: pytest.fail("computed again"))
    assert perform(data, run) == "succeeded"
    assert data.forecast(run.id).stat().st_mtime_ns == stamp


def test_a_damaged_step_is_computed_again(data: DataFolder, catalog: Catalog) -> None:
    def die() -> None:
        raise KilledError

    run = submit(catalog)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(2, patch, die)
        with pytest.raises(KilledError):
            perform(data, run)
    (shard,) = (data.root / "forecasts").glob(".*.steps/store/geopotential/c/0/2/0/0")
    kept = bytearray(shard.read_bytes())
    kept[-1000] ^= 1
    shard.write_bytes(kept)
    assert perform(data, run) == "succeeded"
    stored = read_fields(data.forecast(run.id))
    assert all(np.isfinite(values).all() for values in stored.values())


def test_a_cancelled_run_stops_before_its_next_step_and_publishes_nothing(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit(catalog)
    stop_at(2, monkeypatch, lambda: catalog.runs.cancel(run.id) and None)
    stop_at(3, monkeypatch, lambda: pytest.fail("went on after it was cancelled"))
    assert perform(data, run) == "cancelled"
    assert not data.forecast(run.id).exists()
    assert [event.message for event in catalog.runs.events(run.id)][-2:] == [
        "cancellation requested",
        "cancelled",
    ]


@pytest.mark.parametrize(("scale", "word"), [(float("nan"), "finite"), (60.0, "unstable")])
def test_unphysical_values_fail_the_run_naming_step_and_variable(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, scale: float, word: str
) -> None:
    model = PearForecaster.step

    def step(self: PearForecaster, state: Any) -> Any:
        following = model(self, state)
        if (state.valid_time[0] - START) // DAY < 1:
            return following
        return following.map(lambda values: values * scale)

    monkeypatch.setattr(PearForecaster, "step", step)
    run = submit(catalog)
    assert perform(data, run) == "failed"
    failed = catalog.runs.get(run.id)
    assert failed.reason is not None
    assert "step 2 of 4" in failed.reason
    assert "2m_temperature" in failed.reason
    assert word in failed.reason
    assert failed.error_kind == "InputError"
    assert failed.progress.step == 1
    assert not data.forecast(run.id).exists()


def test_a_temporary_error_requeues_the_run_and_logs_its_traceback(
    data: DataFolder, catalog: Catalog
) -> None:
    def no_space() -> None:
        raise OSError(28, "No space left on device")

    run = submit(catalog)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(2, patch, no_space)
        assert perform(data, run) == "queued"
    back = catalog.runs.get(run.id)
    assert (back.status, back.progress.step) == ("queued", 1)
    noted = [event for event in catalog.runs.events(run.id) if event.level == "error"]
    assert "No space left" in noted[0].message
    assert "no_space" in noted[0].details["traceback"]
    assert perform(data, run) == "succeeded"


def test_a_run_held_by_another_live_worker_is_skipped(data: DataFolder, catalog: Catalog) -> None:
    run = submit(catalog)
    with try_lock(data.scratch / f"{run.id}.lock") as held:
        assert held
        assert perform(data, run) == "elsewhere"
    assert catalog.runs.get(run.id).status == "queued"
    assert perform(data, run) == "succeeded"


def test_a_worker_whose_lease_was_taken_over_changes_nothing(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit(catalog)
    stop_at(2, monkeypatch, lambda: catalog.runs.claim(run.id, "another host") and None)
    assert perform(data, run) == "lost"
    assert (catalog.runs.get(run.id).status, catalog.runs.get(run.id).owner) == (
        "running",
        "another host",
    )
    assert not data.forecast(run.id).exists()


def test_a_checkpoint_with_another_hash_is_refused(data: DataFolder, catalog: Catalog) -> None:
    run = submit(catalog)
    other = write_model(data, tiny_model(seed=2))
    mine = data.model(run.model)
    for name in ("model.safetensors", "checkpoint.json"):
        (mine / name).write_bytes((data.model(other) / name).read_bytes())
    forecast._load.cache_clear()
    assert perform(data, run) == "failed"
    assert "the catalog lists" in str(catalog.runs.get(run.id).reason)


def test_a_model_is_loaded_once_and_kept(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = forecast.load_forecaster(data, catalog.models.get())
    monkeypatch.setattr(forecast.checkpoint, "load", lambda _: pytest.fail("loaded again"))
    assert forecast.load_forecaster(data, catalog.models.get()) is first


def test_the_tiny_model_changes_its_input() -> None:
    surface, upper = (torch.from_numpy(values) for values in fields(1))
    with torch.inference_mode():
        new_surface, _ = tiny_model()(*normaliser()(surface, upper))
    change = new_surface - normaliser()(surface, upper)[0]
    assert 0.1 < float(change.std()) < 3


def test_bfloat16_is_close_and_its_initial_state_is_exact(
    data: DataFolder, catalog: Catalog
) -> None:
    exact = compute(data, catalog, queue(data, catalog, lead=24))
    rough = compute(data, catalog, queue(data, catalog, lead=24, precision="bfloat16"))
    for name, spread in (("2m_temperature", 10.0), ("geopotential", 650.0)):
        np.testing.assert_array_equal(rough[name][0, 0], exact[name][0, 0])
        error = np.abs(rough[name][0, 1] - exact[name][0, 1]).mean() / spread
        assert 1e-6 < error < 0.03


def test_runs_side_by_side_equal_runs_alone(
    data: DataFolder, catalog: Catalog, tmp_path: Path
) -> None:
    other = make_data_folder(tmp_path / "twin")
    with Catalog(other.catalog) as twin:
        refresh(other, twin)
        alone = [compute(other, twin, queue(other, twin, START + day * DAY)) for day in range(3)]
    runs = [queue(data, catalog, START + day * DAY) for day in range(3)]
    outcomes = forecast.run_forecasts(str(data.root), [run.id for run in runs], str(data.catalog))
    assert set(outcomes.values()) == {"succeeded"}
    for run, expected in zip(runs, alone, strict=True):
        for name, values in read_fields(data.forecast(run.id)).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-2)


def test_a_missing_device_fails_the_run_with_its_name(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_DEVICE", "cuda:7")
    for cached in (forecast.choose_device, forecast._forecaster):
        cached.cache_clear()
    run = queue(data, catalog)
    try:
        assert forecast.run_forecast(str(data.root), run.id, str(data.catalog)) == "failed"
        assert "there is no device cuda:7" in str(catalog.runs.get(run.id).reason)
    finally:
        forecast.choose_device.cache_clear()


def test_a_cancelled_run_does_not_affect_others_beside_it(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [queue(data, catalog, START + day * DAY, lead=24 * (3 - day)) for day in range(3)]
    whole = ForecastWriter.write_step

    def write(self: ForecastWriter, index: int, surface: Any, upper: Any) -> None:
        whole(self, index, surface, upper)
        if index == 1 and runs[1].id in self.path.name:
            catalog.runs.cancel(runs[1].id)

    monkeypatch.setattr(ForecastWriter, "write_step", write)
    outcomes = forecast.run_forecasts(str(data.root), [run.id for run in runs], str(data.catalog))
    assert outcomes == {runs[0].id: "succeeded", runs[1].id: "cancelled", runs[2].id: "succeeded"}
