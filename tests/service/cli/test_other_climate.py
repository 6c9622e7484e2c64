"""A real analysis and the shipped model: what the command line says of another climate."""

from __future__ import annotations

from pathlib import Path

import pytest

from pear import resources
from pear.models.climate import INITIAL_STATE_NOTE, OTHER_CLIMATE
from pear.store.reader import open_store
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine

GFS = "data/multilevel/gfs.t12z.pgrbf120.2p5deg.grib2"
WANTED = "the model was trained on a simulated atmosphere, and the state is observed"

NOTE = (
    "the initial state is itself a forecast of 120 h; "
    "the model was trained at 00:00 UTC, and the state is at 12:00 UTC"
)


@pytest.mark.slow
def test_a_real_state_is_refused_by_the_shipped_model_or_named(
    pear: CommandLine, shared: Path, tmp_path: Path, scheduler: str
) -> None:
    pytest.importorskip("eccodes")
    data = DataFolder.create(tmp_path / "data")
    pear("ingest", str(shared / GFS), "--nside", "16", data=data)
    pear("models", "add", str(resources.path("checkpoint")), data=data)
    words = ("forecast", "--init", "2011-01-15T12:00", "--lead", "1d", "--scheduler", scheduler)
    refused = pear(*words, data=data)
    refused.refused(WANTED)
    assert "(--allow-other-climate)" in refused.err
    assert not list((data.root / "forecasts").glob("*.zarr"))
    (run,) = pear(*words, "--allow-other-climate", "--json", data=data).json["runs"]
    assert run["notes"] == [WANTED, NOTE]
    with open_store(run["store"]) as forecast:
        assert forecast.attrs[OTHER_CLIMATE] == WANTED
        assert forecast.attrs[INITIAL_STATE_NOTE] == NOTE
    assert WANTED in pear("runs", "show", run["id"], data=data).out
