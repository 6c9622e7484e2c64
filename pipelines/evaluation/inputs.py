"""What an evaluation needs from a data folder: which model, which analysis, which climatology."""

from __future__ import annotations

from pathlib import Path

from pear.errors import InputError, did_you_mean
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder


def pick(folder: Path, name: str | None, what: str, suffix: str = "") -> str:
    """Name of the thing asked for, or of the only one there is.

    Parameters
    ----------
    folder
        Holds one entry per thing, ``NAME`` + ``suffix``.
    name
        What was asked for, if anything.
    what
        Kind of thing and name of its option, for messages.

    Raises
    ------
    InputError
        If it is not there, or none was asked for and there are none or several.
    """
    held = sorted(
        entry.name.removesuffix(suffix)
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name.endswith(suffix) and not entry.name.startswith(".")
    )
    if name is not None:
        if name not in held:
            hint = did_you_mean(name, held) if held else f"there is none in {folder}"
            raise InputError(f"no {what} {name!r}", field=f"--{what}", hint=hint)
        return name
    if len(held) != 1:
        there = "there is none" if not held else f"there are {len(held)}: {', '.join(held)}"
        raise InputError(f"which {what}? {there}", field=f"--{what}", hint=f"give --{what}")
    return held[0]


def climatology_path(data: DataFolder, name: str | None, analysis: str) -> Path:
    """Path of the climatology asked for; else the analysis's own, else the only one.

    Raises
    ------
    InputError
        If there is none, or several and none was asked for.
    """
    own = data.climatology(analysis)
    if name is None and own.is_dir():
        return own
    try:
        return data.climatology(pick(own.parent, name, "climatology", ".zarr"))
    except InputError as error:
        if name is not None or any(own.parent.glob("*.zarr")):
            raise
        raise InputError(
            f"{data.root} has no climatology, and no score is shown without its baselines",
            field="--climatology",
            hint=f"build one: pear climatology --data {data.root} --analysis {analysis}",
        ) from error


def model_path(data: DataFolder, name: str | None) -> Path:
    """Folder of the model asked for, by id or by its name in the catalog; else of the only one.

    Raises
    ------
    InputError
        If there is none, or several and none was asked for.
    """
    folder = data.root / "models"
    if name is not None and not (folder / name).is_dir() and data.catalog.is_file():
        named = [m for m in Catalog(data.catalog_url).models.all() if m.name == name]
        if named:
            return data.root / named[0].path
    return data.model(pick(folder, name, "model"))


def run_path(data: DataFolder, name: str) -> Path:
    """Store of a finished forecast.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    return data.forecast(pick(data.root / "forecasts", name, "runs", ".zarr"))
