"""Results of trials as Datasets, and comparisons of two networks over init times and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from pear.metrics import ScoreAccumulator
from pear.metrics.bootstrap import bootstrap_seeds
from pear.metrics.dataset import sums_from_dataset, sums_to_dataset
from pear.typing import Channel
from pear.variables import channel_label

SCORES: Final = ("acc", "rmse")
FIELDS: Final[tuple[Channel, ...]] = (
    ("geopotential", 500),
    ("temperature", 850),
    ("mean_sea_level_pressure", None),
    ("2m_temperature", None),
    ("10m_u_component_of_wind", None),
)


def labelled_sums(
    sums: Mapping[str, ScoreAccumulator], labels: Mapping[str, Sequence[object]]
) -> xr.Dataset:
    """Return sums as a Dataset whose forecasters carry labels.

    Parameters
    ----------
    sums
        Sums by name, unique in the study.
    labels
        One value per forecaster, such as ``{"arm": ["c4h"], "seed": [0]}``.

    Returns
    -------
    xarray.Dataset
        See :func:`pear.metrics.dataset.sums_to_dataset`.
    """
    coordinates = {name: ("forecaster", list(values)) for name, values in labels.items()}
    return sums_to_dataset(sums).assign_coords(coordinates)


def write_results(data: xr.Dataset, path: Path) -> None:
    """Write the results of a trial as netCDF, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}")
    encoding = {name: {"zlib": True} for name in data.data_vars}
    data.to_netcdf(hidden, engine="netcdf4", encoding=encoding)
    hidden.replace(path)


def read_results(paths: Sequence[Path]) -> xr.Dataset:
    """Read the results of several trials, joined along ``forecaster``; empty without any."""
    parts = [xr.load_dataset(path, engine="netcdf4", decode_timedelta=True) for path in paths]
    if not parts:
        return xr.Dataset()
    return xr.concat(
        parts, "forecaster", data_vars="all", coords="minimal", compat="override", join="outer"
    )


def select_sums(results: xr.Dataset, **labels: object) -> dict[int, ScoreAccumulator]:
    """Return the sums of the forecasters with these labels, by seed."""
    if "sums" not in results:
        return {}
    match = np.all([results[name].values == value for name, value in labels.items()], axis=0)
    chosen = results[["sums"]].isel(forecaster=np.flatnonzero(match))
    return dict(
        zip(chosen["seed"].values.tolist(), sums_from_dataset(chosen).values(), strict=True)
    )


def compare(
    one: Sequence[ScoreAccumulator], reference: Sequence[ScoreAccumulator], **labels: str
) -> xr.Dataset:
    """Compare two networks in :data:`SCORES` and :data:`FIELDS`.

    Parameters
    ----------
    one, reference
        Sums of each network, one for each seed, in the same order of the seeds.
    labels
        Label of the comparison along further dimensions.

    Returns
    -------
    xarray.Dataset
        ``value``, ``reference`` and their ``difference`` with its 95 % interval ``low`` to
        ``high``, paired over init times and seeds, (…, score, field, day); the numbers of
        ``seeds`` and ``inits``.
    """
    channels = [channel for channel in FIELDS if channel in one[0].channels]
    first, second = ([t.select(channels=channels) for t in many] for many in (one, reference))
    arrays: dict[str, list[np.ndarray]] = {}
    for score in SCORES:
        difference, interval = bootstrap_seeds(first, score, second)
        for name, values in (
            ("value", bootstrap_seeds(first, score, replicates=1)[0]),
            ("reference", bootstrap_seeds(second, score, replicates=1)[0]),
            ("difference", difference),
            ("low", interval.low),
            ("high", interval.high),
        ):
            arrays.setdefault(name, []).append(values[..., 0].T)
    days = (first[0].leads / np.timedelta64(1, "D")).astype(int)
    data = xr.Dataset(
        {name: (("score", "field", "day"), np.stack(values)) for name, values in arrays.items()},
        {"score": list(SCORES), "field": [channel_label(c) for c in channels], "day": days},
    )
    data = data.assign(seeds=len(first), inits=first[0].inits.size)
    return data.expand_dims({name: [value] for name, value in labels.items()})


def combine(parts: Sequence[xr.Dataset], **order: Sequence[str]) -> xr.Dataset:
    """Merge comparisons with different labels, NaN where a combination is missing.

    Parameters
    ----------
    parts
        Results of :func:`compare`.
    order
        Order of the labels along their dimensions.

    Returns
    -------
    xarray.Dataset
        Empty without parts.
    """
    if not parts:
        return xr.Dataset()
    data = xr.merge(parts, join="outer", compat="no_conflicts")
    return data.sel({dim: [x for x in names if x in data[dim]] for dim, names in order.items()})
