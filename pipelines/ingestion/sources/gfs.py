"""Analyses of NOAA's Global Forecast System, from its public bucket or a mirror of it.

Files of a cycle lie at ``gfs.YYYYMMDD/HH/atmos/gfs.tHHz.pgrb2.0p25.f000``, each beside an index
``.idx`` of wgrib2: one line a message, ``number:offset:d=date:variable:level:forecast:``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.times import to_iso
from pear.variables import VARIABLES
from pipelines.ingestion.sources.base import (
    NotPublishedError,
    StateFile,
    check_cycle,
    explain_missing,
    find_newest_cycle,
    join_neighbours,
)
from pipelines.ingestion.sources.messages import Field
from pipelines.ingestion.sources.transfer import ByteRange, MissingError, Transfer

URL: Final = "https://noaa-gfs-bdp-pds.s3.amazonaws.com"
DELAY_HOURS: Final = 4
KEPT_DAYS: Final = 1800
_UPPER: Final = {"HGT": "gh", "TMP": "t", "UGRD": "u", "VGRD": "v"}
_HUMIDITY: Final = {"SPFH": "q", "RH": "r"}  # the first that is there at each level


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

    def address(self, time: np.datetime64) -> str:
        """Return the address of the analysis file of a cycle."""
        day, hour = to_iso(time)[:10].replace("-", ""), to_iso(time)[11:13]
        return f"{self.url}/gfs.{day}/{hour}/atmos/gfs.t{hour}z.pgrb2.0p25.f000"

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return the newest cycle whose index is published, as :func:`find_newest_cycle` does."""
        return find_newest_cycle(
            now,
            lambda time: self.transfer.exists(f"{self.address(time)}.idx"),
            f"{self.url} has no GFS cycle",
        )

    def locate(self, time: np.datetime64, levels: Sequence[int]) -> StateFile:
        """Return where the fields of a cycle lie.

        An InputError says that the time is not a cycle, or that the index lacks a field.

        Parameters
        ----------
        time
            The cycle, UTC.
        levels
            Pressure levels in hPa.

        Returns
        -------
        StateFile
            Addresses and fields.

        Raises
        ------
        NotPublishedError
            If the server does not have the cycle.
        """
        now = self.clock()
        check_cycle(time, self.title, now, DELAY_HOURS)
        url = self.address(time)
        label = f"{self.title} of {to_iso(time)}"
        try:
            rows = read_index(self.transfer.read_text(f"{url}.idx"), f"{url}.idx")
            size = self.transfer.size(url)
        except MissingError as error:
            raise NotPublishedError(
                explain_missing(time, self.title, now, DELAY_HOURS, KEPT_DAYS), field="--time"
            ) from error
        _check_index(rows, size, time, label)
        offsets = sorted({row.offset for row in rows})
        ends = dict(zip(offsets, [*offsets[1:], size], strict=True))
        chosen = _choose(rows, levels, label)
        ranges = {
            row.offset: ByteRange(url, row.offset, ends[row.offset] - row.offset)
            for row in chosen.values()
        }
        return StateFile(label, time, tuple(chosen), join_neighbours(list(ranges.values())))


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


def _choose(rows: Sequence[IndexRow], levels: Sequence[int], label: str) -> dict[Field, IndexRow]:
    """Return the row of each field of a state; the index may list many others."""
    known = {(row.variable, row.level): row for row in rows if row.forecast == "anl"}
    chosen: dict[Field, IndexRow] = {}
    missing = []
    for each in VARIABLES:
        if each.published and each.ncep is not None:
            row = known.get(each.ncep)
            if row is None:
                missing.append(" at ".join(each.ncep))
            else:
                own = each.ncep[0].lower()  # ecCodes knows NCEP's own name of some variables
                chosen[Field(own if own in each.aliases else each.grib_name)] = row
    for pressure in levels:
        for variable, name in _UPPER.items():
            row = known.get((variable, f"{pressure} mb"))
            if row is None:
                missing.append(f"{variable} at {pressure} mb")
            else:
                chosen[Field(name, pressure)] = row
        humidity = [
            (name, known[variable, f"{pressure} mb"])
            for variable, name in _HUMIDITY.items()
            if (variable, f"{pressure} mb") in known
        ]
        if humidity:
            chosen[Field(humidity[0][0], pressure)] = humidity[0][1]
        else:
            missing.append(f"SPFH or RH at {pressure} mb")
    if missing:
        more = f" and {len(missing) - 5} others" if len(missing) > 5 else ""
        raise InputError(
            f"{label} lacks {', '.join(missing[:5])}{more}",
            field="--source",
            hint="the run may not be complete: try again later",
        )
    return chosen
