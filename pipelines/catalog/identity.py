"""Ids of runs and evaluations: equal requests have equal ids, on any machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pear.times import as_utc, to_iso

RENAMED_OPTIONS: Final = {
    "source": "ensemble",
    "amplitude": "perturbation_scale",
    "exceedance": "thresholds",
}
"""Former → present names of forecast options. Ids are hashes of the former names, so that a request
keeps the id that it has in older catalogs."""


def run_id(
    sha256: str, init_time: np.datetime64, lead_hours: int, options: Mapping[str, Any]
) -> str:
    """Return the id of a forecast: ``20010301T0000-240h-`` and a hash of 12 hex digits.

    Parameters
    ----------
    sha256
        SHA-256 of the checkpoint.
    init_time
        Init time, UTC, in whole minutes.
    lead_hours
        Forecast length in hours.
    options
        Other options that change the result; those that are None count as absent.

    Returns
    -------
    str
        The id.
    """
    request = {
        "model": sha256,
        "init": to_iso(init_time),
        "lead_hours": lead_hours,
        "options": _with_former_names(drop_none(options)),
    }
    stamp = str(as_utc(init_time)[0].astype("datetime64[m]")).replace("-", "").replace(":", "")
    return f"{stamp}-{lead_hours}h-{_short_hash(request)}"


def evaluation_id(request: Mapping[str, Any]) -> str:
    """Return the id of an evaluation: ``evaluation-`` and 12 hex digits of the request's hash."""
    return f"evaluation-{_short_hash(drop_none(request))}"


def drop_none(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options sorted by name, without those that are None."""
    return {name: value for name, value in sorted(options.items()) if value is not None}


def _with_former_names(options: Mapping[str, Any]) -> dict[str, Any]:
    former = {new: old for old, new in RENAMED_OPTIONS.items()}
    named = {former.get(name, name): value for name, value in options.items()}
    if named.get("source") == "symmetry":
        named["source"] = "orbit"
    return named


def _short_hash(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
