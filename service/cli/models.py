"""``pear models``: the models of a data folder."""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Final

import typer

from pear import resources
from pear.errors import InputError
from pipelines.catalog import Model
from pipelines.catalog.installed_models import FORECASTERS, add_installed
from pipelines.catalog.scan import add_model, refresh
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import share
from service.cli.console import console, emit_json, emit_records, progress
from service.cli.options import (
    Data,
    Json,
    Nside,
    Output,
    Period,
    count_option,
    path_option,
    period_option,
)
from service.cli.runs import open_catalog

_filter, _bias = (partial(typer.Option, rich_help_panel=name) for name in ("Filter", "Mean error"))

_KEPT: Final = (
    "degree",
    "strength",
    "order",
    "bias",
    "bias_degree",
    "harmonics",
    "seasonal_degree",
)
"""Parameters of what ``--keep`` keeps."""
SHIPPED: Final = "shipped"
"""Name of the model of the package."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command("list")
def list_models(*, data: Data, as_json: Json = False) -> None:
    """List models, newest first; the first is the default.

    Examples
    --------
    $ pear models list --data pear-data
    $ pear models list --data pear-data --json
    """
    with open_catalog(data) as (folder, catalog):
        refresh(folder, catalog)
        models = catalog.models.all()
        _emit([_resource(model) for model in models], as_json=as_json)
    known = {model.name for model in models}
    others = [each for each in list_installed_forecasters() if each.partition(" ")[0] not in known]
    if others and not as_json:
        console.print(
            f"installed, not in this folder: {', '.join(others)}; add one with `pear models add "
            f"NAME --data {data}`",
            soft_wrap=True,
            highlight=False,
        )


@app.command("add")
def add(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="Checkpoint folder, shipped for the model of the package, or name of an installed "
            "forecaster."
        ),
    ],
    *,
    data: Data,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name to refer to the model by.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a checkpoint and copy it into the data folder.

    Adding the same checkpoint again changes nothing. A forecaster of another package (an entry
    point of the group pear.forecasters) is added by its name.

    Examples
    --------
    $ pear models add runs/first/checkpoint --data pear-data
    $ pear models add runs/first/checkpoint --name winter --data pear-data
    $ pear models add shipped --data pear-data
    """
    checkpoint = str(checkpoint_folder(Path(checkpoint)))
    with open_catalog(data) as (folder, catalog):
        if not Path(checkpoint).exists() and _is_installed(checkpoint):
            added = add_installed(folder, catalog, checkpoint)
        else:
            added = add_model(folder, catalog, Path(checkpoint), name)
        share(folder, "models", Path(added.path).name)
    model = _resource(added)
    if as_json:
        emit_json(model)
    else:
        _emit([model], as_json=False)


@app.command("chart")
def fit_chart(
    model: Annotated[
        str | None, typer.Argument(help="Id or name of the model (default: the newest).")
    ] = None,
    *,
    data: Data,
    analysis: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Analysis of its training years, if there are several."),
    ] = None,
    directions: Annotated[
        int | None,
        count_option(help="Directions (default: one for ten states, at most 120)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit the chart of a model's climate, along which counterfactuals are sought.

    Needs states of a whole year; 1800 and more give local patterns. Leave out the years of the
    forecasts. The chart is kept with the model, in place of an earlier one.

    Examples
    --------
    $ pear models chart --data pear-data --analysis era5
    $ pear models chart winter --data pear-data --analysis era5 --directions 60
    """
    from pear.counterfactual.chart import fit_chart as fit  # torch, which a list does not need
    from pear.store.analysis import Analysis
    from pipelines.evaluation.inputs import resolve_name
    from pipelines.forecasting.request import model_layout

    with open_catalog(data) as (folder, catalog):
        refresh(folder, catalog)
        found = catalog.models.get(model)
        folder.require_writable()
        name = resolve_name(folder.root / "analyses", analysis, "analysis", ".zarr")
        states = Analysis(folder.analysis(name), model_layout(found), found.nside)
        with progress("states", states.times.size) as tick:
            chart = fit(states, directions, tick)
        chart.save(folder.root / found.path)
        share(folder, "models", Path(found.path).name, changed=True)
    about = {
        "model": found.id,
        "id": chart.id,
        "analysis": chart.source,
        "states": chart.states,
        "period": list(chart.period),
        "directions": chart.size,
        "share": chart.share,
        "warning": chart.warning,
    }
    if as_json:
        emit_json(about)
        return
    console.print(
        f"chart {chart.id} of model {found.id}: {chart.size} directions of {chart.states} states "
        f"hold {chart.share:.0%} of the variance",
        soft_wrap=True,
        highlight=False,
    )
    if chart.warning:
        console.print(f"note: {chart.warning}", soft_wrap=True, highlight=False)


@app.command("import")
def import_published(
    file: Annotated[Path, typer.Argument(help="State dict of the authors' public code (.pt).")],
    *,
    output: Output,
    nside: Nside = 64,
    statistics: Annotated[
        Path | None,
        path_option(help="Checkpoint with the means and standard deviations of the training data."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import weights trained with the public PEAR code (arXiv 2505.17720).

    Examples
    --------
    $ pear models import pear.pt --output imported
    $ pear models import pear.pt --statistics runs/first/checkpoint -o imported
    """
    from pear.models import checkpoint  # these import torch, which a list does not need
    from pear.models.published import load_published
    from pear.normaliser import Normaliser

    model = load_published(file, nside=nside)
    standardised = statistics is None
    if statistics is None:
        normaliser = Normaliser.identity(model.config.layout)
        warning = "without --statistics the checkpoint reads and writes standardised fields"
        console.print(warning, style="yellow")
    else:
        normaliser = checkpoint.load(statistics).normaliser
    provenance = {
        "source": "published PEAR state dict",
        "file": file.name,
        "paper": "arXiv 2505.17720",
        "standardised": standardised,
    }
    written = checkpoint.save(output, model, normaliser, provenance)
    found = {
        "id": written.id,
        "sha256": written.sha256,
        "parameters": sum(parameter.numel() for parameter in written.model.parameters()),
        "nside": nside,
        "folder": str(output),
        "standardised": standardised,
    }
    console.print(
        f"model {written.id}: {found['parameters']} parameters, nside {nside}, in {output}"
    )
    if as_json:
        emit_json(found)


@app.command("correct")
def correct(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="Checkpoint folder, or shipped.")],
    *,
    output: Output,
    analysis: Annotated[
        Path | None,
        path_option(help="Analysis store of whole years on which all is fitted."),
    ] = None,
    period: Annotated[
        Period | None, period_option(help="Period of the fit (default: all of the store).")
    ] = None,
    degree: Annotated[
        int | None, _filter(min=1, metavar="L", help="Highest degree kept (default: 2 nside).")
    ] = None,
    strength: Annotated[
        float, _filter(min=0, metavar="S", help="exp(-S) is left of degree L after a step.")
    ] = 0.7,
    order: Annotated[int, _filter(min=1, metavar="P", help="Power of the Laplacian.")] = 4,
    bias: Annotated[
        bool, _bias("--bias/--no-bias", help="Remove the seasonal mean error of a step.")
    ] = True,
    bias_degree: Annotated[
        int | None, _bias(min=0, metavar="L", help="Highest degree of the mean (default: --degree)")
    ] = None,
    harmonics: Annotated[int, _bias(min=0, metavar="N", help="Harmonics of the year.")] = 2,
    seasonal_degree: Annotated[
        int, _bias(min=0, metavar="L", help="Highest degree of these harmonics.")
    ] = 10,
    dry_mass: Annotated[
        bool, typer.Option("--dry-mass/--no-dry-mass", help="Keep the mass of dry air in a step.")
    ] = False,
    hydrostatic: Annotated[
        bool, typer.Option("--hydrostatic/--no-hydrostatic", help="Restore hydrostatic balance.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep filter and mean error that the checkpoint has.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Give a checkpoint a correction, applied after each step of its forecasts.

    The smallest scales are damped, the seasonal mean error of one step is removed, humidity is kept
    at or above 0. With --hydrostatic geopotential, temperature and pressure at sea level are
    changed together, as their balance in the analyses tells; with --dry-mass the mean pressure
    follows the water vapour. Fit on years that the model is not tested on. The result is a new
    checkpoint with an id of its own.

    Examples
    --------
    $ pear models correct runs/first/checkpoint --analysis sim.zarr -o runs/first/corrected
    $ pear models correct shipped --no-bias -o filtered
    $ pear models correct shipped --keep --hydrostatic --analysis sim.zarr -o balanced
    """
    from pear.models import checkpoint  # these import torch, which a list does not need
    from pear.models.correction import CorrectionConfig, describe_correction
    from pipelines.training.correction import correct_checkpoint

    for name in _KEPT if keep else ():
        given = context.get_parameter_source(name)
        if given is not None and given.name != "DEFAULT":
            option = "--" + name.replace("_", "-")
            raise InputError(
                f"{option} would change what --keep keeps",
                field=option,
                hint="leave out one of the two",
            )
    source = checkpoint_folder(source)
    most = degree or 2 * checkpoint.load(source).config.nside
    config = CorrectionConfig(
        degree=most,
        strength=strength,
        order=order,
        bias_degree=min(most, bias_degree or most) if bias else None,
        harmonics=harmonics,
        seasonal_degree=min(most, seasonal_degree),
        dry_mass=dry_mass,
        hydrostatic=hydrostatic,
    )
    ends = None if period is None else (str(period[0]), str(period[1]))
    with progress("correct", None) as tick:
        made = correct_checkpoint(source, output, config, analysis, ends, tick, keep=keep)
    text = describe_correction(made.correction, applied=True)
    console.print(f"model {made.id}: {text}, in {output}", soft_wrap=True, highlight=False)
    if as_json:
        emit_json({"id": made.id, "sha256": made.sha256, "folder": str(output), "correction": text})


def model_id(folder: DataFolder, reference: str | None) -> str | None:
    """Return an id or name of a model as it is; others are added to the data folder.

    Those are a checkpoint folder, ``shipped`` for the model of the package if no model of the
    data folder has that name, and an installed forecaster.
    """
    if reference is None:
        return None
    checkpoint = Path(reference)
    if not (checkpoint / "checkpoint.json").is_file():
        if reference != SHIPPED and not _is_installed(reference):
            return reference
        with open_catalog(folder.root) as (_, catalog):
            if reference in {model.name for model in catalog.models.all()}:
                return reference
            if _is_installed(reference):
                return add_installed(folder, catalog, reference).id
        checkpoint = resources.path("checkpoint")
    manifest = checkpoint / "checkpoint.json"
    known = folder.model(str(json.loads(manifest.read_text()).get("sha256"))[:12])
    if known.is_dir():
        return known.name
    with open_catalog(folder.root) as (_, catalog):
        added = add_model(folder, catalog, checkpoint)
    share(folder, "models", Path(added.path).name)
    return added.id


def checkpoint_folder(path: Path) -> Path:
    """Return the path; for ``shipped``, unless there is such a folder, that of the package."""
    return resources.path("checkpoint") if str(path) == SHIPPED and not path.exists() else path


def list_installed_forecasters() -> list[str]:
    """Return the forecasters of other packages, by their metadata: name (package version)."""
    found = entry_points(group=FORECASTERS)
    return sorted(
        f"{point.name} ({point.dist.name} {point.dist.version})" if point.dist else point.name
        for point in found
    )


def _is_installed(name: str) -> bool:
    return name in {point.name for point in entry_points(group=FORECASTERS)}


def _emit(models: list[dict[str, object]], *, as_json: bool) -> None:
    columns = {"model": "id", "name": "name", "nside": "nside", "step h": "step_hours"}
    emit_records(models, {**columns, "added": "created_at"}, as_json=as_json)


def _resource(model: Model) -> dict[str, object]:
    return {
        "id": model.id,
        "name": model.name,
        "sha256": model.sha256,
        "nside": model.nside,
        "step_hours": model.step_hours,
        "path": model.path,
        "layout": model.attributes["layout"],
        "created_at": model.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
