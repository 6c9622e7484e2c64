"""Identities of runs and evaluations: the same request is the same job, on any machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pear.times import as_utc, to_iso


def run_id(
    sha256: str, init_time: np.datetime64, lead_hours: int, options: Mapping[str, Any]
) -> str:
    """Identity of a forecast: ``20010301T0000-240h-`` and 12 hex digits of what determines it.

    Parameters
    ----------
    sha256
        Of the checkpoint.
    init_time
        UTC, whole minutes.
    lead_hours
        Length in hours.
    options
        Whatever else changes the result; entries that are None count as absent.
    """
    given = {
        "model": sha256,
        "init": to_iso(init_time),
        "lead_hours": lead_hours,
        "options": drop_none(options),
    }
    stamp = str(as_utc(init_time)[0].astype("datetime64[m]")).replace("-", "").replace(":", "")
    return f"{stamp}-{lead_hours}h-{_digest(given)}"


def evaluation_id(request: Mapping[str, Any]) -> str:
    """Identity of an evaluation: ``evaluation-`` and 12 hex digits of the request."""
    return f"evaluation-{_digest(drop_none(request))}"


def drop_none(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without the entries that are None, so that absent and None are the same request."""
    return {name: value for name, value in sorted(options.items()) if value is not None}


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
