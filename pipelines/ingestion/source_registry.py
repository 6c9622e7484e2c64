"""Sources by name, as the operator has written them down: ``sources.toml``.

::

    [weatherbench2]
    url = "gs://weatherbench2/datasets/era5/1959-2022-6h-1440x721.zarr"
    storage = { token = "anon" }

The file lies in the data folder, or where ``PEAR_SOURCES`` says.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pear.errors import InputError, did_you_mean


@dataclass(frozen=True)
class NamedSource:
    """A source that an operator has registered.

    Attributes
    ----------
    url
        fsspec address or path.
    storage
        Options for fsspec, such as credentials.
    """

    name: str
    url: str
    storage: tuple[tuple[str, Any], ...] = ()


def registered(folder: Path | None = None) -> dict[str, NamedSource]:
    """Read the operator's sources.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    place = os.environ.get("PEAR_SOURCES")
    path = Path(place) if place else (folder / "sources.toml" if folder else None)
    if path is None or not path.is_file():
        return {}
    try:
        document = tomllib.loads(path.read_text())
        return {
            name: NamedSource(name, str(row["url"]), tuple(row.get("storage", {}).items()))
            for name, row in document.items()
        }
    except (OSError, tomllib.TOMLDecodeError, KeyError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}",
            field="sources",
            hint='write [NAME] and url = "…" below it',
        ) from error


def named(name: str, folder: Path | None = None) -> NamedSource:
    """Look a registered source up.

    Raises
    ------
    InputError
        If none has this name.
    """
    known = registered(folder)
    if name not in known:
        raise InputError(
            f"no source is called {name!r}",
            field="--source",
            hint=did_you_mean(name, ["cds", *known]),
        )
    return known[name]
