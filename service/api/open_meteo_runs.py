"""Runs, models and members that a request in open-meteo's format means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pear.errors import InputError, did_you_mean
from pipelines.catalog import NotFoundError, Run, Status
from service.api.open_meteo_series import Source
from service.dependencies import Services, get_run, get_store
from service.readers.forecasts import ForecastStore, statistics_of
from service.readers.open_meteo_times import Period
from service.readers.past import MOST_DAYS, PastStore

BEST: Final = "best_match"
_MOST_MODELS: Final = 8
_MOST_RUNS: Final = 500


def choose_runs(
    services: Services, run: str, models: Sequence[str], *, ensemble: bool
) -> list[tuple[str, Run]]:
    """Return the run of each model that a request names.

    Parameters
    ----------
    services
        Services of the application.
    run
        Run id, or ``latest`` for the newest of each model.
    models
        Ids or names, ``best_match`` for the newest run of any; empty for that.
    ensemble
        Only runs that keep their members.

    Returns
    -------
    list of tuple
        The name as it was written, and the run.

    Raises
    ------
    InputError
        If there is no such model or run.
    """
    names = list(dict.fromkeys(name for part in models for name in part.split(",") if name))
    if len(names) > _MOST_MODELS:
        raise InputError(f"{len(names)} models, limit {_MOST_MODELS}", field="models")
    if run != "latest":
        found = get_run(services, run)
        if len(names) > 1:
            raise InputError(
                "a run is of one model", field="models", hint="leave out run, or name one model"
            )
        if names and names[0] not in (found.model, BEST, _name_of(services, found)):
            raise InputError(
                f"run {found.id} is of model {found.model}, not of {names[0][:64]}",
                field="models",
                hint="leave out run for the newest run of that model",
            )
        return [(found.model, found)]
    return [(name, _newest(services, name, ensemble=ensemble)) for name in names or [BEST]]


def _name_of(services: Services, run: Run) -> str:
    return services.catalog.models.get(run.model).name


def _newest(services: Services, name: str, *, ensemble: bool) -> Run:
    model = None if name == BEST else _model(services, name)
    if ensemble:
        page = services.catalog.runs.page(status=Status.SUCCEEDED, model=model, limit=_MOST_RUNS)
        kept = [each for each in page.items if each.options.get("keep_members")]
        if not kept:
            raise InputError(
                "no run keeps the members of an ensemble",
                field="models",
                hint="submit one with members and keep_members, or ask /v1/forecast",
            )
        return max(kept, key=lambda each: (each.init_time, each.created_at))
    found = get_run(services, "latest") if model is None else services.catalog.runs.latest(model)
    if found is None:
        raise InputError(f"model {name} has no finished run", field="models")
    return found


def _model(services: Services, name: str) -> str:
    try:
        return services.catalog.models.get(name).id
    except NotFoundError:
        known = [each.name for each in services.catalog.models.all()]
        raise InputError(
            f"there is no model {name[:64]}", field="models", hint=did_you_mean(name[:64], known)
        ) from None


def sources_of(
    services: Services, chosen: Sequence[tuple[str, Run]], period: Period, *, ensemble: bool
) -> list[Source]:
    """Return what the columns of an answer come from.

    Parameters
    ----------
    services
        Services of the application.
    chosen
        Model and run.
    period
        Dates; where they begin before a run, its source has the analysis before it.
    ensemble
        One source for each member, the first of which is the unperturbed control.

    Returns
    -------
    list of Source
        In the order of the models, then of the members.

    Raises
    ------
    InputError
        If a run keeps no members where they are asked for.
    """
    out = []
    for name, run in chosen:
        of_model = f"_{name}" if len(chosen) > 1 else ""
        store = get_store(services, run)  # 409 and 410 where there is no result
        kept = [each for each in statistics_of(services.folder, run.id) if each.startswith("m")]
        members = tuple(get_store(services, run, each) for each in sorted(kept))
        if not ensemble:
            own = _with_past(services, run, store, period)
            out.append(Source(run, own, of_model, of_model, members))
            continue
        if not members:
            raise InputError(
                f"run {run.id} keeps no members",
                field="run",
                hint="submit one with members and keep_members, or ask /v1/forecast",
            )
        for number, member in enumerate(members):
            suffix = f"_member{number:02d}" if number else ""
            own = _with_past(services, run, member, period)
            out.append(Source(run, own, suffix + of_model, of_model, members))
    return out


def _with_past(services: Services, run: Run, store: ForecastStore, period: Period) -> ForecastStore:
    """Return a run with the days before it that are asked for."""
    days = period.days_before(store.valid_times[0])
    if not days:
        return store
    field = "past_days" if period.start is None else "start_date"
    if days > MOST_DAYS + 1:
        raise InputError(
            f"{field} is {days - 1} days before run {run.id}, limit {MOST_DAYS}", field=field
        )
    try:
        series = services.series.open("analysis", str(run.options.get("analysis", "")))
    except NotFoundError:
        return store  # an error if a date before the run turns out to be needed
    return PastStore.extend(store, series, days)
