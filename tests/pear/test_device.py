"""The choice of a device and of the number of threads."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from pear.datasets.sample import sample_analysis
from pear.device import SMALL_STEP, choose_device, choose_threads, set_threads, threads_for
from pear.errors import InputError
from pear.models.config import PearConfig
from pear.models.pear import Pear
from pear.rollout import Persistence
from pear.state import State
from pear.variables import Layout


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


def test_threads_follow_the_size_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEAR_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PEAR_MOST_THREADS", "7")
    small, large = PearConfig.small(16).multiply_adds, PearConfig.published(64).multiply_adds
    assert small <= SMALL_STEP < large
    assert (choose_threads(small), choose_threads(large)) == (1, 7)
    before = torch.get_num_threads()
    with threads_for(large):
        assert torch.get_num_threads() == 7
    assert torch.get_num_threads() == before
    monkeypatch.setenv("PEAR_THREADS", "3")
    assert choose_threads(small) == choose_threads(large) == 3


def test_small_forecasts_of_a_notebook_use_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's default threads spin at the barriers of small products."""
    for name in ("PEAR_THREADS", "OMP_NUM_THREADS", "PEAR_MOST_THREADS"):
        monkeypatch.delenv(name, raising=False)
    used = []

    class Counting(Persistence):
        def iterate(self, initial: State, steps: int) -> Iterator[State]:
            used.append(torch.get_num_threads())
            return super().iterate(initial, steps)

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        layout = Layout(("2m_temperature",), (), ())
        Counting(layout, nside=4).forecast(sample_analysis(nside=4), "2006-11-01", lead="1d")
        assert (used, torch.get_num_threads()) == ([1], 4)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "config",
    [
        PearConfig.small(16),
        PearConfig.published(32),
        PearConfig.base(32),
        PearConfig.small(16, mixing="full_stencil", symmetry="c4h"),
        PearConfig.small(16, mixing="stencil+attention"),
        PearConfig.small(16, mixing="spectral"),
        PearConfig.small(16, mixing="full_spectral", symmetry="c4h"),
    ],
)
def test_the_estimate_of_the_work_is_close_to_the_count(config: PearConfig) -> None:
    model = Pear(config)
    cells = 12 * config.nside**2
    forcing = torch.zeros(1, len(config.forcings), cells) if config.forcings else None
    counter = FlopCounterMode(display=False)
    with FakeTensorMode(allow_non_fake_inputs=True), counter:
        model(torch.zeros(1, 4, cells), torch.zeros(1, 5, 13, cells), forcing)
    assert config.multiply_adds == pytest.approx(counter.get_total_flops() / 2, rel=0.15)


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
