"""Forecasters of other packages as models of a data folder.

The folder of such a model holds ``forecaster.json`` instead of a checkpoint: the name of the entry
point and the package with its version, so that a forecast says what computed it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pear.errors import InputError
from pipelines.catalog import Catalog, Model
from pipelines.storage.atomic import write_atomically
from pipelines.storage.data_folder import DataFolder

if TYPE_CHECKING:
    from pear.rollout import OneStepForecaster

FILE: Final = "forecaster.json"
FORECASTERS: Final = "pear.forecasters"
"""Group of entry points, as :data:`pear.rollout.installed.GROUP`, without importing torch."""


def add_installed(data: DataFolder, catalog: Catalog, name: str) -> Model:
    """Add a forecaster of an installed package to a data folder.

    Parameters
    ----------
    data
        The data folder.
    catalog
        Its catalog.
    name
        Name of the entry point.

    Returns
    -------
    Model
        The entry; the same one for the same version of the package.

    Raises
    ------
    InputError
        If the name is unknown, it cannot be loaded, or its step is not of whole hours.
    """
    from pear.rollout.installed import find_installed, load_installed  # these import torch

    found, forecaster = find_installed(name), load_installed(name)
    layout = forecaster.layout
    seconds = int(forecaster.time_step.astype("timedelta64[s]").astype(int))
    if seconds % 3600:
        raise InputError(
            f"forecaster {found} has a step of {seconds} s, not of whole hours", field="model"
        )
    facts = {
        "forecaster": name,
        "package": found.package,
        "version": found.version,
        "layout": {"surface": layout.surface, "upper": layout.upper, "levels": layout.levels},
        "nside": forecaster.nside,
        "step_hours": seconds // 3600,
    }
    text = json.dumps(facts, indent=1, sort_keys=True)
    folder = data.model(hashlib.sha256(text.encode()).hexdigest()[:12])
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FILE, text.encode())
    return add_installed_entry(catalog, folder)


def add_installed_entry(catalog: Catalog, folder: Path) -> Model:
    """Enter the model of a folder with ``forecaster.json`` into a catalog.

    Parameters
    ----------
    catalog
        The catalog.
    folder
        The folder.

    Returns
    -------
    Model
        The entry.
    """
    facts, sha256 = read_installed(folder)
    origin = f"{facts['package']} {facts['version']}"
    return catalog.models.add(
        sha256,
        f"models/{folder.name}",
        nside=int(facts["nside"]),
        step_hours=int(facts["step_hours"]),
        name=facts["forecaster"],
        attributes={
            "layout": facts["layout"],
            "forecaster": facts["forecaster"],
            "config": {},
            "provenance": {"name": facts["forecaster"], "package": origin},
        },
    )


def read_installed(folder: Path) -> tuple[dict[str, Any], str]:
    """Read what a data folder knows of a forecaster of another package.

    Parameters
    ----------
    folder
        Folder of the model.

    Returns
    -------
    facts, sha256
        As written, and the digest that identifies the model.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    try:
        text = (folder / FILE).read_bytes()
        facts: dict[str, Any] = json.loads(text)
        digest = hashlib.sha256(text).hexdigest()
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / FILE} cannot be read: {error}", field="model") from error
    if not digest.startswith(folder.name):
        raise InputError(
            f"{folder / FILE} is damaged: its digest is {digest[:12]}, not {folder.name}",
            field="model",
            hint="remove the folder, and add the model again with `pear models add`",
        )
    return facts, digest


def is_installed(folder: Path) -> bool:
    """Return whether the folder of a model names a forecaster of another package."""
    return (folder / FILE).is_file()


def open_installed(folder: Path, device: str = "cpu") -> OneStepForecaster:
    """Load the forecaster of a folder with ``forecaster.json``.

    Parameters
    ----------
    folder
        The folder.
    device
        Where it computes.

    Returns
    -------
    OneStepForecaster
        Of the version that was added.

    Raises
    ------
    InputError
        If it cannot be loaded, or another version is installed.
    """
    from pear.rollout.installed import find_installed, load_installed

    facts, _ = read_installed(folder)
    found = find_installed(facts["forecaster"])
    if (found.package, found.version) != (facts["package"], facts["version"]):
        raise InputError(
            f"model {folder.name} is {facts['forecaster']} of {facts['package']} "
            f"{facts['version']}, and {found.package} {found.version} is installed",
            field="model",
            hint=f"add that version with `pear models add {facts['forecaster']}`",
        )
    return load_installed(facts["forecaster"], device)
