"""Kernels of networks of finite width, to first order in 1/width (arXiv 2508.11522).

z_i^(ℓ+1) = n^−½ Σ_j W_ij σ(z_j^(ℓ)) with W ~ N(0, C), hidden layers of n numbers and no biases;
z^(1) = n₀^−½ W x. The tangent kernel Θ̂ is the sum over derivatives by W, without C. In the mean
over networks

    E[ẑẑ] = K + K¹/n + O(n⁻²),   E[Θ̂] = Θ + Θ¹/n + O(n⁻²)

and what outputs and tangent kernels have in common beyond that is, at order 1/n,

    E^c[z_i1 z_j2 z_k3 z_l4]    = (δ_ij δ_kl V_(12)(34) + 2 permutations)/n
    E^c[z_i1 z_j2 ΔΘ̂_kl,34]     = (δ_ij δ_kl D_1234 + δ_ik δ_jl F_1324 + δ_il δ_jk F_1423)/n.

Each follows from the layer before by a handful of Feynman diagrams, of which the means ⟨·⟩ over
Gaussian z of covariance K are the vertices. σ is never differentiated more than once: by parts,
⟨∂_a∂_b f⟩ = ⟨H_ab f⟩ and ⟨∂_a∂_b∂_c∂_d f⟩ = ⟨H_abcd f⟩ with Hermite polynomials of K⁻¹z. Half of
the first and a quarter of the second are the derivatives of ⟨f⟩ by K, also where f has a kink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from pear.kernels.pointwise import DEFAULT_ORDER, MAX_CORRELATION, Pointwise, gaussian_rule


@dataclass(frozen=True, eq=False)
class Cumulants:
    """What the recursion carries from layer to layer, for m = 1 or 2 inputs, float64.

    Attributes
    ----------
    k, theta
        (m, m): K and Θ of infinitely wide networks.
    k1, theta1
        (m, m): K¹ and Θ¹, which 1/n multiplies.
    v, d, f
        (m, m, m, m): V_(12)(34), D_1234 and F_1324, indices in the order written.
    """

    k: Tensor
    theta: Tensor
    k1: Tensor
    theta1: Tensor
    v: Tensor
    d: Tensor
    f: Tensor

    @classmethod
    def first(cls, k: Tensor, theta: Tensor) -> Self:
        """Return the first layer, whose numbers are Gaussian at every width.

        Parameters
        ----------
        k, theta
            (m, m): C x·x′/n₀ and x·x′/n₀.

        Returns
        -------
        Cumulants
            All corrections are 0.
        """
        two, four = torch.zeros_like(k), k.new_zeros((len(k),) * 4)
        return cls(k, theta, two, two, four, four, four)


def finite_width_kernels(
    x: Tensor,
    function: Pointwise,
    depth: int,
    variance: float = 1.0,
    order: int = DEFAULT_ORDER,
) -> list[Cumulants]:
    """Return kernels and their corrections at every layer.

    Parameters
    ----------
    x
        (input, n₀), one input or two that are not parallel.
    function
        Non-linearity.
    depth
        Layers ℓ, the first linear one included.
    variance
        C of the weights.
    order
        Gauss–Hermite points along each axis.

    Returns
    -------
    list of Cumulants
        Layers 1 to ``depth``.

    Raises
    ------
    ValueError
        If there are no layers or other than one or two inputs, or if a kernel is not finite or its
        inputs are too parallel.

    Examples
    --------
    >>> from pear.kernels.pointwise import POINTWISE
    >>> last = finite_width_kernels(torch.ones(1, 3), POINTWISE["linear"], depth=4)[-1]
    >>> [round(each.item(), 9) for each in (last.theta, last.v, last.d, last.f)]
    [4.0, 6.0, 12.0, 6.0]
    """
    if depth < 1:
        raise ValueError(f"a network has at least one layer, not {depth}")
    x = x.double()
    gram = x @ x.mT / x.shape[1]
    layers = [Cumulants.first(variance * gram, gram)]
    for _ in range(depth - 1):
        layers.append(next_layer(layers[-1], function, variance, order))
    return layers


def next_layer(
    before: Cumulants, function: Pointwise, variance: float = 1.0, order: int = DEFAULT_ORDER
) -> Cumulants:
    """Return the cumulants behind a non-linearity and a linear layer.

    Parameters
    ----------
    before
        Of the layer before.
    function, variance, order
        As for :func:`finite_width_kernels`.

    Returns
    -------
    Cumulants
        Of the next layer; ValueError if K is not finite, or two inputs are too parallel.
    """
    _check(before.k)
    c, theta = variance, before.theta
    z, weights = gaussian_rule(before.k, order, kinked=function.kinked)
    value, slope = function.value(z), function.derivative(z)
    pairs, slopes = _outer(value, value), _outer(slope, slope)
    polynomials = _hermite_polynomials(z, before.k)
    p, p1, p2 = (torch.einsum("ijq,...q->ij...", pairs, h * weights) for h in polynomials)
    s, s1, s2 = (torch.einsum("ijq,...q->ij...", slopes, h * weights) for h in polynomials)
    o, o1, o2 = (omega(*pair, theta, c) for pair in ((p, s), (p1, s1), (p2, s2)))
    pppp, ppo, ppss = (
        torch.einsum("ijq,klq->ijkl", pairs * weights, right)
        for right in (pairs, omega(pairs, slopes, theta, c), slopes)
    )
    mixed = torch.einsum("cq,iq,kq->cik", z * weights, value, slope)
    bent = torch.einsum("ac,cik->aik", torch.linalg.inv(before.k), mixed)  # ⟨∂_a(σ_1 σ′_3)⟩
    v, d, f = before.v, before.d, before.f
    return Cumulants(
        k=c * p,
        theta=o,
        k1=c * _corrected(p1, p2, before.k1, v),
        theta1=(
            c * before.theta1 * s
            + _corrected(o1, o2, before.k1, v)
            + c * torch.einsum("ijab,abij->ij", s1, d)
            + 2 * c * torch.einsum("ijab,aibj->ij", s1, f)
        ),
        v=c**2
        * (
            pppp
            - torch.einsum("ij,kl->ijkl", p, p)
            + torch.einsum("ijab,abcd,klcd->ijkl", p1, v, p1)
        ),
        d=c
        * (
            ppo
            - torch.einsum("ij,kl->ijkl", p, o)
            + torch.einsum("ijab,abcd,klcd->ijkl", p1, v, o1)
            + c * torch.einsum("ijab,abkl,kl->ijkl", p1, d, s)
        ),
        f=c**2
        * (
            torch.einsum("ijkl,kl->ikjl", ppss, theta)
            + torch.einsum("akbl,aik,bjl->ikjl", f, bent, bent)
        ),
    )


def omega(products: Tensor, slopes: Tensor, theta: Tensor, variance: float) -> Tensor:
    """Return Ω = σ_1σ_2 + C Θ_12 σ′_1σ′_2, whose mean is Θ of the next layer.

    The first term is the derivative by the layer's own weights, and has no C.

    Parameters
    ----------
    products, slopes
        σ_1σ_2 and σ′_1σ′_2, or their derivatives, (m, m, …).
    theta
        (m, m).
    variance
        C.

    Returns
    -------
    Tensor
        (m, m, …).
    """
    return products + variance * theta.view(*theta.shape, *[1] * (slopes.ndim - 2)) * slopes


def susceptibilities(
    function: Pointwise, k: float, variance: float = 1.0, order: int = DEFAULT_ORDER
) -> tuple[float, float]:
    """Return how a layer changes small differences of one input's size and of two inputs.

    Parameters
    ----------
    function, variance, order
        As for :func:`finite_width_kernels`.
    k
        K of the input.

    Returns
    -------
    parallel, perpendicular : float
        χ_∥ = dK′/dK and χ_⊥ = C⟨σ′σ′⟩; a network is critical where both are 1.

    Examples
    --------
    >>> from pear.kernels.pointwise import POINTWISE
    >>> [round(each, 9) for each in susceptibilities(POINTWISE["relu"], k=0.7, variance=2.0)]
    [1.0, 1.0]
    """
    at = torch.tensor([[k]], dtype=torch.float64)
    z, weights = gaussian_rule(at, order, kinked=function.kinked)
    _, second, _ = _hermite_polynomials(z, at)
    parallel = function.value(z[0]) ** 2 * second[0, 0] @ weights
    perpendicular = function.derivative(z[0]) ** 2 @ weights
    return variance * float(parallel), variance * float(perpendicular)


def _check(k: Tensor) -> None:
    """Refuse what the recursion cannot resolve."""
    if k.shape not in ((1, 1), (2, 2)):
        raise ValueError(f"the recursion takes 1 or 2 inputs, not {len(k)}")
    size = k.diagonal()
    if not k.isfinite().all() or not (size > 0).all():
        raise ValueError(f"the covariance of a layer is not finite or not positive: {k.tolist()}")
    if len(k) == 2:
        correlation = float(k[0, 1] / size.prod().sqrt())
        if abs(correlation) > MAX_CORRELATION:
            raise ValueError(
                f"the two inputs have correlation {correlation:.6f} in a layer, more than "
                f"{MAX_CORRELATION}; give one of them"
            )


def _hermite_polynomials(z: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return 1, ½H_ab and ¼H_abcd at points (m, point): means with them are derivatives by K."""
    inverse = torch.linalg.inv(k)
    y = inverse @ z
    q = inverse[..., None]
    two = _outer(y, y)
    second = two - q
    qy = torch.einsum("ab,cdq->abcdq", inverse, two)
    fourth = torch.einsum("abq,cdq->abcdq", two, two)
    qq = torch.einsum("ab,cd->abcd", inverse, inverse)[..., None]
    for order in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)):
        back = [order.index(axis) for axis in range(4)]
        swapped = [(order[2:] + order[:2]).index(axis) for axis in range(4)]
        fourth = fourth - qy.permute(*back, 4) - qy.permute(*swapped, 4) + qq.permute(*back, 4)
    return torch.ones_like(z[0]), second / 2, fourth / 4


def _corrected(first: Tensor, second: Tensor, k1: Tensor, v: Tensor) -> Tensor:
    """Return ½K¹_ab⟨∂_a∂_b f⟩ + ⅛V_(ab)(cd)⟨∂_a∂_b∂_c∂_d f⟩ from derivatives of ⟨f⟩ by K."""
    return torch.einsum("ijab,ab->ij", first, k1) + torch.einsum("ijabcd,abcd->ij", second, v) / 2


def _outer(one: Tensor, other: Tensor) -> Tensor:
    """Return products (m, m, point) of numbers (m, point)."""
    return one[:, None] * other
