"""Scan of a data folder: adds its stores and models to the catalog."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pear.errors import InputError
from pear.store.reader import read_completeness, stored_layout
from pear.variables.own import DEFINITIONS
from pipelines.catalog import Catalog, Model
from pipelines.catalog.installed_models import add_installed_entry, is_installed
from pipelines.storage.atomic import publish, sync_folder
from pipelines.storage.checksums import find_damage, write_checksums
from pipelines.storage.data_folder import DataFolder

_EQUIVARIANCE = "equivariance.json"


def refresh(data: DataFolder, catalog: Catalog) -> None:
    """Add the analyses and models of the folder that the catalog lacks; update grown analyses.

    A catalog that cannot be written stays as it is. Folders that cannot be read are skipped;
    opening them by name reports what is wrong.

    Parameters
    ----------
    data
        The data folder.
    catalog
        Its catalog.
    """
    if catalog.read_only:
        return
    stores = {store.name: store for store in catalog.stores.all("analysis")}
    for path in sorted((data.root / "analyses").glob("[!.]*.zarr")):
        try:
            _, layout, nside = stored_layout(path)
            times, complete, _ = read_completeness(path)
        except (InputError, OSError, KeyError):
            continue
        attributes = {
            "variables": list(layout.names),
            "levels": list(layout.levels),
            "complete_times": int((complete == 1).all(axis=1).sum()) if complete.size else 0,
        }
        known = stores.get(path.stem)
        if known is not None and known.times == len(times) and known.attributes == attributes:
            continue
        catalog.stores.add(
            path.stem, f"analyses/{path.name}", nside=nside, times=times, attributes=attributes
        )
    known_models = {model.id for model in catalog.models.all()}
    for folder in sorted((data.root / "models").glob("[!.]*")):
        if folder.name in known_models:
            continue
        if (folder / "checkpoint.json").is_file():
            _add_entry(catalog, folder)
        elif is_installed(folder):
            with suppress(InputError):  # opening it by name reports what is wrong
                add_installed_entry(catalog, folder)


def add_model(data: DataFolder, catalog: Catalog, source: Path, name: str | None = None) -> Model:
    """Copy a checkpoint into the data folder and add it to the catalog.

    A folder that is not a checkpoint, or does not match its manifest, raises InputError. Its
    equivariance error is measured and stored beside it. Adding a checkpoint again only updates
    its entry.

    Parameters
    ----------
    data
        The data folder.
    catalog
        Its catalog.
    source
        Folder of the checkpoint.
    name
        Name of the model; default: the one in the checkpoint, or its id.

    Returns
    -------
    Model
        The entry.
    """
    from pear.models import checkpoint  # imports torch, which most users of this module do not need
    from pear.models.diagnostics import equivariance_errors

    found = checkpoint.load(source)
    target = data.model(found.id)
    if not target.exists():
        hidden = target.parent / f".{found.id}.new"
        shutil.rmtree(hidden, ignore_errors=True)
        shutil.copytree(source, hidden)
        (hidden / _EQUIVARIANCE).write_text(json.dumps(equivariance_errors(found.model)))
        write_checksums(hidden)
        publish(hidden, target)
        sync_folder(target.parent)
    return _add_entry(catalog, target, name)


def _add_entry(catalog: Catalog, folder: Path, name: str | None = None) -> Model:
    try:
        facts: dict[str, Any] = json.loads((folder / "checkpoint.json").read_text())
        sha256, config, provenance = (facts[key] for key in ("sha256", "config", "provenance"))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} is not a checkpoint of PEAR", field="model") from error
    attributes = {"layout": config["layout"], "config": config, "provenance": provenance}
    changed = dict(find_damage(folder))
    if _EQUIVARIANCE in changed:
        detail = f"{_EQUIVARIANCE} {changed[_EQUIVARIANCE]}"
        raise InputError(f"{folder}: {detail}", field="model", hint="copy the model again")
    if "correction" in facts:
        attributes["correction"] = facts["correction"]
    if DEFINITIONS in facts:
        attributes[DEFINITIONS] = facts[DEFINITIONS]
    with suppress(OSError, ValueError):  # not measured: the folder was copied by hand
        attributes["equivariance"] = json.loads((folder / _EQUIVARIANCE).read_text())
    return catalog.models.add(
        sha256,
        f"models/{folder.name}",
        nside=int(config["nside"]),
        step_hours=int(config.get("step_hours", 24)),
        name=name or provenance.get("name"),
        attributes=attributes,
    )
