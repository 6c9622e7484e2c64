"""The cache of runs, and ETags."""

from __future__ import annotations

import threading

import httpx
import pytest

from service.http.caching import CacheSection, RunCache, etag_matches, make_etag


def test_the_least_recently_used_value_is_evicted() -> None:
    section: CacheSection[bytes] = CacheSection(10, len)
    section.put("run", "a", b"1234")
    section.put("run", "b", b"1234")
    assert section.get("a") == b"1234"
    section.put("run", "c", b"1234")
    assert section.get("b") is None
    assert (section.get("a"), section.get("c")) == (b"1234", b"1234")
    assert section.size == 8


def test_a_value_larger_than_the_section_is_returned_but_not_kept() -> None:
    section: CacheSection[bytes] = CacheSection(3, len)
    assert section.put("run", "a", b"1234") == b"1234"
    assert section.get("a") is None


def test_a_value_is_computed_once() -> None:
    section: CacheSection[bytes] = CacheSection(10, len)
    made = [section.get_or_compute("run", "a", lambda: bytes(2)) for _ in range(3)]
    assert made == [bytes(2)] * 3
    assert section.hits == 2


def test_dropping_a_run_reaches_every_section_and_no_other_run() -> None:
    cache = RunCache()
    sections = [cache.add_section(10, len) for _ in range(2)]
    for section in sections:
        section.put("one", ("one", 1), b"x")
        section.put("two", ("two", 1), b"x")
    cache.drop("one")
    for section in sections:
        assert section.get(("one", 1)) is None
        assert section.get(("two", 1)) == b"x"
        assert section.size == 1


def test_threads_never_exceed_the_bound() -> None:
    section: CacheSection[bytes] = CacheSection(50, len)

    def work(run: str) -> None:
        for number in range(500):
            section.get_or_compute(run, (run, number % 9), lambda: bytes(7))
            if number % 100 == 0:
                section.drop(run)
            assert section.size <= 50

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert section.size <= 50


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        (None, False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b"', False),
        ('"b", "a"', True),
        ("*", True),
        ("", False),
    ],
)
def test_if_none_match(header: str | None, matches: bool) -> None:
    assert etag_matches(header, '"a"') is matches


def test_etags_differ_where_the_parts_differ() -> None:
    assert make_etag("a", "b") == make_etag("a", "b")
    assert make_etag("a", "b") != make_etag("ab", "")
    assert make_etag(1, None) != make_etag(1, 0)


@pytest.mark.parametrize("run", ["latest", "id"])
def test_a_date_or_an_etag_tells_that_nothing_has_changed(
    client: httpx.Client, run_id: str, run: str
) -> None:
    name = run_id if run == "id" else run
    url = f"/v1/forecasts/{name}/point?latitude=3&longitude=4&variables=t2m"
    first = client.get(url)
    date, etag = first.headers["last-modified"], first.headers["etag"]
    assert date.endswith(" GMT")
    for headers, status in (
        ({"If-Modified-Since": date}, 304),
        ({"If-Modified-Since": "Mon, 01 Jan 2035 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": date, "If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": "nonsense", "If-None-Match": etag}, 304),
    ):
        assert client.get(url, headers=headers).status_code == status, headers


def test_a_run_links_to_its_store_and_downloads(client: httpx.Client, run_id: str) -> None:
    links = client.get(f"/v1/forecasts/{run_id}").json()["links"]
    assert client.get(f"{links['zarr']}/zarr.json").json()["node_type"] == "group"
    assert links["download"].startswith(f"/v1/forecasts/{run_id}/download{{?")


def test_answers_about_runs_are_not_sent_twice(client: httpx.Client, run_id: str) -> None:
    for path in (f"/v1/forecasts/{run_id}", "/v1/forecasts/latest", "/v1/forecasts", "/v1/stores"):
        whole = client.get(path)
        tag = whole.headers["etag"]
        assert whole.headers["cache-control"] == "no-cache"
        again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert client.get(path, headers={"If-None-Match": '"other"'}).content == whole.content
    date = client.get("/v1/forecasts/latest").headers["last-modified"]
    same = client.get("/v1/forecasts/latest", headers={"If-Modified-Since": date})
    assert same.status_code == 304


def test_another_version_sends_an_answer_anew_but_not_files(
    client: httpx.Client, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The values stay, but their form may be another one after an upgrade."""
    base = f"/v1/forecasts/{run_id}"
    paths = [f"{base}/point?latitude=5&longitude=4&variables=t2m", f"{base}/zarr/zarr.json"]
    tags = [client.get(path).headers["etag"] for path in paths]
    monkeypatch.setattr("service.http.caching.__version__", "99.0")
    line = f"{paths[0]}&format=json"  # not kept in memory, as nothing is after an upgrade
    assert client.get(line, headers={"If-None-Match": tags[0]}).status_code == 200
    assert client.get(line).headers["etag"] != tags[0]
    assert client.get(paths[1], headers={"If-None-Match": tags[1]}).status_code == 304
    monkeypatch.undo()
    assert client.get(f"{paths[0]}&interpolation=nearest").headers["etag"] == tags[0]
