"""References of kerchunk and VirtualiZarr in JSON and Parquet, and Icechunk with virtual chunks."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.readers.references import ParquetReferences, holds_records
from pipelines.ingestion.readers.remote import Icechunk
from tests.fixtures import ingestion
from tests.fixtures.file_server import FileServer, serving_files
from tests.fixtures.ingestion import NSIDE, write_netcdf
from tests.fixtures.object_storage import make_bucket, s3_server

pytestmark = pytest.mark.filterwarnings(  # of file systems that a test makes forget their keys
    "ignore:Exception ignored in. <function ClientSession:pytest.PytestUnraisableExceptionWarning"
)


def temperature() -> xr.Dataset:
    return ingestion.temperature(1)


def check_store(store: Path) -> None:
    ingestion.check_store(store, 1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PEAR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PEAR_RETRY_SECONDS", "0.001")
    return tmp_path / "cache"


@pytest.fixture
def web(cache: Path) -> Iterator[FileServer]:
    with serving_files() as server:
        yield server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server():
        yield f"s3://{make_bucket()}"


# --------------------------------------------------------------------------------------- JSON


def references_to(url: str, data: bytes) -> dict[str, object]:
    """Return references to the arrays in a file, as kerchunk writes them."""
    dataset = temperature()
    refs: dict[str, object] = {".zgroup": json.dumps({"zarr_format": 2})}
    for name in ("t", "time", "level", "latitude", "longitude"):
        values = dataset[name].values
        values = values.astype("f4") if name == "t" else values
        if name == "time":
            values = (values - np.datetime64("2001-01-01", "s")).astype("timedelta64[h]")
            values = values.astype("i4")
        raw = values.tobytes()
        offset = data.index(raw)
        attributes = {"_ARRAY_DIMENSIONS": list(dataset[name].dims), **dataset[name].attrs}
        if name == "time":
            attributes["units"] = "hours since 2001-01-01"
        refs[f"{name}/.zattrs"] = json.dumps(attributes)
        refs[f"{name}/.zarray"] = json.dumps(
            {
                "chunks": list(values.shape),
                "compressor": None,
                "dtype": values.dtype.str,
                "fill_value": None,
                "filters": None,
                "order": "C",
                "shape": list(values.shape),
                "zarr_format": 2,
            }
        )
        refs[f"{name}/{'.'.join('0' * values.ndim)}"] = [url, offset, len(raw)]
    return refs


@pytest.fixture(scope="module")
def raw_bytes() -> bytes:
    """Values of the dataset one after the other, as a file of another format holds them."""
    dataset = temperature()
    hours = (dataset["time"].values - np.datetime64("2001-01-01", "s")).astype("timedelta64[h]")
    parts = [dataset[n].values.tobytes() for n in ("t", "level", "latitude", "longitude")]
    return b"header  " + b"".join([*parts, hours.astype("i4").tobytes()])


def test_references_on_disk_and_on_a_server(
    web: FileServer, raw_bytes: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(raw_bytes)
    web.files["/x/a.bin"] = raw_bytes
    local = references_to(str(tmp_path / "a.bin"), raw_bytes)
    beside = {"version": 1, "templates": {"u": "a"}, "refs": references_to("{{u}}.bin", raw_bytes)}
    (tmp_path / "a.json").write_text(json.dumps(local))
    (tmp_path / "b.json").write_text(json.dumps(beside))
    web.files["/x/b.json"] = json.dumps(beside).encode()
    for number, source in enumerate(
        (tmp_path / "a.json", tmp_path / "b.json", f"{web.url}/x/b.json")
    ):
        ingest([source], tmp_path / f"{number}.zarr", NSIDE)
        check_store(tmp_path / f"{number}.zarr")


def test_references_that_are_refused(web: FileServer, raw_bytes: bytes, tmp_path: Path) -> None:
    local = references_to("/etc/passwd", raw_bytes)
    program = references_to("{{ cycler.__init__() }}", raw_bytes)
    cases = {
        "local": (json.dumps(local), "refers to files of this machine"),
        "program": (json.dumps({"refs": program}), "a program"),
        "rules": (json.dumps({"refs": local, "gen": [{"key": "x"}]}), "holds rules"),
        "other": (json.dumps({"forecast": [1, 2]}), "does not hold references"),
        "half": (json.dumps(local)[:-9], "damaged JSON"),
    }
    for name, (text, words) in cases.items():
        web.files[f"/{name}.json"] = text.encode()
        with pytest.raises(InputError, match=words):
            ingest([f"{web.url}/{name}.json"], tmp_path / "s.zarr", NSIDE)
    lost = references_to(f"{web.url}/none.bin", raw_bytes)
    (tmp_path / "lost.json").write_text(json.dumps(lost))
    with pytest.raises(InputError, match=r"none\.bin"):
        ingest([tmp_path / "lost.json"], tmp_path / "s.zarr", NSIDE)
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.slow
def test_icechunk_on_disk_and_in_s3(s3: str, cache: Path, tmp_path: Path) -> None:
    icechunk = pytest.importorskip("icechunk")
    bucket = s3.removeprefix("s3://")
    places = {
        str(tmp_path / "ice"): icechunk.local_filesystem_storage(str(tmp_path / "ice")),
        f"{s3}/ice": icechunk.s3_storage(
            bucket=bucket,
            prefix="ice",
            from_env=True,
            endpoint_url=os.environ["AWS_ENDPOINT_URL"],
            allow_http=True,
            force_path_style=True,
        ),
    }
    for number, (address, storage) in enumerate(places.items()):
        session = icechunk.Repository.create(storage).writable_session("main")
        temperature().to_zarr(session.store, consolidated=False, zarr_format=3)
        session.commit("data")
        ingest([address], tmp_path / f"{number}.zarr", NSIDE)
        check_store(tmp_path / f"{number}.zarr")


# ------------------------------------------------------------------------------------- Parquet


def write_parquet(refs: dict[str, Any], folder: Path) -> Path:
    """Write references with the writer of kerchunk."""
    df = pytest.importorskip("kerchunk.df")
    pytest.importorskip("fastparquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, on the engine that kerchunk names
        df.refs_to_dataframe(refs, str(folder), record_size=5)
    return folder


def serve(web: FileServer, folder: Path, base: str) -> str:
    web.add_folder(folder, base)
    return web.url + base


def test_parquet_on_disk_and_on_a_server(web: FileServer, raw_bytes: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(raw_bytes)
    web.files["/x/a.bin"] = raw_bytes
    refs = references_to("a.bin", raw_bytes)  # beside the folder
    local = write_parquet(refs, tmp_path / "a.parq")
    served = write_parquet(references_to(f"{web.url}/x/a.bin", raw_bytes), tmp_path / "b.parq")
    sources = [local, served, serve(web, local, "/x/a.parq"), serve(web, served, "/y/b") + "/"]
    for number, source in enumerate(sources):
        report = ingest([source], tmp_path / f"{number}.zarr", NSIDE)
        assert report.sources[0].kind == "references"
        check_store(tmp_path / f"{number}.zarr")


def test_chunks_are_found_by_their_numbers(web: FileServer, tmp_path: Path) -> None:
    """Twelve chunks in files of five, one chunk within the references."""
    values = np.arange(24.0).reshape(4, 6)
    pairs = values.reshape(12, 2)
    (tmp_path / "a.bin").write_bytes(pairs.tobytes())
    about = {"shape": [4, 6], "chunks": [1, 2], "dtype": "<f8", "fill_value": None, "order": "C"}
    refs: dict[str, Any] = {
        ".zgroup": json.dumps({"zarr_format": 2}),
        "a/.zarray": json.dumps({**about, "filters": None, "compressor": None, "zarr_format": 2}),
        "a/.zattrs": json.dumps({"_ARRAY_DIMENSIONS": ["y", "x"]}),
    }
    path = str(tmp_path / "a.bin")
    for number in range(12):
        refs[f"a/{number // 3}.{number % 3}"] = [path, 16 * number, 16]
    refs["a/2.1"] = values[2, 2:4].tobytes()
    folder = write_parquet(refs, tmp_path / "a.parq")
    with ParquetReferences(str(folder)).open() as dataset:
        np.testing.assert_array_equal(dataset["a"].values, values)
    (folder / "a" / "refs.1.parq").unlink()
    with (
        ParquetReferences(str(folder)).open() as dataset,
        pytest.raises(OSError, match=r"chunk file a/1\.2 is missing"),
    ):
        dataset["a"].load()


def damage_metadata(folder: Path) -> None:
    (folder / ".zmetadata").write_text('{"record_size": 5}')


def damage_record(folder: Path) -> None:
    (folder / "t" / "refs.0.parq").write_bytes(b"PAR1 and no more")


def lose_record(folder: Path) -> None:
    (folder / "t" / "refs.0.parq").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_metadata, r"\.zmetadata is damaged"),
        (damage_record, r"t/refs\.0\.parq is damaged"),
        (lose_record, r"its chunk file t/0\.0\.0\.0 is missing"),
    ],
)
def test_parquet_that_is_refused(
    damage: Callable[[Path], None], words: str, raw_bytes: bytes, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(raw_bytes)
    folder = write_parquet(references_to("a.bin", raw_bytes), tmp_path / "a.parq")
    damage(folder)
    with pytest.raises(InputError, match=words) as caught:
        ingest([folder], tmp_path / "s.zarr", NSIDE)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "s.zarr").exists()


def test_parquet_of_a_server_does_not_lead_to_local_files(
    web: FileServer, raw_bytes: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(raw_bytes)
    path = str(tmp_path / "a.bin")
    for number, target in enumerate((path, f"file://{path}", "{{ cycler.__init__() }}")):
        folder = write_parquet(references_to(target, raw_bytes), tmp_path / f"{number}.parq")
        address = serve(web, folder, f"/{number}.parq")
        with pytest.raises(InputError, match=r"refers to files of this machine|a program"):
            ingest([address], tmp_path / "s.zarr", NSIDE)
    assert not (tmp_path / "s.zarr").exists()


def test_parquet_without_its_reader(
    raw_bytes: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_parquet(references_to("a.bin", raw_bytes), tmp_path / "a.parq")
    monkeypatch.setitem(sys.modules, "fastparquet", None)
    with pytest.raises(InputError, match=r"pear-weather\[references\]"):
        ingest([folder], tmp_path / "s.zarr", NSIDE)


def test_metadata_of_zarr_is_not_taken_for_references() -> None:
    assert holds_records(b'{"metadata": {}, "record_size": 10}')
    assert not holds_records(b'{"metadata": {}, "zarr_consolidated_format": 1}')
    assert not holds_records(b"[1]")
    assert not holds_records(b"{")


# --------------------------------------------------------------------------------- VirtualiZarr


def virtual(url: str, store: Any, prefix: str) -> xr.Dataset:
    """Return a NetCDF file as VirtualiZarr sees it."""
    virtualizarr = pytest.importorskip("virtualizarr")
    pytest.importorskip("h5py")
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr.parsers import HDFParser

    found: xr.Dataset = virtualizarr.open_virtual_dataset(
        url, registry=ObjectStoreRegistry({prefix: store}), parser=HDFParser(), decode_times=False
    )
    return found


def write_references(found: xr.Dataset, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, on the engine that VirtualiZarr names
        kind = "json" if path.suffix == ".json" else "parquet"
        found.vz.to_kerchunk(str(path), format=kind)
    return path


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.parametrize("kind", ["json", "parquet"])
@pytest.mark.parametrize("packed", [False, True])
def test_virtualizarr_on_disk(kind: str, packed: bool, cache: Path, tmp_path: Path) -> None:
    obstore = pytest.importorskip("obstore.store")
    packing = {"dtype": "i2", "scale_factor": 0.005, "add_offset": 270.0, "_FillValue": -32768}
    encoding = {"t": {"zlib": True, "shuffle": True, **packing}} if packed else {}
    file = write_netcdf(temperature(), tmp_path / "a.nc", **encoding)
    found = virtual(f"file://{file}", obstore.LocalStore(), "file://")
    report = ingest([write_references(found, tmp_path / f"a.{kind}")], tmp_path / "s.zarr", NSIDE)
    assert report.sources[0].kind == "references"
    check_store(tmp_path / "s.zarr")
    ingest([file], tmp_path / "t.zarr", NSIDE)
    with open_store(tmp_path / "s.zarr") as one, open_store(tmp_path / "t.zarr") as other:
        np.testing.assert_array_equal(one["temperature"].values, other["temperature"].values)


@pytest.mark.slow
def test_virtualizarr_in_s3_and_in_icechunk(s3: str, cache: Path, tmp_path: Path) -> None:
    obstore, icechunk = pytest.importorskip("obstore.store"), pytest.importorskip("icechunk")
    bucket, url = s3.removeprefix("s3://"), os.environ["AWS_ENDPOINT_URL"]
    file = write_netcdf(temperature(), tmp_path / "a.nc")
    fsspec.filesystem("s3").pipe_file(f"{bucket}/a.nc", file.read_bytes())
    plain = {"allow_http": True}
    remote = obstore.S3Store(
        bucket, endpoint=url, client_options=plain, virtual_hosted_style_request=False
    )
    in_s3 = virtual(f"{s3}/a.nc", remote, s3)
    on_disk = virtual(f"file://{file}", obstore.LocalStore(), "file://")
    place = {"endpoint_url": url, "allow_http": True, "force_path_style": True}
    cases = {
        str(tmp_path / "ice"): (
            on_disk,
            icechunk.local_filesystem_storage(str(tmp_path / "ice")),
            f"file://{tmp_path}/",
            icechunk.local_filesystem_store(str(tmp_path)),
            None,
        ),
        f"{s3}/virtual": (
            in_s3,
            icechunk.s3_storage(bucket=bucket, prefix="virtual", from_env=True, **place),
            f"{s3}/",
            icechunk.s3_store(region="us-east-1", s3_compatible=True, **place),
            icechunk.s3_credentials(from_env=True),
        ),
    }
    for number, (address, (found, storage, prefix, chunks, key)) in enumerate(cases.items()):
        config = icechunk.RepositoryConfig.default()
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(prefix, chunks))
        access = icechunk.containers_credentials({prefix: key})
        repository = icechunk.Repository.create(
            storage, config, authorize_virtual_chunk_access=access
        )
        session = repository.writable_session("main")
        found.vz.to_icechunk(session.store)
        session.commit("virtual chunks")
        report = ingest([address], tmp_path / f"{number}.zarr", NSIDE)
        assert report.sources[0].kind == "Icechunk"
        check_store(tmp_path / f"{number}.zarr")
    for kind in ("json", "parquet"):
        path = write_references(in_s3, tmp_path / f"s3.{kind}")
        ingest([path], tmp_path / f"{kind}.zarr", NSIDE)
        check_store(tmp_path / f"{kind}.zarr")


def test_icechunk_is_read_at_one_snapshot(cache: Path, tmp_path: Path) -> None:
    icechunk = pytest.importorskip("icechunk")
    storage = icechunk.local_filesystem_storage(str(tmp_path / "ice"))
    repository = icechunk.Repository.create(storage)
    for shift in (0.0, 50.0):
        session = repository.writable_session("main")
        changed = temperature() + shift
        changed["t"].attrs["units"] = "K"
        changed.to_zarr(session.store, consolidated=False, zarr_format=3, mode="w")
        session.commit("data")
        if not shift:
            first = Icechunk(str(tmp_path / "ice")).at_newest()
    with first.open() as old, Icechunk(str(tmp_path / "ice")).open() as new:
        np.testing.assert_allclose(new["t"].values - old["t"].values, 50.0, atol=1e-3)
