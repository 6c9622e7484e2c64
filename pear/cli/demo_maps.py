"""The demo's pictures: what was forecast beside what came, on the same colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pear.cli.common import progress

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.datafolder import DataFolder

MAPPED: Final[tuple[tuple[str, int | None], ...]] = (
    ("geopotential", 500),
    ("temperature", 850),
    ("mean_sea_level_pressure", None),
    ("2m_temperature", None),
)
LEADS: Final = (24, 120, 240)


def draw(folder: DataFolder, analysis: str, run: str) -> list[str]:
    """Draw forecasts of one run and the analyses that verify them into DIR/maps.

    Returns
    -------
    list of str
        Paths of the PNGs, two for each field and lead.
    """
    from pipelines.store import open_store

    target = folder.root / "maps"
    target.mkdir(exist_ok=True)
    drawn: list[str] = []
    with (
        open_store(folder.forecast(run)) as forecast,
        open_store(folder.analysis(analysis)) as truth,
        progress("maps", len(MAPPED) * len(LEADS)) as tick,
    ):
        init = forecast["time"].values[0]
        for lead in LEADS:
            step = np.timedelta64(lead, "h")
            made = forecast.isel(time=0).sel(prediction_timedelta=step)
            came = truth.sel(time=init + step)
            for name, level in MAPPED:
                pair = [_values(source, name, level) for source in (made, came)]
                drawn += _pair(target, pair, name, level, init, lead)
                tick(1)
    return drawn


def _values(source: Any, name: str, level: int | None) -> Any:
    return (source[name] if level is None else source[name].sel(level=level)).values


def _pair(
    target: Path, pair: list[Any], name: str, level: int | None, init: np.datetime64, lead: int
) -> list[str]:
    from service.maps import MapOptions, MapTitle, limits_for, render_map, style_of

    style = style_of(name)
    low, high = limits_for(style, np.concatenate([style.shown(values) for values in pair]))
    label = name if level is None else f"{name}_{level}hPa"
    drawn = []
    for source, values in zip(("PEAR", "analysis"), pair, strict=True):
        title = MapTitle(f"{source} (simulated)", init, lead)
        options = MapOptions(vmin=low, vmax=high)
        path = target / f"{label}_day{lead // 24:02d}_{source.lower()}.png"
        path.write_bytes(render_map(values, name, title, level=level, options=options))
        drawn.append(str(path))
    return drawn
