"""Options of an ingestion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pear.datasets.base import ScanOptions
from pear.store import schema
from pear.variables import LEVELS

Method = Literal["bilinear", "conservative"]
OnError = Literal["raise", "skip"]


def method_of(attributes: Mapping[str, Any]) -> Method | None:
    """Return the method by which a store was regridded, by the attributes of its root group.

    Parameters
    ----------
    attributes : mapping
        Stores of earlier versions tell it in their history alone.

    Returns
    -------
    {"bilinear", "conservative"} or None
        None if nothing says it, as where all sources were on the cells of the store.
    """
    stated = attributes.get(schema.REGRIDDING, "")
    found = re.search(
        r"\b(bilinear|conservative)\b(?= regridding|$)",
        str(stated or attributes.get("history", "")),
    )
    if found is None:
        return None
    return "conservative" if found[1] == "conservative" else "bilinear"


@dataclass(frozen=True)
class IngestOptions:
    """Options of an ingestion.

    Attributes
    ----------
    nside : int
        HEALPix resolution of the store.
    method : {"bilinear", "conservative"}
        Regridding method. The published model was trained on bilinear point values.
    on_error : {"raise", "skip"}
        Raise at the first fault, or skip the faulty file or field and mark it as missing.
    levels : tuple of int
        Pressure levels to keep, hPa.
    start, end : numpy.datetime64, optional
        First and last valid time to keep.
    every_hours : int, optional
        Keep times whose hour of the day is a multiple of this; default: all times.
    shard_times : int, optional
        Times per file of a new store; default: files of about 100 MB.
    overviews : tuple of int, optional
        Resolutions at which a new store also keeps means; default: a quarter of its own
        resolution, if that is 8 or more.
    replace : tuple of numpy.datetime64, optional
        First and last valid time of those to replace in the store, each as a whole.
    reserve_bytes : int
        Free disk space to leave.
    scan : ScanOptions
        Options of the readers.
    attributes : mapping
        Attributes of the root group of a new store: title, source, licence, ...
    """

    nside: int = 64
    method: Method = "bilinear"
    on_error: OnError = "raise"
    levels: tuple[int, ...] = LEVELS
    start: np.datetime64 | None = None
    end: np.datetime64 | None = None
    every_hours: int | None = None
    shard_times: int | None = None
    overviews: tuple[int, ...] | None = None
    replace: tuple[np.datetime64, np.datetime64] | None = None
    reserve_bytes: int = 1_000_000_000
    scan: ScanOptions = field(default_factory=ScanOptions)
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def overviews_or_default(self) -> tuple[int, ...]:
        """Resolutions of the overview groups of a new store."""
        if self.overviews is not None:
            return self.overviews
        return schema.default_overviews(self.nside)
