"""Grammar of the command line, and the options that commands share.

========  ===============================  ====================================
kind      written as                       means
========  ===============================  ====================================
time      ``2001-03-01``, ``…T06:00Z``     one time, UTC
times     ``A``, ``A,B``, ``A..B/6h``      one, several, or a range with its ends
period    ``A..B``                         from A to B, both included
duration  ``10d``, ``240h``                days or hours
list      ``t2m,z500``                     values separated by commas
model     id, unique prefix, or name       repeat the option for several
run       id, unique prefix, ``latest``    ``latest`` is the newest finished run
========  ===============================  ====================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import numpy as np
import typer

from pear.errors import InputError
from pear.times import HOUR, as_duration, as_utc, to_iso
from pear.typing import Times

T = TypeVar("T")

COMPUTING: Final = "Computing"
"""Group of the options that say where and how fast something is computed."""


@dataclass(frozen=True)
class Duration:
    """A whole number of hours, written as ``10d`` or ``240h``."""

    hours: int

    def __str__(self) -> str:
        return f"{self.hours // 24}d" if self.hours % 24 == 0 else f"{self.hours}h"


class CommaList(tuple[str, ...]):
    """Texts that were separated by commas."""

    __slots__ = ()

    def __str__(self) -> str:
        return ",".join(self)


class Numbers(tuple[int, ...]):
    """Whole numbers that were separated by commas."""

    __slots__ = ()


class Durations(tuple[Duration, ...]):
    """Durations that were separated by commas."""

    __slots__ = ()

    @property
    def hours(self) -> list[int]:
        """Hours of each."""
        return [each.hours for each in self]


class Period(tuple[np.datetime64, np.datetime64]):
    """First and last time, both included."""

    __slots__ = ()

    def __str__(self) -> str:
        return "..".join(to_iso(end) for end in self)


def parse_duration(text: str) -> Duration:
    """Read a duration such as ``10d`` or ``240h``; raise InputError for anything else."""
    return Duration(int(as_duration(text) / HOUR))


def parse_time(text: str) -> np.datetime64:
    """Read one ISO 8601 time in UTC, with or without ``Z``, or raise InputError."""
    try:
        time: np.datetime64 = as_utc(text.strip().removesuffix("Z"))[0]
    except ValueError:
        time = np.datetime64("NaT", "s")
    if np.isnat(time):
        raise InputError(f"invalid time {text!r}: expected e.g. 2001-03-01 or 2001-03-01T06:00Z")
    return time


def parse_times(text: str) -> Times:
    """Read one time, a comma list, or ``A..B/6h`` with both ends, or raise InputError."""
    if ".." not in text:
        return np.array([parse_time(part) for part in text.split(",")])
    ends, _, step = text.partition("/")
    first, last = parse_period(ends)
    interval = np.timedelta64(parse_duration(step or "1d").hours, "h")
    return np.arange(first, last + np.timedelta64(1, "s"), interval)


def parse_period(text: str) -> Period:
    """Read a period ``A..B``, or raise InputError."""
    first, dots, last = text.partition("..")
    if not dots:
        raise InputError(f"invalid period {text!r}: expected e.g. 2000-01-01..2004-12-31")
    period = Period((parse_time(first), parse_time(last)))
    if period[1] < period[0]:
        raise InputError(f"period {text!r} ends before it starts")
    return period


def parse_list(text: str) -> CommaList:
    """Read a comma list such as ``t2m,z500``, or raise InputError."""
    parts = CommaList(part.strip() for part in text.split(","))
    if not all(parts):
        raise InputError(f"invalid list {text!r}: expected values separated by commas")
    return parts


def parse_numbers(text: str) -> Numbers:
    """Read a comma list of whole numbers such as ``500,850``, or raise InputError."""
    try:
        return Numbers(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"invalid list {text!r}: expected whole numbers, e.g. 500,850") from None


def parse_durations(text: str) -> Durations:
    """Read a comma list of durations such as ``1d,5d,10d``, or raise InputError."""
    return Durations(parse_duration(part) for part in text.split(","))


def option_parser(parse: Callable[[str], T]) -> Callable[[str | T], T]:
    """Let an option use ``parse``: its errors name the option, its defaults pass unparsed."""

    def parser(given: str | T) -> T:
        if not isinstance(given, str):
            return given  # a default is of the parsed type already
        try:
            return parse(given)
        except InputError as error:
            raise typer.BadParameter(str(error)) from error

    return parser


def examples(*lines: str) -> str:
    """Format example command lines for the end of a command's help."""
    return "\n".join(
        ["Examples:", *(line if line.startswith(" ") else f"$ {line}" for line in lines)]
    )


DURATION: Final = option_parser(parse_duration)
DURATIONS: Final = option_parser(parse_durations)
TIME: Final = option_parser(parse_time)
TIMES: Final = option_parser(parse_times)
PERIOD: Final = option_parser(parse_period)
LIST: Final = option_parser(parse_list)
NUMBERS: Final = option_parser(parse_numbers)

Data = Annotated[
    Path, typer.Option("--data", envvar="PEAR_DATA", help="Data folder.", metavar="DIR")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
InitTimes = Annotated[
    Times,
    typer.Option(
        "--init",
        parser=TIMES,
        metavar="TIMES",
        help="Init times (UTC): 2001-03-01, a comma list, or a range A..B/1d.",
    ),
]
Lead = Annotated[
    Duration,
    typer.Option(
        "--lead", parser=DURATION, metavar="DURATION", help="Forecast length, e.g. 10d or 240h."
    ),
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="MODEL", help="Model id or name (default: newest).")
]
Analysis = Annotated[
    str | None,
    typer.Option("--analysis", metavar="NAME", help="Analysis (default: the only or first one)."),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Number of worker processes.",
        rich_help_panel=COMPUTING,
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Existing dask scheduler, e.g. tcp://host:8786.",
        rich_help_panel=COMPUTING,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda or cuda:1 (default: $PEAR_DEVICE).",
        rich_help_panel=COMPUTING,
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Random seed.")]
