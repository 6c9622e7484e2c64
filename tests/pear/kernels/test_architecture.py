"""Recursions of kernels: analytic truths, finite networks, and the theorem on augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pear.equivariant.contract import Fields
from pear.kernels import tables
from pear.kernels.architecture import (
    Activation,
    Architecture,
    Linear,
    Pool,
    cnn,
    gcnn,
    mlp,
    roto_translation_gcnn,
)
from pear.kernels.empirical import empirical_kernel
from pear.kernels.gaussian import FUNCTIONS, MEANS, Nonlinearity
from pear.kernels.predict import MeanPrediction
from pear.kernels.tables import Table, healpix_lifting, roto_translations
from pear.sphere.groups import FiniteGroup, c4h, cyclic
from pear.sphere.symmetry import C4H
from tests.fixtures.layer_checks import noise

SIGNS = (1, 1, -1)  # temperature, eastward and northward wind
LIFTING = healpix_lifting(2, SIGNS)


def states(count: int, seed: int) -> Tensor:
    """Draw fields on the sphere, (input, 1, channel · cell)."""
    return noise(count, 1, 3 * 48, seed=seed)


def moved(x: Tensor, element: int) -> Tensor:
    fields = x.view(-1, 3, 48)
    return Fields(2, SIGNS, channel_axis=1).act(C4H[element], fields).reshape(x.shape)


X, Y = states(3, 1), states(2, 2)


@pytest.mark.parametrize("function", ["relu", "erf"])
def test_means_against_their_definition(function: Nonlinearity) -> None:
    covariance = torch.tensor([[1.3, 0.4], [0.4, 0.8]], dtype=torch.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    grid = torch.from_numpy(np.stack(np.meshgrid(nodes, nodes, indexing="ij")).reshape(2, -1))
    weight = torch.from_numpy(np.outer(weights, weights).ravel() / (2 * np.pi))
    z = (torch.linalg.cholesky(covariance) @ grid).requires_grad_()
    value = FUNCTIONS[function](z)
    (slope,) = torch.autograd.grad(value.sum(), z)
    got = MEANS[function](covariance[0, 0], covariance[0, 1], covariance[1, 1])
    want = (weight * value.prod(0)).sum(), (weight * slope.prod(0)).sum()
    # Quadrature does not resolve the kink of ReLU.
    torch.testing.assert_close(
        torch.stack(got), torch.stack(want), rtol=0, atol=1e-9 if function == "erf" else 0.02
    )


@pytest.mark.parametrize("function", ["relu", "erf"])
def test_the_second_mean_is_the_derivative_of_the_first(function: Nonlinearity) -> None:
    k12 = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    one, other = torch.tensor([1.3, 0.8], dtype=torch.float64)
    t, derivative = MEANS[function](one, k12, other)
    assert torch.autograd.grad(t, k12)[0].item() == pytest.approx(derivative.item(), rel=1e-12)


def test_almost_parallel_inputs_keep_their_digits() -> None:
    one = torch.ones(1, dtype=torch.float64)
    for angle in (1e-3, 1e-6):
        t, derivative = MEANS["relu"](one, one * np.cos(angle), one)
        assert derivative.item() == pytest.approx((np.pi - angle) / (2 * np.pi), abs=1e-10)
        assert t.item() == pytest.approx(0.5 * np.cos(angle), abs=1e-6)


def test_relu_on_one_input_grows_linearly_with_depth() -> None:
    x = noise(1, 1, 7)
    k = 2 * float((x**2).mean())
    for hidden in (0, 1, 4):
        found = mlp(7, hidden).kernels(x, x)
        assert found.tangent.item() == pytest.approx((hidden + 1) * k, rel=1e-13)
        assert found.k12.item() == pytest.approx(k, rel=1e-13)


def test_kernels_of_networks_with_one_hidden_layer_are_unbiased() -> None:
    """E[Θ̂] = Θ at every width for one hidden layer; the mean is within its error."""
    torch.manual_seed(0)
    architecture = gcnn(LIFTING, tables.group_convolution(c4h()), 1, bias=0.3)
    draws = torch.stack([empirical_kernel(architecture.network(1, 12), X, Y) for _ in range(40)])
    error = draws.std(0) / len(draws) ** 0.5
    want = architecture.kernels(X, Y).tangent
    assert ((draws.mean(0) - want).abs() < 4 * error).all()
    assert (error < 0.3 * want.abs().max()).all()


def test_outputs_have_the_covariance() -> None:
    torch.manual_seed(1)
    architecture = cnn(tables.torus(3), 1, "erf", bias=0.2)
    x = noise(2, 2, 9)
    with torch.no_grad():
        out = torch.stack([architecture.network(2, 16)(x)[:, 0, 0] for _ in range(300)])
    want = architecture.kernels(x, x).k12[..., 0, 0]
    torch.testing.assert_close(out.T @ out / len(out), want, rtol=0, atol=0.3 * float(want.max()))


def test_a_group_of_one_element_is_a_dense_network() -> None:
    trivial = FiniteGroup("1", np.zeros((1, 1), dtype=np.int64))
    one = gcnn(tables.dense(5), tables.group_convolution(trivial), 2)
    x, y = noise(3, 1, 5), noise(2, 1, 5, seed=3)
    torch.testing.assert_close(one.kernels(x, y).tangent, mlp(5, 2).kernels(x, y).tangent)


@pytest.mark.parametrize("function", ["relu", "erf"])
@pytest.mark.parametrize("hidden", [1, 2, 4])
def test_theorem_on_the_sphere(hidden: int, function: Nonlinearity) -> None:
    """Θ of the GCNN is the group average of Θ of the MLP, v under the mirror included."""
    group = gcnn(LIFTING, tables.group_convolution(c4h()), hidden, function, bias=0.1)
    plain = mlp(144, hidden, function, bias=0.1)
    average = sum(plain.kernels(X, moved(Y, g)).tangent for g in range(8)) / 8
    torch.testing.assert_close(group.kernels(X, Y).tangent, average, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("side", "n", "reflections"), [(4, 2, False), (4, 4, False), (5, 4, False), (4, 4, True)]
)
def test_theorem_on_the_torus(side: int, n: int, reflections: bool) -> None:
    group = roto_translations(side, 1, n, reflections=reflections)
    x, y = noise(2, 2, side * side), noise(2, 2, side * side, seed=4)
    plain = cnn(tables.torus(side), 2)
    turned = [plain.kernels(x, y[..., move]).tangent for move in group.moves]
    found = roto_translation_gcnn(group, 2).kernels(x, y).tangent
    torch.testing.assert_close(found, sum(turned) / len(turned), rtol=1e-12, atol=0)


def test_augmented_training_is_the_group_network_at_all_times() -> None:
    group = gcnn(LIFTING, tables.group_convolution(c4h()), 2)
    plain = mlp(144, 2)
    targets = noise(3, 2, seed=9)
    augmented = torch.cat([moved(X, g) for g in range(8)])
    mean = MeanPrediction(plain.kernels(augmented, augmented).tangent, targets.repeat(8, 1))
    built_in = MeanPrediction(group.kernels(X, X).tangent, targets)
    alone = MeanPrediction(plain.kernels(X, X).tangent, targets)
    for time, tolerance in ((0.1, 1e-12), (1.0, 1e-12), (10.0, 1e-10), (float("inf"), 1e-8)):
        got = mean.at(time, plain.kernels(Y, augmented).tangent)
        want = built_in.at(time, group.kernels(Y, X).tangent)
        torch.testing.assert_close(got, want, rtol=0, atol=tolerance)
    control = alone.at(1.0, plain.kernels(Y, X).tangent)
    assert (control - mean.at(1.0, plain.kernels(Y, augmented).tangent)).abs().max() > 1e-3


def test_gram_matrices_are_positive() -> None:
    x = states(6, 5)
    for architecture in (mlp(144, 2), gcnn(LIFTING, tables.group_convolution(c4h()), 2, "erf")):
        assert torch.linalg.eigvalsh(architecture.kernels(x, x).tangent).min() > 0


def test_a_lifting_that_moves_one_slot_alone_is_caught() -> None:
    """K of ρ(g)x with x′ unmoved is not the kernel of any lifting: the theorem fails."""
    plain = mlp(144, 1)
    average = sum(plain.kernels(X, moved(Y, g)).tangent for g in range(8)) / 8
    unmoved = Table(LIFTING.index[:, :1].expand(-1, 8), LIFTING.sign)
    wrong = gcnn(unmoved, tables.group_convolution(c4h()), 1).kernels(X, Y).tangent
    assert (wrong - average).abs().max() > 1e-2


def test_a_pooling_with_one_factor_of_the_order_is_caught() -> None:
    plain = mlp(144, 1)
    average = sum(plain.kernels(X, moved(Y, g)).tangent for g in range(8)) / 8
    open_ended = gcnn(LIFTING, tables.group_convolution(c4h()), 1, pooled=False).kernels(X, Y)
    assert ((open_ended.t12.sum((-2, -1)) / 8 - average).abs() > 0.5).any()
    torch.testing.assert_close(Pool().kernels(open_ended).tangent, average, rtol=1e-12, atol=0)


def test_refusals() -> None:
    with pytest.raises(TypeError, match="first layer must be linear"):
        Architecture((Activation(),)).kernels(X, Y)
    with pytest.raises(ValueError, match="2 places; pool"):
        _ = Architecture((Linear(),)).kernels(noise(1, 1, 2), noise(1, 1, 2)).tangent
    with pytest.raises(ValueError, match="not symmetric"):
        MeanPrediction(torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.ones(2, 1))
    with pytest.raises(ValueError, match="1, 2 or 4 rotations, not 8"):
        roto_translations(4, 1, 8)
    assert cyclic(1).order == 1
