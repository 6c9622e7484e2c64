"""Where a process computes."""

from __future__ import annotations

import pytest
import torch

from pear.device import choose_device
from pear.errors import InputError


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        (None, 0, "cuda:0"),
        ("auto", 3, "cuda:1"),
        ("cuda", 1, "cuda:1"),
        ("cuda:1", 0, "cuda:1"),
        ("CPU", 0, "cpu"),
    ],
)
def test_devices_are_taken_by_name_or_dealt_out(
    name: str | None, place: int, expected: str
) -> None:
    assert choose_device(name, place) == torch.device(expected)


@pytest.mark.usefixtures("no_device")
def test_without_a_device_the_processor_computes_unless_one_was_asked_for() -> None:
    assert choose_device(None, 5) == choose_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="torch sees 0 CUDA devices"):
        choose_device("cuda")


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("name", ["gpu", "cuda:x", "auto:1", "cuda:2", "cpu:1"])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="device"):
        choose_device(name)
