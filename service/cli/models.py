"""``pear models``: the models of a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.console import console, emit_json, emit_table
from service.cli.options import Data, Json, examples

if TYPE_CHECKING:
    from pipelines.catalog import Model

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, add and import models.")


@app.command(
    "list",
    epilog=examples(
        "pear models list --data pear-data", "pear models list --data pear-data --json"
    ),
)
def list_models(*, data: Data, as_json: Json = False) -> None:
    """List models, newest first; the first is the default."""
    from pipelines.catalog import Catalog
    from pipelines.catalog.scan import refresh
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    with Catalog(folder.catalog_url) as catalog:
        refresh(folder, catalog)
        models = catalog.models.all()
    if as_json:
        emit_json([_resource(model) for model in models])
        return
    _show(models)


@app.command(
    "add",
    epilog=examples(
        "pear models add runs/first/checkpoint --data pear-data",
        "pear models add runs/first/checkpoint --name winter --data pear-data",
    ),
)
def add(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.")],
    *,
    data: Data,
    name: Annotated[str | None, typer.Option(help="Name to refer to the model by.")] = None,
    as_json: Json = False,
) -> None:
    """Verify a checkpoint and copy it into the data folder.

    Adding the same checkpoint again changes nothing.
    """
    from pipelines.catalog import Catalog
    from pipelines.catalog.scan import add_model
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    with Catalog(folder.catalog_url) as catalog:
        model = add_model(folder, catalog, checkpoint, name)
    if as_json:
        emit_json(_resource(model))
        return
    _show([model])


@app.command(
    "import",
    epilog=examples(
        "pear models import pear.pt --output imported",
        "pear models import pear.pt --statistics runs/first/checkpoint -o imported",
    ),
)
def import_published(
    file: Annotated[Path, typer.Argument(help="State dict of the authors' public code (.pt).")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the new checkpoint.", metavar="DIR")
    ],
    nside: Annotated[int, typer.Option(metavar="N", help="Resolution of the model's cells.")] = 64,
    statistics: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint with the means and standard deviations of the training data."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import weights trained with the public PEAR code (arXiv 2505.17720)."""
    from pear.models import checkpoint
    from pear.models.published import load_published
    from pear.normaliser import Normaliser

    model = load_published(file, nside=nside)
    if statistics is None:
        normaliser = Normaliser.identity(model.config.layout)
        console.print(
            "without --statistics the checkpoint reads and writes standardised fields",
            style="yellow",
        )
    else:
        normaliser = checkpoint.load(statistics).normaliser
    provenance = {
        "source": "published PEAR state dict",
        "file": file.name,
        "paper": "arXiv 2505.17720",
        "standardised": statistics is None,
    }
    written = checkpoint.save(output, model, normaliser, provenance)
    parameters = sum(parameter.numel() for parameter in written.model.parameters())
    console.print(f"model {written.id}: {parameters} parameters, nside {nside}, in {output}")
    if as_json:
        emit_json(
            {
                "id": written.id,
                "sha256": written.sha256,
                "parameters": parameters,
                "nside": nside,
                "folder": str(output),
                "standardised": statistics is None,
            }
        )


def _show(models: list[Model]) -> None:
    emit_table(
        ("model", "name", "nside", "step", "added"),
        [
            (
                model.id,
                model.name or "-",
                str(model.nside),
                f"{model.step_hours}h",
                f"{model.created_at:%Y-%m-%d}",
            )
            for model in models
        ],
    )


def _resource(model: Model) -> dict[str, object]:
    return {
        "id": model.id,
        "name": model.name,
        "sha256": model.sha256,
        "nside": model.nside,
        "step_hours": model.step_hours,
        "path": model.path,
        "layout": model.attributes["layout"],
        "created_at": model.created_at.isoformat(),
    }
