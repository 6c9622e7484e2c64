"""Azure's storage in memory by its interface of fsspec: published, opened, ingested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pear
from pear.addresses import without_secrets
from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.publishing.publish import publish
from pipelines.storage.remote import Remote
from tests.fixtures.azure import azure
from tests.fixtures.engine import make_data_folder
from tests.fixtures.ingestion import NSIDE, check_store, temperature, write_netcdf


@pytest.mark.parametrize(
    "address", ["az://container/pear", "abfss://container@account.dfs.core.windows.net/pear"]
)
def test_a_store_is_published_once_and_opened(address: str, tmp_path: Path) -> None:
    path = make_data_folder(tmp_path / "data").analysis("demo")
    with azure():
        remote = Remote.open(address)
        first = publish(path, "analyses/demo.zarr", remote)
        assert first.sent_files == first.files > 5
        assert publish(path, "analyses/demo.zarr", remote).sent_files == 0
        with pear.open_analysis(first.address) as copy, open_store(path) as local:
            values = local["2m_temperature"].values
            np.testing.assert_array_equal(copy["2m_temperature"].values, values)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("abfss://container@account.host/x", "abfss://container@account.host/x"),
        ("abfss://me:word@account.host/x", "abfss://account.host/x"),
        ("abfs://container@account.host/x?sig=word", "abfs://container@account.host/x"),
        ("https://container@host/x", "https://host/x"),
    ],
)
def test_a_container_is_not_a_secret(address: str, shown: str) -> None:
    assert without_secrets(address) == shown
    if shown != address:
        with pytest.raises(InputError, match="holds credentials"):
            Remote.open(address)


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_files_and_stores_are_ingested(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_CACHE_DIR", str(tmp_path / "cache"))
    source = tmp_path / f"a.{kind}"
    if kind == "nc":
        write_netcdf(temperature(1), source)
    else:
        temperature(1).chunk(time=1).to_zarr(source, zarr_format=2, consolidated=True)
    with azure() as system:
        system().put(str(source), f"container/a.{kind}", recursive=True)
        ingest([f"az://container/a.{kind}"], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr", 1)
