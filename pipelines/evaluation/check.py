"""Check of everything that a data folder holds: stores, models, evaluations, the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.store.fetched import complete
from pear.store.reader import open_store
from pear.times import as_utc, to_iso
from pipelines.catalog import Catalog, Run, Status, installed_models
from pipelines.catalog.installed_models import FILE as INSTALLED
from pipelines.catalog.installed_models import is_installed, read_installed
from pipelines.evaluation.scores import FILE, read_scores
from pipelines.forecasting.options import ForecastOptions
from pipelines.storage.check import DAMAGE, Finding, StoreReport, check_store
from pipelines.storage.checksums import CHECKSUMS, find_damage
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import SharedStores, is_shared
from pipelines.storage.shared_index import KINDS

FORMER_FILE: Final = "scores.json"
"""Scores of an evaluation written before there was :data:`FILE`."""
_REBUILD: Final = "run `pear catalog rebuild`"
_EVALUATE: Final = "evaluate again with `pear evaluate`"
_COPY: Final = "copy or train it again"
_SEND: Final = "remove the entry, and make it again or send it from a host that has it"
_CHECKPOINTS: Final = (
    "checkpoint.json",
    "pangu.json",
    "model.safetensors",
    "pangu.safetensors",
    installed_models.FILE,
)


def is_data_folder(path: Path) -> bool:
    """Return whether a path is a data folder, not something in one."""
    return (path / "analyses").is_dir()


def check_path(path: Path, progress: ProgressCallback | None = None) -> StoreReport:
    """Check one store, model or evaluation.

    Parameters
    ----------
    path
        Its folder.
    progress
        As for :func:`pipelines.storage.check.check_store`.

    Returns
    -------
    StoreReport
        The problems that were found; InputError if there is nothing that PEAR knows.
    """
    if any((path / name).is_file() for name in (*_CHECKPOINTS, INSTALLED)):
        return check_model(path)
    if any((path / name).is_file() for name in (FILE, FORMER_FILE, CHECKSUMS, "scores.csv")):
        return check_evaluation(path)
    with complete(path):
        return check_store(path, progress)


def check_model(path: Path) -> StoreReport:
    """Load a checkpoint and compare all files beside it with their checksums.

    Of a forecaster of another package, the file that names it is compared with its digest.

    Parameters
    ----------
    path
        Folder of the checkpoint.

    Returns
    -------
    StoreReport
        The problems that were found.
    """
    from pear.models import checkpoint  # imports torch, which stores do not need

    report = StoreReport(str(path), "model")
    if installed_models.is_installed(path):
        try:
            installed_models.read_installed(path)
        except InputError as error:
            report.findings.append(Finding("file", installed_models.FILE, error.message, _COPY))
        return report
    if is_installed(path):
        try:
            read_installed(path)
        except InputError as error:
            report.findings.append(Finding("file", INSTALLED, error.message, _COPY))
        return report
    report.findings += _changed_files(path, _COPY)
    if report.findings:
        return report
    try:
        document = json.loads((path / "checkpoint.json").read_text())
        pangu = document.get("network") == "pangu"
    except FileNotFoundError:
        pangu = (path / "pangu.json").is_file()
    except (OSError, ValueError, AttributeError):
        pangu = False  # loading it names the damage
    try:
        (checkpoint.load_pangu if pangu else checkpoint.load)(path)
    except DAMAGE as error:
        detail = error.message if isinstance(error, InputError) else f"cannot be read: {error}"
        report.findings.append(Finding("file", path.name, detail, _COPY))
    report.findings += _damaged_json(path)
    return report


def check_evaluation(path: Path) -> StoreReport:
    """Read the scores of an evaluation and compare all files with their checksums.

    Parameters
    ----------
    path
        Folder of the evaluation.

    Returns
    -------
    StoreReport
        The problems that were found.
    """
    report = StoreReport(str(path), "evaluation")
    report.findings += _changed_files(path, _EVALUATE)
    if report.findings:
        return report
    try:
        if (path / FILE).is_file():
            read_scores(path)
        else:
            json.loads((path / FORMER_FILE).read_text())["scores"]
    except FileNotFoundError:
        report.findings.append(Finding("file", FILE, "is missing", _EVALUATE))
    except DAMAGE as error:
        report.findings.append(Finding("file", FILE, f"cannot be read: {error}", _EVALUATE))
    return report


def check_folder(data: DataFolder, progress: ProgressCallback | None = None) -> list[StoreReport]:
    """Check the catalog of a data folder and everything in it.

    Parameters
    ----------
    data
        The data folder.
    progress
        Called after each variable of a store.

    Returns
    -------
    list of StoreReport
        That of the catalog first.
    """
    shared = SharedStores.of(data)
    if shared is not None:
        shared.fetch_all()
    reports = [check_catalog(data)]
    for part, suffix in (
        ("analyses", ".zarr"),
        ("climatology", ".zarr"),
        ("models", ""),
        ("forecasts", ".zarr"),
        ("evaluations", ""),
    ):
        for path in sorted((data.root / part).glob(f"[!.]*{suffix}")):
            if not path.is_dir():
                continue
            try:
                if part == "models":
                    report = check_model(path)
                elif part == "evaluations":
                    report = check_evaluation(path)
                elif is_shared(path):
                    continue  # its copy is checked, which has all its chunks
                else:
                    report = check_store(path, progress)
            except InputError as error:
                report = StoreReport(str(path))
                report.findings.append(Finding("metadata", path.name, error.message))
            reports.append(report)
    if shared is not None:
        reports += check_shared(shared, progress)
    return reports


def check_shared(
    shared: SharedStores, progress: ProgressCallback | None = None
) -> list[StoreReport]:
    """Read every object of the shared stores and compare it with its digest.

    Parameters
    ----------
    shared
        The shared stores.
    progress
        Called after each entry.

    Returns
    -------
    list of StoreReport
        One for each entry.
    """
    reports = []
    for kind in KINDS:
        for name in shared.names(kind):
            report = StoreReport(f"{shared.remote.address}/{kind}/{name}", "shared")
            report.findings += [
                Finding("object", where, problem, _SEND)
                for where, problem in shared.find_damage(kind, name)
            ]
            reports.append(report)
            if progress is not None:
                progress(1, name)
    return reports


def check_catalog(data: DataFolder) -> StoreReport:
    """Compare the catalog of a data folder with the stores that it names.

    Parameters
    ----------
    data
        The data folder.

    Returns
    -------
    StoreReport
        The problems that were found.
    """
    report = StoreReport(data.catalog_url, "catalog")
    if data.catalog_url == str(data.catalog) and not data.catalog.is_file():
        report.findings.append(Finding("catalog", data.catalog.name, "is missing", _REBUILD))
        return report
    try:
        with Catalog(data.catalog_url) as catalog:
            for problem in catalog.find_damage():
                report.findings.append(Finding("catalog", data.catalog.name, problem, _REBUILD))
            if report.is_healthy:
                report.findings += _compare_entries(data, catalog)
    except InputError as error:
        report.findings.append(Finding("catalog", data.catalog.name, error.message, _REBUILD))
    return report


def _compare_entries(data: DataFolder, catalog: Catalog) -> Iterator[Finding]:
    for store in catalog.stores.all():
        if not (data.root / store.path).is_dir():
            yield Finding("entry", store.name, f"{store.kind} {store.path} is missing")
    for model in catalog.models.all():
        if not (data.root / model.path).is_dir():
            yield Finding("entry", model.id, f"model {model.path} is missing")
    succeeded = {run.id: run for run in catalog.runs.iterate(status=Status.SUCCEEDED)}
    for run in succeeded.values():
        yield from _compare_run(data.forecast(run.id), run)
    for path in sorted((data.root / "forecasts").glob("[!.]*.zarr")):
        name = path.stem.partition(".")[0]  # of a statistic too
        if name not in succeeded:
            yield Finding("entry", path.name, "is not a succeeded run of the catalog", _REBUILD)
    for job in catalog.evaluations.iterate(status=Status.SUCCEEDED):
        if not data.evaluation(job.id).is_dir():
            yield Finding("entry", job.id, "the evaluation's folder is missing", _EVALUATE)


def _compare_run(path: Path, run: Run) -> Iterator[Finding]:
    """Compare the times of a run's store with the run."""
    if not path.is_dir():
        yield Finding("entry", run.id, "its store is missing", "submit the run again")
        return
    try:
        dataset = open_store(path)
        init_time = as_utc(dataset["time"].values)[0]
        last = dataset["prediction_timedelta"].values[-1] / np.timedelta64(1, "h")
    except DAMAGE:
        return  # named by the check of the store
    wanted = max(ForecastOptions.from_dict(run.options).leads or (run.lead_hours,))
    if init_time != run.init_time:
        detail = f"its store begins at {to_iso(init_time)}, the run at {to_iso(run.init_time)}"
        yield Finding("entry", run.id, detail, "submit the run again")
    if last != wanted:
        detail = f"its store ends at {last:g} h, the run at {wanted} h"
        yield Finding("entry", run.id, detail, "submit the run again")


def _changed_files(path: Path, remedy: str) -> Iterator[Finding]:
    for name, problem in find_damage(path):
        yield Finding("file", name, problem, remedy)


def _damaged_json(path: Path) -> Iterator[Finding]:
    """Find measurements beside a checkpoint that cannot be read, of one without checksums."""
    for file in sorted(path.glob("*.json")):
        try:
            json.loads(file.read_text())
        except (OSError, ValueError) as error:
            yield Finding("file", file.name, f"cannot be read: {error}", _COPY)
