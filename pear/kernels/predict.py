"""Mean prediction of an ensemble of infinitely wide networks, at every time of its training.

Under gradient flow of 1/(2N) Σ|f − y|² from initial networks of mean zero,
μ_t(x) = Θ(x, X) Θ(X, X)⁻¹ (1 − e^{−ηΘ(X, X)t/N}) Y. The loss is a mean over samples: with a sum,
an augmented training set would run |G| times faster.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class MeanPrediction:
    """Mean predictions from one training set.

    Parameters
    ----------
    kernel
        Θ(X, X), (sample, sample), symmetric and positive semidefinite.
    targets
        Y, (sample, output).

    Raises
    ------
    ValueError
        If the kernel is not symmetric.

    Examples
    --------
    >>> kernel = torch.eye(2, dtype=torch.float64)
    >>> mean = MeanPrediction(kernel, torch.tensor([[1.0], [2.0]], dtype=torch.float64))
    >>> mean.at(math.inf, kernel).tolist()
    [[1.0], [2.0]]
    """

    def __init__(self, kernel: Tensor, targets: Tensor) -> None:
        if not torch.allclose(kernel, kernel.mH, rtol=1e-9, atol=0.0):
            raise ValueError("the kernel of the training set is not symmetric")
        self.eigenvalues, self.vectors = torch.linalg.eigh((kernel + kernel.mH) / 2)
        self._rotated = self.vectors.mH @ targets.to(self.vectors.dtype)

    def at(self, time: float, kernel: Tensor) -> Tensor:
        """Return the mean prediction for some inputs.

        Parameters
        ----------
        time
            ηt, learning rate times training time; infinity for the limit.
        kernel
            Θ(x, X), (input, sample).

        Returns
        -------
        Tensor
            (input, output).
        """
        values, count = self.eigenvalues, len(self.eigenvalues)
        resolved = values > values[-1] * count * torch.finfo(values.dtype).eps
        safe = torch.where(resolved, values, 1.0)
        if math.isinf(time):
            factor = torch.where(resolved, 1 / safe, 0.0)
        else:
            # −expm1(−λt/N)/λ needs no inverse, and is t/N where λ is zero to rounding.
            factor = torch.where(resolved, -torch.expm1(-safe * time / count) / safe, time / count)
        weights: Tensor = self.vectors @ (factor[:, None] * self._rotated)
        return kernel.to(self.vectors.dtype) @ weights
