"""Ensembles of finite networks with one hidden layer, all trained at once by gradient descent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from pear.progress import ProgressCallback, no_progress

WEIGHT: Final = 2.0
"""Variance of both layers' weights, which keeps the size of the numbers through ReLU."""


@dataclass(eq=False)
class Members:
    """Networks f = √(2/n) V relu(√(2/d) W x), each with its own weights.

    Attributes
    ----------
    first
        W, (member, n, d).
    last
        V, (member, output, n).

    Examples
    --------
    >>> members = Members.draw(inputs=5, width=8, outputs=2, count=3, seed=0)
    >>> tuple(members(torch.ones(4, 5, dtype=torch.float64)).shape)
    (3, 4, 2)
    """

    first: Tensor
    last: Tensor

    @classmethod
    def draw(
        cls,
        inputs: int,
        width: int,
        outputs: int,
        *,
        count: int,
        seed: int,
        dtype: torch.dtype = torch.float64,
    ) -> Self:
        """Draw all weights from N(0, 1).

        Parameters
        ----------
        inputs, width, outputs
            Numbers d, n, and outputs of a network.
        count
            Members.
        seed
            Random seed.
        dtype
            Of the weights.

        Returns
        -------
        Members
        """
        generator = torch.Generator().manual_seed(seed)
        shapes = (count, width, inputs), (count, outputs, width)
        first, last = (torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes)
        return cls(first, last)

    def _hidden(self, x: Tensor) -> Tensor:
        return math.sqrt(WEIGHT / x.shape[-1]) * (self.first @ x.mT)  # (member, n, input)

    def __call__(self, x: Tensor) -> Tensor:
        """Map (input, d) to (member, input, output)."""
        width = self.first.shape[1]
        return (math.sqrt(WEIGHT / width) * (self.last @ self._hidden(x).relu())).mT

    def train(
        self,
        x: Tensor,
        y: Tensor,
        steps: int,
        rate: float,
        tick: ProgressCallback = no_progress,
    ) -> None:
        """Do full steps of gradient descent on 1/(2N) Σ|f − y|², in place.

        Parameters
        ----------
        x
            (sample, d).
        y
            (sample, output).
        steps
            Steps.
        rate
            Learning rate η.
        tick
            Called after each step.

        Raises
        ------
        ValueError
            If the networks diverge.
        """
        inner = math.sqrt(WEIGHT / x.shape[-1])
        outer = math.sqrt(WEIGHT / self.first.shape[1])
        for _ in range(steps):
            hidden = self._hidden(x)
            active = hidden.relu()
            residual = (outer * (self.last @ active) - y.mT) / len(x)  # (member, output, sample)
            back = outer * (self.last.mT @ residual) * (hidden > 0)
            self.last -= rate * outer * (residual @ active.mT)
            self.first -= rate * inner * (back @ x)
            tick(1)
        if not (self.first.isfinite().all() and self.last.isfinite().all()):
            raise ValueError(f"the networks diverge at learning rate {rate:g}")


def descended_mean(
    kernel: Tensor, targets: Tensor, across: Tensor, steps: int, rate: float
) -> Tensor:
    """Return the mean prediction of infinitely wide networks after steps of gradient descent.

    As :class:`pear.kernels.predict.MeanPrediction`, with (1 − ηλ/N)^steps for e^{−ηλt/N}.

    Parameters
    ----------
    kernel
        Θ(X, X), (sample, sample).
    targets
        Y, (sample, output).
    across
        Θ(x, X), (input, sample).
    steps, rate
        As for :meth:`Members.train`.

    Returns
    -------
    Tensor
        (input, output).

    Raises
    ------
    ValueError
        If gradient descent diverges at this rate.
    """
    values, vectors = torch.linalg.eigh((kernel + kernel.mT) / 2)
    count = len(values)
    if rate * float(values[-1]) / count >= 2:
        raise ValueError(f"learning rate {rate:g} is above 2N/λ = {2 * count / values[-1]:.3g}")
    resolved = values > values[-1] * count * torch.finfo(values.dtype).eps
    safe = torch.where(resolved, values, 1.0)
    done = -((1 - rate * safe / count) ** steps - 1)
    factor = torch.where(resolved, done / safe, rate * steps / count)
    mean: Tensor = across @ (vectors @ (factor[:, None] * (vectors.mT @ targets)))
    return mean
