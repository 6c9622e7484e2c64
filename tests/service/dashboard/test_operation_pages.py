"""Runs, schedules and the operator's page in a real browser, for each role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pipelines.catalog import Catalog, Status
from pipelines.storage.data_folder import DataFolder
from service.app import create_app
from service.http.keys import KeyFile
from service.http.permissions import SCOPES
from service.settings import Settings
from tests.fixtures.browser import CHROMIUM, FLAGS, Watched, until
from tests.fixtures.service import StubEngine, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
]
NOW = "2001-03-01T00:00:00Z"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def failed(client: httpx.Client, catalog: Catalog) -> str:
    """A run that has failed for want of room."""
    body = {"init_time": "2004-07-01T00:00:00Z", "lead_hours": 24, "members": 4}
    run = client.post("/v1/forecasts", json=body).json()
    if run["status"] == "queued":
        catalog.runs.claim(run["id"], "test")
        catalog.runs.fail(run["id"], "OSError: No space left on device", kind="OSError")
    return str(run["id"])


def test_runs_are_filtered_retried_and_deleted(
    browser: Browser, url: str, client: httpx.Client, failed: str
) -> None:
    watched = Watched(browser, url)
    page = watched.open("/forecasts")
    page.select_option("select[name=status]", "failed")
    page.fill("input[name=init_from]", "2004-07-01")
    page.click("#filter-form button")
    page.wait_for_selector("body[data-ready=yes]")
    assert page.locator("tbody tr").count() == 1
    row = page.locator(f"tr[data-run='{failed}']")
    text = row.inner_text()
    assert "members 4" in text
    assert "No space left" in text
    assert "make room" in text
    row.locator("button.retry").click()
    until(page, "document.getElementById('message').textContent === 'Queued again.'")
    until(page, "document.querySelectorAll('tbody tr').length === 0")
    assert client.get(f"/v1/forecasts/{failed}").json()["status"] == "queued"

    # A list that is open follows what happens elsewhere.
    page.goto(f"{url}/forecasts?status=cancelled&init_from=2004-07-01&init_until=2004-07-01")
    page.wait_for_selector("body[data-ready=yes]")
    page.wait_for_timeout(700)  # the feed begins at its first look at the log
    client.post(f"/v1/forecasts/{failed}/cancel")
    until(page, "document.querySelectorAll('tbody tr').length === 1")

    row.locator("button.delete").click()
    assert failed in page.locator("dialog").inner_text()
    assert page.evaluate("document.activeElement.value") == "no"
    page.keyboard.press("Escape")
    until(page, "document.querySelector('dialog') === null")
    assert client.get(f"/v1/forecasts/{failed}").json()["status"] == "cancelled"
    row.locator("button.delete").click()
    page.click("dialog button.danger")
    until(page, "document.getElementById('message').textContent === 'Deleted.'")
    assert client.get(f"/v1/forecasts/{failed}").json()["status"] == "expired"
    watched.close("runs")


def test_the_log_of_a_run_is_live(
    browser: Browser, url: str, client: httpx.Client, catalog: Catalog, failed: str
) -> None:
    client.post(f"/v1/forecasts/{failed}/retry")
    watched = Watched(browser, url)
    page = watched.open(f"/forecasts/{failed}")
    assert "Remedy" not in str(page.text_content("main"))
    catalog.runs.claim(failed, "test")
    catalog.runs.log(failed, "a line that came later", level="warning")
    until(page, "document.getElementById('log').textContent.includes('a line that came later')")
    catalog.runs.fail(failed, "MemoryError", kind="MemoryError")
    until(page, "document.querySelector('.remedy')?.textContent.includes('memory')")
    watched.close("log")


def test_a_schedule_is_made_changed_and_deleted(
    browser: Browser, url: str, client: httpx.Client, catalog: Catalog
) -> None:
    watched = Watched(browser, url)
    page = watched.open("/schedules")
    until(page, "document.querySelectorAll('#s-fires li').length === 5")
    page.fill("#s-cron", "61 * * * *")
    until(page, "document.getElementById('s-fires').classList.contains('bad')")
    watched.faults.clear()  # the browser reports the status
    page.select_option("#s-preset", "0 */6 * * *")
    until(page, "document.querySelector('#s-fires b')?.textContent.includes('sixth hour')")
    page.fill("#s-name", "made-here")
    page.check("#s-expire")
    page.fill("#s-expire-days", "7")
    page.fill("#s-forecast-members", "8")
    page.check("#s-publish")
    page.fill("#s-publish-to", "nowhere")
    page.click("#schedule-form button[type=submit]")
    page.wait_for_selector("label:has(#s-publish-to) #s-publish-to-fault")
    assert "no destination has this name" in page.inner_text("#s-publish-to-fault")
    assert page.get_attribute("#s-publish-to", "aria-invalid") == "true"
    assert page.get_attribute("#s-publish-to", "aria-describedby") == "s-publish-to-fault"
    assert page.inner_text("#message") == "Not saved: see the marked fields."
    watched.faults.clear()
    page.fill("#s-publish-to", "")
    assert page.query_selector(".fault") is None
    page.uncheck("#s-publish")
    page.click("#schedule-form button[type=submit]")
    page.wait_for_selector("tr[data-name=made-here]")
    made = client.get("/v1/schedules/made-here").json()
    assert made["cron"] == "0 */6 * * *"
    assert (
        made["action"]["forecast"]["options"]
        == {"members": 8} | made["action"]["forecast"]["options"]
    )
    assert made["action"]["expire"]["keep_days"] == 7
    catalog.schedules.finish_trigger("made-here", Status.FAILED, "no answer")
    page.click("tr[data-name=made-here] .history summary")
    until(page, "document.querySelector('.history ol').textContent.includes('no answer')")
    page.click("tr[data-name=made-here] button.edit")
    assert page.input_value("#s-forecast-members") == "8"
    page.uncheck("#s-expire")
    page.click("#schedule-form button[type=submit]")
    until(page, "!document.querySelector('tr[data-name=made-here]').textContent.includes('expire')")
    changed = client.get("/v1/schedules/made-here").json()["action"]
    assert changed == {"forecast": made["action"]["forecast"]}
    page.click("tr[data-name=made-here] button.delete")
    page.click("dialog button.danger")
    until(page, "document.querySelector('tr[data-name=made-here]') === null")
    assert client.get("/v1/schedules/made-here").status_code == 404
    watched.close("schedule-form")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    return path, {scope: KeyFile(path).add(f"a-{scope}", scope, NOW) for scope in SCOPES}


@pytest.fixture(scope="module")
def guarded(
    data: DataFolder, catalog: Catalog, engine: StubEngine, keys: tuple[Path, dict[str, str]]
) -> Iterator[str]:
    settings = Settings(data=data.root, require_keys=True, keys_file=keys[0])
    with served(create_app(settings, catalog, engine)) as base:
        yield base


def log_in(page: Page, base: str, secret: str) -> None:
    page.goto(f"{base}/login")
    page.fill("input[name=key]", secret)
    page.click("main button")
    page.wait_for_url(f"{base}/")


@pytest.mark.parametrize("scope", SCOPES)
def test_each_role_is_offered_what_it_may(
    browser: Browser, guarded: str, keys: tuple[Path, dict[str, str]], scope: str, failed: str
) -> None:
    watched = Watched(browser, guarded)
    page = watched.page
    log_in(page, guarded, keys[1][scope])
    offered = set()
    for path, elements in {
        "/forecasts": ("#submit-form", "button.retry", "button.delete"),
        "/schedules": ("#schedule-form",),
    }.items():
        watched.open(path)
        offered |= {each for each in elements if page.locator(each).count()}
    offered |= {"operator"} if page.locator("nav a[href='/operator']").count() else set()
    submitter = {"#submit-form", "button.retry"}
    assert (
        offered
        == {
            "read": set(),
            "submit": submitter,
            "admin": submitter | {"button.delete", "#schedule-form", "operator"},
        }[scope]
    )
    if scope == "admin":
        watched.open("/operator")
        page.fill("#key-name", "made-here")
        page.select_option("#key-scope", "submit")
        page.click("#key-form button")
        until(page, "document.getElementById('secret').textContent.startsWith('pear_')")
        assert KeyFile(keys[0]).find(str(page.text_content("#secret"))) is not None
        watched.open("/operator")
        assert "pear_" not in str(page.text_content("main"))
        page.click("tr[data-key=made-here] button.revoke")
        page.click("dialog button.danger")
        until(page, "document.querySelector('tr[data-key=made-here]') === null")
        assert [key.name for key in KeyFile(keys[0]).all()] == [f"a-{each}" for each in SCOPES]
    else:
        assert page.goto(f"{guarded}/operator").status == 403  # type: ignore[union-attr]
        watched.faults.clear()  # the browser reports the status
    watched.close(f"role-{scope}")


def test_a_chosen_language_stays(browser: Browser, url: str, run_id: str) -> None:
    watched = Watched(browser, url, 390, 844)
    page = watched.open("/forecasts")
    with page.expect_navigation():
        page.select_option("#language", "de")
    until(page, "document.querySelector('h1').textContent === 'Eine Vorhersage anfordern'")
    until(
        page,
        r"/^\d\d\.\d\d\.\d{4}, 00:00 UTC$/.test(document.querySelector('td time').textContent)",
    )
    watched.open(f"/?run={run_id}", True)
    assert page.inner_text("#play") == "Abspielen"
    assert page.inner_text("#valid") == "02.03.2001, 00:00 UTC"
    assert "Klimatologie" in page.inner_text("#scores")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    watched.close("german")
