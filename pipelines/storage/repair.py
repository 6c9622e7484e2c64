"""Mend what an examination of a store found, with the writer's lock held."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pear.errors import InputError
from pear.sphere.healpix import coarsen, nside_from_cells
from pear.store import metadata, schema
from pear.store.reader import stored_layout
from pear.variables import BY_NAME, Layout
from pipelines.storage import metadata as write_metadata
from pipelines.storage.atomic import sync_filesystem, writer_lock
from pipelines.storage.check import (
    Diagnosis,
    columns,
    examine,
    in_range,
    leftovers,
    read_fields,
    wanted_attributes,
    wanted_grid,
)
from pipelines.storage.staging import clear, rewrite, staging_folder


def repair(path: Path | str) -> Diagnosis:
    """Mend a store as far as can be, and examine it again.

    Raises
    ------
    InputError
        If there is no store, or another process writes to it.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"no store at {path}", field="store")
    with writer_lock(path):
        for left in leftovers(path):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        found = examine(path)
        if any(f.kind == "metadata" and f.where == metadata.META for f in found.findings):
            _rebuild_root(path)
        write_metadata.rewrite_child_metadata(path)
        found = examine(path)
        kinds = {finding.kind for finding in found.findings}
        if kinds & {"attribute"}:
            _attributes(path)
        if kinds & {"grid"}:
            _grid(path)
        if kinds & {"time"}:
            _times(path)
        if kinds & {"field", "completeness"} and found.kind == "analysis":
            _fields(path, found)
        if kinds & {"field", "mean"}:
            _means(path)
        clear(staging_folder(path))
        sync_filesystem(path)
        return examine(path)


def _rebuild_root(path: Path) -> None:
    """Make the root's metadata from those of the arrays and groups below it."""
    nodes: dict[str, Any] = {}
    for file in sorted(path.rglob(metadata.META)):
        if file.parent == path:
            continue
        try:
            document = metadata.read(file.parent)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: both the root's metadata and {file} are damaged",
                field="store",
                hint="ingest into a new store",
            ) from error
        if document.get("node_type") == "group":
            document["consolidated_metadata"] = {
                "kind": "inline",
                "must_understand": False,
                "metadata": {},
            }
        nodes[file.parent.relative_to(path).as_posix()] = document
    if "cell" not in nodes:
        raise InputError(f"{path} has no grid that could be read", field="store")
    nside = nside_from_cells(nodes["cell"]["shape"][0])
    kind = "forecast" if "prediction_timedelta" in nodes else "analysis"
    times = [n["shape"][0] for n in nodes.values() if n.get("dimension_names", [])[:1] == ["time"]]
    for node in nodes.values():  # a kill between commit and settling leaves different lengths
        if kind == "analysis" and node.get("dimension_names", [])[:1] == ["time"]:
            node["shape"][0] = min(times)
    root = {
        "attributes": schema.group_attributes(kind, nside, _old_attributes(path)),
        "zarr_format": 3,
        "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": nodes},
        "node_type": "group",
    }
    write_metadata.write_group(path, root)


def _old_attributes(path: Path) -> dict[str, Any]:
    """Texts of the damaged root that can still be read."""
    try:
        old = (path / metadata.META).read_text(errors="replace")
    except OSError:
        return {}
    found = {}
    for name in ("title", "source", "history", "licence", schema.PROBABILITY):
        match = re.search(rf'"{name}": "([^"\\\ufffd]*)"', old)
        if match:
            found[name] = match[1]
    return found


def _attributes(path: Path) -> None:
    _, layout, nside = stored_layout(path)
    group = schema.open_group(path)
    root = metadata.read(path)
    nodes = metadata.nodes(root)
    probability = group.attrs.get(schema.PROBABILITY)
    for prefix, size in _grids(group, nside):
        for name, wanted in wanted_attributes(prefix, layout, size, probability).items():
            nodes[name]["attributes"] = wanted
    root["consolidated_metadata"]["metadata"] = nodes
    write_metadata.write_group(path, root)
    write_metadata.rewrite_child_metadata(path)


def _grids(group: Any, nside: int) -> list[tuple[str, int]]:
    coarser = schema.overviews(group)
    return [("", nside)] + [(f"{schema.overview_name(n)}/", n) for n in coarser]


def _grid(path: Path) -> None:
    _, layout, nside = stored_layout(path)
    group = schema.open_group(path)
    for prefix, size in _grids(group, nside):
        for name, values in wanted_grid(layout, size).items():
            _overwrite(path, f"{prefix}{name}", values)


def _overwrite(path: Path, name: str, values: Any) -> None:
    """Write an array anew, whatever its old chunks look like."""
    rewrite(path, staging_folder(path), name, 0, values)


def _times(path: Path) -> None:
    """Copy the time axis from wherever it is whole."""
    group = schema.open_group(path)
    names = ["time", *(f"{schema.overview_name(n)}/time" for n in schema.overviews(group))]
    good = None
    for name in names:
        try:
            values = np.asarray(group[name][:])
        except (OSError, ValueError, RuntimeError):
            continue
        if (np.diff(values) > 0).all():
            good = values
            break
    if good is not None:
        for name in names:
            _overwrite(path, name, good)


def _fields(path: Path, found: Diagnosis) -> None:
    """Bring completeness in line with the fields, and take damaged fields out of their shards."""
    _, layout, _ = stored_layout(path)
    group = schema.open_group(path)
    try:
        flags = np.asarray(group[schema.COMPLETE][:])
    except (OSError, ValueError, RuntimeError):
        flags = np.zeros(group[schema.COMPLETE].shape, dtype=np.uint8)
    whole = any(f.kind == "completeness" for f in found.findings)
    for name in layout.names:
        at = {f.position for f in found.findings if f.where == name and f.kind == "field"}
        positions = range(group[name].shape[0]) if whole else sorted(p for p in at if p is not None)
        where = columns(group, name, layout)
        for position in positions:
            values, damage = read_fields(group[name], position, forecast=False)
            good = _good(values, name, layout)
            flags[position, where] = good
            if damage or (np.isfinite(values).all(axis=1) & ~good).any():
                _rewrite_shard(path, name, group[name], position, layout)
    _overwrite(path, schema.COMPLETE, flags)


def _good(values: Any, name: str, layout: Layout) -> npt.NDArray[np.bool_]:
    """Whether each row is finite and lies in the range of its variable and level."""
    upper = BY_NAME[name].kind == "upper"
    levels = schema.level_order(layout) if upper else (None,)
    return np.array(
        [
            bool(np.isfinite(row).all()) and in_range(row, name, level)
            for row, level in zip(values, levels, strict=True)
        ]
    )


def _rewrite_shard(path: Path, name: str, array: Any, position: int, layout: Layout) -> None:
    """Write a shard anew with the fields that can be read; what is damaged reads as missing."""
    length = int(array.shards[0])
    first = position // length * length
    last = min(first + length, array.shape[0])
    upper = BY_NAME[name].kind == "upper"
    parts = []
    for at in range(first, last):
        values, _ = read_fields(array, at, forecast=False)
        parts.append(np.where(_good(values, name, layout)[:, None], values, np.nan))
    values = np.stack(parts) if upper else np.stack(parts)[:, 0]
    if np.isnan(values).all():  # zarr writes nothing for what is all missing
        shutil.rmtree(path / name / "c" / str(first // length), ignore_errors=True)
        return
    rewrite(path, staging_folder(path), name, first, values)


def _means(path: Path) -> None:
    """Make the means of the coarser groups anew where they are not those of the fields."""
    kind, layout, _ = stored_layout(path)
    group = schema.open_group(path)
    forecast = kind == "forecast"
    for nside in schema.overviews(group):
        for name in layout.names:
            inner = f"{schema.overview_name(nside)}/{name}"
            fine, coarse = group[name], group[inner]
            count = fine.shape[1 if forecast else 0]
            fields = [read_fields(fine, p, forecast) for p in range(count)]
            if any(damage for _, damage in fields) and forecast:
                continue
            means = np.stack([coarsen(values, nside) for values, _ in fields])
            old = [read_fields(coarse, p, forecast) for p in range(count)]
            same = all(
                not damage and np.array_equal(values, mean, equal_nan=True)
                for (values, damage), mean in zip(old, means, strict=True)
            )
            if not same:
                shape = coarse.shape
                _overwrite(path, inner, means.reshape(shape))
