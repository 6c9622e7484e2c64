"""The score table as Zarr: means by (init, lead, channel, region) that any score can be made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr

from pear.calendar import utc
from pear.errors import InputError
from pear.metrics import Channel, ScoreSums
from pear.metrics.statistics import NAMES, WEIGHT
from pipelines import contract
from pipelines.evaluation.tables import Tables

_DIMS: Final = ("time", "prediction_timedelta", "channel", "region")
_SECONDS: Final = "seconds"


def write_tables(path: Path, tables: Mapping[str, Tables], about: Mapping[str, Any]) -> None:
    """Write the tables of every forecaster; ``path`` must not exist.

    One group per forecaster with one array per statistic, its mean over the cells of each region
    (float32), the weights (float64), and the means of spectra and of maps of error. The names
    behind the axes are attributes of the root, because Zarr has no stable type for text yet.
    """
    first = next(iter(tables.values()))
    plan = first.plan
    root = zarr.create_group(
        path,
        zarr_format=3,
        attributes={
            **about,
            "forecasters": list(tables),
            "channels": [channel_text(c) for c in plan.layout.channels],
            "regions": list(plan.regions),
            "charted_channels": [channel_text(c) for c in plan.charted],
        },
    )
    contract.time_coordinate(root, "forecast", first.scores.inits.astype(np.int64))
    for name, leads in (("prediction_timedelta", plan.leads), ("charted_lead", plan.charted_leads)):
        attributes = {"units": _SECONDS, "standard_name": "forecast_period"}
        contract.coordinate(root, name, leads.astype(np.int64), attributes)
    contract.add_cells(root, plan.nside)
    for name, table in tables.items():
        group = root.create_group(name)
        _write_scores(group, table.scores)
        for kind, means, axis in (
            ("spectra", table.spectra, "degree"),
            ("maps", table.maps, "cell"),
        ):
            if means.counts.any():
                for row in means.names:
                    values = means.mean(row).astype(np.float32)
                    dims = ("charted_lead", "charted_channel", axis)
                    contract.coordinate(group, f"{kind}_{row}", values, {}, dims)


def _write_scores(group: zarr.Group, sums: ScoreSums) -> None:
    weight = sums.values[sums.names.index(WEIGHT)]
    contract.coordinate(group, WEIGHT, weight, {"long_name": "sum of weights"}, _DIMS)
    for index, name in enumerate(sums.names):
        if name != WEIGHT:
            mean = np.divide(
                sums.values[index], weight, out=np.zeros_like(weight), where=weight > 0
            )
            contract.coordinate(group, name, mean.astype(np.float32), {}, _DIMS)


def read_sums(path: Path | str) -> dict[str, ScoreSums]:
    """Read the tables of sums back, by forecaster.

    Raises
    ------
    InputError
        If there is no score table at the path.
    """
    path = Path(path)
    if not (path / "zarr.json").is_file():
        raise InputError(f"no score table at {path}", field="scores", hint="run `pear evaluate`")
    root: Any = zarr.open_group(path, mode="r")
    about: dict[str, Any] = dict(root.attrs)
    inits = utc(np.asarray(root["time"][...]).astype("datetime64[s]"))
    leads = np.asarray(root["prediction_timedelta"][...]).astype("timedelta64[s]")
    channels = tuple(channel_of(text) for text in about["channels"])
    found = {}
    for name in about["forecasters"]:
        weight = np.asarray(root[f"{name}/{WEIGHT}"][...])
        values = np.stack(
            [
                weight if n == WEIGHT else np.asarray(root[f"{name}/{n}"][...]) * weight
                for n in NAMES
            ]
        )
        found[name] = ScoreSums(inits, leads, channels, tuple(about["regions"]), values)
    return found


def channel_text(channel: Channel) -> str:
    """``geopotential@500``, or the name alone at the surface."""
    name, level = channel
    return name if level is None else f"{name}@{level}"


def channel_of(text: str) -> Channel:
    """Inverse of :func:`channel_text`."""
    name, _, level = text.partition("@")
    return name, int(level) if level else None
