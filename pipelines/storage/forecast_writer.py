"""Forecast stores: steps are kept on disk as they come, the finished store appears in one rename.

Each variable has one file for each lead time: a shard with all its levels, which Zarr writes whole
and atomically. A step is complete when its files are there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside
from pear.store import schema
from pear.store.coarse import coarsen_field
from pear.store.verified import VerifiedStore
from pear.times import as_utc, to_iso
from pear.variables import Layout, holds_vectors, wind_partner
from pipelines.storage import create
from pipelines.storage.atomic import (
    publish,
    remove_partial_files,
    require_space,
    write_atomically,
)

Fields = npt.NDArray[np.float32]
_FORMAT = 4
"""Format of the folder of steps; steps of other formats are discarded."""
_DAMAGE = (OSError, ValueError, RuntimeError, KeyError)


class ForecastWriter:
    """Writer of one forecast run.

    To resume a run that was killed, create the writer again with the same arguments;
    :meth:`steps_done` and :meth:`read_step` give what is on disk.

    Parameters
    ----------
    path
        Path of the finished store.
    layout
        Channels of a step.
    nside
        Resolution.
    init_time
        Init time, UTC.
    leads
        (lead,) timedelta64, increasing; starts with zero if the initial state is kept.
    attributes
        Title, source, history and other attributes of the root group.
    overviews
        Resolutions at which cell means are kept as well, in groups ``nsideN``.

    Raises
    ------
    InputError
        If the lead times do not increase or an overview is not coarser than the run.
    OSError
        If the disk is too full for the run.
    """

    def __init__(
        self,
        path: Path | str,
        layout: Layout,
        nside: int,
        init_time: str | np.datetime64,
        leads: npt.ArrayLike,
        attributes: Mapping[str, Any] | None = None,
        overviews: Sequence[int] = (),
    ) -> None:
        schema.check_overviews(overviews, nside)
        self.path, self.layout, self.nside = Path(path), layout, nside
        self.overviews = tuple(overviews)
        self.init_time = as_utc(init_time)[0]
        self.leads = np.atleast_1d(np.asarray(leads, dtype="timedelta64[s]"))
        self.attributes = dict(attributes or {})
        self._vectors = holds_vectors(self.attributes)
        if self.leads.size == 0 or np.any(np.diff(self.leads) <= np.timedelta64(0, "s")):
            raise InputError("the lead times of a forecast must increase", field="leads")
        self.scratch = self.path.parent / f".{self.path.name}.steps"
        self._store = self.scratch / "store"
        if self.published:
            self._done = set(range(self.leads.size))
        else:
            self._prepare()
            self._done = set(self._steps_on_disk())
        self._unchecked = set(self._done)
        self._opened: dict[str, zarr.Array[Any]] = {}

    @property
    def published(self) -> bool:
        """True if the finished store is in place."""
        return self.path.exists()

    def write_step(self, index: int, surface: npt.ArrayLike, upper: npt.ArrayLike) -> None:
        """Write the fields of one lead time; a kill loses nothing of it once this returns.

        Parameters
        ----------
        index
            Position of the lead time.
        surface, upper
            (variable, cell) and (variable, level, cell), in the order of the layout.

        Raises
        ------
        InputError
            If the index or a shape is wrong, or a value is not finite.
        """
        layout, cells = self.layout, cells_of_nside(self.nside)
        surface, upper = np.asarray(surface, dtype="f4"), np.asarray(upper, dtype="f4")
        expected = (
            (len(layout.surface), cells),
            (len(layout.upper), len(layout.levels), cells),
        )
        if not 0 <= index < self.leads.size:
            raise InputError(f"step {index} is not in 0..{self.leads.size - 1}", field="index")
        if (surface.shape, upper.shape) != expected:
            raise InputError(
                f"step {index} has shapes {surface.shape} and {upper.shape}, expected {expected}",
                field="fields",
            )
        fields = dict(
            zip(layout.names, [*surface, *upper[:, np.argsort(layout.levels)]], strict=True)
        )
        for name, values in fields.items():
            if not np.isfinite(values.sum()):  # physical values do not overflow the sum
                raise InputError(f"step {index}: {name} is not finite", field=name)
        for path, name, nside in self._names():
            beside = fields.get(str(wind_partner(name))) if self._vectors else None
            self._array(path)[0, index] = coarsen_field(name, fields[name], nside, beside)
        self._done.add(index)
        self._unchecked.discard(index)

    def steps_done(self) -> list[int]:
        """Return the positions of the lead times that are on disk, increasing."""
        return sorted(self._done)

    def read_step(self, index: int) -> tuple[Fields, Fields]:
        """Read a lead time that was written before.

        Parameters
        ----------
        index
            Position of the lead time.

        Returns
        -------
        surface, upper
            (variable, cell) and (variable, level, cell), in the order of the layout.

        Raises
        ------
        InputError
            If the step is not on disk or is damaged.
        """
        if index not in self._done:
            raise InputError(f"step {index} of {self.path.name} is not on disk", field="index")
        layout, cells = self.layout, cells_of_nside(self.nside)
        try:
            surface = [np.asarray(self._array(name)[0, index]) for name in layout.surface]
            upper = [np.asarray(self._array(name)[0, index]) for name in layout.upper]
        except _DAMAGE as error:
            raise InputError(
                f"step {index} of {self.path.name} cannot be read back",
                field="index",
                hint="write the step again",
            ) from error
        order = np.argsort(np.argsort(layout.levels))
        return (
            np.reshape(surface, (len(layout.surface), cells)),
            np.reshape(upper, (len(layout.upper), len(layout.levels), cells))[:, order],
        )

    def publish(self) -> Path:
        """Rename the complete store to its final path, after everything has been synced to disk.

        Steps that an earlier process wrote are read back first; a damaged one raises OSError and
        counts as missing from then on.

        Returns
        -------
        Path
            The store.

        Raises
        ------
        InputError
            If a step is missing.
        """
        if self.published:
            shutil.rmtree(self.scratch, ignore_errors=True)
            return self.path
        missing = self.leads.size - len(self._done)
        if missing:
            raise InputError(
                f"{self.path.name} lacks {missing} of {self.leads.size} steps", field="leads"
            )
        for index in sorted(self._unchecked):
            self._check(index)
        remove_partial_files(self._store)
        create.consolidate(zarr.open_group(LocalStore(self._store), mode="r+"), sync=False)
        publish(self._store, self.path)
        self._opened.clear()
        shutil.rmtree(self.scratch, ignore_errors=True)
        return self.path

    def _prepare(self) -> None:
        """Create the folder of steps, or keep it if it belongs to the same run."""
        mark = {
            "format": _FORMAT,
            "layout": [self.layout.surface, self.layout.upper, self.layout.levels],
            "nside": self.nside,
            "init_time": to_iso(self.init_time),
            "leads": self.leads.astype(np.int64).tolist(),
            "attributes": self.attributes,
            "overviews": self.overviews,
        }
        text = json.dumps(mark, sort_keys=True, default=str)
        note = self.scratch / "run.json"
        if note.is_file() and note.read_text() == text:
            return
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        channels = len(self.layout.channels)
        require_space(self.scratch, 4 * channels * self.leads.size * cells_of_nside(self.nside))
        self._create()
        write_atomically(note, text.encode())

    def _create(self) -> None:
        group = create.create_group(
            self._store, "forecast", self.layout, self.nside, self.attributes
        )
        self._create_arrays(group, self.nside)
        for nside in self.overviews:
            inner = create.create_overview(group, "forecast", self.layout, nside)
            self._create_arrays(inner, nside)

    def _create_arrays(self, group: zarr.Group, nside: int) -> None:
        create.time_coordinate(group, "forecast", self.init_time[None].astype(np.int64))
        create.lead_coordinate(group, self.leads)
        create.valid_time_coordinate(group, self.init_time[None], self.leads)
        leads, cells, levels = self.leads.size, cells_of_nside(nside), len(self.layout.levels)
        for name in self.layout.names:
            upper = name in self.layout.upper
            middle: tuple[int, ...] = (levels,) if upper else ()
            dims = ("time", "prediction_timedelta", *(["level"] if upper else []), "cell")
            shape, shard = (1, leads, *middle, cells), (1, 1, *middle, cells)
            chunk = (1, 1, *([1] if upper else []), cells)
            create.data_variable(group, name, nside, shape, chunk, shard if upper else None, dims)

    def _array(self, path: str) -> zarr.Array[Any]:
        if path not in self._opened:
            self._opened[path] = (
                zarr.open_array(VerifiedStore(self.path), path=path, mode="r")
                if self.published
                else zarr.open_array(LocalStore(self._store), path=path, mode="r+")
            )
        return self._opened[path]

    def _names(self) -> Iterator[tuple[str, str, int]]:
        """Yield the path in the store, the variable and the resolution of each array."""
        for nside in (self.nside, *self.overviews):
            prefix = "" if nside == self.nside else f"{schema.overview_name(nside)}/"
            for name in self.layout.names:
                yield prefix + name, name, nside

    def _files(self, index: int) -> Iterator[Path]:
        """Yield the files of a step, by Zarr's naming of chunks."""
        for path, name, _ in self._names():
            tail = ("0",) if name in self.layout.surface else ("0", "0")
            yield self._store.joinpath(path, "c", "0", str(index), *tail)

    def _steps_on_disk(self) -> Iterator[int]:
        for index in range(self.leads.size):
            if all(file.is_file() for file in self._files(index)):
                yield index

    def _check(self, index: int) -> None:
        # Removes a step that does not read back.
        try:
            for path, *_ in self._names():
                self._array(path)[0, index]
        except _DAMAGE as error:
            for file in self._files(index):
                file.unlink(missing_ok=True)
            self._done.discard(index)
            raise OSError(f"step {index} of {self.path.name} does not read back") from error
        self._unchecked.discard(index)
