"""Static files, read once: no text of a request ever becomes a path."""

from __future__ import annotations

import gzip
import importlib.util
import json
import mimetypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import colormaps

from pear.errors import InputError
from pear.resources.natural_earth import coastline
from service.http.caching import etag_of
from service.maps.styles import STYLES

_STATIC: Final = Path(__file__).parent / "static"
PLOTLY: Final = "vendor/plotly.min.js"
_HOUR: Final = "public, max-age=3600"


@dataclass(frozen=True)
class Asset:
    """One file as it goes out.

    Attributes
    ----------
    body, packed
        The bytes, and the same by gzip (None where it does not help).
    """

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str
    cache_control: str


def names() -> frozenset[str]:
    """Return the names under /static/ that exist."""
    return frozenset(_makers())


@cache
def asset(name: str) -> Asset:
    """Return one static file; KeyError if there is none of this name."""
    body = _makers()[name]()
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if name.endswith(".js"):
        media_type = "text/javascript; charset=utf-8"
    packed = gzip.compress(body, 6, mtime=0)
    return Asset(
        body,
        packed if len(packed) < 0.9 * len(body) else None,
        media_type,
        etag_of(name, body),
        _HOUR if name == PLOTLY else "no-cache",
    )


@cache
def _makers() -> dict[str, Callable[[], bytes]]:
    makers: dict[str, Callable[[], bytes]] = {
        path.name: path.read_bytes for path in _STATIC.iterdir() if path.is_file()
    }
    makers["coastlines-110m.json"] = _coastlines
    makers[PLOTLY] = _plotly
    return makers


def _plotly() -> bytes:
    """plotly.js out of the installed Python package, found without importing it."""
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise InputError("plotly is not installed", hint="pip install plotly")
    return (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()


@cache
def style_guard() -> str | None:
    """Identity of the style element that the map library inside plotly.js would add.

    It adds none if an element of this identity is there, which is what our content security
    policy wants: PEAR draws no maps with it.
    """
    found = re.search(rb'getElementById\("([0-9a-f]{40,})"\)', _plotly())
    return found[1].decode() if found else None


def _coastlines() -> bytes:
    """Coastlines as flat lists of longitude and latitude in hundredths of a degree."""
    lines = [np.rint(line * 100).astype(int).ravel().tolist() for line in coastline("110m")]
    return json.dumps(lines, separators=(",", ":")).encode()


@cache
def styles() -> dict[str, dict[str, Any]]:
    """How the pages show each variable: the same table as the PNG maps."""
    return {
        name: {
            "units": style.units,
            "scale": style.scale,
            "offset": style.offset,
            "colours": style.colours,
            "limits": style.limits,
            "symmetric": style.symmetric,
            "limits_at": dict(style.limits_at),
            "label": style.label,
        }
        for name, style in STYLES.items()
    }


@cache
def colours() -> dict[str, str]:
    """Each colour map in use as 256 colours, ``rrggbb`` one after the other."""
    used = {style.colours for style in STYLES.values()}
    ramp = np.linspace(0, 1, 256)
    return {name: colormaps[name](ramp, bytes=True)[:, :3].tobytes().hex() for name in used}
