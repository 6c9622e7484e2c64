"""Ensembles: their members, in served forecasts and evaluations, and after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from pear.rollout import PearForecaster
from pear.sphere.symmetry import C4H
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.reader import open_store
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.evaluation.distribute import EvaluationSources
from pipelines.forecasting.forecast import load_forecaster, run_forecast
from pipelines.forecasting.options import ForecastOptions
from pipelines.forecasting.request import resolve_request
from pipelines.storage.data_folder import DataFolder
from service.readers.nature import describe_members, nature_of
from tests.fixtures.engine import (
    DAY,
    LAYOUT,
    NSIDE,
    START,
    die_after,
    make_data_folder,
    perform,
    read_fields,
    submit,
    tiny_model,
    write_model,
)


def test_statistics_are_those_of_the_members_and_the_control_is_the_single_forecast(
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
    # The noise has the amplitude that was asked for: 0.3 of the change over one step.
    noise = members[1]["2m_temperature"][0, 0] - single["2m_temperature"][0, 0]
    assert 0.3 < noise.std() / (0.3 * 10.0) < 2


def test_noise_of_chosen_variables_leaves_the_others_unchanged(
    data: DataFolder, catalog: Catalog
) -> None:
    options = {"members": 3, "perturbation_scale": {"t2m": 0.2}, "leads": [0]}
    run = submit(data, catalog, lead=24, **options)
    assert run.options["perturbation_scale"] == {"2m_temperature": 0.2}
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


@pytest.mark.parametrize("perturb_steps", [False, True])
def test_a_killed_ensemble_resumes_to_the_same_bits(
    data: DataFolder, catalog: Catalog, tmp_path: Path, perturb_steps: bool
) -> None:
    options = {"members": 3, "seed": 1, "perturb_steps": perturb_steps}
    other = make_data_folder(tmp_path / "twin")
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


def test_a_symmetry_ensemble_spreads_by_the_equivariance_error(
    data: DataFolder, catalog: Catalog
) -> None:
    run = submit(data, catalog, lead=24, ensemble="symmetry")
    perform(data, catalog, run)
    spread = read_fields(data.forecast(f"{run.id}.spread"))["2m_temperature"][0, 1]
    # Rotations are kept exactly by this network, the mirror is not: two members, and no copies.
    forecaster = load_forecaster(data, catalog.models.get())
    initial = State.from_store(data.analysis("demo"), START, LAYOUT)
    plain = next(iter(forecaster.iterate(initial, 1))).surface[0, 0]
    mirrored = next(
        iter(PearForecaster(forecaster.checkpoint, group=(C4H[4],)).iterate(initial, 1))
    ).surface[0, 0]
    expected = (plain - mirrored).abs() / np.sqrt(2)
    np.testing.assert_allclose(spread, expected.numpy(), atol=1e-3)
    assert spread.mean() > 0.1
    assert nature_of(data, run).mean == "mean of 2 members"


def test_a_symmetrised_forecast_keeps_every_symmetry(data: DataFolder, catalog: Catalog) -> None:
    checkpoint = load_forecaster(data, catalog.models.get()).checkpoint
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


@pytest.mark.parametrize("kind", ["noise", "augmented"])
def test_several_models_are_members_of_one_ensemble(
    data: DataFolder, catalog: Catalog, kind: str
) -> None:
    first = catalog.models.get()
    other = write_model(data, tiny_model(seed=9))
    refresh(data, catalog)
    options = {"models": [other], "keep_members": True, "ensemble": kind}
    request = resolve_request(data, catalog, START, 24, model=first.id, options=options)
    run, _ = request.submit(catalog)
    mean = perform(data, catalog, run)["2m_temperature"]
    members = [read_fields(data.forecast(f"{run.id}.m{k:02d}"))["2m_temperature"] for k in range(2)]
    assert np.abs(members[0] - members[1])[0, 1].mean() > 1
    np.testing.assert_allclose(mean, (members[0] + members[1]) / 2, rtol=1e-6)
    # This network keeps the rotations: averaging it over the group costs two steps, as two models.
    cost = (
        "about 0.71 of the equivariance error of one, for 2 network steps a step; symmetrise has "
    )
    said = describe_members(data, run)
    assert (f"{cost}none, for 2 with one model" in said) is (kind == "augmented")


@pytest.mark.parametrize(
    "options",
    [
        {"members": 3, "seed": 4},
        {"members": 3, "perturb_steps": True, "perturbation_scale": {"t2m": 0.3}},
        {"members": 4, "ensemble": "random_field", "perturbation_scale": 0.2},
        {"members": 4, "ensemble": "random_field", "perturb_steps": True},
        {"ensemble": "symmetry"},
        {"models": True, "members": 2},
    ],
    ids=str,
)
def test_members_of_an_evaluation_equal_those_of_a_served_forecast(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    data = make_data_folder(tmp_path, days=25)
    init = START + 21 * DAY
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)
        model = catalog.models.get()
        if "models" in options:
            options = {**options, "models": [write_model(data, tiny_model(seed=9))]}
            refresh(data, catalog)
        request = resolve_request(
            data, catalog, init, 48, model=model.id, options={**options, "keep_members": True}
        )
        run, _ = request.submit(catalog)
        perform(data, catalog, run)
    sources = EvaluationSources(
        data.analysis("demo"),
        data.root / "none",
        data.model(model.id),
        options=ForecastOptions.from_dict(options),
        models=tuple(data.model(name) for name in options.get("models", ())),
    )
    ensemble = sources.ensemble()
    assert ensemble is not None
    analysis = Analysis(sources.analysis, LAYOUT, NSIDE)
    initial = State.from_channels(analysis.read(init)[None], [init], LAYOUT)
    for lead, states in enumerate(ensemble.iterate(initial, 2), 1):
        assert len({member.numpy().tobytes() for member in states.surface}) == ensemble.size
        for member in range(ensemble.size):
            with open_forecast(data, run.id, member) as stored:
                for name, level, values in states.fields():
                    found = stored[name].isel(time=0, prediction_timedelta=lead)
                    if level is not None:
                        found = found.sel(level=level)
                    np.testing.assert_array_equal(found.values, values[member].numpy())


def open_forecast(data: DataFolder, run: str, member: int) -> xr.Dataset:
    return open_store(data.forecast(f"{run}.m{member:02d}"))
