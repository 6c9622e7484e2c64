"""Times, lead times and levels of a forecast from its attributes, where these determine them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from zarr.storage import LocalStore, StorePath

from pear.errors import InputError
from pear.store import metadata, schema
from pear.store.attributes import read_json
from pear.store.manifest import Manifest, has_own_checksum
from pear.typing import Int64
from pear.variables import Layout
from pipelines.storage.atomic import write_atomically

_RUN: Final = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)-(\d+)h-")
_SECONDS: Final = 3600


def restore_coordinates(path: Path) -> list[str]:
    """Write lost or damaged coordinates of a forecast anew, by its run id and options.

    Of a store with a manifest only bytes that the manifest knows are written, so that nothing can
    be restored to other values than there were.

    Parameters
    ----------
    path
        The store; the metadata of its root are intact.

    Returns
    -------
    list of str
        Chunk files that were written.
    """
    root = metadata.read(path)
    attributes: Mapping[str, Any] = root["attributes"]
    if attributes.get("pear_kind") != "forecast":
        return []
    manifest = None
    if metadata.manifest_of(root) is not None:
        with suppress(InputError):  # a damaged one is written anew
            manifest = Manifest.read(path)
    written = []
    for name, document in metadata.nodes(root).items():
        axis = name.rpartition("/")[2]
        if document["node_type"] != "array" or axis not in _CANDIDATES:
            continue
        file = f"{name}/c/0"
        if _is_intact(path, file, manifest):
            continue
        for values in _CANDIDATES[axis](attributes, int(document["shape"][0])):
            content = _encode(document, values)
            if manifest is None or manifest.fits(file, content):
                (path / file).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path / file, content)
                written.append(file)
                break
    return written


def _is_intact(path: Path, file: str, manifest: Manifest | None) -> bool:
    try:
        content = (path / file).read_bytes()
    except OSError:
        return False
    return has_own_checksum(content) if manifest is None else manifest.fits(file, content)


def _encode(document: Mapping[str, Any], values: Int64) -> bytes:
    """Return the bytes of the only chunk of an array with these metadata."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(folder)
        array = zarr.Array.from_dict(StorePath(store, "axis"), dict(document))
        array[...] = values
        return (Path(folder) / "axis" / "c" / "0").read_bytes()


def _init_times(attributes: Mapping[str, Any], size: int) -> Iterator[Int64]:
    """Yield the init time in seconds since 1970, (1,), as the run id gives it."""
    found = _RUN.match(str(attributes.get("run_id")))
    if found and size == 1:
        year, month, day, hour, minute, _ = found.groups()
        time = np.datetime64(f"{year}-{month}-{day}T{hour}:{minute}", "s")
        yield np.array([time.astype(np.int64)])


def _leads(attributes: Mapping[str, Any], size: int) -> Iterator[Int64]:
    """Yield the lead times in seconds: those that were asked for, or all steps from 0 on."""
    kept = read_json(attributes.get("options")).get("leads")
    found = _RUN.match(str(attributes.get("run_id")))
    if kept is not None:
        if len(kept) == size:
            yield np.array(kept, dtype=np.int64) * _SECONDS
    elif found and size > 1 and int(found[6]) % (size - 1) == 0:
        yield np.arange(size, dtype=np.int64) * (int(found[6]) // (size - 1) * _SECONDS)


def _levels(attributes: Mapping[str, Any], size: int) -> Iterator[Int64]:
    """Yield the levels in hPa: those that were asked for, or the published ones."""
    kept = read_json(attributes.get("options")).get("levels")
    levels = Layout.default().levels if kept is None else tuple(kept)
    if len(levels) == size:
        layout = Layout((), ("temperature",), levels)
        yield np.array(schema.level_order(layout), dtype=np.int64)


_CANDIDATES: Final = {"time": _init_times, "prediction_timedelta": _leads, "level": _levels}
