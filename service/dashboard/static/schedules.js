// @ts-check
// Page of schedules: add, change, pause, run and delete them; when they fire, and how they ended.

import { RefusedError, json, send, showMessage } from "./api.js";
import { confirmed } from "./confirm.js";
import { actionOf, fieldFor, fieldsOf } from "./schedule_form.js";
import { formatTime, t } from "./words.js";

const FIRES_MS = 300;
/** What describes a field whether it is refused or not, by id.
 * @type {Record<string, string>} */
const DESCRIBED = { "s-cron": "s-fires" };
/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));
const form = /** @type {HTMLFormElement | null} */ (document.getElementById("schedule-form"));
const data = document.getElementById("schedules-data");
/** @type {{ name: string, cron: string, action: Record<string, any> }[]} */
const schedules = data ? JSON.parse(String(data.textContent)) : [];
/** @type {{ name: string, action: Record<string, any> } | null} */
let edited = null;

/** @param {() => Promise<string | void>} action */
async function attempt(action) {
  try {
    showMessage((await action()) ?? "");
  } catch (error) {
    showMessage(/** @type {Error} */ (error).message, true);
  }
}

for (const row of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("tr[data-name]"))) {
  const name = String(row.dataset.name);
  const url = `/v1/schedules/${encodeURIComponent(name)}`;
  /** @param {string} button @param {() => Promise<string | void>} action */
  const onClick = (button, action) => row.querySelector(button)?.addEventListener("click", () => attempt(action));
  onClick(".pause", async () => {
    await send("PATCH", url, { paused: row.dataset.paused === "no" });
    location.reload();
  });
  onClick(".run", async () => {
    let job = await send("POST", `${url}/run`);
    while (job.status === "queued" || job.status === "running") {
      showMessage(`${t(job.status)}, ${Math.round(100 * job.progress.fraction)} %`);
      await new Promise((wake) => setTimeout(wake, 1000));
      job = await send("GET", job.links.self);
    }
    if (job.status !== "succeeded") throw new Error(job.reason ?? job.status);
    return job.result.summary;
  });
  onClick(".delete", async () => {
    if (!(await confirmed(t("Delete schedule {name}? Its runs are kept.", { name }), t("Delete")))) return;
    await send("DELETE", url);
    location.reload();
  });
  onClick(".edit", async () => {
    const found = schedules.find((each) => each.name === name);
    if (found) edit(found);
  });
  const history = /** @type {HTMLDetailsElement} */ (row.querySelector(".history"));
  history.addEventListener("toggle", () => {
    if (history.open) attempt(() => showHistory(history, url));
  });
}

/** @param {HTMLElement} part @param {string} url of the schedule */
async function showHistory(part, url) {
  /** @type {{ at: string, status: string, summary: string | null }[]} */
  const ends = await json(`${url}/history?limit=20`);
  const lines = ends.map((end) => {
    const [item, status] = [document.createElement("li"), document.createElement("span")];
    status.className = `status ${end.status}`;
    status.textContent = t(end.status);
    item.append(`${formatTime(end.at)} `, status, ` ${end.summary ?? ""}`);
    return item;
  });
  const none = document.createElement("li");
  none.textContent = t("It has not run yet.");
  /** @type {HTMLElement} */ (part.querySelector("ol")).replaceChildren(...(lines.length ? lines : [none]));
}

let asked = 0;
/** Say when the cron line of the form is due, in words and times. */
async function showFires() {
  const [mine, part] = [++asked, /** @type {HTMLElement} */ (document.getElementById("s-fires"))];
  const cron = input("s-cron");
  try {
    const told = await json(`/v1/cron?${new URLSearchParams({ line: cron.value })}`);
    if (mine !== asked) return;
    const words = document.createElement("b");
    words.lang = "en";
    words.textContent = told.words;
    const list = document.createElement("ul");
    list.className = "times-list";
    for (const time of told.next_runs) {
      const item = document.createElement("li");
      item.textContent = formatTime(time);
      list.append(item);
    }
    part.replaceChildren(words, list);
    cron.setCustomValidity("");
    part.classList.remove("bad");
  } catch (error) {
    if (mine !== asked) return;
    part.textContent = /** @type {Error} */ (error).message;
    part.classList.add("bad");
    cron.setCustomValidity(part.textContent);
  }
}

/** @param {{ name: string, cron: string, action: Record<string, any> }} schedule */
function edit(schedule) {
  edited = schedule;
  for (const [id, value] of Object.entries({ "s-name": schedule.name, "s-cron": schedule.cron, ...fieldsOf(schedule.action) })) {
    const field = input(id);
    if (field.type === "checkbox") field.checked = Boolean(value);
    else setValue(field, String(value));
  }
  input("s-name").readOnly = true;
  setTitle(t("Edit schedule {name}", { name: schedule.name }));
  document.getElementById("form-title")?.focus();
  showFires();
}

/** Set a field; a choice that does not have the value gets it.
 * @param {HTMLInputElement | HTMLSelectElement} field @param {string} value */
function setValue(field, value) {
  if (field instanceof HTMLSelectElement && ![...field.options].some((each) => each.value === value)) {
    field.add(new Option(field.id.endsWith("-lead") ? `${value} h` : value, value));
  }
  field.value = value;
}

/** Say beside the fields of the form why they are refused; return whether all faults have a field.
 * @param {{ field: string, message: string }[]} faults */
function mark(faults) {
  const known = faults.flatMap(({ field, message }) => {
    const id = fieldFor(field);
    return id === null ? [] : [{ field: input(id), message }];
  });
  for (const { field, message } of known) {
    const told = document.createElement("span");
    told.id = `${field.id}-fault`;
    told.className = "fault bad";
    told.ariaHidden = "true"; // a part of the description of the field, not of its name
    told.textContent = message;
    field.closest("label")?.append(told);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", `${DESCRIBED[field.id] ?? ""} ${told.id}`.trim());
  }
  known[0]?.field.focus();
  return known.length > 0 && known.length === faults.length;
}

/** @param {Element} part of the form, or all of it */
function unmark(part) {
  for (const told of part.querySelectorAll(".fault")) {
    const field = input(told.id.replace(/-fault$/, ""));
    field.removeAttribute("aria-invalid");
    if (DESCRIBED[field.id]) field.setAttribute("aria-describedby", DESCRIBED[field.id]);
    else field.removeAttribute("aria-describedby");
    told.remove();
  }
}

/** @param {string} text */
function setTitle(text) {
  const title = document.getElementById("form-title");
  if (title) title.textContent = text;
}

if (form) {
  let waiting = 0;
  input("s-cron").addEventListener("input", () => {
    input("s-preset").value = "";
    clearTimeout(waiting);
    waiting = setTimeout(showFires, FIRES_MS);
  });
  input("s-preset").addEventListener("change", () => {
    if (!input("s-preset").value) return;
    input("s-cron").value = input("s-preset").value;
    showFires();
  });
  form.addEventListener("input", (event) => {
    const label = /** @type {Element} */ (event.target).closest("label");
    if (label) unmark(label);
  });
  form.addEventListener("reset", () => {
    edited = null;
    input("s-name").readOnly = false;
    unmark(form);
    setTitle(t("Add a schedule"));
    setTimeout(showFires);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const name = input("s-name").value;
      const known = schedules.some((each) => each.name === name);
      if (known && !edited && !(await confirmed(t("Schedule {name} exists. Replace it?", { name }), t("Replace")))) return;
      const read = (/** @type {string} */ id) => (input(id).type === "checkbox" ? input(id).checked : input(id).value);
      unmark(form);
      try {
        await send("POST", "/v1/schedules", { name, cron: input("s-cron").value, action: actionOf(read, edited?.action ?? {}) });
      } catch (error) {
        if (error instanceof RefusedError && mark(error.faults)) throw new Error(t("Not saved: see the marked fields."));
        throw error;
      }
      location.reload();
    });
  });
  showFires();
}
document.body.dataset.ready = "yes";
