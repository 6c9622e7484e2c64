"""Growing a store of analyses: chunks first, one sync, then one rename that shows them.

The root's consolidated metadata says how many times there are. New times are written beyond that
length, where no reader looks; replacing the root's one file is the commit. A killed writer leaves
either the old length or the new one, and the next writer overwrites what was never shown.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import StorePath

from pear.calendar import Times, iso, utc
from pear.errors import InputError
from pear.sphere.grid import cells_of_nside
from pear.variables import BY_NAME, Layout
from pipelines import contract
from pipelines.files import (
    DurableStore,
    publish,
    sweep,
    sync_filesystem,
    sync_folder,
    write_atomically,
    writer_lock,
)
from pipelines.stored import raw_completeness, stored_layout

Fields = npt.NDArray[np.float32]
_META = "zarr.json"


def create_analysis(
    path: Path, layout: Layout, nside: int, *, attributes: Mapping[str, Any] | None = None,
    shard_times: int | None = None,
) -> None:  # fmt: skip
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
    """
    group = contract.create_group(path, "analysis", layout, nside, attributes or {})
    contract.time_coordinate(group, "analysis", np.zeros(0, dtype=np.int64))
    contract.completeness(group, layout)
    per_shard = shard_times or contract.shard_times(layout, nside)
    for name in layout.names:
        _create_variable(group, name, layout, nside, 0, per_shard)
    contract.consolidate(group)


def _create_variable(
    group: Any, name: str, layout: Layout, nside: int, times: int, per_shard: int
) -> None:
    upper = BY_NAME[name].kind == "upper"
    middle = (len(contract.stored_levels(layout)),) if upper else ()
    cells = cells_of_nside(nside)
    dims = ("time", "level", "cell") if upper else ("time", "cell")
    chunk, shard = (1, *middle, cells), (per_shard, *middle, cells)
    contract.data_variable(group, name, nside, (times, *middle, cells), chunk, shard, dims)


class AnalysisWriter:
    """The one writer of an analysis store; a context manager that holds the store's lock.

    Simple use: ``with AnalysisWriter(path, layout, nside) as writer: writer.append(…)``. The
    store appears with its first committed times. Bulk use: :meth:`stage` new times, fill them from
    any process through :func:`staged_array`, then :meth:`commit`.

    Parameters
    ----------
    path
        The store; made if it does not exist.
    layout, nside
        What it holds; an existing store must agree.
    attributes, shard_times
        As in :func:`create_analysis`; only for a new store.

    Raises
    ------
    InputError
        If another process writes to the store, or an existing store does not agree.
    """

    def __init__(
        self, path: Path | str, layout: Layout, nside: int, *,
        attributes: Mapping[str, Any] | None = None, shard_times: int | None = None,
    ) -> None:  # fmt: skip
        self.path, self.layout, self.nside = Path(path), layout, nside
        self._attributes, self._shard_times = attributes, shard_times
        self._exit = ExitStack()
        self._staged: Times = utc([])
        self._add: list[str] = []
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
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        try:
            if kind is None:
                self.flush()
        finally:
            if self.root != self.path:
                shutil.rmtree(self.root, ignore_errors=True)
            self._exit.close()

    def _open(self) -> None:
        self.root = self.path
        if self.path.exists():
            sweep(self.path)
            self._agree()
        else:
            # Nothing of a new store is to be seen before its first times are whole.
            self.root = self.path.parent / f".{self.path.name}.new"
            shutil.rmtree(self.root, ignore_errors=True)
            create_analysis(
                self.root, self.layout, self.nside, attributes=self._attributes,
                shard_times=self._shard_times,
            )  # fmt: skip
        self.times, self.complete, self.channels = raw_completeness(self.root)
        self._column = {name: i for i, name in enumerate(self.channels)}
        first = self.layout.names[0]
        self.shard_times = int(contract.open_group(self.root)[first].shards[0])

    def _agree(self) -> None:
        """Check an existing store against what we want to write; add variables it lacks."""
        kind, layout, nside = stored_layout(self.path)
        if kind != "analysis" or nside != self.nside:
            raise InputError(
                f"{self.path} is a {kind} store at nside {nside}, not an analysis at nside "
                f"{self.nside}", field="store", hint="write to another store",
            )  # fmt: skip
        strange = sorted(set(self.layout.levels) - set(layout.levels))
        if self.layout.upper and strange:
            raise InputError(
                f"{self.path} has no level {strange[0]} hPa: its levels are "
                f"{', '.join(map(str, layout.levels))}", field="level",
                hint="ingest all levels into a new store",
            )  # fmt: skip
        if self.layout.upper and not layout.levels:
            raise InputError(
                f"{self.path} has no pressure levels and cannot take {self.layout.upper[0]}",
                field="variable", hint="ingest all variables into a new store",
            )  # fmt: skip
        self._add = [name for name in self.layout.names if name not in layout.names]
        self.wanted = self.layout
        self.layout = layout

    def add_variables(self) -> None:
        """Make the variables that were asked for and that the store lacks, missing at all times.

        Readers see them from the next commit on.
        """
        lay = self.layout
        group = zarr.open_group(DurableStore(self.root), mode="r+")
        names = {*lay.names, *self._add}
        base = Layout()
        self.layout = Layout(
            tuple(n for n in base.surface if n in names),
            tuple(n for n in base.upper if n in names),
            lay.levels,
        )
        for name in self._add:
            shutil.rmtree(self.root / name, ignore_errors=True)
            _create_variable(
                group, name, self.layout, self.nside, self.times.size, self.shard_times
            )
        self._added, self._add = self._add, []

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
        times = utc(times)
        surface = np.asarray(surface, dtype=np.float32)
        upper = np.asarray(upper, dtype=np.float32)
        wanted = (times.size, len(lay.surface), cells)
        wanted_upper = (times.size, len(lay.upper), len(lay.levels), cells)
        if surface.shape != wanted or upper.shape != wanted_upper:
            raise InputError(
                f"fields have shapes {surface.shape} and {upper.shape}, must be {wanted} and "
                f"{wanted_upper}", field="fields",
            )  # fmt: skip
        for index, time in enumerate(times):
            self._follows([*self._staged, *(w[0] for w in self._waiting)], time)
            if not (np.isfinite(surface[index]).all() and np.isfinite(upper[index]).all()):
                raise InputError(f"the state at {iso(time)} is not finite", field="fields")
            self._waiting.append((time, surface[index], upper[index]))
            if (self.times.size + len(self._waiting)) % self.shard_times == 0:
                self.flush()

    def flush(self) -> None:
        """Write and commit the times that wait."""
        if not self._waiting:
            return
        names = set(self.layout.names)
        times, surface, upper = zip(*self._waiting, strict=True)
        self._waiting = []
        start = self.stage(times)
        where = slice(start, start + len(times))
        length = start + len(times)
        for channel, name in enumerate(self.layout.surface):
            array = staged_array(self.root, name, length)
            array[where] = np.stack([fields[channel] for fields in surface])
        order = np.argsort(self.layout.levels)
        for channel, name in enumerate(self.layout.upper):
            array = staged_array(self.root, name, length)
            array[where] = np.stack([fields[channel, order] for fields in upper])
        flags = np.zeros((len(times), len(self.channels)), dtype=np.uint8)
        flags[:, [i for i, n in enumerate(self.channels) if n.split("@")[0] in names]] = 1
        self.commit(flags)

    def stage(self, times: Any) -> int:
        """Announce new times after the last; returns the index of the first of them.

        Raises
        ------
        InputError
            If they do not increase.
        """
        for time in utc(times):
            self._follows(list(self._staged), time)
            self._staged = np.append(self._staged, time)
        return int(self.times.size)

    def _follows(self, waiting: Sequence[np.datetime64], time: np.datetime64) -> None:
        known = waiting[-1:] or list(self.times[-1:])
        if known and not known[0] < time:
            raise InputError(
                f"{iso(time)} does not follow {iso(known[0])}, the last time of {self.path}",
                field="time", hint="a store grows forwards; ingest earlier times into a new store",
            )  # fmt: skip

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
        start = self.times.size
        flags = np.concatenate([self.complete if old is None else old, staged])
        staged_array(self.root, "time", times.size)[start:] = self._staged.astype(np.int64)
        first = start if old is None else 0
        staged_array(self.root, contract.COMPLETE, times.size)[first:] = flags[first:]
        _show(self.root, times.size, self._added)
        if self.root != self.path:
            publish(self.root, self.path)
            self.root = self.path
        self.times, self.complete, self._staged, self._added = times, flags, utc([]), []


def staged_array(root: Path, name: str, length: int) -> Any:
    """Open an array of a store as if it had ``length`` times: to write what is not shown yet."""
    store = DurableStore(root)
    metadata = json.loads((root / name / _META).read_text())
    metadata["shape"][0] = length
    return zarr.Array.from_dict(StorePath(store, name), metadata)


def _show(root: Path, length: int, added: Sequence[str] = ()) -> None:
    """Commit: all chunks to disk, then the one rename that tells their number, then to disk."""
    sync_filesystem(root)
    document = json.loads((root / _META).read_text())
    arrays = document["consolidated_metadata"]["metadata"]
    for name in added:
        arrays[name] = json.loads((root / name / _META).read_text())
    grown = []
    for name, metadata in arrays.items():
        if metadata["node_type"] == "array" and metadata.get("dimension_names", [])[:1] == ["time"]:
            metadata["shape"][0] = length
            grown.append((name, metadata))
    write_atomically(root / _META, json.dumps(document, indent=1).encode())
    sync_folder(root)
    for name, metadata in grown:  # for readers that do not use the consolidated metadata
        write_atomically(root / name / _META, json.dumps(metadata, indent=1).encode())
