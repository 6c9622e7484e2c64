"""Every answer with values says that the atmosphere is simulated, and which statistic it shows."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httpx
import netCDF4
import numpy as np
import pytest

from pear.client.datasets import point_dataset
from pear.variables import MEMBERS, PROBABILITY, SIMULATED, STATISTIC, Layout
from pipelines.catalog import Catalog
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import INIT, SHA, StubEngine, in_process

NSIDE, SIZE = 4, 4
LEADS = np.arange(0, 54, 6)
LAYOUT = Layout(("2m_temperature", "total_precipitation_6hr"), (), ())
MODEL = SHA[:12]
EVENT = "air temperature at 2 m above 273.15 K"
WORDS = {
    "": "mean of 4 members",
    "spread": "standard deviation of 4 members",
    "q90": "90 % quantile of 4 members",
    "p00": f"probability of {EVENT}, 4 members",
    "m01": "member 2 of 4",
}
ABOUT: Final[dict[str, dict[str, Any]]] = {
    "": {MEMBERS: SIZE},
    "spread": {STATISTIC: "spread"},
    "q90": {STATISTIC: "90 % quantile"},
    "p00": {PROBABILITY: EVENT},
}


class Served(NamedTuple):
    """A service, and its run."""

    client: httpx.Client
    run: str


def _write(folder: DataFolder, name: str, about: dict[str, Any]) -> None:
    leads = LEADS.astype("timedelta64[h]")
    writer = ForecastWriter(folder.forecast(name), LAYOUT, NSIDE, INIT, leads, about)
    fields = np.stack([np.full(12 * NSIDE**2, value) for value in (280.0, 0.001)])
    for row in range(len(leads)):
        writer.write_step(row, fields, np.zeros((0, 0, 12 * NSIDE**2)))
    writer.publish()


def _serve(folder: DataFolder, about: dict[str, Any], *, ensemble: bool = True) -> Iterator[Served]:
    with Catalog(folder.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=6, name="made-up")
        options = {"members": SIZE, "keep_members": True} if ensemble else {}
        run, _ = catalog.runs.submit(MODEL, INIT, int(LEADS[-1]), options=options)
        catalog.runs.claim(run.id, "test")
        parts = ("", "spread", "q90", "p00", "m00", "m01", "m02", "m03") if ensemble else ("",)
        for part in parts:
            own = ABOUT.get(part, {}) if ensemble else {}
            _write(folder, f"{run.id}.{part}" if part else run.id, {**own, **about})
        catalog.runs.succeed(run.id, owner="test")
        times = np.array([INIT])
        with AnalysisWriter(
            folder.analysis("made-up"), LAYOUT, NSIDE, attributes=about
        ) as analysis:
            analysis.append(times, np.ones((1, 2, 12 * NSIDE**2)), np.zeros((1, 0, 0, 192)))
        catalog.stores.add("made-up", "analyses/made-up.zarr", nside=NSIDE, times=times)
        engine = StubEngine(catalog, folder)
        settings = Settings(data=folder.root)
        application = create_app(settings, catalog, engine)  # type: ignore[arg-type]
        with in_process(application) as client:
            yield Served(client, run.id)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An ensemble of a simulated atmosphere."""
    folder = DataFolder.create(tmp_path_factory.mktemp("one"))
    yield from _serve(folder, {SIMULATED: "true"})


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An ensemble of the observed atmosphere."""
    yield from _serve(DataFolder.create(tmp_path_factory.mktemp("two")), {})


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A single forecast of the observed atmosphere."""
    yield from _serve(DataFolder.create(tmp_path_factory.mktemp("three")), {}, ensemble=False)


RUN, OGC = "/v1/forecasts/{run_id}", "/ogc/collections/{collection_id}"
STAC = "/v1/stac/collections/{collection}"
POINT = "latitude=59.3&longitude=18.1"
TILE = "/{data_type}/tiles/{tile_matrix_set}"
AREA = "coords=POLYGON((0 0,60 0,60 60,0 60,0 0))"
WMS = "service=WMS&version=1.3.0&layers=2m_temperature&styles=&crs=CRS:84&bbox=-180,-90,180,90"
WMS += "&width=64&height=32&format=image/png"
EDR = {
    "position": "coords=POINT(18.1 59.3)",
    "radius": "coords=POINT(18.1 59.3)&within=1500&within-units=km",
    "area": AREA,
    "cube": "bbox=0,0,60,60",
    "trajectory": "coords=LINESTRING(18.1 59.3,10.7 59.9)",
}
VALUES: Final[dict[str, tuple[str, ...]]] = {
    RUN: ("",),
    "/v1/forecasts": ("",),
    f"{RUN}/point": tuple(
        f"{POINT}&format={each}" for each in ("json", "csv", "covjson", "netcdf")
    ),
    f"{RUN}/fields/{{variable}}": tuple(
        f"lead_time=24&format={each}" for each in ("json", "f32", "u16")
    ),
    f"{RUN}/maps/{{variable}}.png": ("lead_time=24&width=200",),
    f"{RUN}/tiles/{{variable}}/{{z}}/{{x}}/{{y}}.png": ("lead_time=24",),
    f"{RUN}/tiles/{{variable}}.json": ("lead_time=24",),
    f"{RUN}/download": ("format=netcdf", "format=zarr-zip", "format=grib&variables=2m_temperature"),
    f"{RUN}/zarr/{{path}}": ("",),
    "/v1/stores/{kind}/{name}.zarr/{path}": ("",),
    "/v1/gridlook.json": ("",),
    f"{RUN}/maps/{{variable}}.svg": ("lead_time=24",),
    f"{RUN}/maps/{{variable}}.webp": ("width=200",),
    "/v1/stac/collections": ("",),
    STAC: ("",),
    f"{STAC}/items": ("",),
    f"{STAC}/items/{{run_id}}": ("",),
    "/v1/forecast": tuple(
        f"{POINT}&hourly=temperature_2m&format={each}" for each in ("json", "flatbuffers")
    ),
    "/v1/ensemble": (
        f"{POINT}&hourly=temperature_2m",
        f"{POINT}&hourly=temperature_2m&format=flatbuffers",
    ),
    "/ogc/collections": ("",),
    OGC: ("",),
    f"{OGC}/instances": ("",),
    f"{OGC}/instances/{{instance_id}}": ("",),
    f"{OGC}/wms": (f"request=GetMap&{WMS}", "service=WMS&request=GetCapabilities"),
    **{
        f"{OGC}{at}/{name}": (query, f"{query}&f=GeoJSON")
        for at in ("", "/instances/{instance_id}")
        for name, query in EDR.items()
    },
    **{
        f"{OGC}{at}{TILE}/{{tile_matrix}}/{{tile_row}}/{{tile_col}}": ("parameter-name=t2m",)
        for at in ("", "/instances/{instance_id}")
    },
}
"""Queries to each route that answers with values, or describes data."""
WITHOUT = (
    *("/healthz", "/readyz", "/metrics", "/v1/info", "/v1/events", "/v1/stac", "/ogc"),
    *("/v1/models", "/v1/initial-conditions", "/v1/evaluations", "/v1/score", "/v1/schedules"),
    *("/ogc/conformance", "/ogc/tileMatrixSets", "/v1/access", "/v1/cron", "/v1/sources"),
    *("/v1/health", "/v1/keys", "/v1/storage", "/v1/workers"),
    *(f"{RUN}/log", f"{RUN}/events", "/v1/stores", "/v1/stores/{kind}/{name}"),
    f"{RUN}/normals/{{variable}}",  # of a climatology: see test_normals
    "/v1/stores/analysis/{name}/fields/{variable}",  # below
    *(f"{OGC}{at}/{{data_type}}/tiles" for at in ("", "/instances/{instance_id}")),
    *(f"{OGC}{at}{TILE}" for at in ("", "/instances/{instance_id}")),
)
"""Routes without values of the atmosphere: the service, jobs, scores, lists of stores and tiles."""
_MAPS = tuple(f"{RUN}/maps/{{variable}}.{kind}" for kind in ("png", "svg", "webp"))
_BY_WORKERS = (*_MAPS, f"{RUN}/download")
"""Made in processes, which take seconds to start."""
_PARAMETERS = [
    pytest.param(each, marks=pytest.mark.nightly if each in _MAPS else ()) for each in VALUES
]
_FAMILIES = ("/v1/models", "/v1/evaluations", "/v1/schedules", "/v1/score", "/ogc/tileMatrixSets")


def _get(served: Served, path: str, query: str) -> httpx.Response:
    places = {
        "{run_id}": served.run,
        "{instance_id}": served.run,
        "{collection_id}": MODEL,
        "{collection}": f"forecasts-{MODEL}",
        "{variable}": "2m_temperature",
        "{kind}": "forecast",
        "{name}": served.run,
        "{path}": "zarr.json",
        "{data_type}": "map",
        "{tile_matrix_set}": "WebMercatorQuad",
        **{f"{{{name}}}": "0" for name in ("z", "x", "y", "tile_matrix", "tile_row", "tile_col")},
    }
    for name, value in places.items():
        path = path.replace(name, value)
    answer = served.client.get(f"{path}?{query}" if query else path)
    assert answer.status_code == 200, (path, query, answer.text)
    return answer


def _said(answer: httpx.Response) -> str:
    """Return all words of an answer: of its headers, and of its body."""
    kind = answer.headers["content-type"]
    body = answer.content
    if "zip" in kind:
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            body = b"".join(file.read(name) for name in file.namelist() if "zarr.json" in name)
    elif "netcdf" in kind:
        with netCDF4.Dataset("in memory", memory=body) as opened:
            body = str(opened.__dict__).encode()
    return (str(dict(answer.headers)) + body.decode("latin-1")).lower()


def test_every_route_is_known(simulated: Served) -> None:
    paths = simulated.client.get("/openapi.json").json()["paths"]
    routes = {path for path, methods in paths.items() if "get" in methods}
    unknown = {
        path for path in routes - set(VALUES) - set(WITHOUT) if not path.startswith(_FAMILIES)
    }
    assert not unknown, "say here whether they answer with values"


@pytest.mark.parametrize("path", _PARAMETERS)
def test_values_say_what_they_are(
    path: str, simulated: Served, observed: Served, single: Served
) -> None:
    for query in VALUES[path]:
        assert "simulated" in _said(_get(simulated, path, query)), query
        assert "simulated" not in _said(_get(observed, path, query)), query
        if path not in ("/v1/ensemble", *_BY_WORKERS):
            said = _said(_get(single, path, query))
            assert "simulated" not in said, query
            assert "of 4 members" not in said, query
            assert '"statistic"' not in said or '"statistic":null' in said, query


@pytest.mark.parametrize("statistic", WORDS)
def test_values_name_their_statistic(statistic: str, simulated: Served) -> None:
    chosen, words = f"&statistic={statistic}" if statistic else "", WORDS[statistic]
    for path in (
        f"{RUN}/point",
        f"{RUN}/fields/{{variable}}",
        f"{RUN}/tiles/{{variable}}/0/0/0.png",
    ):
        for query in VALUES.get(path, ("lead_time=24",)):
            more = "&variables=t2m" if path.endswith("point") else ""
            assert words.lower() in str(_said(_get(simulated, path, query + chosen + more))), (
                path,
                query,
            )
    document = _get(simulated, f"{RUN}/point", f"{POINT}&variables=t2m{chosen}").json()
    long_name = words if statistic == "p00" else f"Air temperature at 2 m, {words}"
    assert document["points"][0]["series"][0]["long_name"] == long_name
    assert document["atmosphere"] == "simulated atmosphere, not observed"
    data = point_dataset(document, several=False)
    assert data.attrs["statistic"] == words
    assert data.attrs["simulated"] == "true"
    assert data.attrs["title"] == (
        f"PEAR forecast at 1 point, {words}, simulated atmosphere, not observed"
    )
    assert data["2m_temperature"].attrs["long_name"] == long_name


def test_columns_of_open_meteo_name_their_statistic(simulated: Served) -> None:
    asked = f"{POINT}&hourly=temperature_2m,precipitation_probability&daily=temperature_2m_max"
    found = _get(simulated, "/v1/forecast", asked).json()["statistics"]
    assert found == {
        "temperature_2m": "mean of 4 members",
        "precipitation_probability": "probability of precipitation above 0.1 mm, 4 members",
        "temperature_2m_max": "mean of 4 members",
    }
    members = _get(simulated, "/v1/ensemble", f"{POINT}&hourly=temperature_2m").json()
    assert members["statistics"]["temperature_2m"] == "member 1 of 4"
    assert members["statistics"]["temperature_2m_member03"] == "member 4 of 4"


def test_stac_names_statistics_and_simulated_analyses(simulated: Served, observed: Served) -> None:
    item = _get(simulated, f"{STAC}/items/{{run_id}}", "").json()
    assert item["properties"]["pear:statistic"] == "mean of 4 members"
    assert item["assets"]["p00"]["title"] == f"Zarr: {WORDS['p00']}"
    for served, wanted in ((simulated, True), (observed, False)):
        found = served.client.get("/v1/stac/collections/analysis-made-up").json()
        assert ("simulated, not observed" in found["description"]) is wanted


def test_fields_of_analyses_say_whether_they_are_simulated(
    simulated: Served, observed: Served
) -> None:
    for served, wanted in ((simulated, True), (observed, False)):
        analysis = served.client.get("/v1/stores?kind=analysis").json()["items"][0]
        time = analysis["first_time"]
        path = f"/v1/stores/analysis/{analysis['name']}/fields/t2m?time={time}"
        answer = served.client.get(path)
        assert answer.status_code == 200, answer.text
        assert (answer.headers.get("pear-atmosphere") == "simulated") is wanted
