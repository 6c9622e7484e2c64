"""Counterfactual runs: their figures, and the runs that they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pear.store.attributes import read_json
from pipelines.catalog import Catalog, Run
from pipelines.forecasting.request import counterfactuals_of, factual_of
from pipelines.storage.data_folder import DataFolder
from service.readers.nature import FIGURES, attributes_of


@dataclass(frozen=True)
class Pair:
    """What belongs to a run.

    Attributes
    ----------
    factual
        Of a counterfactual: id of the factual run; None if it is unknown.
    counterfactuals
        Of a forecast: ids of its counterfactuals, newest first.
    figures
        Of a finished counterfactual: its figures.
    """

    factual: str | None = None
    counterfactuals: tuple[str, ...] = ()
    figures: dict[str, Any] | None = None


def pair_of(folder: DataFolder, catalog: Catalog, run: Run, *, listed: bool = False) -> Pair:
    """Return what belongs to a run; without its counterfactuals if it is one of a list."""
    factual = factual_of(catalog, run)
    others = [] if listed else counterfactuals_of(catalog, run)
    return Pair(
        None if factual is None else factual.id,
        tuple(each.id for each in others),
        counterfactual_of(folder, run),
    )


def counterfactual_of(folder: DataFolder, run: Run) -> dict[str, Any] | None:
    """Return the figures of a finished counterfactual; None for other runs."""
    if "counterfactual" not in run.options:
        return None
    return read_json(attributes_of(folder.forecast(run.id)).get(FIGURES)) or None


def describe_counterfactual(folder: DataFolder, run: Run) -> Iterator[str]:
    """Describe a counterfactual in lines for a terminal; none for other runs."""
    found = counterfactual_of(folder, run)
    if found is None:
        return
    units = found["units"]
    yield (
        f"counterfactual ({found['label']}): {found['description']} at {found['valid_time']}: "
        f"{found['factual']:.6g} becomes {found['counterfactual']:.6g} {units}"
    )
    yield (
        f"smallest change: |z| {found['length']:.2f}, probability {found['probability']:.2g} under "
        f"the climate, {found['size']:.0%} of an anomaly's size, {found['near']:.0%} within 4000 km"
    )
    for note in found["notes"]:
        yield f"note: {note}"
