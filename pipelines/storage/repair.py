"""Repair of a store: what can be read is written to a new store, which takes its place.

Nothing is made up: a damaged field of an analysis is flagged as missing, and ingesting the same
files again brings it back. A forecast is repaired only if all its fields can be read; otherwise the
run has to be computed again.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore, StorePath

from pear.errors import InputError
from pear.sphere.healpix import nside_from_cells
from pear.store import metadata, schema
from pear.store.dataset import make_layout
from pear.store.manifest import ATTRIBUTE, FILE, Manifest
from pear.store.verified import VerifiedStore
from pear.times import as_utc
from pear.typing import Float32, Int64, Times
from pear.variables import BY_NAME
from pear.variables.layout import find_derived_row
from pipelines.storage import create
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.atomic import exchange, sync_filesystem, writer_lock
from pipelines.storage.check import (
    DAMAGE,
    StoreReport,
    check_store,
    is_valid,
    leftovers,
    levels_of,
    read_fields,
)
from pipelines.storage.coordinates import restore_coordinates
from pipelines.storage.forecast_writer import ForecastWriter
from pipelines.storage.manifest import write_manifest
from pipelines.storage.metadata import rewrite_child_metadata, write_document, write_group


def repair_store(path: Path | str) -> StoreReport:
    """Repair a store as far as possible, and check it again.

    A kill at any time leaves the old store or the repaired one.

    Parameters
    ----------
    path
        Analysis or forecast store.

    Returns
    -------
    StoreReport
        The problems that remain.

    Raises
    ------
    InputError
        If there is no store, another process writes to it, or its metadata cannot be rebuilt.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"no store at {path}", field="store")
    _require_known_kind(path)
    with writer_lock(path):
        if _is_copy(path):
            return _require_healthy(path)
        for left in leftovers(path):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        try:
            intact = metadata.is_intact(metadata.read(path))
        except (OSError, ValueError):
            intact = False
        if intact:
            rewrite_child_metadata(path)
            restore_coordinates(path)
            _repair_manifest(path)
            report = check_store(path)
            if report.is_healthy or report.kind == "climatology":
                return report
        folder = path.parent / f".{path.name}.repair"
        folder.mkdir()
        try:
            source = _DamagedStore(path, intact=intact)
            if source.copy(folder / "store.zarr"):
                if not intact:
                    _keep_old_root(path, folder / "store.zarr")
                sync_filesystem(folder)
                exchange(folder / "store.zarr", path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return check_store(path)


def _is_copy(path: Path) -> bool:
    """Return whether another program wrote a store of PEAR's again."""
    try:
        root = metadata.read(path)
        return schema.VERSION in root["attributes"] and metadata.is_copy(path, root)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _require_healthy(path: Path) -> StoreReport:
    """Return the report on a copy that another program wrote; it is not repaired."""
    report = check_store(path)
    if report.is_healthy:
        return report
    raise InputError(
        f"{path}: {report.findings[0].where} {report.findings[0].detail}, and another program than "
        "PEAR wrote it",
        field="store",
        hint="write the copy again from the original",
    )


def _require_known_kind(path: Path) -> None:
    """Raise if a store says that it is of a kind that is not repaired."""
    try:
        kind = metadata.read(path)["attributes"].get("pear_kind")
    except (OSError, ValueError, KeyError, AttributeError):
        return  # damaged: the arrays below tell
    if kind not in ("analysis", "forecast", "climatology"):
        raise InputError(
            f"{path} is a store of kind {kind}, which PEAR does not repair",
            field="store",
            hint="name an analysis, a forecast or a climatology written by PEAR",
        )


def _keep_old_root(old: Path, new: Path) -> None:
    """Keep the damaged metadata of the root beside the manifest of the new store."""
    if (old / metadata.META).is_file():
        shutil.copyfile(old / metadata.META, new / FILE.replace("pear_files", "root_before_repair"))


def _repair_manifest(path: Path) -> None:
    """Write the manifest of a store anew if it cannot be read, or if the store has none."""
    root = metadata.read(path)
    if metadata.manifest_of(root) is not None:
        try:
            Manifest.read(path)
        except InputError:
            write_manifest(path)
        return
    if "consolidated_metadata" in root:
        write_manifest(path)
        metadata.name_manifest(root)
        write_group(path, root)


class _DamagedStore:
    """What can be read of a store, by the root's metadata or, if damaged, those of its arrays."""

    def __init__(self, path: Path, *, intact: bool) -> None:
        self._path = path
        root = metadata.read(path) if intact else {}
        files = VerifiedStore(path) if intact else LocalStore(path, read_only=True)
        self._documents = metadata.nodes(root) if intact else _child_documents(path)
        self._arrays: dict[str, zarr.Array[Any]] = {
            name: zarr.Array.from_dict(StorePath(files, name), document)
            for name, document in self._documents.items()
            if document["node_type"] == "array"
        }
        stated = root.get("attributes") or _readable_attributes(path)
        is_probability = schema.PROBABILITY in stated
        self._names = [
            name
            for name in self._arrays
            if name in BY_NAME or (is_probability and find_derived_row(name))
        ]
        if not self._names or "time" not in self._arrays:
            raise InputError(f"{path} is not an analysis or forecast store", field="store")
        first = self._arrays[self._names[0]]
        self._nside = nside_from_cells(first.shape[-1])
        found = (re.fullmatch(r"nside(\d+)/cell", name) for name in self._arrays)
        self._overviews = sorted((int(match[1]) for match in found if match), reverse=True)
        self._kind = "forecast" if "prediction_timedelta" in self._arrays else "analysis"
        self._layout = make_layout(self._names, self._levels(), is_probability=is_probability)
        standard = schema.group_attributes(self._kind, self._nside, {})
        self._attributes = {
            name: value
            for name, value in stated.items()
            if name in ("title", "source", "history")
            or name not in {*standard, metadata.DIGEST, ATTRIBUTE}
        }

    def copy(self, target: Path) -> bool:
        """Write what can be read to a new store; return False if that is not enough for one."""
        times = self._axis("time")
        if times is None or not times.size:
            return False
        if self._kind == "forecast":
            return self._copy_forecast(target, as_utc(times))
        self._copy_analysis(target, as_utc(times))
        self._copy_others(target)
        return True

    def _copy_analysis(self, target: Path, times: Times) -> None:
        (length, *_) = self._arrays[self._names[0]].shards or (1,)
        preliminary, leads = self._preliminary(times.size), self._lead_times(times.size)
        with AnalysisWriter(
            target,
            self._layout,
            self._nside,
            attributes=self._attributes,
            shard_times=length,
            overviews=self._overviews,
        ) as writer:
            for first in range(0, times.size, length):
                positions = range(first, min(first + length, times.size))
                with writer.transaction(times[first : first + length]) as changes:
                    changes.preliminary[list(positions)] = preliminary[list(positions)]
                    changes.leads[list(positions)] = leads[list(positions)]
                    for name in self._layout.names:
                        values = np.stack([self._valid_fields(name, each) for each in positions])
                        upper = BY_NAME[name].kind == "upper"
                        changes.write(name, values if upper else values[:, 0])

    def _copy_forecast(self, target: Path, times: Times) -> bool:
        leads = self._axis("prediction_timedelta")
        if leads is None:
            return False
        layout = self._layout
        rows = [schema.level_order(layout).index(level) for level in layout.levels]
        writer = ForecastWriter(
            target,
            layout,
            self._nside,
            times[0],
            leads.astype("timedelta64[s]"),
            self._attributes,
            self._overviews,
        )
        for index in range(leads.size):
            fields = {}
            for name in layout.names:
                fields[name], damage = read_fields(self._arrays[name], index, forecast=True)
                if damage or not np.isfinite(fields[name]).all():
                    return False
            surface = [fields[name][0] for name in layout.surface]
            upper = [fields[name][rows] for name in layout.upper]
            cells = self._arrays[self._names[0]].shape[-1]
            writer.write_step(
                index,
                np.reshape(surface, (-1, cells)),
                np.reshape(upper, (len(upper), len(layout.levels), cells)),
            )
        writer.publish()
        return True

    def _copy_others(self, target: Path) -> None:
        """Copy groups that are neither fields nor overviews, such as the static fields."""
        known = {schema.overview_name(nside) for nside in self._overviews}
        others = [
            name
            for name, document in self._documents.items()
            if document["node_type"] == "group" and "/" not in name and name not in known
        ]
        if not others:
            return
        for name in others:
            shutil.copytree(self._path / name, target / name)
        for name in self._unreadable(others):  # ingesting the files again brings them back
            shutil.rmtree(target / name)
            del self._documents[name]
        for name, document in self._documents.items():
            if name.split("/")[0] in others and document["node_type"] == "array":
                write_document(target / name, document)
        create.consolidate(zarr.open_group(LocalStore(target), mode="r+", use_consolidated=False))

    def _unreadable(self, groups: list[str]) -> list[str]:
        """Return the arrays of these groups that cannot be read."""
        found = []
        for name, array in self._arrays.items():
            if name.split("/")[0] in groups:
                try:
                    array[...]
                except DAMAGE:
                    found.append(name)
        return found

    def _valid_fields(self, name: str, position: int) -> Float32:
        """Return the fields of a variable at one time, (level, cell), NaN where not valid."""
        values, _ = read_fields(self._arrays[name], position, forecast=False)
        good = [
            is_valid(row, name, level)
            for row, level in zip(values, levels_of(name, self._layout), strict=True)
        ]
        return np.where(np.array(good)[:, None], values, np.float32(np.nan))

    def _levels(self) -> list[int]:
        if schema.COMPLETE in self._arrays:
            channels: list[str] = list(self._arrays[schema.COMPLETE].attrs["channels"])  # type: ignore[arg-type]
            return sorted({int(name.split("@")[1]) for name in channels if "@" in name})
        if "level" not in self._arrays:
            return []
        levels = self._axis("level")
        if levels is None:
            raise InputError(f"the levels of {self._path} are damaged", field="store")
        return [int(level) for level in levels]

    def _preliminary(self, count: int) -> npt.NDArray[np.bool_]:
        """Read which times are preliminary, (time,); all of them if that is damaged."""
        if schema.PRELIMINARY not in self._arrays:
            return np.zeros(count, dtype=bool)
        try:
            return np.asarray(np.asarray(self._arrays[schema.PRELIMINARY][:count]) != 0)
        except DAMAGE:
            return np.ones(count, dtype=bool)

    def _lead_times(self, count: int) -> Int64:
        """Read the lead times, (time,) seconds; 0 where they are damaged."""
        name = schema.lead_time_name(self._arrays)
        if name not in self._arrays:
            return np.zeros(count, dtype=np.int64)
        try:
            seconds = np.asarray(self._arrays[name][:count], dtype=np.int64)
            return np.where(seconds < 0, np.int64(0), seconds)
        except DAMAGE:
            return np.zeros(count, dtype=np.int64)

    def _axis(self, name: str) -> Int64 | None:
        """Read an increasing axis, from an overview if that of the store is damaged."""
        # A kill between a commit and the rewriting of the arrays' metadata leaves two lengths.
        copies = [self._arrays[each] for each in self._arrays if each.split("/")[-1] == name]
        length = min(array.shape[0] for array in copies)
        zeros: Int64 | None = None
        for array in copies:
            try:
                values: Int64 = np.asarray(array[:length])
            except DAMAGE:
                continue
            if (np.diff(values) > 0).all():
                if values.any():
                    return values
                zeros = values  # a lone zero, or a lost chunk
        return zeros


def _child_documents(path: Path) -> dict[str, Any]:
    """Read the metadata of the groups and arrays below the root."""
    documents = {}
    for file in sorted(path.rglob(metadata.META)):
        if file.parent == path:
            continue
        try:
            document = metadata.read(file.parent)
        except (OSError, ValueError) as error:
            raise InputError(
                f"both the root's metadata and {file} are damaged",
                field="store",
                hint="ingest into a new store",
            ) from error
        documents[file.parent.relative_to(path).as_posix()] = document
    return documents


def _readable_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a damaged root that are still readable as text."""
    try:
        text = (path / metadata.META).read_text(errors="replace")
    except OSError:
        return {}
    names = ("title", "source", "history", "licence", schema.PROBABILITY, schema.STATISTIC)
    found = {name: re.search(rf'"{name}": "([^"\\\ufffd]*)"', text) for name in names}
    return {name: match[1] for name, match in found.items() if match}
