"""A check finds every fault in a store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pipelines.storage.check import check_store
from tests.fixtures.crashes import TIMES, contents
from tests.fixtures.faults import FAULTS, flip


def test_a_healthy_store(healthy: Path) -> None:
    found = check_store(healthy)
    assert found.is_healthy, found.findings
    assert found.fields == 4 * TIMES
    assert json.loads(json.dumps(found.to_dict()))["healthy"] is True


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found(fault: str, store: Path) -> None:
    damage, kind = FAULTS[fault]
    damage(store)
    found = check_store(store)
    assert kind in {finding.kind for finding in found.findings}, found.findings


def test_a_finding_names_field_time_and_reason(store: Path) -> None:
    flip(store / "temperature/c/0/0/0", 0.3)
    (finding, *_) = check_store(store).findings
    assert finding.detail.startswith("temperature at 500 hPa at 2001-01-01T")
    assert "cannot be read" in finding.detail
    assert (finding.level, finding.remedy) == (500, "mark as missing; ingest the files again")


def test_a_flipped_bit_in_any_file_is_noticed(store: Path, healthy: Path) -> None:
    """40 random bits; the nightly test flips a thousand."""
    assert unnoticed(store, healthy, 40, 1) == []


@pytest.mark.nightly
def test_a_thousand_flipped_bits_are_noticed(store: Path, healthy: Path) -> None:
    assert unnoticed(store, healthy, 1000, 2) == []


def unnoticed(store: Path, healthy: Path, count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    files = sorted(p for p in healthy.rglob("*") if p.is_file())
    out = []
    for _ in range(count):
        source = files[rng.integers(len(files))]
        target = store / source.relative_to(healthy)
        data = bytearray(source.read_bytes())
        place = int(rng.integers(len(data)))
        data[place] ^= 1 << int(rng.integers(8))
        target.write_bytes(bytes(data))
        if check_store(store).is_healthy:
            out.append(f"{target} at {place}")
        target.write_bytes(source.read_bytes())
    assert contents(store) == contents(healthy)
    return out


def test_a_path_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store at"):
        check_store(tmp_path / "none")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_of_others_is_not_called_damaged(zarr_format: int, tmp_path: Path) -> None:
    data = xr.Dataset({"tas": ("cell", np.arange(12.0))})
    data.to_zarr(tmp_path / "s.zarr", zarr_format=zarr_format, consolidated=False)
    with pytest.raises(InputError, match=r"is a Zarr store of others.*pear ingest"):
        check_store(tmp_path / "s.zarr")
