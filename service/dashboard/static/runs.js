// @ts-check
// Pages of runs: submit a run, follow the active ones, cancel, retry and delete them.

import { followRun, json, send, showMessage } from "./api.js";
import { confirmed, refreshPart } from "./confirm.js";
import { formatTime, language, t } from "./words.js";

/** @typedef {{ id: string, status: string, reason: string | null, finished_at?: string | null,
 *   progress: { step: number, total: number, fraction: number, eta_seconds: number | null } }} Run */

const ACTIVE = ["queued", "running"];
const MAX_STREAMS = 3; // browsers allow six connections to a host, and the feed is one
const REFRESH_MS = 400;
const LOG_MS = 1500;
const LIST = "runs-list";
/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));
const listed = document.getElementById(LIST) !== null;

document.getElementById("submit-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const init = /** @type {HTMLSelectElement} */ (document.getElementById("submit-init"));
  await attempt(async () => {
    showMessage(t("Submitting…"));
    const run = await send("POST", "/v1/forecasts", {
      init_time: init.value,
      analysis: init.selectedOptions[0].dataset.analysis,
      lead_hours: Number(input("submit-lead").value),
      model: input("submit-model").value,
      ...ensembleOf(),
    });
    location.assign(`/forecasts/${run.id}`);
  });
});

/** Return the options of an ensemble, those given; the server says what does not fit. */
function ensembleOf() {
  /** @param {string} id */
  const list = (id) => input(id).value.split(",").map((part) => part.trim()).filter(Boolean);
  const [thresholds, quantiles] = [list("submit-thresholds"), list("submit-quantiles")];
  /** @type {Record<string, unknown>} */
  const options = {};
  if (input("submit-members").value) options.members = Number(input("submit-members").value);
  if (thresholds.length) options.thresholds = thresholds;
  if (quantiles.length) options.quantiles = quantiles.map((text) => (Number.isFinite(Number(text)) ? Number(text) : text));
  if (input("submit-keep").checked) options.keep_members = true;
  return options;
}

/** @param {() => Promise<void>} action */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    showMessage(/** @type {Error} */ (error).message, true);
  }
}

// A page kept by the browser is of the time when it was left.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

/** @param {HTMLElement} row @param {Run} run */
function update(row, run) {
  const status = /** @type {HTMLElement} */ (row.querySelector(".status"));
  status.className = `status ${run.status}`;
  status.textContent = t(run.status);
  /** @type {HTMLProgressElement} */ (row.querySelector("progress")).value = run.progress.fraction;
  /** @type {HTMLElement} */ (row.querySelector(".steps")).textContent = `${run.progress.step}/${run.progress.total}`;
  const ended = !ACTIVE.includes(run.status);
  const eta = row.querySelector(".eta");
  const left = ended ? null : run.progress.eta_seconds;
  if (eta) eta.textContent = left === null ? "" : t("about {count} s left", { count: Math.ceil(left) });
  if (!ended) return;
  row.querySelector(".cancel")?.remove();
  const finished = row.querySelector(".finished");
  if (finished && run.finished_at) {
    finished.textContent = language === "en" ? `${run.finished_at.slice(0, 19).replace("T", " ")} UTC` : formatTime(run.finished_at);
  }
  // Reason, log and other actions of an ended run are written by the server.
  if (listed) refresh();
  else location.reload();
}

/** Write the log of a run anew.
 * @param {string} id */
async function showLog(id) {
  const log = document.getElementById("log");
  if (!log) return;
  try {
    log.replaceChildren(...(await json(`/v1/forecasts/${id}/log`)).map(lineOf));
  } catch { /* it is asked for again */ }
}

/** @param {{ at: string, level: string, message: string, details: Record<string, unknown> }} line */
function lineOf(line) {
  const item = document.createElement("li");
  item.className = line.level;
  const at = document.createElement("span");
  at.className = "note";
  at.textContent = `${line.at.slice(0, 19).replace("T", " ")} UTC`;
  item.append(at, ` ${line.message}`);
  for (const [name, value] of Object.entries(line.details)) {
    const [pair, code] = [document.createElement("span"), document.createElement("code")];
    pair.className = "pair";
    code.textContent = typeof value === "string" ? value : JSON.stringify(value);
    pair.append(`${name} `, code);
    item.append(" ", pair);
  }
  return item;
}

let waiting = 0;
/** Read the list again, once for what happens at the same time; now after what the reader did.
 * @param {boolean} [now] */
function refresh(now = false) {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    if (await refreshPart(LIST, now)) follow();
  }, now ? 0 : REFRESH_MS);
}

/** @type {Map<string, EventSource | null>} */
const followed = new Map();
/** Follow the active runs that are shown: a stream for the first, the others now and then. */
function follow() {
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[data-active="yes"]')]);
  const ids = rows.map((row) => String(row.dataset.run));
  for (const [id, source] of followed) {
    if (ids.includes(id)) continue;
    source?.close();
    followed.delete(id);
  }
  for (const id of ids) {
    if (followed.has(id)) continue;
    /** @param {Run} run */
    const show = (run) => {
      const row = /** @type {HTMLElement | null} */ (document.querySelector(`[data-run="${CSS.escape(id)}"]`));
      if (row) update(row, run);
    };
    if ([...followed.values()].filter(Boolean).length >= MAX_STREAMS) {
      followed.set(id, null);
      followRun(id, show);
      continue;
    }
    const source = new EventSource(`/v1/forecasts/${id}/events`);
    followed.set(id, source);
    source.addEventListener("progress", (event) => show(JSON.parse(event.data)));
    source.addEventListener("end", (event) => {
      source.close();
      followed.delete(id);
      show(JSON.parse(event.data));
    });
  }
}
follow();

if (listed) {
  const feed = new EventSource("/v1/events");
  for (const kind of ["queued", "started", "succeeded", "failed", "cancelled", "expired", "reset"]) {
    feed.addEventListener(kind, () => refresh());
  }
}

const own = /** @type {HTMLElement | null} */ (document.querySelector('.facts[data-active="yes"]'));
if (own) {
  setInterval(() => {
    if (!document.hidden) showLog(String(own.dataset.run));
  }, LOG_MS);
}

document.addEventListener("click", (event) => {
  const button = /** @type {HTMLElement} */ (event.target).closest("button");
  const row = /** @type {HTMLElement | null} */ (button?.closest("[data-run]"));
  if (!button || !row) return;
  const url = `/v1/forecasts/${row.dataset.run}`;
  attempt(async () => {
    if (button.classList.contains("cancel")) {
      const run = await send("POST", `${url}/cancel`);
      showMessage(run.status === "cancelled" ? t("Cancelled.") : t("Asked the run to stop."));
      update(row, run);
      if (listed) refresh(true);
    } else if (button.classList.contains("retry")) {
      await send("POST", `${url}/retry`);
      showMessage(t("Queued again."));
      changed();
    } else if (button.classList.contains("delete")) {
      const question = t("Delete the result of run {run}? Its entry and log are kept.", { run: String(row.dataset.run) });
      if (!(await confirmed(question, t("Delete")))) return;
      await send("DELETE", url);
      showMessage(t("Deleted."));
      changed();
    }
  });
});

function changed() {
  if (listed) refresh(true);
  else location.reload();
}
document.body.dataset.ready = "yes";
