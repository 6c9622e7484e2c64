"""Probabilities of derived quantities wherever a run is asked for a field."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from pear.sphere.healpix import centres
from pear.variables import MEMBERS, PROBABILITY, STATISTIC, Layout, ProbabilityLayout
from pipelines.catalog import Catalog
from pipelines.forecasting.options import ForecastOptions
from pipelines.ingestion.readers import eccodes
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.forecast_writer import ForecastWriter
from service.app import create_app
from service.settings import Settings
from tests.fixtures.service import INIT, SHA, StubEngine, in_process, problem

NSIDE = 4
LAYOUT = Layout((), ("u_component_of_wind", "v_component_of_wind"), (850, 500))
TEXT, EVENT = "ws850>20", "wind speed at 850 hPa above 20 m s-1"
NOT_KEPT = "ws925>20"
"""Of a level that the run itself does not keep."""
SHARE = 0.5 + centres(NSIDE)[0] / 180
"""Increases with latitude; the speed of the stored winds is 5 m/s everywhere."""


class Served(NamedTuple):
    """A service, and its run."""

    client: httpx.Client
    run: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An ensemble that keeps the probability of a derived quantity."""
    folder, leads = DataFolder.create(tmp_path_factory.mktemp("data")), np.array([0, 24])
    near, far = (ProbabilityLayout((), ("wind_speed",), (level,)) for level in (850, 925))
    winds = np.broadcast_to(np.array([3.0, 4.0])[:, None, None], (2, 2, SHARE.size))
    parts = {
        "": (LAYOUT, winds, {MEMBERS: 4}),
        ".spread": (LAYOUT, 0.1 * winds, {STATISTIC: "spread"}),
        ".p00": (near, SHARE[None, None], {PROBABILITY: EVENT}),
        ".p01": (far, SHARE[None, None], {PROBABILITY: EVENT.replace("850", "925")}),
    }
    with Catalog(folder.catalog) as catalog:
        catalog.models.add(SHA, "models/none", nside=NSIDE, step_hours=24, name="made-up")
        options = ForecastOptions(members=4, thresholds=(TEXT, NOT_KEPT))
        run, _ = catalog.runs.submit(SHA[:12], INIT, 24, options=options.to_dict())
        catalog.runs.claim(run.id, "test")
        for suffix, (layout, fields, about) in parts.items():
            path = folder.forecast(run.id + suffix)
            writer = ForecastWriter(path, layout, NSIDE, INIT, leads.astype("m8[h]"), about)
            for row in range(leads.size):
                writer.write_step(row, np.zeros((0, SHARE.size)), fields)
            writer.publish()
        catalog.runs.succeed(run.id, owner="test")
        engine = StubEngine(catalog, folder)
        application = create_app(Settings(data=folder.root), catalog, engine)  # type: ignore[arg-type]
        with in_process(application) as client:
            yield Served(client, run.id)


def ask(served: Served, path: str, **params: str) -> httpx.Response:
    """Return what is answered of the probability."""
    asked = {"statistic": "p00", **params}
    answer = served.client.get(f"/v1/forecasts/{served.run}/{path}", params=asked)
    assert answer.status_code == 200, answer.text
    return answer


def test_a_run_is_submitted_with_a_threshold_of_a_derived_quantity(served: Served) -> None:
    body = {"init_time": "2003-01-01T00:00:00Z", "lead_hours": 24, "members": 4}
    answer = served.client.post("/v1/forecasts", json={**body, "thresholds": ["ws850 > 20.0"]})
    assert answer.status_code == 202
    assert answer.json()["options"]["thresholds"] == ["wind_speed@850>20"]
    refused = served.client.post("/v1/forecasts", json={**body, "thresholds": ["wdir850>20"]})
    assert "is an angle" in problem(refused, 422)["detail"]
    action = {"forecast": {"lead_hours": 24, "options": {"members": 4, "thresholds": [TEXT]}}}
    schedule = {"name": "windy", "cron": "30 6 * * *", "action": action}
    stored = served.client.post("/v1/schedules", json=schedule)
    assert stored.status_code == 201, stored.text
    assert stored.json()["action"]["forecast"]["options"]["thresholds"] == ["wind_speed@850>20"]


@pytest.mark.parametrize("name", ["ws850", "wind_speed@850"])
def test_fields_points_and_maps_show_the_probability(served: Served, name: str) -> None:
    field = ask(served, f"fields/{name}", lead_time="24")
    assert field.headers["pear-units"] == "1"
    np.testing.assert_allclose(np.frombuffer(field.content, "<f4"), SHARE, atol=1e-6)
    coarse = ask(served, f"fields/{name}", lead_time="24", nside="2")
    means = SHARE.reshape(-1, 4).mean(axis=1)
    np.testing.assert_allclose(np.frombuffer(coarse.content, "<f4"), means, atol=1e-6)
    place = {"latitude": "0", "longitude": "0", "interpolation": "bilinear"}
    for chosen in ({"variables": name}, {"levels": "850"}, {}):
        point = ask(served, "point", **place, **chosen).json()
        (series,) = point["points"][0]["series"]
        assert (series["variable"], series["units"]) == ("wind_speed", "1")
        np.testing.assert_allclose(series["values"], [0.5, 0.5], atol=0.01)
        assert EVENT in point["statistic"]
    picture = ask(served, f"maps/{name}.png", lead_time="24")
    assert Image.open(io.BytesIO(picture.content)).width == 1000
    assert EVENT in picture.headers["pear-statistic"]


def test_tiles_have_its_colours_and_values(served: Served) -> None:
    about = ask(served, "tiles/ws850.json", lead_time="24").json()["legend"]
    assert (about["units"], about["limits"]) == ("%", [0.0, 100.0])
    tile = ask(served, "tiles/ws850/0/0/0.png", lead_time="24", encoding="value")
    rgb = np.asarray(Image.open(io.BytesIO(tile.content)).convert("RGB"), dtype=float)
    values = rgb @ [65536, 256, 1] * float(tile.headers["pear-scale"])
    values += float(tile.headers["pear-offset"])
    assert values[128, 128] == pytest.approx(0.5, abs=0.02)
    assert values[10, 128] > 0.9


def test_downloads_hold_it(served: Served, tmp_path: Path) -> None:
    for grid, dims in (("healpix", ("cell",)), ("latlon:5", ("latitude", "longitude"))):
        file = tmp_path / "a.nc"
        file.write_bytes(ask(served, "download", format="netcdf", grid=grid).content)
        with xr.open_dataset(file, decode_timedelta=True) as opened:
            assert list(opened.data_vars) == ["wind_speed"]
            found = opened["wind_speed"].isel(time=0, prediction_timedelta=1).squeeze("level")
            assert (found.dims, found.attrs["units"]) == (dims, "1")
            assert float(found.mean()) == pytest.approx(0.5, abs=0.01)
            assert found.attrs["long_name"] == f"Probability of {EVENT}"
    (tmp_path / "a.grib2").write_bytes(ask(served, "download", format="grib").content)
    codes = eccodes.load()
    with (tmp_path / "a.grib2").open("rb") as file:
        message = codes.codes_grib_new_from_file(file)
        want = {"probabilityType": 3, "lowerLimit": 20.0, "level": 850, "parameterNumber": 1}
        assert {key: codes.codes_get(message, key) for key in want} == want
        assert codes.codes_get_values(message).max() == pytest.approx(100 * SHARE.max(), abs=0.01)
        codes.codes_release(message)


def test_standards_offer_it(served: Served) -> None:
    collections = served.client.get("/ogc/collections").json()["collections"]
    (base,) = (f"/ogc/collections/{each['id']}" for each in collections if ".p00" in each["id"])
    (collection,) = (each for each in collections if ".p00" in each["id"])
    assert list(collection["parameter_names"]) == ["wind_speed"]
    asked = {"coords": "POINT(0 60)", "parameter-name": "wind_speed", "z": "850"}
    (coverage,) = served.client.get(f"{base}/position", params=asked).json()["coverages"]
    assert coverage["ranges"]["wind_speed"]["values"][0] == pytest.approx(0.83, abs=0.06)
    query = "service=WMS&version=1.3.0&request=GetFeatureInfo&crs=CRS:84&bbox=-180,-90,180,90"
    query += "&layers=wind_speed&query_layers=wind_speed&styles=&width=8&height=4&i=4&j=0"
    query += "&format=image/png&info_format=application/json&elevation=850"
    (feature,) = served.client.get(f"{base}/wms?{query}").json()["features"]
    assert feature["properties"]["value"] > 0.8
    store = f"/v1/stores/forecast/{served.run}.p00"
    assert served.client.get(store).json()["variables"] == ["wind_speed"]
    about = served.client.get(f"{store}.zarr/zarr.json")
    assert about.json()["attributes"][PROBABILITY] == EVENT


def test_what_a_statistic_does_not_hold_is_refused(served: Served) -> None:
    path = f"/v1/forecasts/{served.run}"
    for statistic, words in (("spread", "statistic of each component"), ("p00", "needs")):
        asked = {"lead_time": "24", "statistic": statistic}
        name = "ws850" if statistic == "spread" else "vo850"
        answer = served.client.get(f"{path}/fields/{name}", params=asked)
        assert words in problem(answer, 422)["detail"]
    other = served.client.get(
        f"{path}/fields/ws500", params={"lead_time": "24", "statistic": "p00"}
    )
    assert "850" in problem(other, 422)["hint"]


def test_the_forecast_page_offers_it(served: Served) -> None:
    page = served.client.get(f"/?run={served.run}", headers={"Accept": "text/html"}).text
    start = page.index(">", page.index('id="page-data"')) + 1
    data = json.loads(page[start : page.index("</script>", start)])
    (kept,) = data["ensemble"]["probabilities"]
    assert (kept["variable"], kept["level"], kept["words"]) == ("wind_speed", 850, EVENT)
    row = next(each for each in data["variables"] if each["name"] == "wind_speed")
    assert (row["derived"], row["levels"], row["vector"]) == (True, True, False)
    assert data["styles"]["wind_speed"]["colours"] in data["colours"]
