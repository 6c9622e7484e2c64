"""A catalog on a disk that cannot be written is read as it is, and says why it takes no work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.catalog import Catalog
from pipelines.catalog.rebuild import open_catalog
from pipelines.catalog.scan import refresh
from pipelines.storage.data_folder import DataFolder, FullDiskError, UnwritableError
from tests.fixtures.read_only import read_only

SHA = "ab" * 32


def add_model(catalog: Catalog, number: int = 0) -> None:
    catalog.models.add(f"{number:x}" + SHA[1:], "models/x", nside=1, step_hours=24)


@pytest.fixture(autouse=True)
def _default_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEAR_CATALOG", raising=False)


def test_it_is_read_and_refuses_to_be_written(data: DataFolder) -> None:
    with Catalog(data.catalog) as catalog:
        add_model(catalog)
    with read_only(data.root), open_catalog(DataFolder.open(data.root)) as catalog:
        assert len(catalog.models.all()) == 1
        assert catalog.read_only
        assert not catalog.is_locked()
        with pytest.raises(UnwritableError, match=r"catalog\.sqlite is read-only"):
            add_model(catalog, 1)
        refresh(data, catalog)


@pytest.mark.parametrize("parts", [("-wal",), ("-wal", "-shm")])
def test_the_log_that_a_killed_writer_left_is_read(
    data: DataFolder, tmp_path: Path, parts: tuple[str, ...]
) -> None:
    copy = DataFolder.create(tmp_path / "copy")
    with Catalog(data.catalog) as catalog:
        add_model(catalog)
        for end in ("", *parts):  # as a kill leaves them: the log is not yet in the file
            shutil.copyfile(f"{data.catalog}{end}", f"{copy.catalog}{end}")
    assert Path(f"{copy.catalog}-wal").stat().st_size
    with read_only(copy.root), Catalog(copy.catalog) as catalog:
        assert len(catalog.models.all()) == 1


def test_without_a_catalog_what_is_found_is_listed(data: DataFolder) -> None:
    assert not data.catalog.exists()
    with read_only(data.root), open_catalog(data) as catalog:
        assert catalog.temporary
        assert catalog.runs.page().items == ()
    assert not data.catalog.exists()


def test_room_is_checked_before_work_is_accepted(data: DataFolder) -> None:
    data.require_room(0)
    with pytest.raises(FullDiskError, match="disk too full"):
        data.require_room(10**18)
    with read_only(data.root), pytest.raises(UnwritableError, match="read-only"):
        data.require_room(0)
