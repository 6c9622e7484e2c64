"""``pear study``: claims of papers, measured here beside the published values."""

from __future__ import annotations

import importlib
import inspect
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from pear.errors import InputError
from service.cli import options as opt
from service.cli.console import console, emit_json, emit_table, interruptible, progress

if TYPE_CHECKING:
    from pipelines.studies.claims import ClaimStudy, Report

CLAIM_STUDIES: Final = {
    "kernel": ("kernel", "KernelStudy"),
    "chern": ("chern", "ChernStudy"),
    "determinant": ("determinant", "DeterminantStudy"),
    "group": ("group", "GroupStudy"),
    "polynomial": ("polynomial", "PolynomialStudy"),
    "wind": ("wind", "WindStudy"),
    "sphere": ("sphere", "SphereStudy"),
    "counterfactual": ("counterfactual", "CounterfactualStudy"),
    "width": ("width", "WidthStudy"),
    "emergent": ("emergent", "EmergentStudy"),
    "boltzmann": ("boltzmann", "BoltzmannStudy"),
    "quantum": ("quantum", "QuantumStudy"),
}
"""Module and class of each study."""
_DAYS, _BANDS = opt.Numbers((25, 50, 100, 200)), opt.Numbers((4,))
_KEPT: Final = "finished parts are kept; run the same command again to continue"

StudyOutput = Annotated[
    Path | None,
    opt.path_option(
        "--output", "-o", help="Folder to write and to continue (default: nothing is kept)."
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        min=0.001,
        metavar="N",
        help="Minutes of each training, on a free core (default: as checked).",
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Exit with 1 if a claim is not met.")]

app = typer.Typer(add_completion=False)

Own: TypeAlias = Callable[..., Mapping[str, object]]
"""Maps the options that a study has to itself to its settings."""


def study_class(name: str) -> type[ClaimStudy]:
    """Import the class of a study."""
    module, attribute = CLAIM_STUDIES[name]
    found: type[ClaimStudy] = getattr(
        importlib.import_module(f"pipelines.studies.{module}"), attribute
    )
    return found


def _command(own: Own) -> Own:
    """Register a function as the command of its name, with the options of all studies as well."""

    def run(
        *,
        output: StudyOutput = None,
        minutes: Minutes = None,
        seed: opt.Seed = 0,
        threads: opt.ClaimThreads = 1,
        check: Check = False,
        as_json: opt.Json = False,
        **options: object,
    ) -> None:
        settings = {"seed": seed, "minutes": minutes, **own(**options)}
        make: Callable[..., ClaimStudy] = study_class(own.__name__)
        _run(
            lambda folder: make(folder=folder, **settings),
            output,
            threads,
            check=check,
            as_json=as_json,
        )

    shared = inspect.signature(run, eval_str=True).parameters.values()
    first = inspect.signature(own, eval_str=True).parameters.values()
    options = [*first, *(each for each in shared if each.kind is each.KEYWORD_ONLY)]
    # What Typer reads: the study's own options, then those of all.
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in options}
    run.__doc__ = own.__doc__
    app.command(own.__name__)(run)
    return own


@_command
def kernel(
    *,
    analysis: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="Analysis store: also regress the next day's z500."),
    ] = None,
    days: Annotated[
        opt.Numbers, opt.numbers_option(help="Training days of the regression.")
    ] = _DAYS,
    nside: Annotated[
        int, typer.Option(min=1, metavar="N", help="Resolution of the regression.")
    ] = 8,
) -> Mapping[str, object]:
    """Compare augmentation with built-in symmetry by kernels of infinitely wide networks.

    The kernel of the equivariant network is the group average of the plain one, so both ways give
    the same mean prediction at every time of the training (arXiv 2406.06504).

    Examples
    --------
    $ pear study kernel --check
    $ pear study kernel --analysis era5.zarr -o kernel
    """
    return {"analysis": analysis, "days": tuple(days), "nside": nside}


@_command
def chern(
    *,
    bands: Annotated[
        opt.Numbers, opt.numbers_option(help="Numbers of bands to train, 4 to 8.")
    ] = _BANDS,
    trivial: Annotated[
        bool, typer.Option(help="Also train on Chern number 0 alone, 4 bands.")
    ] = True,
    baselines: Annotated[
        bool, typer.Option(help="Also train DeepSpec and TrMLP, 4 bands.")
    ] = False,
    norm: Annotated[str, typer.Option(metavar="NAME", help="TrNorm: mean, abs or none.")] = "mean",
) -> Mapping[str, object]:
    """Learn Chern numbers of lattice gauge fields by a gauge-equivariant network.

    Trains on 2x2 lattices in the diagonal gauge, tests on larger ones (arXiv 2502.15376). Five and
    more bands need more steps: give --minutes.

    Examples
    --------
    $ pear study chern --check
    $ pear study chern --bands 4,5,6,7 --minutes 60 -o chern
    """
    if not all(4 <= number <= 8 for number in bands):
        raise InputError(f"bands are 4 to 8, got {','.join(map(str, bands))}", field="--bands")
    if norm not in ("mean", "abs", "none"):
        raise InputError(f"unknown norm {norm!r}: use mean, abs or none", field="--norm")
    return {"bands": tuple(bands), "trivial": trivial, "baselines": baselines, "norm": norm}


@_command
def determinant() -> Mapping[str, object]:
    """Learn determinants of 4x4 matrices by bilinear layers and by a residual MLP.

    Products of features make polynomials exactly, which an MLP can only approximate
    (arXiv 2502.15376).

    Examples
    --------
    $ pear study determinant --check
    $ pear study determinant -o determinant --json
    """
    return {}


@_command
def group() -> Mapping[str, object]:
    """Classify rotated digits by group convolutions and by plain ones of the same size.

    Quarter turns do not change the answer of an equivariant network, which needs
    fewer images (arXiv 1602.07576). Needs scikit-learn, of the extra study.

    Examples
    --------
    $ pear study group --check
    $ pear study group -o group --json
    """
    return {}


@_command
def polynomial() -> Mapping[str, object]:
    """Count the dimensions of polynomial group-convolution networks.

    A network of L layers on a group G has L(|G| - 1) + 1 of them, whatever its power and the
    structure of the group (arXiv 2603.29566).

    Examples
    --------
    $ pear study polynomial --check
    $ pear study polynomial --json
    """
    return {}


@_command
def wind() -> Mapping[str, object]:
    """Carry winds between cells along great circles, or take their components for scalars.

    Measures the tangent bundle of the grid, a flow across the poles, and divergence and vorticity
    by fitted layers.

    Examples
    --------
    $ pear study wind --check
    $ pear study wind -o wind
    """
    return {}


@_command
def sphere(
    *,
    large: Annotated[
        bool, typer.Option("--large", help="Also train a large plain network, five times as long.")
    ] = False,
) -> Mapping[str, object]:
    """Classify digits rotated on the sphere, by zonal convolutions and by augmentation.

    The equivariant network is trained on digits as they are, plain ones on rotated copies
    (arXiv 2202.03990). Needs scikit-learn, of the extra study.

    Examples
    --------
    $ pear study sphere --check -o sphere
    $ pear study sphere --minutes 0.01 --json
    """
    return {"large": large}


@_command
def counterfactual(
    *,
    analysis: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE", help="Analysis store of a year or more: also seek changes of weather."
        ),
    ] = None,
    inits: Annotated[int, typer.Option(min=1, metavar="N", help="Number of init times.")] = 10,
) -> Mapping[str, object]:
    """Seek the smallest changes that bring an event, along the data and cell by cell.

    The chart is fitted on the states of the store; the init times are those of the shipped days
    (arXiv 2206.05075).

    Examples
    --------
    $ pear study counterfactual --check
    $ pear study counterfactual --analysis simulated.zarr -o counterfactual
    """
    return {"analysis": analysis, "inits": inits}


@_command
def width() -> Mapping[str, object]:
    """Correct the kernels of infinitely wide networks for their width, by Feynman diagrams.

    A recursion gives the mean kernels to order 1/width; drawn networks are within their error of
    it (arXiv 2508.11522).

    Examples
    --------
    $ pear study width --check
    $ pear study width -o width --json
    """
    return {}


@_command
def emergent(
    *,
    analysis: Annotated[
        Path | None,
        typer.Option(metavar="STORE", help="Analysis store: also train an ensemble of PEAR."),
    ] = None,
    members: Annotated[int, typer.Option(min=2, metavar="N", help="Members of that ensemble.")] = 8,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Their optimiser steps.")] = 60,
) -> Mapping[str, object]:
    """Average networks that were trained on augmented data, none of which is equivariant.

    The mean of infinitely many is exactly equivariant at every time of the training and for every
    input (arXiv 2403.03103); that of n is off by as much as chance leaves, 1/sqrt(n).

    Examples
    --------
    $ pear study emergent --check
    $ pear study emergent --analysis era5.zarr --members 8 -o emergent
    """
    return {"analysis": analysis, "members": members, "steps": steps}


@_command
def boltzmann(
    *,
    analysis: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE", help="Analysis store of a year or more: also learn z500 anomalies."
        ),
    ] = None,
) -> Mapping[str, object]:
    """Learn spins by Boltzmann machines, and renormalise them block by block.

    Machines of one and two hidden layers are set beside sums over all states; on the sphere the
    block is a nested parent cell (arXiv 1410.3831).

    Examples
    --------
    $ pear study boltzmann --check
    $ pear study boltzmann --analysis simulated.zarr -o boltzmann
    """
    return {"analysis": analysis}


@_command
def quantum() -> Mapping[str, object]:
    """Find ground states of a ring of spins by Boltzmann machines, and measure entanglement.

    Energies are set beside exact diagonalisation (arXiv 1606.02318), entropies beside the area
    and the volume law (arXiv 1701.04844).

    Examples
    --------
    $ pear study quantum --check
    $ pear study quantum -o quantum --json
    """
    return {}


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
