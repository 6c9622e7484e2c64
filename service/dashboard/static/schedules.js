// Page of schedules: pause, resume and run them.

import { send, showMessage } from "./api.js";

for (const row of document.querySelectorAll("tr[data-name]")) {
  const url = `/v1/schedules/${encodeURIComponent(row.dataset.name)}`;
  const onClick = (button, action) => row.querySelector(button).addEventListener("click", async () => {
    try {
      showMessage(await action());
    } catch (error) {
      showMessage(error.message, true);
    }
  });
  onClick(".pause", async () => {
    await send("PATCH", url, { paused: row.dataset.paused === "no" });
    location.reload();
    return "";
  });
  onClick(".run", async () => (await send("POST", `${url}/run`)).summary);
}
document.body.dataset.ready = "yes";
