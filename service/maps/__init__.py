"""Maps as PNG, drawn without pyplot and without network access from cached index images."""

from pear.plotting.styles import limits_for, style_of
from service.maps.compare import render_comparison
from service.maps.render import MapOptions, MapTitle, check_limits, render_map

__all__ = [
    "MapOptions",
    "MapTitle",
    "check_limits",
    "limits_for",
    "render_comparison",
    "render_map",
    "style_of",
]
