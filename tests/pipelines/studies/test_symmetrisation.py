"""Averaging over the group and over an augmented ensemble, on tiny networks."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.sphere.symmetry import C4H
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.variables import Layout
from pipelines.evaluation.climatology import build_climatology as build
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.studies import symmetrisation, symmetrisation_study
from pipelines.studies.study import Study, share

NSIDE = 8
LAYOUT = Layout(("2m_temperature", "10m_v_component_of_wind"), ("geopotential",), (850, 500))
SIZES = [[2.0], [3.0], [90.0], [150.0]]
DAY = np.timedelta64(86_400, "s")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("orbit")
    days = 366
    times = np.datetime64("2001-01-01", "s") + DAY * np.arange(days)
    noise = np.random.default_rng(1).normal(size=(days, 4, 12 * NSIDE**2))
    fields = np.array([280.0, 1.0, 14_000.0, 55_000.0])[:, None] + noise * SIZES
    with AnalysisWriter(folder / "a.zarr", LAYOUT, NSIDE) as writer:
        writer.append(times, fields[:, :2], fields[:, 2:].reshape(days, 1, 2, -1))
    build(folder / "a.zarr", folder / "c.zarr", harmonics=1)
    return Study(
        folder / "a.zarr",
        folder / "c.zarr",
        ("2001-01-01", "2001-02-09"),
        ("2001-02-10", "2001-02-25"),
        every=5,
        days=2,
        minutes=0.005,
        seeds=(0, 1),
        embed=64,
        batch=2,
    )


def model(folder: Path, seed: int) -> checkpoint.Checkpoint:
    """A network with random weights and a northward wind that is not zero in the mean."""
    torch.manual_seed(seed)
    network = Pear(PearConfig.small(NSIDE, layout=LAYOUT, embed=32, heads=(1, 2, 2, 1)))
    network.set_static(orography=np.zeros(12 * NSIDE**2), land_fraction=np.ones(12 * NSIDE**2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    surface, upper = torch.tensor([280.0, 1.0]), torch.tensor([[14_000.0, 55_000.0]])
    sizes = torch.tensor([2.0, 3.0]), torch.tensor([[90.0, 150.0]])
    normaliser = Normaliser(LAYOUT, surface, sizes[0], upper, sizes[1])
    network.set_step_scale(normaliser)
    return checkpoint.save(folder / f"m{seed}", network, normaliser, {})


def test_the_average_over_the_group_is_exact_and_one_network_is_not(
    study: Study, tmp_path: Path
) -> None:
    one = model(tmp_path, 0)
    analysis = Analysis(study.store, LAYOUT, NSIDE)
    found = symmetrisation.exactness(one, analysis, study.inits(analysis.times)[:2], 2)
    assert max(found["averaged"][name][day] for name in ("R", "M", "RM") for day in (0, 1)) < 1e-10
    assert max(found["single"]["R"]) < 1e-10  # the ring rotation keeps it
    assert min(found["single"]["M"]) > 1e-2


def test_gram_and_scores_are_those_of_the_forecasts(study: Study, tmp_path: Path) -> None:
    models = [model(tmp_path, seed) for seed in range(3)]
    assert symmetrisation.average_group(models[0].config) == (C4H[0], C4H[4])
    analysis = Analysis(study.store, LAYOUT, NSIDE)
    climatology = Climatology.open(study.climatology, LAYOUT, NSIDE)
    inits = study.inits(analysis.times)
    found = symmetrisation.measure(models, analysis, climatology, inits, 2)
    assert found.gram.shape == (inits.size, 2, 3, 3)
    # The diagonal is each member's own error, measured apart and in float64.
    alone = symmetrisation.exactness(models[2], analysis, inits[:2], 2)["single"]["M"]
    ours = np.sqrt(found.gram[:2, :, 2, 2].mean(axis=0))
    np.testing.assert_allclose(ours, alone, rtol=1e-3)
    # A single network's scores count every member, those of the ensemble its mean once.
    weight = found.tables["single"].names.index("weight")
    single, mean = (found.tables[way].values[weight] for way in ("single", "ensemble"))
    np.testing.assert_allclose(single, 3 * mean)


def test_errors_of_ensembles_follow_from_the_products_of_their_members() -> None:
    rng = np.random.default_rng(0)
    own, common = rng.normal(size=(5, 6, 4000)), 2.0 * rng.normal(size=(5, 1, 4000))
    for errors, floor in ((own, 0.0), (own + common, 2.0)):
        gram = np.einsum("imx,inx->imn", errors, errors) / 4000
        assert symmetrisation.ensemble_error(gram, 6)[0] == pytest.approx(
            np.sqrt((errors.mean(axis=1) ** 2).mean())
        )
        for members in range(1, 7):
            error, low, high = symmetrisation.ensemble_error(gram, members)
            assert low <= error <= high
            assert error == pytest.approx(np.sqrt(floor**2 + 1 / members), rel=0.03)
        assert symmetrisation.common_error(gram) == pytest.approx(floor, abs=0.1)


def test_a_study_makes_members_and_tables(study: Study, tmp_path: Path) -> None:
    plan = symmetrisation_study.plan_of(study, tmp_path)
    jobs = symmetrisation_study.trainings(study, tmp_path, plan)
    assert [job.name for job in jobs[:2]] == ["train augmented seed 0", "train plain seed 0"]
    share(jobs, tmp_path)
    models = symmetrisation_study.subjects(study, tmp_path)
    share(symmetrisation_study.measurements(study, tmp_path, models), tmp_path)
    assert all(job.done for job in symmetrisation_study.measurements(study, tmp_path, models))
    result = symmetrisation_study.collect(tmp_path, models)
    symmetrisation_study.write(result, tmp_path)
    assert {(r.models, r.day, r.members) for r in result.errors} == {
        (kind, day, n) for kind in ("augmented", "plain") for day in (1, 2) for n in (1, 2)
    }
    assert all(row.difference == 0 for row in result.scores if row.way == "single")
    for name, rows in (("orbit-errors", result.errors), ("orbit-scores", result.scores)):
        with (tmp_path / f"{name}.csv").open() as file:
            assert len(list(csv.DictReader(file))) == len(rows)
    assert (tmp_path / "orbit.png").stat().st_size > 5000
