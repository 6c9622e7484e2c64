"""The choice of a device and of the number of threads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pear.device import choose_device, set_threads
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
def test_devices_are_chosen_by_name_or_distributed(
    name: str | None, place: int, expected: str
) -> None:
    assert choose_device(name, place) == torch.device(expected)


@pytest.mark.usefixtures("no_device")
def test_without_a_device_the_cpu_computes() -> None:
    assert choose_device(None, 5) == choose_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="torch sees 0 CUDA devices"):
        choose_device("cuda")


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize("name", ["gpu", "cuda:x", "auto:1", "cuda:2", "cpu:1"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="device"):
        choose_device(name)


def test_threads_must_be_positive_and_none_changes_nothing() -> None:
    before = torch.get_num_threads()
    assert set_threads(None) == before
    with pytest.raises(InputError, match="threads must be positive, got 0"):
        set_threads(0)


_FAULTS = """
import resource, sys, torch
from pear.device import keep_memory
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40): torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.ones(10_000_000)
print(faults(), keep_memory(), faults())
"""


def test_kept_memory_faults_its_pages_once() -> None:
    """A block that is freed and allocated again keeps its pages."""
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True
    )
    released, supported, kept = done.stdout.split()
    if supported == "False":
        pytest.skip("no glibc here")
    # The heap grows a few times before it holds the block.
    assert int(kept) < int(released) / 3
