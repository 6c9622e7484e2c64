"""Digits turned by quarter turns: a group-equivariant network against plain ones (1602.07576).

The networks have the same layers and, to 5 %, as many parameters: planar convolutions on C_4 ⋉ Z²
with half as many channels, and on Z² alone. Digits are scikit-learn's, 8×8 pixels, each turned by
a random multiple of 90°; the tests see every turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pear.equivariant.contract import equivariance_error
from pear.equivariant.planar import PlanarConv, PlanarLifting, PlanarPool, PointGroup
from pear.equivariant.representations import Image, Invariant
from pear.errors import InputError
from pear.progress import ProgressCallback
from pipelines.studies.chern_training import one_cycle
from pipelines.studies.claims import Claim, ClaimStudy, Part, Values
from pipelines.studies.figure import panels

PAPER: Final = "arXiv 1602.07576"
STEPS: Final = 300
STEPS_PER_MINUTE: Final = 3000
BATCH: Final = 50
TRAINING: Final = 500
SEEDS: Final = 3
WIDTHS: Final = {1: 16, 4: 8}
"""Channels by the number of rotations."""
TURNS: Final = 4
_RATE: Final = 1e-2
_VARIANTS: Final = {
    "p4": (4, "turned"),
    "cnn": (1, "turned"),
    "augmented": (1, "augmented"),
    "p4_upright": (4, "upright"),
    "cnn_upright": (1, "upright"),
}
"""Rotations of the network, and what it is trained on: digits turned once, in all ways, not."""


class DigitNetwork(nn.Module):
    """Three group convolutions with batch norm and ReLU, a 2×2 mean, a mean over the group, a map.

    The norm has one number a channel, the same for all elements, so that it keeps the symmetry.

    Parameters
    ----------
    rotations
        1 for a plain network, 4 for one that the quarter turns leave unchanged.

    Examples
    --------
    >>> from pipelines.studies.group import DigitNetwork
    >>> tuple(DigitNetwork(4)(torch.zeros(2, 1, 8, 8)).shape)
    (2, 10)
    """

    def __init__(self, rotations: int) -> None:
        super().__init__()
        group, width = PointGroup(rotations), WIDTHS[rotations]
        self.lifting = PlanarLifting(group, 1, width)
        self.first = PlanarConv(group, width, width)
        self.second = PlanarConv(group, width, width)
        self.norms = nn.ModuleList(nn.BatchNorm3d(width) for _ in range(3))
        self.pool = PlanarPool()
        self.last = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map (batch, 1, y, x) to logits (batch, digit)."""
        f = functional.relu(self.norms[0](self.lifting(images)))
        f = functional.relu(self.norms[1](self.first(f)))
        # The sides are even, so that turns keep the squares of four pixels.
        halved = functional.avg_pool2d(f.flatten(1, 2), 2)
        f = halved.view(*f.shape[:3], *halved.shape[-2:])
        out: Tensor = self.last(self.pool(functional.relu(self.norms[2](self.second(f)))))
        return out


@dataclass(frozen=True, kw_only=True)
class GroupStudy(ClaimStudy):
    """Digits turned by quarter turns, by equivariant and plain networks of equal size."""

    name: ClassVar[str] = "group"
    help: ClassVar[str] = "Classify turned digits by group convolutions and by plain ones."
    usual_time: ClassVar[str] = "2 min"
    full_minutes: ClassVar[float] = 0.1
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim("error_p4", "change of the p4 network's answer by a turn", "exact", "at most", 1e-12),
        Claim(
            "error_cnn",
            "change of the plain network's answer by a turn",
            "control",
            "at least",
            0.1,
        ),
        Claim(
            "parameters",
            "parameters of the p4 network over those of the plain one",
            "design",
            "near",
            0.05,
            1.0,
        ),
        Claim(
            "gain",
            "accuracy on turned digits, 500 images: p4 minus plain",
            PAPER,
            "at least",
            3.0,
            2.75,
            "%",
            statistical=True,
        ),
        Claim(
            "gain_augmented",
            "the same, the plain network trained on all four turns",
            "here",
            "at least",
            3.0,
            unit="%",
            statistical=True,
        ),
        Claim(
            "gain_upright",
            "the same, both trained on upright digits alone",
            "here",
            "at least",
            30.0,
            unit="%",
            statistical=True,
        ),
    )

    def parts(self) -> list[Part]:
        """Return the symmetry of both networks, and the trainings."""
        return [
            Part("symmetry", self._symmetry),
            *(
                Part(f"{variant}_{seed}", partial(self._train, variant, seed), self.steps)
                for seed in range(self.seed, self.seed + SEEDS)
                for variant in _VARIANTS
            ),
        ]

    @property
    def steps(self) -> int:
        """Optimiser steps of a training."""
        return STEPS if self.minutes is None else max(round(self.minutes * STEPS_PER_MINUTE), 1)

    def measured(self, results: Mapping[str, Values]) -> dict[str, float]:
        """Return the value of each claim; accuracies are means over the seeds."""
        means = {name: float(np.mean(values)) for name, values in _accuracies(results).items()}
        pairs = {
            "gain": ("p4", "cnn"),
            "gain_augmented": ("p4", "augmented"),
            "gain_upright": ("p4_upright", "cnn_upright"),
        }
        gains = {name: means[one] - means[other] for name, (one, other) in pairs.items()}
        return {**super().measured({"symmetry": results["symmetry"]}), **means, **gains}

    def _symmetry(self, tick: ProgressCallback) -> Values:
        torch.manual_seed(self.seed)
        images, _ = digits()
        group = PointGroup(TURNS)
        turned = Image(group.table, TURNS)
        networks = {"p4": DigitNetwork(4).eval(), "cnn": DigitNetwork(1).eval()}
        errors = {
            f"error_{name}": max(
                equivariance_error(network, turn, images[:20], turned, Invariant(), gradients=True)
                for turn in range(TURNS)
            )
            for name, network in networks.items()
        }
        sizes = [sum(p.numel() for p in network.parameters()) for network in networks.values()]
        return {**errors, "parameters": sizes[0] / sizes[1], "p4_parameters": float(sizes[0])}

    def _train(self, variant: str, seed: int, tick: ProgressCallback) -> Values:
        rotations, kind = _VARIANTS[variant]
        images, labels = digits()
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(images), generator=generator)
        train, test = order[:TRAINING], order[TRAINING:]
        turns = torch.randint(TURNS, (TRAINING,), generator=generator)
        torch.manual_seed(seed)
        network = DigitNetwork(rotations)
        optimiser = torch.optim.Adam(network.parameters())
        for step in range(self.steps):
            for group in optimiser.param_groups:
                group["lr"] = _RATE * one_cycle(step, self.steps)
            batch = torch.randint(TRAINING, (BATCH,), generator=generator)
            turn = {
                "upright": torch.zeros_like(batch),
                "turned": turns[batch],
                "augmented": torch.randint(TURNS, (BATCH,), generator=generator),
            }[kind]
            logits = network(turned_by(images[train[batch]], turn))
            loss = functional.cross_entropy(logits, labels[train[batch]])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            tick(1, f"{variant} {seed}")
        return {
            "accuracy": 100 * float(np.mean(_right(network, images[test], labels[test]))),
            "by_turn": [100 * x for x in _right(network, images[test], labels[test])],
        }

    def draw(self, results: Mapping[str, Values], path: Path) -> bool:
        """Draw the accuracies of all variants and seeds, and digits in all turns.

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
        images, _ = digits()
        framed = functional.pad(images[2:7, 0], (1, 1, 1, 1))
        rows = [torch.cat([torch.rot90(x, turn) for turn in range(TURNS)], 1) for x in framed]
        names = {
            "p4": "p4, turned digits",
            "cnn": "plain, turned digits",
            "augmented": "plain, all four turns",
            "p4_upright": "p4, upright digits",
            "cnn_upright": "plain, upright digits",
        }
        with panels(path, 2) as (shown, axes):
            shown.imshow(torch.cat(rows).numpy(), cmap="gray_r")
            shown.set(title="digits and their turns", xticks=[], yticks=[])
            for place, (variant, values) in enumerate(_accuracies(results).items()):
                colour = "#14784f" if variant.startswith("p4") else "#3b6fb6"
                axes.barh(place, float(np.mean(values)), color=colour, alpha=0.6)
                axes.plot(values, [place] * len(values), "k.", markersize=5)
            axes.set_yticks(range(len(names)), list(names.values()))
            axes.invert_yaxis()
            axes.set(xlim=(0, 100), xlabel=f"% right in all turns, {TRAINING} training images")
            axes.grid(axis="x", alpha=0.3)
        return True


def digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits.

    Returns
    -------
    images, labels
        (1797, 1, 8, 8) in [0, 1] and (1797,).

    Raises
    ------
    InputError
        If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "the digits come with scikit-learn, which is not installed",
            hint="pip install 'pear-weather[study]'",
        ) from error
    found = load_digits()
    images = torch.from_numpy(found.images.astype(np.float32) / 16)[:, None]
    return images, torch.from_numpy(found.target.astype(np.int64))


def turned_by(images: Tensor, turns: Tensor) -> Tensor:
    """Turn each image (batch, 1, y, x) by its number of quarter turns (batch,)."""
    every = torch.stack([torch.rot90(images, turn, (-2, -1)) for turn in range(TURNS)])
    return every[turns, torch.arange(len(images))]


def _right(network: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """Return the share of right answers for each turn of the images."""
    shares = []
    network.eval()
    with torch.no_grad():
        for turn in range(TURNS):
            answers = network(torch.rot90(images, turn, (-2, -1))).argmax(1)
            shares.append(float((answers == labels).double().mean()))
    return shares


def _accuracies(results: Mapping[str, Values]) -> dict[str, list[float]]:
    """Return the accuracies in per cent of each variant, one for each seed."""
    found: dict[str, list[float]] = {variant: [] for variant in _VARIANTS}
    for name, values in results.items():
        variant = name.rpartition("_")[0]
        if variant in found and isinstance(accuracy := values.get("accuracy"), float):
            found[variant].append(accuracy)
    return found
