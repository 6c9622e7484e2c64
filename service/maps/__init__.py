"""Maps as PNG: drawn with Figure objects from cached index images, never touching the network."""

from service.maps.render import MapOptions, MapTitle, render_map

__all__ = ["MapOptions", "MapTitle", "render_map"]
