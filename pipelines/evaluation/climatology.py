"""Build a climatology from an analysis store: streamed, by dask, published in one rename."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import xarray as xr
import zarr
from dask import delayed  # type: ignore[attr-defined]  # the package does not say so
from dask.delayed import Delayed
from distributed import Client
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from pear.derived import parse_quantity
from pear.derived.dataset import compute, derive
from pear.derived.quantities import require_derivable
from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.sphere.healpix import nside_from_cells
from pear.store import schema
from pear.store.climatology import KIND_ATTRIBUTE, KINDS, Climatology, Kind
from pear.store.dataset import dataset_layout
from pear.store.day_of_year import (
    DAYS,
    SIGMA,
    WINDOW,
    DaySums,
    HarmonicSums,
    calendar_slot,
    day_weights,
    hour_of_day,
)
from pear.store.reader import open_store
from pear.store.replacement import replacement_count
from pear.times import as_utc, to_iso
from pear.typing import Array, Float64, Int64, TimeLike, Times
from pear.variables import BY_NAME
from pipelines.evaluation.climate_spread import write_spread
from pipelines.evaluation.derived import require_mean
from pipelines.storage import create
from pipelines.storage.atomic import publish

_BLOCK_BYTES = 64 * 2**20
_DAYS_PER_WRITE: Final = 16
_BLOCKS_PER_READ: Final = 4
DaySum = tuple[Float64, int]
"""Sum of the fields of one calendar day, and their number."""
_Sums = TypeVar("_Sums", HarmonicSums, DaySums)


@dataclass(frozen=True)
class HarmonicFit:
    """Settings of the harmonic kind.

    Attributes
    ----------
    harmonics
        Number of harmonics of the year.
    bits
        Store coefficients as whole numbers of so many bits, at most 16, in int16, with one scale
        and offset per field (error at most 2^-(bits + 1) of the field's range): 3 harmonics of 69
        fields at nside 16 take less than 3 MB with 16 bits. None: float32.

    Raises
    ------
    InputError
        If the harmonics are fewer than 1, or the bits are not 2 to 16.
    """

    harmonics: int = 3
    bits: int | None = 16

    def __post_init__(self) -> None:
        if self.harmonics < 1:
            raise InputError(
                f"invalid number of harmonics {self.harmonics}: must be at least 1",
                field="harmonics",
            )
        if self.bits is not None and not 2 <= self.bits <= 16:
            raise InputError(f"invalid number of bits {self.bits}: must be 2 to 16", field="bits")


def build_climatology(  # noqa: PLR0913 — each is a choice of its own
    analysis: Path | str,
    out: Path | str,
    kind: Kind = "harmonic",
    *,
    fit: HarmonicFit = HarmonicFit(),
    period: tuple[TimeLike, TimeLike] | None = None,
    derived: Sequence[str] = (),
    spread: bool = False,
    tick: ProgressCallback | None = None,
    client: Client | None = None,
) -> Climatology:
    """Build a climatology of every variable of an analysis store.

    Every analysis time is read once, by dask in blocks whose sums merge in any order. Only the
    sums of one variable are in memory at a time.

    Parameters
    ----------
    analysis
        Analysis store (time, [level,] cell); use training years only.
    out
        Path of the climatology store; an existing climatology is replaced.
    kind
        ``harmonic``, ``daily`` or ``smoothed``.
    fit
        Settings of the harmonic kind.
    period
        First and last time to use; default: all times.
    derived
        Derived quantities to average as well, at all levels, such as ``wind_speed``.
    spread
        Write the standard deviation of the variables about their means as well, which reads
        every analysis time a second time.
    tick
        Called once per variable.
    client
        Dask client; default: threads of this process.

    Returns
    -------
    Climatology
        The store that was written.

    Raises
    ------
    InputError
        If the kind is unknown, the store is not an analysis, has missing values, or does not
        cover the year. ``out`` is then left unchanged.
    OSError
        If times of the store were replaced meanwhile; ``out`` is left unchanged.
    """
    if kind not in KINDS:
        hint = f"use one of {', '.join(KINDS)}"
        raise InputError(f"unknown climatology kind {kind!r}", field="kind", hint=hint)
    before = replacement_count(Path(analysis))
    data = _read_analysis(Path(analysis), period)
    times = as_utc(data["time"].values)
    target = Path(out)
    scratch = target.with_name(f".{target.name}.building")
    shutil.rmtree(scratch, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        root = _create(scratch, data, kind, Path(analysis).stem, fit.harmonics)
        quantities = [_derived_field(data, name) for name in derived]
        for field in [*(data[name] for name in data.data_vars), *quantities]:
            if kind == "harmonic":
                _write_harmonics(root, field, times, fit, client)
            else:
                window = WINDOW if kind == "smoothed" else 1
                _write_days(root, field, times, window, client)
            if tick is not None:
                tick(1, str(field.name))
        if spread:
            write_spread(root, data, scratch, client)
        if replacement_count(Path(analysis)) != before:
            raise OSError(
                errno.EAGAIN, "times were replaced while it was read; run it again", str(analysis)
            )
        _publish(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Climatology.open(target)


def _derived_field(data: xr.Dataset, text: str) -> xr.DataArray:
    """Return a derived quantity at all times and levels, computed when it is read."""
    found = require_mean(parse_quantity(text)[0].name)
    require_derivable(found, [str(name) for name in data.data_vars], "the analysis")
    lazy = data[list(found.needs)].chunk({"time": 8})
    if found.row.kind == "surface":
        return derive(lazy, found.row.name)
    return compute(found, [lazy[name] for name in found.needs])


def _read_analysis(path: Path, period: tuple[TimeLike, TimeLike] | None) -> xr.Dataset:
    """Open the fields of an analysis store in a period, levels increasing."""
    data = open_store(path)
    if "prediction_timedelta" in data.sizes or "time" not in data.sizes:
        raise InputError(
            f"{path} is a forecast store; a climatology needs an analysis store", field="analysis"
        )
    data = data[[name for name in BY_NAME if name in data]]
    if "level" in data.sizes:
        data = data.sortby("level")
    if period is not None:
        first, last = (as_utc(t)[0] for t in period)
        data = data.isel(time=(data["time"].values >= first) & (data["time"].values <= last))
        if data.sizes["time"] == 0:
            raise InputError(
                f"{path} has no times in {to_iso(first)}..{to_iso(last)}", field="period"
            )
    return data


def _create(path: Path, data: xr.Dataset, kind: str, analysis: str, harmonics: int) -> zarr.Group:
    """Create the store with its axes, grid and attributes."""
    times = as_utc(data["time"].values)
    about = {
        "title": f"{kind} climatology of {analysis}",
        KIND_ATTRIBUTE: kind,
        "analysis": analysis,
        "analysis_source": str(data.attrs.get("source", "")),
        "period_start": to_iso(times[0]),
        "period_end": to_iso(times[-1]),
        "times": len(times),
    }
    if kind == "smoothed":
        about |= {"window_days": WINDOW, "gaussian_sigma_days": SIGMA}
    root = create.create_group(
        path, "climatology", dataset_layout(data), nside_from_cells(data.sizes["cell"]), about
    )
    hours = np.unique(hour_of_day(times))
    create.coordinate(root, "hour", hours, {"long_name": "hour of the day, UTC"})
    if kind == "harmonic":
        names = ["mean"] + [f"{f}{k}" for k in range(1, harmonics + 1) for f in ("cos", "sin")]
        terms = np.arange(len(names))
        flags = {"flag_values": terms.tolist(), "flag_meanings": " ".join(names)}
        about_terms = {"long_name": "term of the Fourier series over the year", **flags}
        create.coordinate(root, "term", terms, about_terms)
    else:
        days = {"long_name": "calendar day of a leap year, from 0; 59 is 29 February"}
        create.coordinate(root, "day", np.arange(DAYS), days)
    # Fields are synced once, all together, before the store gets its name.
    return zarr.open_group(path, mode="r+")


def _merge(kind: type[_Sums], parts: list[Delayed], client: Client | None) -> _Sums:
    """Merge delayed sums of blocks in pairs and compute the result."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [delayed(_merge_pair)(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    if client is None:
        merged = parts[0].compute(scheduler="threads")  # type: ignore[no-untyped-call]
    else:
        merged = client.compute(parts[0]).result()  # type: ignore[no-untyped-call]
    if not isinstance(merged, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(merged).__name__}")
    return merged


def _merge_pair(one: _Sums, other: _Sums) -> _Sums:
    return one.merge(other)


def _write_harmonics(
    root: zarr.Group, field: xr.DataArray, times: Times, fit: HarmonicFit, client: Client | None
) -> None:
    """Fit one variable from the normal equations of blocks of times."""
    hours = np.unique(hour_of_day(times))
    block = max(1, _BLOCK_BYTES // max(1, field[0].size * 8 * (1 + 2 * fit.harmonics)))
    chunked = field.chunk({"time": block, **dict.fromkeys(field.dims[1:], -1)})
    edges = np.cumsum([0, *chunked.data.chunks[0]])
    parts = [
        delayed(HarmonicSums.from_samples)(times[a:b], values, fit.harmonics, hours)
        for a, b, values in zip(edges, edges[1:], chunked.data.to_delayed().ravel(), strict=False)
    ]
    sums = _merge(HarmonicSums, parts, client)
    _check_finite(sums.moment, field)
    coefficients = sums.solve().astype(np.float32)
    dims = ("hour", "term", *field.dims[1:])
    if fit.bits is None:
        _write(root, field, dims, coefficients)
        return
    largest = 2 ** (fit.bits - 1) - 1
    low, high = coefficients.min(axis=-1), coefficients.max(axis=-1)
    scale = np.where(high > low, (high - low) / (2.0 * largest), 1.0).astype(np.float32)
    offset = ((high + low) / 2).astype(np.float32)
    units = np.rint((coefficients - offset[..., None]) / scale[..., None])
    _write(root, field, dims, np.clip(units, -largest, largest).astype(np.int16))
    for part, values in (("scale", scale), ("offset", offset)):
        _write(root, field, dims[:-1], values, f"{field.name}_{part}")


def _write_days(
    root: zarr.Group, field: xr.DataArray, times: Times, window: int, client: Client | None
) -> None:
    """Average one variable over calendar days and write the days as they are computed."""
    hours, weights = np.unique(hour_of_day(times)), day_weights(window)
    shape = (len(hours), DAYS, *field.shape[1:])
    dims = ("hour", "day", *field.dims[1:])
    array = _array(root, field, dims, shape, (1, 1, *field.shape[1:]), np.dtype(np.float32))
    for index, hour in enumerate(hours):
        at_hour = hour_of_day(times) == hour
        means = _day_means(field, np.where(at_hour, calendar_slot(times), -1), weights, client)
        for start in range(0, DAYS, _DAYS_PER_WRITE):
            block = np.stack(list(islice(means, _DAYS_PER_WRITE))).astype(np.float32)
            array[index, start : start + len(block)] = block


def _day_means(
    field: xr.DataArray, slots: Int64, weights: Float64, client: Client | None
) -> Iterator[Float64]:
    """Yield the weighted mean around each calendar day; little more than a window is in memory."""
    last_use = DAYS - 1 - np.argmax(weights[::-1] > 0, axis=0)
    held: dict[int, DaySum] = {}
    for day in range(DAYS):
        around = np.flatnonzero(weights[day]).tolist()
        held = {slot: part for slot, part in held.items() if last_use[slot] >= day}
        for slot in around:
            if slot not in held:
                stop = min((known for known in held if known > slot), default=DAYS)
                held |= _sum_days(field, slots, range(slot, stop), client)
        count = sum(weights[day, slot] * held[slot][1] for slot in around)
        if count <= 0:
            date = np.datetime64("2000-01-01") + np.timedelta64(day, "D")
            raise InputError(
                f"no analysis near {str(date)[5:]} (month-day) in the period",
                field="period",
                hint="use whole years, or the harmonic kind",
            )
        total = sum(weights[day, slot] * held[slot][0] for slot in around)
        yield np.asarray(total) / count


def _sum_days(
    field: xr.DataArray, slots: Int64, wanted: range, client: Client | None
) -> dict[int, DaySum]:
    """Sum the samples of the first calendar days wanted, as many as one read may bring."""
    per_day = field[0].size * 4 * max(1, int(np.bincount(slots[slots >= 0]).max(initial=1)))
    first = wanted.start
    last = min(first + max(1, _BLOCK_BYTES // per_day), wanted.stop)
    member = np.flatnonzero((slots >= first) & (slots < last))
    if member.size == 0:
        nothing = np.zeros(field.shape[1:])
        return dict.fromkeys(range(first, last), (nothing, 0))
    block = -(-member.size // _BLOCKS_PER_READ)
    chunked = field.isel(time=member).chunk({"time": block, **dict.fromkeys(field.dims[1:], -1)})
    parts = [
        delayed(DaySums.from_samples)(
            slots[member[i * block : (i + 1) * block]], values, first, last
        )
        for i, values in enumerate(chunked.data.to_delayed().ravel())
    ]
    sums = _merge(DaySums, parts, client)
    _check_finite(sums.total, field)
    return {first + i: (sums.total[i], int(n)) for i, n in enumerate(sums.count)}


def _check_finite(values: Float64, field: xr.DataArray) -> None:
    if not np.isfinite(values).all():
        raise InputError(
            f"{field.name} has missing values in the analysis",
            field="analysis",
            hint="`pear inspect` shows where; use complete times",
        )


def _write(
    root: zarr.Group,
    field: xr.DataArray,
    dims: tuple[Hashable, ...],
    values: Array,
    name: str | None = None,
) -> None:
    array = _array(root, field, dims, values.shape, values.shape, values.dtype, name)
    array[...] = values


def _array(
    root: zarr.Group,
    field: xr.DataArray,
    dims: tuple[Hashable, ...],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype[Any],
    name: str | None = None,
) -> zarr.Array[Any]:
    if name is None:
        about = schema.variable_attributes(str(field.name), nside_from_cells(field.sizes["cell"]))
    else:
        about = {"long_name": f"{name.removeprefix(f'{field.name}_')} of the packed {field.name}"}
    return root.create_array(
        name or str(field.name),
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        config={"write_empty_chunks": True},  # read for the spread before there is a manifest
        dimension_names=[str(d) for d in dims],
        compressors=[
            BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=dtype.itemsize),
            Crc32cCodec(),
        ],
        attributes=about,
    )


def _publish(scratch: Path, target: Path) -> None:
    """Publish the finished store, in place of an older climatology but of nothing else."""
    create.consolidate(zarr.open_group(LocalStore(scratch), mode="r+"), sync=False)
    if target.exists():
        Climatology.open(target)
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        publish(scratch, target)
        shutil.rmtree(old)
    else:
        publish(scratch, target)
