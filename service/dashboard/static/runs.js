// Pages of runs: submit a run, follow the active ones, cancel them.

import { followRun, send, showMessage } from "./api.js";

const $ = (id) => document.getElementById(id);

$("submit-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const init = $("submit-init");
  try {
    showMessage("Submitting…");
    const run = await send("POST", "/v1/forecasts", {
      init_time: init.value,
      analysis: init.selectedOptions[0].dataset.analysis,
      lead_hours: Number($("submit-lead").value),
      model: $("submit-model").value,
      ...ensembleOf(),
    });
    location.assign(`/forecasts/${run.id}`);
  } catch (error) {
    showMessage(error.message, true);
  }
});

/** Return the options of an ensemble, those given; the server says what does not fit. */
function ensembleOf() {
  const list = (id) => $(id).value.split(",").map((part) => part.trim()).filter(Boolean);
  const [thresholds, quantiles, options] = [list("submit-thresholds"), list("submit-quantiles"), {}];
  if ($("submit-members").value) options.members = Number($("submit-members").value);
  if (thresholds.length) options.thresholds = thresholds;
  if (quantiles.length) options.quantiles = quantiles.map((text) => (Number.isFinite(Number(text)) ? Number(text) : text));
  if ($("submit-keep").checked) options.keep_members = true;
  return options;
}

const ACTIVE = ["queued", "running"];

// A page kept by the browser is of the time when it was left.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

function update(row, run) {
  const status = row.querySelector(".status");
  status.className = `status ${run.status}`;
  status.textContent = run.status;
  row.querySelector("progress").value = run.progress.fraction;
  row.querySelector(".steps").textContent = `${run.progress.step}/${run.progress.total}`;
  const ended = !ACTIVE.includes(run.status);
  const eta = row.querySelector(".eta");
  const left = ended ? null : run.progress.eta_seconds;
  if (eta) eta.textContent = left === null ? "" : `about ${Math.ceil(left)} s left`;
  if (!ended) return;
  row.querySelector(".cancel")?.remove();
  const finished = row.querySelector(".finished");
  if (finished && run.finished_at) finished.textContent = `${run.finished_at.slice(0, 19).replace("T", " ")} UTC`;
  // Reason, log and other actions of an ended run are written by the server.
  location.reload();
}

// One event stream per run, at most four: browsers allow six connections to a host.
const active = [...document.querySelectorAll('[data-active="yes"]')];
for (const row of active.slice(0, 4)) {
  const source = new EventSource(`/v1/forecasts/${row.dataset.run}/events`);
  source.addEventListener("progress", (event) => update(row, JSON.parse(event.data)));
  source.addEventListener("end", (event) => {
    source.close();
    update(row, JSON.parse(event.data));
  });
}
// The others are asked for now and then.
for (const row of active.slice(4)) {
  followRun(row.dataset.run, (run) => update(row, run));
}
for (const row of active) {
  row.querySelector(".cancel")?.addEventListener("click", async () => {
    try {
      const run = await send("POST", `/v1/forecasts/${row.dataset.run}/cancel`);
      showMessage(run.status === "cancelled" ? "Cancelled." : "Asked the run to stop.");
      update(row, run);
    } catch (error) {
      showMessage(error.message, true);
    }
  });
}
document.body.dataset.ready = "yes";
