"""Symmetry by averaging: over the group, and over an ensemble trained with the group.

Averaged over C4h, any network's forecast is exactly equivariant. Averaged over networks that were
trained with C4h as augmentation and differ in their seeds, it becomes equivariant as members are
added: their errors have zero mean, so the error of the mean of n falls as 1/√n (Gerken & Kessel
2024, arXiv 2403.03103). Members trained without augmentation share an error that remains.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
import torch
import xarray as xr

from pear.errors import InputError
from pear.metrics import ScoreAccumulator
from pear.metrics.dataset import sums_to_dataset
from pear.models.checkpoint import Checkpoint
from pear.models.config import PearConfig
from pear.models.diagnostics import DEFAULT_ELEMENTS, orbit_errors
from pear.rollout import PearForecaster
from pear.sphere.symmetry import C4H, IDENTITY, Element, M
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.climatology import Climatology
from pear.typing import Float32, Float64, Times
from pipelines.evaluation.accumulators import EvaluationDesign
from pipelines.evaluation.verify import ReferenceReader
from pipelines.studies.comparison import FIELDS

WAYS: Final = ("single", "averaged", "ensemble", "both")
"""One network's forecast; its average over the group; the mean of all; the mean of averages."""
BATCH: Final = 4
MAX_SUBSETS: Final = 500


def average_group(config: PearConfig) -> tuple[Element, ...]:
    """Return the elements to average over: one of each coset of those the network keeps.

    PEAR with ring rotations keeps the rotations, so averaging over the mirror alone is averaging
    over all of C4h.

    Returns
    -------
    tuple of Element
    """
    return (IDENTITY, M) if config.shift == "ring_rotation" else C4H


def measure(
    models: Sequence[Checkpoint],
    analysis: Analysis,
    climatology: Climatology,
    inits: Times,
    days: int,
) -> xr.Dataset:
    """Forecast with every member, from states moved and not, averaged over the group and not.

    Parameters
    ----------
    models
        Members, on the same channels and grid.
    analysis, climatology
        On the members' channels and grid.
    inits
        Init times.
    days
        Longest lead time.

    Returns
    -------
    xarray.Dataset
        ``sums`` of each way of :data:`WAYS` along ``forecaster``, those of single networks pooled
        over the members; and ``gram`` (time, prediction_timedelta, member, other), the mean over
        channels and cells of the product of two members' equivariance errors under the mirror,
        g⁻¹F(g x) − F(x), each channel in units of its standard deviation of the change over one
        step.

    Raises
    ------
    InputError
        If the members differ in channels or grid.
    """
    first = models[0].config
    like = (first.layout, first.nside)
    if any((other.config.layout, other.config.nside) != like for other in models[1:]):
        raise InputError("the members differ in channels or grid", field="--model")
    leads = np.arange(1, days + 1) * np.timedelta64(86_400, "s")
    fields = tuple(channel for channel in FIELDS if channel in first.layout.channels)
    columns = [first.layout.channels.index(channel) for channel in fields]
    sums = {way: ScoreAccumulator(inits, leads, fields) for way in WAYS}
    gram = np.zeros((inits.size, days, len(models), len(models)))
    design = EvaluationDesign.build(*like, inits, leads, ("global",)).without_plots()
    references = ReferenceReader(design, analysis, climatology)
    scale = step_scale(models[0])
    groups = ((IDENTITY,), (M,), average_group(first))
    forecasters = [[PearForecaster(m, group=group) for m in models] for group in groups]
    for start in range(0, inits.size, BATCH):
        times = inits[start : start + BATCH]
        references.forget_before(times[0])
        initial = references.initial_states(times)
        streams = [[one.iterate(initial, days) for one in many] for many in forecasters]
        for row, lead in enumerate(leads):
            own, moved, averaged = (
                np.stack([next(stream).to_channels() for stream in many]) for many in streams
            )
            gram[start : start + BATCH, row] = error_products((moved - own) / scale)
            ways = {
                "single": own,
                "averaged": averaged,
                "ensemble": own.mean(axis=0)[None],
                "both": averaged.mean(axis=0)[None],
            }
            for at, init in enumerate(times):
                reference = references.at(init, lead)
                beside = (reference.analysis[columns], reference.climatology[columns])
                for way, forecasts in ways.items():
                    for one in forecasts[:, at, columns]:
                        sums[way].add(init, lead, one, *beside)
    dims = ("time", "prediction_timedelta", "member", "other")
    return sums_to_dataset(sums).assign(gram=(dims, gram))


def step_scale(model: Checkpoint) -> Float32:
    """Return the standard deviation of the change over one step, (channel, 1)."""
    statistics = model.normaliser
    both = [statistics.surface_step_std, statistics.upper_step_std.flatten()]
    scale: Float32 = torch.cat(both)[:, None].float().numpy()
    return scale


def error_products(error: Float32) -> Float64:
    """Return mean products of errors (member, batch, channel, cell): (batch, member, member)."""
    flat = error.reshape(*error.shape[:2], -1).swapaxes(0, 1).astype(np.float64)
    products: Float64 = flat @ flat.swapaxes(1, 2) / flat.shape[-1]
    return products


def ensemble_error(gram: Float64, members: int) -> tuple[float, float, float]:
    """Compute the equivariance error of the mean of some of the members.

    Parameters
    ----------
    gram
        (init, member, member) at one lead time.
    members
        Size of the ensemble; all subsets of that size count, or :data:`MAX_SUBSETS` of them.

    Returns
    -------
    error, low, high : float
        Root mean square over init times and subsets, smallest and largest of a subset.
    """
    mean, count = gram.mean(axis=0), gram.shape[-1]
    if comb(count, members) <= MAX_SUBSETS:
        chosen = [list(each) for each in combinations(range(count), members)]
    else:
        rng = np.random.default_rng(0)
        chosen = [rng.choice(count, members, replace=False).tolist() for _ in range(MAX_SUBSETS)]
    squares = np.array([mean[np.ix_(each, each)].mean() for each in chosen])
    low, high = np.sqrt(np.maximum([squares.min(), squares.max()], 0.0))
    return float(np.sqrt(squares.mean())), float(low), float(high)


def common_error(gram: Float64) -> float:
    """Compute the error that remains in an ensemble of any size; NaN for a single member.

    It is the root of the mean product of two different members' errors, an unbiased estimate
    whose square counts as zero where it is negative.

    Parameters
    ----------
    gram
        (init, member, member) at one lead time.

    Returns
    -------
    float
    """
    mean, count = gram.mean(axis=0), gram.shape[-1]
    if count < 2:
        return float("nan")
    product = (mean.sum() - np.trace(mean)) / (count * (count - 1))
    return float(np.sqrt(max(product, 0.0)))


def exactness(model: Checkpoint, analysis: Analysis, inits: Times, days: int) -> xr.DataArray:
    """Compute equivariance errors in float64 of one network, as it is and averaged over C4h.

    Returns
    -------
    xarray.DataArray
        (way, element, day) for the ways ``single`` and ``averaged``, units as in :func:`measure`.
    """
    fields = np.stack([analysis.read(time) for time in inits])
    initial = State.from_channels(fields, inits, model.config.layout)
    groups = {"single": (IDENTITY,), "averaged": C4H}
    errors = [
        orbit_errors(
            model.model,
            model.normaliser,
            (initial.surface, initial.upper),
            inits,
            days,
            DEFAULT_ELEMENTS,
            group,
        )
        for group in groups.values()
    ]
    return xr.DataArray(
        [list(each.values()) for each in errors],
        {"way": list(groups), "element": list(errors[0]), "day": np.arange(1, days + 1)},
        name="exact",
    )
