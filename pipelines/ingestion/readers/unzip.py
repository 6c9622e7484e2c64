"""Archives: files, or whole Zarr stores, unpacked to a folder within limits."""

from __future__ import annotations

import zipfile
import zlib
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Final

from pear.errors import InputError

_MAX_FILES: Final = 64
_MAX_CHUNKS: Final = 1_000_000
_MAX_UNPACKED_BYTES: Final = 200_000_000_000
_GROUP_FILES: Final = (".zgroup", "zarr.json")


def unpack(path: Path, folder: Path) -> list[tuple[str, Path]]:
    """Unpack a zip of limited size to new names in a folder.

    Parameters
    ----------
    path : Path
        The zip.
    folder : Path
        Where to.

    Returns
    -------
    list of (name, path)
        Each file, or each Zarr store, with its name in the zip; empty for a store at its top.

    Raises
    ------
    InputError
        If it is damaged, too large, or names files outside of itself.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            members = [one for one in members if not one.filename.startswith("__MACOSX/")]
            stores = _stores(members)
            limit = _MAX_CHUNKS if stores else _MAX_FILES
            if len(members) > limit:
                raise InputError(
                    f"{path} has {len(members)} files, more than {limit}", field="file"
                )
            if sum(member.file_size for member in members) > _MAX_UNPACKED_BYTES:
                raise InputError(f"{path} unpacks to more than 200 GB", field="file")
            return _extract(archive, members, stores, path, folder)
    except (
        *(zipfile.BadZipFile, NotImplementedError, RuntimeError, UnicodeDecodeError),
        *(zlib.error, LZMAError, EOFError),
    ) as error:
        raise InputError(f"{path} is a damaged zip: {error}", field="file") from error


def _stores(members: list[zipfile.ZipInfo]) -> list[PurePosixPath]:
    """Return the outermost folders that are Zarr stores."""
    found = [PurePosixPath(one.filename) for one in members]
    groups = sorted({one.parent for one in found if one.name in _GROUP_FILES})
    return [one for one in groups if not any(other in one.parents for other in groups)]


def _extract(
    archive: zipfile.ZipFile,
    members: list[zipfile.ZipInfo],
    stores: list[PurePosixPath],
    path: Path,
    folder: Path,
) -> list[tuple[str, Path]]:
    out = [(str(one) if one.name else "", folder / f"{path.stem}.d" / one) for one in stores]
    total = 0
    for index, member in enumerate(members):
        name = PurePosixPath(member.filename)
        if any(store in name.parents for store in stores):
            if name.is_absolute() or ".." in name.parts:
                raise InputError(f"{path} names a file outside of itself: {name}", field="file")
            target = folder / f"{path.stem}.d" / name
            target.parent.mkdir(parents=True, exist_ok=True)
        else:
            target = folder / f"{path.stem}-{index:02d}-{name.name}"
            out.append((name.name, target))
        with archive.open(member) as packed, target.open("wb") as file:
            while block := packed.read(1 << 20):  # sizes in the directory may be false
                total += len(block)
                if total > _MAX_UNPACKED_BYTES:
                    raise InputError(f"{path} unpacks to more than 200 GB", field="file")
                file.write(block)
    return out
