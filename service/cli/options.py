"""What every verb shares: progress on standard error, JSON on standard output, times in words."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from pear.errors import InputError
from pear.progress import ProgressCallback, ProgressFactory
from pear.times import as_utc
from pear.typing import Times

console = Console(stderr=True)
"""People read standard error; programs read standard output."""


def emit_json(document: Any) -> None:
    """Write one JSON document to standard output; NaN and infinity are refused, not written."""
    sys.stdout.write(json.dumps(document, allow_nan=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


class _Rate(ProgressColumn):
    """Units done a second; a minute or an hour where a second is too short."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        for unit, seconds in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
            if speed * seconds >= 1.0 or unit == "h":
                break
        return Text(f"{speed * seconds:.3g}/{unit}")


@contextmanager
def progress(title: str, total: float | None) -> Iterator[ProgressCallback]:
    """Show a bar with rate and time left on standard error; plain lines if it is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        # The note alone gives way where a line is too short: the numbers are what it is read for.
        TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, ratio=1)),
    )
    with Progress(*columns, console=console, transient=False, expand=True) as bars:
        task = bars.add_task(title, total=total, note="")

        def tick(advance: float = 1, note: str = "") -> None:
            bars.update(task, advance=advance, note=note)

        yield tick


@contextmanager
def announced(title: str) -> Iterator[ProgressFactory]:
    """As :func:`progress`, for work that learns its size only when it looks."""
    with ExitStack() as stack:
        yield lambda total: stack.enter_context(progress(title, total))


_UNITS = {"h": 1, "d": 24}


def parse_hours(text: str, option: str = "--lead") -> int:
    """Read a span such as ``10d`` or ``240h`` as hours.

    Raises
    ------
    InputError
        If the text is no positive number of hours or days.
    """
    match = re.fullmatch(r"(\d+)\s*([hd])", text.strip())
    if match is None or int(match[1]) == 0:
        raise InputError(f"{option} {text!r} is no span", field=option, hint="write 10d or 240h")
    return int(match[1]) * _UNITS[match[2]]


def parse_time(text: str, option: str = "--init") -> np.datetime64:
    """Read one ISO 8601 time, UTC; a trailing ``Z`` is allowed.

    Raises
    ------
    InputError
        If the text is no time.
    """
    hint = "write 2001-03-01T00:00Z (UTC)"
    try:
        time: np.datetime64 = as_utc(text.strip().removesuffix("Z"))[0]
    except ValueError as error:
        raise InputError(f"{option} {text!r} is no time", field=option, hint=hint) from error
    if np.isnat(time):
        raise InputError(f"{option} {text!r} is no time", field=option, hint=hint)
    return time


def parse_times(text: str, option: str = "--init") -> Times:
    """Read times: one, a comma list, or a range ``2001-03-01..2001-03-31/1d`` (ends included).

    Raises
    ------
    InputError
        If a part is no time, or the range runs backwards.
    """
    if ".." not in text:
        return np.array([parse_time(part, option) for part in text.split(",")])
    span, _, step = text.partition("/")
    first, last = (parse_time(part, option) for part in span.split("..", 1))
    if last < first:
        raise InputError(f"{option} {text!r} ends before it starts", field=option)
    hours = np.timedelta64(parse_hours(step or "1d", option) * 3600, "s")
    return np.arange(first, last + np.timedelta64(1, "s"), hours)
