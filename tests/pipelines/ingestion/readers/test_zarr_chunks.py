"""Zarr stores that lack chunks, or hold damaged ones, are refused by name."""

from __future__ import annotations

import json
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal

import numpy as np
import pytest
import zarr
from numcodecs import Blosc, get_codec
from zarr.codecs import BloscCodec

from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from tests.fixtures.ingestion import NSIDE, check_store, temperature

PACKED = {"dtype": "i2", "scale_factor": 0.002, "add_offset": 260.0, "_FillValue": -32767}
CHUNKS = (1, 2, 37, 72)


def store(path: Path, zarr_format: int, **encoding: object) -> Path:
    encoding = {"chunks": CHUNKS, **PACKED, **encoding}
    temperature().to_zarr(
        path, zarr_format=zarr_format, consolidated=False, encoding={"t": encoding}
    )  # type: ignore[arg-type,call-overload]
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_that_is_not_there(zarr_format: int, tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", zarr_format)
    ingest([path], tmp_path / "whole.zarr", NSIDE)
    check_store(tmp_path / "whole.zarr")
    key = "2.0.0.0" if zarr_format == 2 else "c/2/0/0/0"
    (path / "t" / key).unlink()
    with pytest.raises(InputError, match=rf"t lacks 1 of 4 chunks \(the first is {key}\)"):
        ingest([path], tmp_path / "s.zarr", NSIDE)
    assert not (tmp_path / "s.zarr").exists()
    ingest([path], tmp_path / "s.zarr", NSIDE, options=IngestOptions(on_error="skip"))
    times = open_store(tmp_path / "s.zarr")["time"].values
    assert [str(time)[11:13] for time in times] == ["00", "06", "18"]


def test_a_chunk_within_a_shard(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", 3, shards=(3, 2, 37, 72))
    ingest([path], tmp_path / "whole.zarr", NSIDE)  # the second shard is not full
    check_store(tmp_path / "whole.zarr")
    array = zarr.open_group(path)["t"]
    assert isinstance(array, zarr.Array)
    array[1] = array.fill_value  # of zeros alone, which the writer leaves out
    with pytest.raises(InputError, match=r"t lacks 1 of 4 chunks \(the first is c/0/0/0/0\)"):
        ingest([path], tmp_path / "s.zarr", NSIDE)
    (path / "t" / "c" / "1" / "0" / "0" / "0").unlink()
    with pytest.raises(InputError, match="t lacks 2 of 4 chunks"):
        ingest([path], tmp_path / "s.zarr", NSIDE)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_an_array_that_does_not_name_its_dimensions(zarr_format: int, tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", zarr_format)
    file, key = (".zattrs", "_ARRAY_DIMENSIONS"), ("zarr.json", "dimension_names")
    name, entry = file if zarr_format == 2 else key
    about = json.loads((path / "t" / name).read_text())
    del about[entry]
    (path / "t" / name).write_text(json.dumps(about))
    with pytest.raises(InputError, match="its array t does not name its dimensions; write"):
        ingest([path], tmp_path / "s.zarr", NSIDE)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_chunk_that_is_read_as_missing_values(zarr_format: int, tmp_path: Path) -> None:
    data, path = temperature(), tmp_path / "a.zarr"
    encoding = {"t": {"chunks": CHUNKS, "_FillValue": None if zarr_format == 3 else np.nan}}
    data.to_zarr(path, zarr_format=zarr_format, consolidated=False, encoding=encoding)
    key = "2.0.0.0" if zarr_format == 2 else "c/2/0/0/0"
    if zarr_format == 3:
        about = json.loads((path / "t" / "zarr.json").read_text())
        (path / "t" / "zarr.json").write_text(json.dumps({**about, "fill_value": "NaN"}))
    (path / "t" / key).unlink()
    with pytest.raises(InputError, match=rf"2664 values missing: t lacks 1 of 4 .*{key}"):
        ingest([path], tmp_path / "s.zarr", NSIDE)


def test_an_axis_that_lost_its_chunk(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", 2)
    (path / "time" / "0").unlink()
    with pytest.raises(InputError, match="its axis time lacks chunks"):
        ingest([path], tmp_path / "s.zarr", NSIDE)


@pytest.mark.parametrize("name", ["time", "latitude"])
def test_an_axis_says_that_its_chunk_is_lost(name: str, tmp_path: Path) -> None:
    temperature().to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=True)
    (tmp_path / "a.zarr" / name / "0").unlink()
    with pytest.raises(InputError, match=rf"its axis {name} lacks chunks \(the first is 0\)"):
        ingest([tmp_path / "a.zarr"], tmp_path / "s.zarr", NSIDE)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("zarr_format", [2])
def test_consolidated_metadata_that_are_stale(zarr_format: Literal[2, 3], tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    temperature(2).to_zarr(path, zarr_format=zarr_format, consolidated=True)
    ingest([path], tmp_path / "whole.zarr", NSIDE)

    later = temperature(2, start=2)
    later.to_zarr(path, append_dim="time", zarr_format=zarr_format, consolidated=False)
    with pytest.raises(
        InputError, match=r"has shape \[2.* by the consolidated .* and \[4.* its own"
    ):
        ingest([path], tmp_path / "s.zarr", NSIDE)
    zarr.consolidate_metadata(path)
    ingest([path], tmp_path / "s.zarr", NSIDE)
    assert open_store(tmp_path / "s.zarr").sizes["time"] == 4


def test_chunks_of_another_name(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", 2, dtype="f4", scale_factor=1.0, _FillValue=float("nan"))
    for chunk in list((path / "t").glob("?.?.?.?")):
        chunk.rename(chunk.with_name(chunk.name.replace(".", "-")))
    with pytest.raises(InputError, match=r"t lacks 4 of 4 chunks .*but has a file 0-0-0-0"):
        ingest([path], tmp_path / "s.zarr", NSIDE)


def test_a_chunk_without_bytes(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", 2)
    (path / "t" / "1.0.0.0").write_bytes(b"")
    with pytest.raises(InputError, match=r"its chunk file t/1\.0\.0\.0 is empty"):
        ingest([path], tmp_path / "s.zarr", NSIDE)


def test_a_single_time_that_equals_the_fill_value_is_left_out_by_writers(tmp_path: Path) -> None:
    temperature(1).to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    assert not list((tmp_path / "a.zarr" / "time").rglob("0"))
    ingest([tmp_path / "a.zarr"], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr", times=1)


def test_a_chunk_that_an_address_lacks(tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", 2)
    (path / "t" / ".".join("0000")).unlink()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a.zarr"
        with pytest.raises(InputError, match=r"its chunk file t/0\.0\.0\.0 is missing"):
            ingest([address], tmp_path / "s.zarr", NSIDE)
        server.shutdown()


@pytest.mark.parametrize("codec", ["gzip", "zlib", "lzma", "bz2", "zstd", "blosc", "lz4"])
@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_damaged_chunks_are_one_line(codec: str, damage: str, tmp_path: Path) -> None:
    path = store(tmp_path / "a.zarr", 2, compressors=get_codec({"id": codec}))
    chunk = path / "t" / "1.0.0.0"
    data = chunk.read_bytes()
    chunk.write_bytes({"cut": data[:-40], "garbage": b"\7" * len(data), "empty": b""}[damage])
    with pytest.raises(InputError, match=r"t at 500 hPa at 2001-01-01T06") as caught:
        ingest([path], tmp_path / "s.zarr", NSIDE)
    assert str(caught.value).count("a.zarr") == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [True, False])
def test_a_chunk_of_blosc_that_is_cut_short(
    zarr_format: int, tmp_path: Path, *, consolidated: bool
) -> None:
    """The library gives whatever lies behind the end of the file, without a word."""
    blosc = BloscCodec() if zarr_format == 3 else Blosc()
    encoding = {"chunks": CHUNKS, "compressors": blosc}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # consolidated metadata are not in the specification yet
        temperature().to_zarr(
            tmp_path / "a.zarr",
            zarr_format=zarr_format,  # type: ignore[arg-type]
            consolidated=consolidated,
            encoding={"t": encoding},
        )
    ingest([tmp_path / "a.zarr"], tmp_path / "whole.zarr", NSIDE)
    key = "2.0.0.0" if zarr_format == 2 else "c/2/0/0/0"
    chunk = tmp_path / "a.zarr" / "t" / key
    chunk.write_bytes(chunk.read_bytes()[:-9])
    for options in (IngestOptions(), IngestOptions(on_error="skip")):
        if options.on_error == "raise":
            with pytest.raises(InputError, match=rf"{key} is cut short: \d+ of \d+ bytes"):
                ingest([tmp_path / "a.zarr"], tmp_path / "s.zarr", NSIDE, options=options)
            assert not (tmp_path / "s.zarr").exists()
        else:
            report = ingest([tmp_path / "a.zarr"], tmp_path / "s.zarr", NSIDE, options=options)
            assert len(report.refused) == 2
