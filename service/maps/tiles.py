"""Pictures without frame or title: pixels by a colour map, or pixels that carry values."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image

from pear.plotting.styles import Kind, limits_for, style_of
from pear.typing import Array, Float32, Float64
from pear.variables import Variable

_LEVELS: Final = 256
_MOST: Final = 2**24 - 1
_COMPRESSION: Final = 1


@dataclass(frozen=True)
class Colours:
    """Colours of a field.

    Attributes
    ----------
    name
        Colour map.
    low, high
        Limits in shown units; values beyond have the colour of the limit.
    scale, offset
        shown = value · scale + offset.
    units
        Unit of the shown values.
    """

    name: str
    low: float
    high: float
    scale: float
    offset: float
    units: str

    @classmethod
    def of(cls, field: Float32, name: str, level: int | None, kind: Kind) -> Colours:
        """Return the colours of a field (cell,), the same for every part of it."""
        style = style_of(name, kind)
        low, high = limits_for(style, style.shown(field), level)
        return cls(style.colours, low, high, style.scale, style.offset, style.units)


@lru_cache(maxsize=32)
def palette(name: str) -> npt.NDArray[np.uint8]:
    """Return the colours of a colour map, (256, 3)."""
    table = colormaps[name](np.arange(_LEVELS) / (_LEVELS - 1))[:, :3]
    return np.asarray(np.rint(255 * table), dtype=np.uint8)


def draw_colours(
    values: Float64,
    colours: Colours,
    inside: npt.NDArray[np.bool_] | None = None,
    background: tuple[int, int, int] | None = None,
) -> bytes:
    """Draw values (row, column) by a colour map.

    Parameters
    ----------
    values
        In the unit of the variable; finite.
    colours
        The colours.
    inside
        Pixels that are drawn (default: all).
    background
        Colour of the others (default: transparent).

    Returns
    -------
    bytes
        PNG.
    """
    shown = values * colours.scale + colours.offset
    part = (shown - colours.low) / (colours.high - colours.low)
    index = np.clip(part * _LEVELS, 0, _LEVELS - 1).astype(np.uint8)
    table = palette(colours.name)
    if inside is None or inside.all():
        image = Image.fromarray(index)
        image.putpalette(table.tobytes())
        return _png(image)
    if background is not None:
        colour = np.array(background, dtype=np.uint8)
        return _png(Image.fromarray(np.where(inside[..., None], table[index], colour)))
    alpha = np.where(inside, 255, 0).astype(np.uint8)
    return _png(Image.fromarray(np.dstack([table[index], alpha])))


def to_jpeg(picture: bytes) -> bytes:
    """Return a picture without transparency as JPEG.

    Parameters
    ----------
    picture
        PNG.

    Returns
    -------
    bytes
        JPEG.
    """
    with Image.open(io.BytesIO(picture)) as image, io.BytesIO() as file:
        image.convert("RGB").save(file, "JPEG", quality=90)
        return file.getvalue()


@dataclass(frozen=True)
class Encoding:
    """24-bit encoding: value = offset + scale · (65536 · red + 256 · green + blue).

    Attributes
    ----------
    scale
        Step of the values, a power of ten.
    offset
        Value of black.
    """

    scale: float
    offset: float

    @classmethod
    def of(cls, row: Variable, kind: Kind) -> Encoding:
        """Return the encoding of a variable, the same for all its fields.

        It holds twice the valid range of the variable; of its spread, what is as large as that
        range; and of a probability 0 to 1.

        Returns
        -------
        Encoding
            The finest one.
        """
        low, high = row.valid_range
        span = high - low
        low, high = low - span / 2, high + span / 2
        if kind == "spread":
            low, high = 0.0, span
        if kind == "probability":
            low, high = 0.0, 1.0
        power = int(np.ceil(np.log10((high - low) / (_MOST - 1))))
        scale = float(f"1e{power}")
        return cls(scale, float(f"{np.floor(low / scale) * scale:.12g}"))

    def encode(self, values: Array) -> npt.NDArray[np.uint8]:
        """Return values (row, column) as red, green and blue.

        Returns
        -------
        ndarray
            (row, column, 3).

        Raises
        ------
        OverflowError
            If the encoding does not hold a value.
        """
        code = np.rint((values - self.offset) / self.scale)
        if code.min() < 0 or code.max() > _MOST:
            raise OverflowError(f"values from {values.min():g} to {values.max():g}")
        packed = code.astype(np.uint32)
        parts = packed >> 16, (packed >> 8) & 255, packed & 255
        return np.stack(parts, axis=-1).astype(np.uint8)


def draw_values(values: Float64, encoding: Encoding) -> bytes:
    """Return values (row, column) as a PNG that carries them."""
    return _png(Image.fromarray(encoding.encode(values)))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()
