"""``pear check``: verify a store down to its last chunk, and repair it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.console import emit_json, emit_line, progress
from service.cli.options import Json, examples

if TYPE_CHECKING:
    from pipelines.storage.check import Diagnosis

app = typer.Typer(add_completion=False)
_SHOWN = 50


@app.command(
    epilog=examples(
        "pear check pear-data/analyses/era5.zarr",
        "pear check pear-data/analyses/era5.zarr --repair",
    )
)
def check(
    store: Annotated[Path, typer.Argument(help="Analysis or forecast store.")],
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Repair what can be repaired; flag the rest as missing."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify checksums, completeness, metadata and grid of a store.

    Exit status 1 if problems are found.
    """
    from pipelines.storage.check import examine
    from pipelines.storage.repair import repair as repair_store

    with progress("check", None) as tick:
        before = examine(store, tick)
    after = repair_store(store) if repair and not before.healthy else None
    if as_json:
        emit_json(before.to_dict() | {"after_repair": after.to_dict() if after else None})
    else:
        _show(before)
        if after is not None:
            emit_line("after repair:")
            _show(after)
    if not (after or before).healthy:
        raise typer.Exit(1)


def _show(diagnosis: Diagnosis) -> None:
    for finding in diagnosis.findings[:_SHOWN]:
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        emit_line(f"{finding.kind}: {finding.where}: {finding.detail}{remedy}")
    if len(diagnosis.findings) > _SHOWN:
        emit_line(f"and {len(diagnosis.findings) - _SHOWN} more")
    state = "healthy" if diagnosis.healthy else f"{len(diagnosis.findings)} problems"
    emit_line(f"{diagnosis.path}: {diagnosis.fields} fields checked, {state}")
