"""Comparisons of two evaluations, ranks, spectra and error maps over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from pipelines.catalog import Catalog
from pipelines.evaluation.scores import read_scores
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.settings import Settings
from tests.fixtures.scores import INITS, MEMBERS, NSIDE, write_evaluation
from tests.fixtures.service import StubEngine, in_process, problem, write_scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """Evaluations of a good and a worse model, and some that differ otherwise."""
    folder = DataFolder.create(tmp_path_factory.mktemp("scores"))
    write_evaluation(folder, "good", 0.3, members=True)
    write_evaluation(folder, "worse", 0.5, inits=INITS[1:])
    write_evaluation(folder, "few", 0.3, inits=INITS[:3])
    write_evaluation(folder, "elsewhere", 0.3, analysis="other")
    write_evaluation(folder, "later", 0.3, inits=INITS + np.timedelta64(30, "D"))
    write_scores(folder)
    return folder


@pytest.fixture(scope="module")
def scored(folder: DataFolder) -> Iterator[httpx.Client]:
    with Catalog(folder.catalog) as catalog:
        app = create_app(Settings(data=folder.root), catalog, StubEngine(catalog, folder))
        with in_process(app) as client:
            yield client


@pytest.mark.parametrize("metric", ["rmse", "mae", "acc"])
def test_two_models_are_compared_at_the_init_times_of_both(
    scored: httpx.Client, metric: str
) -> None:
    asked = {"evaluation": "good", "against": "worse", "metric": metric, "region": "tropics"}
    card = scored.get("/v1/scorecard", params=asked).json()
    assert (card["against"], card["baseline"], card["init_times"]) == ("worse", None, 9)
    assert len(card["cells"]) == 3 * 2
    for cell in card["cells"]:
        assert cell["low"] - 1e-6 <= cell["gain"] <= cell["high"] + 1e-6
        assert cell["significant"] is True
        if metric != "acc":  # the errors are equal but for their size
            assert cell["gain"] == pytest.approx(1 - 0.3 / 0.5, abs=1e-5)
            assert cell["high"] - cell["low"] < 1e-5, "pairs share what varies"
    back = {**asked, "evaluation": "worse", "against": "good"}
    worse = scored.get("/v1/scorecard", params=back).json()["cells"]
    assert all(cell["gain"] < 0 and cell["significant"] for cell in worse)


def test_a_model_is_not_significantly_better_than_itself(scored: httpx.Client) -> None:
    asked = {"evaluation": "good", "against": "good", "metric": "rmse"}
    cells = scored.get("/v1/scorecard", params=asked).json()["cells"]
    assert {cell["gain"] for cell in cells} == {0.0}
    assert {cell["significant"] for cell in cells} == {False}


def test_gains_over_baselines_have_intervals(scored: httpx.Client) -> None:
    asked = {"evaluation": "good", "baseline": "persistence", "variable": "z500"}
    card = scored.get("/v1/scorecard", params=asked).json()
    assert [(cell["variable"], cell["level"]) for cell in card["cells"]] == [
        ("geopotential", 500)
    ] * 2
    for cell in card["cells"]:
        assert cell["gain"] == pytest.approx(0.7, abs=1e-5)
        assert (cell["low"], cell["high"]) == pytest.approx((0.7, 0.7), abs=1e-5)
    assert all(cell["significant"] for cell in card["cells"])
    for evaluation in ("few", "evaluation-0123456789ab"):
        plain = scored.get("/v1/scorecard", params={"evaluation": evaluation}).json()["cells"]
        assert {(cell["low"], cell["significant"]) for cell in plain} == {(None, None)}


def test_what_is_not_comparable_is_refused(scored: httpx.Client) -> None:
    for other, told in (
        ("elsewhere", "has analysis other, not made-up"),
        ("later", "no init time in common"),
        ("evaluation-0123456789ab", "earlier version"),
    ):
        asked = {"evaluation": "good", "against": other}
        refused = problem(scored.get("/v1/scorecard", params=asked), 422)
        assert told in refused["detail"]
        assert refused["field"] == "against"
    problem(scored.get("/v1/scorecard?evaluation=good&against=nosuch"), 404)


def test_ranks_of_a_reliable_ensemble_are_even(scored: httpx.Client) -> None:
    found = scored.get("/v1/scores/ranks?evaluation=good&variable=z500").json()
    assert found["members"] == MEMBERS
    assert [record["lead_days"] for record in found["records"]] == [1.0, 3.0]
    for record in found["records"]:
        shares = np.array(record["shares"])
        assert shares.sum() == pytest.approx(1)
        # The members scatter about the forecast, the analysis does by as much.
        assert shares == pytest.approx(shares[::-1], abs=0.05)
        assert shares.size == MEMBERS + 1
    refused = problem(scored.get("/v1/scores/ranks?evaluation=worse&variable=z500"), 422)
    assert "has no members" in refused["detail"]


def test_spectra_and_maps_are_those_that_are_kept(scored: httpx.Client, folder: DataFolder) -> None:
    data = read_scores(folder.evaluation("good")).sel(forecaster="pear", plotted_channel="z500")
    found = scored.get("/v1/scores/spectra?evaluation=good&variable=geopotential&level=500").json()
    assert [record["lead_days"] for record in found["records"]] == [1.0, 3.0]
    np.testing.assert_allclose([r["forecast"] for r in found["records"]], data["power"])
    np.testing.assert_allclose([r["analysis"] for r in found["records"]], data["power_of_analysis"])
    base = "/v1/scores/map?evaluation=good&variable=z500&lead_days=3"
    one = data.isel(plotted_lead=1)
    answer = scored.get(base)
    assert answer.headers["pear-grid"] == f"healpix nside={NSIDE} order=nested"
    assert answer.headers["pear-units"] == "m2 s-2"
    np.testing.assert_allclose(
        np.frombuffer(answer.content, "<f4") ** 2, one["squared_error_map"], rtol=1e-5
    )
    packed = scored.get(f"{base}&metric=bias&format=u16")
    scale, offset = (float(packed.headers[f"pear-{name}"]) for name in ("scale", "offset"))
    values = offset + scale * np.frombuffer(packed.content, "<u2")
    np.testing.assert_allclose(values, one["error_map"], atol=scale)


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("map?evaluation=good&variable=z500&lead_days=2", "lead_days", "no error map at 2 days"),
        ("map?evaluation=good&variable=z850&lead_days=3", "variable", "no maps of z850"),
        ("spectra?evaluation=good&variable=z850", "variable", "no spectra of z850"),
        ("spectra?evaluation=good&variable=z", "level", "is on levels"),
        ("spectra?evaluation=good&variable=z500&level=850", "level", "names level 500"),
        ("ranks?evaluation=good&variable=z500&region=mars", "region", "region 'mars'"),
        ("ranks?evaluation=evaluation-0123456789ab&variable=z500", "evaluation", "earlier version"),
    ],
)
def test_parts_that_an_evaluation_lacks_are_refused(
    scored: httpx.Client, query: str, field: str, told: str
) -> None:
    refused = problem(scored.get(f"/v1/scores/{query}"), 422)
    assert refused["field"] == field
    assert told in refused["detail"]


def test_each_answer_of_a_field_is_small(scored: httpx.Client) -> None:
    for query in (
        "scores?evaluation=good&variable=z500&region=global",
        "scorecard?evaluation=good&variable=z500",
        "scores/ranks?evaluation=good&variable=z500",
        "scores/spectra?evaluation=good&variable=z500",
        "scores/map?evaluation=good&variable=z500&lead_days=3&format=u16",
    ):
        answer = scored.get(f"/v1/{query}")
        assert answer.status_code == 200
        assert len(answer.content) < 100_000
