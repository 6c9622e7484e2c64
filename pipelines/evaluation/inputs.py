"""Names in a data folder resolved to the model, analysis, climatology and runs to evaluate."""

from __future__ import annotations

from pathlib import Path

from pear.errors import InputError, did_you_mean
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder


def resolve_name(folder: Path, name: str | None, what: str, suffix: str = "") -> str:
    """Return the name given, or that of the only entry of a folder.

    Parameters
    ----------
    folder
        Has one subfolder ``NAME`` + ``suffix`` per entry.
    name
        Name to look for; default: the only one there is.
    what
        Kind of entry and name of its option, for messages.
    suffix
        Ending of the subfolders.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If the name does not exist, or is needed because there is not exactly one entry.
    """
    names = sorted(
        entry.name.removesuffix(suffix)
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name.endswith(suffix) and not entry.name.startswith(".")
    )
    if name is not None:
        if name not in names:
            hint = did_you_mean(name, names) if names else f"there is none in {folder}"
            raise InputError(f"no {what} {name!r}", field=f"--{what}", hint=hint)
        return name
    if len(names) != 1:
        there = "there is none" if not names else f"there are {len(names)}: {', '.join(names)}"
        raise InputError(f"which {what}? {there}", field=f"--{what}", hint=f"give --{what}")
    return names[0]


def climatology_path(data: DataFolder, name: str | None, analysis: str) -> Path:
    """Return the path of a climatology; default: the analysis's own, else the only one.

    Parameters
    ----------
    data
        Data folder.
    name
        Name of the climatology.
    analysis
        Name of the analysis.

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If there is no climatology at all.
    """
    own = data.climatology(analysis)
    if name is None and own.is_dir():
        return own
    if name is None and not any(own.parent.glob("*.zarr")):
        raise InputError(
            f"{data.root} has no climatology, which scores are compared with",
            field="--climatology",
            hint=f"build one: pear climatology --data {data.root} --analysis {analysis}",
        )
    return data.climatology(resolve_name(own.parent, name, "climatology", ".zarr"))


def model_path(data: DataFolder, name: str | None) -> Path:
    """Return the folder of a model, by id or by its name in the catalog; default: the only one."""
    folder = data.root / "models"
    if name is not None and not (folder / name).is_dir() and data.catalog.is_file():
        with Catalog(data.catalog_url) as catalog:
            named = [model for model in catalog.models.all() if model.name == name]
        if named:
            return data.root / named[0].path
    return data.model(resolve_name(folder, name, "model"))


def run_path(data: DataFolder, name: str) -> Path:
    """Return the store of a finished forecast."""
    return data.forecast(resolve_name(data.root / "forecasts", name, "run", ".zarr"))
