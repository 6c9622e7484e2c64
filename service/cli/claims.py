"""``pear study``: claims of papers, measured here beside the published values."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.cli import options as opt
from service.cli.console import console, emit_json, emit_table, interruptible, progress

if TYPE_CHECKING:
    from pipelines.studies.claims import ClaimStudy, Report

CLAIM_STUDIES: Final = {
    "kernel": ("kernel", "KernelStudy"),
}
"""Module and class of each study."""
_DAYS = opt.Numbers((25, 50, 100, 200))
_KEPT: Final = "finished parts are kept; run the same command again to continue"

StudyOutput = Annotated[
    Path | None,
    opt.path_option("--output", "-o", help="Folder to write and to continue (default: none kept)."),
]
Minutes = Annotated[
    float | None,
    typer.Option(min=0.001, metavar="N", help="Minutes of each training (default: as checked)."),
]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if a claim is not met.")]

app = typer.Typer(add_completion=False)


def study_class(name: str) -> type[ClaimStudy]:
    """Import the class of a study."""
    module, attribute = CLAIM_STUDIES[name]
    found: type[ClaimStudy] = getattr(
        importlib.import_module(f"pipelines.studies.{module}"), attribute
    )
    return found


@app.command("kernel")
def kernel(
    *,
    analysis: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="Analysis store: also regress the next day's z500."),
    ] = None,
    days: Annotated[
        opt.Numbers, opt.numbers_option(help="Training days of the regression.")
    ] = _DAYS,
    nside: Annotated[int, typer.Option(min=1, metavar="N", help="Its resolution.")] = 8,
    output: StudyOutput = None,
    minutes: Minutes = None,
    seed: opt.Seed = 0,
    threads: opt.Threads = 1,
    check: Check = False,
    as_json: opt.Json = False,
) -> None:
    """Compare augmentation with built-in symmetry by kernels of infinitely wide networks.

    The kernel of the equivariant network is the group average of the plain one, so both ways give
    the same mean prediction at every time of the training (arXiv 2406.06504).

    Examples
    --------
    $ pear study kernel --check
    $ pear study kernel --analysis era5.zarr -o kernel
    """
    _run(
        lambda folder: study_class("kernel")(
            folder=folder,
            seed=seed,
            minutes=minutes,
            analysis=analysis,  # type: ignore[call-arg]
            days=tuple(days),
            nside=nside,
        ),
        output,
        threads,
        check=check,
        as_json=as_json,
    )


def _run(
    make: Callable[[Path], ClaimStudy],
    output: Path | None,
    threads: int | None,
    *,
    check: bool,
    as_json: bool,
) -> None:
    """Run a study in its folder, print its claims, and fail if one is to be met and is not."""
    from pear.device import keep_memory, set_threads

    keep_memory()
    set_threads(threads)
    with ExitStack() as stack:
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        study = make(folder)
        stack.enter_context(interruptible(_KEPT if output else "nothing is kept"))
        report = study.run(stack.enter_context(progress(study.name, study.units())))
    _print(report, as_json=as_json)
    if output:
        console.print(f"report and figure: {output}/report.json, {output}/{report.study}.png")
    if check and report.unmet:
        console.print(f"not met: {', '.join(each.claim.text for each in report.unmet)}")
        raise typer.Exit(1)


def _print(report: Report, *, as_json: bool) -> None:
    """Write the report as JSON, or the table claim, published, here, met."""
    if as_json:
        emit_json(report.to_dict())
        return
    rows = [
        (
            finding.claim.text,
            _number(finding.claim.published),
            _number(finding.value),
            f"{finding.claim.rule} {_number(finding.claim.tolerance)}",
            {True: "yes", False: "NO", None: "not decided"}[finding.met],
        )
        for finding in report.findings
        if finding.value is not None
    ]
    emit_table(("claim", "published", "here", "tolerance", "met"), rows)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"
