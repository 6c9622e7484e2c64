"""What may be asked of the engine: a request is refused with one clear line before it is queued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pear.errors import InputError, did_you_mean
from pear.store import schema
from pear.store.reader import read_completeness, stored_layout
from pear.times import as_utc, to_iso
from pear.variables import Layout
from pipelines.catalog import Catalog, Model, Run
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.data_folder import DataFolder

MOST_STEPS = 1000
"""Longest roll-out that is accepted; beyond it a typing error is likelier than a wish."""


@dataclass(frozen=True)
class ForecastRequest:
    """A forecast that can be made: model, initial state and length are there and fit.

    Attributes
    ----------
    model
        From the catalog.
    init_time
        UTC, in the store.
    lead_hours
        A multiple of the model's step.
    options
        What else determines the result; always names the ``analysis`` the state comes from.
    """

    model: Model
    init_time: np.datetime64
    lead_hours: int
    options: Mapping[str, Any]

    @classmethod
    def check(
        cls,
        data: DataFolder,
        catalog: Catalog,
        init_time: Any,
        lead_hours: int,
        model: str | None = None,
        analysis: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> ForecastRequest:
        """Check a request against what is in the data folder.

        Raises
        ------
        InputError
            Naming what is missing or does not fit, and what there is instead.
        """
        time, found = as_utc(init_time)[0], catalog.models.get(model)
        if lead_hours <= 0 or lead_hours % found.step_hours:
            raise InputError(
                f"lead of {lead_hours} h is no multiple of the model's step of "
                f"{found.step_hours} h",
                field="lead_hours",
            )
        if lead_hours // found.step_hours > MOST_STEPS:
            raise InputError(
                f"lead of {lead_hours} h is longer than {MOST_STEPS} steps", field="lead_hours"
            )
        chosen = ForecastOptions.of({**(options or {}), "analysis": analysis})
        chosen.check_fits(layout_of(found), lead_hours // found.step_hours, found.step_hours)
        others = [catalog.models.get(other) for other in chosen.models]
        for other in others:
            _require_alike(found, other)
        name = choose_analysis(data, found, analysis, time)
        chosen = replace(chosen, analysis=name, models=tuple(other.id for other in others))
        return cls(found, time, lead_hours, chosen.to_dict())

    def find(self, catalog: Catalog) -> Run | None:
        """Return the run of this request if the catalog has it."""
        return catalog.runs.find(self.model, self.init_time, self.lead_hours, self.options)


def layout_of(model: Model) -> Layout:
    """Return the channels a model reads, as its entry in the catalog tells them."""
    kept = model.attributes.get("layout")
    if kept is None:
        return Layout.default()
    return Layout.from_dict(kept)


def _require_alike(model: Model, other: Model) -> None:
    """Raise unless two models read the same states and step alike."""
    for what, one, two in (
        ("nside", model.nside, other.nside),
        ("step", model.step_hours, other.step_hours),
        ("layout", layout_of(model), layout_of(other)),
    ):
        if one != two:
            raise InputError(
                f"model {other.id} cannot join model {model.id} in one ensemble: its {what} is "
                f"{two}, not {one}",
                field="models",
            )


def choose_analysis(
    data: DataFolder, model: Model, analysis: str | None, time: np.datetime64 | None = None
) -> str:
    """Return the name of the analysis asked for, or of the first that fits the model.

    Parameters
    ----------
    time
        If given, it must hold a complete state at this time.

    Raises
    ------
    InputError
        If none fits, with what is wrong with each.
    """
    known = {path.stem: path for path in sorted((data.root / "analyses").glob("[!.]*.zarr"))}
    if analysis is not None:
        data.analysis(analysis)  # refuses what is no name
        if analysis not in known:
            raise InputError(
                f"no analysis {analysis!r} in {data.root}",
                field="analysis",
                hint=did_you_mean(analysis, known) if known else "make one with `pear ingest`",
            )
        known = {analysis: known[analysis]}
    if not known:
        raise InputError(
            f"no analysis in {data.root}", field="analysis", hint="make one with `pear ingest`"
        )
    reasons = []
    for name, path in known.items():
        try:
            _require(path, name, model, time)
        except InputError as error:
            reasons.append(error)
        else:
            return name
    if len(reasons) == 1:
        raise reasons[0]
    each = "; ".join(str(reason) for reason in reasons)
    raise InputError(f"no analysis holds an initial state: {each}", field="init_time")


def _require(path: Path, name: str, model: Model, time: np.datetime64 | None) -> None:
    """Raise unless the store fits this model and holds a complete state at this time."""
    kind, held, nside = stored_layout(path)
    layout = layout_of(model)
    if kind != "analysis":
        raise InputError(f"{name} holds no analyses but a {kind}", field="analysis")
    for what, want, have in (("", layout.names, held.names), (" hPa", layout.levels, held.levels)):
        missing = [f"{item}{what}" for item in want if item not in have]
        if missing:
            raise InputError(
                f"analysis {name} lacks {', '.join(missing)}, which model {model.id} needs",
                field="analysis",
            )
    if nside < model.nside:
        raise InputError(
            f"analysis {name} has nside {nside}, coarser than the {model.nside} of model "
            f"{model.id}",
            field="analysis",
        )
    if time is not None:
        _require_state(path, name, layout, time)


def _require_state(path: Path, name: str, layout: Layout, time: np.datetime64) -> None:
    times, complete, channels = read_completeness(path)
    index = np.flatnonzero(times == time)
    if not index.size:
        span = f"it holds {times.size} times"
        if times.size:
            span += f" from {to_iso(times[0])} to {to_iso(times[-1])}"
        raise InputError(
            f"init time {to_iso(time)} is not in analysis {name}", field="init_time", hint=span
        )
    wanted = np.isin(channels, schema.channels(layout))
    holes = np.flatnonzero(wanted & (complete[index[0]] == 0))
    if holes.size:
        first = ", ".join(channels[hole] for hole in holes[:3])
        raise InputError(
            f"analysis {name} is incomplete at {to_iso(time)}: {holes.size} of {wanted.sum()} "
            f"fields missing ({first}{' …' if holes.size > 3 else ''})",
            field="init_time",
        )
