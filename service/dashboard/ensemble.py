"""What an ensemble keeps beside its mean, as the forecast page offers it."""

from __future__ import annotations

from typing import Any

from pear.errors import InputError
from pear.store.schema import PROBABILITY
from pipelines.catalog import Run
from pipelines.forecasting.options import ForecastOptions, Threshold
from service.dependencies import Services
from service.readers.forecasts import ForecastStore, statistics_of
from service.readers.nature import describe_members, nature_of


def describe_ensemble(services: Services, run: Run) -> dict[str, Any] | None:
    """Return the statistics that a run keeps, by kind.

    Parameters
    ----------
    services
        Services of the application.
    run
        A finished run.

    Returns
    -------
    dict or None
        Size of the ensemble, names of members, spread and quantiles, and of each probability its
        field and words, but for fields of which the run itself has nothing to show; None for a
        single forecast.
    """
    nature = nature_of(services.folder, run)
    if nature.members is None:
        return None
    kept = statistics_of(services.folder, run.id)
    return {
        "size": nature.members,
        "members": [name for name in kept if name.startswith("m")],
        "spread": "spread" in kept,
        "quantiles": [name for name in kept if name.startswith("q")],
        "probabilities": _probabilities(services, run, kept),
        "note": describe_members(services.folder, run),
    }


def _probabilities(services: Services, run: Run, kept: list[str]) -> list[dict[str, Any]]:
    """Return the probabilities of the thresholds of a run, which their stores hold in order."""
    try:
        thresholds = ForecastOptions.from_dict(run.options).thresholds
    except InputError:
        return []
    found, own = [], services.forecasts.store(run.id)
    for number, threshold in enumerate(thresholds):
        name = f"p{number:02d}"
        if name not in kept or not _has(own, threshold):
            continue
        words = services.forecasts.store(f"{run.id}.{name}").dataset.attrs.get(PROBABILITY)
        found.append(
            {
                "name": name,
                "variable": threshold.variable,
                "level": threshold.level or None,
                "words": str(words or threshold.description),
            }
        )
    return found


def _has(store: ForecastStore, threshold: Threshold) -> bool:
    """Return whether a store holds the field of a threshold, or what it is derived from."""
    try:
        store.select(threshold.variable, threshold.level or None)
    except InputError:
        return False
    return True
