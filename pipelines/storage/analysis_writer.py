"""Analysis stores that grow: new times are staged and appear in one rename.

The consolidated metadata of the root holds the number of times. New times are staged and moved
beyond that length, where no reader looks; replacing the root's metadata is the commit. A writer
that is killed leaves either the old length or the new one, and the next writer cleans up.

Times that exist are replaced in a second folder of hard links, which then exchanges its name with
the store: at any moment the store is the old one or the new one, of every time and variable.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside
from pear.store import metadata, schema
from pear.store.coarse import coarsen_field, coarsen_fields
from pear.store.dataset import make_layout
from pear.store.reader import (
    read_completeness,
    read_lead_times,
    read_preliminary,
    stored_layout,
)
from pear.times import as_utc, to_iso
from pear.typing import Int64, Times
from pear.variables import BY_NAME, Layout, wind_pair
from pear.variables.own import DEFINITIONS, definitions
from pipelines.storage import create, staging
from pipelines.storage.atomic import (
    exchange,
    link_tree,
    publish,
    remove_partial_files,
    sync_filesystem,
    writer_lock,
)
from pipelines.storage.metadata import rewrite_child_metadata

Fields = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


_OF_TIMES: Final[dict[str, Callable[[zarr.Group], None]]] = {
    schema.PRELIMINARY: create.preliminary,
    schema.LEAD_TIME: create.lead_time,
}
"""Arrays along time beside the fields and their completeness, and what creates them empty."""


def create_store(
    path: Path,
    layout: Layout,
    nside: int,
    *,
    attributes: Mapping[str, Any] | None = None,
    shard_times: int | None = None,
    overviews: Sequence[int] = (),
) -> None:
    """Create an analysis store without times.

    Parameters
    ----------
    path
        Folder of the store; must not exist.
    layout
        Variables and levels; levels are stored from the top down.
    nside
        Resolution.
    attributes
        Title, source, history, licence and other attributes of the root group.
    shard_times
        Times per file; default: files of about 100 MB.
    overviews
        Resolutions at which cell means are kept as well, in groups ``nsideN``.
    """
    schema.check_overviews(overviews, nside)
    group = create.create_group(path, "analysis", layout, nside, attributes or {})
    create.completeness(group, layout)
    create.preliminary(group)
    create.lead_time(group)
    grids = {nside: group}
    for one in overviews:
        grids[one] = create.create_overview(group, "analysis", layout, one)
    for one, inner in grids.items():
        create.time_coordinate(inner, "analysis", np.zeros(0, dtype=np.int64))
        for name in layout.names:
            per_shard = shard_times or schema.times_per_shard(layout, nside)
            _create_variable(inner, name, layout, one, 0, per_shard)
    create.consolidate(group)


def _create_variable(
    group: zarr.Group, name: str, layout: Layout, nside: int, times: int, shard_times: int
) -> None:
    upper = BY_NAME[name].kind == "upper"
    middle = (len(schema.level_order(layout)),) if upper else ()
    tail = (*middle, cells_of_nside(nside))
    dims = ("time", "level", "cell") if upper else ("time", "cell")
    create.data_variable(group, name, nside, (times, *tail), (1, *tail), (shard_times, *tail), dims)


class AnalysisWriter:
    """The only writer of an analysis store; a context manager that holds the store's lock.

    :meth:`append` adds whole states. :meth:`transaction` adds times of which single fields may be
    missing, and takes fields that other processes wrote through
    :func:`pipelines.storage.staging.staged_array`. A new store appears with its first times.

    Parameters
    ----------
    path
        The store; created if it does not exist.
    layout
        Channels of :meth:`append` in their order. Variables that an existing store lacks are added
        to it, missing at the times it has; its levels must include those of the layout.
    nside
        Resolution; must be that of an existing store.
    attributes, shard_times, overviews
        As in :func:`create_store`; for a new store only.

    Attributes
    ----------
    path, staging
        The store and its staging folder.
    stored
        Variables and levels of the store, including those that are being added.
    times
        (time,) valid times that have been committed.
    complete
        (time, channel) 1 where the store has the field.
    preliminary
        (time,) True where the data are preliminary.
    leads
        (time,) lead times of states that are forecasts, seconds; 0 of analyses.
    channels
        Names on the channel axis: ``variable`` or ``variable@level``.
    shard_times
        Times per file.
    overviews
        Resolutions of the overviews of the store.

    Raises
    ------
    InputError
        If another process writes to the store, or an existing store does not fit.
    """

    stored: Layout
    times: Times
    complete: npt.NDArray[np.uint8]
    preliminary: Flags
    leads: Int64
    channels: tuple[str, ...]
    shard_times: int
    overviews: tuple[int, ...]

    def __init__(
        self,
        path: Path | str,
        layout: Layout,
        nside: int,
        *,
        attributes: Mapping[str, Any] | None = None,
        shard_times: int | None = None,
        overviews: Sequence[int] = (),
    ) -> None:
        self.path, self.layout, self.nside = Path(path), layout, nside
        self.staging = staging.staging_folder(self.path)
        # Nothing of a new store is visible before its first times are complete.
        self._hidden = self.path.parent / f".{self.path.name}.new"
        self._second = self.path.parent / f".{self.path.name}.replacing"
        self._before = self.path.parent / f".{self.path.name}.before"
        self._existed = False
        self._options = {
            "attributes": attributes,
            "shard_times": shard_times,
            "overviews": overviews,
        }
        self._added: list[str] = []  # paths of the staged new variables
        self._visible: tuple[str, ...] = ()
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        self._exit.enter_context(writer_lock(self.path))
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def append(self, times: npt.ArrayLike, surface: npt.ArrayLike, upper: npt.ArrayLike) -> None:
        """Add states after the last time; they are on disk when this returns.

        Parameters
        ----------
        times
            (time,) valid times, UTC, increasing.
        surface, upper
            (time, variable, cell) and (time, variable, level, cell), in the order of the layout.

        Raises
        ------
        InputError
            If the times do not increase, a shape is wrong or a value is not finite.
        """
        layout, cells = self.layout, cells_of_nside(self.nside)
        axis = as_utc(times)
        surface = np.asarray(surface, dtype=np.float32)
        upper = np.asarray(upper, dtype=np.float32)
        expected = (
            (axis.size, len(layout.surface), cells),
            (axis.size, len(layout.upper), len(layout.levels), cells),
        )
        if (surface.shape, upper.shape) != expected:
            raise InputError(
                f"fields have shapes {surface.shape} and {upper.shape}, expected {expected}",
                field="fields",
            )
        for time, *parts in zip(axis, surface, upper, strict=True):
            if not all(np.isfinite(part).all() for part in parts):
                raise InputError(f"the state at {to_iso(time)} is not finite", field="fields")
        self._require_increasing(axis)
        while axis.size:
            room = self.shard_times - self.times.size % self.shard_times
            with self.transaction(axis[:room]) as changes:
                for row, name in enumerate(layout.surface):
                    changes.write(name, surface[:room, row])
                for row, name in enumerate(layout.upper):
                    changes.write(name, upper[:room, row], layout.levels)
            axis, surface, upper = axis[room:], surface[room:], upper[room:]

    @contextmanager
    def transaction(
        self, times: npt.ArrayLike = (), replaced: Sequence[int] = ()
    ) -> Iterator[Transaction]:
        """Begin changes that readers will see together.

        Leaving the block commits them, and they are on disk then; an exception discards them. Times
        that do not increase are an InputError.

        Parameters
        ----------
        times
            (time,) new valid times after the last, UTC; may be empty.
        replaced
            Positions of times of the store whose fields are written again.

        Yields
        ------
        Transaction
            The changes.
        """
        axis = as_utc(times)
        self._require_increasing(axis)
        changes = Transaction(self, axis, replaced)
        try:
            yield changes
        except BaseException:
            self._stage_variables()
            raise
        self._commit(changes)

    def discard(self) -> None:
        """Forget what has been staged and not committed."""
        self._stage_variables()

    def keep_snapshot(self) -> None:
        """Keep the present state of the store for :meth:`roll_back`, until the writer closes."""
        if self.path.exists() and not self._before.exists():
            link_tree(self.path, self._before)

    def roll_back(self) -> None:
        """Return to the store of the last snapshot; remove a store that this writer created."""
        if not self._existed and self.path.exists():
            self.path.rename(self._hidden)
        elif self._before.exists():
            exchange(self._before, self.path)

    def columns(self, name: str) -> list[int]:
        """Return the positions of a variable's fields on the channel axis."""
        levels = schema.level_order(self.stored)
        names = [f"{name}@{level}" for level in levels] if BY_NAME[name].kind == "upper" else [name]
        return [self.channels.index(one) for one in names]

    def grids(self) -> list[tuple[str, int]]:
        """Return path prefix and resolution of the fields and of the overviews."""
        return [("", self.nside)] + [(f"{schema.overview_name(n)}/", n) for n in self.overviews]

    @property
    def added(self) -> tuple[str, ...]:
        """Paths of arrays that readers do not see before the next commit."""
        return tuple(self._added)

    # --- internals ---------------------------------------------------------------------------

    @property
    def _root(self) -> Path:
        return self.path if self.path.exists() else self._hidden

    def _open(self) -> None:
        self._remove_hidden()
        self._existed = self.path.exists()
        if self._existed:
            remove_partial_files(self.path)
            self._require_fit()
            rewrite_child_metadata(self.path)
        else:
            create_store(self._hidden, self.layout, self.nside, **self._options)  # type: ignore[arg-type]
            self.stored, self._visible = self.layout, ()
        self.times, self.complete, self.channels = read_completeness(self._root, all_channels=True)
        self._committed_channels = len(self.channels)
        self.preliminary = read_preliminary(self._root)
        group = schema.open_group(self._root)
        self.leads = read_lead_times(self._root)
        self._lead_time = schema.lead_time_name(group)
        held = {schema.LEAD_TIME if name == self._lead_time else name for name in group}
        self._lacking = [name for name in _OF_TIMES if name not in held]
        self.overviews = schema.overviews(group)
        shards = schema.get_array(group, self.stored.names[0]).shards
        self.shard_times = int(shards[0]) if shards else 1
        self._stage_variables()

    def _close(self) -> None:
        staging.discard(self.staging)
        self._remove_hidden()
        self._exit.close()

    def _remove_hidden(self) -> None:
        for folder in (self._hidden, self._second, self._before):
            shutil.rmtree(folder, ignore_errors=True)

    def _require_fit(self) -> None:
        kind, layout, nside = stored_layout(self.path)
        if kind != "analysis" or nside != self.nside:
            raise InputError(
                f"{self.path} is a {kind} store at nside {nside}, not an analysis at nside "
                f"{self.nside}",
                field="store",
                hint="write to another store",
            )
        unknown = sorted(set(self.layout.levels) - set(layout.levels))
        if self.layout.upper and not layout.levels:
            raise InputError(
                f"{self.path} has no pressure levels and cannot take {self.layout.upper[0]}",
                field="variable",
                hint="ingest all variables into a new store",
            )
        if self.layout.upper and unknown:
            raise InputError(
                f"{self.path} has no level {unknown[0]} hPa: its levels are "
                f"{', '.join(map(str, layout.levels))}",
                field="level",
                hint="ingest all levels into a new store",
            )
        self.stored, self._visible = layout, layout.names

    def _stage_variables(self) -> None:
        """Empty the staging folder; stage the metadata of variables that readers do not see yet.

        These are the variables of the layout that the store lacks, and all of a new store:
        processes that write them need not know where the store is before it has its name.
        """
        staging.discard(self.staging)
        known = {*self.stored.names, *self.layout.names}
        self.stored = make_layout(known, self.stored.levels)
        new = [name for name in self.stored.names if name not in self._visible]
        self._added = []
        self._lengthen_channels()
        if not new and not self._lacking:
            return
        aside = zarr.open_group(LocalStore(self.staging), mode="a", zarr_format=3)
        version = schema.version_of(schema.open_group(self._root).attrs)
        for prefix, nside in self.grids():
            group = aside.require_group(prefix) if prefix else aside
            group.attrs[schema.VERSION] = version  # new variables have the attributes of the others
            for name in new:
                _create_variable(group, name, self.stored, nside, self.times.size, self.shard_times)
            self._added += [f"{prefix}{name}" for name in new]
        for name in self._lacking:  # of a store of an earlier version
            _OF_TIMES[name](aside)
            self._added.append(name)

    def _lengthen_channels(self) -> None:
        """Stage a longer channel axis if the store gets variables that are not published."""
        wanted = schema.all_channels(schema.level_order(self.stored), self.stored.names)
        self.channels += tuple(name for name in wanted if name not in self.channels)
        if len(self.channels) == self._committed_channels:
            return
        more = len(self.channels) - self.complete.shape[1]
        self.complete = np.pad(self.complete, ((0, 0), (0, more)))
        document = metadata.read(self._root / schema.COMPLETE)
        document["shape"][1] = len(self.channels)
        document["attributes"] = {**document["attributes"], "channels": list(self.channels)}
        folder = self.staging / schema.COMPLETE
        folder.mkdir(parents=True, exist_ok=True)
        (folder / metadata.META).write_text(json.dumps(document), encoding="utf-8")
        self._added.append(schema.COMPLETE)

    def _require_increasing(self, times: Times) -> None:
        axis = np.concatenate([self.times[-1:], times])
        late = np.flatnonzero(np.diff(axis) <= np.timedelta64(0, "s"))
        if late.size:
            first = int(late[0])
            raise InputError(
                f"{to_iso(axis[first + 1])} does not follow {to_iso(axis[first])}, the last time "
                f"of {self.path}",
                field="time",
                hint="a store grows forwards; ingest earlier times into a new store",
            )

    def _commit(self, changes: Transaction) -> None:
        start, stop = self.times.size, changes.stop
        flags, preliminary = changes.complete, changes.preliminary
        touched = (flags[:start] != self.complete).any(axis=1)
        touched |= preliminary[:start] != self.preliminary
        touched |= changes.leads[:start] != self.leads
        touched[changes.replaced] = True
        changed = np.flatnonzero(touched)
        new_variables = [name for name in self._added if name not in (schema.COMPLETE, *_OF_TIMES)]
        if not (stop > start or changed.size or new_variables):
            return
        root = self._root
        self._average_winds(root, changes)
        first = int(changed[0]) if changed.size else start
        last = stop if stop > start else (int(changed[-1]) + 1 if changed.size else first)
        parts = []
        for prefix, _ in self.grids():
            if last > first:
                parts += [(f"{prefix}{name}", first, last) for name in self.stored.names]
            if stop > start:
                time = staging.staged_array(root, self.staging, f"{prefix}time", start, stop)
                time[start:] = changes.times.astype(np.int64)
                parts.append((f"{prefix}time", start, stop))
        attributes = self._attributes(added=bool(new_variables))
        of_times: dict[str, npt.NDArray[np.generic]] = {
            schema.COMPLETE: flags,
            schema.PRELIMINARY: preliminary,
            self._lead_time: changes.leads,
        }
        for name, values in of_times.items():
            begin = 0 if name in self._added else first
            if (stop if name in self._added else last) > begin:
                array = staging.staged_array(root, self.staging, name, begin, stop)
                array[begin:] = values[begin:]
                parts.append((name, begin, stop))
        if changes.replaced:
            self._exchange(parts, stop, attributes)
        else:
            staging.commit(root, self.staging, parts, stop, self._added, attributes)
        if root != self.path:
            publish(root, self.path)
        self.times = np.concatenate([self.times, changes.times]).astype("datetime64[s]")
        self.complete, self._added, self._visible = flags, [], self.stored.names
        self._committed_channels = len(self.channels)
        self.preliminary, self.leads, self._lacking = preliminary, changes.leads, []

    def _attributes(self, *, added: bool) -> dict[str, Any]:
        """Return the attributes of the root group that a commit changes."""
        attributes: dict[str, Any] = {}
        if self._lacking:
            whole = schema.group_attributes("analysis", self.nside, {})["coordinates"]
            attributes["coordinates"] = whole.replace(schema.LEAD_TIME, self._lead_time)
        if added and (defined := definitions(self.stored.names)) is not None:
            attributes[DEFINITIONS] = defined
        return attributes

    def _average_winds(self, root: Path, changes: Transaction) -> None:
        """Write the winds of the overviews, which are means of vectors: both components at once."""
        start = self.times.size
        found = {pair for name in self.stored.names if (pair := wind_pair(name)) is not None}
        for pair in sorted(found) if self.overviews else ():
            if not set(pair) <= set(self.stored.names):
                continue
            columns = [column for name in pair for column in self.columns(name)]
            old = (changes.complete[:start, columns] != self.complete[:, columns]).any(axis=1)
            old[changes.replaced] = True
            rows = np.concatenate([np.flatnonzero(old), np.arange(start, changes.stop)])
            for shard in np.unique(rows // self.shard_times):
                at = rows[rows // self.shard_times == shard].tolist()
                self._average_wind(root, pair, at, changes.stop)

    def _average_wind(self, root: Path, pair: tuple[str, str], at: list[int], stop: int) -> None:
        """Write a wind of the overviews at times of one file."""
        begin, end = at[0], at[-1] + 1

        def staged(prefix: str) -> dict[str, zarr.Array[Any]]:
            names = {name: f"{prefix}{name}" for name in pair}
            return {
                name: staging.staged_array(root, self.staging, path, begin, stop)
                for name, path in names.items()
            }

        fields = staged("")
        for prefix, nside in self.grids()[1:]:
            targets = staged(prefix)
            means = {name: np.asarray(array[begin:end]) for name, array in targets.items()}
            for position in at:
                wind = {name: np.asarray(array[position]) for name, array in fields.items()}
                for name, values in coarsen_fields(wind, nside).items():
                    means[name][position - begin] = values
            for name, array in targets.items():
                array[begin:end] = means[name]

    def _exchange(
        self, parts: Sequence[tuple[str, int, int]], stop: int, attributes: Mapping[str, Any]
    ) -> None:
        """Commit to a second folder of the store, and let the two exchange their names."""
        shutil.rmtree(self._second, ignore_errors=True)
        link_tree(self.path, self._second)
        count = int(schema.open_group(self.path).attrs.get(schema.REPLACEMENTS, 0)) + 1  # type: ignore[arg-type]
        about = {**attributes, schema.REPLACEMENTS: count}
        staging.commit(self._second, self.staging, parts, stop, self._added, about)
        sync_filesystem(self._second)
        exchange(self._second, self.path)
        shutil.rmtree(self._second, ignore_errors=True)


class Transaction:
    """Changes of an analysis store; see :meth:`AnalysisWriter.transaction`.

    Parameters
    ----------
    writer
        Writer of the store.
    times
        (time,) new valid times.
    replaced
        Positions of the times that are replaced.

    Attributes
    ----------
    times, replaced
        As given.
    start, stop
        Positions of the new times in the store.
    complete
        (time, channel) completeness of the store after the commit.
    preliminary
        (time,) True where the data are preliminary after the commit.
    leads
        (time,) lead times of states that are forecasts after the commit, seconds; 0 of analyses.
    """

    def __init__(self, writer: AnalysisWriter, times: Times, replaced: Sequence[int] = ()) -> None:
        self._writer, self.times, self.replaced = writer, times, list(replaced)
        self.start, self.stop = writer.times.size, writer.times.size + times.size
        empty = np.zeros((times.size, len(writer.channels)), dtype=np.uint8)
        self.complete = np.concatenate([writer.complete, empty])
        self.preliminary = np.concatenate([writer.preliminary, np.zeros(times.size, dtype=bool)])
        self.leads = np.concatenate([writer.leads, np.zeros(times.size, dtype=np.int64)])

    def write(self, name: str, values: Fields, levels: Sequence[int] | None = None) -> None:
        """Write a variable at the new times; fields with missing values are flagged missing.

        Parameters
        ----------
        name
            Canonical name.
        values
            (time, cell) or (time, level, cell), NaN where missing.
        levels
            Levels of the values, hPa; default: those of the store, from the top down.
        """
        writer, where = self._writer, slice(self.start, self.stop)
        if BY_NAME[name].kind == "upper":
            order = schema.level_order(writer.stored)
            rows = [order.index(level) for level in (order if levels is None else levels)]
            full = np.full((self.times.size, len(order), values.shape[-1]), np.nan, np.float32)
            full[:, rows] = values
            values = full
        for prefix, nside in writer.grids():
            array = staging.staged_array(
                writer.path, writer.staging, f"{prefix}{name}", self.start, self.stop
            )
            array[where] = coarsen_field(name, values, nside)
        self.mark(name, self.start, np.asarray(np.isfinite(values).all(axis=-1)))

    def mark(self, name: str, start: int, present: Flags) -> None:
        """Flag fields as complete that other processes have staged.

        Parameters
        ----------
        name
            Canonical name.
        start
            Position of the first time in the store; may be that of a time committed before.
        present
            (time,) or (time, level) True where a field was written.
        """
        flags = present.reshape(len(present), -1).astype(np.uint8)
        self.complete[start : start + len(present), self._writer.columns(name)] |= flags

    def restore(self, position: int) -> None:
        """Give a time that was to be replaced its old fields back.

        Parameters
        ----------
        position
            Position of the time in the store.
        """
        writer = self._writer
        group = schema.open_group(writer.path)
        where = slice(position, position + 1)
        for prefix, _ in writer.grids():
            for name in writer.stored.names:
                path = f"{prefix}{name}"
                if path not in writer.added:
                    array = staging.staged_array(
                        writer.path, writer.staging, path, position, self.stop
                    )
                    array[where] = schema.get_array(group, path)[where]
        self.complete[position] = writer.complete[position]
        self.preliminary[position] = writer.preliminary[position]
        self.leads[position] = writer.leads[position]
        self.replaced.remove(position)
