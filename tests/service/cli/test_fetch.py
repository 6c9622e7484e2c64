"""``pear fetch`` against local replicas."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pear.times import to_iso
from pipelines.ingestion.sources.base import cycles_before
from pipelines.storage.data_folder import DataFolder
from tests.fixtures.command_line import CommandLine
from tests.fixtures.replica import Replica, serving


@pytest.fixture
def replica() -> Iterator[Replica]:
    with serving() as found:
        yield found


def newest_cycle() -> np.datetime64:
    return cycles_before(np.datetime64("now", "s"))[0]


@pytest.mark.parametrize("source", ["ifs", "gfs"])
def test_the_latest_state_becomes_an_analysis(
    source: str, replica: Replica, pear: CommandLine, tmp_path: Path
) -> None:
    time = newest_cycle()
    _ = replica.add_ifs(time) if source == "ifs" else replica.add_gfs(time)
    data = DataFolder.create(tmp_path / "data")
    options = ("--source", source, "--mirror", replica.url, "--nside", "4", "--json")
    (state,) = pear("fetch", *options, data=data).json["states"]
    assert state["time"] == to_iso(time)
    assert state["report"]["times_added"] == 1
    listed = pear("inspect", str(data.analysis(source)), "--json").json
    assert (listed["times"]["count"], listed["times"]["first"]) == (1, to_iso(time))
    again = pear("fetch", *options, data=data).json["states"]
    assert again[0]["report"] is None


def test_what_cannot_be_fetched_is_one_line(
    replica: Replica, pear: CommandLine, tmp_path: Path
) -> None:
    words = ["fetch", "--source", "gfs", "--output", str(tmp_path / "a.zarr")]
    pear(*words, "--mirror", replica.url, "--time", "2020-01-01T00").refused(
        "is not on the server, which keeps about"
    )
    pear(*words, "--mirror", replica.url, "--time", "2020-01-01T03").refused(
        "GFS analysis has analyses at 00, 06, 12 and 18 UTC, not at 2020-01-01T03:00:00Z"
    )
    pear(*words, "--mirror", replica.url, "--time", "2999-01-01").refused("lies in the future")
    pear("fetch", "--source", "ifs", "--mirror", "asw", "--output", "x.zarr").refused(
        "did you mean aws?"
    )
    for mirror, message in (
        ("ftp://me:word@host/gfs", "the mirror of gfs must be on the web, got ftp://host/gfs"),
        ("https:///gfs", "names no host"),
    ):
        pear(*words, "--mirror", mirror).refused(message)
    pear("fetch", "--source", "gfs", "--time", "latest").refused("no data folder")
    assert list(tmp_path.iterdir()) == []


def test_credentials_of_an_address_are_written_nowhere(
    replica: Replica, pear: CommandLine, tmp_path: Path
) -> None:
    _ = replica.add_gfs(newest_cycle())
    data = DataFolder.create(tmp_path / "data")
    mirror = replica.url.replace("://", "://me:secret-word@")
    words = ("fetch", "--source", "gfs", "--nside", "4", "--json")
    found = pear(*words, "--mirror", mirror, data=data)
    missing = pear(*words, "--mirror", mirror, "--time", "2020-01-01T00", data=data)
    missing.refused("is not on the server")
    listed = pear("inspect", str(data.analysis("gfs")), "--json")
    for answer in (found, missing, listed):
        assert "secret-word" not in answer.out + answer.err
    files = [path for path in data.root.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not [path for path in files if b"secret-word" in path.read_bytes()]
