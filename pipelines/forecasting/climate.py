"""Refusal of initial states from another climate than that of a model's training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open

from pear.errors import InputError
from pear.models.climate import (
    analysis_atmosphere,
    climate_difference,
    hours_of_day,
    training_atmosphere,
    training_hours,
)
from pear.store import schema
from pear.store.analysis import Analysis
from pear.store.reader import read_lead_hours
from pear.times import to_iso
from pear.typing import Float64
from pear.variables import Layout
from pipelines.catalog import Model
from pipelines.storage.data_folder import DataFolder

OTHER_CLIMATE = "other_climate"
"""Attribute of a forecast from another climate: how it differs."""
INITIAL_STATE_NOTE = "initial_state_note"
"""Attribute of a forecast: what is unusual about its initial state."""


def describe_difference(
    data: DataFolder, model: Model, layout: Layout, analysis: str, time: np.datetime64
) -> str | None:
    """Describe how an initial state differs from the climate of a model's training data.

    Parameters
    ----------
    data
        The data folder.
    model
        A model of its catalog.
    layout
        Channels of the model.
    analysis
        Name of the analysis.
    time
        Init time.

    Returns
    -------
    str or None
        None if the state belongs to it, or the checkpoint does not say what it was trained on.
    """
    trained = training_atmosphere(model.attributes.get("provenance") or {})
    if trained is None:
        return None
    path = data.analysis(analysis)
    given = analysis_atmosphere(schema.open_group(path).attrs)
    fields = Analysis(path, layout, model.nside).read(time)
    mean, std = _statistics(data.root / model.path)
    names = [f"{name}{level or ''}" for name, level in layout.channels]
    return climate_difference(trained, given, names, fields, mean, std)


def describe_initial_state(
    data: DataFolder, model: Model, analysis: str, time: np.datetime64
) -> str | None:
    """Describe what is unusual about an initial state, though a forecast from it is not refused.

    Parameters
    ----------
    data
        The data folder.
    model
        A model of its catalog.
    analysis
        Name of the analysis.
    time
        Init time.

    Returns
    -------
    str or None
        That it is itself a forecast, or at an hour of day that the model never saw in training.
    """
    found = []
    lead = read_lead_hours(data.analysis(analysis)).get(to_iso(time))
    if lead:
        found.append(f"the initial state is itself a forecast of {lead:g} h")
    hours = training_hours(model.attributes.get("provenance") or {})
    (hour,) = hours_of_day(np.array([time]))
    if hours is not None and hour not in hours:
        seen = ", ".join(map(_clock, hours))
        found.append(f"the model was trained at {seen} UTC, and the state is at {_clock(hour)} UTC")
    return "; ".join(found) or None


def _clock(hour: float) -> str:
    return f"{int(hour):02d}:{round(hour % 1 * 60):02d}"


def check_climate(
    data: DataFolder, model: Model, layout: Layout, analysis: str, time: np.datetime64
) -> None:
    """Refuse an initial state from another climate (:func:`describe_difference`).

    Raises
    ------
    InputError
        Says how it differs.
    """
    found = describe_difference(data, model, layout, analysis, time)
    if found is not None:
        raise InputError(
            f"analysis {analysis} is of another climate than model {model.id}: {found}",
            field="analysis",
            hint="train a model on such data, or allow it with allow_other_climate "
            "(--allow-other-climate)",
        )


def _statistics(folder: Path) -> tuple[Float64, Float64]:
    """Read mean and standard deviation of each channel from a checkpoint, without torch."""
    with safe_open(folder / "model.safetensors", framework="np") as tensors:

        def read(kind: str) -> Float64:
            parts = [tensors.get_tensor(f"normaliser.{k}_{kind}") for k in ("surface", "upper")]
            return np.concatenate([np.asarray(p, dtype=np.float64).ravel() for p in parts])

        return read("mean"), read("std")
