"""Report on a simulated climate: numbers, and plots of winds, storm tracks and temperature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pear.errors import InputError
from pear.progress import ProgressCallback, no_progress
from pear.resources.natural_earth import land_fraction
from pear.typing import Float64
from pipelines.simulation.climate import Climate, describe

Seasons = Mapping[str, tuple[int, ...]]


def write_report(
    files: Sequence[Path],
    out: Path,
    progress: ProgressCallback = no_progress,
    restarts: Sequence[Path] = (),
) -> dict[str, Any]:
    """Describe the climate of monthly files in ``climate.json`` and plots.

    Parameters
    ----------
    files
        Files of :func:`pipelines.simulation.run.simulate`.
    out
        Folder of the report.
    progress
        Called after each file and each restart state.
    restarts
        Restart states from each of which a pair of identical twins starts, to measure the growth
        of errors and the limit of predictability (needs JAX).

    Returns
    -------
    dict
        Contents of ``climate.json``.

    Raises
    ------
    InputError
        If there are no files.
    """
    if not files:
        raise InputError("no simulated files to report on", field="--output")
    out.mkdir(parents=True, exist_ok=True)
    with xr.open_dataset(files[0]) as first:
        climate = Climate(first["latitude"].values, first["longitude"].values)
        levels = first["pressure_level"].values
    for path in files:
        with xr.open_dataset(path) as month:
            climate.add(month)
        progress(1, path.name)
    found = describe(climate, levels)
    if restarts:
        # JAX is imported only where it is needed: a report alone does not need the extra.
        from pipelines.simulation.predictability import run_identical_twins

        found["twins"] = run_identical_twins(restarts, climate, progress=progress)
    (out / "climate.json").write_text(json.dumps(found, indent=2) + "\n")
    plot(climate, levels, out)
    return found


def plot(climate: Climate, levels: Float64, out: Path) -> list[Path]:
    """Plot winter and summer side by side.

    Parameters
    ----------
    climate
        Monthly means.
    levels
        Pressure levels of the files, hPa.
    out
        Folder of the plots.

    Returns
    -------
    list of pathlib.Path
        PNG of zonal means and PNG of maps; empty if neither season is covered.
    """
    seasons = {k: v for k, v in climate.seasons().items() if k in ("DJF", "JJA")}
    if not seasons:
        return []
    return [_plot_zonal_means(climate, levels, out, seasons), _plot_maps(climate, out, seasons)]


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110)
    return path


def _plot_zonal_means(climate: Climate, levels: Float64, out: Path, seasons: Seasons) -> Path:
    figure = Figure(figsize=(5.0 * len(seasons), 4.0), layout="constrained")
    axes = figure.subplots(1, len(seasons), squeeze=False)
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
    return _save(figure, out / "zonal.png")


def _plot_maps(climate: Climate, out: Path, seasons: Seasons) -> Path:
    figure = Figure(figsize=(6.0 * len(seasons), 9.0), layout="constrained")
    axes = figure.subplots(3, len(seasons), squeeze=False)
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
    return _save(figure, out / "maps.png")
