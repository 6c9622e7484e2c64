"""Symmetry by averaging: over the group, and over an ensemble trained with the group.

Averaged over C4h, any network's forecast is exactly equivariant. Averaged over networks that were
trained with C4h as augmentation and differ in their seeds, it becomes so as members are added:
their errors have mean zero, so that the error of the mean of n falls as 1/√n (Gerken & Kessel 2024,
arXiv 2403.03103). Members trained without augmentation have an error in common, which stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from pear.errors import InputError
from pear.metrics import ScoreAccumulator
from pear.models.checkpoint import Checkpoint
from pear.models.config import PearConfig
from pear.models.diagnostics import DEFAULT_ELEMENTS, orbit_errors
from pear.rollout import PearForecaster
from pear.sphere.symmetry import C4H, IDENTITY, Element, M
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.times import as_utc
from pear.typing import Float64, Times
from pipelines.evaluation.verify import TimeCache, climatology_reader
from pipelines.studies.tables import FIELDS

WAYS: Final = ("single", "averaged", "ensemble", "both")
"""One network's forecast; its average over the group; the mean of all; the mean of averages."""
BATCH: Final = 4
MOST_SUBSETS: Final = 500
_DAY: Final = np.timedelta64(86_400, "s")


@dataclass(frozen=True)
class Measured:
    """What :func:`measure` finds.

    Attributes
    ----------
    gram
        (init, lead, member, member): mean over channels and cells of the product of two members'
        equivariance errors under the mirror, g⁻¹F(g x) − F(x), each channel in units of its
        standard deviation of the change over one step.
    tables
        Sums of scores by way; those of one network are pooled over the members.
    """

    gram: Float64
    tables: dict[str, ScoreAccumulator]


def average_group(config: PearConfig) -> tuple[Element, ...]:
    """Elements to average over: all of C4h, or one of each coset of those the network keeps.

    Our networks keep the rotations, so that averaging over the mirror alone is averaging over all.
    """
    return (IDENTITY, M) if config.shift == "ring_rotation" else C4H


def measure(
    models: Sequence[Checkpoint],
    analysis: Analysis,
    climatology: Climatology,
    inits: Times,
    days: int,
) -> Measured:
    """Forecast with every member, moved and not, averaged and not.

    Raises
    ------
    InputError
        If the members differ in channels or grid.
    """
    first = models[0].config
    for other in models[1:]:
        if (other.config.layout, other.config.nside) != (first.layout, first.nside):
            raise InputError("the members differ in channels or grid", field="--checkpoint")
    layout = first.layout
    fields = [channel for channel in FIELDS if channel in layout.channels]
    columns = [layout.channels.index(channel) for channel in fields]
    leads = np.arange(1, days + 1) * _DAY
    tables = {way: ScoreAccumulator(inits, leads, tuple(fields)) for way in WAYS}
    gram = np.zeros((inits.size, days, len(models), len(models)))
    truth, usual = TimeCache(analysis.read), TimeCache(climatology_reader(climatology))
    scale = _step_scale(models[0])
    groups = ((IDENTITY,), (M,), average_group(first))
    forecasters = [[PearForecaster(m, group=group) for m in models] for group in groups]
    for start in range(0, inits.size, BATCH):
        times = inits[start : start + BATCH]
        initial = State.from_channels(np.stack([truth(t) for t in times]), times, layout)
        streams = [[one.iterate(initial, days) for one in many] for many in forecasters]
        for row, lead in enumerate(leads):
            own, moved, averaged = (
                np.stack([next(stream).to_channels() for stream in many]) for many in streams
            )
            error = (moved - own) / scale
            gram[start : start + BATCH, row] = _products(error)
            ways = {
                "single": own,
                "averaged": averaged,
                "ensemble": own.mean(axis=0)[None],
                "both": averaged.mean(axis=0)[None],
            }
            for at, init in enumerate(times):
                beside = (truth(init + lead)[columns], usual(init + lead)[columns])
                for way, forecasts in ways.items():
                    for one in forecasts[:, at, columns]:
                        tables[way].add(init, lead, one, *beside)
        for held in (truth, usual):
            held.forget_before(times[-1])
    return Measured(gram, tables)


def _step_scale(model: Checkpoint) -> npt.NDArray[np.float32]:
    """Standard deviation of the change over one step, (channel, 1)."""
    statistics = model.normaliser
    both = [statistics.surface_step_std, statistics.upper_step_std.flatten()]
    return torch.cat(both)[:, None].float().numpy()


def _products(error: npt.NDArray[np.float32]) -> Float64:
    """Mean products of errors (member, batch, channel, cell): (batch, member, member)."""
    flat = error.reshape(*error.shape[:2], -1).swapaxes(0, 1).astype(np.float64)
    products: Float64 = flat @ flat.swapaxes(1, 2) / flat.shape[-1]
    return products


def ensemble_error(gram: Float64, members: int) -> tuple[float, float, float]:
    """Equivariance error of the mean of some of the members: all of the subsets of that size.

    Parameters
    ----------
    gram
        (init, member, member) at one lead.
    members
        Size of the ensemble.

    Returns
    -------
    (error, low, high)
        Root mean square over init times and subsets, and the smallest and largest of a subset.
    """
    mean, count = gram.mean(axis=0), gram.shape[-1]
    if comb(count, members) <= MOST_SUBSETS:
        chosen = [list(each) for each in combinations(range(count), members)]
    else:
        rng = np.random.default_rng(0)
        chosen = [rng.choice(count, members, replace=False).tolist() for _ in range(MOST_SUBSETS)]
    squares = np.array([mean[np.ix_(each, each)].mean() for each in chosen])
    low, high = np.sqrt(np.maximum([squares.min(), squares.max()], 0.0))
    return float(np.sqrt(squares.mean())), float(low), float(high)


def common_error(gram: Float64) -> float | None:
    """What no ensemble gets rid of: root of the mean product of two different members' errors.

    An unbiased estimate of the square may fall below zero, and counts as zero then; a single member
    tells nothing.
    """
    mean, count = gram.mean(axis=0), gram.shape[-1]
    if count < 2:
        return None
    product = (mean.sum() - np.trace(mean)) / (count * (count - 1))
    return float(np.sqrt(max(product, 0.0)))


def exactness(
    model: Checkpoint, analysis: Analysis, inits: Times, days: int
) -> dict[str, dict[str, list[float]]]:
    """Equivariance errors in float64 of one network, as it is and averaged over all of C4h.

    Returns
    -------
    dict
        ``single`` and ``averaged``, each element name to the error by day, units as in
        :class:`Measured`.
    """
    initial = State.from_channels(
        np.stack([analysis.read(t) for t in as_utc(inits)]), inits, model.config.layout
    )
    return {
        way: orbit_errors(
            model.model,
            model.normaliser,
            (initial.surface, initial.upper),
            inits,
            days,
            DEFAULT_ELEMENTS,
            group,
        )
        for way, group in (("single", (IDENTITY,)), ("averaged", C4H))
    }
