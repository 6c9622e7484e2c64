"""Averages over the group and over members, on tiny networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pear.metrics.dataset import sums_from_dataset
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.normaliser import Normaliser
from pear.sphere.symmetry import C4H
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pipelines.studies import symmetrisation
from pipelines.studies.symmetrisation_study import SymmetrisationStudy
from tests.pipelines.studies.conftest import LAYOUT, NSIDE


@pytest.fixture
def study(study_data: dict[str, Any], tmp_path: Path) -> SymmetrisationStudy:
    return SymmetrisationStudy(folder=tmp_path / "study", **study_data)


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
    study: SymmetrisationStudy, tmp_path: Path
) -> None:
    analysis = Analysis(study.store, LAYOUT, NSIDE)
    inits = study.inits(analysis.times)[:2]
    found = symmetrisation.exactness(model(tmp_path, 0), analysis, inits, 2)
    assert found.sel(way="averaged").max() < 1e-10
    assert found.sel(way="single", element="R").max() < 1e-10  # the ring rotation keeps it
    assert found.sel(way="single", element="M").min() > 1e-2


def test_gram_and_scores_are_those_of_the_forecasts(
    study: SymmetrisationStudy, tmp_path: Path
) -> None:
    models = [model(tmp_path, seed) for seed in range(3)]
    assert symmetrisation.average_group(models[0].config) == (C4H[0], C4H[4])
    analysis = Analysis(study.store, LAYOUT, NSIDE)
    climatology = Climatology.open(study.climatology, LAYOUT, NSIDE)
    inits = study.inits(analysis.times)
    found = symmetrisation.measure(models, analysis, climatology, inits, 2)
    assert found["gram"].shape == (inits.size, 2, 3, 3)
    # The diagonal is each member's own error, measured apart and in float64.
    alone = symmetrisation.exactness(models[2], analysis, inits[:2], 2)
    ours = np.sqrt(found["gram"].values[:2, :, 2, 2].mean(axis=0))
    np.testing.assert_allclose(ours, alone.sel(way="single", element="M"), rtol=1e-3)
    # A single network's scores count every member, those of the ensemble its mean once.
    sums = sums_from_dataset(found)
    weight = sums["single"].names.index("weight")
    single, mean = (sums[way].values[weight] for way in ("single", "ensemble"))
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
    assert np.isnan(symmetrisation.common_error(gram[:, :1, :1]))
