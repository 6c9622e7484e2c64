"""Refusal of initial states from another climate than that of a model's training data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from pear.errors import InputError
from pear.models.climate import (
    TrainingClimate,
    analysis_atmosphere,
    training_atmosphere,
)
from pear.store import schema
from pear.store.analysis import Analysis
from pear.store.reader import read_lead_hours
from pear.times import to_iso
from pear.typing import Float64
from pear.variables import Layout
from pipelines.catalog import Model
from pipelines.storage.data_folder import DataFolder


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
    if training_atmosphere(_provenance(model)) is None:
        return None
    path = data.analysis(analysis)
    given = analysis_atmosphere(schema.open_group(path).attrs)
    fields = Analysis(path, layout, model.nside).read(time)
    return model_climate(data, model, layout).difference(given, fields)


def model_climate(data: DataFolder, model: Model, layout: Layout) -> TrainingClimate:
    """Return the climate that a model of the catalog was trained on.

    Parameters
    ----------
    data
        The data folder.
    model
        A model of its catalog.
    layout
        Channels of the model.

    Returns
    -------
    TrainingClimate
        From its provenance and its statistics.
    """
    if "forecaster" in model.attributes:  # of another package, which tells no statistics
        none = np.zeros(len(layout.channels))
        return TrainingClimate.build({}, layout, none, none)
    return TrainingClimate.build(_provenance(model), layout, *_statistics(data.root / model.path))


def describe_initial_state(
    data: DataFolder, model: Model, layout: Layout, analysis: str, time: np.datetime64
) -> str | None:
    """Describe what is unusual about an initial state, though a forecast from it is not refused.

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
        That it is itself a forecast, or at an hour of day that the model never saw in training.
    """
    lead = read_lead_hours(data.analysis(analysis)).get(to_iso(time), 0.0)
    return model_climate(data, model, layout).note(time, lead)


def _provenance(model: Model) -> Mapping[str, Any]:
    found: Mapping[str, Any] = model.attributes.get("provenance") or {}
    return found


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
