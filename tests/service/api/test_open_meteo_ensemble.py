"""Members, days, several models, boxes and zones in open-meteo's format, by its own client."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openmeteo_requests
import pytest
import requests
from openmeteo_requests.Client import OpenMeteoRequestsError
from openmeteo_sdk.Aggregation import Aggregation
from openmeteo_sdk.Unit import Unit
from openmeteo_sdk.Variable import Variable

from pear.sphere.healpix import centres
from pear.variables import Layout
from pipelines.catalog import Catalog
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import INIT, StubEngine, in_process

NSIDE = 4
LEADS = np.arange(0, 60, 6)
LAYOUT = Layout(("2m_temperature", "total_precipitation_6hr"), (), ())
MODELS = {"aa": "first", "bb": "second"}
MEMBERS = 3


def temperature(lead: int, member: int) -> float:
    """Celsius: a course of the day, and members one degree apart."""
    return 10.0 + 5.0 * np.sin(2 * np.pi * lead / 24) + member


def write(folder: DataFolder, name: str, member: int, leads: Any) -> None:
    writer = ForecastWriter(
        folder.forecast(name), LAYOUT, NSIDE, INIT, leads.astype("timedelta64[h]"), {}
    )
    ones = np.ones((1, 12 * NSIDE**2))
    for row, lead in enumerate(leads):
        # 0, 1 and 2 mm in 6 h: two members of three are wet.
        surface = [(temperature(int(lead), member) + 273.15) * ones, 1e-3 * member * ones]
        writer.write_step(row, np.concatenate(surface), np.zeros((0, 0, ones.size)))
    writer.publish()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = DataFolder.create(tmp_path_factory.mktemp("ensemble"))
    with Catalog(folder.catalog) as catalog:
        for sha, name in MODELS.items():
            catalog.models.add(sha * 32, "models/none", nside=NSIDE, step_hours=6, name=name)
            kept = {"members": MEMBERS, "keep_members": True} if sha == "aa" else {}
            leads = LEADS if sha == "aa" else LEADS[:5]
            run, _ = catalog.runs.submit(name, INIT, int(leads[-1]), options=kept)
            catalog.runs.claim(run.id, "test")
            write(folder, run.id, 1 if kept else 7, leads)
            for member in range(MEMBERS if kept else 0):
                write(folder, f"{run.id}.m{member:02d}", member, leads)
            catalog.runs.succeed(run.id, owner="test")
        application = create_app(
            Settings(data=folder.root, max_points=150),
            catalog,
            StubEngine(catalog, folder),  # type: ignore[arg-type]
        )
        with in_process(application) as opened:
            yield opened


class Adapter(requests.adapters.BaseAdapter):
    """Sends the requests of the official client to the service in this process."""

    def __init__(self, client: httpx.Client) -> None:
        super().__init__()
        self._client = client

    def send(self, request: Any, **_: Any) -> requests.Response:
        got = self._client.get(request.path_url)
        answer = requests.Response()
        answer.status_code, answer.raw = got.status_code, io.BytesIO(got.content)
        answer.headers.update(got.headers)
        return answer

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def official(client: httpx.Client) -> Any:
    session = requests.Session()
    session.mount("http://pear", Adapter(client))
    return openmeteo_requests.Client(session)


PLACE = {"latitude": 59.3, "longitude": 18.1, "models": "first"}
BOX = {"models": "first", "hourly": "temperature_2m"}
ENSEMBLE, FORECAST = "http://pear/v1/ensemble", "http://pear/v1/forecast"


def test_members_have_the_names_of_open_meteo(client: httpx.Client, official: Any) -> None:
    asked = {"latitude": 59.3, "longitude": 18.1, "hourly": ["temperature_2m"]}
    hourly = client.get("/v1/ensemble", params=asked).json()["hourly"]
    names = ["temperature_2m", "temperature_2m_member01", "temperature_2m_member02"]
    assert list(hourly) == ["time", *names]
    for member, name in enumerate(names):
        expected = [temperature(int(lead), member) for lead in LEADS]
        np.testing.assert_allclose(hourly[name], expected, atol=2e-3)
    (answer,) = official.weather_api(ENSEMBLE, params=dict(asked))
    block = answer.Hourly()
    assert block.VariablesLength() == MEMBERS
    for member in range(MEMBERS):
        column = block.Variables(member)
        assert (column.Variable(), column.EnsembleMember()) == (Variable.temperature, member)
        np.testing.assert_allclose(column.ValuesAsNumpy(), hourly[names[member]], atol=1e-2)


def test_days_by_the_official_client(client: httpx.Client, official: Any) -> None:
    daily = ["temperature_2m_max", "temperature_2m_min", "precipitation_sum"]
    (answer,) = official.weather_api(FORECAST, params={**PLACE, "daily": daily})
    block = answer.Daily()
    assert (block.Interval(), block.Time()) == (86400, INIT.astype(int))
    values = [block.Variables(index).ValuesAsNumpy() for index in range(3)]
    kinds = [block.Variables(index).Aggregation() for index in range(3)]
    assert kinds == [Aggregation.maximum, Aggregation.minimum, Aggregation.sum]
    np.testing.assert_allclose(values[0][:2], 16.0, atol=1e-3)
    np.testing.assert_allclose(values[1][:2], 6.0, atol=1e-3)
    assert np.isnan(values[0][2]), "the last day is not whole"
    assert values[2][1] == pytest.approx(4.0, abs=1e-3)
    document = client.get("/v1/ensemble", params={**PLACE, "daily": daily}).json()
    assert document["daily"]["temperature_2m_max_member02"][0] == pytest.approx(17, abs=2e-3)
    assert document["daily"]["time"] == ["2001-03-01", "2001-03-02", "2001-03-03"]


def test_the_probability_of_precipitation_is_a_share_of_members(
    client: httpx.Client, official: Any
) -> None:
    asked = {**PLACE, "hourly": ["precipitation_probability"]}
    (answer,) = official.weather_api(FORECAST, params=dict(asked))
    column = answer.Hourly().Variables(0)
    assert (column.Variable(), column.Unit()) == (
        Variable.precipitation_probability,
        Unit.percentage,
    )
    np.testing.assert_allclose(column.ValuesAsNumpy(), 200 / 3, atol=1e-2)
    daily = {**PLACE, "daily": "precipitation_probability_max"}
    found = client.get("/v1/forecast", params=daily).json()["daily"]
    assert found["precipitation_probability_max"][1] == pytest.approx(66.667)


def test_several_models_stand_side_by_side(client: httpx.Client, official: Any) -> None:
    asked = {**PLACE, "models": ["first", "second"], "hourly": ["temperature_2m"]}
    document = client.get("/v1/forecast", params=asked).json()
    hourly = document["hourly"]
    assert list(hourly) == ["time", "temperature_2m_first", "temperature_2m_second"]
    assert len(hourly["time"]) == LEADS.size
    assert hourly["temperature_2m_second"][5:] == [None] * 5, "its run is shorter"
    assert hourly["temperature_2m_second"][0] == pytest.approx(17, abs=2e-3)
    assert [each["name"] for each in document["models"]] == ["first", "second"]
    answers = official.weather_api(FORECAST, params=dict(asked))
    assert [answer.Hourly().Variables(0).Variable() for answer in answers] == [
        Variable.temperature
    ] * 2
    assert answers[1].Hourly().Variables(0).ValuesAsNumpy().size == 5


def test_a_box_has_the_cells_whose_centres_are_inside(client: httpx.Client, official: Any) -> None:
    latitude, longitude = centres(NSIDE)
    turned = (longitude + 180) % 360 - 180
    for box, inside in (
        ("30,-20,60,40", (turned >= -20) & (turned <= 40)),
        ("30,150,60,-150", (longitude >= 150) & (longitude <= 210)),
        ("30,-180,60,180", longitude >= 0),
    ):
        inside = inside & (latitude >= 30) & (latitude <= 60)
        found = client.get("/v1/forecast", params={**BOX, "bounding_box": box}).json()
        np.testing.assert_allclose(
            [each["latitude"] for each in found], latitude[inside], atol=1e-4
        )
        np.testing.assert_allclose([each["longitude"] for each in found], turned[inside], atol=1e-4)
    answers = official.weather_api(FORECAST, params={**BOX, "bounding_box": "30,-20,60,40"})
    assert len(answers) > 3


def test_each_point_has_its_own_zone(client: httpx.Client, official: Any) -> None:
    asked = {
        "latitude": [59.3, -33.9, 0.0],
        "longitude": [18.1, 151.2, -150.0],
        "models": "first",
        "timezone": "auto",
        "hourly": ["temperature_2m"],
    }
    found = client.get("/v1/forecast", params=asked).json()
    assert [each["timezone"] for each in found] == [
        "Europe/Stockholm",
        "Australia/Sydney",
        "Etc/GMT+10",
    ]
    assert [each["hourly"]["time"][0] for each in found] == [
        "2001-03-01T01:00",
        "2001-03-01T11:00",
        "2001-02-28T14:00",
    ]
    answers = official.weather_api(FORECAST, params=dict(asked))
    assert [answer.UtcOffsetSeconds() for answer in answers] == [3600, 39600, -36000]
    assert [answer.Latitude() for answer in answers] == pytest.approx(
        [each["latitude"] for each in found], abs=1e-3
    )
    # A list of zones, by commas or, as the official client does, repeated.
    asked["timezone"] = ["Europe/Berlin", "GMT", "auto"]
    answers = official.weather_api(FORECAST, params=dict(asked))
    assert [answer.UtcOffsetSeconds() for answer in answers] == [3600, 0, -36000]
    asked["timezone"] = "Europe/Berlin, GMT,auto"
    found = client.get("/v1/forecast", params=asked).json()
    assert [each["timezone"] for each in found] == ["Europe/Berlin", "GMT", "Etc/GMT+10"]
    asked["timezone"] = "GMT,auto"
    refused = client.get("/v1/forecast", params=asked)
    assert refused.status_code == 422
    assert "2 time zones are given for 3 points" in refused.json()["reason"]


@pytest.mark.parametrize(
    ("url", "changed", "reason"),
    [
        (ENSEMBLE, {"models": "second"}, "no run keeps the members"),
        (FORECAST, {"models": "second", "hourly": "precipitation_probability"}, "keeps none"),
        (FORECAST, {"models": "third"}, "there is no model third"),
        (FORECAST, {"models": ",".join(map(str, range(9)))}, "9 models, limit 8"),
        (FORECAST, {"bounding_box": "1,2,3,4"}, "give latitude and longitude, or a bounding_box"),
        (FORECAST, {"daily": "precipitation_probability_sum"}, "has no sum of a day"),
        (FORECAST, {"past_days": 1, "hourly": "temperature_2m"}, "is not there or not named"),
    ],
)
def test_what_is_not_there_is_said(
    official: Any, url: str, changed: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OpenMeteoRequestsError) as caught:
        official.weather_api(url, params={**PLACE, **changed})
    (document,) = caught.value.args
    assert document["error"] is True
    assert reason in document["reason"]


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ("60,0,30,10", "this is not a box"),
        ("30,0,60", "this is not a box"),
        ("a,b,c,d", "finite decimal numbers"),
        ("30,0,30.01,0.01", "no cell has its centre"),
        ("-90,-180,90,180", "the box has 192 cells, limit 150"),
    ],
)
def test_boxes_that_are_none(official: Any, box: str, reason: str) -> None:
    with pytest.raises(OpenMeteoRequestsError) as caught:
        official.weather_api(FORECAST, params={**BOX, "bounding_box": box})
    assert reason in caught.value.args[0]["reason"]
