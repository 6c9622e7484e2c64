"""A published run as other clients open it: xdggs, and zarrita in Node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr
import xdggs

from pear.sphere.healpix import centres
from pear.store.reader import open_store
from pipelines.catalog import Catalog
from pipelines.catalog.scan import refresh
from pipelines.publishing.publish import publish
from pipelines.storage.remote import Remote
from tests.fixtures.engine import NSIDE, make_data_folder, perform, submit
from tests.fixtures.node import needs, run_module
from tests.fixtures.object_storage import make_bucket, s3_server

pytestmark = pytest.mark.slow
_SCRIPT = """
import * as zarr from "zarrita";
const root = zarr.root(new zarr.FetchStore(process.argv[2]));
const group = await zarr.open(root, { kind: "group" });
const array = await zarr.open(root.resolve("2m_temperature"), { kind: "array" });
const { data, shape } = await zarr.get(array, [0, -1 + array.shape[1], null]);
const title = group.attrs.title ?? null;
console.log(JSON.stringify({ shape, values: Array.from(data), title, all: array.shape }));
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """Address of a published run, the same over HTTP, and the store itself."""
    data = make_data_folder(tmp_path_factory.mktemp("other") / "data")
    with Catalog(data.catalog) as catalog:
        refresh(data, catalog)
        run = submit(data, catalog, lead=48)
        perform(data, catalog, run)
    path = data.forecast(run.id)
    with s3_server() as server:
        bucket = make_bucket()
        files = fsspec.filesystem("s3")
        name = f"forecasts/{run.id}.zarr"
        done = publish(path, name, Remote.open(f"s3://{bucket}/pear"))
        files.chmod(bucket, "public-read")
        for key in files.find(f"{bucket}/pear"):
            files.chmod(key, "public-read")
        yield done.address, f"{server}/{bucket}/pear/{name}", path


def test_xarray_reads_the_values(published: tuple[str, str, Path]) -> None:
    address, url, path = published
    with open_store(path) as local:
        for where in (address, url):
            with xr.open_zarr(where, chunks=None) as remote:
                assert set(local.data_vars) <= set(remote.data_vars)
                np.testing.assert_array_equal(
                    remote["2m_temperature"].values, local["2m_temperature"].values
                )


def test_xdggs_knows_the_grid(published: tuple[str, str, Path]) -> None:
    address, _, _ = published
    with xr.open_zarr(address, chunks=None) as remote:
        decoded = remote.pipe(xdggs.decode)
        assert decoded.dggs.grid_info.nside == NSIDE
        found = decoded.dggs.cell_centers()
        latitude, longitude = centres(NSIDE)
        np.testing.assert_allclose(found["latitude"].values, latitude, atol=1e-9)
        np.testing.assert_allclose(found["longitude"].values % 360, longitude % 360, atol=1e-9)


@needs("zarrita")
def test_zarrita_reads_the_values(published: tuple[str, str, Path], tmp_path: Path) -> None:
    _, url, path = published
    found = json.loads(run_module(tmp_path, _SCRIPT, url))
    with open_store(path) as local:
        wanted = local["2m_temperature"]
        assert found["all"] == list(wanted.shape)
        np.testing.assert_array_equal(np.array(found["values"], "f4"), wanted.values[0, -1])
