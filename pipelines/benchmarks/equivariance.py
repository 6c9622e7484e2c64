"""Equivariance errors of networks under the grid's symmetries and under other rotations.

The grid maps onto itself under rotations by 90° about the pole and under the mirror at the equator,
where the error of an exact network is rounding. Rotations by other angles move cells between cells:
fields are interpolated, and the error measures how far the network depends on the grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pear.errors import InputError
from pear.models.config import PearConfig
from pear.models.diagnostics import equivariance_errors
from pear.models.pear import Pear
from pear.models.published import translate
from pear.progress import ProgressCallback, no_progress
from pear.sphere import healpix
from pipelines.benchmarks.networks import fill
from pipelines.benchmarks.published_reference import random_state

_WAVES: Final = 6
"""Plane waves in a smooth random field; the shortest has a tenth of the globe's circumference."""


@dataclass(frozen=True)
class EquivarianceReport:
    """Result of :func:`measure_equivariance`.

    Attributes
    ----------
    nside
        Resolution.
    exact
        Model to element (``R``, ``M``, ``RM``) to max|Φ(gx) − gΦ(x)| / max|Φ(x)|, float64, white
        noise as input.
    angles
        Rotations about the pole in degrees.
    rotated
        Model to the error at each angle, the same with root mean squares, smooth fields as input,
        interpolated on the way in and on the way out.
    interpolation
        At each angle, the error of interpolating there and back alone, which bounds what can be
        measured.
    """

    nside: int
    exact: dict[str, dict[str, float]]
    angles: list[float]
    rotated: dict[str, list[float]]
    interpolation: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-serialisable values."""
        return dict(vars(self))


def random_models(nside: int, seed: int = 0) -> dict[str, Pear]:
    """Build the published network and PEAR's own, without and with the mirror, at random.

    Parameters
    ----------
    nside
        Resolution.
    seed
        Seed of the weights.

    Returns
    -------
    dict
        Networks by name.
    """
    published = Pear(PearConfig.published(nside=nside))
    state = random_state(seed, scale=0.05, nside=nside)
    published.load_state_dict(translate(state, published))
    models = {"published": published}
    for name, symmetry in (("own, R", "r"), ("own, C4h", "c4h")):
        config = PearConfig.small(nside=nside, symmetry=symmetry)
        models[name] = Pear(config)
        fill(models[name], seed)
    return models


def measure_equivariance(
    models: Mapping[str, Pear],
    step: float = 3.0,
    seed: int = 0,
    tick: ProgressCallback = no_progress,
) -> EquivarianceReport:
    """Measure the equivariance error of models of one resolution.

    Parameters
    ----------
    models
        By name; brought to float64 and evaluation mode.
    step
        Degrees between the rotations about the pole.
    seed
        Seed of the random fields.
    tick
        Called after each angle.

    Returns
    -------
    EquivarianceReport
        The errors.

    Raises
    ------
    InputError
        If the models differ in resolution, or the step is not between 0 and 360.
    """
    if not 0 < step < 360:
        raise InputError(f"step {step} must be between 0 and 360 degrees", field="step")
    sides = {model.config.nside for model in models.values()}
    if len(sides) != 1:
        raise InputError(f"the models need one resolution, got nside {sorted(sides)}")
    nside = sides.pop()
    models = {name: model.double().eval() for name, model in models.items()}
    angles = np.arange(step, 360 + step / 2, step)
    exact = {name: equivariance_errors(model, seed=seed) for name, model in models.items()}
    inputs = {name: _smooth_inputs(model, seed) for name, model in models.items()}
    with torch.inference_mode():
        still = {name: _change(model, inputs[name]) for name, model in models.items()}
        rotated: dict[str, list[float]] = {name: [] for name in models}
        interpolation = []
        for angle in angles:
            turn, back = Rotation(nside, float(angle)), Rotation(nside, -float(angle))
            for name, model in models.items():
                moved = _change(model, tuple(turn(x) for x in inputs[name]))
                rotated[name].append(_error(moved, tuple(turn(x) for x in still[name])))
            field = next(iter(inputs.values()))
            interpolation.append(_error(tuple(back(turn(x)) for x in field), field))
            tick()
    return EquivarianceReport(nside, exact, angles.tolist(), rotated, interpolation)


class Rotation:
    """Rotate fields eastward about the pole, by bilinear interpolation between four cells.

    Parameters
    ----------
    nside
        Resolution.
    angle
        Degrees east.
    """

    def __init__(self, nside: int, angle: float) -> None:
        latitude, longitude = healpix.centres(nside)
        index, weight = healpix.interpolation_weights(latitude, (longitude - angle) % 360, nside)
        self.index = torch.from_numpy(np.ascontiguousarray(index))
        self.weight = torch.from_numpy(np.ascontiguousarray(weight))

    def __call__(self, x: Tensor) -> Tensor:
        """Rotate (…, cell)."""
        weight = self.weight.to(x.dtype)
        out = x[..., self.index[0]] * weight[0]
        for index, share in zip(self.index[1:], weight[1:], strict=True):
            out = out + x[..., index] * share
        return out


def smooth_fields(nside: int, count: int, seed: int) -> npt.NDArray[np.float64]:
    """Draw smooth fields (count, cell) of unit variance: sums of random plane waves."""
    latitude, longitude = (np.radians(x) for x in healpix.centres(nside))
    position = np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ]
    )
    random = np.random.default_rng(seed)
    waves = random.normal(size=(count, _WAVES, 3)) * 3.0
    phases = random.uniform(0, 2 * np.pi, size=(count, _WAVES, 1))
    fields = np.cos(waves @ position + phases).sum(axis=1)
    fields -= fields.mean(axis=1, keepdims=True)
    normal: npt.NDArray[np.float64] = fields / fields.std(axis=1, keepdims=True)
    return normal


def _smooth_inputs(model: Pear, seed: int) -> tuple[Tensor, ...]:
    config = model.config
    surface, upper, levels = (
        len(config.layout.surface),
        len(config.layout.upper),
        len(config.layout.levels),
    )
    fields = smooth_fields(config.nside, surface + upper * levels, seed)
    state = torch.from_numpy(fields)[None]
    inputs = state[:, :surface], state[:, surface:].reshape(1, upper, levels, -1)
    forcing = model.forcing(np.array(["2000-07-01"], "datetime64[s]"))
    return inputs if forcing is None else (*inputs, forcing)


def _change(model: Pear, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the output of the network: for a residual model the change, not the state."""
    outputs: tuple[Tensor, Tensor] = model(*inputs)
    if not model.config.residual:
        return outputs
    return tuple(y - x for y, x in zip(outputs, inputs, strict=False))


def _error(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> float:
    square = sum(float((g - w).square().sum()) for g, w in zip(got, want, strict=True))
    return float((square / sum(float(w.square().sum()) for w in want)) ** 0.5)


def draw(report: EquivarianceReport, path: Path) -> None:
    """Draw the error over the angle as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    floor = 1e-17  # zero cannot be drawn on a logarithmic axis
    for name, errors in report.rotated.items():
        axes.semilogy(report.angles, np.maximum(errors, floor), marker=".", label=name)
    axes.semilogy(
        report.angles, np.maximum(report.interpolation, floor), "k:", label="interpolation alone"
    )
    axes.set_xticks(range(0, 361, 45))
    axes.set_xlabel("rotation about the pole, degrees east")
    axes.set_ylabel("relative equivariance error (rms)")
    axes.set_title(f"Equivariance under rotations about the pole, nside {report.nside}")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
