"""``pear models``: the checkpoints of a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import console, emit_json

if TYPE_CHECKING:
    from pipelines.catalog import Model

Data = Annotated[Path, typer.Option("--data", help="Data folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]

verbs = typer.Typer(no_args_is_help=True, help="List and add models.")


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.add_typer(verbs, name="models")


@verbs.command("list")
def list_models(data: Data, as_json: Json = False) -> None:
    """List the models, newest first: the first is the default."""
    from pipelines.catalog import Catalog
    from pipelines.catalog.scan import refresh
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    with Catalog(folder.catalog_url) as catalog:
        refresh(folder, catalog)
        models = catalog.models()
    if as_json:
        emit_json([_resource(model) for model in models])
        return
    for model in models:
        console.print(_line(model), highlight=False)


@verbs.command("add")
def add(
    data: Data,
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    name: Annotated[str | None, typer.Option(help="A name to ask for it by.")] = None,
    as_json: Json = False,
) -> None:
    """Copy a checkpoint into the data folder, verified; the same one twice is one."""
    from pipelines.catalog import Catalog
    from pipelines.catalog.scan import add_model
    from pipelines.storage.data_folder import DataFolder

    folder = DataFolder.open(data)
    with Catalog(folder.catalog_url) as catalog:
        model = add_model(folder, catalog, checkpoint, name)
    if as_json:
        emit_json(_resource(model))
        return
    console.print(_line(model), highlight=False)


def _line(model: Model) -> str:
    return f"{model.id}  {model.name}  nside {model.nside}  step {model.step_hours} h"


def _resource(model: Model) -> dict[str, Any]:
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
