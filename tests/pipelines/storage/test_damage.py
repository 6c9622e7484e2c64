"""No damage to any file of any kind of store is silent: refused by name, or without effect."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

import pear
from pear.errors import InputError
from pear.sphere.healpix import cells_of_nside
from pear.store import metadata
from pear.store.manifest import ATTRIBUTE, FILE, DamagedStoreError
from pear.store.reader import open_store
from pear.store.static_fields import read_static_fields
from pear.variables import Layout
from pipelines.evaluation.climatology import build_climatology
from pipelines.storage import create
from pipelines.storage.analysis_writer import AnalysisWriter
from pipelines.storage.check import check_store
from pipelines.storage.forecast_writer import ForecastWriter
from pipelines.storage.metadata import write_group
from pipelines.storage.repair import repair_store
from tests.fixtures.faults import flip

NSIDE = 2
LAYOUT = Layout(("2m_temperature",), ("temperature",), (850, 500))
TIMES = np.arange("2001-01-01", "2001-01-08", dtype="datetime64[D]")
Values = dict[str, np.ndarray]


def fields(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(time, variable, cell) and (time, variable, level, cell), within the valid ranges."""
    random, cells = np.random.default_rng(3), cells_of_nside(NSIDE)
    surface = random.uniform(270, 290, size=(count, 1, cells))
    return surface.astype("f4"), random.uniform(250, 280, size=(count, 1, 2, cells)).astype("f4")


def make_analysis(folder: Path) -> Path:
    path = folder / "analysis.zarr"
    with AnalysisWriter(path, LAYOUT, NSIDE, shard_times=3, overviews=(1,)) as writer:
        writer.append(TIMES[:4], *(part[:4] for part in fields(7)))
        writer.append(TIMES[4:], *(part[4:] for part in fields(7)))
    root = zarr.open_group(LocalStore(path), mode="r+", use_consolidated=False)
    static = root.require_group("static")
    for name, values in (
        ("geopotential_at_surface", np.linspace(0, 900, cells_of_nside(NSIDE), dtype="f4")),
        ("land_sea_mask", np.zeros(cells_of_nside(NSIDE), dtype="f4")),
    ):
        create.coordinate(static, name, values, {"units": "1"}, ("cell",))
    create.consolidate(root)
    return path


def make_forecast(folder: Path) -> Path:
    path = folder / "forecast.zarr"
    writer = ForecastWriter(
        path, LAYOUT, NSIDE, "1970-01-01", np.arange(3) * np.timedelta64(6, "h"), overviews=(1,)
    )
    surface, upper = fields(3)
    for index in range(3):
        writer.write_step(index, surface[index], upper[index])
    return writer.publish()


def make_climatology(folder: Path) -> Path:
    (folder / "source").mkdir()
    times = np.arange("2001-01-01", "2002-01-01", dtype="datetime64[D]")
    with AnalysisWriter(folder / "source" / "a.zarr", LAYOUT, NSIDE) as writer:
        writer.append(times, *fields(times.size))
    build_climatology(folder / "source" / "a.zarr", folder / "climatology.zarr")
    return folder / "climatology.zarr"


def read_store(path: Path) -> Values:
    found: Values = {}
    for nside in (NSIDE, 1):
        data = open_store(path, nside=nside).load()
        for name in (*data.data_vars, *data.coords):
            found[f"{nside}/{name}"] = data[name].values
    if "analysis" in path.name:
        found |= read_static_fields(path, NSIDE)
    return found


def read_climatology(path: Path) -> Values:
    climatology = pear.open_climatology(path)
    return dict(enumerate(climatology.at(["2001-02-01", "2001-08-01"]))) | {  # type: ignore[arg-type]
        "hours": np.array(climatology.hours),
        "levels": np.array(climatology.layout.levels),
    }


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Values]]] = {
    "analysis": (make_analysis, read_store),
    "forecast": (make_forecast, read_store),
    "climatology": (make_climatology, read_climatology),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_by_sibling(path: Path) -> None:
    """Put another chunk of the same array in the place of this one."""
    others = [file for file in sorted(path.parents[1].rglob("[0-9]")) if file.is_file()]
    other = next(
        (file for file in others if file.read_bytes() != path.read_bytes()),
        None,
    )
    if other is not None:
        shutil.copyfile(other, path)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "lost": Path.unlink,
    "cut": cut,
    "flipped": lambda path: flip(path, sum(path.as_posix().encode()) % 100 / 100),
    "of another time": replace_by_sibling,
}


def equal(first: Values, second: Values) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f")
        for name in first
    )


# The largest store, whose layout the others share, takes more than a minute.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=pytest.mark.nightly) if kind == "analysis" else kind
        for kind in KINDS
    ],
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound store of each kind."""
    return KINDS[request.param][0](tmp_path_factory.mktemp(request.param))


def damages(path: Path, tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """Copies of a store with one file damaged: the file, the damage, the copy."""
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    files = [name for name in files if not name.startswith("nside1/cell")]  # as those of the store
    for name in files:
        for damage, apply in DAMAGES.items():
            copy = Path(shutil.copytree(path, tmp_path / path.name))
            apply(copy / name)
            yield name, damage, copy
            shutil.rmtree(copy)


@pytest.mark.slow
def test_no_damage_is_silent(made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    read = KINDS[made.stem][1]
    before, outcome, wrong = read(made), Counter[str](), []
    for name, damage, copy in damages(made, tmp_path):
        array = name.partition("/c/")[0].removesuffix("/c").removesuffix("/zarr.json")
        try:
            result = "without effect" if equal(before, read(copy)) else "silent"
        except InputError as error:
            result = "refused by name" if array in str(error) else f"refused as: {error}"
        changed = (copy / name).read_bytes() if (copy / name).exists() else None
        if changed != (made / name).read_bytes():
            report = check_store(copy)
            if result != "without effect" and array not in str(report.findings):
                wrong.append(f"pear check does not name {name}, {damage}: {report.findings}")
        outcome[result] += 1
        if result not in ("without effect", "refused by name"):
            wrong.append(f"{name}, {damage}: {result}")
    # not record_property, which warns of junit_family=xunit2
    request.node.user_properties.append(("outcome", dict(outcome)))
    assert not wrong, "\n".join(wrong)
    assert outcome["refused by name"] > 20


def test_a_store_without_manifest_stays_readable_and_refuses_lost_coordinates(
    tmp_path: Path,
) -> None:
    path = make_forecast(tmp_path)
    before = read_store(path)
    root = metadata.read(path)
    del root[metadata.INSIDE][ATTRIBUTE]
    write_group(path, root)
    (path / FILE).unlink()
    assert equal(before, read_store(path))
    (path / "prediction_timedelta/c/0").unlink()
    with pytest.raises(DamagedStoreError, match="prediction_timedelta/c/0 is missing"):
        open_store(path)


def test_repair_refuses_other_kinds_and_keeps_them(tmp_path: Path) -> None:
    path = make_forecast(tmp_path)
    root = metadata.read(path)
    root["attributes"]["pear_kind"] = "something else"
    write_group(path, root)
    before = (path / "zarr.json").read_bytes()
    with pytest.raises(InputError, match="does not repair"):
        repair_store(path)
    assert (path / "zarr.json").read_bytes() == before
