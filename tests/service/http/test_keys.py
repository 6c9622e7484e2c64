"""The file of API keys: names, full disks, damage, and what the service keeps of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pear.errors import InputError
from service.http.keys import KeyFile

NOW = "2001-03-01T00:00:00Z"
DAMAGE = {
    "cut": '[{"name": "a", "sco',
    "empty": "",
    "not a list": "{}",
    "a list of lists": "[[]]",
    "an unknown scope": json.dumps(
        [{"name": "a", "scope": "root", "sha256": "0" * 64, "created_at": NOW}]
    ),
    "a short hash": json.dumps([{"name": "a", "scope": "read", "sha256": "0", "created_at": NOW}]),
    "a missing field": json.dumps([{"name": "a", "scope": "read"}]),
    "another field": json.dumps(
        [{"name": "a", "scope": "read", "sha256": "0" * 64, "created_at": NOW, "secret": "x"}]
    ),
    "binary": "\x00\x01",
    "deep": "[" * 100_000,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_one_line_and_the_last_good_keys_stay(path: Path, text: str) -> None:
    file = KeyFile(path)
    secret = file.add("one", "read", NOW)
    assert file.find(secret) is not None
    good = path.read_bytes()
    path.write_text(text)
    assert file.find(secret) is not None
    assert file.find("pear_other") is None
    readable, state = file.check()
    assert readable
    assert "keys.json cannot be read: the keys that were read before stay valid" in state
    for call in (file.all, lambda: file.add("two", "read", NOW), lambda: file.remove("one")):
        with pytest.raises(InputError, match=r"keys\.json cannot be read") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert path.read_text() == text
    path.write_bytes(good)
    os.utime(path, ns=(1, 1))
    assert file.find(secret) is not None
    assert file.check() == (True, "ok")


def test_a_file_that_was_never_read_is_a_fault(path: Path) -> None:
    path.write_text("[")
    assert KeyFile(path).check() == (False, "keys.json cannot be read")


def test_a_missing_file_has_no_keys(path: Path) -> None:
    file = KeyFile(path)
    assert (file.all(), file.find("x"), file.check()) == ([], None, (True, "ok"))


@pytest.mark.parametrize("name", ["", " ", "../x", "a/b", "a\nb", "x" * 129, "..", "ä", "a b"])
def test_odd_names_are_refused(path: Path, name: str) -> None:
    with pytest.raises(InputError, match="invalid name"):
        KeyFile(path).add(name, "read", NOW)
    assert not path.exists()


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KeyFile(path)
    secret = file.add("one", "read", NOW)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        file.add("two", "read", NOW)
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]
    assert file.find(secret) is not None
    assert [key.name for key in file.all()] == ["one"]
