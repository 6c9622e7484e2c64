// Lists and single runs: ask for one, watch the active ones, cancel.

const say = (text, bad = false) => {
  const element = document.getElementById("message");
  if (!element) return;
  element.textContent = text;
  element.classList.toggle("bad", bad);
};

async function send(url, options) {
  const answer = await fetch(url, options);
  const body = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(body.hint ? `${body.detail}; ${body.hint}` : body.detail);
  return body;
}

document.getElementById("ask")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const init = document.getElementById("ask-init");
  try {
    say("Asking…");
    const run = await send("/v1/forecasts", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        init_time: init.value,
        analysis: init.selectedOptions[0].dataset.analysis,
        lead_hours: Number(document.getElementById("ask-lead").value),
        model: document.getElementById("ask-model").value,
      }),
    });
    location.assign(`/forecasts/${run.id}`);
  } catch (error) {
    say(error.message, true);
  }
});

function show(row, run) {
  const status = row.querySelector(".status");
  status.className = `status ${run.status}`;
  status.textContent = run.status;
  row.querySelector("progress").value = run.progress.fraction;
  row.querySelector(".steps").textContent = `${run.progress.step}/${run.progress.total}`;
  const eta = row.querySelector(".eta");
  if (eta && run.progress.eta_seconds !== null) eta.textContent = `about ${Math.ceil(run.progress.eta_seconds)} s left`;
}

// One stream a run, a few at most: browsers allow six connections to a host.
const active = [...document.querySelectorAll('[data-active="yes"]')];
for (const row of active.slice(0, 4)) {
  const source = new EventSource(`/v1/forecasts/${row.dataset.run}/events`);
  source.addEventListener("progress", (event) => show(row, JSON.parse(event.data)));
  source.addEventListener("end", (event) => {
    show(row, JSON.parse(event.data));
    source.close();
    setTimeout(() => location.reload(), 800);
  });
}
for (const row of active) {
  row.querySelector(".cancel")?.addEventListener("click", async () => {
    try {
      await send(`/v1/forecasts/${row.dataset.run}/cancel`, { method: "POST" });
      say("Cancelled.");
    } catch (error) {
      say(error.message, true);
    }
  });
}
document.body.dataset.ready = "yes";
