"""What a source of initial states offers: its newest time, and the bytes of a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from pear.errors import InputError
from pear.times import HOUR, to_iso
from pear.variables import BY_NAME, LEVELS, Layout, Variable
from pipelines.ingestion.sources.messages import Field
from pipelines.ingestion.sources.transfer import ByteRange

CYCLE_HOURS: Final = 6
"""Hours from one cycle of the forecast centres to the next."""
NOT_FOUND_DAYS: Final = 3
"""How far back :meth:`Source.find_latest` looks."""


class NotPublishedError(InputError):
    """A source does not offer this time, or not yet."""


@dataclass(frozen=True)
class Selection:
    """Which fields of a time are fetched.

    Attributes
    ----------
    levels
        Pressure levels, hPa.
    also
        Canonical names of variables that are needed beside the published ones.
    optional
        Canonical names of those that are taken where a source has them.
    """

    levels: tuple[int, ...] = LEVELS
    also: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        """Canonical names of the variables without which a state is refused."""
        return tuple(dict.fromkeys((*Layout.default().names, *self.also)))

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical names of all variables, in the order of the table."""
        return tuple(name for name in BY_NAME if name in {*self.required, *self.optional})


@dataclass(frozen=True)
class StateFile:
    """Where the fields of one state lie on a server.

    Attributes
    ----------
    label
        Name of the state in messages.
    time
        Valid time, UTC.
    fields
        The fields that the ranges hold.
    ranges
        Byte ranges, in the order of the remote file; neighbours are joined.
    lacking
        Optional variables that the server does not have.
    """

    label: str
    time: np.datetime64
    fields: tuple[Field, ...]
    ranges: tuple[ByteRange, ...]
    lacking: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of bytes of all ranges."""
        return sum(each.length for each in self.ranges)


class Source(Protocol):
    """A server with analyses in GRIB and an index of their messages."""

    @property
    def name(self) -> str:
        """Short name, as ``pear fetch --source`` takes it."""
        ...

    @property
    def title(self) -> str:
        """Name in messages and in the attributes of a store."""
        ...

    @property
    def licence(self) -> str:
        """Terms of the data, for the attributes of a store."""
        ...

    def find_latest(self, now: np.datetime64) -> np.datetime64:
        """Return the newest time whose state is published; raise NotPublishedError if none."""
        ...

    def locate(self, time: np.datetime64, wanted: Selection) -> StateFile:
        """Return where a state lies; raise NotPublishedError, InputError or OSError."""
        ...


class Index(Protocol):
    """The messages of one cycle, by what its source calls them."""

    def find(self, row: Variable, level: int | None) -> tuple[Field, ByteRange] | None:
        """Return the bytes of a field, and what they must be; None if it is not there."""
        ...

    def call(self, row: Variable, level: int | None) -> str:
        """Return how the source names a field, for messages."""
        ...


def choose_fields(
    index: Index, wanted: Selection, label: str
) -> tuple[dict[Field, ByteRange], tuple[str, ...]]:
    """Return the bytes of all fields of a state, and the optional variables that are not there.

    Parameters
    ----------
    index
        The messages of the source.
    wanted
        Variables and levels.
    label
        Name of the state in messages.

    Returns
    -------
    fields
        Bytes by field.
    lacking
        Canonical names of optional variables of which a level is missing.

    Raises
    ------
    InputError
        If a field of a required variable is missing.
    """
    chosen: dict[Field, ByteRange] = {}
    missing: dict[str, list[str]] = {}
    for row in (BY_NAME[name] for name in wanted.names):
        found: dict[Field, ByteRange] = {}
        for level in wanted.levels if row.kind == "upper" else (None,):
            try:
                one = index.find(row, level)
            except InputError:
                if row.name in wanted.required:
                    raise
                one = None
            if one is None:
                missing.setdefault(row.name, []).append(index.call(row, level))
            else:
                found[one[0]] = one[1]
        if row.name not in missing:
            chosen |= found
    required = [name for name in missing if name in wanted.required]
    if required:
        names = [text for name in required for text in missing[name]]
        more = f" and {len(names) - 5} others" if len(names) > 5 else ""
        extra = all(name in wanted.also for name in required)
        raise InputError(
            f"{label} lacks {', '.join(names[:5])}{more}",
            field="--also" if extra else "--source",
            hint="leave it out, or take it from another source"
            if extra
            else "the run may not be complete: try again later",
        )
    return chosen, tuple(missing)


def sum_cycle(row: Variable, time: np.datetime64, title: str) -> np.datetime64:
    """Return the cycle whose forecast begins with the hours over which a variable is summed.

    Parameters
    ----------
    row
        A variable that is summed over hours.
    time
        End of the hours, UTC; a cycle.
    title
        Name of the source in messages.

    Returns
    -------
    numpy.datetime64
        Their beginning.

    Raises
    ------
    InputError
        If no cycle is at that time.
    """
    hours = row.accumulated_hours or 0
    if hours % CYCLE_HOURS:
        raise InputError(
            f"{title} has sums from 00, 06, 12 and 18 UTC on, and {row.name} is one over {hours} h",
            field="--also",
            hint="leave it out, or take it from another source",
        )
    start: np.datetime64 = time - hours * HOUR
    return start


def join_neighbours(ranges: Sequence[ByteRange]) -> tuple[ByteRange, ...]:
    """Join ranges that follow each other without a gap.

    Parameters
    ----------
    ranges
        Ranges, in any order.

    Returns
    -------
    tuple of ByteRange
        In the order of address and offset; no byte more than before.
    """
    joined: list[ByteRange] = []
    for each in sorted(ranges, key=lambda r: (r.url, r.offset)):
        before = joined[-1] if joined else None
        if before is not None and before.url == each.url and before.last + 1 == each.offset:
            joined[-1] = ByteRange(each.url, before.offset, before.length + each.length)
        else:
            joined.append(each)
    return tuple(joined)


def cycles_before(now: np.datetime64, hours: int = 6) -> list[np.datetime64]:
    """Return the cycles of the last days, the newest first."""
    step = np.timedelta64(hours, "h")
    newest = now.astype("datetime64[h]").astype(np.int64) // hours * hours
    first = np.datetime64(int(newest), "h").astype("datetime64[s]")
    return [first - count * step for count in range(NOT_FOUND_DAYS * 24 // hours)]


def find_newest_cycle(
    now: np.datetime64, is_published: Callable[[np.datetime64], bool], fault: str
) -> np.datetime64:
    """Return the newest cycle of the last three days that is published.

    Parameters
    ----------
    now
        Present time, UTC.
    is_published
        Tells whether a server has a cycle.
    fault
        Start of the message if it has none.

    Returns
    -------
    numpy.datetime64
        The cycle.

    Raises
    ------
    NotPublishedError
        If no cycle is published.
    """
    for time in cycles_before(now):
        if is_published(time):
            return time
    raise NotPublishedError(
        f"{fault} of the last days", field="--source", hint="check the address of --mirror"
    )


def check_cycle(time: np.datetime64, title: str, now: np.datetime64, delay_hours: int) -> None:
    """Refuse a time that is not an analysis time, or that lies in the future.

    Parameters
    ----------
    time
        The time asked for, UTC.
    title
        Name of the source in messages.
    now
        Present time, UTC.
    delay_hours
        Usual hours from the analysis time to its publication.

    Raises
    ------
    InputError
        If the time is not at 00, 06, 12 or 18 UTC.
    NotPublishedError
        If the time has not come yet.
    """
    hour = (time - time.astype("datetime64[D]")) / HOUR
    if hour not in (0, 6, 12, 18):
        raise InputError(
            f"{title} has analyses at 00, 06, 12 and 18 UTC, not at {to_iso(time)}", field="--time"
        )
    if time > now:
        raise NotPublishedError(
            f"{title} of {to_iso(time)} lies in the future",
            field="--time",
            hint=f"expected at about {to_iso(time + delay_hours * HOUR)}",
        )


def explain_missing(
    time: np.datetime64, title: str, now: np.datetime64, delay_hours: int, kept_days: int
) -> str:
    """Return the message for a state that a server does not have.

    Parameters
    ----------
    time
        The time asked for, UTC.
    title
        Name of the source in messages.
    now
        Present time, UTC.
    delay_hours
        Usual hours from the analysis time to its publication.
    kept_days
        Days that the server keeps its files.

    Returns
    -------
    str
        Whether the state is to come, and when, or gone.
    """
    expected = time + delay_hours * HOUR
    if now < expected + 6 * HOUR:
        text = f"is not published yet; expected at about {to_iso(expected)}"
    else:
        text = (
            f"is not on the server, which keeps about {kept_days} days; "
            "ask for a later --time, or another --mirror"
        )
    return f"{title} of {to_iso(time)} {text}"
