"""Actions: forecasts, evaluations and retention, each done once."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pear.errors import InputError
from pear.store.reader import open_store, read_completeness
from pear.times import to_iso
from pear.variables import Layout
from pipelines.catalog import Catalog, FinishedError, NotFoundError, Status
from pipelines.catalog.schedule_runs import KEPT_JOBS
from pipelines.catalog.schedules import KEPT_LINES
from pipelines.publishing.destinations import resolve_destination
from pipelines.schedules import run_action, validate_action
from pipelines.schedules.actions import Action
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.atomic import shared_lock
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.engine import (
    DAY,
    LAYOUT,
    NSIDE,
    START,
    fields,
    tiny_model,
    write_model,
)
from tests.fixtures.replica import serving
from tests.fixtures.schedules import Clock, add_day, compute_queued


def test_runs_that_can_be_verified_are_evaluated_once(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    action = validate_action(
        {"forecast": {"lead_hours": 48, "newest": 4}, "evaluate": {"lead_hours": 48}}
    )
    assert run_action(data, catalog, action, clock()).evaluations == []
    compute_queued(data, catalog)
    done = run_action(data, catalog, action, clock())
    request = catalog.evaluations.get(done.evaluations[0]).request
    assert [time[:10] for time in request["init_times"]] == ["2001-03-01", "2001-03-02"]
    assert run_action(data, catalog, action, clock()).evaluations == []
    add_day(data, 4)
    newer = run_action(data, catalog, action, clock())
    assert len(catalog.evaluations.get(newer.evaluations[0]).request["init_times"]) == 3


def test_retention_removes_runs_that_are_old_and_unread(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    forecast = validate_action(
        {"forecast": {"lead_hours": 24, "newest": 4, "options": {"members": 2}}}
    )
    run_action(data, catalog, forecast, clock())
    runs = sorted(compute_queued(data, catalog))
    expire = validate_action({"expire": {"keep_days": 10, "keep_latest": 1, "grace_hours": 2}})
    clock.now = datetime.now(UTC) + timedelta(days=5)
    assert run_action(data, catalog, expire, clock()).expired == []
    clock.now += timedelta(days=6)
    catalog.runs.touch(runs[1])
    gone = run_action(data, catalog, expire, clock()).expired
    assert gone == [runs[2], runs[0]]  # not the newest, not the one that is being read
    for run in runs:
        kept = run not in gone
        assert data.forecast(run).exists() == kept
        assert data.forecast(f"{run}.spread").exists() == kept
        assert catalog.runs.get(run).status == ("succeeded" if kept else "expired")
    assert not list(data.scratch.glob("removed.*"))
    with pytest.raises(FinishedError):
        catalog.runs.expire(gone[0])
    clock.now += timedelta(hours=3)
    with shared_lock(data.forecast(f"{runs[1]}.spread")), shared_lock(data.forecast(runs[1])):
        assert run_action(data, catalog, expire, clock()).expired == []
    assert catalog.runs.get(runs[1]).status == "succeeded"
    catalog.runs.expire(runs[1])  # and then its process died
    assert run_action(data, catalog, expire, clock()).expired == []
    assert not list((data.root / "forecasts").glob(f"{runs[1]}*"))
    with pytest.raises(InputError, match="no store at"), shared_lock(data.forecast(runs[1])):
        pass
    # An expired run is not forecast again by a schedule, only on request.
    assert run_action(data, catalog, forecast, clock()).runs == []


def test_models_of_different_steps_are_scheduled_on_one_analysis(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    """A model of 24 h and one of 6 h beside each other on a folder with six-hourly states."""
    six = np.timedelta64(6 * 3600, "s")
    by_step = {24: write_model(data), 6: write_model(data, tiny_model(seed=2, step_hours=6))}
    with AnalysisWriter(data.analysis("six"), LAYOUT, NSIDE) as writer:
        writer.append(START + six * np.arange(9), *fields(9))

    def action(step: int, **more: object) -> Action:
        about = {"model": by_step[step], "analysis": "six", "lead_hours": 24}
        forecast = {**about, "every_hours": step, "newest": 1 if step == 24 else 2}
        return validate_action({"forecast": forecast, "evaluate": about, **more})

    def computed(step: int) -> list[tuple[str, list[float]]]:
        runs = catalog.runs.page(model=by_step[step], status="succeeded").items
        found = []
        for run in runs:
            with open_store(data.forecast(run.id)) as store:
                hours = store["prediction_timedelta"].values / np.timedelta64(1, "h")
            found.append((to_iso(run.init_time)[8:13], hours.tolist()))
        return sorted(found)

    for step in by_step:
        run_action(data, catalog, action(step), clock())
    compute_queued(data, catalog)
    assert computed(24) == [("03T00", [0, 24])]
    assert computed(6) == [("02T18", [0, 6, 12, 18, 24]), ("03T00", [0, 6, 12, 18, 24])]
    assert [run_action(data, catalog, action(step), clock()).runs for step in by_step] == [[], []]
    with AnalysisWriter(data.analysis("six"), LAYOUT, NSIDE) as writer:
        writer.append(START + six * np.arange(9, 17), *fields(8, seed=1))
    # Each takes up what is new to it, whatever the other has done meanwhile.
    newer = {step: run_action(data, catalog, action(step), clock()) for step in (6, 24)}
    assert {step: len(each.runs) for step, each in newer.items()} == {6: 8, 24: 2}
    requests = {
        step: catalog.evaluations.get(each.evaluations[0]).request for step, each in newer.items()
    }
    assert [time[8:13] for time in requests[24]["init_times"]] == ["03T00"]
    assert [time[8:13] for time in requests[6]["init_times"]] == ["02T18", "03T00"]


def test_retention_removes_jobs_of_schedules_that_ended_long_ago(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    jobs = catalog.schedule_runs

    def submit(schedule: str, number: int) -> str:
        clock.now += timedelta(minutes=1)
        return jobs.submit(schedule, {"fetch": {"source": "ifs", "newest": number}})[0].id

    waiting = submit("daily", 1)  # older than all others, but it has not ended
    ended = [submit("daily", number) for number in range(2, KEPT_JOBS + 5)]
    other = submit("weekly", 1)
    for job in (*ended, other):
        jobs.cancel(job)
    action = validate_action({"expire": {"keep_days": 10}})
    clock.now += timedelta(days=9)
    run_action(data, catalog, action, clock())
    assert len(jobs.of("daily", limit=500)) == len(ended) + 1
    clock.now += timedelta(days=2)
    run_action(data, catalog, action, clock())
    kept = [job.id for job in jobs.of("daily", limit=500)]
    assert kept == [*ended[: -KEPT_JOBS - 1 : -1], waiting]
    assert [job.id for job in jobs.of("weekly")] == [other]
    with sqlite3.connect(data.catalog) as connection:
        subjects = {row[0] for row in connection.execute("SELECT subject FROM events")}
    assert subjects == {*kept, other}  # the lines of the others went with them
    assert [line.message for line in jobs.events(kept[0])] == ["queued", "cancelled"]
    with pytest.raises(NotFoundError):
        jobs.get(ended[0])


def test_retention_removes_old_lines_of_histories(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    history = catalog.schedules
    for name in ("daily", "weekly"):
        history.add(name, "0 6 * * *", {"expire": {"keep_days": 10}})
    for number in range(KEPT_LINES + 5):
        clock.now += timedelta(minutes=1)
        history.finish_trigger("daily", Status.FAILED, f"{number}")
    history.finish_trigger("weekly", Status.SUCCEEDED)
    history.remove("weekly")  # its lines are kept for a schedule that is added again
    action = validate_action({"expire": {"keep_days": 10}})
    clock.now += timedelta(days=9)
    run_action(data, catalog, action, clock())
    assert len(history.history("daily", limit=500)) == KEPT_LINES + 5
    clock.now += timedelta(days=2)
    run_action(data, catalog, action, clock())
    kept = [line.details["reason"] for line in history.history("daily", limit=500)]
    assert kept == [f"{number}" for number in range(KEPT_LINES + 4, 4, -1)]
    assert len(history.history("weekly")) == 1


def test_only_complete_states_of_the_hours_wanted_are_forecast(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    with AnalysisWriter(data.analysis("demo"), LAYOUT, NSIDE) as writer:
        six = np.timedelta64(6, "h")
        writer.append([START + 3 * DAY + six, START + 4 * DAY], *fields(2))
    run_action(
        data, catalog, validate_action({"forecast": {"lead_hours": 24, "newest": 2}}), clock()
    )
    found = sorted(to_iso(run.init_time)[5:13] for run in catalog.runs.page().items)
    assert found == ["03-04T00", "03-05T00"]


def test_options_of_the_evaluation_are_those_of_the_forecasts(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    options = {"members": 2, "seed": 3, "perturb_steps": True, "perturbation_scale": 0.3}
    action = validate_action(
        {
            "forecast": {"lead_hours": 24, "newest": 2, "options": options},
            "evaluate": {"lead_hours": 24, "options": options},
        }
    )
    first, _ = run_action(data, catalog, action, clock()).runs
    assert catalog.runs.get(first).options == {"analysis": "demo", **options}
    compute_queued(data, catalog)
    (evaluation,) = run_action(data, catalog, action, clock()).evaluations
    assert catalog.evaluations.get(evaluation).request["options"] == options


def test_an_empty_folder_has_nothing_to_ingest(
    data: DataFolder, catalog: Catalog, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "inbox").mkdir()
    ingest = {"sources": [str(tmp_path / "inbox")], "store": "demo"}
    result = run_action(data, catalog, validate_action({"ingest": ingest}), clock())
    assert result.summary == (
        "0 times ingested, 0 forecasts and 0 evaluations queued, 0 runs expired"
    )


def test_a_schedule_fetches_the_variables_that_it_names(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    action = validate_action({"fetch": {"source": "gfs", "nside": 4, "also": ["d2m"]}})
    assert action.fetch is not None
    assert action.fetch.also == ("2m_dewpoint_temperature",)
    moment = datetime(2026, 11, 25, 20, tzinfo=UTC)
    with serving() as replica:
        monkeypatch.setenv("PEAR_FETCH_MIRROR", replica.url)
        replica.add_gfs(np.datetime64("2026-11-25T12", "s"))
        replica.add_gfs(np.datetime64("2026-11-25T00", "s"))
        assert run_action(data, catalog, action, moment).ingested == 1
    with open_store(data.analysis("gfs")) as store:
        assert "2m_dewpoint_temperature" in store
    with pytest.raises(InputError, match="derived from others, not fetched"):
        validate_action({"fetch": {"source": "gfs", "also": ["ws10"]}})


def test_the_newest_analyses_are_fetched_once(
    data: DataFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = np.datetime64("2026-11-25T20:00", "s")
    action = validate_action(
        {"fetch": {"source": "gfs", "newest": 2, "every_hours": 12, "nside": 4}}
    )
    with serving() as replica:
        monkeypatch.setenv("PEAR_FETCH_MIRROR", replica.url)
        for hour in (0, 6, 12, 18):
            replica.add_gfs(np.datetime64(f"2026-11-25T{hour:02d}", "s"))
        moment = datetime.fromisoformat(f"{now}+00:00")
        assert run_action(data, catalog, action, moment).ingested == 2
        times = read_completeness(data.analysis("gfs"))[0]
        assert [to_iso(time) for time in times] == ["2026-11-25T00:00:00Z", "2026-11-25T12:00:00Z"]
        sent = replica.sent
        assert run_action(data, catalog, action, moment).ingested == 0
        assert replica.sent == sent
        assert "gfs" in [store.name for store in catalog.stores.all()]
        replica.files.clear()
        with pytest.raises(InputError, match=r"no GFS cycle of the last days"):
            run_action(data, catalog, action, moment)


def test_finished_runs_are_published_once(
    data: DataFolder,
    catalog: Catalog,
    clock: Clock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PEAR_DESTINATIONS", f"public=file://{tmp_path}/out other=s3://bucket/x")
    action = validate_action(
        {
            "forecast": {"lead_hours": 24, "newest": 2},
            "publish": {"to": "public", "newest": 1, "analyses": ["demo"]},
        }
    )
    assert run_action(data, catalog, action, clock()).published == ["analyses/demo.zarr"]
    newest = max(compute_queued(data, catalog), key=lambda run: catalog.runs.get(run).init_time)
    done = run_action(data, catalog, action, clock())
    assert done.published == [f"forecasts/{newest}.zarr"]
    assert done.summary.endswith(", 1 stores published")
    listed = json.loads((tmp_path / "out" / "catalog.json").read_text())["links"]
    assert len([link for link in listed if link["rel"] == "item"]) == 2
    assert run_action(data, catalog, action, clock()).published == []


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"publish": {"to": "s3://key:word@bucket/x"}}, "holds credentials"),
        ({"publish": {"to": "s3://bucket/x?sig=word"}}, "holds credentials"),
        ({"publish": {"to": ""}}, "to"),
        ({"ingest": {"sources": ["https://me:word@host/a.nc"], "store": "x"}}, "credentials"),
        ({"fetch": {"source": "https://host/a.zarr"}}, "fetch.source"),
    ],
)
def test_credentials_and_addresses_that_do_not_belong_into_a_catalog(
    part: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        validate_action(part)
    assert "word" not in str(caught.value)


def test_a_destination_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"'public' is not an address.* PEAR_DESTINATIONS"):
        resolve_destination("public")
    monkeypatch.setenv("PEAR_DESTINATIONS", "public=s3://bucket/x")
    assert resolve_destination("public") == "s3://bucket/x"
    with pytest.raises(InputError, match=r"did you mean public\?"):
        resolve_destination("publik")
    monkeypatch.setenv("PEAR_DESTINATIONS", "public=s3://me:word@bucket/x")
    with pytest.raises(InputError, match="PEAR_DESTINATIONS has") as caught:
        resolve_destination("public")
    assert "word" not in str(caught.value)


def add_days(data: DataFolder, layout: Layout, days: range, lacking: tuple[str, ...] = ()) -> None:
    """Append days; at the last one some variables are missing, as a source lacks them."""
    rng, cells = np.random.default_rng(1), 12 * NSIDE**2
    with AnalysisWriter(data.analysis("demo"), layout, NSIDE) as writer:
        for day in days:
            surface, upper = fields(1, seed=day)
            values = dict(zip(LAYOUT.surface, surface[0], strict=True))
            values["surface_pressure"] = rng.normal(1e5, 1e3, cells).astype("f4")
            with writer.transaction([START + day * DAY]) as changes:
                for name in layout.surface:
                    if not (day == days[-1] and name in lacking):
                        changes.write(name, values[name][None])
                changes.write("geopotential", upper[:, 0], LAYOUT.levels)


def test_what_no_model_needs_may_be_missing(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    """A store that another source filled has a variable that today's source lacks."""
    shutil.rmtree(data.analysis("demo"))
    layout = Layout((*LAYOUT.surface, "surface_pressure"), LAYOUT.upper, LAYOUT.levels)
    add_days(data, layout, range(4), ("surface_pressure",))
    action = validate_action({"forecast": {"lead_hours": 24}})
    done = run_action(data, catalog, action, clock())
    assert [catalog.runs.get(run).init_time for run in done.runs] == [START + 3 * DAY]
    assert done.left_out == ""
    assert compute_queued(data, catalog) == done.runs


def test_what_the_model_needs_is_named_if_it_is_missing(
    data: DataFolder, catalog: Catalog, clock: Clock
) -> None:
    """The newest complete state is forecast, and the history says what the newest lacks."""
    add_days(data, LAYOUT, range(4, 5), ("2m_temperature",))
    action = validate_action({"forecast": {"lead_hours": 24}})
    done = run_action(data, catalog, action, clock())
    assert [catalog.runs.get(run).init_time for run in done.runs] == [START + 3 * DAY]
    assert done.summary.endswith(
        "; no forecast from 2001-03-05T00:00:00Z: analysis demo is incomplete at "
        "2001-03-05T00:00:00Z: 1 of 4 fields missing (2m_temperature)"
    )
    shutil.rmtree(data.analysis("demo"))
    add_days(data, LAYOUT, range(6, 7), ("2m_temperature",))
    none = run_action(data, catalog, action, clock())
    assert none.runs == []
    assert "1 of 4 fields missing" in none.left_out
    add_day(data, 7)
    later = run_action(data, catalog, action, clock())
    assert [catalog.runs.get(run).init_time for run in later.runs] == [START + 7 * DAY]
    assert later.left_out == ""
