"""The worked example of the handbook, command by command, on small GRIB files and an S3 server."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pear as library
from pear.models import checkpoint
from pear.store.climatology import Climatology
from pear.store.reader import open_store, read_lead_hours
from pipelines.catalog import Catalog
from pipelines.evaluation.scores import read_scores
from pipelines.storage.data_folder import DataFolder
from service.api.models import describe_variables
from tests.fixtures.command_line import Answer, CommandLine
from tests.fixtures.object_storage import make_bucket, s3_server
from tests.fixtures.own_data import write_grib

HANDBOOK = Path(__file__).resolve().parents[3] / "deploy" / "docs" / "own-data.md"
RAIN, DEW, PRESSURE = "total_precipitation_6hr", "2m_dewpoint_temperature", "surface_pressure"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # a minute and a half, five on a busy machine
    pytest.mark.skipif(not HANDBOOK.exists(), reason="not a source tree"),
]


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server():
        yield make_bucket()


def commands() -> list[str]:
    """Return the commands of the chapter."""
    text = HANDBOOK.read_text()
    (chapter,) = re.findall(r"## From files to a published forecast\n(.*?)\n## ", text, re.DOTALL)
    found = re.findall(r"^\$ pear (.*)$", chapter, re.MULTILINE)
    assert [line.split()[0] for line in found] == [
        *("ingest", "inspect", "inspect", "climatology", "train", "models", "forecast"),
        *("evaluate", "publish"),
    ]
    return found


def test_each_command_of_the_handbook_works(
    pear: CommandLine, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gfs").mkdir()
    files = [str(path.relative_to(tmp_path)) for path in write_grib(tmp_path / "gfs")]
    done: dict[str, Answer] = {}
    for line in commands():
        short = line.replace("--steps 2000", "--steps 2 --batch 1")  # it need not learn
        words = shlex.split(short.replace("s3://bucket", f"s3://{bucket}"))
        at = words.index("gfs/*.grib2") if "gfs/*.grib2" in words else None
        words = words if at is None else [*words[:at], *files, *words[at + 1 :]]
        answer = pear(*words)
        assert answer.status == 0, f"pear {line}: {answer.err}"
        done[words[0]] = answer
    data = tmp_path / "DATA"

    analysis = open_store(data / "analyses" / "gfs.zarr")
    assert {RAIN, DEW, PRESSURE} < set(analysis.data_vars)
    assert analysis[RAIN].attrs["units"] == "m"
    assert float(analysis[RAIN].max()) == pytest.approx(0.0134, abs=0.001)
    assert not any(read_lead_hours(data / "analyses" / "gfs.zarr").values())  # but of rain
    climatology = Climatology.open(data / "climatology" / "gfs.zarr")
    usual = climatology.at("2024-10-02")[0][0, climatology.layout.surface.index(RAIN)]
    assert usual.min() == 0.0 < usual.max()

    trained = checkpoint.load(tmp_path / "runs" / "gfs" / "checkpoint")
    assert trained.provenance["channels"]["new"] == ["d2m", "sp", "tp06"]
    assert "69 channels carried over" in done["train"].err
    with Catalog(DataFolder.open(data).catalog_url) as catalog:
        listed = {each.name: each.units for each in describe_variables(catalog.models.get("gfs"))}
    assert (listed[RAIN], listed[DEW]) == ("m", "K")

    stores = {path.name.split(".", 1)[1]: path for path in (data / "forecasts").glob("*.zarr")}
    mean = library.open_forecast(stores["zarr"])
    assert "initial_state_note" not in mean.attrs
    assert float(mean[RAIN].min()) >= 0.0
    chance = library.open_forecast(stores["p01.zarr"])[RAIN]
    assert set(np.unique(chance)) <= {0.0, 0.5, 1.0}
    (evaluation,) = (data / "evaluations").iterdir()
    scores = read_scores(evaluation)
    units = dict(zip(scores["channel"].values.tolist(), scores["units"].values, strict=True))
    assert (units["tp06"], units["sp"]) == ("m", "Pa")
    assert np.isfinite(scores["rmse"].sel(channel=["tp06", "d2m", "sp"])).all()
    assert (units["ws850"], "ws850" in done["evaluate"].err) == ("m s-1", True)

    published = f"s3://{bucket}/weather/forecasts/{stores['zarr'].name}"
    with xr.open_zarr(published, chunks=None) as remote:
        np.testing.assert_array_equal(remote[RAIN].values, mean[RAIN].values)
