"""Runs with the days before them, from the analysis that they started from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.times import to_iso
from pear.typing import Float32, Times
from pear.variables import Variable
from service.readers.forecasts import ForecastReader, ForecastStore
from service.readers.series import SeriesReader, SeriesStore

MOST_DAYS: Final = 92
"""Days before a run that an answer may begin with."""


@dataclass(frozen=True)
class PastStore(ForecastStore):
    """A run whose lead times go on before its first, where its values are those of an analysis.

    Attributes
    ----------
    forecast
        The run.
    series
        The analysis.
    missing
        Times before the run that the analysis lacks, UTC, ascending.
    """

    forecast: ForecastStore
    series: SeriesStore
    missing: Times

    @classmethod
    def extend(cls, forecast: ForecastStore, series: SeriesStore, days: int) -> PastStore:
        """Return a run with the days before its first time, at the step of the run.

        Parameters
        ----------
        forecast, series
            The run and the analysis.
        days
            Days, and one more for other time zones.

        Returns
        -------
        PastStore
            With those times that the analysis has.

        Raises
        ------
        InputError
            If the analysis is coarser than the run.
        """
        if series.nside < forecast.nside:
            raise InputError(f"{series.what} is coarser than run {forecast.run}", field="past_days")
        first, step = forecast.lead_hours[0], _step(forecast.lead_hours)
        wanted = np.arange(first - step, first - 24 * (days + 1) - 1, -step)[::-1]
        times: Times = (forecast.init_time + wanted.astype("timedelta64[h]")).astype(
            "datetime64[s]"
        )
        held = np.isin(times, series.valid_times)
        return cls(
            run=forecast.run,
            dataset=forecast.dataset,
            init_time=forecast.init_time,
            lead_hours=(*(int(lead) for lead in wanted[held]), *forecast.lead_hours),
            levels=forecast.levels,
            names=forecast.names,
            nside=forecast.nside,
            forecast=forecast,
            series=series,
            missing=times[~held],
        )

    @property
    def begin(self) -> np.datetime64:
        """First valid time of the run itself, UTC."""
        first: np.datetime64 = self.forecast.valid_times[0]
        return first

    def select(self, text: str, level: int | None) -> tuple[Variable, int | None]:
        """Return the variable and level that both the run and the analysis have."""
        found = self.forecast.select(text, level)
        try:
            self.series.select(found[0].name, found[1])
        except InputError as error:
            error.field = "past_days"
            raise
        return found

    def require(self, since: np.datetime64) -> None:
        """Check that the analysis has every time from one on, else InputError."""
        missing = self.missing[self.missing >= since]
        if missing.size:
            first, last = (to_iso(self.series.valid_times[at]) for at in (0, -1))
            raise InputError(
                f"{self.series.what} has nothing at {to_iso(missing[-1])}, before run {self.run}",
                field="past_days",
                hint=f"it covers {first} to {last}; ask for fewer days before the run",
            )


def _step(leads: tuple[int, ...]) -> int:
    """Return the step of a run in hours: the time to its first forecast, if it has but one."""
    return leads[1] - leads[0] if len(leads) > 1 else max(leads[0], 1)


class PastReader:
    """Reads series of runs with the days before them.

    Parameters
    ----------
    forecasts, series
        Readers of runs, and of analyses.
    store
        The run.
    """

    def __init__(self, forecasts: ForecastReader, series: SeriesReader, store: PastStore) -> None:
        self._forecasts, self._series, self._store = forecasts, series, store

    def series(
        self, name: str, variable: str, level: int | None, leads: tuple[int, ...] | None = None
    ) -> Float32:
        """Return one variable at some lead times (default: all), (lead, cell)."""
        store = self._store
        leads = store.lead_hours if leads is None else leads
        first = store.forecast.lead_hours[0]
        hours = (store.init_time - store.series.init_time) // np.timedelta64(1, "h")

        def read(lead: int) -> Float32:
            if lead >= first:
                return self._forecasts.field(name, variable, level, lead)
            at, key = int(hours) + lead, store.series.run
            return self._series.display_field(key, variable, level, at, store.nside)

        return np.stack([read(lead) for lead in leads])
