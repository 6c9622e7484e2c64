// @ts-check
// Requests to the API, with a bounded cache of fields.

import { decode } from "./field.js";

const MAX_FIELDS = 240;
/** @type {Map<string, Promise<import("./field.js").Field>>} */
const fields = new Map();

/** A request that the service refused, with what it says of each field of the body. */
export class RefusedError extends Error {
  /** @param {string} message @param {{ field: string, message: string }[]} faults */
  constructor(message, faults) {
    super(message);
    this.faults = faults;
  }
}

/** Send a request; return the JSON body, or null if there is none. Throws the problem's text.
 * @param {string} method @param {string} url @param {unknown} [body] @returns {Promise<any>} */
export async function send(method, url, body) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await fetch(url, { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw await problemOf(response);
  return response.status === 204 ? null : response.json();
}

/** Return the JSON document at a URL.
 * @param {string} url */
export const json = (url) => send("GET", url);

const FOLLOW_MS = 4000;
const ENDED = ["succeeded", "failed", "cancelled", "expired"];

/** Ask for a run every few seconds until it has ended; a run that was deleted is not asked again.
 * @param {string} id @param {(run: any) => void} show */
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

/** @param {Response} response */
async function problemOf(response) {
  try {
    const problem = await response.json();
    const text = problem.hint ? `${problem.detail}; ${problem.hint}` : problem.detail;
    const several = (problem.errors ?? []).length > 1;
    return new RefusedError(text, several ? problem.errors : problem.field ? [{ field: problem.field, message: text }] : []);
  } catch {
    return new RefusedError(`${response.status} ${response.statusText}`, []);
  }
}

/** Show a message, or an error, in the page's status line.
 * @param {string} text @param {boolean} isError */
export function showMessage(text, isError = false) {
  const element = document.getElementById("message");
  if (!element) return;
  element.textContent = text;
  element.classList.toggle("bad", isError);
}

/** What is read of a run: a field at a level, of the forecast or of a statistic of its ensemble.
 * @typedef {{ variable: string, level: number | null, statistic: string }} Wanted */

/** Return a promise of one field; repeated calls share it, failed ones are asked again.
 * @param {string} run @param {Wanted} wanted @param {number} lead @param {number} nside */
export function field(run, { variable, level, statistic }, lead, nside) {
  const query = new URLSearchParams({ lead_time: String(lead), format: "u16", nside: String(nside) });
  if (level !== null) query.set("level", String(level));
  if (statistic) query.set("statistic", statistic);
  return fieldAt(`/v1/forecasts/${run}/fields/${variable}?${query}`);
}

/** Return a promise of one field of an analysis, as {@link field}.
 * @param {string} name @param {{ variable: string, level: number | null }} wanted
 * @param {string} time valid time, ISO @param {number} nside */
export function analysisField(name, { variable, level }, time, nside) {
  const query = new URLSearchParams({ time, format: "u16", nside: String(nside) });
  if (level !== null) query.set("level", String(level));
  return fieldAt(`/v1/stores/analysis/${encodeURIComponent(name)}/fields/${variable}?${query}`);
}

/** @param {string} url @returns {Promise<import("./field.js").Field>} */
function fieldAt(url) {
  let promise = fields.get(url);
  if (!promise) {
    promise = fetch(url).then(async (response) => {
      if (!response.ok) throw await problemOf(response);
      return decode(await response.arrayBuffer(), response.headers);
    });
    promise.catch(() => fields.delete(url));
    fields.set(url, promise);
    if (fields.size > MAX_FIELDS) fields.delete(/** @type {string} */ (fields.keys().next().value));
  }
  return promise;
}

/** @param {string} run @param {{ latitude: number, longitude: number }} place
 * @param {string} variables @param {number | null} level @param {string} [format] @param {string} [statistic] */
export function pointUrl(run, place, variables, level, format = "json", statistic = "") {
  const query = new URLSearchParams({
    latitude: place.latitude.toFixed(3), longitude: place.longitude.toFixed(3), variables, format,
  });
  if (level !== null) query.set("levels", String(level));
  if (statistic) query.set("statistic", statistic);
  return `/v1/forecasts/${run}/point?${query}`;
}
