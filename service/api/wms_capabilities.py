"""Capabilities documents of WMS 1.3.0 and 1.1.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np

from pear.plotting.styles import style_of
from pear.times import to_iso
from service.api.ogc_targets import RunTarget, Target, describe_nature
from service.api.tiles import attribution_of, kind_of
from service.http.ogc_errors import EARLIER_XML
from service.readers.ogc.coverages import row_of
from service.readers.ogc.selection import list_times, parameters_of
from service.readers.ogc.wms import CRS_NAMES, EARLIER, MOST_PIXELS, VERSION, WORLD

MAP_KINDS: Final = ("image/png", "image/jpeg")
"""Media types of maps; GDAL asks for the second unless told otherwise."""
INFO_FORMATS: Final = ("application/json", "text/plain")
EARLIER_KIND: Final = "application/vnd.ogc.wms_xml"
"""Media type of the capabilities of WMS 1.1.1."""
_XLINK: Final = "http://www.w3.org/1999/xlink"
_BOXES: Final = (
    ("CRS:84", -180.0, -90.0, 180.0, 90.0),
    ("EPSG:4326", -90.0, -180.0, 90.0, 180.0),
    ("EPSG:3857", -WORLD, -WORLD, WORLD, WORLD),
)
_FORMATS: Final = (
    ("GetCapabilities", ("text/xml",)),
    ("GetMap", MAP_KINDS),
    ("GetFeatureInfo", INFO_FORMATS),
)


class _Dimension(NamedTuple):
    """A dimension of a layer, with its default and all values."""

    name: str
    units: str
    default: str
    values: Sequence[str]


def default_level(target: Target) -> int:
    """Return the level of a map without ELEVATION, hPa."""
    levels = target.store.levels
    return 500 if 500 in levels else levels[0]


def write_capabilities(
    target: Target, runs: Sequence[Target], address: str, version: str = VERSION
) -> bytes:
    """Return the capabilities of the web map service of a model.

    Parameters
    ----------
    target
        Newest run, whose layers and default times these are.
    runs
        Newest runs, one for each init time that is listed; none of a store.
    address
        Address of the service, without parameters.
    version
        Version of WMS, 1.3.0 or 1.1.1.

    Returns
    -------
    bytes
        XML.
    """
    is_earlier = version == EARLIER
    if is_earlier:
        root = ET.Element("WMT_MS_Capabilities", {"version": version, "xmlns:xlink": _XLINK})
    else:
        marks = {"xmlns": "http://www.opengis.net/wms", "xmlns:xlink": _XLINK}
        root = ET.Element("WMS_Capabilities", {"version": version, **marks})
    title = target.collection_title
    service = _add(root, "Service")
    _add(service, "Name", "OGC:WMS" if is_earlier else "WMS")
    _add(service, "Title", title)
    _add(service, "Abstract", describe_nature(target.nature))
    _online(service, address)
    _add(service, "Fees", "none")
    _add(service, "AccessConstraints", "none")
    if not is_earlier:
        _add(service, "LayerLimit", "1")
        _add(service, "MaxWidth", str(MOST_PIXELS))
        _add(service, "MaxHeight", str(MOST_PIXELS))
    capability = _add(root, "Capability")
    requests = _add(capability, "Request")
    for name, formats in _FORMATS:
        operation = _add(requests, name)
        for each in formats:
            _add(operation, "Format", EARLIER_KIND if is_earlier and each == "text/xml" else each)
        get = _add(_add(_add(operation, "DCPType"), "HTTP"), "Get")
        _online(get, f"{address}?")
    _add(_add(capability, "Exception"), "Format", EARLIER_XML if is_earlier else "XML")
    top = _add(capability, "Layer")
    _add(top, "Title", title)
    _add(top, "Abstract", describe_nature(target.nature))
    _extent(top, is_earlier=is_earlier)
    attribution = _add(top, "Attribution")
    _add(attribution, "Title", attribution_of(target.source, target.words))
    for name in parameters_of(target.store):
        _layer(top, target, runs, name, address, version)
    ET.indent(root, " ")
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _extent(layer: ET.Element, *, is_earlier: bool) -> None:
    """Add the reference systems of a layer and its extent, the globe."""
    names = ("minx", "miny", "maxx", "maxy")
    if is_earlier:
        for crs in CRS_NAMES[1:]:  # EPSG:4326 has longitude first, as CRS:84 in version 1.3.0
            _add(layer, "SRS", crs)
        globe = dict(zip(names, ("-180", "-90", "180", "90"), strict=True))
        _add(layer, "LatLonBoundingBox", None, globe)
        _add(layer, "BoundingBox", None, {"SRS": "EPSG:4326", **globe})
        edges = (repr(edge) for edge in _BOXES[-1][1:])
        _add(
            layer, "BoundingBox", None, {"SRS": "EPSG:3857", **dict(zip(names, edges, strict=True))}
        )
        return
    for crs in CRS_NAMES:
        _add(layer, "CRS", crs)
    box = _add(layer, "EX_GeographicBoundingBox")
    for name, value in (
        ("westBoundLongitude", "-180"),
        ("eastBoundLongitude", "180"),
        ("southBoundLatitude", "-90"),
        ("northBoundLatitude", "90"),
    ):
        _add(box, name, value)
    for crs, *corners in _BOXES:
        marks = {name: repr(edge) for name, edge in zip(names, corners, strict=True)}
        _add(layer, "BoundingBox", None, {"CRS": crs, **marks})


def _add(
    parent: ET.Element, name: str, text: str | None = None, marks: dict[str, str] | None = None
) -> ET.Element:
    child = ET.SubElement(parent, name, marks or {})
    child.text = text
    return child


def _online(parent: ET.Element, address: str) -> None:
    _add(parent, "OnlineResource", None, {"xlink:type": "simple", "xlink:href": address})


def _layer(
    parent: ET.Element,
    target: Target,
    runs: Sequence[Target],
    name: str,
    address: str,
    version: str,
) -> None:
    row = row_of(name)
    layer = _add(parent, "Layer", None, {"queryable": "1"})
    _add(layer, "Name", name)
    is_field = kind_of(target.store) == "field"
    units = style_of(name).units if is_field else target.store.units(name)
    title = target.label.statistic if target.label.is_probability else row.long_name
    words = target.nature.words if target.label.is_probability else target.words
    _add(layer, "Title", ", ".join((f"{title} ({units})", *words)))
    times = _list_times(target, runs)
    found = [_Dimension("time", "ISO8601", to_iso(target.store.default_time), times)]
    if row.kind == "upper":
        levels = [str(level) for level in sorted(target.store.levels, reverse=True)]
        found.append(_Dimension("elevation", "hPa", str(default_level(target)), levels))
    if isinstance(target, RunTarget):
        starts = sorted({to_iso(each.store.init_time) for each in runs})
        start = to_iso(target.run.init_time)
        found.append(_Dimension("reference_time", "ISO8601", start, starts))
    _dimensions(layer, found, is_earlier=version == EARLIER)
    style = _add(layer, "Style")
    _add(style, "Name", "default")
    colours = f": {style_of(name).colours}" if is_field else ""
    _add(style, "Title", f"Colours of the maps of PEAR{colours}")
    legend = _add(style, "LegendURL", None, {"width": "160", "height": "260"})
    _add(legend, "Format", "image/png")
    query = f"service=WMS&version={version}&request=GetLegendGraphic&format=image/png&layer={name}"
    _online(legend, f"{address}?{query}")


def _list_times(target: Target, runs: Sequence[Target]) -> list[str]:
    """Return the valid times of runs, or of a store as intervals ``first/last/step``."""
    if isinstance(target, RunTarget):
        return sorted({to_iso(time) for each in runs for time in each.store.valid_times})
    found = []
    for part in list_times(target.store.valid_times):
        if part.startswith("R"):
            count, first, step = part[1:].split("/")
            hours = (int(count) - 1) * int(step[2:-1])
            last = np.datetime64(first.rstrip("Z"), "s") + np.timedelta64(hours, "h")
            part = f"{first}/{to_iso(last)}/{step}"
        found.append(part)
    return found


def _dimensions(layer: ET.Element, found: Sequence[_Dimension], *, is_earlier: bool) -> None:
    """Add dimensions; in version 1.1.1 their values follow as extents."""
    for each in found:
        marks = {"name": each.name, "units": each.units}
        if each.units == "hPa":
            marks["unitSymbol"] = "hPa"
        if is_earlier:
            _add(layer, "Dimension", None, marks)
        else:
            marks |= {"default": each.default, "nearestValue": "0"}
            _add(layer, "Dimension", ",".join(each.values), marks)
    for each in found if is_earlier else ():
        marks = {"name": each.name, "default": each.default, "nearestValue": "0"}
        _add(layer, "Extent", ",".join(each.values), marks)
