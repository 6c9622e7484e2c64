"""Chern numbers of lattices: integers, fluxes, invariance, and formulas that fail."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pear.equivariant.lattice import (
    chern_number,
    haar,
    hermitian_log,
    plaquette,
    second_chern_number,
    uniform_flux,
)
from pear.equivariant.representations import Links


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def eigenvalues(links: Tensor) -> Tensor:
    return torch.linalg.eigvals(plaquette(links))


def test_haar_matrices_are_unitary_with_uniform_phases() -> None:
    u = haar((4000,), 2, generator())
    torch.testing.assert_close(u @ u.mH, torch.eye(2, dtype=u.dtype).expand_as(u))
    for power in (1, 2):  # |E Tr U^k| = 0 for Haar; without the phases of R it is not
        moment = torch.linalg.matrix_power(u, power).diagonal(dim1=-2, dim2=-1).sum(-1).mean()
        assert abs(moment) < 4 * 2**0.5 / 4000**0.5


def test_chern_numbers_are_integers_and_add_up() -> None:
    links = haar((30, 4, 4, 2), 2, generator())
    chern = chern_number(eigenvalues(links))
    torch.testing.assert_close(chern, chern.round(), rtol=0, atol=1e-9)
    assert chern.std() > 0.5
    blocks = torch.zeros(15, 4, 4, 2, 4, 4, dtype=links.dtype)
    blocks[..., :2, :2], blocks[..., 2:, 2:] = links[:15], links[15:]
    found = chern_number(eigenvalues(blocks))
    torch.testing.assert_close(found, chern[:15] + chern[15:], rtol=0, atol=1e-9)


@pytest.mark.parametrize("quanta", [-2, 1, 3])
def test_uniform_flux(quanta: int) -> None:
    flux = uniform_flux(5, {(0, 1): quanta}, axes=2)
    assert chern_number(eigenvalues(flux)).item() == pytest.approx(quanta, abs=1e-9)


def test_logarithm_is_hermitian_and_inverts_the_exponential() -> None:
    u = haar((5,), 3, generator())
    f = hermitian_log(u)
    torch.testing.assert_close(f, f.mH)
    torch.testing.assert_close(torch.linalg.matrix_exp(1j * f), u)


@pytest.mark.parametrize(
    ("fluxes", "want"),
    [({(0, 1): 2, (2, 3): 3}, 6), ({(0, 2): 1, (1, 3): 2}, -2), ({(0, 3): 1, (1, 2): 1}, 1)],
)
def test_second_chern_number_of_fluxes(fluxes: dict[tuple[int, int], int], want: int) -> None:
    assert second_chern_number(uniform_flux(5, fluxes)).item() == pytest.approx(want, abs=1e-9)


def test_second_chern_number_is_invariant_and_the_published_formula_is_not() -> None:
    links = haar((1, 2, 2, 2, 2, 4), 2, generator(1))
    turned = Links().act(haar((2, 2, 2, 2), 2, generator(2)), links)

    def published(links: Tensor) -> float:
        def part(a: int, b: int) -> Tensor:
            f = 1j * hermitian_log(plaquette(links, a, b))
            return f.imag  # entries, not the anti-Hermitian part

        pairs = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
        total = sum(torch.einsum("...ij,...ji->", part(*a), part(*b)) for a, b in pairs)
        return float(total) / (4 * math.pi**2)

    here = [second_chern_number(each).item() for each in (links, turned)]
    assert here[0] == pytest.approx(here[1], abs=1e-12)
    assert abs(published(links) - published(turned)) > 0.01


def test_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="8 axes, got 6"):
        second_chern_number(haar((1, 2, 2, 2), 2, generator()))
