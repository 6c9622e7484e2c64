"""Mean, standard deviation and standard deviation of the one-step change of each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pear.normaliser import Normaliser, transformed
from pear.training.samples import Samples
from pear.typing import Float64

_BLOCK: Final = 16
SMALLEST_STD: Final = 1e-12
"""Standard deviation given to a constant channel, in its own units; keeps division defined."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and summed squared deviation of channels, mergeable in float64.

    Chan, Golub and LeVeque (1983, doi:10.1080/00031305.1983.10483115), the pairwise form: without
    differences of large sums, so humidity at 50 hPa keeps its digits.

    Attributes
    ----------
    count
        Number of values of each channel.
    mean, square
        (channel…), mean and summed squared deviation from it.

    Examples
    --------
    >>> from pear.training.statistics import Moments
    >>> values = np.random.default_rng(0).normal(size=(4, 2, 12))  # (sample, channel, cell)
    >>> parts = Moments.from_values(values[:1]).merge(Moments.from_values(values[1:]))
    >>> parts.count, bool(np.allclose(parts.mean, values.mean(axis=(0, 2))))
    (48, True)
    """

    count: int
    mean: Float64
    square: Float64

    @classmethod
    def from_values(cls, values: npt.NDArray[np.floating]) -> Moments:
        """Compute the moments of (sample, channel…, cell) over samples and cells."""
        axes = (0, values.ndim - 1)
        wide = values.astype(np.float64)
        mean = wide.mean(axis=axes)
        square = ((wide - np.expand_dims(mean, axes)) ** 2).sum(axis=axes)
        return cls(values.shape[0] * values.shape[-1], mean, square)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets together."""
        count = self.count + other.count
        gap = other.mean - self.mean
        return Moments(
            count,
            self.mean + gap * (other.count / count),
            self.square + other.square + gap**2 * (self.count * other.count / count),
        )

    @property
    def std(self) -> Tensor:
        """Standard deviation of each channel, float32, positive."""
        return torch.from_numpy(np.sqrt(self.square / self.count)).clamp(SMALLEST_STD).float()


def fit_normaliser(samples: Samples) -> Normaliser:
    """Compute the statistics of every initial state and its first follower, reading each once.

    Parameters
    ----------
    samples
        Samples of the training period.

    Returns
    -------
    Normaliser
        float32; the step's standard deviation is taken about the mean change.

    Examples
    --------
    >>> from pear.training.statistics import fit_normaliser
    >>> from pear.training import ArraySource
    >>> from pear.variables import Layout
    >>> times = np.arange("2001-01-01", "2001-01-11", dtype="datetime64[D]")
    >>> layout = Layout(("2m_temperature",), ("temperature",), (850,))
    >>> surface = np.random.default_rng(0).normal(280.0, 5.0, (10, 1, 48)).astype("f4")
    >>> samples = Samples.from_source(ArraySource(layout, times, surface, surface[:, :, None]))
    >>> normaliser = fit_normaliser(samples)
    >>> bool(np.isclose(normaliser.surface_mean.item(), surface[:9].mean()))
    True
    """
    found: list[Moments] = []
    for first in range(0, samples.starts.size, _BLOCK):
        starts = samples.starts[first : first + _BLOCK]
        which = np.arange(first, first + starts.size)
        read = samples.source.read(samples.indices(which)[:, :2].ravel())
        parts: list[Moments] = []
        names = samples.source.layout.surface, samples.source.layout.upper
        for raw, held in zip(read, names, strict=True):
            values = transformed(torch.from_numpy(raw), held).numpy()
            pairs = values.reshape(starts.size, 2, *values.shape[1:])
            now, later = pairs[:, 0], pairs[:, 1]
            parts += [Moments.from_values(now), Moments.from_values(later - now)]
        found = [a.merge(b) for a, b in zip(found, parts, strict=True)] if found else parts
    surface, surface_step, upper, upper_step = found
    return Normaliser(
        samples.source.layout,
        torch.from_numpy(surface.mean).float(),
        surface.std,
        torch.from_numpy(upper.mean).float(),
        upper.std,
        surface_step.std,
        upper_step.std,
    )
