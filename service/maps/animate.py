"""A run as an animated WebP: its maps one after another, with the same colours."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image

from pear.errors import InputError
from pear.plotting.styles import limits_for, style_of
from pear.typing import Array
from service.maps.render import MapOptions, MapTitle, render_map

MAX_FRAMES: Final = 64
MAX_WIDTH: Final = 1000
_QUALITY: Final = 82


@dataclass(frozen=True)
class Frame:
    """One map of an animation.

    Attributes
    ----------
    values
        Field (cell,), in the unit of the variable.
    title
        Title of the map.
    wind, partner
        As in :func:`service.maps.render_map`.
    """

    values: Array
    title: MapTitle
    wind: tuple[Array, Array] | None = None
    partner: Array | None = None


def render_animation(
    frames: Sequence[Frame],
    name: str,
    *,
    level: int | None = None,
    options: MapOptions | None = None,
    milliseconds: int = 400,
) -> bytes:
    """Draw maps one after another, in the same colours throughout.

    Parameters
    ----------
    frames
        The maps in their order.
    name
        Canonical name or alias of the variable.
    level
        Pressure level in hPa; None for surface variables.
    options
        Options of the maps; limits that are not given are those of all frames together.
    milliseconds
        Time of each frame; the last one is shown three times as long.

    Returns
    -------
    bytes
        The WebP, which repeats for ever.

    Raises
    ------
    InputError
        If there is no frame, or there are more than :data:`MAX_FRAMES`.
    """
    options = options or MapOptions()
    if not 0 < len(frames) <= MAX_FRAMES:
        raise InputError(
            f"{len(frames)} frames, limit {MAX_FRAMES}", field="every", hint="take every second one"
        )
    style = style_of(name, options.kind)
    low, high = limits_for(style, style.shown(np.concatenate([f.values for f in frames])), level)
    fixed = replace(
        options,
        vmin=low if options.vmin is None else options.vmin,
        vmax=high if options.vmax is None else options.vmax,
        format="png",
    )
    pictures = []
    for frame in frames:
        png = render_map(
            frame.values,
            name,
            frame.title,
            level=level,
            options=fixed,
            wind=frame.wind,
            partner=frame.partner,
        )
        pictures.append(Image.open(io.BytesIO(png)).convert("RGB"))
    buffer = io.BytesIO()
    pictures[0].save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=[milliseconds] * (len(pictures) - 1) + [3 * milliseconds],
        loop=0,
        quality=_QUALITY,
        method=2,
    )
    return buffer.getvalue()
