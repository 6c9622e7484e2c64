"""What the page of a counterfactual run shows: figures in words, and maps of the change."""

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


def show_counterfactual(run: Run, pair: Pair) -> dict[str, Any]:
    """Return the figures of a counterfactual as text, and its maps.

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
    units, chart = format_units(found["units"]), found["chart"]

    def value(name: str) -> str:
        return f"{found[name]:.5g} {units}"

    description = found["description"]
    when = format_time(np.datetime64(found["valid_time"].removesuffix("Z"), "s"))
    sentence = f"{description[0].upper()}{description[1:]}, {when}."
    return {
        "label": found["label"],
        "sentence": sentence,
        "factual": value("factual"),
        "counterfactual": value("counterfactual"),
        "threshold": value("threshold"),
        "length": f"{found['length']:.2f}",
        "probability": f"{found['probability']:.2g}",
        "size": f"{found['size']:.0%}",
        "near": f"{found['near']:.0%}",
        "chart": f"{chart['directions']} directions of {chart['states']} states of "
        f"{chart['analysis']}, {chart['share']:.0%} of the variance",
        "notes": found["notes"],
        "largest": [_channel(each) for each in found["largest"]],
        "maps": [] if pair.factual is None else _maps(run, pair.factual, found),
    }


def _channel(found: dict[str, Any]) -> dict[str, str]:
    units = format_units(found["units"])
    return {
        "name": BY_NAME[found["variable"]].long_name,
        "level": "" if found["level"] is None else f"{found['level']} hPa",
        "rms": f"{found['rms']:.3g} {units}",
        "largest": f"{found['largest']:+.3g} {units}",
    }


def _maps(run: Run, factual: str, found: dict[str, Any]) -> list[dict[str, object]]:
    """Return the change of the event's field at the start and when it happens."""
    name, level = parse_event(found["event"]).channels[0]
    what = BY_NAME[name].long_name + ("" if level is None else f" at {level} hPa")
    kept = {option: run.options.get(option) for option in ("variables", "levels", "leads")}
    if (kept["variables"] and name not in kept["variables"]) or (
        level is not None and kept["levels"] and level not in kept["levels"]
    ):
        return []
    maps = []
    for lead, when in ((0, "at the start"), (found["lead_hours"], f"at {found['lead_hours']} h")):
        if kept["leads"] and lead not in kept["leads"]:
            continue
        query: dict[str, object] = {"lead_time": lead, "difference": factual, "width": _WIDTH}
        if level is not None:
            query["level"] = level
        href = f"/v1/forecasts/{run.id}/maps/{name}.png?{urlencode(query)}"
        text = f"Counterfactual minus factual forecast {when}: {what}"
        maps.append({"href": href, "text": text, "height": _HEIGHT})
    return maps
