"""Azure's storage by adlfs and a server of the same protocol: published, opened, ingested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

import pear
from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.publishing.publish import publish
from pipelines.storage.remote import Remote
from tests.fixtures.azurite import blob_server, close_clients, connection
from tests.fixtures.engine import make_data_folder
from tests.fixtures.ingestion import NSIDE, check_store, temperature, write_netcdf
from tests.fixtures.node import needs

pytest.importorskip("adlfs")
pytestmark = [pytest.mark.slow, needs("azurite")]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with blob_server(tmp_path_factory.mktemp("azurite")) as found:
        fsspec.filesystem("az").mkdir("weather")
        yield found


@pytest.mark.parametrize("scheme", ["az", "abfs"])
def test_a_store_is_published_once_and_opened(scheme: str, port: int, tmp_path: Path) -> None:
    path = make_data_folder(tmp_path / "data").analysis("demo")
    remote = Remote.open(f"{scheme}://weather/{scheme}")
    first = publish(path, "analyses/demo.zarr", remote)
    assert first.sent_files == first.files > 5
    assert publish(path, "analyses/demo.zarr", remote).sent_files == 0
    found = fsspec.filesystem(scheme).find(f"weather/{scheme}/analyses/demo.zarr")
    remote.filesystem.pipe_file(next(name for name in found if "/c/" in name), b"damaged")
    assert publish(path, "analyses/demo.zarr", remote).sent_files == 1
    with pear.open_analysis(first.address) as copy, open_store(path) as local:
        np.testing.assert_array_equal(copy["2m_temperature"].values, local["2m_temperature"].values)


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_files_and_stores_are_ingested(
    kind: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_CACHE_DIR", str(tmp_path / "cache"))
    source = tmp_path / f"a.{kind}"
    if kind == "nc":
        write_netcdf(temperature(1), source)
    else:
        temperature(1).chunk(time=1).to_zarr(source, zarr_format=2, consolidated=True)
    fsspec.filesystem("abfs").put(str(source), f"weather/{kind}/a.{kind}", recursive=True)
    ingest([f"abfs://weather/{kind}/a.{kind}"], tmp_path / "s.zarr", NSIDE)
    check_store(tmp_path / "s.zarr", 1)
    with pytest.raises(InputError, match=rf"abfs://weather/none/a\.{kind}"):
        ingest([f"abfs://weather/none/a.{kind}"], tmp_path / "t.zarr", NSIDE)


def test_a_wrong_key_is_refused_and_not_shown(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "bm90LXRvLWJlLXNob3duLWF0LWFsbA=="
    path = make_data_folder(tmp_path / "data").analysis("demo")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection(port, key))
    close_clients()
    try:
        with pytest.raises(InputError, match=r"refuses access|no credentials") as caught:
            publish(path, "analyses/demo.zarr", Remote.open("az://weather/refused"))
        with pytest.raises(InputError, match="refuses access") as other:
            ingest(["az://weather/nc/a.nc"], tmp_path / "s.zarr", NSIDE)
    finally:
        close_clients()
    for error in (caught, other):
        assert key not in str(error.value)
        assert "\n" not in str(error.value)
