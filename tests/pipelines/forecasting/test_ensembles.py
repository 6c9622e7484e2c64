"""Ensembles: what their members are, what is kept of them, and how they go on after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pear.errors import InputError
from pear.rollout import PearForecaster
from pear.sphere.symmetry import C4H
from pear.state import State
from pear.store.reader import open_store
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.forecasting.forecast import forecaster_of, run_forecast
from pipelines.forecasting.request import ForecastRequest
from pipelines.storage.check import examine
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import (
    LAYOUT,
    START,
    die_after,
    make_world,
    perform,
    read_fields,
    submit,
    tiny_model,
    write_model,
)


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
        data,
        catalog,
        members=6,
        seed=2,
        keep_members=True,
        variables=["t2m"],
        exceedance=["z500>55100", "2t>286"],
    )
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


def test_members_perturbed_at_every_step_spread_further_around_the_same_control(
    data: DataFolder, catalog: Catalog
) -> None:
    spread, control = {}, {}
    for anew in (False, True):
        wish = {"members": 5, "seed": 3, "keep_members": True, "perturb_steps": anew}
        run = submit(data, catalog, **wish)
        perform(data, catalog, run)
        spread[anew] = read_fields(data.forecast(f"{run.id}.spread"))["2m_temperature"][0]
        control[anew] = read_fields(data.forecast(f"{run.id}.m00"))["2m_temperature"][0]
    np.testing.assert_array_equal(control[True], control[False])
    np.testing.assert_array_equal(spread[True][:2], spread[False][:2])  # noise enters behind step 1
    assert (spread[True][2:].mean(axis=1) > 1.05 * spread[False][2:].mean(axis=1)).all()
    with pytest.raises(InputError, match="only members can be perturbed"):
        submit(data, catalog, perturb_steps=True)


@pytest.mark.parametrize("perturb_steps", [False, True])
def test_a_killed_ensemble_goes_on_to_the_same_bits(
    data: DataFolder, catalog: Catalog, tmp_path: Path, perturb_steps: bool
) -> None:
    options = {"members": 3, "seed": 1, "perturb_steps": perturb_steps}
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
    forecaster = forecaster_of(data, catalog.models.get())
    initial = State.from_store(data.analysis("demo"), START, LAYOUT)
    plain = next(iter(forecaster.iterate(initial, 1))).surface[0, 0]
    mirrored = next(
        iter(PearForecaster(forecaster.checkpoint, group=(C4H[4],)).iterate(initial, 1))
    ).surface[0, 0]
    expected = (plain - mirrored).abs() / 2 * np.sqrt(8 / 7)
    np.testing.assert_allclose(spread, expected.numpy(), atol=1e-3)
    assert spread.mean() > 0.1


def test_a_symmetrised_forecast_keeps_every_symmetry(data: DataFolder, catalog: Catalog) -> None:
    checkpoint = forecaster_of(data, catalog.models.get()).checkpoint
    initial = State.from_store(data.analysis("demo"), START, LAYOUT)
    averaged = PearForecaster(checkpoint, group=C4H)
    expected = averaged.step(initial)
    moved = PearForecaster(checkpoint, group=[element * C4H[5] for element in C4H])
    for one, other in (
        (expected.surface, moved.step(initial).surface),
        (expected.upper, moved.step(initial).upper),
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-2)
    run = submit(data, catalog, lead=24, symmetrise=True)
    stored = perform(data, catalog, run)["2m_temperature"][0, 1]
    np.testing.assert_array_equal(stored, expected.surface[0, 0].numpy())


def test_several_checkpoints_are_members_of_one_ensemble(
    data: DataFolder, catalog: Catalog
) -> None:
    first = catalog.models.get()
    other = write_model(data, tiny_model(seed=9))
    refresh(data, catalog)
    request = ForecastRequest.check(
        data, catalog, START, 24, first.id, None, {"models": [other], "keep_members": True}
    )
    run, _ = catalog.runs.submit(first.id, START, 24, options=request.options)
    mean = perform(data, catalog, run)["2m_temperature"]
    members = [read_fields(data.forecast(f"{run.id}.m{k:02d}"))["2m_temperature"] for k in range(2)]
    assert np.abs(members[0] - members[1])[0, 1].mean() > 1
    np.testing.assert_allclose(mean, (members[0] + members[1]) / 2, rtol=1e-6)
