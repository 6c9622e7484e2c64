"""Renamed environment variables."""

from __future__ import annotations

import pytest

from pear.environment import RENAMED, check_environment
from pear.errors import InputError


def test_current_names_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for new in RENAMED.values():
        monkeypatch.setenv(new, "1")
    check_environment()


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_an_error_that_names_the_new_one(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    monkeypatch.setenv(old, "1")
    with pytest.raises(InputError, match=new) as caught:
        check_environment()
    assert caught.value.field == old
