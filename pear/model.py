"""Trained models: loaded by name or path, forecasting from Datasets."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch
import xarray as xr

from pear import resources
from pear.device import choose_device
from pear.errors import InputError
from pear.models import checkpoint
from pear.models.config import PearConfig
from pear.models.diagnostics import DEFAULT_ELEMENTS, equivariance_errors
from pear.models.ensemble_defaults import DEFAULT_PERTURB_STEPS, DEFAULT_SCALE
from pear.models.published import load_published
from pear.models.spread_skill import ATTRIBUTE, UNKNOWN, SpreadSkill, read_spread_skill
from pear.models.symmetries import unlearnt_mirror
from pear.normaliser import Normaliser
from pear.progress import ProgressCallback
from pear.rollout import Ensemble, MemberGroup, Noise, PearForecaster, Perturbation
from pear.sphere.symmetry import C4H, IDENTITY, Element, M
from pear.state import State
from pear.typing import DurationLike, StrPath, TimesLike

Precision = Literal["float32", "bfloat16"]
_DEFAULT_MEMBERS: Final = {
    "perturbation_scale": DEFAULT_SCALE,
    "perturb_steps": DEFAULT_PERTURB_STEPS,
}
_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_model(
    source: StrPath = "shipped",
    *,
    device: str = "auto",
    dtype: Precision = "float32",
    symmetrise: bool = False,
    statistics: StrPath | None = None,
    allow_other_climate: bool = False,
    correct: bool = True,
) -> Model:
    """Load a trained model.

    Parameters
    ----------
    source
        ``"shipped"`` for the model that comes with the package, a checkpoint folder, or a state
        dict (``.pt``) of the authors' public code. Nothing in a file is executed.
    device
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    dtype
        ``bfloat16`` computes inside the network in it and keeps the state in float32.
    symmetrise
        Average each step over the eight symmetries of the grid. Refused for a model that neither
        keeps the mirror at the equator nor was trained with mirrored states.
    statistics
        For a ``.pt`` file: checkpoint folder with the means and standard deviations of the
        training data, which such files lack.
    allow_other_climate
        Let the model forecast from states of another climate than its training data: observed
        ones although it was trained on a simulated atmosphere, the reverse, or global means more
        than 4 standard deviations off. Its forecasts say so in their attribute ``other_climate``.
    correct
        Apply the correction stored with the checkpoint after each step (:mod:`pear.models
        .correction`): filter, bias and floor. False runs the network alone.

    Returns
    -------
    Model
        Ready to forecast.

    Raises
    ------
    InputError
        If the model is not found or damaged, or ``symmetrise`` would make it worse.

    Examples
    --------
    >>> model = load_model("shipped", device="cpu")
    >>> model.nside, model.time_step
    (16, np.timedelta64(86400,'s'))
    """
    if dtype not in _DTYPES:
        raise InputError(f"unknown dtype {dtype!r}", field="dtype", hint="use float32 or bfloat16")
    path = resources.path("checkpoint") if source == "shipped" else Path(source)
    if path.is_dir():
        found = checkpoint.load(path)
    elif path.is_file():
        found = _import_published(path, statistics)
    else:
        raise InputError(
            f"no model at {path}",
            field="model",
            hint='name a checkpoint folder, a published .pt file, or "shipped"',
        )
    group = C4H if symmetrise else (IDENTITY,)
    if symmetrise:
        _check_mirror(found)
    model = Model(found, choose_device(device), _DTYPES[dtype], group, correct=correct)
    model.allow_other_climate = allow_other_climate
    if path.is_dir() and not symmetrise and model.correction is found.correction:
        model.spread_skill = read_spread_skill(path, _DEFAULT_MEMBERS)
    return model


def _check_mirror(found: checkpoint.Checkpoint) -> None:
    """Refuse to average over the mirror for a model that neither keeps nor learnt it."""
    config = vars(found.config)
    if unlearnt_mirror(config, found.provenance) is None:
        return
    measured = equivariance_errors(found.model, (M,))
    raise InputError(
        f"model {found.id} {unlearnt_mirror(config, found.provenance, measured)}",
        field="symmetrise",
        hint="leave symmetrise out, or load a model trained with augmentation c4h",
    )


def _import_published(path: Path, statistics: StrPath | None) -> checkpoint.Checkpoint:
    network = load_published(path)
    if statistics is None:
        warnings.warn(
            f"{path} has no statistics: the model reads and writes standardised fields; give "
            "statistics= to forecast in physical units",
            stacklevel=3,
        )
        normaliser = Normaliser.identity(network.config.layout)
    else:
        normaliser = checkpoint.load(Path(statistics)).normaliser
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return checkpoint.Checkpoint(normaliser, {"file": path.name}, digest, network)


class Model(PearForecaster):
    """A trained model; :func:`load_model` makes one.

    Attributes
    ----------
    layout, nside, time_step
        Channels, grid and time step of the forecasts.
    checkpoint
        Network, statistics and provenance.
    allow_other_climate
        Whether it forecasts from states of another climate than it was trained on.
    spread_skill
        Measured spread over skill of its default members; None if it was not measured.
    """

    spread_skill: SpreadSkill | None = None

    @property
    def id(self) -> str:
        """First twelve hexadecimal digits of the checkpoint's digest."""
        return self.checkpoint.id

    @property
    def config(self) -> PearConfig:
        """Settings of the network."""
        return self.checkpoint.config

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Origin of the weights: data, period, training settings and scores."""
        return self.checkpoint.provenance

    def __repr__(self) -> str:
        hours = self.config.step_hours
        return f"<pear.Model {self.id}: nside {self.nside}, {hours} h step, on {self.device}>"

    def forecast(
        self,
        initial: xr.Dataset | State,
        init: TimesLike | None = None,
        *,
        lead: DurationLike = "10d",
        variables: Sequence[str] | None = None,
        members: int | None = None,
        perturbation: Perturbation | None = None,
        progress: bool | ProgressCallback = False,
    ) -> xr.Dataset:
        """Forecast from one or several init times, with one or several members.

        Parameters
        ----------
        initial, init, lead, variables, progress
            As in :meth:`pear.rollout.DatasetForecaster.forecast`.
        members
            Size of an ensemble, whose first member is the unperturbed control; default: a single
            forecast.
        perturbation
            Makes the members differ; default: spatially correlated noise before every step, as
            :mod:`pear.models.ensemble_defaults` describes. A given one perturbs the start alone.

        Returns
        -------
        xarray.Dataset
            (time, prediction_timedelta, [number,] level, cell), float32, in memory.

        An :class:`~pear.errors.InputError` as in the method of the base class, if a perturbation is
        given without members, or if ``initial`` is of another climate than the training data.

        Examples
        --------
        >>> import pear
        >>> analysis = pear.sample_analysis()
        >>> model = pear.load_model("shipped", device="cpu")
        >>> forecast = model.forecast(analysis, init="2006-11-01", lead="2d", variables=["z"])
        >>> dict(forecast.sizes)["prediction_timedelta"]
        3
        """
        return self._forecast_members(
            initial, init, lead, variables, (members, perturbation), progress
        )

    def _forecast_members(
        self,
        initial: xr.Dataset | State,
        init: TimesLike | None,
        lead: DurationLike,
        variables: Sequence[str] | None,
        ensemble_of: tuple[int | None, Perturbation | None],
        progress: bool | ProgressCallback,  # noqa: FBT001 - of forecast, by name
    ) -> xr.Dataset:
        members, perturbation = ensemble_of
        if members is None:
            if perturbation is not None:
                raise InputError(
                    "a perturbation needs an ensemble", field="members", hint="give members="
                )
            return super().forecast(
                initial, init, lead=lead, variables=variables, progress=progress
            )
        noise = perturbation or Noise.from_normaliser(self.checkpoint.normaliser, DEFAULT_SCALE)
        ensemble = Ensemble(
            [MemberGroup(self, members, noise)],
            perturb_steps=perturbation is None and DEFAULT_PERTURB_STEPS,
            name=self.name,
        )
        data = ensemble.forecast(initial, init, lead=lead, variables=variables, progress=progress)
        about = self.attributes()
        if perturbation is None:
            about[ATTRIBUTE] = UNKNOWN if self.spread_skill is None else self.spread_skill.text
        return data.assign_attrs(about)

    def equivariance_error(self, *elements: Element) -> dict[str, float]:
        """Return the relative equivariance error of the network under symmetries of the grid.

        Parameters
        ----------
        elements
            Default: the quarter turn, the mirror at the equator, and their product.

        Returns
        -------
        dict
            By name of the element: max|Φ(g·x) − g·Φ(x)| / max|Φ(x)| on random fields in float64.
        """
        return equivariance_errors(self.checkpoint.model, elements or DEFAULT_ELEMENTS)
