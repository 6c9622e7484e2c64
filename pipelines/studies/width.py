"""Kernels of networks of finite width: recursion by Feynman diagrams, and drawn networks.

Measures what arXiv 2508.11522 derives: the corrections of order 1/width to the mean kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from pear.kernels.finite_width import Cumulants, finite_width_kernels, next_layer
from pear.kernels.pointwise import POINTWISE
from pear.kernels.sampling import Draws, Family, draw_networks
from pear.progress import ProgressCallback
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values
from pipelines.studies.figure import panels

PAPER: Final = "arXiv 2508.11522"
_RECURSION: Final = f"{PAPER}, recursion"
_INPUTS: Final = ((1.0, 0.3, -0.5), (0.2, -0.8, 0.9))
_K: Final = 0.344999
_PAIRS: Final = {"11": (0, 0), "12": (0, 1), "22": (1, 1)}
_SMOOTH: Final = {"tanh": ("tanh", 1.0, 4), "gelu": ("gelu", 2.0, 3), "deep": ("gelu", 2.0, 4)}
"""Function, C and layers of the networks on two inputs."""
_WEATHER_WIDTH: Final = 128
_CORRELATIONS: Final = (-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.9, 0.99)
_FULL: Final = {
    "tanh": {8: 120_000},
    "gelu": {16: 20_000},
    "deep": {8: 60_000, 16: 40_000, 32: 20_000},
}
"""Networks drawn, by width."""
_DEPTH: Final = 30
_DEPTH_WIDTH: Final = 200
_DEPTH_NETWORKS: Final = 100
_DEPTH_VARIANCES: Final = {"decays": 0.25, "critical": 2.0, "grows": 4.0}

_ONE_INPUT: Final = {
    "v_2": ("V, layer 2", 0.047478),
    "d_2": ("D, layer 2", 0.025578),
    "f_2": ("F, layer 2", 0.027529),
    "v_3": ("V, layer 3", 0.042871),
    "d_3": ("D, layer 3", 0.025654),
    "f_3": ("F, layer 3", 0.040527),
    "theta1_3": ("Θ¹, layer 3", -0.063113),
    "k1_3": ("K¹, layer 3", -0.027871),
}
_TWO_INPUTS: Final[Mapping[str, tuple[str, tuple[float, float, float], tuple[float, ...]]]] = {
    "tanh": ("tanh, C = 1, layer 4", (-0.1497, 0.0743, -0.1482), (5e-5, 5e-5, 5e-5)),
    "gelu": ("GELU, C = 2, layer 3", (0.3667, -0.1002, 0.3487), (5e-5, 5e-5, 5e-5)),
    "deep": ("GELU, C = 2, layer 4", (1.71, -0.155, 1.67), (5e-3, 5e-4, 5e-3)),
}
"""Reference values of Θ¹, and half of their last digit."""


def _exact(key: str, text: str, tolerance: float = 1e-12, source: str = _RECURSION) -> Claim:
    return Claim(key, text, source, "at most", tolerance)


def _drawn(key: str, text: str) -> Claim:
    return Claim(key, text, "Monte Carlo", "at most", 4.0, statistical=True)


@dataclass(frozen=True, kw_only=True)
class WidthStudy(ClaimStudy):
    """Corrections of order 1/width to mean kernels: recursion, closed forms, drawn networks."""

    name: ClassVar[str] = "width"
    help: ClassVar[str] = "Kernels of finite width by Feynman diagrams, and by drawn networks."
    usual_time: ClassVar[str] = "1 min"
    full_minutes: ClassVar[float] = 1.0
    claims: ClassVar[tuple[Claim, ...]] = (
        *(
            Claim(key, f"tanh, C = 1, K = {_K}: {text}", _RECURSION, "near", 5e-7, value)
            for key, (text, value) in _ONE_INPUT.items()
        ),
        *(
            Claim(f"{key}_{pair}", f"Θ¹ of inputs {pair}: {text}", _RECURSION, "near", tol, value)
            for key, (text, values, tolerances) in _TWO_INPUTS.items()
            for pair, value, tol in zip(_PAIRS, values, tolerances, strict=True)
        ),
        _exact("order", "64 against 96 Gauss-Hermite points, relative", 2e-9),
        _exact("linear", "deep linear networks against closed forms, 5 layers", source="exact"),
        _exact("relu_diagonal", "Θ¹ of one input: ReLU and leaky ReLU, 4 layers"),
        Claim("relu_off", "Θ¹ between two inputs: ReLU, 4 layers", _RECURSION, "at least", 1e-2),
        Claim("gelu_diagonal", "Θ¹ of one input: GELU, 3 layers", _RECURSION, "at least", 1e-2),
        _exact("relu_depth", "critical ReLU: Θ off depth · ‖x‖²/n₀, 30 layers, relative", 1e-11),
        _drawn("drawn_tanh", "tanh, n = 8: recursion off the drawn mean by standard errors"),
        _drawn("drawn_gelu", "GELU, 3 layers, n = 16: the same"),
        _drawn("drawn_deep", "GELU, 4 layers, n = 8, 16, 32 extrapolated: the same"),
        Claim(
            "next_order",
            "GELU, 4 layers: n = 8 alone off the recursion by standard errors",
            "Monte Carlo",
            "at least",
            3.0,
            statistical=True,
        ),
        Claim(
            "critical",
            "ReLU, C = 2, width 200, 30 layers: slope of drawn Θ, 1 = ‖x‖²/n₀",
            PAPER,
            "near",
            0.25,
            1.0,
            statistical=True,
        ),
        Claim(
            "decays",
            "the same, C = 1/4: growth of log(Θ/depth) per layer",
            PAPER,
            "near",
            0.05,
            math.log(0.25 / 2),
            statistical=True,
        ),
        Claim(
            "grows",
            "the same, C = 4",
            PAPER,
            "near",
            0.05,
            math.log(4 / 2),
            statistical=True,
        ),
        Claim(
            "weather",
            "width 128, 2 hidden layers, ReLU and GELU: |Θ¹|/nΘ, any two states",
            "here",
            "at most",
            0.01,
        ),
    )

    def parts(self) -> list[Part]:
        """Return the recursion, and networks drawn by function and by depth."""
        drawn = [
            Part(f"drawn-{key}", partial(self._draw, key), sum(self._networks(key).values()))
            for key in _FULL
        ]
        count = self._count(_DEPTH_NETWORKS)
        return [
            Part("recursion", self._recursion),
            *drawn,
            Part("depth", partial(self._depth, count), count * len(_DEPTH_VARIANCES)),
        ]

    def _count(self, full: int) -> int:
        share = 1.0 if self.minutes is None else min(self.minutes / self.full_minutes, 1.0)
        return max(round(full * share), 3)

    def _networks(self, key: str) -> dict[int, int]:
        return {width: self._count(count) for width, count in _FULL[key].items()}

    def _recursion(self, tick: ProgressCallback) -> Values:
        """Compute all that has no chance in it."""
        found: dict[str, float] = {}
        cumulants = _single(_K)
        for layer in (2, 3):
            cumulants = next_layer(cumulants, POINTWISE["tanh"])
            for name in ("v", "d", "f", "k1", "theta1"):
                if (key := f"{name}_{layer}") in _ONE_INPUT:
                    found[key] = float(getattr(cumulants, name))
        worst = 0.0
        for key, (name, variance, depth) in _SMOOTH.items():
            at = [
                finite_width_kernels(_inputs(), POINTWISE[name], depth, variance, order)[-1].theta1
                for order in (96, 64)
            ]
            found |= {f"{key}_{pair}": float(at[0][index]) for pair, index in _PAIRS.items()}
            worst = max(worst, float((at[1] - at[0]).abs().max() / at[0].abs().max()))
        relu = finite_width_kernels(_inputs(), POINTWISE["relu"], 4, 2.0)[-1]
        single = [
            finite_width_kernels(_inputs()[:1], POINTWISE[name], 4, variance)[-1]
            for name in ("relu", "leaky_relu")
            for variance in (1.0, 2.0)
        ]
        return {
            **found,
            "order": worst,
            "linear": deep_linear_error(_inputs()[:1], 5),
            "relu_diagonal": max(float(each.theta1.abs() / each.theta) for each in single),
            "relu_off": float(relu.theta1[0, 1].abs()),
            "gelu_diagonal": abs(found["gelu_11"]),
            "relu_depth": _relu_depth_error(_inputs()[:1]),
            "weather": max(_relative_shift(name) for name in ("relu", "gelu")),
        }

    def _draw(self, key: str, tick: ProgressCallback) -> Values:
        """Compare drawn networks on two inputs with the recursion."""
        name, variance, depth = _SMOOTH[key]
        want = finite_width_kernels(_inputs(), POINTWISE[name], depth, variance)[-1]
        means, errors = [], []
        for place, (width, count) in enumerate(self._networks(key).items()):
            draws = self._networks_of(key, width, count, place, tick)
            mean, error = draws.correction(want.theta)
            means.append(mean)
            errors.append(error)
        mean, error = _extrapolate(list(self._networks(key)), means, errors)
        off = ((mean - want.theta1).abs() / error)[*zip(*_PAIRS.values(), strict=True)]
        curve: dict[str, Any] = {f"drawn_{key}": float(off.max())}
        if key == "deep":
            curve["next_order"] = float(((means[0] - want.theta1).abs() / errors[0]).max())
        return {
            **curve,
            "widths": [float(width) for width in self._networks(key)],
            "mean": [float(each[0, 0]) for each in means],
            "error": [float(each[0, 0]) for each in errors],
            "recursion": float(want.theta1[0, 0]),
            "at_zero": float(mean[0, 0]),
            **{f"mean_{pair}": [float(m[at]) for m in means] for pair, at in _PAIRS.items()},
            **{f"error_{pair}": [float(e[at]) for e in errors] for pair, at in _PAIRS.items()},
        }

    def _networks_of(
        self, key: str, width: int, count: int, place: int, tick: ProgressCallback
    ) -> Draws:
        name, variance, depth = _SMOOTH[key]
        family = Family(POINTWISE[name], depth, width, variance)
        return draw_networks(_inputs(), family, count, seed=1000 * self.seed + place, tick=tick)

    def _depth(self, count: int, tick: ProgressCallback) -> Values:
        """Measure how Θ of drawn ReLU networks grows with depth."""
        found: dict[str, Any] = {}
        layers = np.arange(2, _DEPTH + 1)
        x = torch.tensor(_INPUTS[:1], dtype=torch.float64)
        unit = float((x**2).mean())
        for place, (key, variance) in enumerate(_DEPTH_VARIANCES.items()):
            family = Family(POINTWISE["relu"], _DEPTH, _DEPTH_WIDTH, variance)
            draws = draw_networks(x, family, count, seed=1000 * self.seed + 100 + place, tick=tick)
            theta = draws.tangent[..., 0, 0].mean(1).numpy() / unit
            if key == "critical":
                found[key] = float(layers @ theta / (layers @ layers))
            else:
                found[key] = float(np.polyfit(layers, np.log(theta / layers), 1)[0])
            found[f"theta_{key}"] = theta.tolist()
        return {**found, "layers": layers.astype(float).tolist()}

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw the corrections of drawn networks against 1/width, and Θ against depth.

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
        with panels(path, 2) as (left, right):
            for colour, (key, (name, variance, depth)) in enumerate(_SMOOTH.items()):
                found: Mapping[str, Any] = results[f"drawn-{key}"]
                label = f"{'GELU' if name == 'gelu' else name}, C = {variance:g}, layer {depth}"
                inverse = [1 / width for width in found["widths"]]
                left.errorbar(inverse, found["mean"], found["error"], fmt=f"C{colour}o", capsize=3)
                left.plot([0, *inverse[:1]], [found["recursion"]] * 2, f"C{colour}:", linewidth=1)
                left.plot([0], [found["recursion"]], f"C{colour}*", markersize=11, label=label)
            left.set(xlabel="1/n", ylabel="n(E[Θ̂] - Θ), first input; star: recursion, n → ∞")
            left.legend()
            depths: Mapping[str, Any] = results["depth"]
            layers = np.array(depths["layers"])
            for colour, (key, variance) in enumerate(_DEPTH_VARIANCES.items()):
                right.semilogy(layers, depths[f"theta_{key}"], f"C{colour}o", markersize=3)
                want = layers * (variance / 2) ** (layers - 1)
                right.semilogy(layers, want, f"C{colour}", label=f"C = {variance:g}")
            right.set(xlabel="depth", ylabel="Θ over ‖x‖²/n₀; ReLU, width 200; lines: n → ∞")
            right.legend()
        return True


def deep_linear_error(x: Tensor, depth: int) -> float:
    """Return the largest relative deviation of the recursion from deep linear networks.

    At C = 1, layer ℓ has Θ = ℓK, K¹ = Θ¹ = 0, V = 2(ℓ−1)K², D = ℓ(ℓ−1)K² and F = ℓ(ℓ−1)K²/2.

    Parameters
    ----------
    x
        (1, n₀).
    depth
        Layers.

    Returns
    -------
    float
        Relative to the powers of K.
    """
    worst = 0.0
    for layer, got in enumerate(finite_width_kernels(x, POINTWISE["linear"], depth), 1):
        k = float(got.k)
        pair = layer * (layer - 1)
        wanted = {
            "theta": (layer, 1),
            "k1": (0, 1),
            "theta1": (0, 1),
            "v": (2 * (layer - 1), 2),
            "d": (pair, 2),
            "f": (pair / 2, 2),
        }
        for name, (value, power) in wanted.items():
            worst = max(worst, abs(float(getattr(got, name)) / k**power - value))
    return worst


def _inputs() -> Tensor:
    return torch.tensor(_INPUTS, dtype=torch.float64)


def _single(k: float) -> Cumulants:
    both = torch.tensor([[k]], dtype=torch.float64)
    return Cumulants.first(both, both)


def _relu_depth_error(x: Tensor) -> float:
    layers = finite_width_kernels(x, POINTWISE["relu"], _DEPTH, 2.0)
    unit = float((x**2).mean())
    return max(abs(float(each.theta) / (place * unit) - 1) for place, each in enumerate(layers, 1))


def _relative_shift(name: str) -> float:
    """Return the largest |Θ¹|/n over Θ's diagonal, of pairs of standardised states."""
    worst = 0.0
    for correlation in _CORRELATIONS:
        gram = torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64)
        cumulants = Cumulants.first(2 * gram, gram)
        for _ in range(2):
            cumulants = next_layer(cumulants, POINTWISE[name], 2.0)
        shift = cumulants.theta1.abs().max() / (_WEATHER_WIDTH * cumulants.theta[0, 0])
        worst = max(worst, float(shift))
    return worst


def _extrapolate(
    widths: list[int], means: list[Tensor], errors: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the value at infinite width of weighted straight lines in 1/n, and its error."""
    if len(widths) == 1:
        return means[0], errors[0]
    design = torch.tensor([[1.0, 1.0 / width] for width in widths], dtype=torch.float64)
    weight = torch.stack(errors, -1) ** -2  # (m, m, width)
    normal = torch.einsum("wa,ijw,wb->ijab", design, weight, design).inverse()
    right = torch.einsum("wa,ijw,ijw->ija", design, weight, torch.stack(means, -1))
    fitted = (normal @ right[..., None])[..., 0, 0]
    return fitted, normal[..., 0, 0].sqrt()
