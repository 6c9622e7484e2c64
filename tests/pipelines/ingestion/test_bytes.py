"""Bytes fetched against bytes needed where fields have their true sizes; every night."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from pear.times import HOUR
from pear.variables import LEVELS
from pipelines.ingestion.fetch import download_state, fetch, open_source
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.sources.base import Selection
from pipelines.ingestion.sources.gfs import Gfs
from pipelines.ingestion.sources.ifs import OpenData
from pipelines.ingestion.sources.transfer import Transfer
from tests.fixtures.archives import DAY, era5
from tests.fixtures.file_server import serving_files
from tests.fixtures.replica import serving

pytestmark = pytest.mark.nightly
NOW, CYCLE = np.datetime64("2026-11-25T20", "s"), np.datetime64("2026-11-25T12", "s")
MOST = 1.05
ERA5_LEVELS = (1, 2, 3, 5, 7, 10, 20, 30, 70, 125, 175, 225, 350, 450, 550, 650, 750, 775, 800)
ERA5_LEVELS += (825, 875, 900, 950, 975)


def tell(name: str, needed: int, share: float, began: float) -> None:
    """Print bytes and time of one state, for the table of the handbook."""
    taken = time.perf_counter() - began
    print(f"{name}: {needed / 1e6:.1f} MB needed, {share:.4f} fetched, {taken:.1f} s")  # noqa: T201


@pytest.mark.parametrize("name", ["ifs", "aifs", "gfs"])
def test_a_cycle_at_a_quarter_of_a_degree(name: str, tmp_path: Path) -> None:
    # Four bits a value: about half a megabyte a message, as the servers' compressed ones have.
    transfer = Transfer()
    with serving() as replica:
        replica.spacing, replica.bits = 0.25, 4
        if name == "gfs":
            replica.add_gfs(CYCLE)
            source: OpenData | Gfs = Gfs(transfer, replica.url, clock=lambda: NOW)
        else:
            model = "ifs" if name == "ifs" else "aifs-single"
            replica.add_ifs(CYCLE, model=model)
            source = OpenData(transfer, model, replica.url, clock=lambda: NOW)
        began = time.perf_counter()
        state = source.locate(CYCLE, Selection())
        download_state(state, tmp_path / "parts", transfer)
        tell(name, state.size, share := transfer.fetched / state.size, began)
    assert 30e6 < state.size < 60e6
    assert 1.0 <= share <= MOST


@pytest.mark.parametrize("name", ["arco", "wb2"])
def test_a_time_of_an_archive(name: str, tmp_path: Path) -> None:
    # At 1.5 degrees a chunk has a 36th of its true size; the metadata have all of theirs.
    hours, levels = (2, (*LEVELS, *ERA5_LEVELS)) if name == "arco" else (1, LEVELS)
    data = era5(DAY + np.arange(hours) * HOUR, tuple(sorted(levels)), spacing=1.5)
    if name == "arco":
        data.attrs = {"valid_time_stop": "2026-11-17", "valid_time_stop_era5t": "2026-11-17"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        version = 3 if name == "arco" else 2
        data.chunk(time=1).to_zarr(tmp_path / "a", zarr_format=version, consolidated=True)
    with serving_files() as files:
        files.add_folder(tmp_path / "a", "/a.zarr")
        transfer = Transfer()
        source = open_source(name, transfer, f"{files.url}/a.zarr")
        options = IngestOptions(nside=4, reserve_bytes=0)
        began = time.perf_counter()
        (state,) = fetch(
            source, np.array([DAY]), tmp_path / "s.zarr", options=options, transfer=transfer
        )
        sent = sum(files.sent.values())
        share = state.fetched_bytes / state.needed_bytes
        tell(name, state.needed_bytes, share, began)
    assert sent <= MOST * state.needed_bytes, "what the server has sent"
    assert 1.0 <= share <= MOST
