"""Stores that hosts without a common disk share: whole or not there, fetched by the chunk."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3fs import S3FileSystem

from pear.errors import InputError
from pear.store import fetched
from pear.store.fetched import Mark, complete, make_room, missing_chunks
from pear.store.manifest import Manifest
from pear.store.reader import open_store, read_completeness
from pipelines.catalog import Catalog, Run, Status
from pipelines.catalog.rebuild import rebuild_catalog
from pipelines.catalog.retention import remove_leftovers, remove_run
from pipelines.catalog.scan import refresh
from pipelines.catalog.sharing import fetch_inputs, synchronise, writing
from pipelines.evaluation.check import check_folder, check_path
from pipelines.forecasting.forecast import run_forecast
from pipelines.publishing.publish import publish
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.remote import Remote
from pipelines.storage.shared import VARIABLE, SharedStores, share
from tests.fixtures.engine import (
    DAY,
    LAYOUT,
    NSIDE,
    START,
    fields,
    make_data_folder,
    read_fields,
    submit,
)
from tests.fixtures.object_storage import make_bucket, s3_server

KINDS = ("models", "analyses")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a server that fails again at once."""
    monkeypatch.setattr("pear.store.fetched._PAUSE_SECONDS", 0.0)
    monkeypatch.setattr("pipelines.storage.shared._PAUSE_SECONDS", 0.0)


@pytest.fixture(params=[pytest.param("s3", marks=pytest.mark.slow), "file"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "s3":
        request.getfixturevalue("server")
        found = f"s3://{make_bucket()}/pear"
    else:
        found = f"file://{tmp_path / 'objects'}"
    monkeypatch.setenv(VARIABLE, found)
    return found


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the objects, for tests that change or lose some."""
    monkeypatch.setenv(VARIABLE, f"file://{tmp_path / 'objects'}")
    return tmp_path / "objects"


@pytest.fixture
def first(tmp_path: Path) -> DataFolder:
    """A host that has an analysis and a model."""
    return make_data_folder(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> DataFolder:
    """A host that has nothing."""
    return DataFolder.create(tmp_path / "second")


def shared_of(data: DataFolder) -> SharedStores:
    found = SharedStores.of(data)
    assert found is not None
    return found


def share_inputs(data: DataFolder) -> None:
    for path in (data.root / "models").glob("[!.]*"):
        share(data, "models", path.name)
    share(data, "analyses", "demo")


def compute(data: DataFolder, catalog: Catalog, url: Path, **options: Any) -> Run:
    refresh(data, catalog)
    run = submit(data, catalog, lead=48, **options)
    assert run_forecast(str(data.root), run.id, str(url)) == "succeeded"
    return run


def assert_equal(one: Path, other: Path) -> None:
    left, right = read_fields(one), read_fields(other)
    assert left.keys() == right.keys()
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name])


def test_a_run_is_read_by_a_host_that_did_not_compute_it(
    address: str, first: DataFolder, second: DataFolder, tmp_path: Path
) -> None:
    url = tmp_path / "catalog.sqlite"
    with Catalog(url) as catalog:
        run = compute(first, catalog, url, members=2, ensemble="noise", quantiles=[90])
        assert any("object storage" in each.message for each in catalog.runs.events(run.id))
    shared = shared_of(second)
    assert shared.ensure("forecasts", run.id)
    names = sorted(path.name for path in (first.root / "forecasts").glob("[!.]*"))
    assert names == sorted(path.name for path in (second.root / "forecasts").glob("[!.]*"))
    assert len(names) == 3  # the mean, the spread and a quantile
    store = second.forecast(run.id)
    lacking = missing_chunks(store)
    assert len(lacking) == len(Manifest.read(store).files)
    for name in names:
        assert_equal(first.root / "forecasts" / name, second.root / "forecasts" / name)
    assert len(missing_chunks(store)) < len(lacking)
    assert address in (Mark.read(store) or Mark("", "")).address


def test_a_worker_without_anything_fetches_the_model_and_the_analysis(
    address: str, first: DataFolder, second: DataFolder, tmp_path: Path
) -> None:
    assert address
    share_inputs(first)
    url = tmp_path / "catalog.sqlite"
    with Catalog(url) as catalog:
        refresh(first, catalog)
        run = submit(first, catalog, lead=48)
        assert run_forecast(str(second.root), run.id, str(url)) == "succeeded"
    assert not first.forecast(run.id).exists()
    assert shared_of(first).ensure("forecasts", run.id)
    assert_equal(first.forecast(run.id), second.forecast(run.id))


def test_a_run_that_was_shared_before_its_worker_died_is_not_computed_again(
    local: Path,
    first: DataFolder,
    second: DataFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert local
    share_inputs(first)
    url = tmp_path / "catalog.sqlite"
    with Catalog(url) as catalog:
        refresh(first, catalog)
        run = submit(first, catalog, lead=48)
        with monkeypatch.context() as patch:

            def die(*_: object, **__: object) -> None:
                raise KeyboardInterrupt

            patch.setattr("pipelines.catalog.runs.Runs.succeed", die)
            with pytest.raises(KeyboardInterrupt):
                run_forecast(str(first.root), run.id, str(url))
        assert catalog.runs.get(run.id).status is Status.RUNNING
        monkeypatch.setattr(
            "pipelines.forecasting.forecast.step_together", lambda *_: pytest.fail("computed")
        )
        assert run_forecast(str(second.root), run.id, str(url)) == "succeeded"
        assert catalog.runs.get(run.id).status is Status.SUCCEEDED


def test_sharing_again_sends_nothing_and_a_broken_share_is_continued(
    address: str, first: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert address
    sent: list[str] = []
    original = Remote.put_bytes

    def put(self: Remote, data: bytes, name: str) -> None:
        if len(sent) == 5:
            raise KeyboardInterrupt
        original(self, data, name)
        sent.append(name)

    monkeypatch.setattr("pipelines.storage.shared._CONNECTIONS", 1)
    monkeypatch.setattr(Remote, "put_bytes", put)
    with pytest.raises(KeyboardInterrupt):
        share(first, "analyses", "demo")
    assert shared_of(first).names("analyses") == []  # nobody sees a part of it
    begun, sent[:] = set(sent), []
    monkeypatch.setattr(Remote, "put_bytes", original)
    counted: list[str] = []
    monkeypatch.setattr(
        Remote,
        "put_bytes",
        lambda self, data, name: (original(self, data, name), counted.append(name)),
    )
    share(first, "analyses", "demo")
    assert begun.isdisjoint(counted)
    assert counted[-1] == "index/analyses/demo.json"
    counted.clear()
    share(first, "analyses", "demo")
    assert counted == []


def append_day(data: DataFolder, day: int) -> None:
    surface, upper = fields(1, seed=day)
    with AnalysisWriter(data.analysis("demo"), LAYOUT, NSIDE) as writer:
        writer.append(START + DAY * np.array([day]), surface, upper)


def test_an_analysis_grows_on_one_host_and_then_on_the_other(
    address: str, first: DataFolder, second: DataFolder
) -> None:
    assert address
    share_inputs(first)
    shared_of(second).fetch_all(KINDS)
    assert read_completeness(second.analysis("demo"))[0].size == 4
    with writing(second, "analyses", "demo"):
        append_day(second, 4)
    assert read_completeness(first.analysis("demo"))[0].size == 4
    shared_of(first).fetch_all(KINDS)
    assert_equal(first.analysis("demo"), second.analysis("demo"))
    with writing(first, "analyses", "demo"):
        append_day(first, 5)
    shared_of(second).fetch("analyses", "demo")
    assert read_completeness(second.analysis("demo"))[0].size == 6
    assert_equal(first.analysis("demo"), second.analysis("demo"))


def test_a_reader_keeps_the_version_that_it_opened_while_another_is_sent(
    address: str, first: DataFolder, second: DataFolder
) -> None:
    assert address
    share_inputs(first)
    shared_of(second).fetch("analyses", "demo")
    with open_store(second.analysis("demo")) as opened:  # no chunk of a field has come yet
        before = read_fields(first.analysis("demo"))
        with writing(first, "analyses", "demo"):
            append_day(first, 4)
        for name, values in before.items():
            np.testing.assert_array_equal(opened[name].values, values)


def test_what_two_hosts_wrote_without_each_other_is_refused(
    local: Path, first: DataFolder, second: DataFolder
) -> None:
    assert local
    share_inputs(first)
    shared_of(second).claim("analyses", "demo")
    append_day(second, 5)
    with writing(first, "analyses", "demo"):
        append_day(first, 4)
    with pytest.raises(InputError, match="changed by another host"):
        share(second, "analyses", "demo")
    assert read_completeness(first.analysis("demo"))[0].size == 5


def test_what_was_claimed_and_not_written_follows_the_others(
    local: Path, first: DataFolder, second: DataFolder
) -> None:
    assert local
    share_inputs(first)
    shared_of(second).claim("analyses", "demo")  # and the ingestion fails
    with writing(first, "analyses", "demo"):
        append_day(first, 4)
    shared_of(second).fetch("analyses", "demo")
    assert_equal(first.analysis("demo"), second.analysis("demo"))


def objects(local: Path, part: str) -> list[Path]:
    return [path for path in sorted(local.rglob("*")) if path.is_file() and part in str(path)]


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "lose", "exchange"])
def test_wrong_bytes_are_an_error_and_never_values(
    change: str, local: Path, first: DataFolder, second: DataFolder
) -> None:
    share_inputs(first)
    shared_of(second).fetch("analyses", "demo")
    one, other = objects(local, "geopotential/c/")[0], objects(local, "2m_temperature/c/")[0]
    content = bytearray(one.read_bytes())
    if change == "flip":
        content[len(content) // 2] ^= 1
        one.write_bytes(content)
    elif change == "cut":
        one.write_bytes(content[:-7])
    elif change == "empty":
        one.write_bytes(b"")
    elif change == "lose":
        one.unlink()
    else:
        one.write_bytes(other.read_bytes())
    with open_store(second.analysis("demo")) as dataset:
        with pytest.raises(OSError, match="geopotential"):
            _ = dataset["geopotential"].values
        assert np.isfinite(dataset["2m_temperature"].values).all()
    (damage,) = shared_of(second).find_damage("analyses", "demo")
    assert "geopotential" in damage[0]
    reports = check_folder(second)
    assert [each.is_healthy for each in reports if each.kind == "shared"].count(False) == 1


def test_a_damaged_chunk_of_this_disk_is_fetched_again(
    local: Path, first: DataFolder, second: DataFolder
) -> None:
    assert local
    share_inputs(first)
    shared_of(second).fetch("analyses", "demo")
    assert_equal(first.analysis("demo"), second.analysis("demo"))
    chunk = next(path for path in objects(second.analysis("demo"), "2m_temperature/c/"))
    chunk.write_bytes(b"x" * chunk.stat().st_size)
    assert_equal(first.analysis("demo"), second.analysis("demo"))


def test_a_server_that_is_away_is_an_error_of_the_system(
    first: DataFolder, second: DataFolder
) -> None:
    # What is set here is taken back before the server's own settings are.
    with s3_server(), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv(VARIABLE, f"s3://{make_bucket()}/pear")
        share_inputs(first)
        shared_of(second).fetch("analyses", "demo")
        dataset = open_store(second.analysis("demo"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        fetched_before = len(missing_chunks(second.analysis("demo")))
        S3FileSystem.clear_instance_cache()
        with pytest.raises(OSError, match="pear"):
            _ = dataset["geopotential"].values
        assert len(missing_chunks(second.analysis("demo"))) == fetched_before
    dataset.close()


def test_a_server_that_is_slow_is_given_up(
    local: Path, first: DataFolder, second: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local
    share_inputs(first)
    shared_of(second).fetch("analyses", "demo")

    def late(*_: object) -> bytes:
        raise TimeoutError("no answer in time")

    monkeypatch.setattr(fetched, "read_object", late)
    with pytest.raises(OSError, match="no answer in time"):
        _ = read_fields(second.analysis("demo"))


def test_chunks_make_room_and_are_fetched_again(
    local: Path, first: DataFolder, second: DataFolder
) -> None:
    assert local
    share_inputs(first)
    shared_of(second).fetch("analyses", "demo")
    store = second.analysis("demo")
    assert_equal(first.analysis("demo"), store)
    with complete(store):
        assert make_room(second.root, 1) == 0  # somebody needs all of it
        assert missing_chunks(store) == []
    removed = make_room(second.root, 1)
    assert removed == sum(entry.size for entry in Manifest.read(store).files.values())
    assert_equal(first.analysis("demo"), store)
    own = make_data_folder(second.root.parent / "third")
    assert make_room(own.root, 1) == 0  # what was never shared stays


def test_the_limit_holds_while_chunks_are_fetched(
    local: Path, first: DataFolder, second: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local
    share_inputs(first)
    shared_of(second).fetch("analyses", "demo")
    store = second.analysis("demo")
    sizes = {key: entry.size for key, entry in Manifest.read(store).files.items()}
    limit = sum(sizes.values()) // 2
    monkeypatch.setenv(fetched.LIMIT, str(limit))
    assert_equal(first.analysis("demo"), store)
    here = sum(size for key, size in sizes.items() if (store / key).exists())
    assert here <= limit + max(sizes.values()) + limit // 20
    monkeypatch.setenv(fetched.LIMIT, "much")
    with pytest.raises(InputError, match="'much'"):
        fetched.cache_limit()


def test_what_reads_files_and_not_values_gets_them_all(
    local: Path, first: DataFolder, second: DataFolder, tmp_path: Path
) -> None:
    assert local
    share_inputs(first)
    shared_of(second).fetch("analyses", "demo")
    remote = Remote.open(f"file://{tmp_path / 'published'}")
    done = publish(second.analysis("demo"), "analyses/demo.zarr", remote)
    assert (
        done.files
        == publish(
            first.analysis("demo"), "a.zarr", Remote.open(f"file://{tmp_path / 'other'}")
        ).files
    )
    make_room(second.root, 1)
    assert check_path(second.analysis("demo")).is_healthy
    assert missing_chunks(second.analysis("demo")) == []


def test_removal_takes_the_copies_of_all_hosts(
    address: str, first: DataFolder, second: DataFolder, tmp_path: Path
) -> None:
    url = tmp_path / "catalog.sqlite"
    with Catalog(url) as catalog:
        run = compute(first, catalog, url, members=2, ensemble="noise")
        shared = shared_of(second)
        synchronise(shared, catalog)
        assert second.forecast(run.id).exists()
        remove_run(second, catalog, run.id)
        assert shared.names("forecasts") == []
        assert Remote.open(address).list_files("forecasts") == {}
        assert not second.forecast(run.id).exists()
        synchronise(shared_of(first), catalog)
        assert list((first.root / "forecasts").glob("[!.]*")) == []


def test_a_removal_that_the_server_did_not_hear_of_is_made_up_for(
    local: Path, first: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local
    url = tmp_path / "catalog.sqlite"
    with Catalog(url) as catalog:
        run = compute(first, catalog, url)

        def away(*_: object) -> None:
            raise OSError("away")

        with monkeypatch.context() as patch:
            patch.setattr(Remote, "remove", away)
            remove_run(first, catalog, run.id)
        assert catalog.runs.get(run.id).status is Status.EXPIRED
        assert shared_of(first).names("forecasts") == [run.id]
        remove_leftovers(first, catalog)
        assert shared_of(first).names("forecasts") == []
        assert objects(local, "forecasts") == []


def test_a_catalog_is_made_anew_from_object_storage(
    local: Path, first: DataFolder, second: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert local
    share_inputs(first)
    with Catalog(first.catalog) as catalog:
        run = compute(first, catalog, first.catalog)
    entered, problems = rebuild_catalog(second)
    assert (entered["runs"], entered["models"], entered["analyses"], problems) == (1, 1, 1, [])
    with Catalog(second.catalog) as catalog:
        assert catalog.runs.get(run.id).status is Status.SUCCEEDED
    assert all(each.is_healthy for each in check_folder(second))
    monkeypatch.delenv(VARIABLE)
    fetch_inputs(second)  # without shared stores nothing is done


@pytest.mark.parametrize(
    ("text", "said"),
    [("bucket/x", "not an address"), ("s3://me:word@bucket/x", "holds credentials")],
)
def test_a_wrong_address_is_named(
    text: str, said: str, first: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError, match=said):
        SharedStores.of(first)


_SEND = """
import os, signal, sys
from pathlib import Path
from pipelines.storage import shared
from pipelines.storage.data_folder import DataFolder

def put(self, data, name, original=shared.Remote.put_bytes):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    original(self, data, name)

left = int(sys.argv[2])
shared._CONNECTIONS, shared.Remote.put_bytes = 1, put
shared.share(DataFolder(Path(sys.argv[1])), "analyses", "demo")
"""


@pytest.mark.slow
def test_a_sender_killed_at_any_moment_leaves_what_was_there(
    server: str, first: DataFolder, second: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times are sent by processes that are killed after 0, 4, … objects; two hosts read meanwhile.

    A chunk that is added to belongs to both versions, which have different bytes of it.
    """
    assert server
    monkeypatch.setenv(VARIABLE, f"s3://{make_bucket()}/pear")
    share_inputs(first)
    third = DataFolder.create(second.root.parent / "third")
    shared_of(second).fetch("analyses", "demo")
    shared_of(first).claim("analyses", "demo")
    before = read_fields(first.analysis("demo"))
    append_day(first, 4)
    kills = 0
    for left in range(0, 100, 4):
        done = subprocess.run(
            [sys.executable, "-c", _SEND, str(first.root), str(left)], check=False
        )
        whole = done.returncode == 0
        kills += not whole
        for data in (second, third):
            shared_of(data).fetch("analyses", "demo")
            make_room(data.root, 1)
            found = read_fields(data.analysis("demo"))
            for name, values in found.items():
                assert values.shape[0] == before[name].shape[0] + whole
                np.testing.assert_array_equal(values[: before[name].shape[0]], before[name])
        if whole:
            break
        assert done.returncode == -signal.SIGKILL
    assert kills > 1
    for data in (second, third):
        assert_equal(data.analysis("demo"), first.analysis("demo"))
