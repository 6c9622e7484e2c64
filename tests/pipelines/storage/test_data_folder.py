"""The data folder: one owner of paths, and no name that leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pear.errors import InputError
from pipelines.storage.data_folder import DataFolder


def test_create_and_open(tmp_path: Path) -> None:
    made = DataFolder.create(tmp_path / "data")
    assert DataFolder.open(tmp_path / "data") == made
    assert made.forecast("abc-1").parent == made.root / "forecasts"


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "", ".hidden", "a/b", "a\0b", "é", "x" * 200]
)
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    folder = DataFolder.create(tmp_path)
    for place in (folder.analysis, folder.model, folder.forecast, folder.evaluation):
        with pytest.raises(InputError, match="invalid name"):
            place(name)


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pear demo"):
        DataFolder.open(tmp_path / "nothing")
    with pytest.raises(InputError, match="no analyses"):
        DataFolder.open(tmp_path)
