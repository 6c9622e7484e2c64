"""Initial conditions: the times of every analysis store, and the variables missing at each."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pear.errors import InputError
from pear.store.reader import open_store
from pear.times import as_utc
from pear.variables import Layout
from pipelines.catalog import Catalog, Store
from pipelines.storage.data_folder import DataFolder


@dataclass(frozen=True)
class InitialCondition:
    """One time of one analysis store.

    Attributes
    ----------
    time
        Valid time, UTC.
    analysis
        Name of the store.
    missing
        Variables, or ``variable@level``, that the layout needs and the store does not have then.
    """

    time: np.datetime64
    analysis: str
    missing: tuple[str, ...]


class InitialConditions:
    """Initial conditions of a data folder; a store is read again when it has changed.

    Parameters
    ----------
    folder, catalog
        The data folder and its catalog.
    """

    def __init__(self, folder: DataFolder, catalog: Catalog) -> None:
        self._folder, self._catalog = folder, catalog
        self._known: dict[str, tuple[object, list[InitialCondition]]] = {}
        self._lock = threading.Lock()

    def all(self) -> list[InitialCondition]:
        """Return every time of every analysis, newest first, compared with the newest model."""
        layout = self._newest_layout()
        states: list[InitialCondition] = []
        for store in self._catalog.stores.all("analysis"):
            states += self._read(store, layout)
        return sorted(states, key=lambda each: (each.time, each.analysis), reverse=True)

    def _newest_layout(self) -> Layout:
        models = self._catalog.models.all()
        layout = models[0].attributes.get("layout") if models else None
        return Layout.default() if layout is None else Layout.from_dict(layout)

    def _read(self, store: Store, layout: Layout) -> list[InitialCondition]:
        path = self._folder.root / store.path
        version = (store.updated_at, _modified_at(path), layout)
        with self._lock:
            kept = self._known.get(store.name)
        if kept is not None and kept[0] == version:
            return kept[1]
        try:
            fresh = _read_store(store.name, path, layout)
        except (InputError, OSError):
            return []
        with self._lock:
            self._known[store.name] = (version, fresh)
        return fresh


def _modified_at(path: Path) -> int:
    try:
        return (path / "zarr.json").stat().st_mtime_ns
    except OSError:
        return 0


def _read_store(name: str, path: Path, layout: Layout) -> list[InitialCondition]:
    dataset = open_store(path)
    times = as_utc(dataset["time"].values)
    complete = dataset.coords.get("complete")
    wanted = [
        variable if level is None else f"{variable}@{level}" for variable, level in layout.channels
    ]
    if complete is None:
        have = set(dataset.data_vars)
        absent = tuple(each for each in layout.names if each not in have)
        return [InitialCondition(time, name, absent) for time in times]
    channels = list(complete.attrs["channels"])
    flags = np.asarray(complete.values)
    out = []
    for index, time in enumerate(times):
        present = {channels[c] for c in np.flatnonzero(flags[index])}
        out.append(InitialCondition(time, name, _find_missing(wanted, present)))
    return out


def _find_missing(wanted: list[str], present: set[str]) -> tuple[str, ...]:
    """Return the missing channels; a variable missing at every level is named once."""
    absent = [each for each in wanted if each not in present]
    groups: dict[str, list[str]] = {}
    for each in absent:
        groups.setdefault(each.partition("@")[0], []).append(each)
    out: list[str] = []
    for variable, names in groups.items():
        whole = len(names) == sum(each.partition("@")[0] == variable for each in wanted)
        out += [variable] if whole else names
    return tuple(out)
