"""Pictures of a simulated climate: zonal-mean wind, storm tracks, pressure and 2 m warmth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from pear.errors import InputError
from pear.progress import ProgressCallback
from pear.resources.natural_earth import land_fraction
from pipelines.simulation.climate import Climate, describe
from pipelines.simulation.parameters import Floats

if TYPE_CHECKING:
    from pipelines.simulation.climate import Climate


_WINTER, _SUMMER = (12, 1, 2), (6, 7, 8)


def draw(climate: Climate, levels: Floats, out: Path) -> list[Path]:
    """Draw winter and summer side by side, as PNGs in a folder.

    Returns
    -------
    list of Path
        One picture of zonal means, one of maps.
    """
    seasons = {
        name: months
        for name, months in (("DJF", _WINTER), ("JJA", _SUMMER))
        if climate.days[np.array(months) - 1].all()
    }
    if not seasons:
        return []
    return [_zonal(climate, levels, out, seasons), _maps(climate, out, seasons)]


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def _zonal(climate: Climate, levels: Floats, out: Path, seasons: dict[str, Any]) -> Path:
    figure, axes = _figure(1, len(seasons), (5.0 * len(seasons), 4.0))
    for axis, (name, months) in zip(axes[0], seasons.items(), strict=True):
        wind = climate.mean("u", months)
        lines = axis.contourf(
            climate.lat, levels, wind, np.arange(-30.0, 51.0, 5.0), cmap="RdBu_r", extend="both"
        )
        warmth = axis.contour(
            climate.lat, levels, climate.mean("t", months), 10, colors="k", linewidths=0.5
        )
        axis.clabel(warmth, fmt="%d", fontsize=6)
        axis.set(yscale="log", ylim=(1000, 50), title=f"{name}: u (m/s), T (K), simulated")
        axis.set_yticks([1000, 500, 250, 100, 50], labels=["1000", "500", "250", "100", "50"])
        figure.colorbar(lines, ax=axis)
    path = out / "zonal.png"
    figure.savefig(path, dpi=110)
    return path


def _maps(climate: Climate, out: Path, seasons: dict[str, Any]) -> Path:
    figure, axes = _figure(3, len(seasons), (6.0 * len(seasons), 9.0))
    land_lat, land_lon, fraction = land_fraction()
    for column, (name, months) in enumerate(seasons.items()):
        fields = (
            ("z500 transients (m)", climate.transient(months), "viridis"),
            ("mean sea level pressure (hPa)", climate.mean("msl_map", months) / 100.0, "RdBu_r"),
            ("2 m temperature (K)", climate.mean("t2m_map", months), "magma"),
        )
        for row, (title, values, colours) in enumerate(fields):
            axis = axes[row, column]
            drawn = axis.pcolormesh(climate.lon, climate.lat, values, cmap=colours)
            axis.contour(land_lon, land_lat, fraction, [0.5], colors="w", linewidths=0.6)
            axis.set(title=f"{name}: {title}, simulated")
            figure.colorbar(drawn, ax=axis)
    path = out / "maps.png"
    figure.savefig(path, dpi=100)
    return path


def write_report(
    files: Sequence[Path],
    out: Path,
    tick: ProgressCallback | None = None,
    restarts: Sequence[Path] = (),
) -> dict[str, Any]:
    """Describe the climate of monthly files in ``climate.json`` and pictures.

    Parameters
    ----------
    files
        From :func:`pipelines.simulation.run.simulate`.
    out
        Folder of the report.
    tick
        Called after each file.
    restarts
        Twins start from each of them, to time the growth of errors and to find how far ahead this
        weather can be foretold at all (needs JAX).

    Raises
    ------
    InputError
        If there are no files.
    """
    if not files:
        raise InputError("no simulated files to report on", field="--out")
    out.mkdir(parents=True, exist_ok=True)
    climate: Climate | None = None
    levels = np.zeros(0)
    for path in files:
        with xr.open_dataset(path) as month:
            if climate is None:
                climate = Climate(month["latitude"].values, month["longitude"].values)
                levels = month["pressure_level"].values
            climate.add(month)
        if tick is not None:
            tick(1, path.name)
    if climate is None:
        raise InputError("no simulated files to report on", field="--out")
    found = describe(climate, levels)
    if restarts:
        from pipelines.simulation.predictability import run_twins

        found["twins"] = run_twins(restarts, climate, tick=tick)
    (out / "climate.json").write_text(json.dumps(found, indent=2) + "\n")
    pass

    draw(climate, levels, out)
    return found
