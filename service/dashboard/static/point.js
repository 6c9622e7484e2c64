// @ts-check
// The forecast at a point of the map.

import { json, pointUrl, showMessage } from "./api.js";
import { drawChart } from "./charts.js";
import { figures, placeText } from "./field.js";

/** @param {string} id */
const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @type {any} */
let point = null;
let asked = 0;

/** Show the time series of a variable at a place.
 * @param {string} run @param {{ latitude: number, longitude: number }} place
 * @param {{ variable: string, level: number | null, name: string, style: import("./field.js").Style }} what
 * @param {() => number} lead the lead time that the map shows */
export async function showPoint(run, place, { variable, level, name, style }, lead) {
  const request = ++asked;
  try {
    const found = await json(pointUrl(run, place, variable, level));
    if (request !== asked) return;
    const { values } = found.points[0].series[0];
    point = {
      variable, level, name, values,
      leads: found.lead_hours,
      times: found.valid_times,
      shown: values.map((/** @type {number | null} */ value) => (value === null ? null : value * style.scale + style.offset)),
      units: style.units,
    };
    $("point").hidden = false;
    $("point-place").textContent = placeText(place);
    /** @type {HTMLAnchorElement} */ ($("point-csv")).href = pointUrl(run, place, variable, level, "csv");
    showValue(variable, level, lead());
  } catch (error) {
    showMessage(/** @type {Error} */ (error).message, true);
  }
}

/** Show the value at the lead time of the map, and mark it in the time series.
 * @param {string} variable @param {number | null} level @param {number} lead */
export function showValue(variable, level, lead) {
  if (point === null || point.variable !== variable || point.level !== level) return;
  const at = point.leads.indexOf(lead);
  const value = point.shown[at];
  $("point-value").textContent = value === null ? "missing" : `${figures(value)} ${point.units}`;
  $("point-value").dataset.value = point.values[at];
  $("point-value").dataset.lead = String(lead);
  const x = point.times.map(Date.parse);
  drawChart($("meteogram"), {
    label: `${point.name} at ${$("point-place").textContent}`, time: true, xTitle: "Valid time (UTC)", yTitle: point.units,
    mark: x[at], series: [{ name: point.name, colour: "--pear", x, y: point.shown, points: true }],
  });
}
