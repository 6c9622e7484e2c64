"""Errors in the form of the OGC interfaces: a code and a description, or XML for WMS."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from xml.sax.saxutils import escape, quoteattr

OGC: Final = "/ogc"
"""Path of the OGC interfaces, where bad parameters are 400 and not 422."""
XML: Final = "text/xml"
EARLIER_XML: Final = "application/vnd.ogc.se_xml"
"""Of exceptions of WMS 1.1.1."""
_WMS_FIELDS: Final = {
    "parameter-name": "layers",
    "variable": "layers",
    "variables": "layers",
    "z": "elevation",
    "level": "elevation",
    "datetime": "time",
}
_WMS_CODES: Final = {
    "layers": "LayerNotDefined",
    "layer": "LayerNotDefined",
    "query_layers": "LayerNotDefined",
    "styles": "StyleNotDefined",
    "style": "StyleNotDefined",
    "crs": "InvalidCRS",
    "format": "InvalidFormat",
    "info_format": "InvalidFormat",
    "i": "InvalidPoint",
    "j": "InvalidPoint",
    "time": "InvalidDimensionValue",
    "elevation": "InvalidDimensionValue",
    "dim_reference_time": "InvalidDimensionValue",
    "request": "OperationNotSupported",
}


def is_ogc(path: str) -> bool:
    """Return whether a path is of an OGC interface."""
    return path == OGC or path.startswith(f"{OGC}/")


def is_wms(path: str) -> bool:
    """Return whether a path is that of a web map service."""
    return path.startswith(f"{OGC}/") and path.endswith("/wms")


def ogc_status(status: int) -> int:
    """Return the status that the standards have for a fault."""
    return 400 if status == 422 else status


def ogc_members(status: int, detail: str, hint: str | None) -> dict[str, str]:
    """Return the members that the standard's exception adds to a problem document."""
    words = f"{detail}; {hint}" if hint else detail
    code = HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")
    return {"code": code, "description": words}


def wms_report(
    detail: str, hint: str | None, field: str | None, *, is_earlier: bool = False
) -> str:
    """Return a ServiceExceptionReport of WMS.

    Parameters
    ----------
    detail, hint
        What is wrong, and what to do.
    field
        Parameter at fault, which decides the code.
    is_earlier
        Whether it is of WMS 1.1.1 and not of 1.3.0: without a namespace and a locator.

    Returns
    -------
    str
        XML.
    """
    words = f"{detail}; {hint}" if hint else detail
    field = _WMS_FIELDS.get(field or "", field)
    code = _WMS_CODES.get(field or "")
    marks = f" code={quoteattr(code)}" if code else ""
    if is_earlier:
        marks = marks.replace("InvalidCRS", "InvalidSRS")
    else:
        marks += f" locator={quoteattr(field)}" if field else ""
    clean = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words
    )
    about = (
        'version="1.1.1"' if is_earlier else 'version="1.3.0" xmlns="http://www.opengis.net/ogc"'
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<ServiceExceptionReport {about}>"
        f"<ServiceException{marks}>{escape(clean)}</ServiceException>"
        "</ServiceExceptionReport>"
    )
