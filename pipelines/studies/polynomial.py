"""Polynomial group-convolution networks: how many functions they are (arXiv 2603.29566).

The network is z ← θ_k ⋆ z, then z ← z^r in all layers but the last, with one channel. Its functions
form a set of dimension L(|G| − 1) + 1, whatever r and whatever the structure of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import torch
from torch import Tensor
from torch.func import jacrev

from pear.progress import ProgressCallback
from pear.sphere.groups import FiniteGroup, c4h, cyclic, dihedral
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values
from pipelines.studies.figure import panels

PAPER: Final = "arXiv 2603.29566"
INPUTS: Final = 60
"""Random inputs; their outputs are many more than parameters."""
SMALLEST: Final = 1e-9
"""Singular values below this part of the largest are zero."""
_DEPTHS: Final = (1, 2, 3)
_POWERS: Final = (2, 3)


@dataclass(frozen=True, kw_only=True)
class PolynomialStudy(ClaimStudy):
    """Dimensions and fibres of polynomial networks on C3, C4, D3, D4 and C4h."""

    name: ClassVar[str] = "polynomial"
    help: ClassVar[str] = "Count the dimensions of polynomial group-convolution networks."
    usual_time: ClassVar[str] = "5 s"
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "dimension",
            "largest deviation from L(|G|-1)+1, five groups, L = 1, 2, 3, r = 2, 3",
            PAPER,
            "at most",
            0.0,
            0.0,
        ),
        Claim("scaling", "change of the function by scaling two layers", PAPER, "at most", 1e-12),
        Claim("translation", "change by translating two layers, D3", PAPER, "at most", 1e-12),
        Claim("other_side", "change by translating on the other side, D3", PAPER, "at least", 1e-2),
        Claim(
            "directions",
            "derivative of the outputs along the scalings, which leave no other direction; D3",
            PAPER,
            "at most",
            1e-12,
        ),
        Claim("c4h", "dimension of three layers on C4h (24 parameters)", PAPER, "near", 0.0, 22.0),
    )

    def parts(self) -> list[Part]:
        """Return the dimensions and the fibres."""
        return [Part("dimension", self._dimensions, 5 * len(_DEPTHS)), Part("fibre", self._fibre)]

    def _dimensions(self, tick: ProgressCallback) -> Values:
        worst, curves = 0, {}
        for group in (cyclic(3), cyclic(4), dihedral(3), dihedral(4), c4h()):
            found = []
            for depth in _DEPTHS:
                for power in _POWERS:
                    found.append(dimension(group, depth, power, self.seed))
                    worst = max(worst, abs(found[-1] - depth * (group.order - 1) - 1))
                tick(1, group.name)
            curves[group.name] = [float(each) for each in found[:: len(_POWERS)]]
            curves[f"{group.name}_parameters"] = [float(group.order * d) for d in _DEPTHS]
        return {"dimension": float(worst), "c4h": curves["C4h"][-1], **curves}

    def _fibre(self, tick: ProgressCallback) -> Values:
        return fibre(dihedral(3), 2, self.seed)

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw the dimensions against the parameters, one line a group.

        Parameters
        ----------
        results
            What the parts measured.
        path
            PNG file to write.

        Returns
        -------
        bool
            True.
        """
        with panels(path) as (axes,):
            axes.plot([0, 24], [0, 24], color="0.7", linewidth=0.8, label="one for each parameter")
            curves = results["dimension"]
            # Groups of the same order lie on each other: markers of falling size show them all.
            for place, name in enumerate(("C3", "D3", "C4h", "D4", "C4")):
                axes.plot(
                    curves[f"{name}_parameters"],
                    curves[name],
                    marker="os^Dv"[place],
                    markersize=9 - place,
                    fillstyle="none",
                    label=name,
                )
            axes.set(xlabel="parameters, one to three layers", ylabel="dimension of the functions")
            axes.legend()
        return True


def fibre(group: FiniteGroup, power: int, seed: int) -> dict[str, float]:
    """Measure what leaves the function of three layers unchanged, and what does not.

    Parameters
    ----------
    group, power
        As for :func:`evaluate`.
    seed
        Random seed of kernels and inputs.

    Returns
    -------
    dict
        Largest relative change of the outputs by ``scaling`` (θ_k by λ, θ_{k+1} by λ^−r), by
        ``translation`` (θ_k(ag), θ_{k+1}(ga⁻¹)) and by translation on the ``other_side`` (θ_k(ga),
        θ_{k+1}(a⁻¹g)); and their derivative in the ``directions`` of the scalings, relative to the
        largest one. There are as many of these as the rank lacks, so no others are left.
    """
    scale, a = 1.7, 1
    theta, z = _draw(group, 3, seed)
    before = evaluate(group, theta, z, power)
    product, back = torch.from_numpy(group.product.copy()), int(group.inverse[a])
    changed = {
        "scaling": [theta[0] * scale, theta[1] * scale**-power, theta[2]],
        "translation": [theta[0][product[a]], theta[1][product[:, back]], theta[2]],
        "other_side": [theta[0][product[:, a]], theta[1][product[back]], theta[2]],
    }
    size = float(before.abs().max())
    found = {
        name: float((evaluate(group, rows, z, power) - before).abs().max()) / size
        for name, rows in changed.items()
    }
    jacobian = jacrev(lambda kernels: evaluate(group, kernels, z, power))(theta)
    scalings = torch.zeros(2, *theta.shape, dtype=theta.dtype)
    for layer in range(2):
        scalings[layer, layer], scalings[layer, layer + 1] = theta[layer], -power * theta[layer + 1]
    along = torch.einsum("zglh,slh->szg", jacobian, scalings)
    return {**found, "directions": float(along.abs().max() / jacobian.abs().max())}


def evaluate(group: FiniteGroup, theta: Sequence[Tensor] | Tensor, z: Tensor, power: int) -> Tensor:
    """Return the outputs of a network.

    Parameters
    ----------
    group
        The group G.
    theta
        (layer, |G|), kernels.
    z
        (input, |G|).
    power
        r.

    Returns
    -------
    Tensor
        (input, |G|).
    """
    left = torch.from_numpy(group.left.copy())
    for layer, kernel in enumerate(theta):
        z = z**power if layer else z
        z = z @ kernel[left].mT
    return z


def dimension(group: FiniteGroup, depth: int, power: int, seed: int) -> int:
    """Return the rank of the derivative of the outputs by the kernels.

    Parameters
    ----------
    group, power
        As for :func:`evaluate`.
    depth
        Layers L.
    seed
        Random seed of kernels and inputs.

    Returns
    -------
    int
        The dimension of the set of functions, at a random point of it.
    """
    theta, z = _draw(group, depth, seed)
    jacobian = jacrev(lambda kernels: evaluate(group, kernels, z, power))(theta)
    values = torch.linalg.svdvals(jacobian.reshape(-1, theta.numel()))
    return int((values > SMALLEST * values[0]).sum())


def _draw(group: FiniteGroup, depth: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw kernels (layer, |G|) and inputs (input, |G|)."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (depth, group.order), (INPUTS, group.order)
    theta, z = (torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)
    return theta, z
