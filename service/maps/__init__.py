"""Maps as PNG: drawn with Figure objects from cached index images, never touching the network."""

from service.maps.compare import render_beside
from service.maps.render import MapOptions, MapTitle, render_map
from service.maps.styles import limits_for, style_of

__all__ = ["MapOptions", "MapTitle", "limits_for", "render_beside", "render_map", "style_of"]
