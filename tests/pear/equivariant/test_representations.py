"""Representations: homomorphisms all, each passes one layer and fails another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import equivariance_error, widen, widen_module
from pear.equivariant.representations import (
    Adjoint,
    BandLimited,
    Frames,
    Image,
    Invariant,
    Links,
    Regular,
    SO3Coefficients,
    Tangent,
)
from pear.sphere.groups import cyclic, dihedral
from pear.sphere.harmonics import Rotation, analysis, synthesis
from pear.sphere.symmetry import M, R
from tests.fixtures.layer_checks import noise

NSIDE, DEGREE = 2, 3
ROTATIONS = (Rotation(0.3, 1.1, -2.0), Rotation(-1.4, 0.6, 0.9))


def complex_noise(*shape: int, seed: int = 7) -> Tensor:
    return torch.complex(noise(*shape, seed=seed), noise(*shape, seed=seed + 1))


def unitary(*shape: int, seed: int = 1) -> Tensor:
    return torch.linalg.qr(complex_noise(*shape, shape[-1], seed=seed))[0]


def band_limited(batch: int) -> Tensor:
    return noise(batch, (DEGREE + 1) ** 2) @ torch.from_numpy(synthesis(NSIDE, DEGREE).copy()).T


def zonal(by_order: bool) -> Callable[[Tensor], Tensor]:
    """Weigh each harmonic by its degree, or wrongly by its order too."""
    weights = [1.0 + d + by_order * m for d in range(DEGREE + 1) for m in range(-d, d + 1)]
    matrix = (
        torch.from_numpy(synthesis(NSIDE, DEGREE).copy())
        @ torch.diag(torch.tensor(weights, dtype=torch.float64))
        @ torch.from_numpy(analysis(NSIDE, DEGREE).copy())
    )
    return lambda x: x @ matrix.T


def so3(left: bool) -> Callable[[Tensor], Tensor]:
    """Multiply F^1 by a matrix from the right, or wrongly from the left."""
    psi = complex_noise(3, 3)

    def apply(x: Tensor) -> Tensor:
        f = x[..., 1:].unflatten(-1, (3, 3))
        return torch.cat([x[..., :1], (psi @ f if left else f @ psi).flatten(-2)], -1)

    return apply


class Convolution(nn.Module):
    """κ(g⁻¹h) keeps the regular representation; κ(hg⁻¹) does not, unless the group commutes."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        group = dihedral(3)
        table = group.product[:, group.inverse].T if wrong else group.left
        self.register_buffer("table", torch.from_numpy(table.copy()))
        self.kernel = nn.Parameter(noise(6).float())

    def forward(self, f: Tensor) -> Tensor:
        return f @ self.kernel[self.table].T  # type: ignore[index]


def conv(wrong: bool) -> Callable[[Tensor], Tensor]:
    """Average the four neighbours in an image, or wrongly two of them."""

    def apply(x: Tensor) -> Tensor:
        mean = x.roll(1, -1) + (x.roll(-1, -1) if not wrong else 0)
        return mean + x.roll(1, -2) + x.roll(-1, -2)

    return apply


IMAGE = noise(2, 5, 5)
CELLS = complex_noise(2, 12 * NSIDE**2)
ANGLES = noise(12 * NSIDE**2)
SITES = unitary(3, 3, 2)
CASES: dict[str, tuple[object, object, Tensor, Sequence[object], object, object, bool]] = {
    # source, target, input, elements (a, b, ab), layer, wrong layer, gradients
    "regular": (
        Regular(dihedral(3)),
        Regular(dihedral(3)),
        noise(2, 6),
        (1, 3, int(dihedral(3).product[1, 3])),
        Convolution(False),
        Convolution(True),
        True,
    ),
    "image": (
        Image(dihedral(4), 4),
        Image(dihedral(4), 4),
        IMAGE,
        (1, 4, int(dihedral(4).product[1, 4])),
        conv(False),
        conv(True),
        True,
    ),
    "image of the half turn": (
        Image(cyclic(2), 2),
        Image(cyclic(2), 2),
        IMAGE,
        (1, 1, 0),
        conv(False),
        conv(True),
        True,
    ),
    "band-limited": (
        BandLimited(NSIDE, DEGREE),
        BandLimited(NSIDE, DEGREE),
        band_limited(2),
        (*ROTATIONS, ROTATIONS[0] * ROTATIONS[1]),
        zonal(False),
        zonal(True),
        False,
    ),
    "so3": (
        SO3Coefficients(1),
        SO3Coefficients(1),
        complex_noise(2, 10),
        (*ROTATIONS, ROTATIONS[0] * ROTATIONS[1]),
        so3(False),
        so3(True),
        True,
    ),
    "tangent": (
        Tangent(NSIDE),
        Tangent(NSIDE),
        CELLS,
        (R, M, R * M),
        lambda w: w * w.abs(),
        lambda w: w * 1j,
        True,
    ),
    "frames": (
        Frames(),
        Frames(),
        CELLS,
        (ANGLES, 2 * ANGLES, 3 * ANGLES),
        lambda w: w * w.abs().tanh(),
        lambda w: torch.complex(w.real.relu(), w.imag),
        True,
    ),
    "scalars of frames": (
        Frames(),
        Frames(0),
        CELLS,
        (ANGLES, 2 * ANGLES, 3 * ANGLES),
        Tensor.abs,
        lambda w: w.real,
        True,
    ),
    "adjoint": (
        Adjoint(),
        Adjoint(),
        complex_noise(2, 3, 3, 4, 2, 2),
        (SITES, SITES @ SITES, SITES),
        lambda w: w @ w,
        lambda w: torch.complex(w.real.relu(), w.imag),
        True,
    ),
    "invariant": (
        Adjoint(),
        Invariant(),
        complex_noise(2, 3, 3, 4, 2, 2),
        (SITES, SITES, SITES),
        lambda w: w.diagonal(dim1=-2, dim2=-1).sum(-1),
        lambda w: w[..., 0, 0],
        True,
    ),
    "links": (
        Links(),
        Links(),
        complex_noise(2, 3, 3, 2, 2, 2),
        (SITES, SITES, SITES),
        lambda u: 2 * u,
        lambda u: u.transpose(-1, -2),
        True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_one_layer_passes_and_one_fails(name: str) -> None:
    source, target, x, elements, right, wrong, gradients = CASES[name]
    for element in elements[:2]:
        error = equivariance_error(right, element, x, source, target, gradients=gradients)
        assert error < 1e-12
    assert equivariance_error(wrong, elements[1], x, source, target) > 0.02


@pytest.mark.parametrize("name", CASES)
def test_products_act_one_after_the_other(name: str) -> None:
    rep, _, x, (a, b, ab), *_ = CASES[name]
    if name in ("adjoint", "invariant", "links"):
        a = b = SITES  # W → Ω†WΩ composes in the other order, so one element with itself
        ab = SITES @ SITES
    twice = rep.act(a, rep.act(b, x))
    torch.testing.assert_close(twice, rep.act(ab, x), rtol=0, atol=1e-12)


def test_closed_loops_of_links_are_adjoint() -> None:
    u = complex_noise(3, 3, 2, 2, 2)

    def loop(u: Tensor) -> Tensor:
        x, y = u.unbind(-3)
        w = x @ y.roll(-1, 0) @ x.roll(-1, 1).mH @ y.mH
        return w[..., None, :, :]

    assert equivariance_error(loop, SITES, u, Links(), Adjoint(), gradients=True) < 1e-12


def test_widening_keeps_each_kind() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.ones(1, dtype=torch.complex64) * 1j)
            self.b = nn.Linear(1, 1)
            self.register_buffer("table", torch.ones(1, dtype=torch.int64))

    mixed = widen_module(Mixed())
    assert mixed.a.dtype == torch.complex128
    assert mixed.a.item() == 1j
    assert mixed.b.weight.dtype == torch.float64
    assert mixed.table.dtype == torch.int64
    assert widen(torch.tensor([1 + 2j])).imag.item() == 2
