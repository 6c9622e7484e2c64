"""Spherical convolutions: exact under every rotation, and against augmentation (2202.03990).

A network of zonal convolutions is trained on digits that all lie at the same place of the sphere,
networks of stencils on rotated copies of them. All are tested on digits turned at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from pear.equivariant.contract import Fields, equivariance_error
from pear.equivariant.representations import SO3Coefficients, SphereCoefficients
from pear.equivariant.so3 import (
    RotationAnalysis,
    RotationConv,
    RotationDescend,
    RotationLift,
    RotationSynthesis,
)
from pear.equivariant.spherical import (
    Analysis,
    SampledActivation,
    SphereMixing,
    Synthesis,
    ZonalConv,
)
from pear.progress import ProgressCallback
from pear.sphere.harmonics import Rotation, synthesis
from pear.sphere.healpix import cell_of
from pear.sphere.rotations import so3_offset
from pear.sphere.symmetry import C4H
from pipelines.studies.claims import Claim, ClaimStudy, Part, Rule, Values
from pipelines.studies.figure import panels
from pipelines.studies.group import digits
from pipelines.studies.sphere_digits import (
    TRAINING,
    EquivariantNetwork,
    PlainNetwork,
    Task,
    on_sphere,
    random_rotations,
)

PAPER: Final = "arXiv 2202.03990"
STEPS: Final = 1200
STEPS_PER_MINUTE: Final = 600
COPIES: Final = (0, 1, 8, 32)
LARGE: Final = (48, 6000)
"""Width of the large plain network, and its steps."""
GRIDS: Final = ((2, 9), (4, 16), (8, 32))
_DEGREE, _SHOWN = 4, 32
_ROTATIONS: Final = (Rotation(0.3, 1.1, -2.0), Rotation(-1.4, 0.6, 0.9), Rotation(2.2, 2.7, 0.4))


def _trained(
    key: str, text: str, source: str, rule: Rule, tolerance: float, unit: str = ""
) -> Claim:
    return Claim(key, text, source, rule, tolerance, unit=unit, statistical=True)


@dataclass(frozen=True, kw_only=True)
class SphereStudy(ClaimStudy):
    """Digits on the sphere, by zonal convolutions and by stencils with augmentation.

    Attributes
    ----------
    large
        Also train a plain network of four times as many parameters, five times as long.
    """

    large: bool = False

    name: ClassVar[str] = "sphere"
    help: ClassVar[str] = "Read digits turned on the sphere: equivariance against augmentation."
    usual_time: ClassVar[str] = "10 min"
    full_minutes: ClassVar[float] = STEPS / STEPS_PER_MINUTE
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "rotations",
            "change of the layers on the sphere and on SO(3) by rotations, gradients included",
            "exact",
            "at most",
            1e-12,
        ),
        Claim(
            "grid",
            "change of zonal convolutions of any field by symmetries of the grid",
            "exact",
            "at most",
            1e-12,
        ),
        Claim(
            "left",
            "the same of a filter on SO(3) that acts from the left (control)",
            "control",
            "at least",
            0.1,
        ),
        Claim(
            "quadrature",
            "error of coefficients by sums over cells, nside 4, degree 6 (control)",
            "control",
            "at least",
            0.01,
        ),
        Claim(
            "tanh_2", "aliasing of tanh on SO(3), degree 4, nside 2 x 9", "here", "at most", 0.08
        ),
        Claim("tanh_8", "the same, nside 8 x 32", "here", "at most", 0.001),
        _trained(
            "equivariant", "right on turned digits: equivariant", "design", "at least", 92, "%"
        ),
        _trained(
            "plain_0", "the same: plain, trained on digits as they are", PAPER, "at most", 35, "%"
        ),
        _trained(
            "gain_32", "the same: equivariant minus plain with k = 32", PAPER, "at least", 0, "%"
        ),
        _trained(
            "iou_ratio",
            "cells by label, mean IoU: equivariant over best plain",
            PAPER,
            "at least",
            1.3,
        ),
        _trained(
            "iou_gain", "mean IoU of the plain network: k = 32 minus k = 8", PAPER, "at most", 0.03
        ),
        _trained(
            "large_gap",
            "right on turned digits: equivariant minus large plain",
            PAPER,
            "at most",
            5,
            "%",
        ),
    )

    def parts(self) -> list[Part]:
        """Return the symmetry of the layers, the aliasing, and the trainings."""
        networks = [
            Part("equivariant", partial(self._train, "equivariant", 0, self.steps), self.steps),
            *(
                Part(f"plain_{k}", partial(self._train, "plain", k, self.steps), self.steps)
                for k in COPIES
            ),
        ]
        if self.large:
            steps = self.steps * LARGE[1] // STEPS
            work = partial(self._train, "large", COPIES[-1], steps)
            networks.append(Part(f"large_{COPIES[-1]}", work, steps))
        return [
            Part("layers", self._measure_layers),
            Part("aliasing", self._measure_aliasing),
            *networks,
        ]

    @property
    def steps(self) -> int:
        """Optimiser steps of a training."""
        return STEPS if self.minutes is None else max(round(self.minutes * STEPS_PER_MINUTE), 1)

    def measured(self, results: Mapping[str, Values]) -> dict[str, float]:
        """Return the value of each claim."""
        exact = super().measured({name: results[name] for name in ("layers", "aliasing")})
        right = {name: _number(values, "accuracy") for name, values in _trainings(results)}
        iou = {name: _number(values, "iou") for name, values in _trainings(results)}
        plain = [f"plain_{k}" for k in COPIES]
        found = {
            **exact,
            **right,
            "gain_32": right["equivariant"] - right["plain_32"],
            "iou_ratio": iou["equivariant"] / max(iou[name] for name in plain),
            "iou_gain": iou["plain_32"] - iou["plain_8"],
        }
        if "large_32" in right:
            found["large_gap"] = right["equivariant"] - right["large_32"]
        return found

    def _measure_layers(self, tick: ProgressCallback) -> Values:
        torch.manual_seed(self.seed)
        on_rotations = SO3Coefficients(_DEGREE)
        error = 0.0
        for layer, x, source, target in _layers():
            for rotation in _ROTATIONS:
                each = equivariance_error(layer, rotation, x, source, target, gradients=True)
                error = max(error, each)
        mixing, fields = SphereMixing(4, 8, 3, 2), Fields(4)
        x = torch.randn(2, 3, 192)
        grid = max(
            equivariance_error(mixing, element, x, fields, fields, gradients=True)
            for element in C4H
        )
        x = torch.randn(2, so3_offset(_DEGREE + 1))
        left = equivariance_error(_from_the_left, _ROTATIONS[0], x, on_rotations, on_rotations)
        table = synthesis(4, 6)
        sums = 4 * np.pi / len(table) * table.T @ table
        quadrature = float(np.abs(sums - np.eye(len(sums))).max())
        return {"rotations": error, "grid": grid, "left": left, "quadrature": quadrature}

    def _measure_aliasing(self, tick: ProgressCallback) -> Values:
        """Measure pointwise functions of random signals of variance 1."""
        torch.manual_seed(self.seed)
        turned, size = SO3Coefficients(_DEGREE), so3_offset(_DEGREE + 1)
        x = torch.randn(4, size) / size**0.5
        found: dict[str, float | Sequence[float] | str] = {}
        for nside, angles in GRIDS:
            samples = nside, angles, _DEGREE
            layer = SampledActivation(
                RotationSynthesis(*samples), RotationAnalysis(*samples), torch.tanh
            )
            found[f"tanh_{nside}"] = _largest_error(layer, x, turned)
        for nside, lmax in ((8, 8), (8, 12), (8, 16)):
            field = torch.randn(4, (lmax + 1) ** 2) / (lmax + 1)
            gelu = SampledActivation(Synthesis(nside, lmax), Analysis(nside, lmax))
            found[f"gelu_{lmax}"] = _largest_error(gelu, field, SphereCoefficients(lmax))
        return found

    def _train(self, kind: str, copies: int, steps: int, tick: ProgressCallback) -> Values:
        torch.manual_seed(self.seed)
        network: nn.Module
        if kind == "equivariant":
            network = EquivariantNetwork()
        else:
            network = PlainNetwork(LARGE[0]) if kind == "large" else PlainNetwork()
        return Task(copies, steps, self.seed, TRAINING).run(network, tick)

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw digits on the sphere, and both scores by the number of rotated copies.

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
        with panels(path, 3, width=4.2) as (shown, *scores):
            shown.imshow(_example(self.seed), cmap="gray_r", interpolation="nearest")
            shown.set(title="a digit as it is trained on, and tested", xticks=[], yticks=[])
            for axes, key, label in zip(
                scores, ("accuracy", "iou"), ("digit right, %", "mean IoU of cells"), strict=True
            ):
                plain = [_number(results[f"plain_{k}"], key) for k in COPIES]
                axes.plot(range(len(COPIES)), plain, "o-", color="#3b6fb6", label="plain")
                axes.axhline(
                    _number(results["equivariant"], key),
                    color="#14784f",
                    label="equivariant, not augmented",
                )
                if "large_32" in results:
                    large = _number(results["large_32"], key)
                    axes.plot(len(COPIES) - 1, large, "s", color="#b04a3b", label="plain, large")
                axes.set_xticks(range(len(COPIES)), [str(k) for k in COPIES])
                axes.set(xlabel="rotated copies of each image", ylabel=label)
                axes.set_ylim(0, 100 if key == "accuracy" else 0.7)
                axes.grid(alpha=0.3)
                axes.legend(fontsize="small")
        return True


Signals: TypeAlias = SO3Coefficients | SphereCoefficients


def _layers() -> Iterator[tuple[nn.Module, Tensor, Signals, Signals]]:
    """Yield each layer, real and complex, with an input and the representations."""
    sphere, rotations = SphereCoefficients(_DEGREE), SO3Coefficients(_DEGREE)
    sizes = {sphere: (_DEGREE + 1) ** 2, rotations: so3_offset(_DEGREE + 1)}
    for kind in (torch.float32, torch.complex64):
        for make, source, target in (
            (RotationLift, sphere, rotations),
            (RotationConv, rotations, rotations),
            (RotationDescend, rotations, sphere),
        ):
            layer = make(_DEGREE, 3, 2, kind)
            yield layer, torch.randn(2, 3, sizes[source], dtype=kind), source, target
    yield ZonalConv(_DEGREE, 3, 2), torch.randn(2, 3, sizes[sphere]), sphere, sphere


def _from_the_left(x: Tensor) -> Tensor:
    """Multiply F^1 by a fixed matrix from the left, where a convolution acts from the right."""
    psi = torch.arange(9.0, dtype=x.dtype).view(3, 3)
    turned = psi @ x[..., 1:10].reshape(*x.shape[:-1], 3, 3)
    return torch.cat([x[..., :1], turned.flatten(-2), x[..., 10:]], -1)


def _largest_error(layer: nn.Module, x: Tensor, turned: Signals) -> float:
    return max(equivariance_error(layer, each, x, turned, turned) for each in _ROTATIONS)


def _trainings(results: Mapping[str, Values]) -> list[tuple[str, Values]]:
    return [(name, values) for name, values in results.items() if "accuracy" in values]


def _number(values: Values, key: str) -> float:
    value = values[key]
    if not isinstance(value, (int, float)):
        raise TypeError(f"{key} is not a number: {value!r}")
    return float(value)


def _example(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a digit upright and turned, seen from far away, side by side."""
    images, _ = digits()
    side = torch.linspace(-1, 1, 160)
    north, east = torch.meshgrid(-side, side, indexing="ij")
    ahead = (1 - north**2 - east**2).clamp(min=0).sqrt()
    turn = random_rotations(1, torch.Generator().manual_seed(seed))[0]
    inside, views = ahead > 0, []
    for rotation in (torch.eye(3), turn):
        field = on_sphere(images[:1], rotation[None], _SHOWN)[0]
        # Looked at from above the place where the digit lies.
        x, y, z = (torch.stack([ahead, east, north], -1) @ _around(rotation[:, 0])).unbind(-1)
        latitude, longitude = torch.asin(z.clamp(-1, 1)), torch.atan2(y, x)
        cells = cell_of(latitude.rad2deg().numpy(), longitude.rad2deg().numpy(), _SHOWN)
        views.append(inside * (0.08 + field[torch.from_numpy(cells)]))
    return np.asarray(torch.cat(views, 1).numpy(), dtype=np.float32)


def _around(place: Tensor) -> Tensor:
    """Return the directions ahead, east and north at a place, (3, 3) rows."""
    east = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), place)
    east = east / east.norm()
    return torch.stack([place, east, torch.linalg.cross(place, east)])
