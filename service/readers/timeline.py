"""Values between the lead times of a run: interpolated in time, and labelled as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from pear.derived import find_derived, parse_quantity
from pear.typing import Float64, Times

TemporalResolution = Literal["native", "hourly", "hourly_3", "hourly_6"]
_HOURS: Final = {"hourly": 1, "hourly_3": 3, "hourly_6": 6}
_NOTE: Final = (
    "Values between the steps of the model are interpolated in time, not forecast: what happens "
    "between two steps, such as the course of a day between steps of 24 h, is not in them."
)


@dataclass(frozen=True)
class Timeline:
    """Lead times of an answer beside those that the model has computed.

    Attributes
    ----------
    model_leads
        Lead times of the run in hours, ascending.
    leads
        Lead times of the answer in hours, ascending, from the first to the last of the run.
    every_hours
        Hours from one lead time of the answer to the next; None for those of the run.
    """

    model_leads: tuple[int, ...]
    leads: tuple[int, ...]
    every_hours: int | None = None

    @classmethod
    def choose(cls, model_leads: Sequence[int], resolution: TemporalResolution) -> Timeline:
        """Return the lead times of a temporal resolution; ``native`` are those of the run."""
        given = tuple(model_leads)
        every = _HOURS.get(resolution)
        if every is None:
            return cls(given, given)
        return cls(given, tuple(range(given[0], given[-1] + 1, every)), every)

    @property
    def is_interpolated(self) -> bool:
        """True if there are lead times that the model has not computed."""
        return not set(self.leads) <= set(self.model_leads)

    def valid_times(self, init_time: np.datetime64) -> Times:
        """Return the valid times of the answer (lead,), UTC."""
        times: Times = init_time + np.array(self.leads, "timedelta64[h]")
        return times.astype("datetime64[s]")

    def is_divided(self, hours: int) -> bool:
        """Return whether sums over so many hours are divided to fit this timeline."""
        return self.every_hours is not None and self.every_hours != hours

    def interpolate(self, name: str, values: Float64) -> Float64:
        """Return the values of a variable at the lead times of the answer.

        Parameters
        ----------
        name
            Canonical name. Instants are linear in time; components of a wind, too, which
            interpolates the vector. A sum is shared out evenly over its hours.
        values
            (model lead, point), in the unit of the variable.

        Returns
        -------
        ndarray
            (lead, point), same unit; a sum is one over the hours of a step of the answer, NaN
            where the run has none that covers them all.
        """
        if self.every_hours is None:
            return values
        hours = parse_quantity(name)[0].accumulated_hours
        if hours is not None:
            return self._share(values, hours) if self.is_divided(hours) else self._pick(values)
        wanted, known = np.array(self.leads, float), np.array(self.model_leads, float)
        after = np.clip(np.searchsorted(known, wanted), 1, max(known.size - 1, 1))
        after = np.minimum(after, known.size - 1)
        before = np.maximum(after - 1, 0)
        width = np.where(after > before, known[after] - known[before], 1.0)
        part = ((wanted - known[before]) / width)[:, None]
        # In this form a lead time of the model has exactly its value.
        return np.asarray((1.0 - part) * values[before] + part * values[after])

    def _pick(self, values: Float64) -> Float64:
        """Return the sums of the run where it has them, else NaN."""
        places = {lead: index for index, lead in enumerate(self.model_leads)}
        out = np.full((len(self.leads), *values.shape[1:]), np.nan)
        for index, lead in enumerate(self.leads):
            if lead in places:
                out[index] = values[places[lead]]
        return out

    def _share(self, values: Float64, hours: int) -> Float64:
        every = self.every_hours or hours
        known = np.array(self.model_leads)
        begin = min(0, self.model_leads[0] - hours)
        last = self.leads[-1] - begin
        # Rates of the hours that end 1, 2, … hours after the beginning; each belongs to the first
        # sum that has it.
        rate = np.full((last + 1, *values.shape[1:]), np.nan)
        for hour in range(1, last + 1):
            index = int(np.searchsorted(known, hour + begin))
            if index < known.size and known[index] - hours < hour + begin:
                rate[hour] = values[index] / hours
        ends = [lead - begin for lead in self.leads]
        return np.stack(
            [
                rate[end - every + 1 : end + 1].sum(axis=0)
                if end >= every
                else np.full(values.shape[1:], np.nan)
                for end in ends
            ]
        )

    def describe_method(self, name: str, level: int | None) -> str:
        """Return how values of a variable between the model's steps are made, in words."""
        row = parse_quantity(name)[0]
        if row.accumulated_hours is not None:
            hours = row.accumulated_hours
            if not self.is_divided(hours):
                return f"sums of the model over {hours} h, not interpolated"
            return (
                f"sum over {self.every_hours} h, from sums of the model over {hours} h shared out "
                "evenly over their hours"
            )
        found = find_derived(name)
        if found is None or found.is_global:
            return "linear in time"
        parts = " and ".join(dict.fromkeys(part for part, _ in found.channels(level)))
        return f"computed from {parts}, each linear in time"

    def describe(self, columns: Sequence[tuple[str, str, int | None]]) -> dict[str, Any]:
        """Return the label of an answer that has interpolated values.

        Parameters
        ----------
        columns
            Name in the answer, canonical name and level of each column.

        Returns
        -------
        dict
            JSON values.
        """
        computed = set(self.model_leads)
        return {
            "note": _NOTE,
            "model_lead_hours": list(self.model_leads),
            "is_interpolated": [lead not in computed for lead in self.leads],
            "method": {shown: self.describe_method(name, level) for shown, name, level in columns},
        }
