"""What ships is small, labelled simulated, complete, and the model in it forecasts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear import resources
from pear.errors import InputError
from pear.models import checkpoint
from pear.rollout import PearForecaster
from pear.state import State
from pear.store.climatology import Climatology
from pear.variables import Layout
from pipelines.ingestion.ingest import ingest
from pipelines.simulation import files
from pipelines.simulation.run import read_restart
from service.cli.build_resources import MAX_BYTES, build_checkpoint

DAY = np.timedelta64(86_400, "s")


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("shipped") / "simulated.zarr"
    ingest(sorted(resources.path("sample").glob("*.nc")), store, nside=16)
    return store


def test_all_together_leave_room_for_the_handbook_in_a_wheel_of_20_mb() -> None:
    folder = Path(resources.__file__).parent
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.suffix != ".pyc"]
    assert sum(sizes) <= MAX_BYTES


def test_names_that_do_not_ship_are_refused() -> None:
    assert resources.path("climatology") == resources.path("climatology.zarr")
    with pytest.raises(InputError, match="no resource 'samples'; did you mean sample"):
        resources.path("samples")


def test_the_sample_says_that_it_is_simulated_and_has_no_gap() -> None:
    (path,) = sorted(resources.path("sample").glob("*.nc"))
    with xr.open_dataset(path) as sample:
        assert sample.attrs["simulated"] == "true"
        assert "SIMULATED" in sample.attrs["institution"]
        times = sample["valid_time"].values
        assert (np.diff(times) == DAY).all()
        assert times.size >= 20


def test_its_integers_have_few_bits_and_lie_above_zero_as_szip_wants() -> None:
    (path,) = sorted(resources.path("sample").glob("*.nc"))
    with xr.open_dataset(path, mask_and_scale=False) as sample:
        packed = {name: field for name, field in sample.items() if field.dtype == np.int16}
        assert set(packed) == set(files.COARSE.step)
        for name, field in packed.items():
            assert field.encoding["szip"], name
            assert field.min() >= 0, name
            assert field.attrs["scale_factor"] == files.COARSE.step[str(name)]
            assert field.attrs["add_offset"] == files.COARSE.offset[str(name)]


def test_training_validation_and_sample_are_disjoint() -> None:
    about = checkpoint.load(resources.path("checkpoint")).provenance
    first, last = about["data"]["period"]
    begun, ended = about["data"]["validation"]
    (path,) = sorted(resources.path("sample").glob("*.nc"))
    sample = path.stem.split("_")[1]
    assert first < last < begun < ended < sample
    assert about["simulated"] is True
    assert Climatology.open(resources.path("climatology")).nside == 16


def test_a_shipped_model_s_commands_name_no_folder_of_the_machine_that_made_it(
    tmp_path: Path,
) -> None:
    held = checkpoint.load(resources.path("checkpoint"))
    words = "pear train --store /home/me/sim/a.zarr --initial /home/me/m1/checkpoint --out own"
    about = {"command": words, "initial": {"command": "pear train --out /home/me/m1"}}
    checkpoint.save(tmp_path / "m", held.model, held.normaliser, about)
    kept = checkpoint.load(build_checkpoint(tmp_path / "m", tmp_path / "ship")).provenance
    short = "pear train --store a.zarr --initial checkpoint --out own"
    assert (kept["command"], kept["initial"]["command"]) == (short, "pear train --out m1")


def test_the_restart_state_is_one_of_t31() -> None:
    date, arrays = read_restart(resources.path("restart.npz"))
    assert str(date).endswith("-01-01")
    assert arrays["vorticity"].shape == (16, 63, 33)
    assert all(np.isfinite(values).all() for values in arrays.values())


def test_the_model_beats_persistence_and_climatology_on_the_sample(analysis: Path) -> None:
    model = PearForecaster(checkpoint.load(resources.path("checkpoint")))
    with xr.open_zarr(analysis) as store:
        times = store["time"].values.astype("datetime64[s]")
    starts = times[[0, 7, 14]]
    initial = State.from_store(analysis, starts, Layout.default())
    expected = Climatology.open(resources.path("climatology"))
    z500 = (Layout.default().upper.index("geopotential"), Layout.default().levels.index(500))
    for day, state in enumerate(model.iterate(initial, 3), start=1):
        truth = (
            State.from_store(analysis, starts + day * DAY, Layout.default()).upper[:, *z500].numpy()
        )
        usual = expected.at(starts + day * DAY)[1][:, *z500]
        forecast = state.upper[:, *z500].numpy()
        error, still = (
            float(np.sqrt(((field - truth) ** 2).mean()))
            for field in (forecast, initial.upper[:, *z500].numpy())
        )
        f, o = forecast - usual, truth - usual
        acc = float((f * o).sum() / np.sqrt((f**2).sum() * (o**2).sum()))
        assert error < 0.5 * still
        assert error < float(np.sqrt((o**2).mean()))
        assert acc > {1: 0.975, 2: 0.94, 3: 0.89}[day]
