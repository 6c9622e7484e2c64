"""Emergent equivariance: ensembles trained on augmented data, whose members are not equivariant.

Measures the theorem of arXiv 2403.03103 on kernels, where it is exact, and what arXiv 2410.01452
adds to it: networks of any finite width, if their initial weights have the symmetry in
distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from pear.equivariant.contract import Fields
from pear.kernels import tables
from pear.kernels.architecture import cnn, mlp
from pear.kernels.members import Members, descended_mean
from pear.kernels.predict import MeanPrediction
from pear.kernels.tables import roto_translations
from pear.progress import ProgressCallback
from pear.sphere.symmetry import C4H, Element
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values
from pipelines.studies.emergent_pear import measure_ensemble, train_members
from pipelines.studies.figure import panels
from pipelines.studies.symmetrisation import ensemble_error

PAPER: Final = "arXiv 2403.03103"
FINITE: Final = "arXiv 2410.01452"
_NSIDE: Final = 2
_SIGNS: Final = (1, 1, -1)
_CELLS: Final = 12 * _NSIDE**2
_TIMES: Final = {"early": 0.1, "middle": 1.0, "late": 10.0, "limit": math.inf}
_ORBITS: Final = (4, 8, 16, 32)
_HARMONICS: Final = 6
_CLASSES: Final = 4
_SAMPLES: Final = 24
_TESTS: Final = 50
_STEPS: Final = 100
_RATE: Final = 1.0
_MEMBERS: Final = {16: 512, 64: 128, 256: 64}
"""Members by width."""
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, kw_only=True)
class EmergentStudy(ClaimStudy):
    """Ensembles trained on whole orbits of the symmetry: kernels, networks, and PEAR.

    Attributes
    ----------
    analysis
        Analysis store for an ensemble of PEAR networks; None leaves it out.
    members
        Its members.
    steps
        Optimiser steps of each.
    """

    analysis: Path | None = None
    members: int = 8
    steps: int = 60

    name: ClassVar[str] = "emergent"
    help: ClassVar[str] = "Equivariance of ensembles whose members saw augmented data."
    usual_time: ClassVar[str] = "1 min"
    full_minutes: ClassVar[float] = 1.0
    claims: ClassVar[tuple[Claim, ...]] = (
        *(
            Claim(
                f"sphere_{name}",
                f"kernel of an MLP, C4h, fields that move: |μ(gx) - gμ(x)|, ηt = {time:g}",
                f"{PAPER}, theorem",
                "at most",
                tolerance,
                0.0,
            )
            for (name, time), tolerance in zip(
                _TIMES.items(), (1e-12, 1e-12, 1e-10, 1e-8), strict=True
            )
        ),
        *(
            Claim(
                f"output_{name}",
                f"the same at ηt = 1, the output being {text}",
                f"{PAPER}, theorem",
                "at most",
                1e-12,
                0.0,
            )
            for name, text in (
                ("invariant", "a number"),
                ("scalar", "a scalar field"),
                ("northward", "a northward wind"),
            )
        ),
        Claim("control", "the same without augmentation, ηt = 1", "control", "at least", 1e-2),
        Claim(
            "convolution",
            "kernel of a CNN, C4 on a torus, up to ηt = 10",
            f"{PAPER}, theorem",
            "at most",
            1e-10,
            0.0,
        ),
        Claim("convolution_control", "without augmentation", "control", "at least", 1e-2),
        Claim(
            "circle",
            "all rotations from C4, C8, C16, C32: error at C16 over C4, ηt = 1",
            PAPER,
            "at most",
            0.2,
        ),
        Claim(
            "orbit",
            "8 networks of width 32 from one orbit of initial weights",
            FINITE,
            "at most",
            1e-11,
            0.0,
        ),
        Claim(
            "common",
            "64 MLPs of width 256: squared error at infinitely many by standard errors",
            FINITE,
            "at most",
            2.0,
            0.0,
            statistical=True,
        ),
        Claim(
            "common_narrow",
            "the same at widths 16 and 64, the larger",
            FINITE,
            "at most",
            2.5,
            0.0,
            statistical=True,
        ),
        Claim(
            "common_plain",
            "128 MLPs of width 64 without augmentation: the same",
            "control",
            "at least",
            5.0,
            statistical=True,
        ),
        Claim(
            "decay",
            "exponent of the error in the number of members, width 256",
            PAPER,
            "near",
            0.1,
            -0.5,
            statistical=True,
        ),
        Claim(
            "same_one",
            "share of an orbit with the same class: 1 member, width 256",
            PAPER,
            "at most",
            0.6,
            statistical=True,
        ),
        Claim("same_all", "the same, 64 members", PAPER, "at least", 0.5, statistical=True),
        Claim(
            "correction",
            "mean of the members off the kernel's, width 64 over width 16",
            "1/width",
            "at most",
            0.7,
            statistical=True,
        ),
        Claim(
            "pear_decay",
            "PEAR: exponent of the mirror's error in the number of members",
            PAPER,
            "near",
            0.1,
            -0.5,
            statistical=True,
        ),
        Claim(
            "pear_one",
            "PEAR: error of one member over a step's change",
            "here",
            "at least",
            0.0,
            statistical=True,
        ),
        Claim(
            "pear_common",
            "PEAR: error that infinitely many members keep, over one member's",
            PAPER,
            "at most",
            0.2,
            0.0,
            statistical=True,
        ),
    )

    def parts(self) -> list[Part]:
        """Return the kernels, the networks by width, and PEAR if there is a store."""
        networks = {f"width-{n}": partial(self._networks, n) for n in _MEMBERS}
        networks["plain"] = partial(self._networks, 64, augmented=False)
        parts = [
            Part("sphere", self._sphere),
            Part("torus", self._torus),
            Part("circle", self._circle, len(_ORBITS)),
            Part("orbit", self._orbit, _STEPS),
            *(Part(name, work, _STEPS) for name, work in networks.items()),
        ]
        if self.analysis is not None:
            parts.append(Part("pear", self._pear, self.members + 1))
        return parts

    @property
    def _is_short(self) -> bool:
        return self.minutes is not None and self.minutes < self.full_minutes

    @cached_property
    def _data(self) -> tuple[Tensor, Tensor, Tensor]:
        """Training states (sample, 144), their classes as centred numbers, and test states."""
        x = _noise((_SAMPLES, len(_SIGNS) * _CELLS), self.seed + 1)
        test = _noise((_TESTS, len(_SIGNS) * _CELLS), self.seed + 2)
        # Classes by chance: nothing but the augmentation says that they are invariant.
        y = torch.eye(_CLASSES, dtype=x.dtype)[torch.arange(_SAMPLES) % _CLASSES] - 1 / _CLASSES
        return x, y, test

    def _sphere(self, tick: ProgressCallback) -> Values:
        """Train the mean of infinitely many MLPs on states and outputs that move together."""
        x = _noise((4, len(_SIGNS) * _CELLS), self.seed + 3)
        test = torch.cat([x, _noise((3, len(_SIGNS) * _CELLS), self.seed + 4)])
        y = _noise((4, 1 + 2 * _CELLS), self.seed + 5)
        augmented = torch.cat([_moved(x, g) for g in C4H])
        targets = torch.cat([_moved_output(y, g) for g in C4H])
        mean = MeanPrediction(_mlp(augmented, augmented, 2), targets)
        alone = MeanPrediction(_mlp(x, x, 2), y)

        def errors(prediction: Callable[[Tensor], Tensor]) -> Tensor:
            base = prediction(test)
            off = torch.stack(
                [prediction(_moved(test, g)) - _moved_output(base, g) for g in C4H]
            ).abs()
            return off.amax((0, 1)) / base.abs().max()

        def predict(time: float, at: Tensor) -> Tensor:
            return mean.at(time, _mlp(at, augmented, 2))

        found: dict[str, float] = {}
        for name, time in _TIMES.items():
            each = errors(partial(predict, time))
            found[f"sphere_{name}"] = float(each.max())
            if name == "middle":
                found["output_invariant"] = float(each[0])
                found["output_scalar"] = float(each[1 : 1 + _CELLS].max())
                found["output_northward"] = float(each[1 + _CELLS :].max())
        found["control"] = float(errors(lambda at: alone.at(1.0, _mlp(at, x, 2))).max())
        return found

    def _torus(self, tick: ProgressCallback) -> Values:
        """Do the same with convolutions, which do not turn with an image."""
        side = 4
        turns = roto_translations(side, 1, 4).moves
        plain = cnn(tables.torus(side), 2)
        x, test = (_noise((n, 2, side * side), self.seed + n) for n in (5, 6))
        y = _noise((5, 1), self.seed + 7)
        augmented = torch.cat([x[..., turn] for turn in turns])
        mean = MeanPrediction(plain.kernels(augmented, augmented).tangent, y.repeat(len(turns), 1))
        alone = MeanPrediction(plain.kernels(x, x).tangent, y)
        at = [plain.kernels(test[..., turn], augmented).tangent for turn in turns]
        worst = 0.0
        for time in (0.1, 1.0, 10.0):
            values = torch.stack([mean.at(time, kernel) for kernel in at])
            worst = max(worst, float((values - values[0]).abs().max() / values.abs().max()))
        values = torch.stack(
            [alone.at(1.0, plain.kernels(test[..., turn], x).tangent) for turn in turns]
        )
        control = float((values - values[0]).abs().max() / values.abs().max())
        return {"convolution": worst, "convolution_control": control}

    def _circle(self, tick: ProgressCallback) -> Values:
        """Augment with some rotations of the plane, and measure with all."""
        size = 2 * _HARMONICS + 1
        x, test = (_noise((n, size), self.seed + n) for n in (10, 20))
        y = _noise((10, 1), self.seed + 8)
        angles = torch.linspace(0, 2 * math.pi, 41, dtype=x.dtype)[:-1]
        curve = []
        for count in _ORBITS:
            steps = (2 * math.pi * torch.arange(count) / count).to(x.dtype)
            augmented = torch.cat([_turned(x, step) for step in steps])
            mean = MeanPrediction(_mlp(augmented, augmented, 2), y.repeat(count, 1))
            base = mean.at(1.0, _mlp(test, augmented, 2))
            off = [mean.at(1.0, _mlp(_turned(test, a), augmented, 2)) - base for a in angles]
            curve.append(float(torch.stack(off).pow(2).mean().sqrt() / base.pow(2).mean().sqrt()))
            tick(1, f"C{count}")
        ratio = curve[_ORBITS.index(16)] / curve[_ORBITS.index(4)]
        return {"circle": ratio, "orbits": [float(n) for n in _ORBITS], "errors": curve}

    def _orbit(self, tick: ProgressCallback) -> Values:
        """Train the networks that one draw of weights and its images make."""
        x, y, test = self._data
        one = Members.draw(x.shape[1], 32, _CLASSES, count=1, seed=self.seed)
        first = torch.cat([_moved(one.first[0], g)[None] for g in C4H])
        members = Members(first, one.last.repeat(len(C4H), 1, 1))
        members.train(*_whole_orbits(x, y), _STEPS, _RATE, tick)
        values = torch.stack([members(_moved(test, g)).mean(0) for g in C4H])
        return {"orbit": float((values - values[0]).abs().max() / values.abs().max())}

    def _networks(self, width: int, tick: ProgressCallback, *, augmented: bool = True) -> Values:
        """Train members and measure how their mean moves with the states."""
        x, y, test = self._data
        count = 4 if self._is_short else _MEMBERS[width]
        steps = 10 if self._is_short else _STEPS
        members = Members.draw(
            x.shape[1], width, _CLASSES, count=count, seed=self.seed + width, dtype=torch.float32
        )
        data = _whole_orbits(x, y) if augmented else (x, y)
        members.train(data[0].float(), data[1].float(), steps, _RATE, tick)
        values = torch.stack([members(_moved(test, g).float()).double() for g in C4H], 1)
        errors = (values - values[:, :1])[:, 1:].flatten(1)  # (member, …)
        gram = (errors @ errors.mT / errors.shape[1]).numpy()
        sizes = [n for n in _SIZES if n <= count]
        curve = [ensemble_error(gram[None], n)[0] for n in sizes]
        same = [_same(values[:n].mean(0)) for n in sizes]
        kernel, across = _mlp(data[0], data[0], 1), _mlp(test, data[0], 1)
        mean = values[:, 0].mean(0)
        off = (mean - descended_mean(kernel, data[1], across, steps, _RATE)).pow(2).mean()
        scatter = values[:, 0].var(0).mean() / count
        return {
            "common_in_errors": _in_standard_errors(gram),
            "correction_squared": float(off - scatter),
            "sizes": [float(n) for n in sizes],
            "errors": curve,
            "same": same,
        }

    def _pear(self, tick: ProgressCallback) -> Values:
        """Train PEAR networks with augmentation and measure their mean."""
        if self.analysis is None:
            raise ValueError("no analysis store was given")
        folders = train_members(
            self.analysis, self.folder / "pear", self.members, self.steps, self.seed, tick
        )
        return measure_ensemble(self.analysis, folders)

    def measured(self, results: Mapping[str, Values]) -> dict[str, float]:
        """Return the value of each claim, from those of the parts."""
        values = super().measured(results)
        widths = {n: results[f"width-{n}"] for n in _MEMBERS}
        common = {n: abs(_number(each, "common_in_errors")) for n, each in widths.items()}
        squares = {n: _number(each, "correction_squared") for n, each in widths.items()}
        same, curve = _curve(widths[256], "same"), _curve(widths[256], "errors")
        values["common"] = common[256]
        values["common_narrow"] = max(common[16], common[64])
        values["common_plain"] = _number(results["plain"], "common_in_errors")
        values["decay"] = _exponent(_curve(widths[256], "sizes"), curve)
        values["same_one"], values["same_all"] = same[0], same[-1]
        ratio = max(squares[64], 0.0) / squares[16] if squares[16] > 0 else math.nan
        values["correction"] = math.sqrt(ratio)
        if "pear" in results:
            pear = results["pear"]
            values["pear_decay"] = _exponent(_curve(pear, "sizes"), _curve(pear, "errors"))
        return values

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw errors and agreement against members, and rotations against orbits.

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
        with panels(path, 3, width=4.2) as (left, middle, right):
            for name in (*(f"width-{n}" for n in _MEMBERS), "plain", "pear"):
                if name not in results:
                    continue
                part, style = results[name], "s--" if name == "plain" else "o-"
                label = "width 64, not augmented" if name == "plain" else name.replace("-", " ")
                label = "PEAR" if name == "pear" else label
                left.loglog(_curve(part, "sizes"), _curve(part, "errors"), style, label=label)
                if name != "pear":
                    middle.semilogx(_curve(part, "sizes"), _curve(part, "same"), style)
            left.set(xlabel="members", ylabel="rms error of the mean under C4h")
            left.legend(fontsize=8)
            middle.set(xlabel="members", ylabel="share of the orbit with the same class")
            circle = results["circle"]
            right.loglog(_curve(circle, "orbits"), _curve(circle, "errors"), "o-")
            right.minorticks_off()
            right.set_xticks(_ORBITS, [f"C{n}" for n in _ORBITS])
            right.set(xlabel="rotations in the augmentation", ylabel="error under all rotations")
        return True


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _moved(x: Tensor, element: Element) -> Tensor:
    """Move states (input, channel · cell)."""
    fields = x.view(-1, len(_SIGNS), _CELLS)
    return Fields(_NSIDE, _SIGNS, channel_axis=1).act(element, fields).reshape(x.shape)


def _moved_output(y: Tensor, element: Element) -> Tensor:
    """Move a number, a scalar field and a northward wind, (input, 1 + 2 · cell)."""
    fields = Fields(_NSIDE, (1, -1), channel_axis=1).act(element, y[:, 1:].view(-1, 2, _CELLS))
    return torch.cat([y[:, :1], fields.flatten(1)], 1)


def _whole_orbits(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([_moved(x, g) for g in C4H]), y.repeat(len(C4H), 1)


def _turned(x: Tensor, angle: Tensor) -> Tensor:
    """Turn signals given by a mean and the cosines and sines of their angular harmonics."""
    orders = torch.arange(1, _HARMONICS + 1)
    cosine, sine = torch.cos(orders * angle), torch.sin(orders * angle)
    even, odd = x[:, 1 : 1 + _HARMONICS], x[:, 1 + _HARMONICS :]
    return torch.cat([x[:, :1], even * cosine - odd * sine, even * sine + odd * cosine], 1)


def _mlp(x1: Tensor, x2: Tensor, hidden: int) -> Tensor:
    """Return Θ of MLPs between inputs (input, number)."""
    return mlp(x1.shape[1], hidden).kernels(x1[:, None], x2[:, None]).tangent


def _same(values: Tensor) -> float:
    """Return the share of an orbit with the class of its first state, (element, state, class)."""
    classes = values.argmax(-1)
    return float((classes == classes[0])[1:].double().mean())


def _in_standard_errors(gram: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    """Return the mean product of two members' errors, over its jackknife standard error."""
    count = len(gram)
    total, diagonal, rows = gram.sum(), gram.trace(), gram.sum(1)
    mean = (total - diagonal) / (count * (count - 1))
    left = (total - 2 * rows + gram.diagonal() - (diagonal - gram.diagonal())) / (
        (count - 1) * (count - 2)
    )
    error = math.sqrt((count - 1) / count * float(((left - left.mean()) ** 2).sum()))
    return float(mean / error)


def _exponent(sizes: list[float], errors: list[float]) -> float:
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def _number(values: Values, key: str) -> float:
    found = values[key]
    if not isinstance(found, (int, float)):
        raise TypeError(f"{key} is not a number")
    return float(found)


def _curve(values: Values, key: str) -> list[float]:
    found = values[key]
    if isinstance(found, (int, float, str)):
        raise TypeError(f"{key} is not a curve")
    return [float(each) for each in found]
