"""Mean, standard deviation and spread of the one-step change of each channel, from the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from pear.normaliser import Normaliser
from pear.training.samples import Samples

Doubles = npt.NDArray[np.float64]
_BLOCK: Final = 16
LEAST_SPREAD: Final = 1e-12
"""Deviation given to a channel that never changes, in its own units; keeps division defined."""


@dataclass
class Moments:
    """Count, mean and summed squared deviation of channels, mergeable in float64.

    Chan, Golub and LeVeque (1983, doi:10.1080/00031305.1983.10483115), the pairwise form: no
    difference of large sums, so humidity at 50 hPa keeps its digits.
    """

    count: int
    mean: Doubles
    square: Doubles

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> Moments:
        """Moments of (sample, channel…, cell) over samples and cells."""
        axes = (0, values.ndim - 1)
        wide = values.astype(np.float64)
        mean = wide.mean(axis=axes)
        square = ((wide - np.expand_dims(mean, axes)) ** 2).sum(axis=axes)
        return cls(values.shape[0] * values.shape[-1], mean, square)

    def merged(self, other: Moments) -> Moments:
        """Moments of both sets together."""
        count = self.count + other.count
        gap = other.mean - self.mean
        return Moments(
            count,
            self.mean + gap * (other.count / count),
            self.square + other.square + gap**2 * (self.count * other.count / count),
        )

    @property
    def deviation(self) -> Doubles:
        """Standard deviation of each channel."""
        return np.sqrt(self.square / self.count)


def measure(samples: Samples) -> Normaliser:
    """Read every initial state and its first follower once and return the statistics.

    Parameters
    ----------
    samples
        Of the training period.

    Returns
    -------
    Normaliser
        float32; the change's spread is its standard deviation about its mean.
    """
    found: list[Moments] = []
    for first in range(0, samples.starts.size, _BLOCK):
        starts = samples.starts[first : first + _BLOCK]
        pairs = np.stack([starts, starts + 1], axis=1)
        read = samples.source.read(pairs.ravel())
        parts: list[Moments] = []
        for values in read:
            both = values.reshape(starts.size, 2, *values.shape[1:])
            parts += [Moments.of(both[:, 0]), Moments.of(both[:, 1] - both[:, 0])]
        found = [a.merged(b) for a, b in zip(found, parts, strict=True)] if found else parts
    surface, surface_step, upper, upper_step = found
    return Normaliser(
        samples.source.layout,
        torch.from_numpy(surface.mean).float(),
        _spread(surface),
        torch.from_numpy(upper.mean).float(),
        _spread(upper),
        _spread(surface_step),
        _spread(upper_step),
    )


def _spread(moments: Moments) -> torch.Tensor:
    return torch.from_numpy(np.maximum(moments.deviation, LEAST_SPREAD)).float()
