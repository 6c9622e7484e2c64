"""Kernel regression of the next day's state, the symmetry built in or shown by augmentation.

The target is the field of the z500 change, which moves with the state: an equivariant regression,
not an invariant one. A GCNN whose values F(g) are read out by 1/|G| Σ_g ρ(g) W F(g) has the matrix
kernel 1/|G|² Σ_{g, g′} Θ_{g, g′}(x, x′) ρ(g)ρ(g′)⁻¹. C4h is commutative, so the regression falls
into one of N × N for each of its eight characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pear.equivariant.contract import Fields
from pear.errors import InputError
from pear.kernels.architecture import Kernels, gcnn, mlp
from pear.kernels.predict import MeanPrediction
from pear.kernels.tables import dense, group_convolution
from pear.progress import ProgressCallback
from pear.sphere.groups import c4h
from pear.sphere.healpix import centres
from pear.sphere.symmetry import C4H
from pear.store.analysis import Analysis
from pear.store.static_fields import read_static_fields
from pear.typing import Times
from pipelines.studies.claims import Values

HIDDEN: Final = 2
VALIDATION_DAYS: Final = 30
TEST_DAYS: Final = 60
SMALL: Final = 24
"""Training days of the comparison with the augmented set, which has eight times as many."""
TIMES: Final = tuple(10.0**power for power in range(1, 9))
_TARGET: Final = ("geopotential", 500)
_DAY: Final = np.timedelta64(1, "D")
_BLOCK: Final = 64


class Regression:
    """States and targets of a store, and the products of all states under the group.

    Parameters
    ----------
    states
        (day, channel, cell), float64, standardised.
    targets
        (day, cell), change to the next day.
    signs
        Sign of each channel under the mirror.
    nside
        Resolution.
    """

    def __init__(self, states: Tensor, targets: Tensor, signs: Sequence[int], nside: int) -> None:
        self.targets = targets
        self.output = Fields(nside)
        self.fields = Fields(nside, tuple(signs), channel_axis=1)
        size = states[0].numel()
        flat = states.flatten(1)
        # products[h, i, j] = ⟨x_i, ρ(h)x_j⟩/d
        moved = (self.fields.act(h, states).flatten(1) for h in C4H)
        self.products = torch.stack([flat @ each.T for each in moved]) / size
        self.group = c4h()

    def plain(self, rows: Tensor, columns: Tensor, element: int = 0) -> Tensor:
        """Return the MLP's Θ(x_i, ρ(h)x_j), (row, column)."""
        weight = 2.0
        own = weight * self.products[0].diagonal()
        k12 = weight * self.products[element][rows][:, columns][..., None, None]
        first = Kernels(k12, k12, own[rows][:, None, None], own[columns][:, None, None])
        return mlp(1, HIDDEN).continued(first).tangent

    def group_values(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return κ, (8, row, column): 1/|G| times the mean of Θ_{g, g′} over gg′⁻¹ = h.

        The GCNN's Θ before pooling, by its recursion over all pairs of elements.

        Parameters
        ----------
        rows, columns
            Indices of days.

        Returns
        -------
        Tensor
            float64.
        """
        order = self.group.order
        pairs = torch.from_numpy(self.group.product[:, self.group.inverse].copy())
        lifting = gcnn(dense(1), group_convolution(self.group), HIDDEN, pooled=False)
        own = self._pairs(torch.arange(self.products.shape[1]), pairs)
        total = torch.zeros(order, len(rows), len(columns), dtype=torch.float64)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            k12 = 2.0 * self.products[:, block][:, :, columns][pairs].movedim((0, 1), (2, 3))
            theta = lifting.continued(Kernels(k12, k12, own[block], own[columns])).t12
            part = torch.zeros(order, len(block), len(columns), dtype=torch.float64)
            part.index_add_(0, pairs.flatten(), theta.flatten(2).movedim(-1, 0))
            total[:, start : start + _BLOCK] = part / order**2
        return total

    def _pairs(self, days: Tensor, pairs: Tensor) -> Tensor:
        """Return K of each state with itself at all pairs of elements, (day, 8, 8)."""
        return 2.0 * self.products[:, days, days][pairs].movedim(-1, 0)

    def predict_plain(self, train: Tensor, test: Tensor, times: Sequence[float]) -> list[Tensor]:
        """Return mean predictions of the MLP trained on the days alone, (test, cell) each."""
        mean = MeanPrediction(self.plain(train, train), self.targets[train])
        kernel = self.plain(test, train)
        return [mean.at(time, kernel) for time in times]

    def predict_augmented(
        self, train: Tensor, test: Tensor, times: Sequence[float]
    ) -> list[Tensor]:
        """Return mean predictions of the MLP trained on the days and all their images."""
        kernels = torch.stack([self.plain(train, train, h) for h in range(self.group.order)])
        # Θ(ρ(g)x, ρ(h)x′) = Θ(x, ρ(g⁻¹h)x′)
        gram = kernels[torch.from_numpy(self.group.left.copy())]
        gram = gram.permute(0, 2, 1, 3).reshape(len(C4H) * len(train), -1)
        targets = torch.cat([self.output.act(h, self.targets[train]) for h in C4H])
        mean = MeanPrediction(gram, targets)
        kernel = torch.cat([self.plain(test, train, h) for h in range(self.group.order)], 1)
        return [mean.at(time, kernel) for time in times]

    def predict_equivariant(
        self, train: Tensor, test: Tensor, times: Sequence[float]
    ) -> list[Tensor]:
        """Return mean predictions of the GCNN trained on the days alone."""
        inner, outer = self.group_values(train, train), self.group_values(test, train)
        targets = [self.output.act(h, self.targets[train]) for h in C4H]
        total: list[Tensor] = [torch.zeros(len(test), self.targets.shape[1])] * len(times)
        for character in characters():
            # ρ(h)y = χ(h)y for the part y of the targets
            terms = [c.conj() * y for c, y in zip(character, targets, strict=True)]
            part = torch.stack(terms).mean(0)
            gram = torch.einsum("h,hij->ij", character, inner.to(character.dtype))
            mean = MeanPrediction(gram, part)
            kernel = torch.einsum("h,hij->ij", character, outer.to(character.dtype))
            found = [mean.at(time, kernel).real for time in times]
            total = [a + b for a, b in zip(total, found, strict=True)]
        return total


def characters() -> Tensor:
    """Return the characters of C4h, (character, element), complex128."""
    turns = torch.tensor([g.turns for g in C4H], dtype=torch.float64)
    mirrored = torch.tensor([1.0 if g.mirror else 0.0 for g in C4H], dtype=torch.float64)
    rows = [
        torch.polar(torch.ones_like(turns), torch.pi * (k * turns / 2 + sign * mirrored))
        for k in range(4)
        for sign in range(2)
    ]
    return torch.stack(rows)


def regress(store: Path, days: Sequence[int], nside: int, tick: ProgressCallback) -> Values:
    """Regress the next day's change of z500, and compare the ways to the symmetry.

    The training time is chosen on validation days for each kernel and number of days.

    Parameters
    ----------
    store
        Analysis store.
    days
        Numbers of training days.
    nside
        Resolution of the states.
    tick
        Called twice for reading and comparing, and once for each number of days.

    Returns
    -------
    dict
        ``weather_same``, ``weather_other``, ``weather_gain``, and the skills 1 − MSE/MSE of
        persistence by number of training days.
    """
    regression = load_days(store, max(days), nside)
    tick(1, "states read")
    count = len(regression.targets)
    test = torch.arange(count - TEST_DAYS, count)
    validation = torch.arange(count - TEST_DAYS - VALIDATION_DAYS, count - TEST_DAYS)
    small = torch.arange(min(SMALL, min(days)))
    times = (TIMES[2],)
    (augmented,) = regression.predict_augmented(small, test, times)
    (equivariant,) = regression.predict_equivariant(small, test, times)
    (plain,) = regression.predict_plain(small, test, times)
    scale = float(augmented.abs().max())
    values: dict[str, float | list[float]] = {
        "weather_same": float((augmented - equivariant).abs().max()) / scale,
        "weather_other": float((augmented - plain).abs().max()) / scale,
    }
    tick(1, "augmented set compared")
    both = torch.cat([validation, test])
    skills: dict[str, list[float]] = {"plain": [], "equivariant": []}
    for number in days:
        train = torch.arange(number)
        for name, predict in (
            ("plain", regression.predict_plain),
            ("equivariant", regression.predict_equivariant),
        ):
            found = predict(train, both, TIMES)
            chosen = max(
                found, key=lambda each: _skill(each[:VALIDATION_DAYS], regression, validation)
            )
            skills[name].append(_skill(chosen[VALIDATION_DAYS:], regression, test))
        tick(1, f"{number} days")
    values["weather_gain"] = skills["equivariant"][-1] - skills["plain"][-1]
    return {**values, **skills, "train_days": [float(number) for number in days]}


def _skill(prediction: Tensor, regression: Regression, days: Tensor) -> float:
    """Return 1 − MSE/MSE of no change; cells are of equal area."""
    truth = regression.targets[days]
    return 1 - float(((prediction - truth) ** 2).mean() / (truth**2).mean())


def select_days(store: Path, train_days: int, nside: int) -> tuple[Analysis, Times]:
    """Choose the days of a regression, without reading fields.

    Training days are spread over the period before validation, so that seasons are alike.

    Parameters
    ----------
    store
        Analysis store.
    train_days
        Training days wanted, before those of validation and test.
    nside
        Resolution.

    Returns
    -------
    analysis, days
        The training days in an order of which any beginning is spread too, then the others.

    Raises
    ------
    InputError
        If the store has too few consecutive days, or no z500.
    """
    analysis = Analysis(store, nside=nside)
    if _TARGET not in analysis.layout.channels:
        raise InputError(
            f"{store} lacks geopotential at 500 hPa", field="--analysis", hint="ingest it"
        )
    times = analysis.times[np.isin(analysis.times + _DAY, analysis.times)]
    wanted = train_days + VALIDATION_DAYS + TEST_DAYS
    if len(times) < wanted:
        raise InputError(
            f"{store} has {len(times)} days with a next day, {wanted} are needed",
            field="--days",
            hint=f"ask for at most {max(len(times) - wanted + train_days, 0)} training days",
        )
    head, tail = np.split(times, [len(times) - VALIDATION_DAYS - TEST_DAYS])
    chosen = np.linspace(0, len(head) - 1, train_days).round().astype(int)
    return analysis, np.concatenate([np.random.default_rng(0).permutation(head[chosen]), tail])


def load_days(store: Path, train_days: int, nside: int) -> Regression:
    """Read standardised states and next-day changes of z500.

    Latitude, season, orography and land are channels, and move with the rest: otherwise the
    symmetry is not there.

    Parameters
    ----------
    store, train_days, nside
        As for :func:`select_days`, which raises for a store that lacks them.

    Returns
    -------
    Regression
        Of all days.
    """
    analysis, order = select_days(store, train_days, nside)
    channels = analysis.layout.channels
    fields = np.stack([analysis.read(time) for time in order]).astype(np.float64)
    row = channels.index(_TARGET)
    after = np.stack([analysis.read(time + _DAY)[row] for time in order]).astype(np.float64)
    change = after - fields[:, row]
    odd = {name for name, _ in channels if name.endswith("v_component_of_wind")}
    signs = [-1 if name in odd else 1 for name, _ in channels]
    part = fields[:train_days]
    mean = part.mean((0, 2), keepdims=True) * (np.array(signs) > 0)[None, :, None]
    spread = np.sqrt(((part - mean) ** 2).mean((0, 2), keepdims=True))
    states = [(fields - mean) / np.where(spread > 0, spread, 1.0)]
    latitude = np.sin(np.deg2rad(centres(nside)[0]))
    phase = 2 * np.pi * (order - order.astype("datetime64[Y]")) / (365.25 * _DAY)
    ones = np.ones((len(order), 1, len(latitude)))
    season = [ones * wave(phase)[:, None, None] for wave in (np.cos, np.sin)]
    ground = read_static_fields(store, nside)
    height = ground["orography"] / max(float(ground["orography"].std()), 1.0)
    states += [ones * latitude, *season, ones * height, ones * ground["land_fraction"]]
    signs += [-1, -1, -1, 1, 1]
    stacked = torch.from_numpy(np.concatenate(states, axis=1))
    return Regression(stacked, torch.from_numpy(change / change.std()), signs, nside)
