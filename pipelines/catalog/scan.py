"""Bring the catalog up to date with what lies in the data folder, and put new models there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pear.errors import InputError
from pear.store.reader import read_completeness, stored_layout
from pipelines.catalog import Catalog, Model
from pipelines.storage.atomic import publish, sync_folder
from pipelines.storage.data_folder import DataFolder

_EQUIVARIANCE = "equivariance.json"


def refresh(data: DataFolder, catalog: Catalog) -> None:
    """Enter every analysis and every model of the folder that the catalog does not know yet.

    What is no store, or half of one, is passed over here; asking for it says what is wrong.
    """
    for path in sorted((data.root / "analyses").glob("[!.]*.zarr")):
        try:
            _, layout, nside = stored_layout(path)
            times, complete, _ = read_completeness(path)
        except (InputError, OSError, KeyError):
            continue
        whole = int((complete == 1).all(axis=1).sum()) if complete.size else 0
        known = {store.name: store for store in catalog.stores("analysis")}.get(path.stem)
        attributes = {
            "variables": list(layout.names),
            "levels": list(layout.levels),
            "complete_times": whole,
        }
        if known is not None and known.times == len(times) and known.attributes == attributes:
            continue
        catalog.add_store(
            path.stem, f"analyses/{path.name}", nside=nside, times=times, attributes=attributes
        )
    registered = {model.id for model in catalog.models()}
    for folder in sorted((data.root / "models").glob("[!.]*")):
        if folder.name not in registered and (folder / "checkpoint.json").is_file():
            _enter(catalog, folder, f"models/{folder.name}")


def add_model(data: DataFolder, catalog: Catalog, source: Path, name: str | None = None) -> Model:
    """Copy a checkpoint into the data folder and enter it; the same one twice is one.

    Its equivariance error is measured on the way and kept beside it.

    Raises
    ------
    InputError
        If the folder is no checkpoint, or its files do not match its manifest.
    """
    from pear.models import checkpoint  # loads torch: only where a model is looked at
    from pear.models.diagnostics import equivariance_errors

    found = checkpoint.load(source)
    target = data.model(found.id)
    if not target.exists():
        hidden = target.parent / f".{found.id}.new"
        shutil.rmtree(hidden, ignore_errors=True)
        shutil.copytree(source, hidden)
        (hidden / _EQUIVARIANCE).write_text(json.dumps(equivariance_errors(found.model)))
        publish(hidden, target)
        sync_folder(target.parent)
    return _enter(catalog, target, f"models/{found.id}", name)


def _enter(catalog: Catalog, folder: Path, path: str, name: str | None = None) -> Model:
    facts = _facts(folder)
    config = facts["config"]
    return catalog.add_model(
        facts["sha256"],
        path,
        nside=int(config["nside"]),
        step_hours=int(config.get("step_hours", 24)),
        name=name or facts["provenance"].get("name"),
        attributes={
            "layout": config["layout"],
            "config": config,
            "provenance": facts["provenance"],
            **_measured(folder),
        },
    )


def _measured(folder: Path) -> dict[str, Any]:
    """What was measured of a model when it was added; a folder put there by hand has none."""
    try:
        return {"equivariance": json.loads((folder / _EQUIVARIANCE).read_text())}
    except (OSError, ValueError):
        return {}


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / "checkpoint.json").read_text())
        return {key: facts[key] for key in ("sha256", "config", "provenance")}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} holds no checkpoint of PEAR", field="model") from error
