"""Analyses of NOAA's Global Forecast System, from its public bucket or a mirror of it.

Files of a cycle lie at ``gfs.YYYYMMDD/HH/atmos/gfs.tHHz.pgrb2.0p25.f000``, each beside an index
``.idx`` of wgrib2: one line a message, ``number:offset:d=date:variable:level:forecast:``. Sums
such as precipitation lie in the file of a later step of the cycle that began with their hours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pear.datasets.units import RELATIVE_HUMIDITY
from pear.errors import InputError
from pear.times import to_iso
from pear.variables import Variable
from pipelines.ingestion.sources.base import (
    NotPublishedError,
    Selection,
    StateFile,
    check_cycle,
    choose_fields,
    explain_missing,
    find_newest_cycle,
    join_neighbours,
    sum_cycle,
)
from pipelines.ingestion.sources.messages import Field
from pipelines.ingestion.sources.transfer import ByteRange, MissingError, Transfer

URL: Final = "https://noaa-gfs-bdp-pds.s3.amazonaws.com"
DELAY_HOURS: Final = 4
KEPT_DAYS: Final = 1800
# By what the message may be: the first that is there at each level.
_OTHER_NAMES: Final = {
    "geopotential": {"geopotential": "HGT"},
    "specific_humidity": {"specific_humidity": "SPFH", RELATIVE_HUMIDITY: "RH"},
}


@dataclass(frozen=True)
class Gfs:
    """Analyses of the Global Forecast System.

    Attributes
    ----------
    transfer
        The session.
    url
        Address of the bucket or mirror.
    clock
        Returns the present time, UTC.
    """

    transfer: Transfer
    url: str = URL
    clock: Callable[[], np.datetime64] = field(
        default=lambda: np.datetime64("now", "s"), repr=False
    )
    name: str = "gfs"
    title: str = "GFS analysis"
    licence: str = "NOAA, public domain"

    def address(self, time: np.datetime64, step: int = 0) -> str:
        """Return the address of the file with a step of a cycle, in hours."""
        day, hour = to_iso(time)[:10].replace("-", ""), to_iso(time)[11:13]
        return f"{self.url}/gfs.{day}/{hour}/atmos/gfs.t{hour}z.pgrb2.0p25.f{step:03d}"

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return the newest cycle whose index is published, as :func:`find_newest_cycle` does."""
        return find_newest_cycle(
            now,
            lambda time: self.transfer.exists(f"{self.address(time)}.idx"),
            f"{self.url} has no GFS cycle",
        )

    def locate(self, time: np.datetime64, wanted: Selection) -> StateFile:
        """Return where the fields of a cycle lie.

        An InputError says that the time is not a cycle, or that the index lacks a field, a
        NotPublishedError that the server does not have the cycle.

        Parameters
        ----------
        time
            The cycle, UTC.
        wanted
            Variables and levels; sums come from the forecast that began with their hours.

        Returns
        -------
        StateFile
            Addresses and fields.
        """
        check_cycle(time, self.title, self.clock(), DELAY_HOURS)
        label = f"{self.title} of {to_iso(time)}"
        chosen, lacking = choose_fields(_Messages(self, time), wanted, label)
        ranges = {(one.url, one.offset): one for one in chosen.values()}
        return StateFile(
            label, time, tuple(chosen), join_neighbours(list(ranges.values())), lacking
        )


class _Messages:
    """The messages of a cycle, and of the forecasts from which its sums come."""

    def __init__(self, source: Gfs, time: np.datetime64) -> None:
        self._source, self._time = source, time
        self._files: dict[int, dict[tuple[str, str], ByteRange]] = {}

    def find(self, row: Variable, level: int | None) -> tuple[Field, ByteRange] | None:
        """Return the bytes of a field, and what they must be; None if it is not there."""
        known = self._read(row)
        for name, (variable, place) in _names(row, level).items():
            if (found := known.get((variable, place))) is not None:
                return Field(name, level or 0), found
        return None

    def call(self, row: Variable, level: int | None) -> str:
        """Return NCEP's name of a field."""
        names = _names(row, level)
        if not names:
            return f"{row.name} (the table of variables has no NCEP name of it)"
        return (
            f"{' or '.join(name for name, _ in names.values())} at {next(iter(names.values()))[1]}"
        )

    def _read(self, row: Variable) -> dict[tuple[str, str], ByteRange]:
        """Return the bytes of the messages of a file by name and level; it is read once."""
        step = row.accumulated_hours or 0
        if step not in self._files:
            one, cycle = self._source, self._time
            if step:
                cycle = sum_cycle(row, self._time, one.title)
            label = f"{one.title} of {to_iso(cycle)}" + (f", step {step} h," if step else "")
            url = one.address(cycle, step)
            try:
                rows = read_index(one.transfer.read_text(f"{url}.idx"), f"{url}.idx")
                size = one.transfer.size(url)
            except MissingError as error:
                raise NotPublishedError(
                    explain_missing(cycle, one.title, one.clock(), DELAY_HOURS, KEPT_DAYS),
                    field="--time",
                ) from error
            _check_index(rows, size, cycle, label)
            self._files[step] = _locate_messages(rows, url, size, step)
        return self._files[step]


def _names(row: Variable, level: int | None) -> dict[str, tuple[str, str]]:
    """Return NCEP's name and level of a field, by the quantity that the message must be."""
    # At the ground: ``ncep`` of the table; at pressure levels: the first name of ``gfs``.
    if level is None:
        return {} if row.ncep is None else {row.name: row.ncep}
    place = f"{level} mb"
    if row.name in _OTHER_NAMES:
        return {name: (own, place) for name, own in _OTHER_NAMES[row.name].items()}
    names = row.dialects.get("gfs", ())
    return {row.name: (names[0].upper(), place)} if names else {}


@dataclass(frozen=True)
class IndexRow:
    """One line of an index of wgrib2."""

    offset: int
    date: str
    variable: str
    level: str
    forecast: str


def read_index(text: str, label: str) -> list[IndexRow]:
    """Read an index of wgrib2.

    Parameters
    ----------
    text
        The index.
    label
        Its address in messages.

    Returns
    -------
    list of IndexRow
        In the order of the file.

    Raises
    ------
    InputError
        If a line is not one of an index.
    """
    rows = []
    for line in text.splitlines():
        parts = line.split(":")
        if len(parts) < 6 or not parts[1].isdigit() or not parts[2].startswith("d="):
            raise InputError(
                f"{label} is not an index of GRIB messages: it has the line {line[:60]!r}",
                field="--mirror",
            )
        rows.append(IndexRow(int(parts[1]), parts[2][2:], parts[3], parts[4], parts[5]))
    if not rows:
        raise InputError(f"{label} is empty", field="--source", hint="try again later")
    return rows


def _check_index(rows: Sequence[IndexRow], size: int, time: np.datetime64, label: str) -> None:
    cycle = to_iso(time)[:13].translate({ord("-"): None, ord("T"): None})
    for row in rows:
        if row.date != cycle:
            raise InputError(
                f"{label}: the index is of {row.date}, not of {cycle}", field="--source"
            )
        if row.offset >= size:
            raise InputError(
                f"{label}: the file has {size} bytes, but its index names byte {row.offset}",
                field="--time",
                hint="it may still be written: try again later",
            )


def _locate_messages(
    rows: Sequence[IndexRow], url: str, size: int, step: int
) -> dict[tuple[str, str], ByteRange]:
    """Return the bytes of the messages of a step by name and level, the first of equal ones."""
    forecasts = {"anl"} if not step else {f"0-{step} hour acc fcst"}
    if step and step % 24 == 0:
        forecasts.add(f"0-{step // 24} day acc fcst")
    offsets = sorted({row.offset for row in rows})
    ends = dict(zip(offsets, [*offsets[1:], size], strict=True))
    known: dict[tuple[str, str], ByteRange] = {}
    for row in rows:
        if row.forecast in forecasts:
            found = ByteRange(url, row.offset, ends[row.offset] - row.offset)
            known.setdefault((row.variable, row.level), found)
    return known
