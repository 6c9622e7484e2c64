"""Check of a store against the schema, down to the checksum of every chunk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zarr

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.store import metadata, schema
from pear.store.climatology import Climatology
from pear.store.coarse import coarsen_field
from pear.store.manifest import FILE, Manifest
from pear.store.reader import stored_layout
from pear.times import to_iso
from pear.typing import Float32
from pear.variables import Layout, holds_vectors, valid_range, wind_partner
from pipelines.storage.atomic import PARTIAL
from pipelines.storage.manifest import chunk_files
from pipelines.storage.staging import staging_folder

DAMAGE: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError)
"""Exceptions of Zarr when metadata or a chunk are damaged."""
_HIDDEN: Final = ("new", "replacing", "before", "repair")
_OF_CODEC: Final = ("_FillValue",)
"""Attributes by which xarray, which wrote a copy of a store, reads missing values."""
_DEGREES: Final = 1e-9
"""Difference of latitudes and longitudes that another library for sines may make."""
_INGEST = "mark as missing; ingest the files again"
_BUILD = "build it again with `pear climatology`"


@dataclass(frozen=True)
class Finding:
    """A problem of a store.

    Attributes
    ----------
    kind
        ``leftover``, ``metadata``, ``attribute``, ``grid``, ``time``, ``completeness``, ``field``
        or ``mean``.
    where
        Array or file.
    detail
        What is wrong, with the time if it is a field.
    remedy
        What a repair does about it; empty if nothing can be done.
    position
        Index of the time (analyses) or lead time (forecasts), for fields and means.
    level
        hPa, for fields.
    """

    kind: str
    where: str
    detail: str
    remedy: str = ""
    position: int | None = None
    level: int | None = None


@dataclass
class StoreReport:
    """Result of a check.

    Attributes
    ----------
    path, kind
        The store.
    fields
        Number of fields that were read.
    findings
        Problems.
    """

    path: str
    kind: str = ""
    fields: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_healthy(self) -> bool:
        """True if there are no problems."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"healthy": self.is_healthy, **asdict(self)}


def check_store(path: Path | str, progress: ProgressCallback | None = None) -> StoreReport:
    """Check metadata, grid, times, completeness, value ranges and the checksum of every chunk.

    Parameters
    ----------
    path
        Analysis or forecast store.
    progress
        Called after each variable.

    Returns
    -------
    StoreReport
        The problems that were found.

    Raises
    ------
    InputError
        If there is no store.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"no store at {path}", field="store")
    _require_own(path)
    report = StoreReport(str(path))
    report.findings += [
        Finding("leftover", left.name, "of a writer that is active or was killed", "delete")
        for left in leftovers(path)
    ]
    report.findings += _check_metadata(path)
    if any(finding.where == metadata.META for finding in report.findings):
        return report
    try:
        report.kind, layout, nside = stored_layout(path)
    except InputError as error:
        remedy = "derive from the attributes, or copy, if one is left"
        report.findings.append(Finding("grid", "level", error.message, remedy))
        return report
    if report.kind == "climatology":
        report.findings += _check_files(path, report, remedy=_BUILD)
        if report.is_healthy:
            report.findings += _check_climatology(path, report)
        return report
    if report.kind not in ("analysis", "forecast"):
        raise InputError(
            f"{path} is a store of kind {report.kind}, which PEAR does not check",
            field="store",
            hint="name an analysis, a forecast, a climatology, a model, an evaluation or a data "
            "folder",
        )
    group = schema.open_group(path)
    _check_contents(report, group, layout, nside, progress)
    report.findings += _check_files(path, report, remedy="")
    return report


def _require_own(path: Path) -> None:
    """Refuse a Zarr store of others, whose metadata are whole and name nothing of PEAR's."""
    for name in (metadata.META, ".zgroup"):
        file = path / name
        if not file.is_file() or (path / FILE).is_file():
            continue
        try:
            attributes = json.loads(file.read_text(errors="replace")).get("attributes", {})
        except (ValueError, AttributeError):
            return
        if not any(str(key).startswith("pear") for key in attributes):
            raise InputError(
                f"{path} is a Zarr store of others, which PEAR does not check",
                field="store",
                hint="make an analysis of it with `pear ingest`",
            )
        return


def _check_contents(
    report: StoreReport,
    group: zarr.Group,
    layout: Layout,
    nside: int,
    progress: ProgressCallback | None,
) -> None:
    """Check coordinates, axes and fields of an analysis or forecast."""
    grids = {nside: group} | {n: _group(group, n) for n in schema.overviews(group)}
    for size, inner in grids.items():
        prefix = "" if size == nside else f"{schema.overview_name(size)}/"
        report.findings += _check_coordinates(inner, prefix, layout, size)
        report.findings += _check_attributes(inner, prefix, layout, size)
    for axis in ("time", "prediction_timedelta")[: 2 if report.kind == "forecast" else 1]:
        report.findings += _check_axis(grids, axis)
    if report.kind == "forecast":
        report.findings += _check_valid_times(grids)
    flags = _read_flags(group, report) if report.kind == "analysis" else None
    report.findings += _check_preliminary(group)
    report.findings += _check_lead_times(group)
    for name in layout.names:
        check = _FieldCheck(group, name, layout, flags, forecast=report.kind == "forecast")
        check.run(report, list(grids)[1:])
        if progress is not None:
            progress()


def _check_files(path: Path, report: StoreReport, remedy: str) -> Iterator[Finding]:
    """Compare all chunk files with the manifest, but for arrays known to be damaged."""
    root = metadata.read(path)
    if metadata.manifest_of(root) is None or metadata.is_copy(path, root):
        return
    try:
        found = Manifest.read(path)
    except InputError as error:
        yield Finding("file", FILE, error.message, "write again")
        return
    known = {finding.where for finding in report.findings}
    for name in sorted({*found.files, *chunk_files(path)}):
        array = name.removesuffix("/c").partition("/c/")[0]
        if array in known:
            continue
        if not (path / name).exists():
            if name in found.files:
                yield Finding("file", array, f"{name} is missing", remedy)
        elif not found.entries(name):
            yield Finding("file", array, f"{name} is not a file of the store", "delete")
        elif not found.fits(name, (path / name).read_bytes()):
            yield Finding("file", array, f"{name} is not what was written", remedy)


def _check_climatology(path: Path, report: StoreReport) -> Iterator[Finding]:
    """Read every field at every hour of some days."""
    try:
        climatology = Climatology.open(path)
        for month in range(1, 13):
            for hour in climatology.hours:
                parts = climatology.at(f"2004-{month:02d}-15T{hour:02d}")
                report.fields += sum(part.size // part.shape[-1] for part in parts if part.size)
                if not all(np.isfinite(part).all() for part in parts):
                    yield Finding("field", path.name, "values are not finite", _BUILD)
                    return
    except DAMAGE as error:
        yield Finding("field", path.name, f"cannot be read: {error}", _BUILD)


def leftovers(path: Path) -> list[Path]:
    """Return files and folders that a killed writer left; with the writer's lock they may go."""
    hidden = [path.parent / f".{path.name}.{what}" for what in _HIDDEN]
    found = [folder for folder in (staging_folder(path), *hidden) if folder.exists()]
    return found + [file for file in path.rglob(f"*{PARTIAL}") if file.is_file()]


def read_fields(array: zarr.Array[Any], position: int, *, forecast: bool) -> tuple[Float32, str]:
    """Read the fields of a variable at one time or lead time.

    Parameters
    ----------
    array
        The variable.
    position
        Index of the time or lead time.
    forecast
        Whether the first axis is the init time.

    Returns
    -------
    values, damage
        (level, cell), one row for a surface variable; NaN, and the reason, if they are damaged.
    """
    try:
        values = np.asarray(array[0, position] if forecast else array[position])
        return values.reshape(-1, array.shape[-1]), ""
    except DAMAGE as error:
        rows = array.shape[-2] if array.ndim == (4 if forecast else 3) else 1
        text = " ".join(str(error).split()) or type(error).__name__
        return np.full((rows, array.shape[-1]), np.nan, dtype=np.float32), text


def is_valid(values: Float32, name: str, level: int | None) -> bool:
    """Return whether all values of a field are in the range of its variable and level."""
    low, high = valid_range(name, level)
    return bool(low <= values.min() and values.max() <= high)  # False if one is NaN


def levels_of(name: str, layout: Layout) -> tuple[int | None, ...]:
    """Return the levels of a variable in the order of stores; one None for a surface variable."""
    return schema.level_order(layout) if name in layout.upper else (None,)


def _group(root: zarr.Group, nside: int) -> zarr.Group:
    group = root[schema.overview_name(nside)]
    if not isinstance(group, zarr.Group):
        raise TypeError(f"{group.name} is an array, not a group")
    return group


def _check_metadata(path: Path) -> Iterator[Finding]:
    """Check the metadata files; if the finding is the root's, nothing else can be checked."""
    try:
        root = metadata.read(path)
        kind = root["attributes"].get("pear_kind")
        if kind == "climatology" and "consolidated_metadata" not in root:
            return  # written before climatologies had a digest
        if metadata.is_copy(path, root):
            return
        children = metadata.child_documents(root)
    except DAMAGE as error:
        yield Finding("metadata", metadata.META, f"cannot be read: {error}", "rebuild")
        return
    if not metadata.is_intact(root):
        yield Finding("metadata", metadata.META, "differs from its digest", "rebuild")
        return
    for name, document in children.items():
        try:
            own = metadata.read(path / name)
        except (OSError, ValueError):
            own = {}
        same = own == document
        if document["node_type"] == "group":
            same = metadata.is_intact(own) and metadata.digest(own) == metadata.digest(document)
        if not same:
            where = f"{name}/{metadata.META}"
            yield Finding("metadata", where, "differs from the root's metadata", "rewrite")


def _check_coordinates(
    group: zarr.Group, prefix: str, layout: Layout, nside: int
) -> Iterator[Finding]:
    version = schema.version_of(group.attrs)
    for name, wanted in schema.fixed_coordinates(layout, nside, version).items():
        try:
            found = np.asarray(schema.get_array(group, name)[...])
            good = found.shape == wanted.values.shape and np.allclose(
                found, wanted.values, rtol=0.0, atol=_DEGREES if found.dtype.kind == "f" else 0.0
            )
        except DAMAGE:
            good = False
        if not good:
            yield Finding("grid", f"{prefix}{name}", "damaged", "rewrite")


def _check_attributes(
    group: zarr.Group, prefix: str, layout: Layout, nside: int
) -> Iterator[Finding]:
    attributes = dict(group.attrs)
    coordinates = schema.fixed_coordinates(layout, nside, schema.version_of(attributes))
    wanted = {name: each.attributes for name, each in coordinates.items()}
    wanted |= {name: schema.variable_attributes(name, nside, attributes) for name in layout.names}
    for name, expected in wanted.items():
        got = {k: v for k, v in group[name].attrs.items() if k not in _OF_CODEC}
        differ = sorted(k for k in {*got, *expected} if got.get(k) != expected.get(k))
        if differ:
            detail = f"attributes differ from the schema: {', '.join(differ)}"
            yield Finding("attribute", f"{prefix}{name}", detail, "rewrite")


def _check_axis(grids: dict[int, zarr.Group], name: str) -> Iterator[Finding]:
    """Check the times or lead times, and that those of the overviews are equal to them."""
    own: npt.NDArray[Any] | None = None
    remedy = "derive from the attributes of a forecast, or copy, if one is left"
    for number, group in enumerate(grids.values()):
        where = f"{group.path}/{name}".lstrip("/")
        try:
            times = np.asarray(schema.get_array(group, name)[:])
        except DAMAGE as error:
            yield Finding("time", where, f"cannot be read: {error}", remedy)
            continue
        if not (np.diff(times) > 0).all():
            yield Finding("time", where, "does not increase", remedy)
        elif number == 0:
            own = times
        elif own is not None and not np.array_equal(times, own):
            yield Finding("time", where, "differs from that of the store", "copy")


def _check_valid_times(grids: dict[int, zarr.Group]) -> Iterator[Finding]:
    """Check that valid times are the sums of init time and lead times, which are checked before."""
    for group in grids.values():
        if schema.version_of(group.attrs) < 2:
            continue
        where = f"{group.path}/{schema.VALID_TIME}".lstrip("/")
        try:
            times, leads, valid = (
                np.asarray(schema.get_array(group, name)[...])
                for name in ("time", "prediction_timedelta", schema.VALID_TIME)
            )
        except DAMAGE as error:
            yield Finding("time", where, f"cannot be read: {error}", "compute again")
            continue
        if not np.array_equal(valid, times[:, None] + leads[None]):
            yield Finding("time", where, "is not init time plus lead time", "compute again")


def _read_flags(group: zarr.Group, report: StoreReport) -> npt.NDArray[np.uint8] | None:
    """Return the completeness, (time, channel); None if it is damaged."""
    try:
        return np.asarray(schema.get_array(group, schema.COMPLETE)[:])
    except DAMAGE as error:
        detail = f"cannot be read: {error}"
        finding = Finding("completeness", schema.COMPLETE, detail, "derive from the fields")
        report.findings.append(finding)
        return None


def _check_preliminary(group: zarr.Group) -> Iterator[Finding]:
    """Check the flags of the times with preliminary data, which old stores do not have."""
    if schema.PRELIMINARY not in group:
        return
    try:
        damaged = not np.isin(schema.get_array(group, schema.PRELIMINARY)[:], (0, 1)).all()
        detail = "is neither 0 nor 1 at some times"
    except DAMAGE as error:
        damaged, detail = True, f"cannot be read: {error}"
    if damaged:
        remedy = "call all times preliminary; ingest final data"
        yield Finding("completeness", schema.PRELIMINARY, detail, remedy)


def _check_lead_times(group: zarr.Group) -> Iterator[Finding]:
    """Check the lead times of states that are forecasts, which old stores do not have."""
    name = schema.lead_time_name(group)
    if name not in group:
        return
    try:
        damaged = bool((np.asarray(schema.get_array(group, name)[:]) < 0).any())
        detail = "is not known at some times"
    except DAMAGE as error:
        damaged, detail = True, f"cannot be read: {error}"
    if damaged:
        yield Finding("completeness", name, detail, "call these times analyses")


class _FieldCheck:
    """Check of the fields of one variable."""

    def __init__(
        self,
        group: zarr.Group,
        name: str,
        layout: Layout,
        flags: npt.NDArray[np.uint8] | None,
        *,
        forecast: bool,
    ) -> None:
        self._group, self._name, self._forecast = group, name, forecast
        self._array = schema.get_array(group, name)
        self._levels = levels_of(name, layout)
        self._flags: npt.NDArray[np.uint8] | None = None
        if flags is not None:
            channels: list[str] = list(group[schema.COMPLETE].attrs["channels"])  # type: ignore[arg-type]
            names = [name if level is None else f"{name}@{level}" for level in self._levels]
            self._flags = flags[:, [channels.index(each) for each in names]]

    def run(self, report: StoreReport, overviews: list[int]) -> None:
        """Check the fields at all times, and their means in the overviews."""
        for position in range(self._array.shape[1 if self._forecast else 0]):
            values, damage = read_fields(self._array, position, forecast=self._forecast)
            report.fields += len(values)
            report.findings += self._compare(position, values, damage)
            if not damage and np.isfinite(values).any():
                report.findings += self._compare_means(position, values, overviews)

    def _compare(self, position: int, values: Float32, damage: str) -> Iterator[Finding]:
        """Compare the fields at one time with their flags and their range."""
        for row, level in enumerate(self._levels):
            finite = np.isfinite(values[row])
            valid = self._forecast or is_valid(values[row], self._name, level)
            claimed = self._forecast or bool(finite.all())
            if self._flags is not None:
                claimed = bool(self._flags[position, row])
            remedy = "" if self._forecast else _INGEST
            if damage and claimed:
                problem = f"cannot be read: {damage}"
            elif claimed and not finite.all():
                problem = f"is flagged complete but {int((~finite).sum())} values are missing"
            elif claimed and not valid:
                low, high = valid_range(self._name, level)
                problem = (
                    f"has values from {values[row].min():g} to {values[row].max():g}, outside the "
                    f"valid range [{low:g}, {high:g}]"
                )
            elif not claimed and finite.all() and valid:
                problem, remedy = "is flagged missing but the data is present", "mark as complete"
            else:
                continue
            label = self._name if level is None else f"{self._name} at {level} hPa"
            detail = f"{label} {self._when(position)} {problem}"
            yield Finding("field", self._name, detail, remedy, position, level)

    def _compare_means(
        self, position: int, values: Float32, overviews: list[int]
    ) -> Iterator[Finding]:
        """Compare the overviews with the means of the fields."""
        beside = self._partner(position) if overviews else None
        for nside in overviews:
            coarse = schema.get_array(_group(self._group, nside), self._name)
            means, damage = read_fields(coarse, position, forecast=self._forecast)
            wanted = coarsen_field(self._name, values, nside, beside)
            if damage or not np.array_equal(means, wanted, equal_nan=True):
                detail = damage or "is not the mean of the fields"
                yield Finding("mean", coarse.path, detail, "compute again", position)

    def _partner(self, position: int) -> Float32 | None:
        """Read the other component of a wind, (level, cell), of which the mean is one vector."""
        partner = wind_partner(self._name)
        if partner is None or partner not in self._group or not holds_vectors(self._group.attrs):
            return None
        array = schema.get_array(self._group, partner)
        values, damage = read_fields(array, position, forecast=self._forecast)
        return None if damage else values

    def _when(self, position: int) -> str:
        try:
            if self._forecast:
                leads = schema.get_array(self._group, "prediction_timedelta")
                return f"at {int(np.asarray(leads[position])) // 3600} h"
            seconds = int(np.asarray(schema.get_array(self._group, "time")[position]))
            return f"at {to_iso(np.datetime64(seconds, 's'))}"
        except DAMAGE:
            return f"number {position}"
