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

    def address(self, time: np.datetime64) -> str:
        """Return the address of the file with step 0 of a cycle."""
        iso = to_iso(time)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # news of the client about other dates
            client = Client(source=self.mirror, model=self.model)
            # The client has no public call that tells an address without downloading.
            found = client._get_urls(
                date=iso[:10], time=int(iso[11:13]), stream="oper", type="fc", step=0
            )
        return str(found.urls[0])

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return the newest cycle whose index is published, as :func:`find_newest_cycle` does."""
        return find_newest_cycle(
            now,
            lambda time: self.transfer.exists(_index_of(self.address(time))),
            f"{self.mirror} has no {self.name.upper()} cycle",
        )

    def locate(self, time: np.datetime64, levels: Sequence[int]) -> StateFile:
        """Return where the fields of a cycle lie.

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
        InputError
            If the time is not a cycle, the index lacks a field, or the file is shorter than its
            index says.
        """
        now = self.clock()
        check_cycle(time, self.title, now, self.delay_hours)
        url = self.address(time)
        label = f"{self.title} of {to_iso(time)}"
        try:
            rows = read_index(self.transfer.read_text(_index_of(url)), _index_of(url))
            size = self.transfer.size(url)
        except MissingError as error:
            raise NotPublishedError(
                explain_missing(time, self.title, now, self.delay_hours, KEPT_DAYS), field="--time"
            ) from error
        chosen = _choose(rows, levels, time, label)
        for row in chosen.values():
            if row["_offset"] + row["_length"] > size:
                raise InputError(
                    f"{label}: the file has {size} bytes, but its index names byte "
                    f"{row['_offset'] + row['_length'] - 1}",
                    field="--time",
                    hint="it may still be written: try again later",
                )
        ranges = [ByteRange(url, row["_offset"], row["_length"]) for row in chosen.values()]
        return StateFile(label, time, tuple(chosen), join_neighbours(ranges))


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


def _choose(
    rows: Sequence[Mapping[str, int | str]],
    levels: Sequence[int],
    time: np.datetime64,
    label: str,
) -> dict[Field, dict[str, int]]:
    """Return the bytes of each field of a state."""
    date, hour = to_iso(time)[:10].replace("-", ""), to_iso(time)[11:13]
    known: dict[Field, dict[str, int]] = {}
    for row in rows:
        if (str(row.get("date")), str(row.get("time"))[:2].zfill(2)) != (date, hour):
            raise InputError(
                f"{label}: the index is of {row.get('date')} {row.get('time')}", field="--source"
            )
        if str(row.get("step", "0")) != "0" or "number" in row:
            continue
        on_level = row.get("levtype") == "pl"
        if on_level or row.get("levtype") == "sfc":
            place = Field(str(row["param"]), int(row["levelist"]) if on_level else 0)
            known[place] = {"_offset": int(row["_offset"]), "_length": int(row["_length"])}
    geopotential = next(
        (name for name in _GEOPOTENTIAL if any(Field(name, p) in known for p in levels)), "gh"
    )
    published = [each for each in VARIABLES if each.published]
    wanted = [Field(each.grib_name) for each in published if each.kind == "surface"]
    upper = [each.grib_name for each in published if each.kind == "upper"]
    upper = [geopotential if name in _GEOPOTENTIAL else name for name in upper]
    wanted += [Field(name, p) for name in upper for p in levels]
    missing = [str(each) for each in wanted if each not in known]
    if missing:
        more = f" and {len(missing) - 5} others" if len(missing) > 5 else ""
        raise InputError(
            f"{label} lacks {', '.join(missing[:5])}{more}",
            field="--source",
            hint="the run may not be complete: try again later",
        )
    return {each: known[each] for each in wanted}
