"""Climatologies built from stores: their kinds, their files, and what they refuse."""

from __future__ import annotations

import importlib
import shutil
from collections import Counter
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask import delayed

from pear.errors import InputError
from pear.store.climatology import Climatology
from pear.store.day_of_year import calendar_slot, day_weights, harmonic_basis
from pear.variables import Layout
from pipelines.evaluation.climatology import HarmonicFit
from pipelines.evaluation.climatology import build_climatology as build
from pipelines.storage import create
from tests.fixtures.evaluation import CELLS, LAYOUT, MEAN, days, usual, weather, write_analysis


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four years with the leap year 2004, anomalies small against the cycle."""
    return write_analysis(tmp_path_factory.mktemp("world") / "four.zarr", TIMES, FIELDS)


@pytest.fixture(scope="module")
def built(analysis: Path) -> dict[str, Path]:
    """One climatology of each kind."""
    paths = {kind: analysis.parent / f"{kind}.zarr" for kind in ("harmonic", "daily", "smoothed")}
    for kind, path in paths.items():
        build(analysis, path, kind)  # type: ignore[arg-type]
    return paths


build_module = importlib.import_module("pipelines.evaluation.climatology")
TIMES = days("2001-01-01", 4 * 365 + 1)
FIELDS = weather(TIMES)
PROBES = np.array(["2009-07-02", "2012-02-29", "2013-12-31", "2000-01-01"], dtype="datetime64[s]")


def flat(climatology: Climatology, times: np.ndarray) -> np.ndarray:
    surface, upper = climatology.at(times)
    return np.concatenate([surface, upper.reshape(len(surface), -1, surface.shape[-1])], axis=1)


@pytest.mark.parametrize("bits", [None, 16, 12])
def test_harmonics_equal_least_squares_on_the_whole_record(
    analysis: Path, tmp_path: Path, bits: int | None
) -> None:
    made = build(analysis, tmp_path / "c.zarr", fit=HarmonicFit(2, bits=bits))
    basis = harmonic_basis(TIMES, 2)
    slow = np.linalg.lstsq(basis, FIELDS.reshape(len(TIMES), -1), rcond=None)[0]
    want = (harmonic_basis(PROBES, 2) @ slow).reshape(len(PROBES), len(MEAN), CELLS)
    # 16 bits keep each coefficient to 1/131 000 of its range over the globe, 12 to 1/8 200.
    tolerance = {
        None: {"rtol": 1e-6, "atol": 1e-4},
        16: {"rtol": 3e-5, "atol": 1e-3},
        12: {"rtol": 5e-4, "atol": 2e-2},
    }[bits]
    got = flat(Climatology.open(tmp_path / "c.zarr", LAYOUT), PROBES)
    np.testing.assert_allclose(got, want, **tolerance)
    assert made.layout.levels == (850, 500), "levels in published order"


def test_coefficients_have_as_many_bits_as_asked_for(analysis: Path, tmp_path: Path) -> None:
    build(analysis, tmp_path / "c.zarr", fit=HarmonicFit(1, bits=12))
    with xr.open_zarr(tmp_path / "c.zarr", mask_and_scale=False) as data:
        packed = data["geopotential"]
        assert packed.dtype == np.int16
        assert (packed.min(), packed.max()) == (-(2**11 - 1), 2**11 - 1)


@pytest.mark.parametrize("bits", [1, 17])
def test_a_number_of_bits_that_int16_does_not_hold_is_refused(bits: int) -> None:
    with pytest.raises(InputError, match=f"invalid number of bits {bits}"):
        HarmonicFit(1, bits=bits)


def test_levels_come_in_the_order_asked_for(built: dict[str, Path]) -> None:
    path = built["harmonic"]
    up = Climatology.open(path, LAYOUT)
    got = flat(up, PROBES)
    np.testing.assert_allclose(got.mean(axis=(0, 2)), MEAN[:, 0], rtol=0.15)
    one = Climatology.open(path, Layout((), ("geopotential",), (500,)))
    surface, upper = one.at(PROBES)
    assert surface.shape == (4, 0, CELLS)
    np.testing.assert_array_equal(upper[:, 0, 0], got[:, 2])


def test_the_daily_mean_is_the_mean_of_the_calendar_day(built: dict[str, Path]) -> None:
    made = Climatology.open(built["daily"], LAYOUT)
    for probe in ("2010-03-01", "2010-12-31", "2010-01-01"):
        member = calendar_slot(TIMES) == calendar_slot(probe)[0]
        assert member.sum() == 4
        want = FIELDS[member].mean(axis=0)
        np.testing.assert_allclose(flat(made, np.array([probe], "M8[s]"))[0], want, rtol=1e-5)


def test_leap_day_is_the_mean_of_nine_samples(built: dict[str, Path]) -> None:
    made = Climatology.open(built["daily"], LAYOUT)
    dates = [f"{y}-{d}" for y in (2001, 2002, 2003, 2004) for d in ("02-28", "03-01")]
    index = np.isin(TIMES, np.array([*dates, "2004-02-29"], dtype="datetime64[s]"))
    assert index.sum() == 9
    leap = flat(made, np.array(["2012-02-29"], dtype="datetime64[s]"))[0]
    np.testing.assert_allclose(leap, FIELDS[index].mean(axis=0), rtol=1e-5)


def test_three_common_years_still_have_a_leap_day(tmp_path: Path) -> None:
    times = days("2001-01-01", 365)
    write_analysis(tmp_path / "one.zarr", times)
    made = build(tmp_path / "one.zarr", tmp_path / "c.zarr", "daily")
    leap = flat(made, np.array(["2004-02-29"], dtype="datetime64[s]"))
    assert np.isfinite(leap).all()


def test_smoothing_is_a_weighted_mean_of_the_samples_around(built: dict[str, Path]) -> None:
    made = Climatology.open(built["smoothed"], LAYOUT)
    slots = calendar_slot(TIMES)
    for probe in ("2010-07-01", "2010-01-02", "2012-02-29"):
        distance = np.abs(slots - calendar_slot(probe)[0])
        distance = np.minimum(distance, 366 - distance)
        w = np.where(distance <= 30, np.exp(-0.5 * (distance / 10.0) ** 2), 0)
        want = np.tensordot(w / w.sum(), FIELDS, axes=1)
        np.testing.assert_allclose(flat(made, np.array([probe], "M8[s]"))[0], want, rtol=1e-5)


def test_smoother_is_closer_to_the_truth(built: dict[str, Path]) -> None:
    probes = days("2011-01-01", 365)[::7]
    error = {}
    for kind in ("harmonic", "daily", "smoothed"):
        made = Climatology.open(built[kind], LAYOUT)
        error[kind] = np.abs((flat(made, probes) - usual(probes)) / MEAN).mean()
    assert error["harmonic"] < error["smoothed"] < error["daily"]


def test_coarser_grid_is_the_mean_of_the_cells(built: dict[str, Path]) -> None:
    path = built["harmonic"]
    fine = flat(Climatology.open(path, LAYOUT), PROBES)
    coarse = flat(Climatology.open(path, LAYOUT, nside=2), PROBES)
    np.testing.assert_allclose(coarse, fine.reshape(4, 5, CELLS // 4, 4).mean(-1), rtol=1e-5)


@pytest.mark.parametrize("window", [1, 61])
def test_every_time_is_read_once(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass, whatever the window, in reads of a few days each."""
    reads: Counter[int] = Counter()

    def load(index: int) -> np.ndarray:
        reads[index] += 1
        return np.full((1, 12), float(index), dtype=np.float32)

    fields = [da.from_delayed(delayed(load, pure=False)(i), (1, 12), "f4") for i in range(730)]
    field = xr.DataArray(da.concatenate(fields), dims=("time", "cell"), name="t")
    monkeypatch.setattr(build_module, "_BLOCK_BYTES", 20 * 2 * 12 * 4)
    slots = calendar_slot(days("2001-01-01", 730))
    weights = day_weights(window)
    means = np.stack(list(build_module._day_means(field, slots, weights, None)))
    share = weights[:, slots] / weights[:, slots].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(means[:, 0], share @ np.arange(730.0), rtol=1e-12)
    assert reads == dict.fromkeys(range(730), 1)


def test_only_the_period_is_used(tmp_path: Path) -> None:
    times = days("2001-01-01", 730)
    fields = weather(times)
    fields[400:] += 10
    write_analysis(tmp_path / "two.zarr", times, fields)
    made = build(
        tmp_path / "two.zarr", tmp_path / "c.zarr", "daily", period=("2001-01-01", "2001-12-31")
    )
    assert made.period == ("2001-01-01T00:00:00Z", "2001-12-31T00:00:00Z")
    got = Climatology.open(tmp_path / "c.zarr", LAYOUT)
    np.testing.assert_allclose(flat(got, times[10:11])[0], fields[10], rtol=1e-5)


def test_what_it_refuses_and_leaves_as_it_was(
    analysis: Path, built: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "c.zarr"
    shutil.copytree(built["harmonic"], out)
    before = {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    short = write_analysis(tmp_path / "short.zarr", days("2001-01-01", 60))
    with pytest.raises(InputError, match="60 times at 0 UTC cannot determine 3 harmonics"):
        build(short, out)
    with pytest.raises(InputError, match=r"no analysis near 03-02|no analysis near 04-"):
        build(short, out, "daily")
    with pytest.raises(InputError, match="unknown climatology kind 'weekly'"):
        build(analysis, out, "weekly")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"no times in 1990"):
        build(analysis, out, period=("1990-01-01", "1991-01-01"))
    with pytest.raises(InputError, match=r"no climatology at|not a climatology"):
        build(analysis, analysis)
    assert before == {p: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".building")]


def test_questions_it_cannot_answer(analysis: Path, built: dict[str, Path], tmp_path: Path) -> None:
    path = built["harmonic"]
    with pytest.raises(InputError, match=r"hours \[0\] UTC, not 2001-01-01T12"):
        Climatology.open(path).at("2001-01-01T12")
    with pytest.raises(InputError, match="lacks mean_sea_level_pressure"):
        Climatology.open(path, Layout())
    with pytest.raises(InputError, match=r"lacks levels \[300\]"):
        Climatology.open(path, Layout((), ("geopotential",), (300,)))
    with pytest.raises(InputError, match="too coarse for 8"):
        Climatology.open(path, LAYOUT, nside=8)
    for wrong in (tmp_path / "nothing.zarr", tmp_path, analysis):
        with pytest.raises(InputError, match=r"no climatology at|not a climatology"):
            Climatology.open(wrong)


def test_missing_values_are_named(tmp_path: Path) -> None:
    import zarr

    path = write_analysis(tmp_path / "one.zarr", days("2001-01-01", 366))
    group = zarr.open_group(path, mode="r+")
    group["geopotential"][40, 1, 7] = np.nan
    create.consolidate(group)
    for kind in ("harmonic", "daily"):
        with pytest.raises(InputError, match="geopotential has missing values"):
            build(path, tmp_path / "c.zarr", kind)  # type: ignore[arg-type]


def test_sixty_nine_fields_at_nside_16_take_three_megabytes(tmp_path: Path) -> None:
    """Even noise, which does not compress, takes two bytes per coefficient and little else."""
    build(write_analysis(tmp_path / "a.zarr", days("2001-01-01", 366)), tmp_path / "c.zarr")
    size = sum(p.stat().st_size for p in (tmp_path / "c.zarr").rglob("c/*") if p.is_file())
    values = 5 * 7 * CELLS
    overhead = size - 2 * values
    assert overhead < 3000, "axes, scales and checksums"
    assert 2 * 69 * 7 * 3072 + 69 / 5 * overhead < 3.05e6
