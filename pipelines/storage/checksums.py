"""SHA-256 of the files of a folder that is written once: an evaluation, a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pear.errors import InputError

CHECKSUMS: Final = "SHA256SUMS"
"""File with the SHA-256 of the other files of a folder."""


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of each file of a folder, as ``sha256sum`` reads them."""
    names = sorted(file.name for file in folder.iterdir() if file.is_file())
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in names if name != CHECKSUMS]
    (folder / CHECKSUMS).write_text("".join(lines))


def find_damage(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the files that do not agree with their checksums, if there are any checksums.

    Parameters
    ----------
    folder
        The folder.

    Yields
    ------
    name, problem
        Such as ``("scores.nc", "is missing")``.
    """
    try:
        lines = (folder / CHECKSUMS).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        digest, _, name = line.partition("  ")
        file = folder / Path(name).name
        if not file.is_file():
            yield name, "is missing"
        elif _sha256(file) != digest:
            yield name, "does not agree with its checksum"


def check_files(folder: Path) -> None:
    """Compare the files of an evaluation with their checksums, if it has any.

    Raises
    ------
    InputError
        If a file is lost or changed.
    """
    for name, problem in find_damage(folder):
        raise InputError(
            f"{folder.name}: {name} {problem}",
            field="evaluation",
            hint="evaluate again with `pear evaluate`",
        )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
