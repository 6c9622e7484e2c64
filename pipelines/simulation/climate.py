"""Climate of a simulation: monthly means, jets, eddies and seasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import numpy as np
import xarray as xr

from pear.resources.natural_earth import land_fraction
from pear.typing import Float64
from pear.variables import STANDARD_GRAVITY

SEASONS: Final = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}


@dataclass
class Climate:
    """Sums over the states of each calendar month, with one file in memory at a time.

    Attributes
    ----------
    lat, lon
        Degrees, in the order of the files.
    days
        (12,) number of states by month; of daily files, days.
    sums
        Fields or zonal means by name, (12, …).
    dates
        Days that have states.
    hours
        Sum of the 2 m temperature, (lat, lon), and number of states, by hour of day.
    """

    lat: Float64
    lon: Float64
    days: Float64 = field(default_factory=lambda: np.zeros(12))
    sums: dict[str, Float64] = field(default_factory=dict)
    dates: set[date] = field(default_factory=set)
    hours: dict[int, tuple[Float64, int]] = field(default_factory=dict)

    def add(self, month: xr.Dataset) -> None:
        """Add the file of one month."""
        number = int(month["valid_time"].dt.month[0]) - 1
        self.days[number] += month.sizes["valid_time"]
        self._add_hours(month)
        u, v = month["u"].values.astype(np.float64), month["v"].values.astype(np.float64)
        height = month["z"].sel(pressure_level=500).values.astype(np.float64) / STANDARD_GRAVITY
        zonal = {"u": u, "t": month["t"].values, "q": month["q"].values, "t2m": month["t2m"].values}
        for name, values in zonal.items():
            self._sum(name, number, values.astype(np.float64).mean(axis=-1).sum(axis=0))
        eddies = 0.5 * ((u - u.mean(-1, keepdims=True)) ** 2 + (v - v.mean(-1, keepdims=True)) ** 2)
        self._sum("eddy_energy", number, eddies.mean(axis=-1).sum(axis=0))
        self._sum("z500", number, height.sum(axis=0))
        self._sum("z500_square", number, (height**2).sum(axis=0))
        self._sum("msl_map", number, month["msl"].values.astype(np.float64).sum(axis=0))
        self._sum("t2m_map", number, month["t2m"].values.astype(np.float64).sum(axis=0))

    def _add_hours(self, month: xr.Dataset) -> None:
        times = month["valid_time"]
        self.dates |= set(times.values.astype("datetime64[D]").tolist())
        for hour, states in month["t2m"].groupby(times.dt.hour):
            sums, count = self.hours.get(int(hour), (np.zeros((self.lat.size, self.lon.size)), 0))
            added = states.values.astype(np.float64).sum(axis=0)
            self.hours[int(hour)] = (sums + added, count + states.sizes["valid_time"])

    def diurnal_range(self) -> Float64 | None:
        """Return the range of the mean course of the day of 2 m temperature, (lat, lon) K.

        Returns
        -------
        numpy.ndarray or None
            Warmest minus coldest of the hours in the files; None if there is only one.
        """
        if len(self.hours) < 2:
            return None
        means = np.stack([sums / count for sums, count in self.hours.values()])
        return np.asarray(means.max(axis=0) - means.min(axis=0))

    def _sum(self, name: str, number: int, values: Float64) -> None:
        held = self.sums.setdefault(name, np.zeros((12, *values.shape)))
        held[number] += values

    def seasons(self) -> dict[str, tuple[int, ...]]:
        """Return the months of the seasons that the files cover, by name."""
        return {
            name: months
            for name, months in SEASONS.items()
            if self.days[np.array(months) - 1].all()
        }

    def mean(self, name: str, months: Sequence[int]) -> Float64:
        """Return the mean over the days of these months (1…12)."""
        index = np.array(months) - 1
        return np.asarray(self.sums[name][index].sum(axis=0) / self.days[index].sum())

    def transient(self, months: Sequence[int]) -> Float64:
        """Return the standard deviation of the 500 hPa height in these months, (lat, lon) m."""
        spread = self.mean("z500_square", months) - self.mean("z500", months) ** 2
        return np.sqrt(np.maximum(spread, 0.0))


def describe(climate: Climate, levels: Float64) -> dict[str, Any]:
    """Return jets, transients and eddy energy by season, and the annual cycle, as JSON values."""
    lat = climate.lat
    weight = np.cos(np.radians(lat))
    found: dict[str, Any] = {"simulated": True, "days": len(climate.dates)}
    for name, months in climate.seasons().items():
        wind, transient = climate.mean("u", months), climate.transient(months).mean(axis=-1)
        eddies = climate.mean("eddy_energy", months)
        season: dict[str, Any] = {}
        for label, half in (("north", lat > 20.0), ("south", lat < -20.0)):
            level, row = np.unravel_index(wind[:, half].argmax(), wind[:, half].shape)
            season[label] = {
                "jet_m_s": round(float(wind[:, half].max()), 1),
                "jet_hpa": int(levels[level]),
                "jet_latitude": float(lat[half][row]),
                "z500_transient_m": round(float(transient[half].max()), 1),
                "eddy_energy_300_m2_s2": round(
                    float(eddies[levels.tolist().index(300)][half].mean()), 1
                ),
            }
        found[name] = season
    swing_of_day = climate.diurnal_range()
    if swing_of_day is not None:
        found |= _describe_day(swing_of_day, climate)
    every = list(range(1, 13))
    if climate.days.all():
        means = climate.sums["t2m"] / climate.days[:, None]
        found["t2m_global_K"] = round(
            float((climate.mean("t2m", every) * weight).sum() / weight.sum()), 2
        )
        swing = means.max(axis=0) - means.min(axis=0)
        for target in (-60, -45, 45, 60):
            nearest = int(np.abs(lat - target).argmin())
            found[f"t2m_annual_range_{target}_K"] = round(float(swing[nearest]), 1)
        tropics = np.abs(lat) <= 10
        found["q850_tropics_g_kg"] = round(
            1e3 * float(climate.mean("q", every)[levels.tolist().index(850)][tropics].mean()), 2
        )
    return found


def _describe_day(swing: Float64, climate: Climate) -> dict[str, Any]:
    """Return the range of the mean course of the day over land and sea, K."""
    lat, lon, fraction = land_fraction()
    rows = np.abs(lat[:, None] - climate.lat).argmin(axis=0)
    columns = np.abs((lon[:, None] - climate.lon + 180.0) % 360.0 - 180.0).argmin(axis=0)
    land = fraction[np.ix_(rows, columns)]
    weight = np.cos(np.radians(climate.lat))[:, None] * np.ones(climate.lon.size)
    found: dict[str, Any] = {"hours": sorted(climate.hours)}
    for name, part in (("land", land > 0.9), ("sea", land < 0.1)):
        found[f"t2m_diurnal_range_{name}_K"] = round(
            float((swing * weight)[part].sum() / weight[part].sum()), 2
        )
    return found
