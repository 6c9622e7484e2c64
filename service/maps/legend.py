"""Colour bars as pictures of their own."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from service.maps.tiles import Colours, palette

_BAR: Final = (18, 200)
_MARGIN: Final = 10
_SIZE: Final = 12


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), _SIZE)


def draw_legend(colours: Colours, lines: tuple[str, ...]) -> bytes:
    """Draw the colour bar of a field, with its unit.

    Parameters
    ----------
    colours
        Colour map, limits and unit.
    lines
        Written above the bar.

    Returns
    -------
    bytes
        PNG.
    """
    font, (width, height) = _font(), _BAR
    words = [*lines, colours.units]
    longest = max(font.getlength(each) for each in words)
    top = _MARGIN + len(words) * (_SIZE + 5) + 4
    size = int(max(longest, width + 70) + 2 * _MARGIN), top + height + 2 * _MARGIN
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for number, each in enumerate(words):
        draw.text((_MARGIN, _MARGIN + number * (_SIZE + 5)), each, fill="black", font=font)
    rows = np.linspace(255, 0, height).round().astype(int)
    bar = np.repeat(palette(colours.name)[rows][:, None], width, axis=1)
    image.paste(Image.fromarray(bar), (_MARGIN, top))
    draw.rectangle((_MARGIN - 1, top - 1, _MARGIN + width, top + height), outline="black")
    for value in MaxNLocator(6).tick_values(colours.low, colours.high):
        part = (value - colours.low) / (colours.high - colours.low)
        if -1e-9 <= part <= 1 + 1e-9:
            y = top + (1 - part) * (height - 1)
            x = _MARGIN + width
            draw.line((x, y, x + 4, y), fill="black")
            draw.text((x + 8, y), f"{value:g}", fill="black", font=font, anchor="lm")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
