"""Read a climatology: the expected fields at any valid time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import coarsen, nside_from_cells
from pear.store.day_of_year import calendar_slot, harmonic_basis, hour_of_day
from pear.times import as_utc, to_iso
from pear.typing import Times
from pear.variables import BY_NAME, LEVELS, VARIABLES, Layout

Fields = npt.NDArray[np.float32]


Kind = Literal["harmonic", "daily", "smoothed"]


KINDS: Final[tuple[str, ...]] = get_args(Kind)


KIND_ATTRIBUTE: Final = "climatology_kind"


@dataclass(frozen=True)
class Climatology:
    """Expected fields by valid time; :meth:`open` reads one from its store.

    Attributes
    ----------
    name
        Name of the store, as answers give it.
    kind
        One of :data:`KINDS`.
    layout, nside
        Channels and grid of the fields that :meth:`at` answers.
    hours
        Hours of the day it knows.
    period
        First and last time of the analyses it was built from.
    """

    name: str
    kind: str
    layout: Layout
    nside: int
    hours: tuple[int, ...]
    period: tuple[str, str]
    _read: Callable[[Times], tuple[Fields, Fields]]

    def at(self, valid_time: Any) -> tuple[Fields, Fields]:
        """Expected fields at each valid time.

        Returns
        -------
        (surface, upper)
            (time, surface variable, cell) and (time, upper variable, level, cell), float32,
            physical units, channels in the order of :attr:`layout`.

        Raises
        ------
        InputError
            If a time falls on an hour of the day that the climatology does not know.
        """
        times = as_utc(valid_time)
        unknown = ~np.isin(hour_of_day(times), self.hours)
        if unknown.any():
            bad = to_iso(times[unknown][0])
            raise InputError(
                f"climatology {self.name} knows hours {list(self.hours)} UTC, not {bad}",
                field="climatology",
                hint="build one from analyses at that hour",
            )
        return self._read(times)

    @classmethod
    def open(
        cls, path: Path | str, layout: Layout | None = None, nside: int | None = None
    ) -> Climatology:
        """Open a climatology store.

        Parameters
        ----------
        path
            Written by :func:`pipelines.evaluation.climatology`.
        layout
            Channels to answer; all that are stored if not given.
        nside
            Grid to answer on, coarser than or equal to the stored one; the stored one if not
            given.

        Raises
        ------
        InputError
            If the path is no climatology, or lacks a variable or level, or is too coarse.
        """
        data = _open(Path(path))
        stored = nside_from_cells(data.sizes["cell"])
        target = stored if nside is None else nside
        if target > stored:
            raise InputError(
                f"climatology {Path(path).stem} is at nside {stored}, too coarse for {target}",
                field="climatology",
                hint="build one from the finer analysis",
            )
        wanted = stored_layout(data) if layout is None else layout
        _check_holds(data, wanted, Path(path))
        reader = _read_harmonics if data.attrs[KIND_ATTRIBUTE] == "harmonic" else _read_days
        return cls(
            name=Path(path).stem,
            kind=str(data.attrs[KIND_ATTRIBUTE]),
            layout=wanted,
            nside=target,
            hours=tuple(int(h) for h in data["hour"].values),
            period=(str(data.attrs["period_start"]), str(data.attrs["period_end"])),
            _read=reader(data, wanted, target),
        )


def _open(path: Path) -> xr.Dataset:
    if not path.is_dir():
        raise InputError(
            f"no climatology at {path}",
            field="climatology",
            hint="build one with `pear climatology`",
        )
    try:
        data: xr.Dataset = xr.open_zarr(path, consolidated=False, chunks=None, mask_and_scale=False)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(f"{path} is no climatology: {error}", field="climatology") from error
    if data.attrs.get(KIND_ATTRIBUTE) not in KINDS or "cell" not in data.sizes:
        raise InputError(
            f"{path} is a store, but no climatology",
            field="climatology",
            hint="build one with `pear climatology`",
        )
    return data


def stored_layout(data: xr.Dataset) -> Layout:
    """Channels that a store holds, in the order of :mod:`pear.variables`, levels as stored."""
    levels = tuple(int(level) for level in data["level"].values) if "level" in data else LEVELS
    held = [v for v in VARIABLES if v.name in data]
    return Layout(
        tuple(v.name for v in held if v.kind == "surface"),
        tuple(v.name for v in held if v.kind == "upper"),
        levels,
    )


def _check_holds(data: xr.Dataset, layout: Layout, path: Path) -> None:
    missing = [name for name in layout.names if name not in data]
    if missing:
        raise InputError(f"climatology {path.stem} lacks {', '.join(missing)}", field="climatology")
    levels = set(data["level"].values.tolist()) if "level" in data else set()
    absent = [level for level in layout.levels if layout.upper and level not in levels]
    if absent:
        raise InputError(f"climatology {path.stem} lacks levels {absent} hPa", field="climatology")


def _array(data: xr.Dataset, name: str, layout: Layout, **where: Any) -> Fields:
    """Read one variable in physical units, levels in the layout's order, unpacked."""

    def pick(array: xr.DataArray) -> npt.NDArray[Any]:
        array = array.isel(where)
        if BY_NAME[name].kind == "upper":
            array = array.sel(level=list(layout.levels))
        return np.asarray(array.values)

    values = pick(data[name])
    if f"{name}_scale" in data:
        scale, offset = (pick(data[f"{name}_{part}"]) for part in ("scale", "offset"))
        values = values.astype(np.float32) * scale[..., None] + offset[..., None]
    return values.astype(np.float32, copy=False)


def _stacked(data: xr.Dataset, layout: Layout, nside: int, **where: Any) -> tuple[Fields, Fields]:
    """Read every channel: (…, surface, cell) and (…, upper, level, cell)."""

    def stack(names: tuple[str, ...], axis: int, empty: tuple[int, ...]) -> Fields:
        if not names:
            lead = data.isel(where).sizes
            kept = [lead[d] for d in ("hour", "term", "day") if d in lead]
            return np.empty((*kept, *empty), dtype=np.float32)
        read = [coarsen(_array(data, name, layout, **where), nside) for name in names]
        return np.stack(read, axis=axis).astype(np.float32, copy=False)

    cells = 12 * nside * nside
    return (
        stack(layout.surface, -2, (0, cells)),
        stack(layout.upper, -3, (0, len(layout.levels), cells)),
    )


def _read_harmonics(
    data: xr.Dataset, layout: Layout, nside: int
) -> Callable[[Times], tuple[Fields, Fields]]:
    # The coefficients are few: they stay in memory and a field is a handful of products.
    surface, upper = _stacked(data, layout, nside)
    harmonics = (data.sizes["term"] - 1) // 2
    hours = data["hour"].values

    def read(times: Times) -> tuple[Fields, Fields]:
        basis = harmonic_basis(times, harmonics).astype(np.float32)
        index = np.searchsorted(hours, hour_of_day(times))
        pairs = list(zip(basis, index, strict=True))
        return (
            np.stack([np.tensordot(b, surface[i], axes=1) for b, i in pairs]),
            np.stack([np.tensordot(b, upper[i], axes=1) for b, i in pairs]),
        )

    return read


def _read_days(
    data: xr.Dataset, layout: Layout, nside: int
) -> Callable[[Times], tuple[Fields, Fields]]:
    hours = data["hour"].values

    def read(times: Times) -> tuple[Fields, Fields]:
        index = np.searchsorted(hours, hour_of_day(times))
        slots = calendar_slot(times)
        parts = [
            _stacked(data, layout, nside, hour=int(hour), day=int(day))
            for hour, day in zip(index, slots, strict=True)
        ]
        return np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])

    return read
