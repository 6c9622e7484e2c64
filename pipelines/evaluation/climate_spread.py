"""Write the spread of an analysis about its climatology."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
import zarr
from dask import delayed  # type: ignore[attr-defined]  # the package does not say so
from distributed import Client
from zarr.codecs import BloscCodec, Crc32cCodec

from pear.sphere.healpix import nside_from_cells
from pear.store import schema
from pear.store.climate_spread import DEFINITION, MONTHS, SUFFIX, month_of
from pear.store.climatology import Climatology
from pear.store.day_of_year import hour_of_day
from pear.times import as_utc
from pear.typing import Array, Float64, Int64, Times
from pear.variables import BY_NAME, Layout
from pipelines.storage import create

_BLOCK_BYTES: Final = 64 * 2**20


def write_spread(
    root: zarr.Group, data: xr.Dataset, path: Path, client: Client | None = None
) -> None:
    """Write the standard deviation of each variable about the means that the store holds.

    Parameters
    ----------
    root
        The climatology that is being built, with the means of all variables.
    data
        Analyses (time, [level,] cell), levels increasing.
    path
        Where the store is.
    client
        Dask client; default: threads of this process.
    """
    times = as_utc(data["time"].values)
    hours = np.unique(hour_of_day(times))
    months = {"long_name": "calendar month, from 1"}
    create.coordinate(root, "month", np.arange(1, MONTHS + 1), months)
    for name in map(str, data.data_vars):
        field = data[name]
        total, count = _sums(field, times, hours, path, client)
        variance = total / np.maximum(count, 1).reshape(*count.shape, *[1] * (total.ndim - 2))
        variance[count == 0] = np.nan  # a month without analyses
        nside = nside_from_cells(field.sizes["cell"])
        about = schema.variable_attributes(name, nside)
        about["long_name"] = f"{about.get('long_name', name)}: {DEFINITION}"
        array = root.create_array(
            f"{name}{SUFFIX}",
            shape=variance.shape,
            chunks=(1, 1, *variance.shape[2:]),
            dtype=np.dtype(np.float32),
            dimension_names=["hour", "month", *map(str, field.dims[1:])],
            compressors=[
                BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=4),
                Crc32cCodec(),
            ],
            attributes=about,
        )
        array[...] = np.sqrt(variance).astype(np.float32)


def _sums(
    field: xr.DataArray, times: Times, hours: Int64, path: Path, client: Client | None
) -> tuple[Float64, Int64]:
    """Return Σ (x − mean)² and the number of times, by hour and month."""
    kind, name = BY_NAME[str(field.name)].kind, (str(field.name),)
    levels = tuple(int(level) for level in field["level"].values) if "level" in field.dims else ()
    layout = Layout((), name, levels) if kind == "upper" else Layout(name, (), ())
    block = max(1, _BLOCK_BYTES // max(1, field[0].size * 16))
    chunked = field.chunk({"time": block, **dict.fromkeys(field.dims[1:], -1)})
    edges = np.cumsum([0, *chunked.data.chunks[0]])
    total = np.zeros((len(hours), MONTHS, *field.shape[1:]))
    count = np.zeros((len(hours), MONTHS), dtype=np.int64)
    expected = partial(_squares, path=path, layout=layout)
    for start, stop, values in zip(
        edges, edges[1:], chunked.data.to_delayed().ravel(), strict=False
    ):
        part = delayed(expected)(times[start:stop], values)
        if client is None:
            squares = part.compute(scheduler="threads")
        else:
            squares = client.compute(part).result()  # type: ignore[no-untyped-call]
        at_hour = np.searchsorted(hours, hour_of_day(times[start:stop]))
        at_month = month_of(times[start:stop])
        np.add.at(total, (at_hour, at_month), squares)
        np.add.at(count, (at_hour, at_month), 1)
    return total, count


def _squares(times: Times, values: Array, *, path: Path, layout: Layout) -> Float64:
    """Return the squared anomalies of a block of times."""
    surface, upper = Climatology.open(path, layout).at(times)
    mean = upper[:, 0] if layout.upper else surface[:, 0]
    return np.asarray((np.asarray(values, dtype=np.float64) - mean) ** 2)
