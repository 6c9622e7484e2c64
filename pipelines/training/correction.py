"""The correction of a trained model, fitted on analyses: what a rollout gets after each step."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from pear.errors import InputError
from pear.models import checkpoint
from pear.models.correction import Correction, CorrectionConfig
from pear.models.hydrostatic import HydrostaticBalance, optimal_gain
from pear.progress import ProgressCallback, no_progress
from pear.rollout import PearForecaster
from pear.state import State
from pear.store.analysis import Analysis
from pear.store.day_of_year import harmonic_basis
from pear.times import as_utc, to_iso
from pear.typing import Float64, Times

BATCH: Final = 8
_MAX_CONDITION: Final = 10.0


def correct_checkpoint(
    source: Path,
    target: Path,
    config: CorrectionConfig,
    analysis: Path | None = None,
    period: tuple[str, str] | None = None,
    tick: ProgressCallback = no_progress,
    *,
    keep: bool = False,
) -> checkpoint.Checkpoint:
    """Write a checkpoint with a correction; one that the source has is replaced.

    Parameters
    ----------
    source
        Checkpoint folder of a PEAR network.
    target
        Folder of the new checkpoint.
    config
        Settings of the correction.
    analysis
        Store on which the bias and the balance are fitted: years that the model is not tested on.
    period
        First and last valid time used; default: all.
    tick
        Receives the number of steps done.
    keep
        Keep filter and bias of the source; of the settings only balance and dry air are taken.

    Returns
    -------
    Checkpoint
        As loaded from the target; its id differs from that of the source.

    Raises
    ------
    InputError
        If the bias or the balance has no analysis to be fitted on, the times do not cover the year,
        the filter does not fit the grid, or the source lacks a correction to keep.
    """
    found = checkpoint.load(source)
    correction = _begin(found, config, keep=keep)
    bias = config.bias_degree is not None and not keep
    if analysis is not None:
        if bias:
            correction = fit_bias(found, correction, analysis, period, tick)
        if config.hydrostatic:
            correction = fit_balance(found, correction, analysis, period, tick)
    elif bias or config.hydrostatic:
        name, option = ("a bias", "--no-bias") if bias else ("the balance", "--no-hydrostatic")
        raise InputError(
            f"{name} is fitted on analyses",
            field="--analysis",
            hint=f"name a store of years that the model is not tested on, or {option}",
        )
    storage: checkpoint.Storage = "float32"
    if all(_is_float16(value) for value in found.model.state_dict().values()):
        storage = "float16"
    return checkpoint.save(
        target, found.model, found.normaliser, found.provenance, storage, correction
    )


def _begin(found: checkpoint.Checkpoint, config: CorrectionConfig, *, keep: bool) -> Correction:
    """Return a correction without a fit, or that of the checkpoint with other settings."""
    network, old = found.model.config, found.correction
    if not keep:
        return Correction(config, network.layout, network.nside)
    if old is None:
        raise InputError(
            f"model {found.id} has no correction to keep",
            field="--keep",
            hint="leave --keep out: a new correction is made",
        )
    wanted = replace(old.config, hydrostatic=config.hydrostatic, dry_mass=config.dry_mass)
    about = {name: value for name, value in old.provenance.items() if name != "balance"}
    out = Correction(wanted, old.layout, old.nside, about)
    own = out.state_dict()
    kept = {name: value for name, value in old.state_dict().items() if name in own}
    out.load_state_dict(own | kept)
    return out


def fit_bias(
    found: checkpoint.Checkpoint,
    correction: Correction,
    store: Path,
    period: tuple[str, str] | None = None,
    tick: ProgressCallback = no_progress,
) -> Correction:
    """Return a correction with the seasonal mean error of one filtered step.

    Parameters
    ----------
    found
        Model.
    correction
        Settings; it is not changed.
    store
        Analyses one step apart.
    period
        First and last valid time used; default: all.
    tick
        Receives the number of steps done.

    Returns
    -------
    Correction
        Its provenance names the store and the period; InputError if the store has no two states a
        step apart in the period, or they do not cover the year.
    """
    forecaster = PearForecaster(found, correct=False)
    analysis = Analysis(store, forecaster.layout, forecaster.nside)
    times = _start_times(analysis, forecaster.time_step, period)
    filtered = Correction(correction.config, correction.layout, correction.nside)
    sums = _ErrorSums.empty(correction)
    for first in range(0, times.size, BATCH):
        some = times[first : first + BATCH]
        states = [_read(analysis, at) for at in (some, some + forecaster.time_step)]
        stepped = forecaster.step(states[0])
        with torch.inference_mode():
            error = filtered.error(
                (stepped.surface, stepped.upper), (states[1].surface, states[1].upper)
            )
        sums.add(harmonic_basis(states[1].valid_time, correction.config.harmonics), error.numpy())
        tick(some.size, to_iso(some[-1]))
    about = _describe_fit(forecaster, analysis, times)
    return _with_bias(correction, sums.solve(), about)


def fit_balance(
    found: checkpoint.Checkpoint,
    correction: Correction,
    store: Path,
    period: tuple[str, str] | None = None,
    tick: ProgressCallback = no_progress,
) -> Correction:
    """Return a correction with the gain of its hydrostatic balance.

    The covariances are those of the errors of a step that is corrected but for its balance, and of
    the residual in the analyses (:class:`pear.models.hydrostatic.HydrostaticBalance`).

    Parameters
    ----------
    found
        Model.
    correction
        Settings and bias; it is not changed.
    store
        Analyses one step apart.
    period
        First and last valid time used; default: all.
    tick
        Receives the number of steps done.

    Returns
    -------
    Correction
        Its provenance names the store and the period.

    Raises
    ------
    InputError
        If the store has no two states a step apart in the period, or the settings leave the balance
        as it is.
    """
    out = deepcopy(correction)
    if out.balance is None:
        raise InputError("the correction leaves the balance as it is", field="hydrostatic")
    balance = HydrostaticBalance(correction.layout).double()  # its gain is zero: nothing changes
    forecaster = PearForecaster(replace(found, correction=out))
    analysis = Analysis(store, forecaster.layout, forecaster.nside)
    times = _start_times(analysis, forecaster.time_step, period)
    errors, residuals, states = _Moments(), _Moments(), _Moments()
    with torch.no_grad():
        torch.nn.init.zeros_(out.balance.gain)
        for first in range(0, times.size, BATCH):
            some = times[first : first + BATCH]
            start, truth = (_read(analysis, at) for at in (some, some + forecaster.time_step))
            stepped = forecaster.step(start)
            true = truth.surface.double(), truth.upper.double()
            column = balance.columns(*true)
            errors.add(balance.columns(stepped.surface.double(), stepped.upper.double()) - column)
            residuals.add(balance.residual(*true))
            states.add(torch.cat([true[0], true[1].flatten(1, 2)], dim=1))
            tick(some.size, to_iso(some[-1]))
    split = len(correction.layout.surface)
    mean = states.mean[None, :, None]
    upper = mean[:, split:].reshape(1, len(correction.layout.upper), -1, 1)
    derivative = balance.derivative(mean[:, :split], upper)
    gain = optimal_gain(derivative, errors.square, residuals.covariance)
    out.balance.load_state_dict({"gain": gain.float(), "offset": residuals.mean.float()})
    out.provenance["balance"] = _describe_fit(forecaster, analysis, times)
    return out


def _describe_fit(forecaster: PearForecaster, analysis: Analysis, times: Times) -> dict[str, Any]:
    """Return what a fit was made on, for the provenance."""
    return {
        "analysis": analysis.name,
        "period": [to_iso(times[0]), to_iso(times[-1] + forecaster.time_step)],
        "steps": int(times.size),
        "model": forecaster.checkpoint.id,
    }


def _read(analysis: Analysis, times: Times) -> State:
    """Return the states at some times of a store."""
    fields = np.stack([analysis.read(time) for time in times])
    return State.from_channels(fields, times, analysis.layout)


class _Moments:
    """Mean and covariance over batches and cells."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = self._product = torch.zeros(())

    def add(self, values: Tensor) -> None:
        """Add values (batch, row, cell)."""
        self._count += values.shape[0] * values.shape[2]
        self._sum = self._sum + values.sum(dim=(0, 2))
        self._product = self._product + torch.einsum("bcx,bdx->cd", values, values)

    @property
    def mean(self) -> Tensor:
        """(row,)."""
        return self._sum / self._count

    @property
    def square(self) -> Tensor:
        """Mean products about zero, (row, row)."""
        return self._product / self._count

    @property
    def covariance(self) -> Tensor:
        """Mean products about the mean, (row, row)."""
        return self.square - torch.outer(self.mean, self.mean)


def _start_times(analysis: Analysis, step: np.timedelta64, period: tuple[str, str] | None) -> Times:
    """Return the times from which one step can be compared."""
    first, last = as_utc(period) if period else (analysis.times[0], analysis.times[-1])
    held = analysis.times[(analysis.times >= first) & (analysis.times <= last)]
    times = as_utc(held[np.isin(held + step, held)])
    if times.size == 0:
        raise InputError(
            f"analysis {analysis.name} has no two times {step / np.timedelta64(1, 'h'):g} h apart "
            f"from {to_iso(first)} to {to_iso(last)}",
            field="--period",
            hint="use whole years of analyses",
        )
    return times


@dataclass
class _ErrorSums:
    """Normal equations of the fit of one-step errors by harmonics of the year.

    Attributes
    ----------
    gram
        (term, term), Σ B Bᵀ.
    moment
        (term, field, coefficient), Σ B e.
    square
        (field, coefficient), Σ e².
    """

    gram: Float64
    moment: Float64
    square: Float64
    count: int = field(default=0)

    @classmethod
    def empty(cls, correction: Correction) -> _ErrorSums:
        config = correction.config
        terms = 1 + 2 * config.harmonics
        shape = terms, len(correction.scale), (config.degree + 1) ** 2
        return cls(np.zeros((terms, terms)), np.zeros(shape), np.zeros(shape[1:]))

    def add(self, basis: Float64, error: np.typing.NDArray[np.floating[Any]]) -> None:
        """Add errors (time, field, coefficient) at times with a basis (time, term)."""
        self.gram += basis.T @ basis
        self.moment += np.tensordot(basis.T, error.astype(np.float64), axes=1)
        self.square += np.square(error, dtype=np.float64).sum(axis=0)
        self.count += len(basis)

    def solve(self) -> Float64:
        """Return the coefficients of the fit, (term, field, coefficient), shrunk by their noise.

        A mean over some hundred steps is mostly noise at many degrees. Each term of each field and
        degree is multiplied by max(0, 1 − noise / power): James and Stein's estimate (1961), with
        the noise from the scatter of the errors about the fit.

        Returns
        -------
        ndarray
            Physical units.

        Raises
        ------
        InputError
            If the times do not cover the year.
        """
        if not np.linalg.cond(self.gram / self.count) < _MAX_CONDITION:
            terms = len(self.gram)
            raise InputError(
                f"{self.count} steps cannot determine the mean and {(terms - 1) // 2} harmonics "
                "of the year",
                field="--period",
                hint="use whole years of analyses or fewer harmonics",
            )
        flat = self.moment.reshape(len(self.moment), -1)
        fit = np.asarray(np.linalg.solve(self.gram, flat)).reshape(self.moment.shape)
        left = np.maximum(self.square - (fit * self.moment).sum(axis=0), 0.0)
        variance = left / max(self.count - len(self.gram), 1)
        noise = np.diag(np.linalg.inv(self.gram))[:, None, None] * variance
        degree = np.floor(np.sqrt(np.arange(self.moment.shape[2]))).astype(int)
        first = np.flatnonzero(np.diff(degree, prepend=-1))
        power = np.add.reduceat(fit**2, first, axis=-1)
        expected = np.add.reduceat(noise, first, axis=-1)
        kept = np.where(power > expected, 1.0 - expected / np.where(power > 0, power, 1.0), 0.0)
        return np.asarray(fit * kept[..., degree])


def _with_bias(correction: Correction, fit: Float64, about: dict[str, object]) -> Correction:
    """Return the correction with the low degrees of a fit (term, field, coefficient)."""
    config = correction.config
    out = Correction(config, correction.layout, correction.nside, about)
    kept = (((config.bias_degree or 0) + 1) ** 2, (config.seasonal_degree + 1) ** 2)
    mean, season = fit[0, :, : kept[0]], fit[1:, :, : kept[1]]
    scale = np.maximum(abs(mean).max(axis=1), abs(season).max(axis=(0, 2), initial=0.0))
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    tensors = {
        "scale": scale,
        "mean": (mean / scale[:, None]).astype(np.float16),
        "season": (season / scale[:, None]).astype(np.float16),
    }
    state = {name: torch.from_numpy(values).float() for name, values in tensors.items()}
    out.load_state_dict(out.state_dict() | state)
    return out


def _is_float16(values: torch.Tensor) -> bool:
    """Return whether values are kept by float16, as those of a checkpoint in that format are."""
    return not values.is_floating_point() or bool((values.half().float() == values).all())
