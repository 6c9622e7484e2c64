"""What the page of a counterfactual run shows: its figures, and maps of the change."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import numpy as np

from pear.counterfactual.event import parse_event
from pear.variables import BY_NAME
from pipelines.catalog import Run
from service.http.html import format_time, format_units
from service.readers.counterfactuals import Pair

_WIDTH: Final = 1000
_HEIGHT: Final = 478
_FIGURES: Final = (
    "factual",
    "counterfactual",
    "threshold",
    "length",
    "probability",
    "size",
    "near",
    "chart",
)


def show_counterfactual(run: Run, pair: Pair) -> dict[str, Any]:
    """Return the figures of a counterfactual, and its maps.

    Parameters
    ----------
    run
        The counterfactual run.
    pair
        Its figures, and the factual run with which its maps are compared.

    Returns
    -------
    dict
        What the template shows.
    """
    found = pair.figures or {}
    description = found["description"]
    when = format_time(np.datetime64(found["valid_time"].removesuffix("Z"), "s"))
    sentence = f"{description[0].upper()}{description[1:]}, {when}."
    return {
        "label": found["label"],
        "sentence": sentence,
        "units": format_units(found["units"]),
        **{name: found[name] for name in _FIGURES},
        "notes": found["notes"],
        "largest": [_channel(each) for each in found["largest"]],
        "maps": [] if pair.factual is None else _maps(run, pair.factual, found),
    }


def _channel(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": BY_NAME[found["variable"]].long_name,
        "level": found["level"],
        "units": format_units(found["units"]),
        "rms": found["rms"],
        "largest": found["largest"],
    }


def _maps(run: Run, factual: str, found: dict[str, Any]) -> list[dict[str, object]]:
    """Return the change of the event's field at the start and when it happens."""
    name, level = parse_event(found["event"]).channels[0]
    kept = {option: run.options.get(option) for option in ("variables", "levels", "leads")}
    if (kept["variables"] and name not in kept["variables"]) or (
        level is not None and kept["levels"] and level not in kept["levels"]
    ):
        return []
    maps = []
    for lead in (0, found["lead_hours"]):
        if kept["leads"] and lead not in kept["leads"]:
            continue
        query: dict[str, object] = {"lead_time": lead, "difference": factual, "width": _WIDTH}
        if level is not None:
            query["level"] = level
        href = f"/v1/forecasts/{run.id}/maps/{name}.png?{urlencode(query)}"
        what = {"lead": lead, "name": BY_NAME[name].long_name, "level": level}
        maps.append({"href": href, "height": _HEIGHT, **what})
    return maps
