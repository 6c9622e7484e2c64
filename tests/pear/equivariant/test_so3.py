"""Convolutions on rotations: exact under rotations, equal to their integrals, and failing twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from pear.equivariant.contract import equivariance_error
from pear.equivariant.representations import SO3Coefficients, SphereCoefficients
from pear.equivariant.so3 import (
    RotationAnalysis,
    RotationConv,
    RotationDescend,
    RotationLift,
    RotationSynthesis,
    rotation_blocks,
    sphere_blocks,
)
from pear.equivariant.spherical import Analysis, SampledActivation, Synthesis
from pear.sphere.harmonics import Rotation, real_harmonics, real_of_complex, synthesis, wigner
from pear.sphere.healpix import centres
from pear.sphere.rotations import small_wigner, so3_offset
from pear.sphere.vectors import Frames
from tests.fixtures.layer_checks import assert_same, noise

DEGREE = 3
ON_SPHERE, ON_ROTATIONS = SphereCoefficients(DEGREE), SO3Coefficients(DEGREE)
SIZES = {RotationLift: (16, 84), RotationConv: (84, 84), RotationDescend: (84, 16)}
KINDS = [torch.float32, torch.complex64]
ROTATIONS = (Rotation(0.3, 1.1, -2.0), Rotation(-1.4, 0.6, 0.9))
Complex = npt.NDArray[np.complex128]


def draw(*shape: int, kind: torch.dtype = torch.float32, seed: int = 7) -> Tensor:
    real = noise(*shape, seed=seed)
    return torch.complex(real, noise(*shape, seed=seed + 1)) if kind.is_complex else real


def representation(size: int) -> Any:
    return ON_SPHERE if size == 16 else ON_ROTATIONS


@pytest.mark.parametrize("kind", KINDS, ids=["real", "complex"])
@pytest.mark.parametrize("layer", SIZES)
def test_every_rotation(layer: type[nn.Module], kind: torch.dtype) -> None:
    source, target = SIZES[layer]
    x, built = draw(2, 3, source, kind=kind), layer(DEGREE, 3, 2, kind)
    for rotation in ROTATIONS:
        error = equivariance_error(
            built, rotation, x, representation(source), representation(target), gradients=True
        )
        assert error < 1e-12


class FromTheLeft(RotationConv):
    def forward(self, f: Tensor) -> Tensor:
        pairs = zip(rotation_blocks(f), rotation_blocks(self.weight), strict=True)
        parts = [torch.einsum("bikn,oimk->bomn", a, w).flatten(2) for a, w in pairs]
        return torch.cat(parts, -1)


class AlongRows(RotationDescend):
    """Sums over m, not over n."""

    def forward(self, f: Tensor) -> Tensor:
        blocks = [each.mT.flatten(2) for each in rotation_blocks(f)]
        return super().forward(torch.cat(blocks, -1))


class Transposed(RotationLift):
    def forward(self, f: Tensor) -> Tensor:
        blocks = [each.mT.flatten(2) for each in rotation_blocks(super().forward(f))]
        return torch.cat(blocks, -1)


@pytest.mark.parametrize("layer", [FromTheLeft, AlongRows, Transposed])
def test_what_is_not_equivariant_is_caught(layer: type[nn.Module]) -> None:
    source, target = SIZES[layer.__base__]  # type: ignore[index]
    x = draw(2, 3, source)
    reps = representation(source), representation(target)
    assert equivariance_error(layer(DEGREE, 3, 2), ROTATIONS[0], x, *reps) > 0.05


# --- what the formulas stand for: sums over cells and angles, with complex coefficients up to 2


def packed(matrices: list[Complex]) -> Complex:
    return np.concatenate([each.reshape(*each.shape[:-2], -1) for each in matrices], -1)


def rotations(nside: int, angles: int, lmax: int) -> list[Complex]:
    """D^l of a grid of rotations, (rotation, 2l + 1, 2l + 1)."""
    latitude, longitude = (np.deg2rad(angle) for angle in centres(nside))
    gamma = 2 * np.pi * np.arange(angles) / angles
    found = []
    for degree in range(lmax + 1):
        m = np.arange(-degree, degree + 1)
        d = np.exp(-1j * np.outer(longitude, m))[:, :, None] * small_wigner(
            degree, np.pi / 2 - latitude
        )
        every = d[:, None] * np.exp(-1j * np.outer(gamma, m))[:, None, :]
        found.append(every.reshape(-1, 2 * degree + 1, 2 * degree + 1))
    return found


def complex_harmonics(xyz: npt.NDArray[np.float64], lmax: int) -> Complex:
    real = real_harmonics(xyz, lmax)
    return np.concatenate(
        [real[:, d * d : (d + 1) ** 2] @ real_of_complex(d) for d in range(lmax + 1)], 1
    )


def test_lifting_is_its_integral() -> None:
    nside, lmax = 32, 2
    f, kernel = (draw(1, 9, kind=torch.complex64, seed=seed) for seed in (1, 2))
    layer = RotationLift(lmax, 1, 1, torch.complex128)
    layer.kernel.data = kernel[None]
    lifted = layer(f[None])[0, 0].detach().numpy()
    x = Frames.at(*centres(nside)).positions().T
    for rotation in ROTATIONS:
        # Rows of points times R are R⁻¹ applied to each.
        turned = complex_harmonics(x @ rotation.matrix(), lmax) @ kernel[0].numpy()
        field = complex_harmonics(x, lmax) @ f[0].numpy()
        integral = 4 * np.pi * np.mean(turned.conj() * field)
        matrices = packed([wigner(rotation, degree) for degree in range(lmax + 1)])
        assert abs(matrices.conj() @ lifted - integral) < 1e-3 * abs(integral)


def test_convolution_is_its_integral_and_the_adjoint_filter_is_another() -> None:
    lmax, grid = 2, (8, 6)
    f, psi = (draw(35, kind=torch.complex64, seed=seed) for seed in (1, 2))
    layer = RotationConv(lmax, 1, 1, torch.complex128)
    factors = torch.cat(
        [torch.full(((2 * d + 1) ** 2,), 8 * np.pi**2 / (2 * d + 1)) for d in range(3)]
    )
    layer.weight.data = (factors * psi)[None, None]
    convolved = layer(f[None, None])[0, 0].detach().numpy()
    adjoint = torch.cat([each.mH.flatten() for each in rotation_blocks(psi)])
    layer.weight.data = (factors * adjoint)[None, None]
    other = layer(f[None, None])[0, 0].detach().numpy()
    every = rotations(*grid, lmax)
    values = packed(every).conj() @ f.numpy()  # F(S)
    for rotation in ROTATIONS:
        matrices = [wigner(rotation, degree) for degree in range(lmax + 1)]
        moved = [s.conj().swapaxes(-1, -2) @ r for s, r in zip(every, matrices, strict=True)]
        integral = 8 * np.pi**2 * np.mean((packed(moved).conj() @ psi.numpy()) * values)
        point = packed(matrices).conj()
        assert abs(point @ convolved - integral) < 5e-3 * abs(integral)
        assert abs(point @ other - integral) > 0.1 * abs(integral)


def test_descending_with_weights_of_one_is_the_published_sum() -> None:
    layer = RotationDescend(DEGREE, 1, 1, torch.complex128)
    nn.init.ones_(layer.weight)
    f = draw(2, 1, 84, kind=torch.complex64)
    want = torch.cat([each.sum(-1) for each in rotation_blocks(f)], -1)
    torch.testing.assert_close(layer(f), want)
    assert [each.shape[-1] for each in sphere_blocks(want)] == [1, 3, 5, 7]


def test_lifting_and_descending_is_a_zonal_filter_of_each_degree() -> None:
    lift, descend = RotationLift(DEGREE, 2, 3).double(), RotationDescend(DEGREE, 3, 2).double()
    f = draw(2, 2, 16)
    blocks = zip(
        sphere_blocks(f), sphere_blocks(lift.kernel), sphere_blocks(descend.weight), strict=True
    )
    want = [torch.einsum("bim,jin,ojn->bom", each, k, v) for each, k, v in blocks]
    torch.testing.assert_close(descend(lift(f)), torch.cat(want, -1))


def dense(nside: int, angles: int, lmax: int) -> Tensor:
    """The matrix (rotation, coefficient) of real coefficients, from Wigner's matrices alone."""
    real = []
    for degree, matrices in enumerate(rotations(nside, angles, lmax)):
        change = real_of_complex(degree)
        turned = change @ matrices @ change.conj().T
        assert np.abs(turned.imag).max() < 1e-13
        real.append(turned.real)
    return torch.from_numpy(packed(real))  # type: ignore[arg-type]


@pytest.mark.parametrize(("nside", "angles", "lmax"), [(2, 7, 3), (2, 10, 2), (1, 5, 2)])
def test_fast_transforms_against_one_dense_matrix(nside: int, angles: int, lmax: int) -> None:
    table = dense(nside, angles, lmax)
    inverse = torch.linalg.pinv(table)
    shape = 12 * nside**2, angles

    def synthesise(c: Tensor) -> Tensor:
        return (c @ table.T).unflatten(-1, shape)

    def analyse(samples: Tensor) -> Tensor:
        return samples.flatten(-2) @ inverse.T

    assert_same(RotationSynthesis(nside, angles, lmax), synthesise, [noise(2, len(inverse))], [])
    assert_same(RotationAnalysis(nside, angles, lmax), analyse, [noise(2, *shape)], [])


@pytest.mark.parametrize(
    ("nside", "angles", "low", "high"), [(2, 9, 0.02, 0.15), (4, 16, 0.0007, 0.01)]
)
def test_aliasing_on_rotations(nside: int, angles: int, low: float, high: float) -> None:
    """Quarter turns move cells to cells and are exact; others are as good as the samples."""
    lmax = 4
    layer = SampledActivation(
        RotationSynthesis(nside, angles, lmax), RotationAnalysis(nside, angles, lmax), torch.tanh
    )
    size = so3_offset(lmax + 1)
    turned, x = SO3Coefficients(lmax), noise(4, size) / size**0.5  # values of order 1
    assert equivariance_error(layer, Rotation(np.pi / 2), x, turned, turned) < 1e-12
    errors = [equivariance_error(layer, rotation, x, turned, turned) for rotation in ROTATIONS]
    assert low < min(errors) <= max(errors) < high, errors


def test_a_network_from_sphere_to_sphere() -> None:
    """Lift, convolve, activate, descend: exact for quarter turns, gradients included."""
    lmax, grid = 2, (2, 8)
    activation: Callable[[], SampledActivation] = lambda: SampledActivation(  # noqa: E731
        RotationSynthesis(*grid, lmax), RotationAnalysis(*grid, lmax)
    )
    network = nn.Sequential(
        Analysis(2, lmax),
        RotationLift(lmax, 1, 3),
        activation(),
        RotationConv(lmax, 3, 3),
        activation(),
        RotationDescend(lmax, 3, 1),
        Synthesis(2, lmax),
    )
    coefficients = nn.Sequential(*network[1:-1])
    turned, x = SphereCoefficients(lmax), noise(2, 1, 9)
    quarter = Rotation(np.pi / 2)
    error = equivariance_error(coefficients, quarter, x, turned, turned, gradients=True)
    assert error < 1e-12
    assert equivariance_error(coefficients, ROTATIONS[0], x, turned, turned) < 0.1
    field = x @ torch.from_numpy(synthesis(2, lmax).copy()).T
    assert tuple(network(field.float()).shape) == (2, 1, 48)
