"""Answers in open-meteo's format from one run, several models or the members of an ensemble."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Bool, Float64, Times
from pipelines.catalog import Run
from service.dependencies import Services
from service.readers.forecasts import ForecastStore
from service.readers.open_meteo import Column, Units, parse_columns, parse_daily, show
from service.readers.open_meteo_answer import Block, Zone
from service.readers.open_meteo_times import (
    DAY,
    Period,
    aggregate,
    local_dates,
    require_daily,
)
from service.readers.past import PastReader, PastStore
from service.readers.points import Points, Series, SeriesSource, read_series
from service.readers.timeline import TemporalResolution, Timeline

_HOUR: Final = 3600


@dataclass(frozen=True)
class Asked:
    """What is asked of each run.

    Attributes
    ----------
    hourly, daily, current
        Names by commas, as open-meteo writes them.
    units
        Units of the answer.
    resolution
        Of ``hourly``.
    period
        Dates.
    """

    hourly: str
    daily: str
    current: str
    units: Units
    resolution: TemporalResolution
    period: Period


@dataclass(frozen=True)
class Source:
    """A run, or a member of it, and what the names of its columns end with.

    Attributes
    ----------
    run
        The run.
    store
        Its store, or that of the member.
    suffix
        Nothing, ``_member01``, ``_MODEL`` or ``_member01_MODEL``.
    model_suffix
        The part of it that names the model.
    members
        Stores of all members, for probabilities; empty if the run keeps none.
    """

    run: Run
    store: ForecastStore
    suffix: str = ""
    model_suffix: str = ""
    members: tuple[ForecastStore, ...] = ()


class Part:
    """Columns and times that one source gives.

    Parameters
    ----------
    source
        The source.
    asked
        What is asked of it; an InputError names what it does not have.
    """

    def __init__(self, source: Source, asked: Asked) -> None:
        self.source, self.period = source, asked.period
        store, units = source.store, asked.units
        self.hourly = parse_columns(asked.hourly, store, units, "hourly")
        self.daily = parse_daily(asked.daily, store, units)
        self.current = parse_columns(asked.current, store, units, "current")
        self.timeline = Timeline.choose(store.lead_hours, asked.resolution)
        self.past = store if isinstance(store, PastStore) else None
        self.begin: np.datetime64 = store.valid_times[0] if self.past is None else self.past.begin
        columns = [*self.hourly, *self.current, *(column for column, _ in self.daily)]
        if any(column.is_probability for column in columns) and not source.members:
            raise InputError(
                f"precipitation_probability needs the members of an ensemble, and run "
                f"{source.run.id} keeps none",
                field="hourly",
                hint="submit a run with members and keep_members",
            )
        if self.past is not None and any(column.is_probability for column in columns):
            raise InputError(
                "an analysis has no precipitation_probability",
                field="past_days",
                hint="ask for it without days before the run",
            )
        self.key = (
            source.store.run,
            None if self.past is None else self.past.series.run,
            source.suffix,
            tuple(self.hourly),
            tuple(self.daily),
            tuple(self.current),
            self.timeline,
        )

    @property
    def columns(self) -> int:
        """Number of columns."""
        return len(self.hourly) + len(self.daily) + len(self.current)

    def name_statistics(self, statistic: str) -> dict[str, str]:
        """Return the statistic of each column; probabilities are of the members.

        Parameters
        ----------
        statistic
            Of the source, in words; empty for a single forecast.

        Returns
        -------
        dict
            By name of the column, without those that have none.
        """
        found = {column.name: self._statistic(column, statistic) for column in self.hourly}
        found |= {column.name: self._statistic(column, statistic) for column in self.current}
        for column, how in self.daily:
            found[f"{column.name}_{how}"] = self._statistic(column, statistic)
        return {f"{name}{self.source.suffix}": text for name, text in found.items() if text}

    def _statistic(self, column: Column, statistic: str) -> str:
        if column.threshold is None:
            return statistic
        event = f"precipitation above {column.threshold:g} mm"
        return f"probability of {event}, {len(self.source.members)} members"

    def shown(self, zone: Zone) -> Timeline:
        """Return the timeline of the dates that were asked for."""
        valid = self.timeline.valid_times(self.source.store.init_time)
        rows = np.flatnonzero(self._choose(valid, zone))
        return replace(self.timeline, leads=tuple(self.timeline.leads[row] for row in rows))

    def _choose(self, valid: Times, zone: Zone) -> Bool:
        """Return which times (time,) are shown; InputError if the analysis lacks some."""
        first = self.period.first_date(self.begin, zone)
        if first < local_dates(np.array([self.begin]), zone)[0]:
            if self.past is None:
                raise InputError(
                    f"run {self.source.run.id} begins at {to_iso(self.begin)}, and the analysis "
                    "that it started from is not there or not named",
                    field="past_days" if self.period.start is None else "start_date",
                    hint="ask for the dates of the run",
                )
            self.past.require(first.astype("datetime64[s]") - np.timedelta64(zone.seconds, "s"))
        return self.period.choose(valid, zone, self.begin)

    def describe_past(self, zone: Zone) -> dict[str, object]:
        """Return which of the shown times are of an analysis; empty if none is."""
        timeline = self.shown(zone)
        valid = timeline.valid_times(self.source.store.init_time)
        if self.past is None or not (valid < self.begin).any():
            return {}
        return {
            "analysis": self.past.series.served.name,
            "is_analysis": (valid < self.begin).tolist(),
            "note": "Values before the first time of the run are those of the analysis.",
        }

    def read(self, services: Services, points: Points, zone: Zone, now: int | None) -> list[Block]:
        """Read the blocks of an answer."""
        store = self.source.store
        valid = self.timeline.valid_times(store.init_time)
        kept = self._choose(valid, zone)
        blocks = []
        if now is not None:
            here = Timeline(store.lead_hours, (now,), 1)
            times = here.valid_times(store.init_time)
            blocks.append(
                Block("current", times, _HOUR, self._read(services, points, self.current, here))
            )
        if self.hourly:
            found = self._read(services, points, self.hourly, self.timeline)
            columns = [(name, unit, values[kept]) for name, unit, values in found]
            blocks.append(Block("hourly", valid[kept], _step(valid), columns))
        if self.daily:
            blocks.append(self._read_days(services, points, zone))
        return blocks

    def _read_days(self, services: Services, points: Points, zone: Zone) -> Block:
        store = self.source.store
        hours = require_daily(store.lead_hours)
        native = Timeline.choose(store.lead_hours, "native")
        valid = native.valid_times(store.init_time)
        columns = list(dict.fromkeys(column for column, _ in self.daily))
        found = self._read(services, points, columns, native)
        values = dict(zip(columns, (series for _, _, series in found), strict=True))
        rows = np.flatnonzero(self._choose(valid, zone))
        # A sum belongs to the day in which its hours lie, the last of which ends at its time.
        ends = local_dates(valid - np.timedelta64(1, "s"), zone)
        dates, shown = local_dates(valid, zone), []
        for column, how in self.daily:
            of_sums = how == "sum" or column.is_probability
            days = ends if of_sums else dates
            each = aggregate(values[column], days, 24 // hours, how)
            of_day = dict(zip(np.unique(days).tolist(), each, strict=True))
            nothing = np.full(points.cell.size, np.nan)
            wanted = [of_day.get(day, nothing) for day in np.unique(dates[rows]).tolist()]
            name = f"{column.name}_{how}{self.source.suffix}"
            shown.append((name, column.units, np.stack(wanted)))
        offset = np.timedelta64(zone.seconds, "s")
        midnights: Times = np.unique(dates[rows]).astype("datetime64[s]")
        return Block("daily", np.subtract(midnights, offset), DAY, shown)

    def _read(
        self, services: Services, points: Points, columns: Sequence[Column], timeline: Timeline
    ) -> list[tuple[str, str, Float64]]:
        plain = [column for column in columns if not column.is_probability]
        series = self._series(services, self.source.store, points, plain, timeline)
        found = {column: show(column, each) for column, each in zip(plain, series, strict=True)}
        for column in columns:
            if column.is_probability:
                found[column] = self._probability(services, points, column, timeline)
        suffix = self.source.suffix
        return [(f"{column.name}{suffix}", column.units, found[column]) for column in columns]

    def _series(
        self,
        services: Services,
        store: ForecastStore,
        points: Points,
        columns: Sequence[Column],
        timeline: Timeline,
    ) -> list[Series]:
        pairs = [(column.variable, column.level) for column in columns]
        reader: SeriesSource = services.forecasts
        if isinstance(store, PastStore):
            reader = PastReader(services.forecasts, services.series, store)
        return read_series(reader, store, points, pairs, timeline)

    def _probability(
        self, services: Services, points: Points, column: Column, timeline: Timeline
    ) -> Float64:
        """Return the share of the members above the threshold, per cent."""
        above = []
        for member in self.source.members:
            (series,) = self._series(services, member, points, [column], timeline)
            values = show(column, series)
            above.append(np.where(np.isnan(values), np.nan, values > (column.threshold or 0.0)))
        share: Float64 = 100.0 * np.mean(above, axis=0)
        return share


def merge(parts: Sequence[list[Block]]) -> list[Block]:
    """Return the blocks of several sources side by side, NaN at times that a source lacks.

    Parameters
    ----------
    parts
        Blocks of each source, of the same names.

    Returns
    -------
    list of Block
        With the columns of all.
    """
    if len(parts) == 1:
        return parts[0]
    out = []
    for blocks in zip(*parts, strict=True):
        times: Times = np.unique(np.concatenate([block.times for block in blocks]))
        columns = []
        for block in blocks:
            rows = np.searchsorted(times, block.times)
            for name, unit, values in block.columns:
                wide = np.full((times.size, *values.shape[1:]), np.nan)
                wide[rows] = values
                columns.append((name, unit, wide))
        interval = min(block.interval for block in blocks)
        out.append(Block(blocks[0].name, times, interval, columns))
    return out


def _step(times: Times) -> int:
    seconds = np.diff(times.astype("datetime64[s]").astype(np.int64))
    return int(seconds[0]) if seconds.size else _HOUR


def lead_now(store: ForecastStore, moment: dt.datetime) -> int:
    """Return the lead time of an hour; a run that does not cover it is refused.

    Parameters
    ----------
    store
        The run.
    moment
        A time within the hour, UTC.

    Returns
    -------
    int
        Hours.

    Raises
    ------
    InputError
        If the hour is before the first or after the last time of the run.
    """
    hour = np.datetime64(moment.replace(tzinfo=None), "h")
    lead = int((hour - store.init_time.astype("datetime64[h]")) / np.timedelta64(1, "h"))
    first, last = store.lead_hours[0], store.lead_hours[-1]
    if not first <= lead <= last:
        begin, end = (to_iso(store.valid_times[at]) for at in (0, -1))
        raise InputError(
            f"run {store.run} covers {begin} to {end}, not the present",
            field="current",
            hint="ask for hourly",
        )
    return lead
