"""``pear check``: verify a data folder or a part of it down to the last chunk, and repair it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.evaluation.check import check_folder, check_path, is_data_folder
from pipelines.storage.check import StoreReport
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.repair import repair_store
from service.cli.console import emit_json, emit_line, progress
from service.cli.options import Json

_SHOWN = 50
_REPAIRED = ("", "analysis", "forecast", "climatology")


def check(
    path: Annotated[
        Path,
        typer.Argument(help="Data folder, analysis, forecast, climatology, model or evaluation."),
    ],
    *,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Repair what can be repaired; flag the rest as missing."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify checksums, completeness, metadata and grid of a store, or of all in a data folder.

    Evaluations and models are compared with their checksums, the catalog with the stores. Exit
    status 1 if problems are found.

    Examples
    --------
    $ pear check pear-data
    $ pear check pear-data/analyses/era5.zarr
    $ pear check pear-data/analyses/era5.zarr --repair
    """
    whole = is_data_folder(path)
    with progress("check", None) as tick:
        reports = check_folder(DataFolder.open(path), tick) if whole else [check_path(path, tick)]
    repaired = {each.path: _repair(each) for each in reports} if repair else {}
    results = [
        each.to_dict() | {"after_repair": after.to_dict() if after else None}
        for each in reports
        for after in [repaired.get(each.path)]
    ]
    healthy = all((repaired.get(each.path) or each).is_healthy for each in reports)
    if as_json:
        found = {"healthy": healthy, "path": str(path), "reports": results}
        emit_json(found if whole else results[0])
    else:
        for each in reports:
            _show(each)
            after = repaired.get(each.path)
            if after is not None:
                emit_line("after repair:")
                _show(after)
        if whole:
            ill = sum(not (repaired.get(each.path) or each).is_healthy for each in reports)
            emit_line(f"{path}: {len(reports)} parts checked, {ill or 'none'} with problems")
    if not healthy:
        raise typer.Exit(1)


def _repair(report: StoreReport) -> StoreReport | None:
    """Repair a store with problems; None if there are none, or it is of a kind not repaired."""
    if report.is_healthy or report.kind not in _REPAIRED:
        return None
    return repair_store(report.path)


def _show(report: StoreReport) -> None:
    for finding in report.findings[:_SHOWN]:
        remedy = f" ({finding.remedy})" if finding.remedy else ""
        emit_line(f"{finding.kind}: {finding.where}: {finding.detail}{remedy}")
    if len(report.findings) > _SHOWN:
        emit_line(f"and {len(report.findings) - _SHOWN} more")
    state = "healthy" if report.is_healthy else f"{len(report.findings)} problems"
    fields = f"{report.fields} fields checked" if report.fields else report.kind or "store"
    emit_line(f"{report.path}: {fields}, {state}")
