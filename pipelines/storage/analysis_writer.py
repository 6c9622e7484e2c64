"""Growing a store of analyses: chunks first, one sync, then one rename that shows them.

The root's consolidated metadata says how many times there are. New times are written aside and
moved beyond that length, where no reader looks; replacing the root's one file is the commit. A
killed writer leaves either the old length or the new one, and the next writer does the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside, coarsen
from pear.store import schema
from pear.store.reader import read_completeness, stored_layout
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import BY_NAME, Layout
from pipelines.storage import create
from pipelines.storage.atomic import publish, remove_partial_files, writer_lock
from pipelines.storage.metadata import rewrite_child_metadata
from pipelines.storage.staging import clear, show, staged_array, staging_folder

Fields = npt.NDArray[np.float32]


def create_analysis(
    path: Path,
    layout: Layout,
    nside: int,
    *,
    attributes: Mapping[str, Any] | None = None,
    shard_times: int | None = None,
    coarser: Sequence[int] = (),
) -> None:
    """Make an analysis store without times at ``path``, which must not exist.

    Parameters
    ----------
    path
        The folder of the store.
    layout
        Variables and levels it will hold; stored from the top level down whatever their order.
    nside
        Resolution.
    attributes
        Title, source, history, licence and others for the root group.
    shard_times
        Times per file; None for files of about 100 MB.
    coarser
        Resolutions at which means are kept beside the fields, in groups ``nsideN``.
    """
    schema.check_overviews(coarser, nside)
    group = create.create_group(path, "analysis", layout, nside, attributes or {})
    create.time_coordinate(group, "analysis", np.zeros(0, dtype=np.int64))
    create.completeness(group, layout)
    per_shard = shard_times or schema.times_per_shard(layout, nside)
    for name in layout.names:
        _create_variable(group, name, layout, nside, 0, per_shard)
    for one in coarser:
        inner = create.create_overview(group, "analysis", layout, one)
        create.time_coordinate(inner, "analysis", np.zeros(0, dtype=np.int64))
        for name in layout.names:
            _create_variable(inner, name, layout, one, 0, per_shard)
    create.consolidate(group)


def _create_variable(
    group: Any, name: str, layout: Layout, nside: int, times: int, per_shard: int
) -> None:
    upper = BY_NAME[name].kind == "upper"
    middle = (len(schema.level_order(layout)),) if upper else ()
    cells = cells_of_nside(nside)
    dims = ("time", "level", "cell") if upper else ("time", "cell")
    chunk, shard = (1, *middle, cells), (per_shard, *middle, cells)
    create.data_variable(group, name, nside, (times, *middle, cells), chunk, shard, dims)


class AnalysisWriter:
    """The one writer of an analysis store; a context manager that holds the store's lock.

    Simple use: ``with AnalysisWriter(path, layout, nside) as writer: writer.append(…)``. The
    store appears with its first committed times. Bulk use: :meth:`stage` new times, fill them from
    any process through :func:`pipelines.storage.staging.staged_array`, then :meth:`commit`.

    Parameters
    ----------
    path
        The store; made if it does not exist.
    layout, nside
        Channels of :meth:`append` in their order, and the resolution. An existing store must have
        the resolution and the levels; variables it lacks are added, missing at the times it has.
    attributes, shard_times, coarser
        As in :func:`create_analysis`; only for a new store.

    Raises
    ------
    InputError
        If another process writes to the store, or an existing store does not agree.
    """

    def __init__(
        self,
        path: Path | str,
        layout: Layout,
        nside: int,
        *,
        attributes: Mapping[str, Any] | None = None,
        shard_times: int | None = None,
        coarser: Sequence[int] = (),
    ) -> None:
        self.path, self.layout, self.nside = Path(path), layout, nside
        self._attributes, self._shard_times, self.coarser = attributes, shard_times, coarser
        self._exit = ExitStack()
        self.stored = layout
        self.staging = staging_folder(self.path)
        self._staged: Times = as_utc([])
        self._added: list[str] = []
        self._waiting: list[tuple[np.datetime64, Fields, Fields]] = []

    def __enter__(self) -> AnalysisWriter:
        self._exit.enter_context(writer_lock(self.path))
        try:
            self._open()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            clear(self.staging)
            if self.root != self.path:
                shutil.rmtree(self.root, ignore_errors=True)
            self._exit.close()

    def _open(self) -> None:
        self.root = self.path
        clear(self.staging)
        if self.path.exists():
            remove_partial_files(self.path)
            self._agree()
            rewrite_child_metadata(self.path)
        else:
            # Nothing of a new store is to be seen before its first times are whole.
            self.root = self.path.parent / f".{self.path.name}.new"
            shutil.rmtree(self.root, ignore_errors=True)
            create_analysis(
                self.root,
                self.layout,
                self.nside,
                attributes=self._attributes,
                shard_times=self._shard_times,
                coarser=self.coarser,
            )
        self.times, self.complete, self.channels = read_completeness(self.root, all_channels=True)
        self._column = {name: i for i, name in enumerate(self.channels)}
        group = schema.open_group(self.root)
        self.shard_times = int(group[self.stored.names[0]].shards[0])
        self.coarser = schema.overviews(group)

    def _agree(self) -> None:
        """Check an existing store against what we want to write; add variables it lacks."""
        kind, layout, nside = stored_layout(self.path)
        if kind != "analysis" or nside != self.nside:
            raise InputError(
                f"{self.path} is a {kind} store at nside {nside}, not an analysis at nside "
                f"{self.nside}",
                field="store",
                hint="write to another store",
            )
        strange = sorted(set(self.layout.levels) - set(layout.levels))
        if self.layout.upper and strange:
            raise InputError(
                f"{self.path} has no level {strange[0]} hPa: its levels are "
                f"{', '.join(map(str, layout.levels))}",
                field="level",
                hint="ingest all levels into a new store",
            )
        if self.layout.upper and not layout.levels:
            raise InputError(
                f"{self.path} has no pressure levels and cannot take {self.layout.upper[0]}",
                field="variable",
                hint="ingest all variables into a new store",
            )
        self.stored = layout

    def add_variables(self) -> None:
        """Make the variables of ``layout`` that the store lacks, missing at all times there are.

        Readers see them from the next commit on.
        """
        new = [name for name in self.layout.names if name not in self.stored.names]
        if not new:
            return
        names = {*self.stored.names, *new}
        base = Layout()
        self.stored = Layout(
            tuple(n for n in base.surface if n in names),
            tuple(n for n in base.upper if n in names),
            self.stored.levels,
        )
        aside = zarr.open_group(LocalStore(self.staging), mode="a", zarr_format=3)
        for prefix, nside in self.grids():
            group = aside.require_group(prefix) if prefix else aside
            for name in new:
                _create_variable(group, name, self.stored, nside, self.times.size, self.shard_times)
            self._added += [f"{prefix}{name}" for name in new]

    def grids(self) -> list[tuple[str, int]]:
        """Prefix of the arrays and resolution: of the store itself, then of the coarser groups."""
        return [("", self.nside)] + [(f"{schema.overview_name(n)}/", n) for n in self.coarser]

    def append(self, times: Any, surface: Any, upper: Any) -> None:
        """Add whole times after the last: (T, S, cell) and (T, U, level, cell), layout order.

        Written and committed a file's worth at a time; :meth:`flush` and leaving the context
        commit the rest.

        Raises
        ------
        InputError
            If times do not increase, shapes are wrong or a value is not finite.
        """
        lay, cells = self.layout, cells_of_nside(self.nside)
        times = as_utc(times)
        surface = np.asarray(surface, dtype=np.float32)
        upper = np.asarray(upper, dtype=np.float32)
        wanted = (times.size, len(lay.surface), cells)
        wanted_upper = (times.size, len(lay.upper), len(lay.levels), cells)
        if surface.shape != wanted or upper.shape != wanted_upper:
            raise InputError(
                f"fields have shapes {surface.shape} and {upper.shape}, must be {wanted} and "
                f"{wanted_upper}",
                field="fields",
            )
        for index, time in enumerate(times):
            self._follows([*self._staged, *(w[0] for w in self._waiting)], time)
            if not (np.isfinite(surface[index]).all() and np.isfinite(upper[index]).all()):
                raise InputError(f"the state at {to_iso(time)} is not finite", field="fields")
            self._waiting.append((time, surface[index], upper[index]))
            if (self.times.size + len(self._waiting)) % self.shard_times == 0:
                self.flush()

    def flush(self) -> None:
        """Write and commit the times that wait."""
        if not self._waiting:
            return
        lay = self.layout
        times, surface, upper = zip(*self._waiting, strict=True)
        self._waiting = []
        self.add_variables()
        start = self.stage(times)
        stop = start + len(times)
        flags = np.zeros((len(times), len(self.channels)), dtype=np.uint8)
        for channel, name in enumerate(lay.surface):
            self._write(name, start, stop, np.stack([f[channel] for f in surface]))
            flags[:, self.channel(name, None)] = 1
        levels = schema.level_order(self.stored)
        rows = [levels.index(level) for level in lay.levels] if lay.upper else []
        shape = (len(times), len(levels), cells_of_nside(self.nside))
        for channel, name in enumerate(lay.upper):
            values = np.full(shape, np.nan, dtype=np.float32)
            values[:, rows] = np.stack([f[channel] for f in upper])
            self._write(name, start, stop, values)
            flags[:, [self.channel(name, level) for level in lay.levels]] = 1
        self.commit(flags)

    def _write(self, name: str, start: int, stop: int, values: Fields) -> None:
        for prefix, nside in self.grids():
            self.array(f"{prefix}{name}", start, stop)[start:stop] = coarsen(values, nside)

    def array(self, name: str, start: int, stop: int) -> Any:
        """Open an array to write times from ``start`` to ``stop`` aside."""
        return staged_array(self.root, self.staging, name, start, stop)

    def stage(self, times: Any) -> int:
        """Announce new times after the last; returns the index of the first of them.

        Raises
        ------
        InputError
            If they do not increase.
        """
        for time in as_utc(times):
            self._follows(list(self._staged), time)
            self._staged = np.append(self._staged, time)
        return int(self.times.size)

    def _follows(self, waiting: Sequence[np.datetime64], time: np.datetime64) -> None:
        known = waiting[-1:] or list(self.times[-1:])
        if known and not known[0] < time:
            raise InputError(
                f"{to_iso(time)} does not follow {to_iso(known[0])}, the last time of {self.path}",
                field="time",
                hint="a store grows forwards; ingest earlier times into a new store",
            )

    def channel(self, name: str, level: int | None) -> int:
        """Position of a field on the channel axis of the completeness array."""
        return self._column[name if level is None else f"{name}@{level}"]

    def commit(
        self, staged: npt.NDArray[np.uint8], old: npt.NDArray[np.uint8] | None = None
    ) -> None:
        """Show the staged times, and variables that were added; when it returns, all is on disk.

        Parameters
        ----------
        staged
            (staged time, channel), 1 where a field was written.
        old
            (time, channel) of the times that were there before, if some were filled.
        """
        times = np.concatenate([self.times, self._staged]).astype("datetime64[s]")
        start, stop = self.times.size, times.size
        flags = np.concatenate([self.complete if old is None else old, staged])
        first = start
        if old is not None:
            changed = np.flatnonzero((old != self.complete).any(axis=1))
            first = int(changed[0]) if changed.size else start
        if stop > start:
            for prefix, _ in self.grids():
                self.array(f"{prefix}time", start, stop)[start:] = self._staged.astype(np.int64)
        self.array(schema.COMPLETE, first, stop)[first:] = flags[first:]
        parts = [(schema.COMPLETE, first, stop)]
        for prefix, _ in self.grids():
            parts += [(f"{prefix}{name}", first, stop) for name in self.stored.names]
            parts += [(f"{prefix}time", start, stop)]
        show(self.root, self.staging, parts, stop, self._added)
        if self.root != self.path:
            publish(self.root, self.path)
            self.root = self.path
        self.times, self.complete, self._staged, self._added = times, flags, as_utc([]), []
