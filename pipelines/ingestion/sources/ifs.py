"""Analyses of ECMWF's open data: IFS and AIFS, addressed by ECMWF's own client.

The client knows where the files of each cycle lie. Beside each lies an index: one JSON document a
line with the parameter, the level and the bytes of a message.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import numpy as np
from ecmwf.opendata import Client

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

MIRRORS: Final = ("ecmwf", "aws", "azure", "google")
"""Servers that the client knows by name; any address of a replica does as well."""
KEPT_DAYS: Final = 4
_GEOPOTENTIAL: Final = ("gh", "z")  # IFS has the height, AIFS the geopotential


@dataclass(frozen=True)
class OpenData:
    """Analyses (step 0 of the high-resolution run) of one of ECMWF's models.

    Attributes
    ----------
    transfer
        The session.
    model
        ``ifs`` or ``aifs-single``.
    mirror
        One of :data:`MIRRORS`, or an address.
    clock
        Returns the present time, UTC.
    """

    transfer: Transfer
    model: str = "ifs"
    mirror: str = "ecmwf"
    clock: Callable[[], np.datetime64] = field(
        default=lambda: np.datetime64("now", "s"), repr=False
    )
    licence: str = "ECMWF open data, CC-BY-4.0"

    @property
    def name(self) -> str:
        """Short name: ``ifs`` or ``aifs``."""
        return "ifs" if self.model == "ifs" else "aifs"

    @property
    def title(self) -> str:
        """Name in messages."""
        return f"{self.name.upper()} analysis"

    @property
    def delay_hours(self) -> int:
        """Usual hours from the analysis time to its publication."""
        return 7

    def address(self, time: np.datetime64, step: int = 0) -> str:
        """Return the address of the file with a step of a cycle, in hours."""
        iso = to_iso(time)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # news of the client about other dates
            client = Client(source=self.mirror, model=self.model)
            # The client has no public call that tells an address without downloading.
            found = client._get_urls(
                date=iso[:10], time=int(iso[11:13]), stream="oper", type="fc", step=step
            )
        return str(found.urls[0])

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return the newest cycle whose index is published, as :func:`find_newest_cycle` does."""
        return find_newest_cycle(
            now,
            lambda time: self.transfer.exists(_index_of(self.address(time))),
            f"{self.mirror} has no {self.name.upper()} cycle",
        )

    def locate(self, time: np.datetime64, wanted: Selection) -> StateFile:
        """Return where the fields of a cycle lie.

        A NotPublishedError says that the server does not have the cycle, an InputError that the
        time is not a cycle, the index lacks a field, or the file is shorter than its index says.

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
        check_cycle(time, self.title, self.clock(), self.delay_hours)
        label = f"{self.title} of {to_iso(time)}"
        index = _Messages(self, time, wanted.levels)
        chosen, lacking = choose_fields(index, wanted, label)
        return StateFile(
            label, time, tuple(chosen), join_neighbours(list(chosen.values())), lacking
        )


class _Messages:
    """The messages of a cycle, and of the forecasts from which its sums come."""

    def __init__(self, source: OpenData, time: np.datetime64, levels: Sequence[int]) -> None:
        self._source, self._time, self._levels = source, time, levels
        self._files: dict[int, dict[tuple[str, int], ByteRange]] = {}

    def find(self, row: Variable, level: int | None) -> tuple[Field, ByteRange] | None:
        """Return the bytes of a field, and what they must be; None if it is not there."""
        found = self._read(row).get((self._name(row), level or 0))
        return None if found is None else (Field(row.name, level or 0), found)

    def call(self, row: Variable, level: int | None) -> str:
        """Return ECMWF's name of a field."""
        return str(Field(self._name(row), level or 0))

    def _name(self, row: Variable) -> str:
        if row.grib_name not in _GEOPOTENTIAL:
            return row.grib_name
        known = self._read(row)
        found = (n for n in _GEOPOTENTIAL if any((n, level) in known for level in self._levels))
        return next(found, "gh")

    def _read(self, row: Variable) -> dict[tuple[str, int], ByteRange]:
        """Return the bytes of the messages of a file by name and level; it is read once."""
        step = row.accumulated_hours or 0
        if step not in self._files:
            one, cycle = self._source, self._time
            if step:
                cycle = sum_cycle(row, self._time, one.title)
            label = f"{one.title} of {to_iso(cycle)}" + (f", step {step} h," if step else "")
            url = one.address(cycle, step)
            try:
                rows = read_index(one.transfer.read_text(_index_of(url)), _index_of(url))
                size = one.transfer.size(url)
            except MissingError as error:
                raise NotPublishedError(
                    explain_missing(cycle, one.title, one.clock(), one.delay_hours, KEPT_DAYS),
                    field="--time",
                ) from error
            self._files[step] = _locate_messages(rows, url, size, (cycle, step), label)
        return self._files[step]


def _index_of(url: str) -> str:
    suffix = PurePosixPath(urlsplit(url).path).suffix
    return url.removesuffix(suffix) + ".index"


def read_index(text: str, label: str) -> list[dict[str, int | str]]:
    """Read an index of ECMWF's open data.

    Parameters
    ----------
    text
        The index.
    label
        Its address in messages.

    Returns
    -------
    list of dict
        One for each message.

    Raises
    ------
    InputError
        If a line is not one of an index.
    """
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
            numbers = row["_offset"], row["_length"]
        except (ValueError, KeyError, TypeError):
            numbers = (None, None)
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise InputError(
                f"{label} is not an index of GRIB messages: it has the line {line[:60]!r}",
                field="--mirror",
            )
        rows.append(row)
    if not rows:
        raise InputError(f"{label} is empty", field="--source", hint="try again later")
    return rows


def _locate_messages(
    rows: Sequence[Mapping[str, int | str]],
    url: str,
    size: int,
    cycle_and_step: tuple[np.datetime64, int],
    label: str,
) -> dict[tuple[str, int], ByteRange]:
    """Return the bytes of the messages of a step, by name and level (0 near the ground)."""
    cycle, step = cycle_and_step
    date, hour = to_iso(cycle)[:10].replace("-", ""), to_iso(cycle)[11:13]
    known: dict[tuple[str, int], ByteRange] = {}
    for row in rows:
        if (str(row.get("date")), str(row.get("time"))[:2].zfill(2)) != (date, hour):
            raise InputError(
                f"{label}: the index is of {row.get('date')} {row.get('time')}", field="--source"
            )
        if str(row.get("step", "0")) not in (f"{step}", f"0-{step}") or "number" in row:
            continue
        on_level = row.get("levtype") == "pl"
        if on_level or row.get("levtype") == "sfc":
            place = str(row["param"]), int(row["levelist"]) if on_level else 0
            known[place] = ByteRange(url, int(row["_offset"]), int(row["_length"]))
    last = max((one.last for one in known.values()), default=0)
    if last >= size:
        raise InputError(
            f"{label}: the file has {size} bytes, but its index names byte {last}",
            field="--time",
            hint="it may still be written: try again later",
        )
    return known
