"""``pear catalog``: rebuild the catalog of a data folder from its stores."""

from __future__ import annotations

import typer

from pipelines.catalog.rebuild import rebuild_catalog
from pipelines.storage.data_folder import DataFolder
from service.cli.console import console, emit_json, emit_line
from service.cli.options import Data, Json

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Rebuild the catalog of a data folder from its stores."""


@app.command("rebuild")
def rebuild(*, data: Data, as_json: Json = False) -> None:
    """Enter the analyses, models, climatologies, finished runs and evaluations found on disk.

    A damaged catalog is kept under another name. Stop the service first.

    Examples
    --------
    $ pear catalog rebuild --data pear-data
    $ pear catalog rebuild --data pear-data --json
    """
    entered, skipped = rebuild_catalog(DataFolder.open(data))
    for line in skipped:
        console.print(line, highlight=False, soft_wrap=True)
    if as_json:
        emit_json({"entered": dict(entered), "notes": skipped})
        return
    total = ", ".join(f"{number} {kind}" for kind, number in entered.items())
    emit_line(f"entered {total or 'nothing new'}")
