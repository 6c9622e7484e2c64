"""Hosts with a disk each: whichever is killed, cut off or slow, nothing is lost or done twice.

The table is logged: ``pytest -m nightly tests/service/test_hosts.py --log-cli-level INFO``;
``PEAR_TRIAL_ROUNDS`` sets the number of disturbances.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import httpx
import numpy as np
import pytest

from pear.times import to_iso
from pipelines.catalog import Catalog, Run, Status
from pipelines.catalog.scan import refresh
from pipelines.forecasting.forecast import run_forecast
from pipelines.storage.data_folder import DataFolder
from pipelines.storage.shared import VARIABLE, SharedStores, share
from tests.fixtures.engine import DAY, START, make_data_folder, read_fields, submit
from tests.fixtures.hosts import Hosts, require_namespaces, start_postgres, start_s3
from tests.fixtures.object_storage import close_clients

HOSTS = ("store", "api1", "api2", "work1", "work2")
RUNS = 16
LEAD_HOURS = 15 * 24
ROUNDS = int(os.environ.get("PEAR_TRIAL_ROUNDS", "12"))
WAIT_SECONDS = 1800
_LOG = logging.getLogger("pear.tests.hosts")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of PostgreSQL can reach."""
    with tempfile.TemporaryDirectory(prefix="pear-hosts-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def seed(tmp_path: Path) -> DataFolder:
    """What the hosts begin with, and the runs as one host computes them."""
    return make_data_folder(tmp_path / "seed", days=RUNS)


def compute_reference(seed: DataFolder) -> dict[str, dict[str, np.ndarray]]:
    with Catalog(seed.catalog) as catalog:
        refresh(seed, catalog)
        found = {}
        for day in range(RUNS):
            run = submit(seed, catalog, START + day * DAY, lead=LEAD_HOURS)
            assert run_forecast(str(seed.root), run.id, str(seed.catalog)) == "succeeded"
            found[run.id] = read_fields(seed.forecast(run.id))
    return found


@pytest.mark.nightly
def test_nothing_is_lost_and_nothing_done_twice(
    folder: Path, tmp_path: Path, seed: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_namespaces()
    reference = compute_reference(seed)
    generator = random.Random(0)
    with Hosts(HOSTS, folder) as hosts:
        catalog_url, endpoint = start_postgres(hosts, "store"), start_s3(hosts, "store")
        shared = {
            "PEAR_CATALOG": catalog_url,
            VARIABLE: "s3://weather/pear",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in shared.items():
            monkeypatch.setenv(name, value)
        wait_for_bucket("weather")
        with Catalog(wait_for_catalog(catalog_url)) as catalog:
            refresh(seed, catalog)
            for path in (seed.root / "models").glob("[!.]*"):
                share(seed, "models", path.name)
            share(seed, "analyses", "demo")
            addresses = start_services(hosts, shared)
            ids = submit_all(addresses)
            assert set(ids) == set(reference)
            hosts.slow("work2", "8mbit")
            for _ in range(ROUNDS):
                time.sleep(generator.uniform(2, 6))
                disturb(hosts, generator)
            runs = wait_for_end(catalog, hosts, ids)
            table = judge(catalog, runs, addresses, reference, tmp_path / "reader")
        close_clients()
    _LOG.info("%s %s", dict(hosts.events), dict(table))
    assert table["succeeded"] == table["equal bit for bit"] == RUNS
    assert table["served by both"] == RUNS
    assert table["ended twice"] == table["unknown entries"] == 0


def start_services(hosts: Hosts, shared: dict[str, str]) -> list[str]:
    """Start the scheduler, two services and two workers; return the services' addresses."""
    scheduler = f"tcp://{hosts.address('api1')}:8786"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = ["--host", hosts.address("api1"), "--port", "8786"]
    quiet = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    hosts.start("scheduler", "api1", [*dask, *options, *quiet])
    addresses = []
    for number, host in enumerate(("api1", "api2"), 1):
        DataFolder.create(hosts.folder(host) / "data")
        command = [sys.executable, "-m", "service.cli", "serve", "--data", "data"]
        command += ["--host", hosts.address(host), "--port", "8000", "--scheduler", scheduler]
        hosts.start(f"service{number}", host, command, PEAR_REQUIRE_KEYS="false", **shared)
        addresses.append(f"http://{hosts.address(host)}:8000")
    for number, host in enumerate(("work1", "work2"), 1):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", scheduler]
        command += ["--nthreads", "1", "--host", hosts.address(host), "--no-dashboard"]
        command += ["--death-timeout", "60", "--local-directory", str(hosts.folder(host))]
        own = str(hosts.folder(host) / "data")
        hosts.start(f"worker{number}", host, command, PEAR_WORKER_DATA=own, **shared)
    for address in addresses:
        wait_until(lambda address=address: answers(f"{address}/readyz"), 180)  # type: ignore[misc]
        wait_until(
            lambda address=address: answers(f"{address}/v1/stores/analysis/demo"),  # type: ignore[misc]
            60,
        )
    return addresses


def submit_all(addresses: list[str]) -> list[str]:
    """Submit every run to both services, which must take it for the same."""
    ids = []
    for day in range(RUNS):
        body = {"init_time": to_iso(START + day * DAY), "lead_hours": LEAD_HOURS}
        found = set()
        for address in addresses:
            answer = httpx.post(f"{address}/v1/forecasts", json=body, timeout=60)
            assert answer.status_code in (200, 202), answer.text
            found.add(answer.json()["id"])
        assert len(found) == 1
        ids += found
    return ids


def disturb(hosts: Hosts, generator: random.Random) -> None:
    """Kill a process, or take a host from the network for up to 15 s."""
    kind = generator.choice(["worker1", "worker2", "service1", "service2", "scheduler", "cut"])
    if kind == "cut":
        hosts.cut(generator.choice(HOSTS), generator.uniform(3, 15))
    else:
        hosts.kill(kind)
    hosts.restart_dead()


def wait_for_end(catalog: Catalog, hosts: Hosts, ids: list[str]) -> list[Run]:
    def ended() -> bool:
        hosts.restart_dead()
        return not any(catalog.runs.get(each).status.is_active for each in ids)

    wait_until(ended, WAIT_SECONDS, pause=2.0)
    return [catalog.runs.get(each) for each in ids]


def judge(
    catalog: Catalog,
    runs: list[Run],
    addresses: list[str],
    reference: dict[str, dict[str, np.ndarray]],
    reader: Path,
) -> Counter[str]:
    """Compare what a host without anything and both services read with the reference."""
    found = SharedStores.of(DataFolder.create(reader))
    assert found is not None
    table: Counter[str] = Counter()
    for run in runs:
        table["succeeded"] += run.status is Status.SUCCEEDED
        messages = [event.message for event in catalog.runs.events(run.id)]
        table["ended twice"] += messages.count("succeeded") > 1
        table["computed again after a loss"] += run.attempts > 1
        assert found.ensure("forecasts", run.id)
        values = read_fields(found.data.forecast(run.id))
        wanted = reference[run.id]
        table["equal bit for bit"] += values.keys() == wanted.keys() and all(
            np.array_equal(values[name], wanted[name]) for name in wanted
        )
        where = {"latitude": 10, "longitude": 20, "variables": "t2m"}
        path = f"/v1/forecasts/{run.id}/point"
        series = [
            httpx.get(address + path, params=where, timeout=60).json()["points"][0]["series"]
            for address in addresses
        ]
        table["served by both"] += series[0] == series[1]
    table["unknown entries"] = len(set(found.names("forecasts")) - {run.id for run in runs})
    return table


def wait_for_bucket(name: str) -> None:
    def made() -> bool:
        try:
            fsspec.filesystem("s3").mkdir(name)
        except OSError:
            return False
        return True

    wait_until(made, 60)


def wait_for_catalog(url: str) -> str:
    def opened() -> bool:
        try:
            Catalog(url).close()
        except Exception:  # not up yet: each driver says it in its own way
            return False
        return True

    wait_until(opened, 60)
    return url


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until(holds: object, seconds: float, pause: float = 0.5) -> None:
    """Wait until a function returns True; fail after some time."""
    assert callable(holds)
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"still not after {seconds} s"
        time.sleep(pause)
