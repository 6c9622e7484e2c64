"""Grammar of the command line, and the options that commands share.

========  ===============================  ====================================
kind      written as                       means
========  ===============================  ====================================
time      ``2001-03-01``, ``…T06:00Z``     one time, UTC; ``20010301`` is read too
times     ``A``, ``A,B``, ``A..B/6h``      one, several, or a range with its ends
period    ``A..B``                         from A to B, both included; dates are whole days
duration  ``10d``, ``240h``                days or hours
list      ``t2m,z500``                     values separated by commas
model     id, name, checkpoint folder      or ``shipped``; repeat the option for several
run       id, unique prefix, ``latest``    ``latest`` is the newest finished run
========  ===============================  ====================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import numpy as np
import typer

from pear.errors import InputError
from pear.times import HOUR, as_duration, parse_time, to_iso
from pear.typing import Times

T = TypeVar("T")
MAX_TIMES: Final = 100_000
"""Most times in one range; more are likelier a typing error."""


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

    def __str__(self) -> str:
        return ",".join(map(str, self))


class Durations(tuple[Duration, ...]):
    """Durations that were separated by commas."""

    __slots__ = ()

    def __str__(self) -> str:
        return ",".join(map(str, self))

    @property
    def hours(self) -> list[int]:
        """Hours of each."""
        return [each.hours for each in self]


@dataclass(frozen=True)
class Scale:
    """Size of the perturbations: one number, or one for each variable."""

    value: float | dict[str, float]

    def __str__(self) -> str:
        return str(self.value)


class Period(tuple[np.datetime64, np.datetime64]):
    """First and last time, both included."""

    __slots__ = ()

    def __str__(self) -> str:
        first, last = (to_iso(end) for end in self)
        if first.endswith("T00:00:00Z") and last.endswith("T23:59:59Z"):
            return f"{first[:10]}..{last[:10]}"
        return f"{first}..{last}"


def parse_duration(text: str) -> Duration:
    """Read a duration such as ``10d`` or ``240h``; raise InputError for anything else."""
    return Duration(int(as_duration(text) / HOUR))


def parse_times(text: str) -> Times:
    """Read one time, a comma list, or ``A..B/6h`` with both ends, or raise InputError."""
    if ".." not in text:
        return np.array([parse_time(part) for part in text.split(",")])
    ends, _, step = text.partition("/")
    first, last = _parse_ends(ends)
    interval = np.timedelta64(parse_duration(step or "1d").hours, "h")
    count = int((last - first) / interval) + 1
    if count > MAX_TIMES:
        raise InputError(f"range {text!r} has {count} times, limit {MAX_TIMES}")
    return np.arange(first, last + np.timedelta64(1, "s"), interval)


def parse_period(text: str) -> Period:
    """Read a period ``A..B``, or raise InputError; a last date without an hour is a whole day.

    Returns
    -------
    Period
        First and last second.

    Examples
    --------
    >>> [str(end) for end in parse_period("2000-01-01..2004-12-31")]
    ['2000-01-01T00:00:00', '2004-12-31T23:59:59']
    >>> str(parse_period("2000-01-01..2004-12-31T00")[1])
    '2004-12-31T00:00:00'
    """
    first, last = _parse_ends(text)
    is_date = re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", text.partition("..")[2].strip()) is not None
    return Period((first, last + np.timedelta64(86_399, "s") if is_date else last))


def _parse_ends(text: str) -> Period:
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


def parse_ranges(text: str) -> Numbers:
    """Read whole numbers and ranges such as ``1990..1999`` or ``0,6,12,18``.

    Returns
    -------
    Numbers
        Increasing.

    Raises
    ------
    InputError
        If a part is neither a number nor a range.

    Examples
    --------
    >>> parse_ranges("1..3,7")
    (1, 2, 3, 7)
    """
    numbers: set[int] = set()
    try:
        for part in text.split(","):
            first, dots, last = part.partition("..")
            numbers |= set(range(int(first), int(last if dots else first) + 1))
    except ValueError:
        raise InputError(f"invalid numbers {text!r}: expected e.g. 1990..1999 or 0,6,12") from None
    return Numbers(sorted(numbers))


def parse_scale(text: str) -> Scale:
    """Read a scale such as ``0.1`` or ``t2m=0.2,z=0.1``, or raise InputError."""
    try:
        if "=" not in text:
            return Scale(float(text))
        pairs = (part.split("=") for part in text.split(","))
        return Scale({name.strip(): float(size) for name, size in pairs})
    except ValueError:
        raise InputError(f"invalid scale {text!r}: expected 0.1 or t2m=0.2,z=0.1") from None


def parse_json(text: str, option: str) -> dict[str, object]:
    """Read the JSON object given to an option, or raise InputError."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{option} {text!r} is not JSON: {error}", field=option) from error
    if not isinstance(found, dict):
        raise InputError(f"{option} {text!r} is not a JSON object", field=option)
    return found


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


DURATION: Final = option_parser(parse_duration)
NUMBERS: Final = option_parser(parse_numbers)
PERIOD: Final = option_parser(parse_period)
TIMES: Final = option_parser(parse_times)
LIST: Final = option_parser(parse_list)
RANGES: Final = option_parser(parse_ranges)

# Kinds of options: each is typer.Option with the parser and the placeholder of its kind.
count_option = partial(typer.Option, min=1, metavar="N")
duration_option = partial(typer.Option, parser=DURATION, metavar="DURATION")
list_option = partial(typer.Option, parser=option_parser(parse_list), metavar="LIST")
numbers_option = partial(typer.Option, parser=NUMBERS, metavar="LIST")
path_option = partial(typer.Option, metavar="DIR")
period_option = partial(typer.Option, parser=PERIOD, metavar="A..B")
time_option = partial(typer.Option, parser=option_parser(parse_time), metavar="TIME")
_ensemble = partial(typer.Option, rich_help_panel="Ensemble")
_computing = partial(typer.Option, rich_help_panel="Computing")

# Where something is read from and written to.
Data = Annotated[Path, path_option("--data", envvar="PEAR_DATA", help="Data folder.")]
OptionalData = Annotated[
    Path | None, path_option("--data", help="Data folder (default: $PEAR_DATA).")
]
Store = Annotated[Path, typer.Argument(help="Analysis or forecast store, a path.")]
AnalysisStore = Annotated[
    Path, typer.Option("--analysis", metavar="STORE", help="Analysis store, a path.")
]
Output = Annotated[Path, path_option("--output", "-o", help="Folder to write.")]
Picture = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="PNG file to write.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]

# What is computed.
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Model id, name or checkpoint folder, or shipped (default: newest).",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Model id, name or checkpoint folder, or shipped (default: newest); repeat for more.",
    ),
]
Analysis = Annotated[
    str | None,
    typer.Option("--analysis", metavar="NAME", help="Name of the analysis, if there are several."),
]
TIMES_HELP: Final = "Init times (UTC): 2001-03-01, a comma list, or a range A..B/1d"
init_option = partial(typer.Option, "--init", parser=TIMES, metavar="TIMES")
Init = Annotated[Times, init_option(help=f"{TIMES_HELP}.")]
Lead = Annotated[Duration, duration_option("--lead", help="Forecast length, e.g. 10d or 240h.")]
Nside = Annotated[int, typer.Option(metavar="N", help="HEALPix resolution, a power of two.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Random seed.")]
TRAINING_PERIOD: Final = period_option("--period", help="Training period, both ends included.")

# The members of an ensemble.
Members = Annotated[
    int | None, _ensemble(min=1, metavar="N", help="Number of members (default: one forecast).")
]
EnsembleKind = Annotated[
    Literal["noise", "random_field", "symmetry", "augmented"],
    _ensemble(
        metavar="KIND",
        help="noise, random_field (scaled differences of analyses), symmetry (of the grid), or "
        "augmented (several models trained with it).",
    ),
]
PerturbationScale = Annotated[
    Scale | None,
    _ensemble(
        parser=option_parser(parse_scale),
        metavar="X",
        help="Size of the perturbations, e.g. 0.1, or t2m=0.2,z=0.1 (default: 0.3 for noise).",
    ),
]
PerturbSteps = Annotated[
    bool | None,
    _ensemble(
        "--perturb-steps/--perturb-start", help="Perturb every step (default for noise), or one."
    ),
]
LengthKm = Annotated[float, _ensemble(metavar="KM", help="Correlation length of the noise.")]
PerturbationSeed = Annotated[
    int, _ensemble("--seed", metavar="N", help="Random seed of the perturbations.")
]

NoCorrection = Annotated[
    bool,
    typer.Option(
        "--no-correction",
        help="Leave out the correction stored with the model (filter, mean error, floor).",
    ),
]

# Where and how fast it is computed.
Batch = Annotated[int, _computing(min=1, metavar="N", help="Forecasts to compute side by side.")]
Workers = Annotated[int, _computing(min=1, metavar="N", help="Number of worker processes.")]
Threads = Annotated[
    int | None, _computing(min=1, metavar="N", help="Threads per process (default: by the work).")
]
ClaimThreads = Annotated[int, _computing(min=1, metavar="N", help="Threads per process.")]
Device = Annotated[
    str | None,
    _computing(metavar="DEVICE", help="auto, cpu, cuda or cuda:1 (default: $PEAR_DEVICE)."),
]
Scheduler = Annotated[
    str | None, _computing(metavar="ADDRESS", help="Existing dask scheduler, e.g. tcp://host:8786.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate the duration, and stop.")]
