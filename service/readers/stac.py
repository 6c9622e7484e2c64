"""STAC documents of runs, analyses and climatologies.

https://github.com/radiantearth/stac-spec, version 1.1.0, with the forecast, datacube and Zarr
extensions: a collection for each model with its runs as items, and one for each analysis and
climatology, whose asset is the whole store.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from pydantic import BaseModel, Field

from pear.times import to_iso
from pear.variables import BY_NAME
from pipelines.catalog import Model, Run
from service.http.disclaimer import DISCLAIMER
from service.readers.export import MEDIA_TYPES
from service.readers.forecasts import ForecastStore
from service.readers.label import Label
from service.readers.nature import Nature
from service.readers.store_files import ServedStore, StoreFacts

VERSION: Final = "1.1.0"
ROOT: Final = "/v1/stac"
JSON: Final = "application/json"
GEOJSON: Final = "application/geo+json"
CONFORMANCE: Final = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
)
MOST_ITEM_LINKS: Final = 100
"""Runs that a collection links to itself, for clients that do not read pages."""
_ZARR: Final = "application/vnd.zarr; version=3"
_GLOBE: Final = (-180.0, -90.0, 180.0, 90.0)
_DATACUBE: Final = "https://stac-extensions.github.io/datacube/v2.2.0/schema.json"
_FORECAST: Final = "https://stac-extensions.github.io/forecast/v0.2.0/schema.json"
_ZARR_EXTENSION: Final = "https://stac-extensions.github.io/zarr/v1.1.0/schema.json"
_UNKNOWN_LICENSE: Final = "other"
_THUMBNAIL: Final = ("2m_temperature", "mean_sea_level_pressure", "geopotential")


class StacLink(BaseModel):
    """A link between STAC documents."""

    rel: str = Field(description="Relation: self, root, parent, collection, item, next …")
    href: str = Field(description="Absolute address.")
    type: str = Field(description="Media type.")
    title: str | None = Field(default=None, description="Title.")


class StacAsset(BaseModel):
    """Data that belong to an item or collection."""

    href: str = Field(description="Absolute address.")
    type: str = Field(description="Media type.")
    title: str = Field(description="Title.")
    roles: list[str] = Field(description="data or thumbnail.")


class StacCatalog(BaseModel):
    """The root of the STAC documents."""

    type: str = Field(default="Catalog", description="Catalog.")
    stac_version: str = Field(default=VERSION, description="Version of STAC.")
    id: str = Field(description="Id.")
    title: str = Field(description="Title.")
    description: str = Field(description="Description.")
    conformsTo: list[str] = Field(description="Conformance classes.")  # noqa: N815
    links: list[StacLink] = Field(description="Its collections, and documents about it.")


class SpatialExtent(BaseModel):
    """Where the data lie."""

    bbox: list[list[float]] = Field(description="West, south, east, north; degrees.")


class TemporalExtent(BaseModel):
    """When the data are of."""

    interval: list[list[str | None]] = Field(description="Begin and end, UTC.")


class Extent(BaseModel):
    """Where and when the data of a collection are of."""

    spatial: SpatialExtent
    temporal: TemporalExtent


class StacCollection(BaseModel):
    """Runs of one model, or one analysis or climatology."""

    type: str = Field(default="Collection", description="Collection.")
    stac_version: str = Field(default=VERSION, description="Version of STAC.")
    stac_extensions: list[str] = Field(default=[], description="Extensions in use.")
    id: str = Field(description="Id.")
    title: str = Field(description="Title.")
    description: str = Field(description="Description.")
    license: str = Field(description="Licence; `other` where it is not known.")
    extent: Extent
    summaries: dict[str, list[str | int]] = Field(description="Values in its items.")
    assets: dict[str, StacAsset] = Field(default={}, description="The store, if it is one.")
    links: list[StacLink] = Field(description="Related documents.")


class StacCollections(BaseModel):
    """Every collection."""

    collections: list[StacCollection]
    links: list[StacLink] = Field(description="Related documents.")


class Polygon(BaseModel):
    """A polygon of GeoJSON."""

    type: str = Field(default="Polygon", description="Polygon.")
    coordinates: list[list[list[float]]] = Field(description="Rings of longitude and latitude.")


class StacItem(BaseModel):
    """One finished run."""

    type: str = Field(default="Feature", description="Feature.")
    stac_version: str = Field(default=VERSION, description="Version of STAC.")
    stac_extensions: list[str] = Field(description="Extensions in use.")
    id: str = Field(description="Run id.")
    collection: str = Field(description="Id of its collection.")
    geometry: Polygon
    bbox: list[float] = Field(description="West, south, east, north; degrees.")
    properties: dict[str, Any] = Field(
        description="`datetime` is the init time; `start_datetime` and `end_datetime` are those of "
        "the valid times, UTC. `forecast:…` and `cube:…` are those of the extensions."
    )
    assets: dict[str, StacAsset] = Field(description="Zarr stores, files and a map.")
    links: list[StacLink] = Field(description="Related documents.")


class StacItems(BaseModel):
    """One page of the items of a collection."""

    type: str = Field(default="FeatureCollection", description="FeatureCollection.")
    features: list[StacItem]
    numberReturned: int = Field(description="Items on this page.")  # noqa: N815
    links: list[StacLink] = Field(description="Related documents; `next` is the following page.")


def runs_collection_id(model: str) -> str:
    """Return the id of the collection with the runs of a model."""
    return f"forecasts-{model}"


def links_to(base: str, own: str, parent: str = "", kind: str = JSON) -> list[StacLink]:
    """Return the links that each document has.

    Parameters
    ----------
    base
        Address of the service.
    own, parent
        Paths of the document and of the one above it, below :data:`ROOT`.
    kind
        Media type of the document.

    Returns
    -------
    list of StacLink
        self, root and parent.
    """
    root = f"{base}{ROOT}"
    return [
        StacLink(rel="self", href=f"{root}{own}", type=kind),
        StacLink(rel="root", href=root, type=JSON),
        StacLink(rel="parent", href=f"{root}{parent}", type=JSON),
    ]


def link_to_item(base: str, collection: str, run: Run) -> StacLink:
    """Return the link from a collection to the item of a run."""
    return StacLink(
        rel="item",
        href=f"{base}{ROOT}/collections/{collection}/items/{run.id}",
        type=GEOJSON,
        title=f"Run of {to_iso(run.init_time)}",
    )


def make_catalog(base: str, collections: list[StacCollection]) -> StacCatalog:
    """Return the root, which links to every collection."""
    links = links_to(base, "")[:2]
    links.append(StacLink(rel="data", href=f"{base}{ROOT}/collections", type=JSON))
    links += [
        StacLink(
            rel="child",
            href=f"{base}{ROOT}/collections/{each.id}",
            type=JSON,
            title=each.title,
        )
        for each in collections
    ]
    openapi = "application/vnd.oai.openapi+json;version=3.1"
    links.append(StacLink(rel="service-desc", href=f"{base}/openapi.json", type=openapi))
    links.append(StacLink(rel="service-doc", href=f"{base}/docs", type="text/html"))
    return StacCatalog(
        id="pear",
        title="PEAR",
        description=f"Analyses and forecasts on nested HEALPix. {DISCLAIMER}",
        conformsTo=list(CONFORMANCE),
        links=links,
    )


def make_runs_collection(
    base: str,
    model: Model,
    span: tuple[np.datetime64, np.datetime64],
    license_: str,
    nature: Nature,
) -> StacCollection:
    """Return the collection of a model's runs.

    Parameters
    ----------
    base
        Address of the service.
    model
        The model.
    span
        First init time and last valid time of its finished runs.
    license_
        Licence of its newest run; empty if it is not known.
    nature
        What its newest run is.

    Returns
    -------
    StacCollection
        With links to its items.
    """
    own = f"/collections/{runs_collection_id(model.id)}"
    items = StacLink(rel="items", href=f"{base}{ROOT}{own}/items", type=GEOJSON)
    about = StacLink(rel="about", href=f"{base}/v1/models/{model.id}", type=JSON)
    return StacCollection(
        id=runs_collection_id(model.id),
        title=", ".join(filter(None, (f"Forecasts of {model.name}", nature.atmosphere))),
        description=f"Runs of model {model.id} in steps of {model.step_hours} h. "
        f"{nature.describe()}{DISCLAIMER}",
        license=license_ or _UNKNOWN_LICENSE,
        extent=_extent(to_iso(span[0]), to_iso(span[1])),
        summaries={"healpix:nside": [model.nside], "pear:model": [model.id]},
        links=[*links_to(base, own), items, about],
    )


def make_store_collection(
    base: str, store: ServedStore, facts: StoreFacts, nature: Nature
) -> StacCollection:
    """Return the collection that is one analysis or climatology."""
    name = f"{store.kind}-{store.name}"
    first, last = facts.period or (store.first_time, store.last_time)
    return StacCollection(
        stac_extensions=[_ZARR_EXTENSION],
        id=name,
        title=facts.title,
        description=f"{store.kind.capitalize()} {store.name}, one Zarr store. "
        f"{nature.describe()}".rstrip(),
        license=facts.license or _UNKNOWN_LICENSE,
        extent=_extent(first, last),
        summaries={"healpix:nside": [facts.nside], "variables": list(facts.variables)},
        assets={"zarr": _zarr_asset(f"{base}/v1/stores/{store.kind}/{store.name}.zarr", "Zarr")},
        links=links_to(base, f"/collections/{name}"),
    )


def make_item(
    base: str,
    run: Run,
    store: ForecastStore,
    facts: StoreFacts,
    nature: Nature,
    statistics: dict[str, str],
) -> StacItem:
    """Return the item of a finished run.

    Parameters
    ----------
    base
        Address of the service.
    run
        The run.
    store, facts
        Its store.
    nature
        What the run is, besides its times.
    statistics
        Statistics of its ensemble in words, by name.

    Returns
    -------
    StacItem
        With assets for each store, files and a map.
    """
    collection = runs_collection_id(run.model)
    above, api = f"/collections/{collection}", f"{base}/v1/forecasts/{run.id}"
    stores, label = f"{base}/v1/stores/forecast/{run.id}", Label.of(nature, store)
    last = run.init_time + np.timedelta64(store.lead_hours[-1], "h")
    properties: dict[str, Any] = {
        "title": facts.title,
        "datetime": to_iso(run.init_time),
        "start_datetime": to_iso(run.init_time + np.timedelta64(store.lead_hours[0], "h")),
        "end_datetime": to_iso(last),
        "forecast:reference_datetime": to_iso(run.init_time),
        "forecast:horizon": f"PT{store.lead_hours[-1]}H",
        "license": facts.license or _UNKNOWN_LICENSE,
        "healpix:nside": store.nside,
        "pear:model": run.model,
        **{f"pear:{name}": text for name, text in label.fields().items()},
        **_cube(store, facts, label),
    }
    if run.finished_at is not None:
        properties["created"] = run.finished_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assets = {"zarr": _zarr_asset(f"{stores}.zarr", "Zarr")}
    for name, words in statistics.items():
        assets[name] = _zarr_asset(f"{stores}.{name}.zarr", f"Zarr: {words}")
    for kind in ("netcdf", "grib"):
        assets[kind] = StacAsset(
            href=f"{api}/download?format={kind}",
            type=MEDIA_TYPES[kind],
            title="NetCDF" if kind == "netcdf" else "GRIB 2",
            roles=["data"],
        )
    shown = next((name for name in _THUMBNAIL if name in store.names), store.names[0])
    level = store.levels[len(store.levels) // 2] if BY_NAME[shown].kind == "upper" else None
    at = f"&level={500 if 500 in store.levels else level}" if level is not None else ""
    assets["thumbnail"] = StacAsset(
        href=f"{api}/maps/{shown}.png?lead_time={store.lead_hours[0]}&width=400{at}",
        type="image/png",
        title=f"Map of {BY_NAME[shown].long_name}",
        roles=["thumbnail"],
    )
    west, south, east, north = _GLOBE
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return StacItem(
        stac_extensions=[_FORECAST, _DATACUBE, _ZARR_EXTENSION],
        id=run.id,
        collection=collection,
        geometry=Polygon(coordinates=[ring]),
        bbox=list(_GLOBE),
        properties=properties,
        assets=assets,
        links=[
            *links_to(base, f"{above}/items/{run.id}", above, GEOJSON),
            StacLink(rel="collection", href=f"{base}{ROOT}{above}", type=JSON),
            StacLink(rel="about", href=api, type=JSON, title="The run"),
        ],
    )


def _cube(store: ForecastStore, facts: StoreFacts, label: Label) -> dict[str, Any]:
    """Return the fields of the datacube extension."""
    init = to_iso(store.init_time)
    dimensions: dict[str, Any] = {
        "time": {
            "type": "temporal",
            "description": "init time",
            "extent": [init, init],
            "values": [init],
        },
        "prediction_timedelta": {
            "type": "lead time",
            "unit": "h",
            "extent": [store.lead_hours[0], store.lead_hours[-1]],
            "values": list(store.lead_hours),
        },
        "cell": {
            "type": "HEALPix cell, nested",
            "extent": [0, facts.dimensions["cell"] - 1],
        },
    }
    if store.levels:
        levels = sorted(store.levels)
        dimensions["level"] = {
            "type": "spatial",
            "axis": "z",
            "unit": "hPa",
            "extent": [levels[0], levels[-1]],
            "values": list(store.levels),
        }
    return {
        "cube:dimensions": dimensions,
        "cube:variables": {
            name: {
                "type": "data",
                "dimensions": list(facts.variables[name]),
                "unit": store.units(name),
                "description": label.name(name),
            }
            for name in store.names
        },
    }


def _zarr_asset(href: str, title: str) -> StacAsset:
    return StacAsset(href=href, type=_ZARR, title=title, roles=["data"])


def _extent(first: str | None, last: str | None) -> Extent:
    return Extent(
        spatial=SpatialExtent(bbox=[list(_GLOBE)]),
        temporal=TemporalExtent(interval=[[first, last]]),
    )
