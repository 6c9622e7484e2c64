"""Readers: the contents of any file or address, by its format and not by its name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import netCDF4
import xarray as xr
from zarr.storage import LocalStore

from pear.addresses import is_address, without_secrets
from pear.datasets.base import Fields, Scan, ScanOptions, SourceVariable
from pear.datasets.declared_packing import open_unpacked
from pear.datasets.decoding import decoding
from pear.datasets.xarray import InMemory, open_cached, scan_dataset
from pear.errors import InputError
from pear.grib_library import import_before_xarray
from pipelines.ingestion.readers.cut_short import require_whole
from pipelines.ingestion.readers.grib import scan_grib
from pipelines.ingestion.readers.grib_sections import find_messages
from pipelines.ingestion.readers.hdf5_probe import PROBER
from pipelines.ingestion.readers.hierarchy import choose_group, inherit, list_groups
from pipelines.ingestion.readers.references import ParquetReferences, References, holds_records
from pipelines.ingestion.readers.remote import (
    Icechunk,
    RemoteStore,
    RemoteZarr,
    find_store,
    is_icechunk,
)
from pipelines.ingestion.readers.unzip import unpack
from pipelines.ingestion.readers.zarr_chunks import (
    SoundStore,
    find_nameless,
    refuse_missing_chunks,
    require_current_metadata,
)
from pipelines.ingestion.remote_files import FileCache

__all__ = ["Fields", "Scan", "ScanOptions", "SourceVariable", "detect_format", "scan_source"]

_HEAD_BYTES: Final = 4096
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_NETCDF: Final = (b"CDF\x01", b"CDF\x02", b"CDF\x05", _HDF5)


_PACKED: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x9d": "compress",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
}


@dataclass(frozen=True)
class NetcdfFile:
    """Opener of a NetCDF file.

    Attributes
    ----------
    path : str
        The file.
    stamp : int
        Time of its last change, so that a changed file is opened again.
    label : str
        Its name in messages.
    group : str
        Path of a group in it; empty for the root.
    """

    path: str
    stamp: int
    label: str
    group: str = ""

    def in_group(self, group: str) -> NetcdfFile:
        """Return the opener of a group."""
        return replace(self, group=group)

    def groups(self) -> list[str]:
        """Return the paths of all groups below the root."""
        with netCDF4.Dataset(self.path) as file:
            return list(_walk(file))

    def open(self) -> xr.Dataset:
        """Open the file lazily, decoded."""
        try:
            with warnings.catch_warnings():
                # xarray drops an odd _FillValue; bad values are found by the check of each field.
                warnings.simplefilter("ignore", xr.SerializationWarning)
                root = self._open("")
                return inherit(self._open(self.group), root) if self.group else root
        except InputError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{self.label} is a damaged NetCDF file: {error}", field="file"
            ) from error

    def _open(self, group: str) -> xr.Dataset:
        import_before_xarray()
        opening = partial(
            xr.open_dataset,
            self.path,
            engine="netcdf4",
            decode_times=False,
            cache=False,
            group=group or None,
        )
        return open_unpacked(opening, self.label)


def _walk(group: netCDF4.Dataset) -> Iterator[str]:
    """Yield the paths of the groups below a group of a NetCDF file."""
    for child in group.groups.values():
        yield child.path.lstrip("/")
        yield from _walk(child)


@dataclass(frozen=True)
class ZarrStore:
    """Opener of a Zarr store in a folder.

    Attributes
    ----------
    path : str
        The folder.
    label : str
        Its name in messages.
    group : str
        Path of a group in it; empty for the root.
    """

    path: str
    label: str
    group: str = ""

    def in_group(self, group: str) -> ZarrStore:
        """Return the opener of a group."""
        return replace(self, group=group)

    def groups(self) -> list[str]:
        """Return the paths of all groups below the root."""
        return list_groups(self.path)

    def open(self) -> xr.Dataset:
        """Open the store lazily, decoded; times stay numbers."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # no consolidated metadata, odd fill values
                root = self._open("")
                return inherit(self._open(self.group), root) if self.group else root
        except InputError:
            raise
        except Exception as error:  # each codec raises errors of its own kinds
            if nameless := find_nameless(Path(self.path)):
                raise InputError(
                    f"{self.label} cannot be opened: its array {nameless} does not name its "
                    "dimensions",
                    field="source",
                    hint="write their names into _ARRAY_DIMENSIONS (Zarr 2) or dimension_names",
                ) from error
            raise InputError(
                f"{self.label} cannot be opened as Zarr: {error}", field="source"
            ) from error

    def _open(self, group: str) -> xr.Dataset:
        import_before_xarray()
        store = SoundStore(LocalStore(self.path, read_only=True))
        opening = partial(xr.open_zarr, store, chunks=None, decode_times=False, group=group or None)
        return open_unpacked(opening, self.label)


def scan_source(
    source: str | Path | xr.Dataset,
    options: ScanOptions,
    unpack_folder: Callable[[], Path],
    files: FileCache | None = None,
) -> Iterator[Scan]:
    """Scan a source; an archive gives one scan for each member.

    A source that cannot be used raises InputError, a server that fails OSError.

    Parameters
    ----------
    source : str, Path or Dataset
        A file, a Zarr folder, their address, or a dataset in memory.
    options : ScanOptions
        Options of the readers.
    unpack_folder : callable
        Returns the folder for members of archives, which must exist while they are read.
    files : FileCache, optional
        Folder for files of servers, open while they are read; default: that of the environment.

    Yields
    ------
    Scan
        Contents.
    """
    if isinstance(source, xr.Dataset):
        label = name_of(source)
        yield scan_dataset(InMemory(source), label, "xarray", options)
        return
    address = str(source)
    label = without_secrets(address)
    if is_address(address) and not address.startswith("file://"):
        store = find_store(address)
        if store is not None:
            with decoding(label):
                scan = _scan_store(store, label, options)
            yield scan
            return
        path = (FileCache.from_environment() if files is None else files).fetch(address)
    else:
        path = _path_of(address) if is_address(address) else Path(source)
        label = address = str(path)
    if detect_format(path, label) != "zip":
        with decoding(label):
            scan = _scan_file(path, label, options, address)
        yield scan
        return
    with decoding(label):
        members = list(unpack(path, unpack_folder()))
    for name, member in members:
        inner = f"{label}!{name}" if name else label
        try:
            with decoding(inner):
                scan = _scan_file(member, inner, options, str(member))
            yield scan
        except InputError as error:
            yield Scan(inner, "", faults=[error])


def _scan_store(store: RemoteStore, label: str, options: ScanOptions) -> Scan:
    """Scan a store at an address, and note what it was then."""
    if isinstance(store, Icechunk):
        return scan_dataset(store.at_newest(), label, "Icechunk", options)
    check, note, kind = store.check_changes(), "", "references"
    if isinstance(store, RemoteZarr):
        opener, note = choose_group(store, options.nside)
        if not opener.group and not open_cached(opener).variables:
            store.require_listed()
        check, store, kind = check if opener == store else opener.check_changes(), opener, "Zarr"
    scan = scan_dataset(store, label, kind, options)
    scan.note(note)
    scan.require_unchanged = check
    return scan


def name_of(source: str | Path | xr.Dataset) -> str:
    """Return the name of a source in messages, without secrets; of a dataset where it is from."""
    if isinstance(source, xr.Dataset):
        return without_secrets(str(source.encoding.get("source") or "dataset in memory"))
    return without_secrets(str(source))


def _path_of(address: str) -> Path:
    """Return the path of a file:// address on this machine."""
    parts = urlsplit(address)
    if parts.netloc not in ("", "localhost"):
        raise InputError(
            f"{address} is on the machine {parts.netloc!r}", field="source", hint="write a path"
        )
    return Path(url2pathname(parts.path))


def _scan_file(path: Path, label: str, options: ScanOptions, origin: str) -> Scan:
    """Scan one file; ``label`` is its name in messages, ``origin`` where it came from."""
    kind = detect_format(path, label)
    if kind == "Icechunk":
        return scan_dataset(Icechunk(str(path)).at_newest(), label, kind, options)
    if kind == "references":
        references: References | ParquetReferences
        if path.is_dir():
            stamp = (path / ".zmetadata").stat().st_mtime_ns
            references = ParquetReferences(str(path), stamp=stamp)
        else:
            references = References(str(path), origin, path.stat().st_mtime_ns)
        check = references.check_changes()
        scan = scan_dataset(references, label, kind, options)
        scan.require_unchanged = check
        return scan
    if kind == "Zarr":
        require_current_metadata(path, label)
        store, note = choose_group(ZarrStore(str(path), label), options.nside)
        scan = scan_dataset(store, label, kind, options)
        scan.note(note)
        refuse_missing_chunks(path / store.group, scan)
        return scan
    if kind == "GRIB":
        return _scan_grib_file(path, label, options)
    if kind == "zip":
        raise InputError(f"{label} is a zip inside a zip", field="file", hint="unpack it first")
    require_whole(path, label)
    with path.open("rb") as file:
        is_hdf5 = file.read(len(_HDF5)) == _HDF5
    if is_hdf5 and (fault := PROBER.find_fault(path)):
        raise InputError(
            f"{label} is a damaged NetCDF file: {fault}", field="file", hint="download it again"
        )
    root = NetcdfFile(str(path), path.stat().st_mtime_ns, label)
    opener, note = choose_group(root, options.nside)
    try:
        if not open_cached(opener).data_vars:
            _refuse_groups(path, label)
        scan = scan_dataset(opener, label, kind, options)
        scan.note(note)
        return scan
    finally:
        open_cached(opener).close()  # thousands of files are scanned; reading opens them again


def _scan_grib_file(path: Path, label: str, options: ScanOptions) -> Scan:
    """Scan the messages of a GRIB file that are whole; the others are its faults."""
    found = find_messages(path)
    faults = [
        InputError(f"{label} {fault}", field="file", hint="download it again")
        for fault in found.faults
    ]
    if not found.whole:
        raise faults[0] if faults else InputError(f"{label} has no GRIB message", field="file")
    scan = scan_grib(path, label, options, found.whole)
    scan.faults[:0] = faults
    return scan


def _refuse_groups(path: Path, label: str) -> None:
    """Refuse a file whose variables lie in groups, which an empty root would not tell."""
    with netCDF4.Dataset(path) as file:
        groups = list(file.groups)
    if groups:
        raise InputError(
            f"{label} has no variables but groups: {', '.join(groups[:5])}",
            field="file",
            hint=f"write one into a file of its own: ncks -G : -g {groups[0]} IN OUT",
        )


def detect_format(path: Path, label: str = "") -> str:
    """Return the format of a file, detected by its first bytes.

    Parameters
    ----------
    path : Path
        The file or folder.
    label : str, optional
        Its name in messages; default: its path.

    Returns
    -------
    {"NetCDF", "GRIB", "zip", "Zarr", "Icechunk", "references"}
        The format.

    Raises
    ------
    InputError
        If there is no such file, it may not be read, or it has another format.
    """
    label = label or str(path)
    try:
        if path.is_dir():
            return _detect_store(path, label)
    except PermissionError as error:
        raise InputError(
            f"{label} cannot be read: permission denied", field="file", hint="change its rights"
        ) from error
    head = _read_head(path, label)
    if head.startswith(_NETCDF):
        return "NetCDF"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    is_text = _looks_like_text(head)
    if b"GRIB" in head and not is_text:
        return "GRIB"
    if head.lstrip().startswith(b"{") and path.suffix != ".geojson":
        return "references"
    if not head:
        raise InputError(f"{label} is empty", field="file")
    if b"<html" in head.lower() or b"<!doctype" in head.lower():
        raise InputError(
            f"{label} is a web page, not data",
            field="file",
            hint="the download failed; download the file again",
        )
    _refuse_wrapped(head, label)
    found = "is text, not data" if is_text else "has an unknown format"
    raise InputError(f"{label} {found}", field="file", hint="PEAR reads NetCDF, GRIB, zip and Zarr")


def _read_head(path: Path, label: str) -> bytes:
    """Return the first bytes of a file; say what is there instead of one that can be read."""
    try:
        if not path.is_file():
            what = "no such file: {}"
            if path.is_symlink() and not path.exists():
                what = "{} is a link to a file that is not there"
            elif path.exists():
                what = "{} is not a file but a device, a pipe or a socket"
            raise InputError(what.format(label), field="file")
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except PermissionError as error:
        raise InputError(
            f"{label} cannot be read: permission denied", field="file", hint="change its rights"
        ) from error


def _refuse_wrapped(head: bytes, label: str) -> None:
    """Refuse a compressed file or an archive that is not a zip."""
    if what := next((what for magic, what in _PACKED.items() if head.startswith(magic)), None):
        raise InputError(
            f"{label} is compressed by {what}", field="file", hint="uncompress it first"
        )
    if head[257:262] == b"ustar":
        raise InputError(
            f"{label} is a tar archive", field="file", hint="extract its files, or make a zip of it"
        )


def _detect_store(path: Path, label: str) -> str:
    with suppress(OSError):
        if holds_records((path / ".zmetadata").read_bytes()):
            return "references"
    if any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata")):
        return "Zarr"
    if is_icechunk(path):
        return "Icechunk"
    raise InputError(f"{label} is a folder, but not a Zarr store", field="file")


def _looks_like_text(head: bytes) -> bool:
    try:
        text = head[:512].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(c.isprintable() or c in "\r\n\t\f" for c in text)
