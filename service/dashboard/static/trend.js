// @ts-check
// Forecasts of one valid time from successive init times: whether they settle on a value.

import { json, pointUrl, showMessage } from "./api.js";
import { drawChart } from "./charts.js";
import { leadOf } from "./compare.js";
import { bindPicture } from "./download.js";
import { formatTime, t } from "./words.js";

/** @typedef {import("./compare.js").Other} Other */
/** @typedef {Other & { model: string, sameModel: boolean }} Run */
/** @typedef {{ run: string, init: string, lead: number, place: { latitude: number, longitude: number } | null,
 *   variable: string, level: number | null, name: string, units: string, scale: number, offset: number }} Wanted */

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
let asked = 0;

/** Return the runs of the same model that have a valid time, with their lead times there, oldest first.
 * @param {string} init @param {number} lead hours @param {Run[]} others */
export function runsAt(init, lead, others) {
  return others
    .filter(({ sameModel }) => sameModel)
    .map((other) => ({ ...other, there: leadOf(init, lead, other) }))
    .filter(({ there }) => there !== null)
    .sort((a, b) => Date.parse(a.init) - Date.parse(b.init));
}

/** Return the value of an answer at a lead time, or null if the run has not that step.
 * @param {any} found @param {number | null} lead @returns {number | null} */
export function valueAt(found, lead) {
  const at = found.lead_hours.indexOf(lead);
  return at < 0 ? null : found.points[0].series[0].values[at];
}

/** Show the trend at the point, if it is open.
 * @param {Wanted} wanted @param {Run[]} others */
export async function showTrend(wanted, others) {
  const { run, init, lead, place, variable, level, name, units, scale, offset } = wanted;
  const found = runsAt(init, lead, others);
  $("trend-part").hidden = found.length === 0;
  if (place === null || found.length === 0 || !$("trend-part").open) return;
  const request = ++asked;
  try {
    const all = [...found, { id: run, init, there: lead }].sort((a, b) => Date.parse(a.init) - Date.parse(b.init));
    const answers = await Promise.all(all.map((each) => json(pointUrl(each.id, place, variable, level))));
    if (request !== asked) return;
    const y = answers.map((answer, i) => {
      const value = valueAt(answer, all[i].there);
      return value === null ? null : value * scale + offset;
    });
    const valid = formatTime(new Date(Date.parse(init) + lead * 3600e3).toISOString());
    $("trend-what").textContent = t("{what} valid {time}, by the init time of the run", { what: name, time: valid });
    drawChart($("trend"), {
      label: $("trend-what").textContent, time: true, xTitle: t("Init time"), yTitle: units, mark: Date.parse(init),
      series: [{ name: units, colour: "--pear", x: all.map((each) => Date.parse(each.init)), y, points: true }],
    });
    $("trend-part").dataset.shown = String(lead);
  } catch (error) {
    if (request === asked) showMessage(/** @type {Error} */ (error).message, true);
  }
}

/** @param {() => void} opened */
export function bindTrend(opened) {
  $("trend-part").addEventListener("toggle", opened);
  bindPicture($("trend-svg"), () => $("trend").querySelector("svg"), "trend");
}
