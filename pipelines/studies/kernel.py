"""Equivariant neural tangent kernels: data augmented, or the symmetry built in.

Measures the theorems of arXiv 2406.06504.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import torch
from torch import Tensor

from pear.equivariant.contract import Fields
from pear.kernels import tables
from pear.kernels.architecture import (
    Architecture,
    cnn,
    gcnn,
    mlp,
    roto_translation_gcnn,
)
from pear.kernels.empirical import empirical_kernel
from pear.kernels.gaussian import MEANS, Nonlinearity
from pear.kernels.predict import MeanPrediction
from pear.kernels.tables import healpix_lifting, roto_translations
from pear.progress import ProgressCallback
from pear.sphere.groups import c4h
from pear.sphere.symmetry import C4H
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values
from pipelines.studies.figure import panels
from pipelines.studies.kernel_regression import regress, select_days

PAPER: Final = "arXiv 2406.06504"
_NSIDE: Final = 2
_SIGNS: Final = (1, 1, -1)
_CELLS: Final = 12 * _NSIDE**2
_TIMES: Final = {"early": 0.1, "middle": 1.0, "late": 10.0, "limit": float("inf")}
_TORI: Final = ((4, 2, False), (4, 4, False), (5, 4, False), (4, 4, True))
_FULL: Final = {32: 48, 128: 24, 512: 8}
_SHORT: Final = {8: 6, 32: 3}
"""Networks drawn, by width."""


@dataclass(frozen=True, kw_only=True)
class KernelStudy(ClaimStudy):
    """Kernels of augmented and of equivariant networks, on tori, on the sphere, and on analyses.

    Attributes
    ----------
    analysis
        Analysis store for the kernel regression of the next day; None leaves it out.
    days
        Numbers of training days of the regression.
    nside
        Resolution of its states.
    """

    analysis: Path | None = None
    days: tuple[int, ...] = (25, 50, 100, 200)
    nside: int = 8

    name: ClassVar[str] = "kernel"
    help: ClassVar[str] = "Compare augmentation with built-in symmetry by kernels of wide networks."
    usual_time: ClassVar[str] = "1 min"
    full_minutes: ClassVar[float] = 1.0
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "sphere",
            "GCNN kernel = group average of the MLP kernel, C4h on the sphere",
            f"{PAPER}, theorem",
            "at most",
            1e-12,
        ),
        Claim(
            "torus",
            "GCNN kernel = average of the CNN kernel over C2, C4, D4 on tori",
            f"{PAPER}, theorem",
            "at most",
            1e-12,
        ),
        Claim(
            "early",
            "mean prediction, augmented MLP against GCNN, ηt = 0.1",
            f"{PAPER}, corollary",
            "at most",
            1e-12,
        ),
        Claim("middle", "the same at ηt = 1", f"{PAPER}, corollary", "at most", 1e-12),
        Claim("late", "the same at ηt = 10", f"{PAPER}, corollary", "at most", 1e-10),
        Claim(
            "limit",
            "the same after long training",
            f"{PAPER}, corollary",
            "at most",
            1e-8,
        ),
        Claim("control", "difference without augmentation", "control", "at least", 1e-2),
        Claim(
            "unbiased",
            "kernel of finite GCNNs, one hidden layer, off by standard errors",
            "E[Θ] exact",
            "at most",
            4.5,
            statistical=True,
        ),
        Claim(
            "decay",
            "exponent of the deviation of one network in its width",
            "central limit",
            "near",
            0.15,
            -0.5,
            statistical=True,
        ),
        Claim(
            "weather_same",
            "next-day z500: augmented set and equivariant kernel agree",
            f"{PAPER}, corollary",
            "at most",
            1e-8,
        ),
        Claim("weather_other", "next-day z500: plain kernel differs", "control", "at least", 1e-3),
        Claim(
            "weather_gain",
            "next-day z500: skill gained by the symmetry, most days",
            "here",
            "at least",
            0.0,
            statistical=True,
        ),
    )

    def __post_init__(self) -> None:
        if self.analysis is not None:
            select_days(self.analysis, max(self.days), self.nside)

    def parts(self) -> list[Part]:
        """Return the theorems, finite networks, and the regression if there is a store."""
        widths = _FULL if self.minutes is None or self.minutes >= self.full_minutes else _SHORT
        parts = [
            Part("sphere", self._sphere, 6),
            Part("torus", self._torus, len(_TORI)),
            Part("dynamics", self._dynamics),
            Part("finite", partial(self._finite, widths), sum(widths.values())),
        ]
        if self.analysis is not None:
            parts.append(Part("weather", self._weather, len(self.days) + 2))
        return parts

    def _states(self, count: int, seed: int) -> Tensor:
        return _noise((count, 1, len(_SIGNS) * _CELLS), self.seed + seed)

    def _sphere(self, tick: ProgressCallback) -> Values:
        x, y = self._states(3, 1), self._states(2, 2)
        worst = 0.0
        for function in MEANS:
            for hidden in (1, 2, 4):
                group, plain = _pair(hidden, function)
                moved = [plain.kernels(x, _moved(y, g)).tangent for g in range(len(C4H))]
                average = torch.stack(moved).mean(0)
                worst = max(worst, _relative(group.kernels(x, y).tangent, average))
                tick(1)
        return {"sphere": worst}

    def _torus(self, tick: ProgressCallback) -> Values:
        worst = 0.0
        for side, n, reflections in _TORI:
            group = roto_translations(side, 1, n, reflections=reflections)
            x, y = (_noise((2, 2, side * side), self.seed + seed) for seed in (3, 4))
            plain = cnn(tables.torus(side), 2)
            moved = [plain.kernels(x, y[..., move]).tangent for move in group.moves]
            found = roto_translation_gcnn(group, 2).kernels(x, y).tangent
            worst = max(worst, _relative(found, torch.stack(moved).mean(0)))
            tick(1)
        return {"torus": worst}

    def _dynamics(self, tick: ProgressCallback) -> Values:
        """Train on augmented data, on plain data, and with the symmetry built in."""
        group, plain = _pair(2, "relu")
        x, y = self._states(4, 5), self._states(3, 6)
        targets = _noise((4, 2), self.seed + 7)
        augmented = torch.cat([_moved(x, g) for g in range(len(C4H))])
        mean = MeanPrediction(
            plain.kernels(augmented, augmented).tangent, targets.repeat(len(C4H), 1)
        )
        built_in = MeanPrediction(group.kernels(x, x).tangent, targets)
        alone = MeanPrediction(plain.kernels(x, x).tangent, targets)
        here = plain.kernels(y, augmented).tangent, group.kernels(y, x).tangent
        values = {
            name: float((mean.at(time, here[0]) - built_in.at(time, here[1])).abs().max())
            for name, time in _TIMES.items()
        }
        control = alone.at(1.0, plain.kernels(y, x).tangent) - mean.at(1.0, here[0])
        return {**values, "control": float(control.abs().max())}

    def _finite(self, widths: Mapping[int, int], tick: ProgressCallback) -> Values:
        """Compare single GCNNs with the kernel of infinitely wide ones."""
        torch.manual_seed(self.seed)
        shallow, deep = (_pair(hidden, "relu")[0] for hidden in (1, 2))
        x, y = self._states(2, 8), self._states(2, 9)
        count = sum(widths.values()) * 2
        draws = torch.stack([_empirical(shallow, 16, x, y) for _ in range(count)])
        off = draws.mean(0) - shallow.kernels(x, y).tangent
        error = draws.std(0) / count**0.5
        want = deep.kernels(x, y).tangent
        deviations = []
        for width, number in widths.items():
            squares = []
            for _ in range(number):
                squares.append(((_empirical(deep, width, x, y) - want) ** 2).mean())
                tick(1, f"width {width}")
            deviations.append(float(torch.stack(squares).mean().sqrt() / want.abs().mean()))
        logs = torch.tensor([list(widths), deviations], dtype=torch.float64).log()
        centred = logs - logs.mean(1, keepdim=True)
        return {
            "unbiased": float((off.abs() / error).max()),
            "decay": float((centred[0] * centred[1]).sum() / (centred[0] ** 2).sum()),
            "widths": [float(width) for width in widths],
            "deviations": deviations,
        }

    def _weather(self, tick: ProgressCallback) -> Values:
        if self.analysis is None:
            raise ValueError("no analysis store was given")
        return regress(self.analysis, self.days, self.nside, tick)

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw the deviation of finite networks, and the skill of the regression.

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
        weather, finite = results.get("weather"), results["finite"]
        with panels(path, 2 if weather else 1, width=4.5) as axes:
            axes[0].loglog(finite["widths"], finite["deviations"], marker="o")
            axes[0].set_xlabel("width")
            axes[0].set_ylabel("rms deviation of one network's kernel")
            if weather:
                for name in ("plain", "equivariant"):
                    axes[1].semilogx(weather["train_days"], weather[name], marker="o", label=name)
                axes[1].set_xlabel("training days")
                axes[1].set_ylabel("skill of the next day's z500 change")
                axes[1].legend()
        return True


def _pair(hidden: int, function: Nonlinearity) -> tuple[Architecture, Architecture]:
    """Return a GCNN on the sphere and the MLP of the same depth."""
    lifting = healpix_lifting(_NSIDE, _SIGNS)
    group = gcnn(lifting, tables.group_convolution(c4h()), hidden, function, bias=0.1)
    return group, mlp(len(_SIGNS) * _CELLS, hidden, function, bias=0.1)


def _moved(x: Tensor, element: int) -> Tensor:
    """Move fields (input, 1, channel · cell) by an element of C4h."""
    fields = x.view(-1, len(_SIGNS), _CELLS)
    return Fields(_NSIDE, _SIGNS, channel_axis=1).act(C4H[element], fields).reshape(x.shape)


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _relative(got: Tensor, want: Tensor) -> float:
    return float((got - want).abs().max() / want.abs().max())


def _empirical(architecture: Architecture, width: int, x: Tensor, y: Tensor) -> Tensor:
    return empirical_kernel(architecture.network(1, width), x, y)
