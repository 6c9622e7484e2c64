"""Output of the command line: results on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Literal

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from pear.progress import ProgressCallback, ProgressFactory

console = Console(stderr=True)
"""Standard error: progress, notes and errors."""

JsonDocument = Mapping[str, object] | Sequence[object]


class Interrupted(Exception):  # noqa: N818 - not an error: the person asked for it
    """The command was interrupted; the message tells what is kept and how to continue."""


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """Turn an interrupt inside the block into :class:`Interrupted` with this message.

    Parameters
    ----------
    kept
        What is kept and how to continue, as ``"finished months are kept; run it again"``.

    Raises
    ------
    Interrupted
        If the block was interrupted.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(kept) from error


def emit_json(document: JsonDocument) -> None:
    """Write one JSON document to standard output, or raise ValueError if it contains NaN."""
    sys.stdout.write(json.dumps(document, allow_nan=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


def emit_line(text: str) -> None:
    """Write one line to standard output, never wrapped."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to standard output: ruled on a terminal, aligned plain text when piped.

    Parameters
    ----------
    columns
        Names of the columns.
    rows
        One sequence of cells a row; None is shown as ``-``, and columns of numbers to the right.
    """
    if sys.stdout.isatty():
        Console(file=sys.stdout).print(make_table(columns, rows))
        return
    lines = [[column.upper() for column in columns], *([_text(cell) for cell in r] for r in rows)]
    aligned = []
    for first, *cells in zip(*lines, strict=True):
        width = max(map(len, (first, *cells)))
        justify = str.rjust if _are_numbers(cells) else str.ljust
        aligned.append([justify(cell, width) for cell in (first, *cells)])
    for line in zip(*aligned, strict=True):
        emit_line("  ".join(line).rstrip())


def emit_records(
    records: Sequence[Mapping[str, object]], columns: Mapping[str, str], *, as_json: bool
) -> None:
    """Write records as JSON, or some of their values as a table.

    Parameters
    ----------
    records
        The records, of equal keys.
    columns
        Heading of a column: key of its values.
    as_json
        Write everything as JSON instead.
    """
    if as_json:
        emit_json(records)
    else:
        emit_table(list(columns), [[row[key] for key in columns.values()] for row in records])


def make_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", caption: str = ""
) -> Table:
    """Return a table for a terminal, with columns of numbers aligned to the right."""
    table = Table(
        title=title or None,
        title_justify="left",
        caption=caption or None,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    texts = [[_text(cell) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        numbers = _are_numbers([row[index] for row in texts])
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in texts:
        table.add_row(*map(Text, row))
    return table


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "-" if cell is None else str(cell)


def _are_numbers(cells: Sequence[str]) -> bool:
    """Return whether all cells that are not empty are numbers."""
    return all(re.fullmatch(r"|-|[-+]?[\d,./]+(e[-+]\d+)?|nan", cell) for cell in cells)


class _Rate(ProgressColumn):
    """Units per second, or per minute or hour where a second is too short."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        for unit, seconds in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
            if speed * seconds >= 1.0 or unit == "h":
                break
        return Text(f"{speed * seconds:.3g}/{unit}")


class _Left(TimeRemainingColumn):
    """Time left, where the total is known."""

    def render(self, task: Task) -> Text:
        return Text("") if task.total is None else Text.assemble("left ", super().render(task))


@contextmanager
def progress(
    title: str, total: float | None, unit: Literal["fields", "bytes"] = "fields"
) -> Iterator[ProgressCallback]:
    """Show a progress bar with rate and remaining time on standard error.

    Parameters
    ----------
    title
        Text before the bar.
    total
        Number of units, or None if it is not known.
    unit
        What is counted; bytes are shown as kB and MB.

    Yields
    ------
    ProgressCallback
        Advances the bar.
    """
    amount: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), _Rate())
    if unit == "bytes":
        amount = (DownloadColumn(), TransferSpeedColumn())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        *amount,
        TimeElapsedColumn(),
        _Left(),
        # Only the note is shortened on a narrow terminal; the numbers stay readable.
        TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, ratio=1)),
    )
    with Progress(*columns, console=console, transient=False, expand=True) as bars:
        task = bars.add_task(title, total=total, note="")

        def tick(advance: float = 1, note: str = "") -> None:
            bars.update(task, advance=advance, note=note)

        yield tick


@contextmanager
def announced(title: str, unit: Literal["fields", "bytes"] = "fields") -> Iterator[ProgressFactory]:
    """Show a progress bar for work whose size becomes known only while it runs.

    Parameters
    ----------
    title
        Text before the bar.
    unit
        What is counted.

    Yields
    ------
    ProgressFactory
        Starts the bar when called with the total.
    """
    with ExitStack() as stack:
        yield lambda total: stack.enter_context(progress(title, total, unit))
