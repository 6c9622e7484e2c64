// The form of a schedule: what it shows of an action, and what it keeps that it does not show.
import assert from "node:assert/strict";
import { test } from "node:test";

import { actionOf, fieldFor, fieldsOf } from "../../../../service/dashboard/static/schedule_form.js";

const ACTION = {
  fetch: { source: "ifs", newest: 2, every_hours: 12, nside: 64 },
  forecast: { lead_hours: 96, newest: 3, every_hours: 12, options: { members: 8, quantiles: [10] } },
  publish: { to: "public", newest: 1, analyses: ["ifs"] },
};
const reading = (fields) => (id) => (id in fields ? fields[id] === true || fields[id] === false ? fields[id] : String(fields[id]) : "");

test("a schedule that is saved unchanged is the same", () => {
  assert.deepEqual(actionOf(reading(fieldsOf(ACTION)), ACTION), ACTION);
});

test("changes are taken and parts removed, the rest is kept", () => {
  const fields = { ...fieldsOf(ACTION), "s-publish": false, "s-forecast-lead": 240, "s-forecast-members": "", "s-expire": true, "s-expire-days": 7, "s-expire-latest": "" };
  assert.deepEqual(actionOf(reading(fields), ACTION), {
    fetch: ACTION.fetch,
    forecast: { lead_hours: 240, newest: 3, every_hours: 12, options: { quantiles: [10] } },
    expire: { keep_days: 7 },
  });
});

test("a refused part has its field", () => {
  const fields = {
    name: "s-name", cron: "s-cron", "action.forecast.lead_hours": "s-forecast-lead",
    "action.forecast.options.members": "s-forecast-members", "action.expire.keep_days": "s-expire-days",
    "action.fetch.nside": "s-fetch", "action.publish": "s-publish", action: null, "action.ingest.files": null, paused: null,
  };
  for (const [path, id] of Object.entries(fields)) assert.equal(fieldFor(path), id, path);
});
