"""Examine a store down to its last chunk, say what is wrong, and mend what can be mended.

Nothing is made up: a damaged field is marked as missing, and the ingestion of the same files
brings it back; everything that follows from something else (grid, attributes, coarser means,
single metadata files) is written anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.sphere.healpix import cells_of_nside, coarsen
from pear.store import metadata, schema
from pear.store.reader import stored_layout
from pear.times import to_iso
from pear.variables import BY_NAME, Layout, valid_range
from pipelines.storage.atomic import PARTIAL
from pipelines.storage.staging import staging_folder

GRID: Final = ("cell", "cell_ids", "crs", "level")
_DAMAGE: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

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
        What ``--repair`` does about it; empty if nothing can be done.
    position
        Index of the time (analyses) or lead (forecasts), for fields and means.
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
class Diagnosis:
    """What an examination found."""

    path: str
    kind: str = ""
    fields: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def add(self, kind: str, where: str, detail: str, remedy: str = "", **at: Any) -> None:
        """Note a finding."""
        self.findings.append(Finding(kind, where, detail, remedy, **at))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"healthy": self.healthy, **asdict(self)}


def examine(path: Path | str, tick: ProgressCallback | None = None) -> Diagnosis:
    """Check metadata, attributes, grid, times, completeness, and every chunk's checksum.

    Raises
    ------
    InputError
        If there is no store at all.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"no store at {path}", field="store")
    diagnosis = Diagnosis(str(path))
    _leftovers(path, diagnosis)
    if not _metadata(path, diagnosis):
        return diagnosis
    kind, layout, nside = stored_layout(path)
    diagnosis.kind = kind
    group = schema.open_group(path)
    for prefix, size in _grids(group, nside):
        _attributes(group, prefix, layout, size, diagnosis)
        _grid(group, prefix, layout, size, diagnosis)
        _times(group, prefix, diagnosis)
    flags = _flags(group, layout, diagnosis) if kind == "analysis" else None
    for name in layout.names:
        for size, faults in _fields(group, name, layout, flags):
            diagnosis.fields += size
            diagnosis.findings.extend(faults)
        for _, coarse in _grids(group, nside)[1:]:
            diagnosis.findings.extend(_means(group, name, coarse))
        if tick is not None:
            tick()
    return diagnosis


def _grids(group: Any, nside: int) -> list[tuple[str, int]]:
    coarser = schema.overviews(group)
    return [("", nside)] + [(f"{schema.overview_name(n)}/", n) for n in coarser]


def leftovers(path: Path) -> list[Path]:
    """Files and folders that a dead writer left; with the writer's lock held they may go."""
    found = [p for p in (staging_folder(path), path.parent / f".{path.name}.new") if p.exists()]
    return found + [p for p in path.rglob(f"*{PARTIAL}") if p.is_file()]


def _leftovers(path: Path, diagnosis: Diagnosis) -> None:
    for left in leftovers(path):
        diagnosis.add("leftover", left.name, "a writer at work, or left by one that died", "delete")


def _metadata(path: Path, diagnosis: Diagnosis) -> bool:
    """Check the metadata files; says whether the root's can be gone by."""
    try:
        root = metadata.read(path)
        members = metadata.child_documents(root)
    except (OSError, ValueError, KeyError, TypeError) as error:
        diagnosis.add("metadata", metadata.META, f"cannot be read: {error}", "build anew")
        return False
    if not metadata.is_intact(root):
        diagnosis.add("metadata", metadata.META, "is not as it was written", "build anew")
        return False
    for name, document in members.items():
        try:
            own = metadata.read(path / name)
        except (OSError, ValueError):
            own = {}
        if document["node_type"] == "group":
            same = metadata.is_intact(own) and metadata.digest(own) == metadata.digest(document)
        else:
            same = own == document
        if not same:
            where = f"{name}/{metadata.META}"
            diagnosis.add("metadata", where, "differs from the root's metadata", "write anew")
    return True


def wanted_attributes(
    prefix: str, layout: Layout, nside: int, probability: str | None = None
) -> dict[str, dict[str, Any]]:
    """Attributes that the contract wants of each array of a group."""
    k = schema.refinement_level(nside)
    out: dict[str, dict[str, Any]] = {
        "cell": {"standard_name": "healpix_index", "units": "1"},
        "cell_ids": {"grid_name": "healpix", "level": k, "indexing_scheme": "nested"},
        "crs": {"grid_mapping_name": "healpix", "refinement_level": k, "indexing_scheme": "nested"},
    }
    if layout.upper:
        out["level"] = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
    for name in layout.names:
        out[name] = schema.variable_attributes(name, nside, probability)
    return {f"{prefix}{name}": attributes for name, attributes in out.items()}


def _attributes(group: Any, prefix: str, layout: Layout, nside: int, diagnosis: Diagnosis) -> None:
    probability = group.attrs.get(schema.PROBABILITY)
    for name, wanted in wanted_attributes(prefix, layout, nside, probability).items():
        got = dict(group[name].attrs)
        if got != wanted:
            differ = sorted(k for k in {*got, *wanted} if got.get(k) != wanted.get(k))
            detail = f"not those of the contract: {', '.join(differ)}"
            diagnosis.add("attribute", name, detail, "write anew")


def wanted_grid(layout: Layout, nside: int) -> dict[str, npt.NDArray[Any]]:
    """Values of the arrays that follow from the resolution and the levels."""
    cells = np.arange(cells_of_nside(nside), dtype=np.int64)
    out: dict[str, npt.NDArray[Any]] = {"cell": cells, "cell_ids": cells}
    out["crs"] = np.array(0, dtype=np.int32)
    if layout.upper:
        out["level"] = np.array(schema.level_order(layout), dtype=np.int64)
    return out


def _grid(group: Any, prefix: str, layout: Layout, nside: int, diagnosis: Diagnosis) -> None:
    for name, wanted in wanted_grid(layout, nside).items():
        try:
            good = np.array_equal(group[f"{prefix}{name}"][...], wanted)
        except _DAMAGE:
            good = False
        if not good:
            diagnosis.add("grid", f"{prefix}{name}", "damaged", "write anew")


def _times(group: Any, prefix: str, diagnosis: Diagnosis) -> None:
    try:
        times = np.asarray(group[f"{prefix}time"][:])
    except _DAMAGE as error:
        diagnosis.add("time", f"{prefix}time", f"cannot be read: {error}", "copy, if one is left")
        return
    if not (np.diff(times) > 0).all():
        diagnosis.add("time", f"{prefix}time", "does not increase", "copy, if one is left")
    elif prefix and not any(f.where == "time" for f in diagnosis.findings):
        same = np.array_equal(times, group["time"][:])
        if not same:
            diagnosis.add("time", f"{prefix}time", "differs from the store's", "copy")


def _flags(group: Any, layout: Layout, diagnosis: Diagnosis) -> npt.NDArray[np.uint8] | None:
    """Completeness (time, channel), or None if it cannot be read."""
    try:
        return np.asarray(group[schema.COMPLETE][:])
    except _DAMAGE as error:
        detail = f"cannot be read: {error}"
        diagnosis.add("completeness", schema.COMPLETE, detail, "derive from the fields")
        return None


def columns(group: Any, name: str, layout: Layout) -> list[int]:
    """Channels of a variable on the completeness array, in the order of its levels."""
    known = list(group[schema.COMPLETE].attrs["channels"])
    if BY_NAME[name].kind == "surface":
        return [known.index(name)]
    return [known.index(f"{name}@{level}") for level in schema.level_order(layout)]


def read_fields(array: Any, position: int, forecast: bool) -> tuple[npt.NDArray[Any], str]:
    """Fields (row, cell) at one time or lead, and what went wrong; NaN where it went wrong."""
    try:
        values = np.asarray(array[0, position] if forecast else array[position])
        return values.reshape(-1, array.shape[-1]), ""
    except _DAMAGE as error:
        rows = array.shape[-2] if array.ndim == (4 if forecast else 3) else 1
        text = " ".join(str(error).split()) or type(error).__name__
        return np.full((rows, array.shape[-1]), np.nan, dtype=np.float32), text


def _fields(
    group: Any, name: str, layout: Layout, flags: npt.NDArray[np.uint8] | None
) -> Iterator[tuple[int, list[Finding]]]:
    """Check all fields of a variable, one time or lead after the other."""
    array = group[name]
    forecast = "prediction_timedelta" in array.metadata.dimension_names
    levels = schema.level_order(layout) if BY_NAME[name].kind == "upper" else (None,)
    where = [] if forecast else columns(group, name, layout)
    for position in range(array.shape[1 if forecast else 0]):
        values, damage = read_fields(array, position, forecast)
        finite = np.isfinite(values)
        faults = []
        for row, level in enumerate(levels):
            claimed = True if flags is None else bool(flags[position, where[row]])
            if flags is None and not forecast:
                claimed = bool(finite[row].all())
            at = _name_of(group, position, forecast)
            label = name if level is None else f"{name} at {level} hPa"
            remedy = "" if forecast else "mark as missing; ingest the files again"
            if damage and claimed:
                detail = f"{label} {at} cannot be read: {damage}"
            elif claimed and not finite[row].all():
                bad = int((~finite[row]).sum())
                detail = f"{label} {at} is marked complete and has {bad} values that are missing"
            elif claimed and not forecast and not in_range(values[row], name, level):
                low, high = values[row].min(), values[row].max()
                detail = f"{label} {at} holds {low:g} to {high:g}, which no weather has"
            elif not claimed and finite[row].all() and in_range(values[row], name, level):
                detail = f"{label} {at} is marked missing and is there"
                remedy = "mark as complete"
            else:
                continue
            faults.append(Finding("field", name, detail, remedy, position, level))
        yield len(levels), faults


def in_range(values: npt.NDArray[Any], name: str, level: int | None) -> bool:
    """Whether all values of a field lie in the range of its variable."""
    low, high = valid_range(name, level)
    return bool(low <= values.min() and values.max() <= high)


def _name_of(group: Any, position: int, forecast: bool) -> str:
    try:
        if forecast:
            return f"at {int(group['prediction_timedelta'][position]) // 3600} h"
        return f"at {to_iso(np.datetime64(int(group['time'][position]), 's'))}"
    except _DAMAGE:
        return f"number {position}"


def _means(group: Any, name: str, nside: int) -> Iterator[Finding]:
    """Check that the means of a coarser group are those of the fields."""
    fine, path = group[name], f"{schema.overview_name(nside)}/{name}"
    coarse = group[path]
    forecast = "prediction_timedelta" in fine.metadata.dimension_names
    for position in range(fine.shape[1 if forecast else 0]):
        values, damage = read_fields(fine, position, forecast)
        means, fault = read_fields(coarse, position, forecast)
        if damage or not np.isfinite(values).any():
            continue
        if fault or not np.array_equal(means, coarsen(values, nside), equal_nan=True):
            detail = fault or "is not the mean of the fields"
            yield Finding("mean", path, detail, "make anew", position)
