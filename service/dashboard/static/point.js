// @ts-check
// The forecast at a point of the map.

import { json, pointUrl, showMessage } from "./api.js";
import { drawChart } from "./charts.js";
import { quantileOf } from "./ensemble.js";
import { figures, placeText } from "./field.js";

/** @typedef {import("./ensemble.js").Ensemble} Ensemble */
/** @typedef {{ latitude: number, longitude: number }} Place */

const MOST_MEMBERS = 60;

/** @param {string} id */
const $ = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @type {any} */
let point = null;
let asked = 0;

/** Show the time series of a variable at a place.
 * @param {string} run @param {{ latitude: number, longitude: number }} place
 * @param {{ variable: string, level: number | null, name: string, style: import("./field.js").Style }} what
 * @param {Ensemble | null} ensemble
 * @param {() => number} lead the lead time that the map shows */
export async function showPoint(run, place, { variable, level, name, style }, ensemble, lead) {
  const request = ++asked;
  try {
    const shownOf = (/** @type {(number | null)[]} */ values) => values.map((value) => (value === null ? null : value * style.scale + style.offset));
    const [found, plume] = await Promise.all([
      json(pointUrl(run, place, variable, level)),
      ensemble ? plumeAt(run, place, variable, level, ensemble, shownOf, style.scale) : null,
    ]);
    if (request !== asked) return;
    const { values } = found.points[0].series[0];
    point = {
      variable, level, name, values,
      leads: found.lead_hours,
      times: found.valid_times,
      shown: shownOf(values),
      plume,
      units: style.units,
    };
    $("point").hidden = false;
    $("point-what").textContent = !ensemble ? "" : ensemble.size ? `mean of ${ensemble.size} members` : "mean of the members";
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
  const { plume } = point;
  drawChart($("meteogram"), {
    label: `${point.name} at ${$("point-place").textContent}`, time: true, xTitle: "Valid time (UTC)", yTitle: point.units,
    mark: x[at], legend: plume !== null,
    bands: plume === null ? [] : plume.bands(point.shown).map((/** @type {any} */ band) => ({ ...band, x, colour: "--pear" })),
    series: [
      ...(plume === null ? [] : plume.members.map((/** @type {any} */ y) => ({ name: "member", hidden: true, thin: true, colour: "--pear", x, y }))),
      { name: plume === null ? point.name : "Mean", colour: "--pear", x, y: point.shown, points: true },
    ],
  });
}

/** Return what surrounds the mean: members and bands of their quantiles; without members, a band of
 * kept quantiles, or the mean and its spread.
 * @param {string} run @param {Place} place @param {string} variable @param {number | null} level
 * @param {Ensemble} ensemble @param {(values: (number | null)[]) => (number | null)[]} shownOf @param {number} scale */
async function plumeAt(run, place, variable, level, ensemble, shownOf, scale) {
  const read = async (/** @type {string} */ statistic) => {
    const found = await json(pointUrl(run, place, variable, level, "json", statistic));
    return /** @type {(number | null)[]} */ (found.points[0].series[0].values);
  };
  if (ensemble.members.length) {
    const members = (await Promise.all(ensemble.members.slice(0, MOST_MEMBERS).map(read))).map(shownOf);
    const at = (/** @type {number} */ share) => members[0].map((_, i) => quantileOf(members.map((y) => y[i] ?? NaN), share));
    return {
      members,
      bands: () => [
        { name: "10–90 %", faint: true, low: at(0.1), high: at(0.9) },
        { name: "25–75 %", low: at(0.25), high: at(0.75) },
      ],
    };
  }
  if (ensemble.quantiles.length > 1) {
    const [first, last] = [ensemble.quantiles[0], ensemble.quantiles[ensemble.quantiles.length - 1]];
    const [low, high] = (await Promise.all([read(first), read(last)])).map(shownOf);
    return { members: [], bands: () => [{ name: `${Number(first.slice(1))}–${Number(last.slice(1))} %`, low, high }] };
  }
  if (!ensemble.spread) return null;
  const spread = await read("spread");
  const around = (/** @type {(number | null)[]} */ mean, /** @type {number} */ sign) => mean.map((value, i) => (
    value === null || spread[i] === null ? null : value + sign * scale * /** @type {number} */ (spread[i])));
  return {
    members: [],
    bands: (/** @type {(number | null)[]} */ mean) => [{ name: "mean ± spread", low: around(mean, -1), high: around(mean, 1) }],
  };
}
