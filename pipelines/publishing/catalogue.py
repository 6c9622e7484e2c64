"""Catalogues of published stores: STAC (``catalog.json``) and gridlook (``gridlook.json``).

STAC: https://github.com/radiantearth/stac-spec, version 1.1.0, with the forecast and Zarr
extensions; one item a store, one asset a Zarr group.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pear.store.reader import open_store
from pear.times import to_iso
from pipelines.storage.remote import Remote

STAC: Final = "1.1.0"
_EXTENSIONS: Final = (
    "https://stac-extensions.github.io/forecast/v0.2.0/schema.json",
    "https://stac-extensions.github.io/zarr/v1.1.0/schema.json",
)
_ITEMS: Final = "items"
_GLOBE: Final = [[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, -90.0]]


def describe_store(path: Path, name: str) -> dict[str, Any]:
    """Return the STAC item of a store.

    Parameters
    ----------
    path
        An analysis or forecast store.
    name
        Its path below the published folder.

    Returns
    -------
    dict
        The item; addresses are relative to the folder of items.
    """
    with open_store(path) as dataset:
        times = dataset["time"].values
        properties: dict[str, Any] = {
            "title": str(dataset.attrs.get("title") or name),
            "license": str(dataset.attrs.get("license") or "other"),
            "variables": sorted(map(str, dataset.data_vars)),
            "healpix:cells": dataset.sizes["cell"],
        }
        first, last = times[0], times[-1]
        if "prediction_timedelta" in dataset.coords:
            lead = dataset["prediction_timedelta"].values[-1]
            properties |= {
                "datetime": to_iso(first),
                "forecast:reference_datetime": to_iso(first),
                "forecast:horizon": f"PT{int(lead / np.timedelta64(1, 'h'))}H",
            }
            last = first + lead
        else:
            properties["datetime"] = None
        properties |= {"start_datetime": to_iso(first), "end_datetime": to_iso(last)}
        title = properties["title"]
    return {
        "type": "Feature",
        "stac_version": STAC,
        "stac_extensions": list(_EXTENSIONS),
        "id": name.removesuffix(".zarr").replace("/", "-"),
        "geometry": {"type": "Polygon", "coordinates": [_GLOBE]},
        "bbox": [-180.0, -90.0, 180.0, 90.0],
        "properties": properties,
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
            {"rel": "store", "href": f"../{name}", "type": "application/vnd.zarr; version=3"},
        ],
        "assets": {
            "zarr": {
                "href": f"../{name}",
                "title": title,
                "type": "application/vnd.zarr; version=3",
                "roles": ["data"],
                "zarr:consolidated": True,
                "zarr:node_type": "group",
                "zarr:zarr_format": 3,
            }
        },
    }


def write_catalogues(remote: Remote, item: Mapping[str, Any]) -> None:
    """Enter an item, then write both catalogues anew from the items that are there.

    Parameters
    ----------
    remote
        The published folder.
    item
        The item of a store that is published.
    """
    remote.put_bytes(_encode(item), f"{_ITEMS}/{item['id']}.json")
    names = sorted(name for name in remote.list_files(_ITEMS) if name.endswith(".json"))
    items = [found for name in names if (found := remote.read_json(f"{_ITEMS}/{name}"))]
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    links += [
        {
            "rel": "item",
            "href": f"./{_ITEMS}/{each['id']}.json",
            "type": "application/geo+json",
            "title": each["properties"]["title"],
        }
        for each in items
    ]
    catalog = {
        "type": "Catalog",
        "stac_version": STAC,
        "id": "pear",
        "title": "PEAR",
        "description": "Analyses and forecasts on nested HEALPix, as Zarr.",
        "links": links,
    }
    remote.put_bytes(_encode(catalog), "catalog.json")
    gridlook = {
        "type": "gridlook_catalog",
        "title": "PEAR",
        "datasets": [
            {
                "url": each["assets"]["zarr"]["href"].replace("..", remote.address, 1),
                "title": each["properties"]["title"],
                "tag": "healpix",
                "description": f"{each['properties']['start_datetime']} to "
                f"{each['properties']['end_datetime']}; {each['properties']['license']}",
            }
            for each in items
        ],
    }
    remote.put_bytes(_encode(gridlook), "gridlook.json")


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, allow_nan=False).encode()
