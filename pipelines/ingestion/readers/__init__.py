"""Readers: any file or address to slabs of fields, by what it holds and not by its name."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xarray as xr

from pear.datasets.base import Fields, Scan, ScanOptions, SourceVariable
from pear.datasets.xarray import InMemory, open_cached, scan_dataset
from pear.errors import InputError

__all__ = ["Fields", "Scan", "ScanOptions", "SourceVariable", "is_address", "scan_source", "sniff"]

_HEAD_BYTES: Final = 4096
_MOST_MEMBERS: Final = 64
_MOST_UNPACKED: Final = 200_000_000_000


@dataclass(frozen=True)
class NetcdfFile:
    """An opener of a NetCDF file; ``stamp`` tells a changed file from the one that was scanned."""

    path: str
    stamp: int
    label: str

    def open(self) -> xr.Dataset:
        """Open it lazily, decoded."""
        try:
            with warnings.catch_warnings():
                # An odd _FillValue is dropped by xarray; bad values are found by our own checks.
                warnings.simplefilter("ignore", xr.SerializationWarning)
                return xr.open_dataset(
                    self.path, engine="netcdf4", decode_timedelta=False, cache=False
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.label} is a damaged NetCDF file: {error}", field="file"
            ) from error


@dataclass(frozen=True)
class ZarrStore:
    """An opener of a Zarr store in a folder or at an fsspec address."""

    address: str

    def open(self) -> xr.Dataset:
        """Open it lazily, decoded."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # no consolidated metadata
                dataset: xr.Dataset = xr.open_zarr(
                    self.address,
                    chunks=None,
                    decode_timedelta=False,
                )
                return dataset
        except Exception as error:  # fsspec back ends raise errors of their own kinds
            raise InputError(
                f"{self.address} cannot be opened as Zarr: {error}", field="source"
            ) from error


def is_address(source: str) -> bool:
    """Whether a source is an fsspec address and not a path."""
    return "://" in source


def scan_source(
    source: str | Path | xr.Dataset, options: ScanOptions, unpack_to: Callable[[], Path]
) -> Iterator[Scan]:
    """List what a source holds; an archive gives one scan per member.

    Parameters
    ----------
    source
        A file, a Zarr folder or address, or a dataset in memory.
    unpack_to
        Gives the folder for the members of archives; it must outlive the reading.

    Raises
    ------
    InputError
        If it cannot be used, with the reason.
    """
    if isinstance(source, xr.Dataset):
        yield scan_dataset(InMemory(source), "dataset in memory", "xarray", options)
        return
    if is_address(str(source)):
        yield scan_dataset(ZarrStore(str(source)), str(source), "Zarr", options)
        return
    path = Path(source)
    if sniff(path) != "zip":
        yield _scan_file(path, str(path), options)
        return
    for name, member in _unpack(path, unpack_to()):
        label = f"{path}!{name}"
        try:
            yield _scan_file(member, label, options)
        except InputError as error:
            yield Scan(label, "", faults=[error])


def _scan_file(path: Path, label: str, options: ScanOptions) -> Scan:
    """Scan one file; ``label`` names it in messages."""
    kind = sniff(path, label)
    if kind == "Zarr":
        return scan_dataset(ZarrStore(str(path)), label, kind, options)
    if kind == "GRIB":
        from pipelines.ingestion.readers.grib import scan_grib

        return scan_grib(path, label, options)
    if kind == "zip":
        raise InputError(f"{label} is a zip inside a zip", field="file", hint="unpack it first")
    opener = NetcdfFile(str(path), path.stat().st_mtime_ns, label)
    try:
        return scan_dataset(opener, label, kind, options)
    finally:
        open_cached(opener).close()  # thousands of files are scanned; each is opened again to read


def sniff(path: Path, label: str = "") -> str:
    """Tell the format by its first bytes: NetCDF, GRIB, zip or Zarr; ``label`` names the file.

    Raises
    ------
    InputError
        If there is no such file, or it is none of these; says what it looks like.
    """
    label = label or str(path)
    if path.is_dir():
        if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata")):
            return "Zarr"
        raise InputError(f"{label} is a folder and no Zarr store", field="file")
    if not path.is_file():
        raise InputError(f"no such file: {label}", field="file")
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF\r\n\x1a\n")):
        return "NetCDF"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if b"GRIB" in head and not _looks_like_text(head):
        return "GRIB"
    if not head:
        raise InputError(f"{label} is empty", field="file")
    if b"<html" in head.lower() or b"<!doctype" in head.lower():
        raise InputError(
            f"{label} is a web page, not data",
            field="file",
            hint="the download failed; fetch the file again",
        )
    what = "text" if _looks_like_text(head) else "no format PEAR knows"
    raise InputError(
        f"{label} is {what}, not data", field="file", hint="PEAR reads NetCDF, GRIB, zip and Zarr"
    )


def _looks_like_text(head: bytes) -> bool:
    try:
        text = head[:512].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\r\n\t\f" for c in text)


def _unpack(path: Path, folder: Path) -> list[tuple[str, Path]]:
    """Unpack a zip to files with names of our own, (name, file); sizes are checked on the way."""
    out: list[tuple[str, Path]] = []
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len(members) > _MOST_MEMBERS:
                raise InputError(f"{path} holds {len(members)} files, too many", field="file")
            if sum(m.file_size for m in members) > _MOST_UNPACKED:
                raise InputError(f"{path} unpacks to more than 200 GB", field="file")
            for index, member in enumerate(members):
                name = Path(member.filename).name
                target = folder / f"{path.stem}-{index:02d}-{name}"
                with archive.open(member) as packed, target.open("wb") as file:
                    while block := packed.read(1 << 20):
                        total += len(block)
                        if total > _MOST_UNPACKED:
                            raise InputError(f"{path} unpacks without end", field="file")
                        file.write(block)
                out.append((name, target))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path} is a damaged zip: {error}", field="file") from error
    return out
