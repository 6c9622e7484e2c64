"""Static files, read once; the text of a request never becomes a path."""

from __future__ import annotations

import gzip
import json
import mimetypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from matplotlib import colormaps

from pear.plotting.styles import style_of
from pear.resources.natural_earth import Resolution, borders, coastline
from pear.typing import Float64
from pear.variables import VARIABLES, derived_rows, variable
from service.dashboard.places import places
from service.http.caching import make_etag

_STATIC: Final = Path(__file__).parent / "static"
COLOUR_CHOICE: Final = ("viridis", "cividis", "gray")
"""Colour maps of even steps of lightness, which every reader can tell apart, for any variable."""


@dataclass(frozen=True)
class Asset:
    """One static file, ready to send.

    Attributes
    ----------
    body, compressed
        Content, and the same by gzip (None if that saves little).
    media_type, etag
        Headers.
    """

    body: bytes
    compressed: bytes | None
    media_type: str
    etag: str


def names() -> frozenset[str]:
    """Return the existing names below /static/."""
    return frozenset(_makers())


@cache
def version() -> str:
    """Return the digest of all static files, which their addresses have as a folder."""
    # A page of one version never loads scripts of another: modules name each other relative to
    # themselves. Old and new files of an upgrade have different addresses.
    etags = (asset(name).etag for name in sorted(_makers()))
    return make_etag(*etags).strip('"')


def address(name: str) -> str:
    """Return the path of a static file, with the digest of the version that it belongs to."""
    return f"/static/{version()}/{name}"


@cache
def asset(name: str) -> Asset:
    """Return the static file of an existing name."""
    body = _makers()[name]()
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if name.endswith(".js"):
        media_type = "text/javascript; charset=utf-8"
    compressed = gzip.compress(body, 6, mtime=0)
    return Asset(
        body,
        compressed if len(compressed) < 0.9 * len(body) else None,
        media_type,
        make_etag(name, body),
    )


@cache
def _makers() -> dict[str, Callable[[], bytes]]:
    makers: dict[str, Callable[[], bytes]] = {
        path.name: path.read_bytes for path in _STATIC.iterdir() if path.is_file()
    }
    for resolution in get_args(Resolution):
        makers[f"coastlines-{resolution}.json"] = partial(_lines, coastline, resolution)
        makers[f"borders-{resolution}.json"] = partial(_lines, borders, resolution)
    makers["places.json"] = places
    return makers


def _lines(read: Callable[[Resolution], list[Float64]], resolution: Resolution) -> bytes:
    """Return lines as flat lists of longitude and latitude in hundredths of a degree."""
    lines = [np.rint(line * 100).astype(int).ravel().tolist() for line in read(resolution)]
    return json.dumps(lines, separators=(",", ":")).encode()


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the style of each of these variables, stored or derived, as on the PNG maps."""
    return {
        name: {
            "units": style.units,
            "scale": style.scale,
            "offset": style.offset,
            "colours": style.colours,
            "limits": style.limits,
            "symmetric": style.symmetric,
            "from_zero": style.from_zero,
            "isolines": style.isolines,
            "limits_at": dict(style.limits_at),
            "label": style.label,
        }
        for name, style in ((name, variable(name).style) for name in names)
    }


def colours() -> dict[str, str]:
    """Return each colour map in use or on choice as 256 concatenated ``rrggbb`` colours."""
    rows = (*VARIABLES, *derived_rows().values())
    used = {*(row.style.colours for row in rows), *COLOUR_CHOICE}
    used |= {style_of(VARIABLES[0].name, kind).colours for kind in ("spread", "probability")}
    ramp = np.linspace(0, 1, 256)
    return {name: colormaps[name](ramp, bytes=True)[:, :3].tobytes().hex() for name in used}
