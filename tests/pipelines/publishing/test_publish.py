"""Stores in object storage: whole or not there, verified, and sent once."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pystac
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.publishing.publish import publish
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.remote import Remote
from tests.fixtures.engine import DAY, START, make_data_folder, write_days
from tests.fixtures.object_storage import make_bucket, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(server: str) -> Remote:
    assert server
    return Remote.open(f"s3://{make_bucket()}/pear")


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return make_data_folder(tmp_path / "data")


def analysis_of(data: DataFolder) -> Path:
    (path,) = (data.root / "analyses").glob("*.zarr")
    return path


def test_a_published_store_is_opened_by_xarray_and_sent_once(
    data: DataFolder, bucket: Remote
) -> None:
    path = analysis_of(data)
    first = publish(path, f"analyses/{path.name}", bucket)
    assert first.sent_files == first.files > 5
    assert first.sent_bytes == first.size
    with xr.open_zarr(first.address, chunks=None) as remote, open_store(path) as local:
        for name, values in local.data_vars.items():
            assert np.array_equal(remote[name].values, values.values, equal_nan=True)
    again = publish(path, f"analyses/{path.name}", bucket)
    assert (again.sent_files, again.removed_files) == (0, 0)


def test_a_damaged_copy_is_sent_again(data: DataFolder, bucket: Remote) -> None:
    path = analysis_of(data)
    name = f"analyses/{path.name}"
    publish(path, name, bucket)
    files = bucket.list_files(name)
    chunk = next(key for key, file in files.items() if "/c/" in key and file.size > 10)
    content = bytearray(bucket.filesystem.cat_file(bucket.path(f"{name}/{chunk}")))
    content[5] ^= 1
    bucket.filesystem.pipe_file(bucket.path(f"{name}/{chunk}"), bytes(content))
    bucket.filesystem.pipe_file(bucket.path(f"{name}/stray"), b"x")
    again = publish(path, name, bucket)
    assert (again.sent_files, again.removed_files) == (1, 1)
    assert bucket.list_files(name) == files


def test_a_store_that_grew_is_published_anew(data: DataFolder, bucket: Remote) -> None:
    path = analysis_of(data)
    name = f"analyses/{path.name}"
    publish(path, name, bucket)
    write_days(data, path.stem, days=2, first=START + 4 * DAY)
    again = publish(path, name, bucket)
    assert again.sent_files > 0
    with xr.open_zarr(again.address, chunks=None) as remote:
        assert remote.sizes["time"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_an_interrupted_publication_shows_nothing_or_all(
    data: DataFolder, bucket: Remote, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = analysis_of(data)
    name = f"analyses/{path.name}"
    files = sum(1 for each in path.rglob("*") if each.is_file())
    left = random.Random(seed).randrange(files)
    send = Remote.put_bytes

    def put(self: Remote, content: bytes, key: str) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        send(self, content, key)

    monkeypatch.setattr(Remote, "put_bytes", put)
    with pytest.raises(KeyboardInterrupt):
        publish(path, name, bucket)
    monkeypatch.undo()
    assert not bucket.filesystem.exists(bucket.path(f"{name}/zarr.json"))
    assert not bucket.filesystem.exists(bucket.path("catalog.json"))
    done = publish(path, name, bucket)
    assert bucket.list_files(name).keys() >= {"zarr.json"}
    assert done.sent_files <= files


def test_both_catalogues_list_what_is_there(
    data: DataFolder, bucket: Remote, tmp_path: Path
) -> None:
    path = analysis_of(data)
    publish(path, f"analyses/{path.name}", bucket)
    shutil.copytree(path, data.analysis("second"))
    publish(data.analysis("second"), "analyses/second.zarr", bucket)
    gridlook = bucket.read_json("gridlook.json")
    assert gridlook is not None
    assert gridlook["type"] == "gridlook_catalog"
    for dataset in gridlook["datasets"]:
        xr.open_zarr(dataset["url"], chunks=None).close()
    local = tmp_path / "stac"
    for name in ["catalog.json", *(f"items/{each}" for each in bucket.list_files("items"))]:
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).write_bytes(bucket.filesystem.cat_file(bucket.path(name)))
    catalog = pystac.Catalog.from_file(str(local / "catalog.json"))
    items = list(catalog.get_items(recursive=True))
    assert len(items) == 2
    for item in items:
        assert item.properties["start_datetime"] == "2001-03-01T00:00:00Z"
        assert item.assets["zarr"].media_type == "application/vnd.zarr; version=3"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("bucket/prefix", "is not an address"),
        ("s3://key:secret@bucket/x", "the s3 address holds credentials"),
        ("quantum://bucket/x", "unknown protocol quantum://"),
    ],
)
def test_addresses_that_do_not_fit_are_refused(address: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Remote.open(address)
    assert "secret" not in str(caught.value)


def test_a_bucket_that_does_not_exist_is_one_line(data: DataFolder, bucket: Remote) -> None:
    path = analysis_of(data)
    with pytest.raises((InputError, OSError), match="s3://nowhere/x") as caught:
        publish(path, f"analyses/{path.name}", Remote.open("s3://nowhere/x"))
    assert "not-to-be-shown" not in str(caught.value)


def test_any_file_system_will_do(data: DataFolder, tmp_path: Path) -> None:
    path = analysis_of(data)
    remote = Remote.open(f"file://{tmp_path}/copy")
    publish(path, f"analyses/{path.name}", remote)
    with open_store(tmp_path / "copy" / "analyses" / path.name) as dataset:
        assert dataset.sizes["time"] == 4
    document: dict[str, Any] = json.loads((tmp_path / "copy/catalog.json").read_text())
    assert document["type"] == "Catalog"
    assert fsspec.filesystem("file")
