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
  onClick(".run", async () => {
    let job = await send("POST", `${url}/run`);
    while (job.status === "queued" || job.status === "running") {
      showMessage(`${job.status}, ${Math.round(100 * job.progress.fraction)} %`);
      await new Promise((wake) => setTimeout(wake, 1000));
      job = await send("GET", job.links.self);
    }
    if (job.status !== "succeeded") throw new Error(job.reason ?? job.status);
    return job.result.summary;
  });
}
document.body.dataset.ready = "yes";
