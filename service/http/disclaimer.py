"""The note that accompanies every forecast."""

from __future__ import annotations

from typing import Final

DISCLAIMER: Final = (
    "A research forecast, not an official warning; see your national weather service."
)
