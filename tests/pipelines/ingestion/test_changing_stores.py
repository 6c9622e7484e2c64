"""Zarr on a server that is written again while it is read: nothing of it is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pear.addresses import RemoteError
from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion import block_writer
from pipelines.ingestion.ingest import IngestOptions, ingest
from pipelines.ingestion.readers.remote import RemoteZarr
from tests.fixtures.file_server import FileServer, serving_files
from tests.fixtures.ingestion import NSIDE, check_store, temperature

BASE = "/deep/a.zarr"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("PEAR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PEAR_RETRY_SECONDS", "0.001")
    with serving_files() as server:
        yield server


pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")


def serve(web: FileServer, folder: Path, zarr_format: int) -> str:
    temperature().chunk(time=1).to_zarr(folder, zarr_format=zarr_format, consolidated=True)
    web.add_folder(folder, BASE)
    return web.url + BASE


def appended(web: FileServer, folder: Path) -> None:
    """A time more, as a writer that goes on appending leaves it."""
    temperature(1, start=4).chunk(time=1).to_zarr(folder, append_dim="time")
    web.add_folder(folder, BASE)


def overwritten(web: FileServer, folder: Path) -> None:
    """The newest days in place of older ones, with the same shapes and chunks."""
    again = folder.with_name("again.zarr")
    zarr_format = 2 if (folder / ".zgroup").exists() else 3
    later = temperature(start=8)
    later["time"].encoding["units"] = "hours since 2001-01-01"
    later.chunk(time=1).to_zarr(again, zarr_format=zarr_format, consolidated=True)
    web.add_folder(again, BASE)


@pytest.mark.parametrize("change", [appended, overwritten])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_that_changes_is_refused_whole(
    change: Callable[[FileServer, Path], None],
    zarr_format: int,
    web: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It changes when the first of two blocks is stored, which goes, too."""
    folder = tmp_path / "a.zarr"
    address = serve(web, folder, zarr_format)
    commit, blocks = block_writer.BlockWriter._commit, []

    def commit_and_change(self: block_writer.BlockWriter, *values: object) -> None:
        commit(self, *values)  # type: ignore[arg-type]
        blocks.append(values)
        if len(blocks) == 1:
            change(web, folder)

    monkeypatch.setattr(block_writer.BlockWriter, "_commit", commit_and_change)
    options = IngestOptions(nside=NSIDE, shard_times=2)
    with pytest.raises(RemoteError, match=r"a\.zarr changed while it was read; try again later"):
        ingest([address], tmp_path / "s.zarr", options=options)
    assert len(blocks) == 1
    assert not (tmp_path / "s.zarr").exists()


def test_what_was_stored_before_stays(
    web: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = tmp_path / "a.zarr", tmp_path / "s.zarr"
    address = serve(web, folder, 2)
    ingest(
        [address], store, options=IngestOptions(nside=NSIDE, end=np.datetime64("2001-01-01", "s"))
    )
    kept = open_store(store)["temperature"].values
    take = RemoteZarr.check_changes

    def change_after(self: RemoteZarr) -> Callable[[], None]:
        check = take(self)
        appended(web, folder)
        return check

    monkeypatch.setattr(RemoteZarr, "check_changes", change_after)
    with pytest.raises(RemoteError, match="changed while it was read"):
        ingest([address], store, NSIDE)
    np.testing.assert_array_equal(open_store(store)["temperature"].values, kept)
    monkeypatch.undo()
    monkeypatch.setenv("PEAR_CACHE_DIR", str(tmp_path / "cache"))
    ingest([address], store, NSIDE)
    check_store(store, 5)


def test_a_store_that_stays_is_stored(web: FileServer, tmp_path: Path) -> None:
    address = serve(web, tmp_path / "a.zarr", 3)
    ingest([address], tmp_path / "s.zarr", options=IngestOptions(nside=NSIDE, shard_times=2))
    check_store(tmp_path / "s.zarr")


def test_a_server_that_does_not_list_needs_consolidated_metadata(
    web: FileServer, tmp_path: Path
) -> None:
    temperature().to_zarr(tmp_path / "a.zarr", zarr_format=3, consolidated=False)
    web.add_folder(tmp_path / "a.zarr", BASE)
    with pytest.raises(InputError, match=r"a\.zarr has no consolidated metadata.*consolidate_"):
        ingest([web.url + BASE], tmp_path / "s.zarr", NSIDE)
