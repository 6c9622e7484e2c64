"""Rebuilding of a catalog from what is in the data folder."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import xarray as xr

from pear.errors import InputError
from pear.store import metadata
from pear.store.attributes import read_json
from pear.store.climatology import Climatology
from pear.store.reader import open_store
from pear.times import as_utc
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.database import is_sound
from pipelines.catalog.errors import NotFoundError
from pipelines.catalog.identity import run_id
from pipelines.catalog.scan import refresh
from pipelines.logging import logger
from pipelines.storage.checksums import find_damage
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import SharedStores

_RUN = re.compile(r"\d{8}T\d{4}-(\d+)h-[0-9a-f]{12}")
_SIDECARS = ("", "-wal", "-shm")


def rebuild_catalog(data: DataFolder) -> tuple[Counter[str], list[str]]:
    """Enter the analyses, models, climatologies, finished runs and evaluations of a data folder.

    What other hosts have shared is fetched before. A catalog that cannot be used is moved aside
    first; of one that can be used, all entries stay. Schedules, and runs that had not finished, are
    in the catalog alone: they are kept only with it.

    Parameters
    ----------
    data
        The data folder.

    Returns
    -------
    entered, skipped
        Number of new entries by kind; what could not be entered, and why.
    """
    data.require_writable()
    moved = _move_aside(data)
    notes = [f"damaged catalog kept as {moved.name}"] if moved is not None else []
    shared = SharedStores.of(data)
    if shared is not None:
        notes += shared.fetch_all()
    with Catalog(data.catalog_url) as catalog:
        entered, skipped = enter_all(data, catalog)
    return entered, notes + skipped


def open_catalog(data: DataFolder, url: str | None = None) -> Catalog:
    """Open the catalog of a data folder; one that had to be made elsewhere lists what is found.

    Parameters
    ----------
    data
        The data folder.
    url
        URL of the catalog (default: that of the folder).

    Returns
    -------
    Catalog
        To be closed by the caller.
    """
    catalog = Catalog(url or data.catalog_url)
    if catalog.temporary:
        _, skipped = enter_all(data, catalog)
        for problem in skipped:
            logger(root=str(data.root)).warning("not listed", problem=problem)
    elif not catalog.read_only:
        enter_evaluations(data, catalog)
    return catalog


def enter_evaluations(data: DataFolder, catalog: Catalog) -> None:
    """Enter the evaluations on disk that the catalog lacks: those of `pear evaluate`.

    The catalog owns the list of what has been evaluated, whoever did it; damaged ones are logged.

    Parameters
    ----------
    data, catalog
        The data folder and its catalog.
    """
    for problem in _enter_evaluations(data, catalog):
        if problem is not None:
            logger(root=str(data.root)).warning("not listed", problem=problem)


def enter_all(data: DataFolder, catalog: Catalog) -> tuple[Counter[str], list[str]]:
    """Enter what is found in a data folder and the catalog lacks.

    Parameters
    ----------
    data, catalog
        The data folder and its catalog.

    Returns
    -------
    entered, skipped
        Number of new entries by kind; what could not be entered, and why.
    """
    entered, skipped = Counter[str](), list[str]()
    before = len(catalog.stores.all("analysis")), len(catalog.models.all())
    refresh(data, catalog)
    entered["analyses"] = len(catalog.stores.all("analysis")) - before[0]
    entered["models"] = len(catalog.models.all()) - before[1]
    for kind, enter in _KINDS:
        for problem in enter(data, catalog):
            if problem is None:
                entered[kind] += 1
            else:
                skipped.append(problem)
    return entered, skipped


def _move_aside(data: DataFolder) -> Path | None:
    """Rename a SQLite catalog that cannot be read; return its new path."""
    if data.catalog_url != str(data.catalog) or not data.catalog.exists():
        return None
    if is_sound(data.catalog):
        return None
    number = 1
    while (kept := data.catalog.with_name(f"catalog.damaged-{number}.sqlite")).exists():
        number += 1
    for suffix in _SIDECARS:
        file = data.catalog.with_name(data.catalog.name + suffix)
        if file.exists():
            file.rename(kept.with_name(kept.name + suffix))
    return kept


def _enter_climatologies(data: DataFolder, catalog: Catalog) -> Iterator[str | None]:
    known = {store.name for store in catalog.stores.all("climatology")}
    for path in sorted((data.root / "climatology").glob("[!.]*.zarr")):
        if path.stem in known:
            continue
        try:
            found = Climatology.open(path)
        except (InputError, OSError) as error:
            yield f"climatology {path.stem}: {_text(error)}"
            continue
        attributes = {
            "kind": found.kind,
            "period": list(found.period),
            "variables": list(found.layout.names),
        }
        catalog.stores.add(
            path.stem,
            f"climatology/{path.name}",
            nside=found.nside,
            kind="climatology",
            attributes=attributes,
        )
        yield None


def _enter_runs(data: DataFolder, catalog: Catalog) -> Iterator[str | None]:
    for path in sorted((data.root / "forecasts").glob("[!.]*.zarr")):
        name = path.stem
        match = _RUN.fullmatch(name)
        if match is None:  # a statistic or a member of a run
            continue
        try:
            catalog.runs.get(name)
        except NotFoundError:
            pass
        else:
            continue
        try:
            attributes = metadata.read_intact(path)["attributes"]
            init_time = as_utc(open_store(path)["time"].values)[0]
            sha256, options = str(attributes["model_sha256"]), read_json(attributes["options"])
            lead_hours = int(match[1])
            if run_id(sha256, init_time, lead_hours, options) != name:
                yield f"run {name}: its attributes are those of another run"
                continue
            catalog.runs.restore(sha256, init_time, lead_hours, options)
        except KeyError as error:
            yield f"run {name}: its attributes lack {error}"
        except (InputError, OSError) as error:
            yield f"run {name}: {_text(error)}"
        else:
            yield None


def _text(error: Exception) -> str:
    return " ".join(str(error).split())


def _enter_evaluations(data: DataFolder, catalog: Catalog) -> Iterator[str | None]:
    for path in sorted((data.root / "evaluations").glob("[!.]*")):
        name = path.name
        if not path.is_dir() or not any(path.iterdir()):
            continue
        try:
            catalog.evaluations.get(name)
        except NotFoundError:
            pass
        else:
            continue
        damage = [f"{file} {problem}" for file, problem in find_damage(path)]
        if damage:
            yield f"evaluation {name} is damaged: {damage[0]}"
            continue
        try:
            about, total = _read_about(path)
            catalog.evaluations.restore(name, str(about["model"])[:64], about, total)
        except FileNotFoundError:
            yield f"evaluation {name} is damaged: scores are missing"
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield f"evaluation {name} is damaged: {_text(error)}"
        else:
            yield None


def _read_about(path: Path) -> tuple[dict[str, Any], int]:
    """Return the request of an evaluation, or what it says of itself, and its init times."""
    if not (path / "scores.nc").is_file():  # of an earlier version
        about = json.loads((path / "scores.json").read_text())
        return {name: about[name] for name in ("model", "climatology")}, 1
    with xr.open_dataset(path / "scores.nc", engine="netcdf4", decode_timedelta=True) as scores:
        total = max(1, int(scores.sizes.get("time", 1)))
        if "request" in scores.attrs:
            request = dict(json.loads(scores.attrs["request"]))
            return request | {"model": scores.attrs["model"]}, total
        names = ("model", "analysis", "climatology", "lead_hours", "options")
        kept = {name: scores.attrs[name] for name in names if name in scores.attrs}
    if "lead_hours" in kept:
        kept["lead_hours"] = int(kept["lead_hours"])
    if "options" in kept:
        kept["options"] = json.loads(kept["options"])
    return kept, total


_KINDS: Final = (
    ("climatologies", _enter_climatologies),
    ("runs", _enter_runs),
    ("evaluations", _enter_evaluations),
)
