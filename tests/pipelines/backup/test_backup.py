"""Backups of data folders in use, their restoration, and what is refused."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pear.errors import InputError
from pipelines.backup import backup as module
from pipelines.backup import snapshot
from pipelines.backup.backup import LIST, back_up, restore
from pipelines.backup.snapshot import link_store
from pipelines.catalog import Catalog, Status
from pipelines.catalog.scan import refresh
from pipelines.evaluation.check import check_folder
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine, command_line
from tests.fixtures.engine import DAY, START, make_data_folder, perform, read_fields, submit
from tests.fixtures.object_storage import make_bucket, s3_server
from tests.fixtures.postgres import database, server


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A data folder with a finished run of two members, one running and one queued."""
    data = make_data_folder(tmp_path_factory.mktemp("made") / "data")
    with Catalog(data.catalog_url) as catalog:
        refresh(data, catalog)
        perform(data, catalog, submit(data, catalog, members=2))
        running = submit(data, catalog, START + DAY)
        catalog.runs.claim(running.id, "a worker")
        submit(data, catalog, START + 2 * DAY)
        catalog.schedules.add("expire", "0 3 * * *", {"expire": {"keep_days": 3}})
    (data.root / "keys.json").write_text("{}")
    (data.scratch / "partial").write_text("of a job")
    return data


@pytest.fixture
def data(made: DataFolder, tmp_path: Path) -> DataFolder:
    shutil.copytree(made.root, tmp_path / "data")
    return DataFolder(tmp_path / "data")


@pytest.fixture
def pear(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return command_line(capsys)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    yield from server()


def same_as(data: DataFolder, restored: DataFolder, url: str | None = None) -> None:
    """Compare the folders and the catalogs; unfinished jobs are queued in the second one."""
    stores = sorted(path.name for path in (data.root / "forecasts").glob("*.zarr"))
    assert stores == sorted(path.name for path in (restored.root / "forecasts").glob("*.zarr"))
    for name in stores:
        if "spread" in name:
            continue
        old = read_fields(data.root / "forecasts" / name)
        new = read_fields(restored.root / "forecasts" / name)
        assert all(np.array_equal(old[key], new[key]) for key in old)
    assert [r for r in check_folder(restored) if not r.is_healthy and r.kind != "catalog"] == []
    with Catalog(data.catalog_url) as old, Catalog(url or restored.catalog_url) as new:
        assert new.models.all() == old.models.all()
        assert new.stores.all() == old.stores.all()
        assert new.schedules.all() == old.schedules.all()
        finished = {run.id: run for run in old.runs.iterate(status="succeeded")}
        assert {run.id: run for run in new.runs.iterate(status="succeeded")} == finished
        for run in old.runs.iterate(status=("queued", "running")):
            found = new.runs.get(run.id)
            assert (found.status, found.progress.step) == (Status.QUEUED, 0)
            events = old.runs.events(run.id)
            assert new.runs.events(run.id)[: len(events)] == events


def test_a_folder_is_backed_up_and_restored(
    data: DataFolder, tmp_path: Path, pear: CommandLine
) -> None:
    place = tmp_path / "backups" / "monday"
    made = pear("backup", str(place), "--json", data=data).json
    assert made["stores"]["forecasts"] == len(list((data.root / "forecasts").glob("*.zarr")))
    assert not list(data.scratch.glob("backup*"))
    assert not (place / "scratch").exists()
    assert read_fields(place / "analyses" / "demo.zarr")  # stores can be opened where they are
    done = pear("restore", str(place), "--data", str(tmp_path / "new"), "--json").json
    assert (done["files"], done["requeued"]) == (made["files"], 2)
    restored = DataFolder.open(tmp_path / "new")
    assert (restored.root / "keys.json").stat().st_mode & 0o077 == 0
    same_as(data, restored)
    with Catalog(restored.catalog_url) as catalog:  # and its jobs can be done
        (run,) = (run for run in catalog.runs.active() if run.init_time == START + DAY)
        perform(restored, catalog, run)


@pytest.mark.slow
def test_object_storage_and_postgresql(
    data: DataFolder, tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database(postgres, "restored")
    with s3_server():
        place = f"s3://{make_bucket()}/backups/monday"
        back_up(data, place)
        with pytest.raises(InputError, match="holds a backup already"):
            back_up(data, place)
        restore(place, tmp_path / "new", url)
        with pytest.raises(InputError, match="not empty: it has"):
            restore(place, tmp_path / "other", url)
    restored = DataFolder(tmp_path / "new")
    assert not restored.catalog.exists()
    same_as(data, restored, url)
    with Catalog(url) as catalog:  # new events are numbered after the old ones
        run = catalog.runs.active()[0]
        catalog.runs.log(run.id, "hello")
        assert catalog.runs.events(run.id)[-1].message == "hello"
    monkeypatch.setenv("PEAR_CATALOG", url)
    back_up(restored, str(tmp_path / "again"))
    monkeypatch.delenv("PEAR_CATALOG")
    restore(str(tmp_path / "again"), tmp_path / "third")
    same_as(data, DataFolder(tmp_path / "third"))


def test_an_interrupted_backup_is_not_one_and_can_be_continued(
    data: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, sent = str(tmp_path / "monday"), list[str]()
    put = module.Remote.put

    def interrupted(self: module.Remote, source: Path, name: str) -> None:
        if len(sent) == 20:
            raise KeyboardInterrupt
        sent.append(name)
        put(self, source, name)

    with monkeypatch.context() as patch:
        patch.setattr(module.Remote, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            back_up(data, place)
    assert not list(data.scratch.glob("backup*"))
    with pytest.raises(InputError, match=f"no whole backup at {place}: it has no {LIST}"):
        restore(place, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    first = sent.copy()
    sent.clear()
    monkeypatch.setattr(module.Remote, "put", lambda s, p, n: (sent.append(n), put(s, p, n)))
    with Catalog(data.catalog_url) as catalog:  # a store that the first one copied in part
        run = next(catalog.runs.iterate(status="succeeded"))
    shutil.rmtree(data.forecast(run.id))
    done = back_up(data, place)
    assert not set(sent) & (set(first) - {"catalog.sqlite"})
    assert done.notes == (f"the catalog names forecasts/{run.id}.zarr, which does not exist",)
    restore(place, tmp_path / "new")


@pytest.mark.parametrize("how", ["missing", "changed", "list", "escape", "newer"])
def test_a_damaged_backup_leaves_nothing(how: str, data: DataFolder, tmp_path: Path) -> None:
    place, new = tmp_path / "monday", tmp_path / "new"
    back_up(data, str(place))
    victim = next(path for path in (place / "analyses").rglob("c/*") if path.is_file())
    document = json.loads((place / LIST).read_text())
    match how:
        case "missing":
            victim.unlink()
            message = f"lacks {victim.relative_to(place)}"
        case "changed":
            content = bytearray(victim.read_bytes())
            content[len(content) // 2] ^= 1
            victim.write_bytes(content)
            message = f"{victim.relative_to(place)} in .* is damaged"
        case "list":
            (place / LIST).write_text("{}")
            message = f"{LIST} is damaged"
        case "escape":
            document["files"]["analyses/../../evil"] = {"size": 1, "sha256": "0" * 64}
            (place / LIST).write_text(json.dumps(document))
            message = "lists unknown files"
        case _:
            (place / LIST).write_text(json.dumps(document | {"format": 2, "pear": "9.0"}))
            message = "written by PEAR 9.0, newer than this one"
    with pytest.raises(InputError, match=message):
        restore(str(place), new)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "monday"]


def test_what_is_refused(data: DataFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies in the data folder"):
        back_up(data, str(data.root / "backup"))
    with pytest.raises(InputError, match="or holds it"):
        back_up(data, str(tmp_path))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"not empty: it holds letter.txt"):
        back_up(data, str(tmp_path / "full"))
    assert (tmp_path / "full" / "letter.txt").read_text() == "dear"
    with pytest.raises(InputError, match="full is not empty"):
        restore(str(tmp_path), tmp_path / "full")
    with pytest.raises(InputError, match="no whole backup"):
        restore(str(tmp_path / "nowhere"), tmp_path / "new")
    with module._snapshot(data), pytest.raises(InputError, match="another backup"):
        back_up(data, str(tmp_path / "other"))


def test_a_store_that_changes_while_it_is_linked_is_linked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.zarr", tmp_path / "b.zarr"
    source.mkdir()
    (source / "zarr.json").write_text("1")
    (source / "chunk").write_text("1")
    (source / ".hidden").write_text("")
    copy, times = snapshot._link, iter(range(100))

    def changing(old: str, new: str) -> None:
        copy(old, new)
        if next(times) == 1:  # both files have been linked
            for name in ("chunk", "zarr.json"):
                (source / f"{name}.new").write_text("2")
                (source / f"{name}.new").replace(source / name)

    monkeypatch.setattr(snapshot, "_link", changing)
    monkeypatch.setattr(snapshot, "_PAUSE", 0.0)
    assert link_store(source, target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "zarr.json": "2",
        "chunk": "2",
    }
    assert not link_store(tmp_path / "none.zarr", tmp_path / "c.zarr")
    count = iter(range(100))
    monkeypatch.setattr(snapshot, "_state", lambda _: (next(count), b""))
    with pytest.raises(InputError, match="changes faster than it can be copied"):
        link_store(source, tmp_path / "d.zarr")


@pytest.mark.slow
def test_backups_while_runs_come_and_go(data: DataFolder, tmp_path: Path) -> None:
    """Each backup has exactly the runs that its own catalog calls finished."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with Catalog(data.catalog_url) as catalog:
                for lead in range(24, 24 * 200, 24):
                    if stop.is_set():
                        return
                    run = submit(data, catalog, START, lead)
                    perform(data, catalog, run)
                    if lead % 48:
                        shutil.rmtree(data.forecast(run.id))
                        catalog.runs.expire(run.id)
        except BaseException as error:  # shown in the main thread
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(4):
            place, new = tmp_path / f"backup-{number}", tmp_path / f"new-{number}"
            back_up(data, str(place))
            restore(str(place), new)
            damaged = [report for report in check_folder(DataFolder(new)) if not report.is_healthy]
            assert damaged == []
    finally:
        stop.set()
        worker.join()
    assert failures == []
