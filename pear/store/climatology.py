"""Climatologies: the expected fields at any valid time, read from their store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.grib_library import import_before_xarray
from pear.sphere.healpix import nside_from_cells
from pear.store import metadata
from pear.store.coarse import coarsen_field
from pear.store.dataset import arrange_fields, build_dataset, dataset_layout
from pear.store.day_of_year import calendar_slot, harmonic_basis, hour_of_day
from pear.store.fetched import StoreUnavailableError
from pear.store.manifest import DamagedStoreError
from pear.store.schema import level_order
from pear.store.verified import VerifiedStore
from pear.times import as_utc, to_iso
from pear.typing import Array, Channel, Float32, StrPath, Times, TimesLike
from pear.variables import BY_NAME, Layout, wind_partner

Kind = Literal["harmonic", "daily", "smoothed"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
KIND_ATTRIBUTE: Final = "climatology_kind"
Fields: TypeAlias = tuple[Float32, Float32]
"""(…, surface variable, cell) and (…, upper variable, level, cell)."""


@dataclass(frozen=True)
class Climatology:
    """Expected fields by valid time.

    Attributes
    ----------
    name
        Name of the store.
    kind
        One of :data:`KINDS`.
    layout, nside
        Channels and grid of the fields.
    hours
        Hours of the day that are covered.
    period
        First and last time of the analyses that it was built from.
    derived
        Derived quantities that :meth:`derived_at` returns.

    Examples
    --------
    >>> import pear
    >>> from pear import resources
    >>> climatology = pear.Climatology.open(resources.path("climatology"), nside=4)
    >>> surface, upper = climatology.at(["2006-02-01", "2006-08-01"])
    >>> climatology.kind, surface.shape, upper.shape
    ('harmonic', (2, 4, 192), (2, 5, 13, 192))
    """

    name: str
    kind: str
    layout: Layout
    nside: int
    hours: tuple[int, ...]
    period: tuple[str, str]
    _read: Callable[[Times], Fields]
    derived: tuple[Channel, ...] = ()
    _read_derived: Callable[[Times], Float32] | None = None

    def derived_at(self, valid_time: TimesLike) -> Float32:
        """Return the means of derived quantities, which are not those of the mean fields.

        Parameters
        ----------
        valid_time
            One or several times, UTC.

        Returns
        -------
        ndarray
            (time, derived quantity, cell), in the order of :attr:`derived`.
        """
        times = self._covered(valid_time)
        if self._read_derived is None:
            return np.empty((times.size, 0, 12 * self.nside**2), dtype=np.float32)
        return self._read_derived(times)

    def at(self, valid_time: TimesLike) -> Fields:
        """Return the expected fields at each valid time.

        Parameters
        ----------
        valid_time
            One or several times, UTC.

        Returns
        -------
        surface, upper : ndarray
            (time, surface variable, cell) and (time, upper variable, level, cell), float32,
            physical units, channels in the order of :attr:`layout`.

        Notes
        -----
        An ``InputError`` is raised if a time falls on an hour of the day that is not covered.
        """
        surface, upper = self._read(self._covered(valid_time))
        _raise_to_floor(surface, self.layout.surface)
        _raise_to_floor(upper, self.layout.upper)
        return surface, upper

    def _covered(self, valid_time: TimesLike) -> Times:
        """Return the times, or raise InputError for an hour of the day that is not covered."""
        times = as_utc(valid_time)
        unknown = ~np.isin(hour_of_day(times), self.hours)
        if unknown.any():
            raise InputError(
                f"climatology {self.name} covers hours {list(self.hours)} UTC, not "
                f"{to_iso(times[unknown][0])}",
                field="climatology",
                hint="build one from analyses at that hour",
            )
        return times

    def to_xarray(self, valid_time: TimesLike) -> xr.Dataset:
        """Return the expected fields at each valid time as a Dataset (time, level, cell)."""
        fields = arrange_fields(*self.at(valid_time), self.layout)
        about = {"title": f"Climatology {self.name}"}
        return build_dataset(fields, level_order(self.layout), valid_time, attributes=about)

    @classmethod
    def open(
        cls,
        path: StrPath,
        layout: Layout | None = None,
        nside: int | None = None,
        derived: Sequence[Channel] = (),
    ) -> Climatology:
        """Open a climatology store.

        Parameters
        ----------
        path
            Written by :func:`pipelines.evaluation.climatology`.
        layout
            Channels of the fields; default: all that are stored.
        nside
            Grid of the fields, not finer than the stored one; default: the stored one.
        derived
            Derived quantities to read as well, on the stored grid.

        Returns
        -------
        Climatology
            Reads from the store at each call, or holds the coefficients of its harmonics.

        Raises
        ------
        InputError
            If the path is not a climatology, lacks a variable or level, or is too coarse.
        """
        data = open_arrays(metadata.store_path(path))
        stored = nside_from_cells(data.sizes["cell"])
        target = stored if nside is None else nside
        if target > stored:
            raise InputError(
                f"climatology {Path(path).stem} is at nside {stored}, too coarse for {target}",
                field="climatology",
                hint="build one from the finer analysis",
            )
        wanted = dataset_layout(data) if layout is None else layout
        _check_holds(data, wanted, Path(path))
        _check_derived(data, derived, Path(path), is_coarser=target != stored)
        is_harmonic = data.attrs[KIND_ATTRIBUTE] == "harmonic"
        reader = _read_harmonics if is_harmonic else _read_days
        return cls(
            name=Path(path).stem,
            kind=str(data.attrs[KIND_ATTRIBUTE]),
            layout=wanted,
            nside=target,
            hours=tuple(int(h) for h in data["hour"].values),
            period=(str(data.attrs["period_start"]), str(data.attrs["period_end"])),
            _read=reader(data, wanted, target),
            derived=tuple(derived),
            _read_derived=partial(_read_quantities, data, tuple(derived)) if derived else None,
        )


def _raise_to_floor(fields: Float32, names: tuple[str, ...]) -> None:
    """Raise values below the floor of a variable in place: harmonics of rain reach below zero."""
    for place, name in enumerate(names):
        row = BY_NAME[name]
        if row.floor is not None and not row.published:
            np.maximum(fields[:, place], row.floor, out=fields[:, place])


def open_arrays(path: Path) -> xr.Dataset:
    """Open the arrays of a climatology as they are stored, packed.

    Returns
    -------
    xarray.Dataset
        (hour, term or day, [level,] cell), and ``NAME_spread`` (hour, month, [level,] cell) if
        it was built with the spread.

    Raises
    ------
    InputError
        If the path is not a climatology.
    DamagedStoreError
        If it is damaged.
    StoreUnavailableError
        If a file of it lies in object storage, which does not respond.
    """
    if not path.is_dir():
        raise InputError(
            f"no climatology at {path}",
            field="climatology",
            hint="build one with `pear climatology`",
        )
    try:
        metadata.require_root(path)
        consolidated = "consolidated_metadata" in metadata.read_intact(path)
        import_before_xarray()
        data: xr.Dataset = xr.open_zarr(
            VerifiedStore(path), consolidated=consolidated, chunks=None, mask_and_scale=False
        )
    except (DamagedStoreError, StoreUnavailableError):
        raise
    except (ValueError, OSError, KeyError) as error:
        raise InputError(f"{path} is not a climatology: {error}", field="climatology") from error
    if data.attrs.get(KIND_ATTRIBUTE) not in KINDS or "cell" not in data.sizes:
        raise InputError(
            f"{path} is a store, but not a climatology",
            field="climatology",
            hint="build one with `pear climatology`",
        )
    for axis in ("hour", "term", "day", "level"):
        if axis in data and not (np.diff(data[axis].values) > 0).all():
            raise DamagedStoreError(path, axis, "does not increase")
    return data


def _check_holds(data: xr.Dataset, layout: Layout, path: Path) -> None:
    missing = [name for name in layout.names if name not in data]
    if missing:
        raise InputError(f"climatology {path.stem} lacks {', '.join(missing)}", field="climatology")
    levels = set(data["level"].values.tolist()) if "level" in data else set()
    absent = [level for level in layout.levels if layout.upper and level not in levels]
    if absent:
        raise InputError(f"climatology {path.stem} lacks levels {absent} hPa", field="climatology")


def _array(data: xr.Dataset, name: str, layout: Layout, **where: int) -> Float32:
    """Read one variable in physical units, levels in the layout's order, unpacked."""

    def pick(array: xr.DataArray) -> Array:
        array = array.isel(where)
        if BY_NAME[name].kind == "upper":
            array = array.sel(level=list(layout.levels))
        return np.asarray(array.values)

    values = pick(data[name])
    if f"{name}_scale" in data:
        scale, offset = (pick(data[f"{name}_{part}"]) for part in ("scale", "offset"))
        values = values.astype(np.float32) * scale[..., None] + offset[..., None]
    return values.astype(np.float32, copy=False)


def _on_grid(
    data: xr.Dataset, name: str, layout: Layout, nside: int, where: Mapping[str, int]
) -> Float32:
    """Read one variable at a resolution; a mean wind is a vector, and so is each harmonic of it."""
    values, partner = _array(data, name, layout, **where), wind_partner(name)
    if nside == nside_from_cells(values.shape[-1]) or partner is None or partner not in data:
        return np.asarray(coarsen_field(name, values, nside))
    beside = _array(data, partner, layout, **where)
    return np.asarray(coarsen_field(name, values, nside, beside))


def _stack(data: xr.Dataset, layout: Layout, nside: int, **where: int) -> Fields:
    """Read every channel: (…, surface, cell) and (…, upper, level, cell)."""

    def stack(names: tuple[str, ...], axis: int, empty: tuple[int, ...]) -> Float32:
        if not names:
            lead = data.isel(where).sizes
            kept = [lead[d] for d in ("hour", "term", "day") if d in lead]
            return np.empty((*kept, *empty), dtype=np.float32)
        read = [_on_grid(data, name, layout, nside, where) for name in names]
        return np.stack(read, axis=axis).astype(np.float32, copy=False)

    cells = 12 * nside * nside
    return (
        stack(layout.surface, -2, (0, cells)),
        stack(layout.upper, -3, (0, len(layout.levels), cells)),
    )


def _read_harmonics(data: xr.Dataset, layout: Layout, nside: int) -> Callable[[Times], Fields]:
    # The coefficients are few: they stay in memory and a field is a handful of products.
    surface, upper = _stack(data, layout, nside)
    harmonics = (data.sizes["term"] - 1) // 2
    hours = data["hour"].values

    def read(times: Times) -> Fields:
        basis = harmonic_basis(times, harmonics).astype(np.float32)
        index = np.searchsorted(hours, hour_of_day(times))
        pairs = list(zip(basis, index, strict=True))
        return (
            np.stack([np.tensordot(b, surface[i], axes=1) for b, i in pairs]),
            np.stack([np.tensordot(b, upper[i], axes=1) for b, i in pairs]),
        )

    return read


def _check_derived(
    data: xr.Dataset, derived: Sequence[Channel], path: Path, *, is_coarser: bool
) -> None:
    for name, level in derived:
        if name not in data:
            raise InputError(
                f"climatology {path.stem} has no {name}, whose mean is not that of mean fields",
                field="climatology",
                hint=f"build it with `pear climatology --also {name}`",
            )
        if level is not None and level not in data["level"].values:
            raise InputError(f"climatology {path.stem} lacks {level} hPa", field="climatology")
        if is_coarser:
            raise InputError(
                f"climatology {path.stem} has {name} on a finer grid than the model's",
                field="climatology",
                hint="build one from an analysis at the nside of the model",
            )


def _read_quantities(data: xr.Dataset, derived: tuple[Channel, ...], times: Times) -> Float32:
    """Read derived quantities at some times, (time, quantity, cell)."""
    index = np.searchsorted(data["hour"].values, hour_of_day(times))
    out = np.empty((times.size, len(derived), data.sizes["cell"]), dtype=np.float32)
    for place, (name, level) in enumerate(derived):
        at = {} if level is None else {"level": level}
        for row, (hour, time) in enumerate(zip(index, times, strict=True)):
            picked = data[name].sel(at).isel(hour=int(hour))
            if "term" not in picked.dims:
                out[row, place] = picked.isel(day=int(calendar_slot(times[row : row + 1])[0]))
                continue
            values = picked.values.astype(np.float32)
            if f"{name}_scale" in data:
                scale, offset = (
                    data[f"{name}_{part}"].sel(at).isel(hour=int(hour)).values
                    for part in ("scale", "offset")
                )
                values = values * scale[..., None] + offset[..., None]
            harmonics = (data.sizes["term"] - 1) // 2
            basis = harmonic_basis(as_utc(time), harmonics).astype(np.float32)[0]
            out[row, place] = np.tensordot(basis, values, axes=1)
    return out


def _read_days(data: xr.Dataset, layout: Layout, nside: int) -> Callable[[Times], Fields]:
    hours = data["hour"].values

    def read(times: Times) -> Fields:
        index = np.searchsorted(hours, hour_of_day(times))
        pairs = zip(index, calendar_slot(times), strict=True)
        parts = [_stack(data, layout, nside, hour=int(hour), day=int(day)) for hour, day in pairs]
        return np.stack([p[0] for p in parts]), np.stack([p[1] for p in parts])

    return read
