"""Maps as PNG, drawn without pyplot and without network access from cached index images."""

from service.maps.compare import render_comparison
from service.maps.render import MapOptions, MapTitle, render_map
from service.maps.styles import limits_for, style_of

__all__ = ["MapOptions", "MapTitle", "limits_for", "render_comparison", "render_map", "style_of"]
