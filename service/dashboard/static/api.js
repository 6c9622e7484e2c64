// Requests to the API, with a bounded cache of fields.

import { decode } from "./map.js";

const MAX_FIELDS = 120;
const fields = new Map();

/** Send a request; return the JSON body, or null if there is none. Throws the problem's text. */
export async function send(method, url, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(url, { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(await problemText(response));
  return response.status === 204 ? null : response.json();
}

/** Return the JSON document at a URL. */
export const json = (url) => send("GET", url);

const FOLLOW_MS = 4000;
const ENDED = ["succeeded", "failed", "cancelled", "expired"];

/** Ask for a run every few seconds until it has ended; a run that was deleted is not asked again. */
export async function followRun(id, show) {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
    if (document.hidden) continue;
    try {
      const run = await json(`/v1/forecasts/${id}`);
      show(run);
      if (ENDED.includes(run.status)) return;
    } catch {
      return;
    }
  }
}

async function problemText(response) {
  try {
    const problem = await response.json();
    return problem.hint ? `${problem.detail}; ${problem.hint}` : problem.detail;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

/** Show a message, or an error, in the page's status line. */
export function showMessage(text, isError = false) {
  const element = document.getElementById("message");
  if (!element) return;
  element.textContent = text;
  element.classList.toggle("bad", isError);
}

export function fieldUrl(run, variable, level, lead, nside) {
  const query = new URLSearchParams({ lead_time: lead, format: "u16", nside });
  if (level !== null) query.set("level", level);
  return `/v1/forecasts/${run}/fields/${variable}?${query}`;
}

/** Return a promise of one field; repeated calls share it. */
export function field(run, variable, level, lead, nside) {
  const url = fieldUrl(run, variable, level, lead, nside);
  if (!fields.has(url)) {
    const promise = fetch(url).then(async (response) => {
      if (!response.ok) throw new Error(await problemText(response));
      return decode(await response.arrayBuffer(), response.headers);
    });
    promise.catch(() => fields.delete(url));
    fields.set(url, promise);
    if (fields.size > MAX_FIELDS) fields.delete(fields.keys().next().value);
  }
  return fields.get(url);
}

export function pointUrl(run, place, variable, level, format = "json") {
  const query = new URLSearchParams({
    latitude: place.latitude.toFixed(3), longitude: place.longitude.toFixed(3), variables: variable, format,
  });
  if (level !== null) query.set("levels", level);
  return `/v1/forecasts/${run}/point?${query}`;
}
