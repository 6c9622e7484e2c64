"""``pear import-checkpoint``: weights of the authors' public code become a checkpoint of PEAR."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import console, emit_json


def register(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("import-checkpoint")(import_checkpoint)


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="State dict saved by the public PEAR code (.pt).")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the new checkpoint.")],
    nside: Annotated[int, typer.Option(help="Resolution of the cells the model runs on.")] = 64,
    statistics: Annotated[
        Path | None,
        typer.Option(help="Checkpoint whose means and deviations the weights were trained with."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was written, as JSON.")] = False,
) -> None:
    """Import weights trained with the public PEAR code (arXiv 2505.17720)."""
    from pear.models import checkpoint
    from pear.models.published import load_published
    from pear.normaliser import Normaliser

    model = load_published(file, nside=nside)
    if statistics is None:
        normaliser = Normaliser.identity(model.config.layout)
        console.print(
            "no --statistics given: the checkpoint reads and writes standardised fields",
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
    written = checkpoint.save(out, model, normaliser, provenance)
    parameters = sum(parameter.numel() for parameter in written.model.parameters())
    console.print(f"model {written.id}: {parameters} parameters, nside {nside}, in {out}")
    if as_json:
        emit_json(
            {
                "id": written.id,
                "sha256": written.sha256,
                "parameters": parameters,
                "nside": nside,
                "folder": str(out),
                "standardised": statistics is None,
            }
        )
