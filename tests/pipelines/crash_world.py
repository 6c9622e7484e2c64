"""A small ingestion that is killed, or fails, at every file operation or at random instants.

Run as a program: libraries are imported once and each attempt is a fork. It prints one JSON
document; the tests read it. By hand::

    python crash_world.py FOLDER kill|full STRIDE          at every STRIDE-th file operation
    python crash_world.py FOLDER random KILLS SEED [FILE]  kill -9 at random instants
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pipelines.ingest import Settings, ingest
from pipelines.store import open_store

NSIDE, TIMES = 2, 6
T0 = np.datetime64("2001-01-01T00", "s")
REAL: list[str] = []  # a file to ingest instead of the made one
EVENTS = ("open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")


def dataset(times: int = TIMES) -> xr.Dataset:
    lat, lon = np.linspace(90, -90, 19), np.arange(36) * 10.0
    rng = np.random.default_rng(7)
    wave = rng.normal(size=(times, 2, 19, 36)).astype("f4")
    axes = ("time", "level", "latitude", "longitude")
    return xr.Dataset(
        {"t": (axes, 250 + wave, {"units": "K"}), "u": (axes, wave, {"units": "m s-1"})},
        {
            "time": T0 + np.arange(times) * np.timedelta64(6, "h"),
            "level": ("level", [500, 850], {"units": "hPa"}),
            "latitude": lat,
            "longitude": lon,
        },
    )


def work(store: Path, times: int = TIMES) -> None:
    if REAL:
        ingest([REAL[0]], store, 32, settings=Settings(shard_times=2, reserve_bytes=0))
        return
    settings = Settings(shard_times=4, reserve_bytes=0)
    for end in range(2, times + 1, 2):  # commits within a shard and over its end
        ingest([dataset().isel(time=slice(0, end))], store, NSIDE, settings=settings)


def in_child(action: Callable[[], None]) -> int:
    """Run in a fork; returns its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except OSError as error:
            os._exit(3 if error.errno == errno.ENOSPC else 1)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def fail_at(store: Path, count: int, kind: str, report: Path | None = None) -> Callable[[], None]:
    """Work, with the ``count``-th file operation below the folder killed or failing."""

    def action() -> None:
        seen = 0
        root = str(store.parent)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event not in EVENTS or not any(
                isinstance(a, str | os.PathLike) and os.fspath(a).startswith(root)
                for a in arguments
            ):
                return
            if event == "open" and not (int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
                return
            seen += 1
            if seen == count:
                if kind == "kill":
                    os._exit(137)
                raise OSError(errno.ENOSPC, "no space left on device (injected)")

        sys.addaudithook(hook)
        work(store)
        if report is not None:
            report.write_text(str(seen))

    return action


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def whole(store: Path, truth: xr.Dataset) -> int:
    """Check every time that a reader sees against the truth; returns their number."""
    if not store.exists():
        return 0
    data = open_store(store).load()
    n = data.sizes["time"]
    if not (data["complete"] == 1).all():
        raise AssertionError("an incomplete time is seen")
    for name in truth.data_vars:
        if not np.array_equal(data[name], truth[name][:n]):
            raise AssertionError(f"{name} differs")
    return n


def every_point(folder: Path, kind: str, stride: int) -> dict[str, int]:
    """Fail at each ``stride``-th operation; then read, work again, compare bit for bit."""
    reference = folder / "reference" / "s.zarr"
    reference.parent.mkdir(parents=True)
    in_child(lambda: work(reference))
    counter = folder / "count"
    in_child(fail_at(folder / "counting" / "s.zarr", -1, kind, counter))
    operations = int(counter.read_text())
    bad, unequal, clear = 0, 0, 0
    points = range(1, operations + 1, stride)
    for point in points:
        store = folder / f"p{point}" / "s.zarr"
        ended = os.waitstatus_to_exitcode(in_child(fail_at(store, point, kind)))
        # A full disk may also strike where nothing is lost: a file that is swept away later.
        clear += ended == 137 if kind == "kill" else ended in (0, 3)
        bad += in_child(partial(check, store, reference)) != 0
        unequal += in_child(partial(again, store, reference)) != 0
        shutil.rmtree(store.parent)
    return {
        "operations": operations,
        "points": len(points),
        "as_expected": clear,
        "inconsistent": bad,
        "not_resumed": unequal,
    }


def check(store: Path, reference: Path) -> None:
    whole(store, open_store(reference).load())


def again(store: Path, reference: Path) -> None:
    work(store)
    if contents(store) != contents(reference):
        raise AssertionError("the store differs from an unbroken one")
    left = [p.name for p in store.parent.iterdir() if p.name != store.name]
    if left:
        raise AssertionError(f"left behind: {left}")


def random_kills(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill at random instants while a reader looks on all the time."""
    reference = folder / "reference" / "s.zarr"
    reference.parent.mkdir(parents=True)
    began = time.perf_counter()
    in_child(lambda: work(reference))
    full = time.perf_counter() - began
    total = open_store(reference).sizes["time"]
    store, reads = folder / "live" / "s.zarr", folder / "reads"
    store.parent.mkdir()
    chance = random.Random(seed)
    reader = os.fork()
    if reader == 0:
        look_on(store, reference, reads)
    done = rounds = lost = unequal = 0
    acknowledged = 0
    while done < kills:
        pid = os.fork()
        if pid == 0:
            work(store)
            os._exit(0)
        time.sleep(chance.uniform(0, 2 * full))
        os.kill(pid, signal.SIGKILL)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        done += ended == -signal.SIGKILL
        count = seen(store)
        lost += count < acknowledged
        acknowledged = count
        if ended == 0 or count == total:
            unequal += in_child(lambda: again(store, reference)) != 0
            aside = store.parent / f"done-{rounds}"
            store.rename(aside)
            shutil.rmtree(aside)
            acknowledged, rounds = 0, rounds + 1
    os.kill(reader, signal.SIGTERM)
    os.waitpid(reader, 0)
    good, wrong = (int(n) for n in reads.read_text().split())
    return {
        "kills": done,
        "rounds": rounds,
        "lost": lost,
        "not_equal": unequal,
        "reads": good,
        "inconsistent_reads": wrong,
    }


def seen(store: Path) -> int:
    out = store.parent.parent / "seen"
    out.unlink(missing_ok=True)
    if not store.exists():
        return 0

    def count() -> None:
        out.write_text(str(open_store(store).sizes["time"]))

    in_child(count)
    return int(out.read_text()) if out.exists() else 0


def look_on(store: Path, reference: Path, reads: Path) -> None:
    truth = open_store(reference).load()
    good = wrong = 0

    def end(*_: object) -> None:
        reads.write_text(f"{good} {wrong}")
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        if not store.exists():
            time.sleep(0.002)
            continue
        try:
            which = store.stat().st_ino
            whole(store, truth)
            good += 1
        except Exception:
            # A finished store is put aside now and then; that is no fault of the writer's.
            wrong += store.exists() and store.stat().st_ino == which
        time.sleep(0.05)


def main() -> None:
    folder, what, *rest = sys.argv[1:]
    if what == "random":
        REAL.extend(rest[2:])
        result = random_kills(Path(folder), int(rest[0]), int(rest[1]))
    else:
        result = every_point(Path(folder), what, int(rest[0]))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
