"""The transform by the mirrors of the grid, against the dense tables of harmonics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pear.models.harmonic_transform import HarmonicTransform
from pear.sphere.harmonics import analysis, synthesis


@pytest.mark.parametrize(("nside", "degree"), [(1, 2), (2, 0), (4, 8), (8, 11)])
def test_both_directions_equal_the_dense_products(nside: int, degree: int) -> None:
    rng, transform = np.random.default_rng(0), HarmonicTransform(nside, degree).double()
    fields = rng.normal(size=(3, 2, 12 * nside**2))  # of all degrees, and of no symmetry
    want = fields @ analysis(nside, degree).T
    found = transform.analyse(torch.from_numpy(fields))
    np.testing.assert_allclose(found, want, rtol=0, atol=3e-7)  # its tables are float32
    back = transform.synthesise(torch.from_numpy(want))
    np.testing.assert_allclose(back, want @ synthesis(nside, degree).T, rtol=0, atol=3e-6)


def test_synthesis_has_the_gradient_of_its_transpose() -> None:
    transform = HarmonicTransform(2, 3)
    coefficients = torch.randn(16, requires_grad=True)
    weights = torch.randn(48)
    (transform.synthesise(coefficients) * weights).sum().backward()  # type: ignore[no-untyped-call]
    want = torch.tensor(synthesis(2, 3)).float().T @ weights
    torch.testing.assert_close(coefficients.grad, want, rtol=0, atol=1e-5)
