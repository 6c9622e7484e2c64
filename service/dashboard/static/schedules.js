// Pause, resume and fire schedules.

const message = document.getElementById("message");

async function send(method, url, body) {
  const answer = await fetch(url, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.hint ? `${found.detail}; ${found.hint}` : found.detail);
  return found;
}

for (const row of document.querySelectorAll("tr[data-name]")) {
  const url = `/v1/schedules/${encodeURIComponent(row.dataset.name)}`;
  const act = (button, work) => row.querySelector(button).addEventListener("click", async () => {
    try {
      message.textContent = await work();
      message.classList.remove("bad");
    } catch (error) {
      message.textContent = error.message;
      message.classList.add("bad");
    }
  });
  act(".pause", async () => {
    await send("PATCH", url, { paused: row.dataset.paused === "no" });
    location.reload();
    return "";
  });
  act(".fire", async () => (await send("POST", `${url}/run`)).summary);
}
document.body.dataset.ready = "yes";
