"""Resolution of forecast requests: invalid ones are refused with one error before they queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pear.counterfactual.chart_file import read_about
from pear.errors import InputError, did_you_mean
from pear.models.symmetries import distinct_elements, unlearnt_mirror
from pear.sphere.healpix import cells_of_nside
from pear.store import schema
from pear.store.reader import read_completeness, stored_layout
from pear.times import as_utc, to_iso
from pear.typing import Bool, TimeLike, Times
from pear.variables import Layout
from pear.variables.own import adopt_definitions
from pipelines.catalog import Catalog, Model, NotFoundError, Priority, Run
from pipelines.forecasting.climate import check_climate
from pipelines.forecasting.options import MAX_STEPS, MIN_PAST_TIMES, ForecastOptions
from pipelines.storage.data_folder import DataFolder

_MOST_LISTED: Final = 200


@dataclass(frozen=True)
class ForecastRequest:
    """A forecast that can be computed: model, initial state and options exist and fit.

    Attributes
    ----------
    model
        Model of the catalog.
    init_time
        UTC.
    lead_hours
        Forecast length, a multiple of the model step.
    options
        As :meth:`ForecastOptions.to_dict` gives them; they name the ``analysis``.
    """

    model: Model
    init_time: np.datetime64
    lead_hours: int
    options: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """About the size of the result in bytes: float32, not compressed, without overviews."""
        options, step_hours = ForecastOptions.from_dict(self.options), self.model.step_hours
        steps = len(options.kept_steps(self.lead_hours // step_hours, step_hours))
        channels = len(options.layout(model_layout(self.model)).channels)
        stores = 1
        if options.is_ensemble:  # the spread beside the mean
            stores += 1 + len(options.quantiles)
        if options.keep_members:
            each = 8 if options.ensemble == "symmetry" else options.members or 1
            stores += each * (1 + len(options.models))
        fields = steps * (channels * stores + len(options.thresholds))
        return 4 * fields * cells_of_nside(self.model.nside)

    @property
    def factual(self) -> ForecastRequest | None:
        """For a counterfactual: the same request without it; else None."""
        if "counterfactual" not in self.options:
            return None
        return replace(self, options=without_counterfactual(self.options))

    def find(self, catalog: Catalog) -> Run | None:
        """Return the run of this request, or None if it was never submitted."""
        return catalog.runs.find(self.model, self.init_time, self.lead_hours, self.options)

    def submit(self, catalog: Catalog, priority: int = Priority.BATCH) -> tuple[Run, bool]:
        """Submit the request.

        Parameters
        ----------
        catalog
            The catalog.
        priority
            Priority in the queue.

        Returns
        -------
        (run, created)
            As :meth:`pipelines.catalog.runs.Runs.submit`.
        """
        return catalog.runs.submit(
            self.model.id,
            self.init_time,
            self.lead_hours,
            options=self.options,
            priority=priority,
        )


def without_counterfactual(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the factual forecast."""
    return {k: value for k, value in options.items() if k not in ("counterfactual", "chart")}


def factual_of(catalog: Catalog, run: Run) -> Run | None:
    """Return the factual forecast of a counterfactual; None for other runs, or if it is unknown."""
    if "counterfactual" not in run.options:
        return None
    options = without_counterfactual(run.options)
    try:
        model = catalog.models.get(run.model)
    except NotFoundError:
        return None
    return catalog.runs.find(model, run.init_time, run.lead_hours, options)


def counterfactuals_of(catalog: Catalog, run: Run) -> list[Run]:
    """Return the counterfactuals of a forecast, newest first."""
    if "counterfactual" in run.options:
        return []
    page = catalog.runs.page(model=run.model, init_time=run.init_time, limit=_MOST_LISTED)
    return [
        each
        for each in page.items
        if "counterfactual" in each.options
        and each.lead_hours == run.lead_hours
        and without_counterfactual(each.options) == dict(run.options)
    ]


def resolve_request(
    data: DataFolder,
    catalog: Catalog,
    init_time: TimeLike,
    lead_hours: int,
    *,
    model: str | None = None,
    options: ForecastOptions | Mapping[str, Any] | None = None,
) -> ForecastRequest:
    """Check a request against the data folder and fill in its defaults.

    Parameters
    ----------
    data
        The data folder.
    catalog
        Its catalog.
    init_time
        UTC.
    lead_hours
        Forecast length, a multiple of the model step.
    model
        Id or name (default: newest model).
    options
        Options of the forecast.

    Returns
    -------
    ForecastRequest
        With the ids of the models and the name of the analysis; InputError names what is missing
        or does not fit, and what is available instead.
    """
    if not isinstance(options, ForecastOptions):
        options = ForecastOptions.from_dict(options or {})
    time = as_utc(init_time)[0]
    found, others = check_request(catalog, model, lead_hours, options)
    analysis = choose_analysis(data, found, options.analysis, time)
    if not options.allow_other_climate:
        for each in (found, *others):
            check_climate(data, each, model_layout(each), analysis, time)
    for each in (found, *others):
        _check_symmetry(options, each)
    if options.ensemble == "random_field":
        _check_past(data.analysis(analysis), analysis, time)
    models = tuple(other.id for other in others)
    update: dict[str, Any] = {"analysis": analysis, "models": models}
    if options.counterfactual is not None:
        update["chart"] = _chart_id(data, found, options)
    resolved = options.model_copy(update=update)
    return ForecastRequest(found, time, lead_hours, resolved.to_dict())


def _chart_id(data: DataFolder, model: Model, options: ForecastOptions) -> str:
    """Return the id of a model's chart, which is part of what a counterfactual is."""
    if "forecaster" in model.attributes:
        raise InputError(
            f"forecaster {model.attributes['forecaster']} is not of PEAR, and has no gradients",
            field="counterfactual",
            hint="use a model of PEAR",
        )
    found = str(read_about(data.root / model.path)["id"])
    if options.chart not in (None, found):
        raise InputError(
            f"model {model.id} has chart {found}, not {options.chart}",
            field="chart",
            hint="leave the chart out",
        )
    return found


def require_multiple(lead_hours: int, step_hours: int) -> None:
    """Raise InputError unless a lead time is a positive multiple of a model's step, both hours."""
    if lead_hours <= 0 or lead_hours % step_hours:
        raise InputError(
            f"lead time {lead_hours} h is not a multiple of the {step_hours} h model step",
            field="lead_hours",
        )


def check_request(
    catalog: Catalog, model: str | None, lead_hours: int, options: ForecastOptions
) -> tuple[Model, list[Model]]:
    """Check length and options of a forecast against its models, whatever its init time.

    Parameters
    ----------
    catalog
        The catalog.
    model
        Id or name (default: newest model).
    lead_hours
        Forecast length, a multiple of the model step.
    options
        Options of the forecast.

    Returns
    -------
    (model, others)
        The model, and the further ones that the options name.

    Raises
    ------
    InputError
        Naming what is missing or does not fit.
    """
    found = catalog.models.get(model)
    require_multiple(lead_hours, found.step_hours)
    steps = lead_hours // found.step_hours
    if steps > MAX_STEPS:
        raise InputError(
            f"lead time {lead_hours} h is longer than {MAX_STEPS} steps", field="lead_hours"
        )
    options.check_fits(model_layout(found), steps, found.step_hours)
    try:
        others = [catalog.models.get(name) for name in options.models]
    except InputError as error:
        raise InputError(error.message, field="models", hint=error.hint) from error
    _check_alike(found, others)
    return found, others


def model_layout(model: Model) -> Layout:
    """Return the channels of a model, as its entry in the catalog lists them."""
    adopt_definitions(model.attributes, f"model {model.id}")
    stored = model.attributes.get("layout")
    return Layout.default() if stored is None else Layout.from_dict(stored)


def choose_analysis(
    data: DataFolder, model: Model, analysis: str | None, time: np.datetime64 | None = None
) -> str:
    """Return the name of an analysis that fits a model.

    Parameters
    ----------
    data
        The data folder.
    model
        A model of its catalog.
    analysis
        Name of the analysis (default: first that fits).
    time
        If given, the analysis must hold a complete state at this time.

    Returns
    -------
    str
        The name.

    Raises
    ------
    InputError
        If no analysis fits, with the reason for each.
    """
    known = {path.stem: path for path in sorted((data.root / "analyses").glob("[!.]*.zarr"))}
    if analysis is not None:
        data.analysis(analysis)  # refuses invalid names
        if analysis not in known:
            raise InputError(
                f"no analysis {analysis!r} in {data.root}",
                field="analysis",
                hint=did_you_mean(analysis, known) if known else "create one with `pear ingest`",
            )
        known = {analysis: known[analysis]}
    if not known:
        raise InputError(
            f"no analysis in {data.root}", field="analysis", hint="create one with `pear ingest`"
        )
    reasons = []
    for name, path in known.items():
        try:
            _check_analysis(path, name, model, time)
        except InputError as error:
            reasons.append(error)
        else:
            return name
    if len(reasons) == 1:
        raise reasons[0]
    each = "; ".join(str(reason) for reason in reasons)
    raise InputError(f"no analysis holds an initial state: {each}", field="init_time")


def _check_alike(model: Model, others: list[Model]) -> None:
    """Check that models differ, and have the same channels, grid and step."""
    seen = {model.id}
    for other in others:
        if other.id in seen:
            raise InputError(f"model {other.id} is named twice", field="models")
        seen.add(other.id)
        for what, one, two in (
            ("nside", model.nside, other.nside),
            ("step", model.step_hours, other.step_hours),
            ("layout", model_layout(model), model_layout(other)),
        ):
            if one != two:
                raise InputError(
                    f"model {other.id} cannot join model {model.id} in one ensemble: its {what} "
                    f"is {two}, not {one}",
                    field="models",
                )


def _check_analysis(path: Path, name: str, model: Model, time: np.datetime64 | None) -> None:
    """Check that a store fits a model and holds a complete state at a time."""
    kind, present, nside = stored_layout(path)
    layout = model_layout(model)
    if kind != "analysis":
        raise InputError(f"{name} is a {kind} store, not an analysis", field="analysis")
    for unit, wanted, held in (
        ("", layout.names, present.names),
        (" hPa", layout.levels, present.levels),
    ):
        missing = [f"{item}{unit}" for item in wanted if item not in held]
        if missing:
            raise InputError(
                f"analysis {name} lacks {', '.join(missing)}, which model {model.id} needs",
                field="analysis",
            )
    if nside < model.nside:
        raise InputError(
            f"analysis {name} has nside {nside}, coarser than the nside {model.nside} of model "
            f"{model.id}",
            field="analysis",
        )
    if time is not None:
        check_state(path, name, layout, time)


def find_complete_times(path: Path, layout: Layout) -> tuple[Times, Bool]:
    """Return the times of an analysis, and at which of them it holds all fields of a layout.

    Parameters
    ----------
    path
        The store; it may hold further variables, complete or not.
    layout
        What a model needs.

    Returns
    -------
    times, complete : (time,) arrays
        Valid times, and whether the state is complete.
    """
    times, complete, channels = read_completeness(path)
    wanted = np.isin(channels, schema.channels(layout))
    whole = (complete[:, wanted] == 1).all(axis=1)
    return times, whole & (wanted.sum() == len(schema.channels(layout)))


def check_state(path: Path, name: str, layout: Layout, time: np.datetime64) -> None:
    """Refuse a time at which an analysis lacks a field of a layout.

    Parameters
    ----------
    path, name
        The analysis.
    layout
        What a model needs.
    time
        Initial time.

    Raises
    ------
    InputError
        If it lacks the time, or some of its fields, which are named.
    """
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
    missing = np.flatnonzero(wanted & (complete[index[0]] == 0))
    if missing.size:
        first = ", ".join(channels[place] for place in missing[:3])
        raise InputError(
            f"analysis {name} is incomplete at {to_iso(time)}: {missing.size} of {wanted.sum()} "
            f"fields missing ({first}{' …' if missing.size > 3 else ''})",
            field="init_time",
        )


def check_symmetry(
    options: ForecastOptions,
    name: str,
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
    equivariance: Mapping[str, float] | None = None,
) -> None:
    """Check that the symmetries of the grid make a model's forecasts better, or its members differ.

    Parameters
    ----------
    options
        Options of a forecast.
    name
        Id of the model.
    config, provenance, equivariance
        Of its checkpoint: settings, origin and measured errors.

    Raises
    ------
    InputError
        If the model neither keeps nor learnt the mirror, or if all members would be the same.
    """
    if not options.symmetrise and options.ensemble not in ("symmetry", "augmented"):
        return
    field = "symmetrise" if options.symmetrise else "ensemble"
    problem = unlearnt_mirror(config, provenance, equivariance)
    if problem is not None:
        raise InputError(
            f"model {name} {problem}",
            field=field,
            hint="use members with ensemble=noise, or a model trained with augmentation c4h",
        )
    if options.ensemble in ("symmetry", "augmented") and len(distinct_elements(config)) == 1:
        what = "its eight forecasts are one"
        if options.ensemble == "augmented":
            what = "an ensemble adds none"
        raise InputError(
            f"model {name} keeps every symmetry of the grid, so that {what}",
            field=field,
            hint="use members with ensemble=noise",
        )


def _check_symmetry(options: ForecastOptions, model: Model) -> None:
    facts = model.attributes
    if "forecaster" in facts:
        _check_other(options, str(facts["forecaster"]))
        return
    check_symmetry(
        options,
        model.id,
        facts.get("config") or {},
        facts.get("provenance") or {},
        facts.get("equivariance"),
    )


def _check_other(options: ForecastOptions, name: str) -> None:
    """Refuse what only PEAR's own models have: symmetries, and statistics by which noise scales."""
    what = None
    if options.symmetrise or options.ensemble in ("symmetry", "augmented"):
        what = "symmetries of the grid"
    elif options.members is not None and options.ensemble == "noise":
        what = "statistics by which noise is scaled"
    if what is not None:
        raise InputError(
            f"forecaster {name} is not of PEAR, and has no {what}",
            field="symmetrise" if options.symmetrise else "ensemble",
            hint="make members with ensemble=random_field",
        )


def _check_past(path: Path, name: str, time: np.datetime64) -> None:
    past = int((read_completeness(path)[0] < time).sum())
    if past < MIN_PAST_TIMES:
        raise InputError(
            f"random field perturbations need {MIN_PAST_TIMES} times before the init time "
            f"{to_iso(time)}, analysis {name} has {past}",
            field="ensemble",
            hint="choose a later init time, or ensemble=noise",
        )
