"""Options that ``pear bench ablation`` and ``pear bench peer`` share, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pear.cli.common import console, parse_time
from pear.errors import InputError

StoreOption = Annotated[Path, typer.Option("--store", help="Analysis store.")]
ClimatologyOption = Annotated[
    Path, typer.Option("--climatology", help="Climatology of the training years.")
]
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        help="Folder. A stopped study goes on; several processes may work in one at a time.",
    ),
]
PeriodOption = Annotated[str, typer.Option(help="Training period A..B.")]
TestOption = Annotated[str, typer.Option(help="Init times A..B.")]
EveryOption = Annotated[int, typer.Option(min=1, help="Days between init times.")]
DaysOption = Annotated[int, typer.Option(min=1, help="Lead in days.")]
MinutesOption = Annotated[
    float, typer.Option(min=0.01, help="Length of each training at equal time.")
]
SeedsOption = Annotated[str, typer.Option(help="Seeds, as 0,1,2; more may be added later.")]
EmbedOption = Annotated[int, typer.Option(min=32, help="Width of the networks.")]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="Time the steps, say how long it takes, and stop.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Rows as JSON on stdout.")]


def settings(
    store: Path,
    climatology: Path,
    period: str,
    test: str,
    every: int,
    days: int,
    minutes: float,
    seeds: str,
    embed: int,
) -> dict[str, Any]:
    """Return what every study is built from.

    Raises
    ------
    InputError
        If a period or the seeds cannot be read.
    """
    return {
        "store": store,
        "climatology": climatology,
        "period": span(period, "--period"),
        "test": span(test, "--test"),
        "every": every,
        "days": days,
        "minutes": minutes,
        "seeds": numbers(seeds),
        "embed": embed,
    }


def span(text: str, option: str) -> tuple[str, str]:
    """Read A..B as two ISO times."""
    first, dots, last = text.partition("..")
    if not dots:
        raise InputError(f"{option} {text!r} is no period", field=option, hint="write A..B")
    return str(parse_time(first, option)), str(parse_time(last, option))


def numbers(text: str) -> tuple[int, ...]:
    """Read seeds: whole numbers with commas between."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--seeds {text!r} are no numbers", field="--seeds") from error


def announce(jobs: int, seconds: float, threads: int) -> None:
    """Say what is left of a study."""
    console.print(
        f"{jobs} trainings, {seconds / 3600:.2f} hours of one process of {threads} thread(s), "
        "and their verification",
        highlight=False,
    )
