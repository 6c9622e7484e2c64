"""OGC API - EDR: validated by the models of others, equal to the points and cells of the run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xarray as xr
from covjson_pydantic.coverage import CoverageCollection
from edr_pydantic.capabilities import ConformanceModel, LandingPageModel
from edr_pydantic.collections import Collection, Collections, Instance, Instances
from owslib.ogcapi.edr import EnvironmentalDataRetrieval
from shapely.geometry import shape

from pear.sphere.healpix import centres
from service.http.caching import RENDERED
from tests.fixtures.cf_checker import find_errors
from tests.fixtures.ogc import COLLECTION, WORDS, simulated_service
from tests.fixtures.service import LEADS, NSIDE, problem, synthetic_field

BASE = f"/ogc/collections/{COLLECTION}"
PLACE = "POINT(18.1 59.3)"
DATELINE = "POLYGON((160 -20,200 -20,200 25,160 25,160 -20))"
QUERIES = {
    "position": {"coords": "MULTIPOINT((18.1 59.3),(-170 -33))"},
    "radius": {"coords": PLACE, "within": "1500"},
    "area": {"coords": DATELINE},
    "cube": {"bbox": "160,-20,-160,25"},
    "trajectory": {"coords": "LINESTRING(18.1 59.3,10.7 59.9,4.9 52.4)"},
}


def ask(client: httpx.Client, query: str, **params: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in params.items()}
    answer = client.get(f"{BASE}/{query}", params={**QUERIES[query], **named})
    assert answer.status_code == 200, answer.text
    return answer


def series_at(client: httpx.Client, latitude: str, longitude: str, **more: str) -> list[Any]:
    query = {"latitude": latitude, "longitude": longitude, **more}
    document = client.get("/v1/forecasts/latest/point", params=query).json()
    return [[each["values"] for each in point["series"]] for point in document["points"]]


def test_the_metadata_are_those_of_the_standard(client: httpx.Client, run_id: str) -> None:
    landing = LandingPageModel.model_validate(client.get("/ogc").json())
    assert {link.rel for link in landing.links} >= {"self", "service-desc", "conformance", "data"}
    for link in landing.links:
        assert client.get(link.href.replace("http://localhost", "")).status_code == 200
    classes = ConformanceModel.model_validate(client.get("/ogc/conformance").json()).conformsTo
    assert "http://www.opengis.net/spec/ogcapi-edr-1/1.1/conf/covjson" in classes
    collections = Collections.model_validate_json(client.get("/ogc/collections").content)
    one = collections.collections[0]
    names = [each.id for each in collections.collections]
    assert names[:3] == [COLLECTION, f"{COLLECTION}.p00", f"{COLLECTION}.spread"]
    assert names[3:] == ["analysis.made-up"]
    assert one == Collection.model_validate_json(client.get(BASE).content)
    assert one.id == COLLECTION
    instances = Instances.model_validate_json(client.get(f"{BASE}/instances").content).instances
    assert instances[0].id == run_id
    assert len(instances) == 2
    instance = Instance.model_validate_json(client.get(f"{BASE}/instances/{run_id}").content)
    for each in (one, instance):
        assert each.extent.temporal is not None
        assert len(each.extent.temporal.values) == len(LEADS)
        assert each.extent.vertical is not None
        assert each.extent.vertical.values[0] == "1000"
        parameter = each.parameter_names.root["2m_temperature"]
        assert parameter.unit is not None
        assert parameter.unit.symbol == "K"
        assert str(parameter.observedProperty.id).endswith("/air_temperature/")
        assert "wind_speed" in each.parameter_names.root
        assert each.data_queries is not None
        for name in QUERIES:
            query = getattr(each.data_queries, name)
            path = query.link.href.replace("http://localhost", "")
            asked = {**QUERIES[name], "parameter-name": "2m_temperature"}
            assert client.get(path, params=asked).status_code == 200


@pytest.mark.parametrize("query", QUERIES)
def test_coverages_are_valid(client: httpx.Client, query: str) -> None:
    answer = ask(client, query, parameter_name="t2m,10m_wind_speed,t,u", z="500,850")
    assert answer.headers["content-type"] == "application/prs.coverage+json"
    document = CoverageCollection.model_validate_json(answer.content)
    assert document.parameters is not None
    names = ["2m_temperature", "10m_wind_speed", "temperature", "u_component_of_wind"]
    assert list(document.parameters.root) == names
    assert "not an official warning" in answer.json()["pear:run"]["note"]
    told = answer.json()["pear:levels"]
    assert told["on_levels"] == "temperature, u_component_of_wind"
    assert told["without"] == "2m_temperature, 10m_wind_speed"
    for coverage in answer.json()["coverages"]:
        assert ("z" in coverage["domain"]["axes"] or "composite" in coverage["domain"]["axes"]) or (
            coverage["ranges"].keys() <= {"2m_temperature", "10m_wind_speed"}
        )
    values = [
        value
        for coverage in document.coverages
        for array in coverage.ranges.values()
        for value in array.values
    ]
    assert None not in values
    assert np.isfinite(np.array(values, float)).all()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_positions_have_the_values_of_points(client: httpx.Client, interpolation: str) -> None:
    asked = {"parameter_name": "t2m,10m_wind_speed", "interpolation": interpolation}
    coverages = ask(client, "position", **asked).json()["coverages"]
    truth = series_at(
        client,
        "59.3,-33",
        "18.1,-170",
        variables="t2m,10m_wind_speed",
        interpolation=interpolation,
    )
    found = [[each["values"] for each in one["ranges"].values()] for one in coverages]
    assert found == truth
    whole = ask(client, "position", parameter_name="temperature", z="850,500").json()["coverages"]
    levels = [one["domain"]["axes"]["z"]["values"][0] for one in whole]
    assert levels == [850, 500, 850, 500]
    other = series_at(client, "59.3", "18.1", variables="t850,t500")
    assert [one["ranges"]["temperature"]["values"] for one in whole[:2]] == other[0]


def test_areas_and_circles_have_the_values_of_their_cells(client: httpx.Client) -> None:
    lat, lon = centres(NSIDE)
    inside = (lon >= 160) & (lon <= 200) & (lat >= -20) & (lat <= 25)
    far = np.radians((*centres(NSIDE), 59.3, 18.1)[2:])
    cosine = np.sin(np.radians(lat)) * np.sin(far[0]) + np.cos(np.radians(lat)) * np.cos(
        far[0]
    ) * np.cos(np.radians(lon) - far[1])
    near = np.arccos(cosine) * 6371.229 <= 1500
    for query, cells in (("area", inside), ("radius", near)):
        time = "2001-03-03T00:00:00Z"
        (one,) = ask(client, query, parameter_name="t2m", datetime=time).json()["coverages"]
        places = np.array(one["domain"]["axes"]["composite"]["values"])
        np.testing.assert_allclose(places[:, 0] % 360, lon[cells], atol=1e-6)
        np.testing.assert_allclose(places[:, 1], lat[cells], atol=1e-6)
        truth = synthetic_field("2m_temperature", None, 48)[cells]
        np.testing.assert_allclose(one["ranges"]["2m_temperature"]["values"], truth, rtol=1e-6)
    west = DATELINE.replace("160", "-200").replace("(200", "(-160").replace(",200", ",-160")
    other = client.get(f"{BASE}/area", params={"coords": west, "parameter-name": "t2m"}).json()
    first = ask(client, "area", parameter_name="t2m").json()
    assert other["coverages"] == first["coverages"]


def test_cubes_are_interpolated_to_a_grid(client: httpx.Client) -> None:
    whole = ask(client, "cube", parameter_name="t,10m_u_component_of_wind", z="1000,50").json()
    flat, upper = whole["coverages"]
    axes = upper["domain"]["axes"]
    assert axes["z"]["values"] == [1000, 50]
    x, y = axes["x"]["values"], axes["y"]["values"]
    assert (x[0], x[-1], y[0], y[-1]) == (162, 198, -18, 24)
    array = upper["ranges"]["temperature"]
    assert array["axisNames"] == ["t", "z", "y", "x"]
    field = np.reshape(array["values"], array["shape"])
    wind = flat["ranges"]["10m_u_component_of_wind"]
    wind = np.reshape(wind["values"], wind["shape"])
    for row, column in ((0, 0), (3, 4), (7, 6)):
        place = str(y[row]), str(x[column])
        points = series_at(client, *place, variables="t1000,t50,u10", interpolation="bilinear")
        np.testing.assert_allclose(field[:, 0, row, column], points[0][0], rtol=1e-6)
        np.testing.assert_allclose(field[:, 1, row, column], points[0][1], rtol=1e-6)
        np.testing.assert_allclose(wind[:, row, column], points[0][2], rtol=1e-5)
    box = {"bbox": "160,-20,100,-160,25,700", "parameter-name": "t"}
    between = client.get(f"{BASE}/cube", params=box).json()["coverages"][0]
    assert between["domain"]["axes"]["z"]["values"] == [700, 600, 500, 400, 300, 250, 200, 150, 100]
    globe = {"bbox": "-180,-90,180,90", "parameter-name": "t2m", "datetime": "2001-03-02"}
    x = client.get(f"{BASE}/cube", params=globe).json()["coverages"][0]["domain"]["axes"]["x"]
    assert len(x["values"]) == 60


def test_paths_with_times_are_interpolated_between_steps(client: httpx.Client) -> None:
    day = 983_491_200 + 86_400  # 2001-03-03
    line = f"LINESTRINGM(18.1 59.3 {day},10 50 {day + 6 * 3600})"
    params = {"coords": line, "parameter-name": "t2m,10m_u_component_of_wind"}
    (one,) = client.get(f"{BASE}/trajectory", params=params).json()["coverages"]
    tuples = one["domain"]["axes"]["composite"]["values"]
    assert [each[0] for each in tuples] == ["2001-03-03T00:00:00Z", "2001-03-03T06:00:00Z"]
    for position, name in enumerate(("2m_temperature", "10m_u_component_of_wind")):
        (first,) = series_at(client, "59.3", "18.1", variables=name, interpolation="bilinear")
        (other,) = series_at(client, "50", "10", variables=name, interpolation="bilinear")
        truth = [first[0][1], 0.75 * other[0][1] + 0.25 * other[0][2]]
        np.testing.assert_allclose(one["ranges"][name]["values"], truth, rtol=1e-5)
        assert list(one["ranges"])[position] == name


@pytest.mark.parametrize("query", ["position", "cube", "trajectory"])
def test_the_checker_of_cf_finds_no_errors(
    client: httpx.Client, query: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.nc"
    file.write_bytes(ask(client, query, parameter_name="t2m,t", z="500", f="NetCDF").content)
    assert find_errors(file, tmp_path / "report.json") == []


def test_a_collection_that_is_not_there_says_where_all_are(client: httpx.Client) -> None:
    for name in ("nosuch", "analysis.nosuch"):
        document = problem(client.get(f"/ogc/collections/{name}"), 404)
        assert "the list of collections" in document["hint"]


@pytest.mark.parametrize("query", QUERIES)
def test_netcdf_and_geojson_hold_the_same_values(client: httpx.Client, query: str) -> None:
    asked = {"parameter_name": "t2m,t", "z": "500"}
    whole = ask(client, query, **asked).json()["coverages"]
    truth = np.sort(
        [value for one in whole for array in one["ranges"].values() for value in array["values"]]
    )
    answer = ask(client, query, **asked, f="NetCDF")
    with xr.open_dataset(io.BytesIO(answer.content), engine="scipy") as file:
        assert file.attrs["Conventions"] == "CF-1.11"
        assert file["temperature"].attrs["units"] == "K"
        assert file["temperature"].attrs["standard_name"] == "air_temperature"
        assert file["time"].dtype.kind == "M"
        values = np.concatenate([each.values.ravel() for each in file.data_vars.values()])
    np.testing.assert_allclose(np.sort(values), truth, rtol=1e-6)
    features = ask(client, query, **asked, f="GeoJSON").json()["features"]
    names = ("2m_temperature", "temperature")
    values = np.concatenate([one["properties"].get(name, []) for one in features for name in names])
    np.testing.assert_allclose(np.sort(values), truth)
    assert all(shape(one["geometry"]).is_valid for one in features)


@pytest.mark.parametrize(
    ("query", "params", "field"),
    [
        ("position", {"coords": "POINT(18.1"}, "coords"),
        ("position", {"coords": "POINT(59.3 118.1)"}, "coords"),
        ("position", {"coords": "POINT(nan 1)"}, "coords"),
        ("position", {"coords": "POINT EMPTY"}, "coords"),
        ("position", {"coords": "POINT Z(18 59 500)"}, "coords"),
        ("position", {"coords": "POLYGON((0 0,1 0,1 1,0 0))"}, "coords"),
        ("position", {"parameter-name": "nothing"}, "parameter-name"),
        ("position", {"parameter-name": "z500"}, "parameter-name"),
        ("position", {"z": "501"}, "z"),
        ("position", {"z": "1/2"}, "z"),
        ("position", {"z": "R2/500"}, "z"),
        ("position", {"z": "500", "parameter-name": "t2m"}, "z"),
        ("position", {"datetime": "now"}, "datetime"),
        ("position", {"datetime": "2001-03-02T01:00:00Z"}, "datetime"),
        ("position", {"datetime": "2009-01-01/.."}, "datetime"),
        ("position", {"crs": "EPSG:3857"}, "crs"),
        ("position", {"f": "csv"}, "f"),
        ("position", {"interpolate": "nearest"}, "interpolate"),
        ("radius", {"within": "-3"}, "within"),
        ("radius", {"within": "20"}, "within"),
        ("radius", {"within-units": "feet"}, "within-units"),
        ("area", {"coords": "POLYGON((0 0,10 10,0 10,10 0,0 0))"}, "coords"),
        ("area", {"coords": "POLYGON((0 0,.1 0,.1 .1,0 0))"}, "coords"),
        (
            "area",
            {"coords": "POLYGON((-180 -90,180 -90,180 90,-180 90,-180 -90))"},
            "parameter-name",
        ),
        ("cube", {"bbox": "1,2,3"}, "bbox"),
        ("cube", {"bbox": "1,1,2,2"}, "bbox"),
        ("cube", {"bbox": "0,0,100,20,20,500", "z": "500"}, "z"),
        ("trajectory", {"coords": "LINESTRINGM(0 0 0,1 1 3600)"}, "coords"),
        ("trajectory", {"coords": "LINESTRINGM(0 0 983577601,1 1 983577602)"}, "coords"),
    ],
)
def test_errors_have_a_code_and_a_description(
    client: httpx.Client, query: str, params: dict[str, str], field: str
) -> None:
    answer = client.get(f"{BASE}/{query}", params={**QUERIES[query], **params})
    document = problem(answer, 400)
    assert document["field"] == field
    assert document["code"] == "BadRequest"
    assert document["detail"] in document["description"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"z": "R3/500"}, "'R3/500' is neither an interval low/high nor a series"),
        ({"z": "R3/300/x"}, "not 'x'"),
        ({"z": "1/2/3/4"}, "write 300/500 or R3/300/100"),
        ({"z": "1/2"}, "has no level at '1/2'"),
        ({"z": "500", "parameter-name": "t2m,msl"}, "z=500 does not apply to 2m_temperature, "),
        ({"bbox": "0,0,900,9,9,500", "parameter-name": "t2m"}, "the levels of bbox do not apply"),
        ({"datetime": "2001/2002/2003"}, "is not one interval start/end"),
    ],
)
def test_levels_and_times_that_say_nothing_are_named(
    client: httpx.Client, params: dict[str, str], words: str
) -> None:
    query = "cube" if "bbox" in params else "position"
    answer = client.get(f"{BASE}/{query}", params={**QUERIES[query], **params})
    assert words in problem(answer, 400)["description"]


def test_unknown_collections_and_runs_are_not_found(client: httpx.Client, run_id: str) -> None:
    for path in ("nothing", f"{COLLECTION}/instances/nothing", f"{COLLECTION}/items"):
        document = problem(client.get(f"/ogc/collections/{path}"), 404)
        assert document["code"] == "NotFound"
    asked = {**QUERIES["position"], "parameter-name": "t2m"}
    pinned = client.get(f"{BASE}/instances/{run_id}/position", params=asked)
    assert pinned.headers["cache-control"] == RENDERED
    newest = ask(client, "position", parameter_name="t2m")
    assert newest.headers["cache-control"] == "no-cache"
    assert newest.content == pinned.content
    etag = {"If-None-Match": newest.headers["etag"]}
    again = client.get(f"{BASE}/position", params=asked, headers=etag)
    assert again.status_code == 304


def test_a_simulated_atmosphere_is_named_everywhere(tmp_path: Path) -> None:
    with simulated_service(tmp_path / "data") as client:
        for path in ("", "/instances"):
            document = client.get(BASE + path).json()
            document = document.get("instances", [document])[0]
            assert WORDS in document["title"]
            assert "simulated, not observed" in document["description"]
            assert WORDS in document["keywords"]
        document = ask(client, "position").json()
        assert document["pear:run"]["atmosphere"] == f"{WORDS}, not observed"
        file = ask(client, "position", f="NetCDF").content
        with xr.open_dataset(io.BytesIO(file), engine="scipy") as opened:
            assert WORDS in opened.attrs["title"]


def test_owslib_asks_unchanged(url: str) -> None:
    edr = EnvironmentalDataRetrieval(f"{url}/ogc")
    assert "conformsTo" in edr.conformance()
    names = [COLLECTION, f"{COLLECTION}.p00", f"{COLLECTION}.spread", "analysis.made-up"]
    assert edr.data() == names
    assert edr.collection(COLLECTION)["id"] == COLLECTION
    found = edr.query_data(
        COLLECTION,
        "position",
        coords=PLACE,
        parameter_names=["2m_temperature"],
        datetime_="2001-03-02T00:00:00Z",
    )
    assert list(found["parameters"]) == ["2m_temperature"]
    cube = edr.query_data(
        COLLECTION, "cube", bbox=[0, 40, 30, 60], parameter_names=["temperature"], z="500"
    )
    assert cube["domainType"] == "Grid"


@pytest.mark.parametrize(
    ("query", "more", "space"),
    [
        ("position", {}, "nearest"),
        ("position", {"interpolation": "bilinear"}, "bilinear"),
        ("trajectory", {}, "bilinear"),
        ("trajectory", {"interpolation": "nearest"}, "nearest"),
        ("radius", {}, "cell"),
        ("area", {}, "cell"),
        ("cube", {}, "bilinear"),
    ],
)
def test_answers_say_whether_values_are_interpolated(
    client: httpx.Client, query: str, more: dict[str, str], space: str
) -> None:
    asked = {**more, "parameter_name": "2m_temperature"}
    for form in ("CoverageJSON", "GeoJSON"):
        found = ask(client, query, f=form, **asked).json()["pear:interpolation"]
        assert found["space"] == space
        assert ("interpolated" in found["description"]) == (space == "bilinear")
        assert "time" not in found
    with xr.open_dataset(io.BytesIO(ask(client, query, f="NetCDF", **asked).content)) as file:
        assert file.attrs["pear_interpolation"].startswith(f"space: {space}")


def test_a_path_with_times_is_interpolated_in_time(client: httpx.Client) -> None:
    seconds = int(np.datetime64("2001-03-02T12:00", "s").astype(int))
    line = f"LINESTRINGM(18.1 59.3 {seconds},10.7 59.9 {seconds + 7200})"
    found = ask(client, "trajectory", coords=line, parameter_name="2m_temperature").json()
    assert found["pear:interpolation"]["time"] == "linear"


@pytest.mark.parametrize("statistic", ["spread", "p00"])
def test_statistics_of_an_ensemble_are_collections(
    client: httpx.Client, run_id: str, statistic: str
) -> None:
    base = f"/ogc/collections/{COLLECTION}.{statistic}"
    one = Collection.model_validate_json(client.get(base).content)
    assert one.id == f"{COLLECTION}.{statistic}"
    words = {"spread": "standard deviation", "p00": "probability of air temperature"}[statistic]
    assert words in (one.title or "")
    assert "mean of" not in (one.title or "")
    parameter = one.parameter_names.root["2m_temperature"]
    assert words in str(parameter.description)
    assert parameter.observedProperty.id is None  # neither is an air temperature
    instances = client.get(f"{base}/instances").json()["instances"]
    assert [each["id"] for each in instances] == [run_id]  # the other run has no statistics
    asked = {**QUERIES["position"], "parameter-name": "2m_temperature"}
    point = {"latitude": "59.3,-33", "longitude": "18.1,-170", "variables": "t2m"}
    path = f"/v1/forecasts/{run_id}/point"
    want = client.get(path, params={**point, "statistic": statistic}).json()["points"]
    for place in (base, f"{base}/instances/{run_id}"):
        answer = client.get(f"{place}/position", params=asked)
        CoverageCollection.model_validate_json(answer.content)
        document = answer.json()
        assert words in document["pear:run"]["statistic"]
        found = [each["ranges"]["2m_temperature"]["values"] for each in document["coverages"]]
        np.testing.assert_allclose(found, [each["series"][0]["values"] for each in want])
    file = client.get(f"{base}/cube", params={**asked, **QUERIES["cube"], "f": "NetCDF"})
    assert file.status_code == 400  # coords are not of a cube
    cube = {**QUERIES["cube"], "parameter-name": "2m_temperature", "f": "NetCDF"}
    with xr.open_dataset(io.BytesIO(client.get(f"{base}/cube", params=cube).content)) as opened:
        assert words in opened["2m_temperature"].attrs["long_name"]
        assert "standard_name" not in opened["2m_temperature"].attrs


def test_a_statistic_that_no_run_keeps_is_not_a_collection(client: httpx.Client) -> None:
    refused = client.get(f"/ogc/collections/{COLLECTION}.q90")
    assert problem(refused, 404)["hint"] == "it has p00, spread"
    assert client.get("/ogc/collections/nothing.spread").status_code == 404
    assert client.get(f"/ogc/collections/{COLLECTION}.variance").status_code == 404
