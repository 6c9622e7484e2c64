"""The client against a live service: what it opens is what a local forecast is."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import _get_loop

import pear
from pear.client import (
    RefusedError,
    RunFailedError,
    UnavailableError,
    connect,
    connect_async,
    transport,
)
from pear.client.aio import AsyncClient
from pear.client.client import Client
from pear.client.records import Run
from pear.client.settings import EvaluationSettings, ForecastSettings
from pear.client.store import ServedStore, _let_reads_end
from pear.client.transport import Transport
from pear.errors import InputError
from service.api.evaluations import EvaluationRequest
from service.api.schemas import ForecastRequest
from tests.fixtures.service import INIT, SHA
from tests.pear.client.conftest import Service

MODEL = SHA[:12]


@pytest.fixture
def aio(service: Service) -> Any:
    """Run one call of the asynchronous client."""

    def call(ask: Any) -> Any:
        async def whole() -> Any:
            async with connect_async(service.url, service.key) as client:
                return await ask(client)

        return asyncio.run(whole())

    return call


@pytest.fixture(autouse=True)
def quiet(service: Service) -> Iterator[None]:
    service.busy.seen.clear()
    yield
    service.busy.answers.clear()


def test_an_opened_run_is_the_local_forecast(service: Service, client: Client, aio: Any) -> None:
    run = client.run("latest")
    local = pear.open_forecast(service.store(run.id))
    for remote in (client.open(run), aio(_open_and_load)):
        xr.testing.assert_identical(remote.load(), local.load())
        assert remote.pear.layout == local.pear.layout
        xr.testing.assert_identical(
            remote.pear.sel_point(59.3, 18.1), local.pear.sel_point(59.3, 18.1)
        )
    spread = client.open(run.id, statistic="spread")
    xr.testing.assert_identical(spread, pear.open_forecast(service.store(f"{run.id}.spread")))
    again = pickle.loads(pickle.dumps(client.open(run)))  # noqa: S301
    xr.testing.assert_identical(again, local)


async def _open_and_load(client: Any) -> Any:
    dataset = await client.open()
    return await dataset.load_async()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, o: c.point("latest", 59.3, 18.1, "t2m", **o), "metod.*did you mean method"),
        (lambda c, o: c.map("latest", "z500", "1d", **o), "lead_time.*did you mean lead"),
        (lambda c, o: c.scores(**o), "metrics.*did you mean metric"),
        (lambda c, o: c.forecast("2001-03-01", **o), "member.*did you mean members"),
        (lambda c, o: c.evaluate(**o), "climatologies.*did you mean climatology"),
    ],
)
def test_misspelt_options_are_refused(client: Client, aio: Any, call: Any, message: str) -> None:
    option = {message.partition(".")[0]: "6h"}
    for run in (lambda work: work(client), aio):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{message}"):
            run(lambda each: call(each, option))


def test_every_method_refuses_unknown_options(client: Client, aio: Any) -> None:
    methods = [name for name, _ in inspect.getmembers(Client, callable) if name[0] != "_"]
    assert {"runs", "open", "point", "map", "forecast"} <= set(methods)
    for name in methods:
        parameters = inspect.signature(getattr(Client, name)).parameters.values()
        given = ["2001-03-01" for one in parameters if one.default is one.empty and one.kind == 1]
        for run in (lambda work: work(client), aio):
            with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
                run(lambda each: getattr(each, name)(*given[1:], nonsense=1))  # noqa: B023


METHODS = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if name[0] != "_"]


@pytest.mark.parametrize("name", METHODS)
def test_the_asynchronous_client_is_documented_by_the_other_one(name: str) -> None:
    """Its docstrings repeat those of one line, and otherwise refer to the other client."""
    method, other = getattr(Client, name), getattr(AsyncClient, name)
    assert inspect.signature(other).parameters == inspect.signature(method).parameters
    owner, told = str(inspect.getdoc(method)), str(inspect.getdoc(other))
    if told == owner:
        return
    summary, _, rest = told.partition(f"; see :meth:`Client.{name}`.")
    assert owner.startswith(summary), (told, owner)
    assert owner[len(summary)] in ".,; "
    if "Parameters\n" in rest:
        named = re.search(r"-{3,}\n(.*)\n    As in :meth:`Client\.(\w+)`\.", rest)
        assert named is not None, rest
        parameters = list(inspect.signature(method).parameters.values())[1:]
        stars = {inspect.Parameter.VAR_KEYWORD: "**"}
        assert set(named[1].split(", ")) == {f"{stars.get(p.kind, '')}{p.name}" for p in parameters}
        assert named[2] == name


def test_points_are_those_of_the_local_forecast(service: Service, client: Client, aio: Any) -> None:
    local = pear.open_forecast(service.store(client.run().id))
    for method in ("nearest", "bilinear"):
        expected = local.pear.sel_point(59.3, 18.1, method=method)
        names = ["t2m", "u10", "v10", "t500", "z850", "u850", "v850"]
        found = client.point("latest", 59.3, 18.1, names, method=method)
        wanted = expected[list(found.data_vars)].sel(level=[500, 850])
        for name in found.data_vars:
            assert found[name].dims == wanted[name].dims
            assert found[name].attrs == wanted[name].attrs
            np.testing.assert_allclose(found[name], wanted[name], rtol=2e-6, atol=1e-5)
        for name in ("time", "prediction_timedelta", "valid_time", "level", "latitude"):
            xr.testing.assert_identical(found[name].variable, wanted[name].variable)
    everywhere = client.point("latest", 59.3, 18.1, ["t", "t2m"])
    assert everywhere.sizes["level"] == local.sizes["level"]
    several = aio(lambda each: each.point("latest", [59.3, -33.9], [18.1, 151.2], "t2m"))
    assert several["2m_temperature"].dims == ("time", "prediction_timedelta", "point")
    one = client.point("latest", -33.9, 151.2, "t2m")["2m_temperature"]
    np.testing.assert_array_equal(several["2m_temperature"].isel(point=1), one)
    speed = client.point("latest", 59.3, 18.1, "10m_wind_speed")["10m_wind_speed"]
    derived = np.hypot(found["10m_u_component_of_wind"], found["10m_v_component_of_wind"])
    assert (speed.units, speed.dims) == ("m s-1", ("time", "prediction_timedelta"))
    assert float(abs(speed.max() - derived.max())) < 5


def test_lists_and_their_filters(client: Client, aio: Any) -> None:
    runs = client.runs(status="succeeded")
    assert [run.init for run in runs] == [INIT, INIT - np.timedelta64(1, "D")]
    assert [run.id for run in client.runs(init=INIT, model=MODEL)] == [runs[0].id]
    with pytest.raises(RefusedError, match="no model '000000000000' in the catalog; known: "):
        client.runs(model="000000000000")
    assert client.runs(status="succeeded", limit=1) == runs[:1]
    assert aio(lambda each: each.runs(status="succeeded")) == runs
    assert (runs[0].lead, runs[0].is_active) == (np.timedelta64(240, "h"), False)
    (model,) = client.models()
    assert (model.id, model.step) == (MODEL, np.timedelta64(24, "h"))
    assert model.variables["2m_temperature"] == ()
    (analysis,) = client.analyses()
    assert (analysis.name, analysis.times.size) == ("made-up", 4)
    assert analysis.complete.all()
    assert aio(lambda each: each.analyses())[0].times[0] == INIT


def test_an_opened_analysis_is_the_local_one(service: Service, client: Client, aio: Any) -> None:
    local = pear.open_analysis(service.folder.analysis("made-up"))
    remote = client.open_analysis("made-up")
    at = {"time": slice(0, 2)}
    xr.testing.assert_identical(
        remote[["2m_temperature"]].isel(at), local[["2m_temperature"]].isel(at)
    )
    assert aio(lambda each: each.open_analysis("made-up")).sizes == local.sizes
    assert remote.pear.layout == local.pear.layout
    with pytest.raises(RefusedError, match="known: made-up"):
        client.open_analysis("nothing")


def test_maps_and_scores(client: Client, aio: Any) -> None:
    picture = client.map("latest", "z500", "5d", projection="plate_carree", width=300)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert picture == aio(
        lambda each: each.map("latest", "z500", "5d", projection="plate_carree", width=300)
    )
    assert picture._repr_png_() == bytes(picture)
    scores = client.scores(metric="acc")
    expected = ("metric", "forecaster", "region", "prediction_timedelta", "level")
    assert scores["geopotential"].dims == expected
    at = {"metric": "acc", "forecaster": "pear", "region": "global", "level": 500}
    series = scores["geopotential"].sel(at)
    np.testing.assert_allclose(series, 0.97 ** np.arange(1, 11))
    assert series["prediction_timedelta"][2] == np.timedelta64(3, "D")
    xr.testing.assert_identical(aio(lambda each: each.scores(metric="acc")), scores)
    for ask in (client.scores, lambda **o: aio(lambda each: each.scores(**o))):
        with pytest.raises(RefusedError, match="scores by hour are of one variable"):
            ask(by_hour=True)
    with pytest.raises(RefusedError, match="no scores of evaluation") as caught:
        client.scores(evaluation="evaluation-000000000000")
    assert caught.value.status == 404


def test_an_existing_run_is_returned_at_once(service: Service, client: Client) -> None:
    run = client.forecast(INIT, lead="10d", progress=lambda *_: None)
    assert run.id == client.run().id
    sent = [headers for method, _, headers in service.busy.seen if method == "POST"]
    assert len(sent[0]["idempotency-key"]) == 32


def worker(service: Service, run: str, end: str) -> threading.Thread:
    """Claim a run and bring it to an end, as a worker process would."""

    def work() -> None:
        asked, runs = ("GET", f"/v1/forecasts/{run}"), service.catalog.runs
        until = time.monotonic() + 60
        while time.monotonic() < until and asked not in [each[:2] for each in service.busy.seen]:
            time.sleep(0.01)
        runs.claim(run, "worker")
        total = runs.get(run).progress.total
        runs.set_progress(run, total - 1, total, owner="worker")
        if end == "failed":
            runs.fail(run, "the disk is full; free some space", owner="worker")
        else:
            runs.succeed(run, owner="worker")

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("wait", [-1, 0.0, float("nan"), float("inf")])
def test_a_run_is_not_submitted_with_a_wrong_wait(client: Client, wait: float) -> None:
    before = client.runs()
    with pytest.raises(InputError, match="not a number of seconds above 0"):
        client.forecast("2001-02-02", lead="5d", wait=wait)
    assert client.runs() == before


def test_the_end_of_a_run_is_waited_for(service: Service, client: Client, aio: Any) -> None:
    queued = client.forecast("2001-02-02", lead="5d", wait=False)
    assert (queued.status, queued.progress.total) == ("queued", 5)
    with pytest.raises(
        TimeoutError, match=f"{queued.id} is queued after 0.1 s.*goes on: .*client.run"
    ):
        client.forecast("2001-02-02", lead="5d", wait=0.1)
    thread, steps = worker(service, queued.id, "succeeded"), []

    def tick(advance: float = 1, note: str = "") -> None:
        steps.append((advance, note.split()[-1]))

    run = aio(lambda each: each.forecast("2001-02-02", lead="5d", progress=tick))
    thread.join()
    assert run.has_succeeded
    assert sum(advance for advance, _ in steps) == 5
    assert steps[-1][1] == "succeeded", steps


def test_a_failed_run_is_an_error_with_the_reason(service: Service, client: Client) -> None:
    queued = client.forecast("2001-02-03", lead="2d", wait=False)
    thread = worker(service, queued.id, "failed")
    with pytest.raises(RunFailedError, match=r"failed: the disk is full; free some space"):
        client.forecast("2001-02-03", lead="2d")
    thread.join()
    assert client.run(queued.id).status == "failed"
    assert [row["level"] for row in client.log(queued.id)]


@pytest.mark.parametrize("cancel", [False, True])
def test_an_interrupt_cancels_only_if_asked(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch, *, cancel: bool
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(transport, "time", SimpleNamespace(sleep=interrupt))
    with pytest.raises(KeyboardInterrupt) as caught:
        client.forecast("2001-02-04", lead=f"{2 + cancel}d", cancel_on_interrupt=cancel)
    (note,) = caught.value.__notes__
    run = client.run(note.split()[1])
    assert run.status == ("cancelled" if cancel else "queued")
    assert ("was cancelled" in note) == cancel


def test_a_cancelled_task_cancels_its_run(service: Service, client: Client) -> None:
    def of_a_week() -> list[Run]:
        found = client.runs(init="2001-02-04")
        return [run for run in found if run.lead == np.timedelta64(7, "D")]

    async def give_up() -> None:
        async with connect_async(service.url, service.key) as each:
            forecast = each.forecast("2001-02-04", lead="7d", cancel_on_interrupt=True)
            task = asyncio.create_task(forecast)
            while not await asyncio.to_thread(of_a_week):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(give_up())
    assert client.runs(init="2001-02-04", status="cancelled")[0].lead == np.timedelta64(168, "h")


def test_a_service_that_goes_down_while_it_is_waited_for(
    service: Service, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go_down(_: float) -> None:
        raise UnavailableError("down")

    monkeypatch.setattr(transport, "time", SimpleNamespace(sleep=go_down))
    with pytest.raises(UnavailableError) as caught:
        client.forecast("2001-02-05", lead="2d")
    (note,) = caught.value.__notes__
    assert client.run(note.split()[1]).status == "queued"
    assert f"client.run('{note.split()[1]}') shows it" in note


def test_a_store_that_cannot_be_read_any_more_is_one_error(service: Service) -> None:
    """Parts that are still on their way when the first one fails print nothing at the end."""
    script = f"""
import time
import pear
from pear.client.errors import UnavailableError
from pear.client.store import ServedStore

def fail(self, key, part):
    if key != "zarr.json":
        time.sleep(1)
    raise UnavailableError("down")

client = pear.connect({service.url!r}, {service.key!r})
ServedStore._read = fail
try:
    client.open()
except UnavailableError as error:
    print(error)
"""
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (found.stdout.strip(), found.stderr) == ("down", "")


def test_reads_end_before_the_process_does(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop of Zarr stops then, and would leave an error that nobody asked for."""
    started = threading.Event()

    def fail(self: ServedStore, key: str, part: object) -> None:
        del self, key, part
        started.set()
        time.sleep(0.2)
        raise UnavailableError("down")

    monkeypatch.setattr(ServedStore, "_read", fail)
    served = ServedStore(client._transport, "/v1/nothing", {})
    read = served.get("c/0", default_buffer_prototype())
    found = asyncio.run_coroutine_threadsafe(read, _get_loop())
    assert started.wait(10)
    assert not found.done()
    _let_reads_end()
    with pytest.raises(UnavailableError, match="down"):
        found.result(timeout=0)


def test_an_evaluation_is_submitted(client: Client, service: Service) -> None:
    with pytest.raises(TimeoutError):
        client.evaluate([INIT], lead="2d", wait=0.01)
    body = [path for method, path, _ in service.busy.seen if method == "POST"]
    assert body == ["/v1/evaluations"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.forecast("2001-03-01", lead="25h"), "25 h is not a multiple"),
        (lambda c: c.forecast("2001-03-01", thresholds=["t2m>303"]), "set members as well"),
        (lambda c: c.forecast("2001-03-01", lead="9999d"), "lead_hours must be 8784 or less"),
        (lambda c: c.run("nothing"), "no run 'nothing'"),
        (lambda c: c.open("latest", statistic="q90"), "has no statistic 'q90'"),
        (lambda c: c.point("latest", 95, 18.1), "latitude must be within"),
        (lambda c: c.point("latest", np.nan, 18.1), "is not a number"),
        (lambda c: c.point("latest", 59.3, 18.1, "t2n"), "did you mean"),
        (lambda c: c.map("latest", "z500", "11d"), "lead time 264 h"),
        (lambda c: c.run("../secret"), "nothing at"),
        (lambda c: c.runs(limit=0), "not positive"),
        (lambda c: c.forecast("tomorrow"), "invalid time"),
        (lambda c: c.forecast("2001-03-01", seed=object()), "cannot be sent"),
    ],
)
def test_what_is_refused_is_an_input_error(client: Client, call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(client)


def test_a_refusal_keeps_the_problem(client: Client) -> None:
    with pytest.raises(RefusedError) as caught:
        client.point("latest", 59.3, 18.1, "t3m")
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (error.status, error.field, error.hint) == (422, "variables", "did you mean t2m?")
    assert error.request_id


def test_a_busy_service_is_waited_for(service: Service, client: Client, aio: Any) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
    busy: list[tuple[int, dict[str, str], bytes]] = [
        (429, {"retry-after": "0"}, b"{}"),
        (503, {"retry-after": soon}, b"busy"),
    ]
    for ask in (client.run, lambda: aio(lambda each: each.run())):
        service.busy.answers += busy
        assert ask().has_succeeded
        assert not service.busy.answers
    service.busy.answers += [(429, {"retry-after": "3600"}, b'{"detail": "too many"}')]
    with pytest.raises(RefusedError, match="too many; the service asks to try again in 3600 s"):
        client.run()
    hasty = connect(service.url, service.key, patience=0)
    service.busy.answers += [(503, {}, b"")]
    with pytest.raises(UnavailableError, match="503 Service Unavailable"):
        hasty.run()
    hasty.close()


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((500, {}, b"<html>"), UnavailableError, "answers 500 Internal Server Error"),
        ((200, {"content-type": "text/html"}, b"<html>"), UnavailableError, "not JSON"),
        ((200, {}, b'{"id": 3}'), UnavailableError, "something else than PEAR"),
        ((200, {}, b"[]"), UnavailableError, "something else than PEAR"),
        (
            (307, {"location": "https://b/?key=1"}, b""),
            RefusedError,
            "redirects to https://b/; con",
        ),
        ((404, {}, b"gone"), RefusedError, "answers 404 Not Found"),
        ((299, {}, b"\xff\xfe"), UnavailableError, "not JSON"),
    ],
)
def test_what_a_proxy_may_answer(
    service: Service, client: Client, answer: Any, kind: type[Exception], message: str
) -> None:
    service.busy.answers.append(answer)
    with pytest.raises(kind, match=message):
        client.run()


def test_a_damaged_part_is_refused_by_its_checksum(service: Service, client: Client) -> None:
    dataset = client.open(chunks=None)
    service.busy.answers.append((200, {}, b"\x00" * 400))
    with pytest.raises(Exception, match=r"(?i)checksum|crc|size|codec|bytes"):
        dataset["2m_temperature"].isel(prediction_timedelta=0).load()


def test_keys_are_asked_for_and_never_shown(service: Service) -> None:
    with pytest.raises(RefusedError, match=r"give a key to pear\.connect by key=") as caught:
        connect(service.url, "wrong-key").runs()
    assert caught.value.status == 401
    key = service.key
    client = connect(service.url, key)
    service.busy.answers += [(400, {}, f'{{"detail": "bad {key}"}}'.encode())]
    with pytest.raises(RefusedError) as echoed:
        client.run()
    texts = [repr(client), str(echoed.value), repr(client._transport), repr(client.open())]
    texts += [repr(client._transport._http.headers), repr(vars(client))]
    assert not [text for text in texts if key in text]
    client.close()
    with pytest.raises(InputError, match="is closed"):
        client.run()
    for bad in ("", "a b", "a\nX-Evil: 1", "schlüssel"):
        with pytest.raises(InputError) as refused:
            connect(service.url, bad)
        assert not bad or bad not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000", "not the address of a service"),
        ("ftp://host", "not the address of a service"),
        ("http://", "not the address of a service"),
        ("http://host:99999", "not the address of a service"),
        ("http://host/?apikey=word", "not the address of a service"),
        ("http://me:word@host", "holds a user name"),
    ],
)
def test_addresses_that_are_none(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        connect(url)
    assert "word" not in str(caught.value)
    with pytest.raises(InputError, match=message):
        connect_async(url)


@pytest.mark.parametrize("end", ["/", "/v1", "/v1/", "//"])
def test_an_address_may_end_as_that_of_the_interface(service: Service, end: str) -> None:
    with connect(service.url + end, service.key) as client:
        assert client.runs()


def test_other_services_and_newer_versions_are_refused(service: Service) -> None:
    for document, kind, message in (
        (b'{"name": "PEAR", "version": "7.0"}', InputError, "runs PEAR 7.0, which this"),
        (b'{"name": "PEAR", "version": "?"}', InputError, "does not know"),
        (b'{"name": "APPLE", "version": "1.0"}', UnavailableError, "not a service of PEAR"),
        (b'"PEAR"', UnavailableError, "something else"),
    ):
        for _ in range(2):
            service.busy.answers.append((200, {}, document))
        with pytest.raises(kind, match=message):
            connect(service.url)

        async def ask() -> None:
            await connect_async(service.url)

        with pytest.raises(kind, match=message):
            asyncio.run(ask())


def test_nobody_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "time", SimpleNamespace(sleep=lambda _: None))
    with pytest.raises(UnavailableError, match=r"http://127.0.0.1:9 does not respond"):
        connect("http://127.0.0.1:9")


def test_the_settings_are_those_of_the_service() -> None:
    taken = {"init_time", "lead_hours", "members"}
    assert set(ForecastSettings.__annotations__) == set(ForecastRequest.model_fields) - taken
    taken = {"init_times", "lead_hours"}
    assert set(EvaluationSettings.__annotations__) == set(EvaluationRequest.model_fields) - taken


def test_the_client_needs_neither_torch_nor_the_service() -> None:
    code = "import pear, sys; assert 'httpx' not in sys.modules; pear.connect; "
    code += "print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pipelines", "service", "fastapi", "aiohttp"} & set(done.stdout.split())


def test_a_transport_may_be_sent_to_another_process(service: Service, client: Client) -> None:
    sent = pickle.loads(pickle.dumps(client._transport))  # noqa: S301
    assert isinstance(sent, Transport)
    assert sent.server == client._transport.server
    sent.close()
