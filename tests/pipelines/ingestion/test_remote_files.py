"""Files, stores and references at addresses: read as local ones, every fault one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr
from zarr.core.sync import sync

from pear.addresses import RemoteError, is_transient, without_secrets
from pear.errors import InputError
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.remote_files import FileCache
from tests.fixtures import ingestion
from tests.fixtures.file_server import FileServer, serving_files
from tests.fixtures.ingestion import NSIDE, write_netcdf
from tests.fixtures.object_storage import close_clients, make_bucket, s3_server
from tests.fixtures.replica import encode

pytestmark = pytest.mark.filterwarnings(  # of file systems that a test makes forget their keys
    "ignore:Exception ignored in. <function ClientSession:pytest.PytestUnraisableExceptionWarning"
)


def temperature() -> xr.Dataset:
    return ingestion.temperature(1)


def check_store(store: Path) -> None:
    ingestion.check_store(store, 1)


@pytest.fixture(scope="module")
def netcdf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_netcdf(temperature(), tmp_path_factory.mktemp("nc") / "a.nc").read_bytes()


@pytest.fixture(scope="module")
def zarr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zarr") / "a.zarr"
    temperature().chunk(time=1).to_zarr(folder, zarr_format=2, consolidated=True)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PEAR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PEAR_RETRY_SECONDS", "0.001")
    return tmp_path / "cache"


@pytest.fixture
def web(netcdf: bytes, zarr: Path, cache: Path) -> Iterator[FileServer]:
    with serving_files() as server:
        server.files["/a.nc"] = netcdf
        server.add_folder(zarr, "/deep/a.zarr")
        yield server


@pytest.fixture(scope="module")
def s3(netcdf: bytes, zarr: Path) -> Iterator[str]:
    with s3_server():
        bucket = make_bucket()
        store = fsspec.filesystem("s3", s3_additional_kwargs={"ACL": "public-read"})
        store.chmod(bucket, "public-read")
        store.pipe_file(f"{bucket}/a.nc", netcdf)
        store.put(str(zarr), f"{bucket}/a.zarr", recursive=True)
        yield f"s3://{bucket}"


def copies(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.data"))


# ------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize("name", ["/a.nc", "/deep/a.zarr", "/deep/a.zarr/"])
def test_an_address_is_read_as_the_local_source(web: FileServer, name: str, tmp_path: Path) -> None:
    report = ingest([web.url + name], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    assert report.sources[0].source == web.url + name


def test_a_grib_file_without_a_suffix(web: FileServer, tmp_path: Path) -> None:
    web.files["/latest"] = encode("2t", 0, np.datetime64("2026-11-25T00", "s"))
    report = ingest([f"{web.url}/latest"], tmp_path / "s.zarr", NSIDE)
    assert report.times_added == 1
    assert report.variables == ["2m_temperature"]


def test_a_file_is_downloaded_once(web: FileServer, tmp_path: Path, cache: Path) -> None:
    for store in "st":
        ingest([f"{web.url}/a.nc"], tmp_path / f"{store}.zarr", NSIDE)
    assert web.sent["/a.nc"] == len(web.files["/a.nc"])
    assert len(copies(cache)) == 1
    assert not list(cache.glob("*.part*"))
    web.files["/a.nc"] = web.files["/a.nc"] + b"\0"  # another entity tag
    ingest([f"{web.url}/a.nc"], tmp_path / "u.zarr", NSIDE)
    assert len(copies(cache)) == 1
    assert copies(cache)[0].read_bytes() == web.files["/a.nc"]


def test_without_entity_tags_a_file_is_downloaded_again(web: FileServer, cache: Path) -> None:
    web.tags = False
    for _ in range(2):
        with FileCache.from_environment() as files:
            files.fetch(f"{web.url}/a.nc")
    assert web.sent["/a.nc"] == 2 * len(web.files["/a.nc"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "anonymous"), [("a.zarr", False), ("a.nc", True)])
def test_s3_with_and_without_credentials(
    s3: str,
    name: str,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    anonymous: bool,
) -> None:
    if anonymous:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(variable)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        close_clients()
    ingest([f"{s3}/{name}"], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    if name == "a.nc":
        report = ingest([f"{s3}/a*.nc"], tmp_path / "t.zarr", NSIDE)
        assert [source.source for source in report.sources] == [f"{s3}/a.nc"]
        with pytest.raises(InputError, match=r"no file fits s3://.*/b\*\.nc"):
            ingest([f"{s3}/b*.nc"], tmp_path / "u.zarr", NSIDE)
    close_clients()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.nc", "deep/a.zarr"])
def test_google_storage_without_credentials(
    web: FileServer, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # before the import
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", web.url)
    gcsfs = pytest.importorskip("gcsfs")
    monkeypatch.setenv("HOME", str(tmp_path))
    web.files = {f"/bucket{path}": data for path, data in web.files.items()}
    ingest([f"gs://bucket/{name}"], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr")
    with pytest.raises(InputError, match=r"gs://bucket/none\.nc: no such file"):
        ingest(["gs://bucket/none.nc"], tmp_path / "t.zarr", NSIDE)
    for client in list(gcsfs.GCSFileSystem._cache.values()):
        if client.asynchronous and client._session is not None:  # opened by zarr, in its loop
            sync(client._session.close())
    gcsfs.GCSFileSystem.clear_instance_cache()


# ------------------------------------------------------------------------------------- faults


def test_a_download_that_breaks_off_goes_on(web: FileServer, tmp_path: Path, cache: Path) -> None:
    web.cut = 3
    with FileCache.from_environment() as files:
        path = files.fetch(f"{web.url}/a.nc")
    assert path.read_bytes() == web.files["/a.nc"]
    assert web.sent["/a.nc"] == len(web.files["/a.nc"])  # no byte twice


def test_a_server_that_ignores_ranges_sends_all_again(web: FileServer, cache: Path) -> None:
    web.cut, web.ranges = 1, False
    with FileCache.from_environment() as files:
        assert files.fetch(f"{web.url}/a.nc").read_bytes() == web.files["/a.nc"]


def test_a_busy_server_is_asked_again(web: FileServer, tmp_path: Path) -> None:
    web.busy = 2
    ingest([f"{web.url}/deep/a.zarr"], tmp_path / "s.zarr", NSIDE)
    web.busy, web.status = 2, 429
    ingest([f"{web.url}/a.nc"], tmp_path / "t.zarr", NSIDE)
    check_store(tmp_path / "t.zarr")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("cut", "a.nc"),
        ("missing", "no such file"),
        ("refused", r"refuses access \(403\)"),
        ("failing", "answers 500"),
        ("changed", "changed while it was read"),
        ("silent", "does not respond"),
        ("page", "is a web page, not data"),
        ("protocol", "unknown protocol odd://"),
        ("no store", "has no Zarr store"),
        ("lost chunk", "its chunk file t/0.0.0.0 is missing"),
    ],
)
def test_faults_are_one_line_without_secrets(
    web: FileServer, fault: str, words: str, tmp_path: Path, cache: Path
) -> None:
    address = f"{web.url}/a.nc?token=SECRET".replace("http://", "http://me:WORD@")
    if fault == "cut":
        web.cut, web.ranges = 100, False
    elif fault == "missing":
        del web.files["/a.nc"]
    elif fault == "refused":
        web.refuses = "a.nc"
    elif fault == "failing":
        web.busy, web.status = 1000, 500
    elif fault == "changed":
        web.changes = "/a.nc"
    elif fault == "silent":
        address = "http://me:WORD@127.0.0.1:9/a.nc?token=SECRET"
    elif fault == "page":
        web.files["/a.nc"] = b"<!doctype html><html>sign in</html>"
    elif fault == "protocol":
        address = "odd://me:WORD@host/a.nc"
    elif fault == "no store":
        address = f"{web.url}/none.zarr"
    else:
        address = f"{web.url}/deep/a.zarr"
        del web.files["/deep/a.zarr/t/0.0.0.0"]
    with pytest.raises((InputError, OSError), match=words) as caught:
        ingest([address], tmp_path / "s.zarr", NSIDE)
    text = str(caught.value)
    assert "\n" not in text
    assert "SECRET" not in text
    assert "WORD" not in text
    assert (not (tmp_path / "s.zarr").exists() and not copies(cache)) or fault == "page"


def test_secrets_do_not_reach_the_store_or_the_report(web: FileServer, tmp_path: Path) -> None:
    address = f"{web.url}/a.nc?token=SECRET"
    report = ingest([address], tmp_path / "s.zarr", NSIDE)
    assert "SECRET" not in json.dumps(report.to_dict())
    held = [p for p in tmp_path.rglob("*") if p.is_file() and b"SECRET" in p.read_bytes()]
    assert not held
    assert without_secrets("s3://a:b@c/d and https://e/f?g=h, https://i/j") == (
        "s3://c/d and https://e/f https://i/j"
    )


def test_a_fault_that_lasts_is_not_asked_again() -> None:
    assert is_transient(TimeoutError())
    assert is_transient(ConnectionResetError())
    assert not is_transient(PermissionError())
    assert not is_transient(RemoteError("x"))


# ------------------------------------------------------------------------------ bounded folder


def test_the_folder_is_bounded(
    web: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(web.files["/a.nc"])
    web.files |= {f"/{n}.nc": web.files["/a.nc"] for n in "bcd"}
    with FileCache(cache, limit_bytes=2 * size) as files:
        for number, name in enumerate("abc"):
            path = files.fetch(f"{web.url}/{name}.nc")
            os.utime(path, (number + 1e9, number + 1e9))
        assert len(copies(cache)) == 3  # all are in use
    with FileCache(cache, limit_bytes=2 * size) as files:
        files.fetch(f"{web.url}/d.nc")
        assert len(copies(cache)) == 1  # the others are old
    files = FileCache(cache, limit_bytes=size - 1)
    with files, pytest.raises(InputError, match="set PEAR_CACHE_GB"):
        files.fetch(f"{web.url}/a.nc")
    monkeypatch.setenv("PEAR_CACHE_GB", "much")
    with pytest.raises(InputError, match="PEAR_CACHE_GB=much"):
        FileCache.from_environment()


def test_regrid_is_given_a_dataset_opened_from_an_address(web: FileServer, tmp_path: Path) -> None:
    """What xarray opens from a server goes into the library as it is."""
    import pear

    with xr.open_zarr(f"{web.url}/deep/a.zarr", chunks=None) as dataset:
        assert pear.regrid(dataset.isel(time=[0]), nside=4).sizes["cell"] == 192
