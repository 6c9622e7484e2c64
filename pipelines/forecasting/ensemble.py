"""The one constructor of ensembles: forecasts and evaluations build their members with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import torch

from pear.errors import InputError
from pear.models.symmetries import distinct_elements
from pear.rollout import (
    Ensemble,
    MemberGroup,
    Noise,
    OneStepForecaster,
    PearForecaster,
    Perturbation,
    RandomFieldPerturbation,
)
from pear.sphere.symmetry import C4H, IDENTITY, Element
from pear.store.analysis import Analysis
from pipelines.catalog.installed_models import open_installed
from pipelines.forecasting.options import MIN_PAST_TIMES, ForecastOptions, Precision

M = TypeVar("M")
Group = tuple[Element, ...]
DTYPES: Final[dict[Precision, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
}


def build_ensemble(
    options: ForecastOptions,
    models: Sequence[M],
    load: Callable[[M, Group], OneStepForecaster],
    analysis: Path,
) -> Ensemble:
    """Build the members of a forecast; a single forecast has one member.

    Parameters
    ----------
    options
        Options of the forecast.
    models
        The forecast's model and the further models of :attr:`ForecastOptions.models`.
    load
        Returns the forecaster of a model, averaged over a group of symmetries.
    analysis
        Analysis store of the initial state, from which random field perturbations are drawn.

    Returns
    -------
    Ensemble
        Members in the order in which they are stored: model by model, control first. A symmetry
        ensemble has those elements of the group whose forecasts differ.
    """
    forecasters = [each for model in models for each in _variants(options, model, load)]
    return Ensemble(
        [
            MemberGroup(
                forecaster, options.members or 1, _perturbation(options, forecaster, analysis)
            )
            for forecaster in forecasters
        ],
        perturb_steps=bool(options.perturb_steps),
    )


def _variants(
    options: ForecastOptions, model: M, load: Callable[[M, Group], OneStepForecaster]
) -> list[OneStepForecaster]:
    """Return the forecasters of one model: for a symmetry ensemble those that differ."""
    first = load(model, averaging_group(options))
    if options.ensemble != "symmetry":
        return [first]
    if not isinstance(first, PearForecaster):
        raise InputError(
            f"{first.name} is not of PEAR, and has no symmetries of the grid",
            field="ensemble",
            hint="use members with ensemble=random_field",
        )
    _, *others = distinct_elements(vars(first.checkpoint.config))
    return [first, *(load(model, (element,)) for element in others)]


def averaging_group(options: ForecastOptions) -> Group:
    """Return the symmetries over which each step of a single forecast is averaged."""
    return C4H if options.symmetrise else (IDENTITY,)


def _perturbation(
    options: ForecastOptions, forecaster: OneStepForecaster, analysis: Path
) -> Perturbation | None:
    scale = options.perturbation_scale
    if options.members is None or scale is None:
        return None
    if options.ensemble == "random_field" and not isinstance(scale, dict):
        past = Analysis(analysis, forecaster.layout, forecaster.nside)
        return RandomFieldPerturbation(
            past, forecaster.time_step, scale, options.seed, MIN_PAST_TIMES
        )
    if not isinstance(forecaster, PearForecaster):
        raise InputError(
            f"{forecaster.name} is not of PEAR, and has no statistics by which noise is scaled",
            field="ensemble",
            hint="use members with ensemble=random_field",
        )
    return Noise.from_normaliser(
        forecaster.checkpoint.normaliser,
        scale,
        length_km=options.length_km,
        seed=options.seed,
    )


def open_without_symmetries(folder: Path, device: str, group: Group) -> OneStepForecaster:
    """Load a forecaster of another package, whose steps are not averaged over symmetries.

    Parameters
    ----------
    folder
        Folder of the model.
    device
        Where it computes.
    group
        Symmetries that were asked for.

    Returns
    -------
    OneStepForecaster
        The forecaster.

    Raises
    ------
    InputError
        If symmetries were asked for, or it cannot be loaded.
    """
    forecaster = open_installed(folder, device)
    if group != (IDENTITY,):
        raise InputError(
            f"{forecaster.name} is not of PEAR, and has no symmetries of the grid",
            field="symmetrise",
            hint="forecast without them",
        )
    return forecaster
