"""Writing one forecast: steps kept as they come, one finished store shown in one rename.

The fields of a step go into the shards of the store as they are written, aside, and are never
copied: publishing writes the shards' tables and the metadata, and renames.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import LocalStore

from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside, coarsen
from pear.store import schema
from pear.times import as_utc, to_iso
from pear.variables import Layout
from pipelines.storage import create
from pipelines.storage.atomic import publish, require_space, write_atomically
from pipelines.storage.shard_writer import Shards

Fields = npt.NDArray[np.float32]
_FORMAT = 2
"""Of the scratch folder: another one's steps are not taken over."""


class ForecastWriter:
    """Keep the steps of one run on disk and publish them as one store that never changes.

    A run that was killed goes on: make the writer again with the same arguments and ask
    :meth:`steps_done` and :meth:`read_step`.

    Parameters
    ----------
    final_path
        Where the store will appear.
    layout, nside
        What a step holds.
    init_time
        Initial time, UTC.
    leads
        (lead,) timedelta64, increasing; put a zero first to keep the initial state as well.
    attrs
        Title, source (model, checkpoint sha256), history and others for the root group.
    coarser
        Resolutions at which means are kept beside the fields, in groups ``nsideN``.

    Raises
    ------
    InputError
        If the leads do not increase, or a resolution is not coarser.
    OSError
        If the disk is too full for the run.
    """

    def __init__(
        self,
        final_path: Path | str,
        layout: Layout,
        nside: int,
        init_time: Any,
        leads: Any,
        attrs: Mapping[str, Any] | None = None,
        coarser: Sequence[int] = (),
    ) -> None:
        schema.check_overviews(coarser, nside)
        self.coarser = tuple(coarser)
        self.final = Path(final_path)
        self.layout, self.nside = layout, nside
        self.init_time = as_utc(init_time)[0]
        self.leads = np.atleast_1d(np.asarray(leads, dtype="timedelta64[s]"))
        self.attrs = dict(attrs or {})
        if self.leads.size == 0 or np.any(np.diff(self.leads) <= np.timedelta64(0, "s")):
            raise InputError("the leads of a forecast must increase", field="leads")
        self.scratch = self.final.parent / f".{self.final.name}.steps"
        self._store = self.scratch / "store"
        if not self.published:
            self._prepare()
        self._shards = Shards(self.scratch / "journal", self._files())

    @property
    def published(self) -> bool:
        """Whether the finished store is in its place."""
        return self.final.exists()

    def _prepare(self) -> None:
        """Make the scratch folder, or keep it if it belongs to this very run."""
        mark = {
            "format": _FORMAT,
            "layout": [self.layout.surface, self.layout.upper, self.layout.levels],
            "nside": self.nside,
            "init_time": to_iso(self.init_time),
            "leads": self.leads.astype(np.int64).tolist(),
            "attrs": self.attrs,
            "coarser": self.coarser,
        }
        text = json.dumps(mark, sort_keys=True, default=str)
        note = self.scratch / "run.json"
        if note.is_file() and note.read_text() == text:
            return
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        fields = len(self.layout.channels)
        require_space(self.scratch, 4 * fields * self.leads.size * cells_of_nside(self.nside))
        self._skeleton(self._store)
        for shard in self._files().values():
            shard.parent.mkdir(parents=True)
        write_atomically(note, text.encode())

    def _files(self) -> dict[str, Path]:
        """Where the one shard of each array lies, by Zarr's own naming of chunks."""
        groups = ["", *(schema.overview_name(nside) + "/" for nside in self.coarser)]
        axes = {name: 3 if name in self.layout.surface else 4 for name in self.layout.names}
        return {
            group + name: self._store.joinpath(group + name, "c", *["0"] * axes[name])
            for group in groups
            for name in self.layout.names
        }

    def write_step(self, index: int, surface: Any, upper: Any) -> None:
        """Keep the fields at lead ``index``: (S, cell) and (U, level, cell), layout order.

        A killed process loses nothing of it once this returns.

        Raises
        ------
        InputError
            If the index or a shape is wrong, or a value is not finite.
        """
        lay, cells = self.layout, cells_of_nside(self.nside)
        surface, upper = np.asarray(surface, dtype="f4"), np.asarray(upper, dtype="f4")
        want = (len(lay.surface), cells), (len(lay.upper), len(lay.levels), cells)
        if not 0 <= index < self.leads.size:
            raise InputError(f"step {index} is none of {self.leads.size} leads", field="index")
        if (surface.shape, upper.shape) != want:
            raise InputError(
                f"step {index} has shapes {surface.shape} and {upper.shape}, must be {want}",
                field="fields",
            )
        for name, values in zip(lay.names, [*surface, *upper], strict=True):
            if not np.isfinite(values.sum()):  # what no weather overflows
                raise InputError(f"step {index}: {name} is not finite", field=name)
        rows = {name: [values] for name, values in zip(lay.surface, surface, strict=True)}
        order = np.argsort(lay.levels)
        rows |= {n: [values[k] for k in order] for n, values in zip(lay.upper, upper, strict=True)}
        means = {
            f"{schema.overview_name(nside)}/{name}": [coarsen(row, nside) for row in fields]
            for nside in self.coarser
            for name, fields in rows.items()
        }
        self._shards.append(index, rows | means)

    def steps_done(self) -> list[int]:
        """Indices of the leads that are on disk, increasing; all of them once published."""
        if self.published:
            return list(range(self.leads.size))
        return self._shards.steps

    def read_step(self, index: int) -> tuple[Fields, Fields]:
        """Fields of a lead written before: (S, cell) and (U, level, cell), layout order.

        Raises
        ------
        InputError
            If the step is not there or its file is damaged.
        """
        if self.published:
            return self._read_published(index)
        lay, cells = self.layout, cells_of_nside(self.nside)
        try:
            surface = [self._shards.read(index, name)[0] for name in lay.surface]
            stored = [self._shards.read(index, name) for name in lay.upper]
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise InputError(
                f"step {index} of {self.final.name} cannot be read back",
                field="index",
                hint="write the step again",
            ) from error
        order = np.argsort(np.argsort(lay.levels))
        upper = [[rows[k] for k in order] for rows in stored]
        return (
            np.reshape(surface, (len(lay.surface), cells)),
            np.reshape(upper, (len(lay.upper), len(lay.levels), cells)),
        )

    def _read_published(self, index: int) -> tuple[Fields, Fields]:
        group = schema.open_group(self.final)
        order = np.argsort(np.argsort(self.layout.levels))
        cells = cells_of_nside(self.nside)
        lay = self.layout
        surface = [group[name][0, index] for name in lay.surface]
        upper = [group[name][0, index][order] for name in lay.upper]
        return (
            np.reshape(surface, (len(lay.surface), cells)),
            np.reshape(upper, (len(lay.upper), len(lay.levels), cells)),
        )

    def publish(self) -> Path:
        """Check every checksum, finish the shards, and give the store its name in one rename.

        Here everything is brought to disk, once.

        Raises
        ------
        InputError
            If a step is missing.
        OSError
            If a step does not read back; it counts as missing from now on.
        """
        if self.published:
            shutil.rmtree(self.scratch, ignore_errors=True)
            return self.final
        missing = sorted(set(range(self.leads.size)) - set(self.steps_done()))
        if missing:
            raise InputError(
                f"{self.final.name} lacks {len(missing)} of {self.leads.size} steps", field="leads"
            )
        damaged = self._shards.damaged()
        if damaged:
            raise OSError(f"step {damaged[0]} of {self.final.name} does not read back")
        self._shards.close(self.leads.size)
        create.consolidate(zarr.open_group(LocalStore(self._store), mode="r+"), sync=False)
        publish(self._store, self.final)
        shutil.rmtree(self.scratch, ignore_errors=True)
        return self.final

    def _skeleton(self, path: Path) -> None:
        group = create.create_group(path, "forecast", self.layout, self.nside, self.attrs)
        self._arrays(group, self.nside)
        for nside in self.coarser:
            inner = create.create_overview(group, "forecast", self.layout, nside)
            self._arrays(inner, nside)

    def _arrays(self, group: Any, nside: int) -> None:
        lay, leads = self.layout, self.leads.size
        start = np.array([self.init_time]).astype("datetime64[s]").astype(np.int64)
        create.time_coordinate(group, "forecast", start)
        dims, values, attributes = schema.lead_coordinate(self.leads)
        name = "prediction_timedelta"
        encoded = attributes | schema.LEAD_ENCODING
        create.coordinate(group, name, values.astype(np.int64), encoded, dims)
        cells, levels = cells_of_nside(nside), len(lay.levels)
        lead = ("time", "prediction_timedelta")
        for name in lay.surface:
            shape = (1, leads, cells)
            create.data_variable(group, name, nside, shape, (1, 1, cells), shape, (*lead, "cell"))
        for name in lay.upper:
            shape4 = (1, leads, levels, cells)
            create.data_variable(
                group, name, nside, shape4, (1, 1, 1, cells), shape4, (*lead, "level", "cell")
            )
