"""Output of the command line: results on standard output, progress and notes on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from rich import box
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


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to standard output: framed on a terminal, aligned plain text when piped.

    Parameters
    ----------
    columns
        Names of the columns.
    rows
        One sequence of cells a row.
    """
    if sys.stdout.isatty():
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console(file=sys.stdout).print(table)
        return
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        emit_line("  ".join(cells).rstrip())


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


@contextmanager
def progress(title: str, total: float | None) -> Iterator[ProgressCallback]:
    """Show a progress bar with rate and remaining time on standard error.

    Parameters
    ----------
    title
        Text before the bar.
    total
        Number of units, or None if it is not known.

    Yields
    ------
    ProgressCallback
        Advances the bar.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        # Only the note is shortened on a narrow terminal; the numbers stay readable.
        TextColumn("[dim]{task.fields[note]}", table_column=Column(no_wrap=True, ratio=1)),
    )
    with Progress(*columns, console=console, transient=False, expand=True) as bars:
        task = bars.add_task(title, total=total, note="")

        def tick(advance: float = 1, note: str = "") -> None:
            bars.update(task, advance=advance, note=note)

        yield tick


@contextmanager
def announced(title: str) -> Iterator[ProgressFactory]:
    """Show a progress bar for work whose size becomes known only while it runs.

    Yields
    ------
    ProgressFactory
        Starts the bar when called with the total.
    """
    with ExitStack() as stack:
        yield lambda total: stack.enter_context(progress(title, total))
