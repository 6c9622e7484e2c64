"""Determinants of random matrices by bilinear layers and by a residual MLP (arXiv 2502.15376)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from pear.progress import ProgressCallback
from pipelines.studies.chern_training import one_cycle
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values
from pipelines.studies.figure import panels

PAPER: Final = "arXiv 2502.15376"
STEPS: Final = 3000
STEPS_PER_MINUTE: Final = 6000
BATCH: Final = 256
TEST_MATRICES: Final = 4000
HIDDEN: Final = {"bilinear": 32, "mlp": 128}
_CURVE_POINTS: Final = 20


class Bilinear(nn.Module):
    """x′_γ = Σ_{μν} θ_γμν x_μ x_ν on numbers x with a 1 appended: polynomials of order 2.

    Parameters
    ----------
    inputs, outputs
        Numbers in and out.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = inputs + 1
        self.weight = nn.Parameter(torch.randn(outputs, width, width) / width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, input) to (batch, output)."""
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        half = torch.einsum("gmn,bm->bgn", self.weight, x)
        return (half * x[:, None]).sum(-1)


class ResidualMLP(nn.Module):
    """Residual blocks of two linear maps with ReLU.

    Parameters
    ----------
    inputs, width, blocks
        Numbers in, features, and blocks.
    """

    def __init__(self, inputs: int, width: int, blocks: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.last = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, input) to (batch, 1)."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.last(x)
        return out


@dataclass(frozen=True, kw_only=True)
class DeterminantStudy(ClaimStudy):
    """Learn the determinant of 4 × 4 matrices with entries uniform in [0, 1].

    Attributes
    ----------
    size
        Rows of the matrices.
    """

    size: int = 4

    name: ClassVar[str] = "determinant"
    help: ClassVar[str] = "Learn determinants by bilinear layers and by a residual MLP."
    usual_time: ClassVar[str] = "1 min"
    full_minutes: ClassVar[float] = 0.5
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim("laplace", "two bilinear layers of 12 numbers are exact", "exact", "at most", 1e-12),
        Claim(
            "bilinear",
            "median relative error of bilinear layers",
            PAPER,
            "at most",
            0.01,
            0.01,
            statistical=True,
        ),
        Claim(
            "mlp",
            "median relative error of the residual MLP",
            PAPER,
            "at least",
            0.1,
            1.02,
            statistical=True,
        ),
        Claim(
            "ratio",
            "error of the MLP over that of the bilinear layers",
            PAPER,
            "at least",
            3.0,
            102.0,
            statistical=True,
        ),
    )

    def parts(self) -> list[Part]:
        """Return the construction and the two trainings."""
        return [
            Part("laplace", self._check_laplace),
            *(Part(kind, partial(self._train, kind), self.steps) for kind in HIDDEN),
        ]

    @property
    def steps(self) -> int:
        """Optimiser steps of a training."""
        return STEPS if self.minutes is None else max(round(self.minutes * STEPS_PER_MINUTE), 1)

    def measured(self, results: Mapping[str, Values]) -> dict[str, float]:
        """Return the value of each claim, the ratio of the errors among them."""
        values = super().measured(results)
        return {**values, "ratio": values["mlp"] / values["bilinear"]}

    def _check_laplace(self, tick: ProgressCallback) -> Values:
        matrices = _draw(200, 4, torch.Generator().manual_seed(self.seed)).double()
        found = laplace_network()(matrices.flatten(1))[:, 0].detach()
        return {"laplace": float((found - torch.linalg.det(matrices)).abs().max())}

    def _train(self, kind: str, tick: ProgressCallback) -> Values:
        torch.manual_seed(self.seed)
        count, hidden = self.size**2, HIDDEN[kind]
        network: nn.Module = ResidualMLP(count, hidden)
        if kind == "bilinear":
            network = nn.Sequential(Bilinear(count, hidden), Bilinear(hidden, 1))
        generator = torch.Generator().manual_seed(self.seed + 1)
        test = _draw(TEST_MATRICES, self.size, generator)
        truth = torch.linalg.det(test)
        optimiser = torch.optim.Adam(network.parameters(), betas=(0.9, 0.99))
        curve: list[tuple[float, float]] = []
        for step in range(self.steps):
            for group in optimiser.param_groups:
                group["lr"] = 3e-3 * one_cycle(step, self.steps)
            matrices = _draw(BATCH, self.size, generator)
            error = network(_centred(matrices))[:, 0] - 10 * torch.linalg.det(matrices)
            value = (error**2).mean()
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            tick(1)
            if (step + 1) % max(self.steps // _CURVE_POINTS, 1) == 0 or step + 1 == self.steps:
                with torch.no_grad():
                    found = network(_centred(test))[:, 0] / 10
                curve.append((step + 1.0, float(((found - truth) / truth).abs().median())))
        return {kind: curve[-1][1], "steps": [s for s, _ in curve], "errors": [e for _, e in curve]}

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw the errors against steps.

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
            for kind in HIDDEN:
                axes.semilogy(results[kind]["steps"], results[kind]["errors"], label=kind)
            axes.set_xlabel("optimiser steps")
            axes.set_ylabel("median relative error")
            axes.legend()
        return True


def laplace_network() -> nn.Sequential:
    """Return two bilinear layers that compute determinants of 4 × 4 matrices exactly.

    The 12 hidden numbers are the 2 × 2 minors of the upper two and of the lower two rows; the
    determinant is the sum of their products with signs (Laplace's expansion).

    Returns
    -------
    nn.Sequential
        Maps (batch, 16) to (batch, 1), float64.
    """
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    first, last = Bilinear(16, 12).double(), Bilinear(12, 1).double()
    with torch.no_grad():
        first.weight.zero_()
        last.weight.zero_()
        for place, (i, j) in enumerate(pairs):
            for half in range(2):
                top, bottom = 8 * half, 8 * half + 4
                first.weight[place + 6 * half, top + i, bottom + j] = 1.0
                first.weight[place + 6 * half, top + j, bottom + i] = -1.0
            rest = tuple(k for k in range(4) if k not in (i, j))
            sign = (-1.0) ** (i + j + 1)
            last.weight[0, place, 6 + pairs.index((rest[0], rest[1]))] = sign
    return nn.Sequential(first, last)


def _draw(count: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, size, size, generator=generator)


def _centred(matrices: Tensor) -> Tensor:
    """Return entries of mean zero, (batch, size²)."""
    return 2 * matrices.flatten(1) - 1
