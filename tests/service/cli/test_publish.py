"""``pear publish``: what it names, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from tests.fixtures.command_line import CommandLine
from tests.fixtures.engine import make_data_folder, perform, submit


def test_a_run_and_an_analysis_are_published(pear: CommandLine, tmp_path: Path) -> None:
    data = make_data_folder(tmp_path / "data")
    with Catalog(data.catalog_url) as catalog:
        refresh(data, catalog)
        run = submit(data, catalog, members=2)
        pear("publish", run.id, "file:///x", data=data).refused(f"run {run.id} is queued")
        perform(data, catalog, run)
    address = f"file://{tmp_path}/bucket"
    done = pear("publish", "latest", address, "--json", data=data).json
    names = {each["name"] for each in done}
    assert f"forecasts/{run.id}.zarr" in names
    assert f"forecasts/{run.id}.spread.zarr" in names
    for each in done:
        xr.open_zarr(each["address"].removeprefix("file://"), chunks=None).close()
    (analysis,) = pear("publish", "analyses/demo", address, "--json", data=data).json
    assert analysis["sent_files"] == analysis["files"]
    (again,) = pear("publish", "analyses/demo", address, "--json", data=data).json
    assert again["sent_files"] == 0


def test_what_cannot_be_published_is_one_line(pear: CommandLine, tmp_path: Path) -> None:
    data = make_data_folder(tmp_path / "data")
    address = f"file://{tmp_path}/bucket"
    pear("publish", "analyses/none", address, data=data).refused("no analyses/none")
    pear("publish", "analyses/../x", address, data=data).refused("invalid name")
    pear("publish", "scratch/x", address, data=data).refused("nothing to publish in 'scratch'")
    pear("publish", "latest", address, data=data).refused("no run has succeeded yet")
    pear("publish", "analyses/demo", "bucket", data=data).refused("is not an address")
    assert not (tmp_path / "bucket").exists()
