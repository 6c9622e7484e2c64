// @ts-check
// The forecast at a point of the map: time series with its plume, the weather near the ground, a
// table, and downloads.

import { json, pointUrl, showMessage } from "./api.js";
import { drawChart } from "./charts.js";
import { quantileOf, wordsOf } from "./ensemble.js";
import { figures, placeText } from "./field.js";
import { inUnits } from "./units.js";
import { t } from "./words.js";

/** @typedef {import("./ensemble.js").Ensemble} Ensemble */
/** @typedef {import("./field.js").Style} Style */
/** @typedef {{ latitude: number, longitude: number }} Place */
/** @typedef {(number | null)[]} Values */
/** @typedef {{ name: string, low: Values, high: Values, faint?: boolean }} Limits */
/** What is normal: mean and limits, and where from.
 * @typedef {{ mean: Values, low: Values | null, high: Values | null, text: string }} Normal */
/** @typedef {{ members: Values[], bands: (mean: Values) => Limits[] }} Plume */
/** A time series as it is shown.
 * @typedef {{ name: string, units: string, y: Values }} Shown */
/** @typedef {{ variable: string, derived: boolean, level: number | null, name: string, style: Style, units: string, note: string, hasNormal: boolean,
 *   others: { name: string, long_name: string, style: Style }[], wind: [string, string] | null }} What */

const MOST_MEMBERS = 60;
const MOST_STRIPS = 4;

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);

/** @type {{ what: What, leads: number[], times: string[], x: number[], values: Values, main: Shown,
 *   plume: Plume | null, normal: Normal | null, strips: Shown[], wind: { u: Values, v: Values, speed: Shown } | null } | null} */
let point = null;
let asked = 0;

/** @param {Values} values @param {{ scale: number, offset: number }} style @returns {Values} */
const convert = (values, style) => values.map((value) => (value === null ? null : value * style.scale + style.offset));

/** Show the forecast at a place.
 * @param {string} run @param {Place} place @param {What} what @param {Ensemble | null} ensemble
 * @param {() => number} lead the lead time that the map shows */
export async function showPoint(run, place, what, ensemble, lead) {
  const request = ++asked;
  const { variable, level, style } = what;
  const others = what.others.filter(({ name }) => name !== variable).slice(0, MOST_STRIPS);
  const names = [variable, ...others.map(({ name }) => name), ...(what.wind ?? [])];
  const unique = [...new Set(names)].join(",");
  try {
    const [found, plume, normal] = await Promise.all([
      json(pointUrl(run, place, unique, level)),
      ensemble ? plumeAt(run, place, what, ensemble) : null,
      what.hasNormal ? normalAt(run, place, what) : null,
    ]);
    if (request !== asked) return;
    /** @param {string} name @returns {Values} */
    const seriesOf = (name) => found.points[0].series.find((/** @type {any} */ each) => each.variable === name).values;
    point = {
      what, plume, normal,
      leads: found.lead_hours, times: found.valid_times, x: found.valid_times.map(Date.parse),
      values: seriesOf(variable),
      main: { name: what.name, units: style.units, y: convert(seriesOf(variable), style) },
      strips: others.map((each) => ({ name: each.long_name, units: each.style.units, y: convert(seriesOf(each.name), each.style) })),
      wind: what.wind ? windOf(seriesOf(what.wind[0]), seriesOf(what.wind[1]), what.units) : null,
    };
    $("point").hidden = false;
    const mean = ensemble ? wordsOf(ensemble, "", NaN, "", what.derived) : "";
    $("point-what").textContent = [mean, what.note].filter(Boolean).join(", ");
    $("point-place").textContent = placeText(place);
    $("point-normal").textContent = normal?.text ?? "";
    $("point-csv").href = pointUrl(run, place, unique, level, "csv");
    $("point-json").href = pointUrl(run, place, unique, level, "json");
    $("point-netcdf").href = pointUrl(run, place, unique, level, "netcdf");
    $("point-coverage").href = pointUrl(run, place, unique, level, "covjson");
    showTable();
    showValue(variable, level, lead());
  } catch (error) {
    showMessage(/** @type {Error} */ (error).message, true);
  }
}

/** Return what is normal at a place for the hour and day of each valid time.
 * @param {string} run @param {Place} place @param {What} what @returns {Promise<Normal>} */
async function normalAt(run, place, { variable, level, style }) {
  const query = new URLSearchParams({ latitude: place.latitude.toFixed(3), longitude: place.longitude.toFixed(3) });
  if (level !== null) query.set("level", String(level));
  const found = await json(`/v1/forecasts/${run}/normals/${variable}?${query}`);
  const mean = convert(found.mean, style);
  /** @param {number} sign @returns {Values | null} */
  const beside = (sign) => found.spread && mean.map((value, i) => {
    const size = found.spread[i];
    return value === null || size === null ? null : value + sign * size * style.scale;
  });
  const [first, last] = found.period.map((/** @type {string} */ time) => time.slice(0, 4));
  const values = { name: found.climatology, first, last };
  const text = found.spread
    ? t("Normal: mean of {name}, {first} to {last}, for the hour and day of the year; band: one standard deviation of the analyses about it, by month and hour.", values)
    : t("Normal: mean of {name}, {first} to {last}, for the hour and day of the year.", values);
  return { mean, low: beside(-1), high: beside(1), text };
}

/** @param {Values} u @param {Values} v @param {string} units */
function windOf(u, v, units) {
  const { scale, units: unit } = inUnits({ units: "m s⁻¹", scale: 1, offset: 0, limits: null, limits_at: {} }, units);
  const y = u.map((east, i) => {
    const north = v[i];
    return east === null || north === null ? null : scale * Math.hypot(east, north);
  });
  return { u, v, speed: { name: t("Wind speed at 10 m"), units: unit, y } };
}

/** Show the value at the lead time of the map, and mark it in the time series.
 * @param {string} variable @param {number | null} level @param {number} lead */
export function showValue(variable, level, lead) {
  if (point === null || point.what.variable !== variable || point.what.level !== level) return;
  const { main, plume, normal, x, leads, strips, wind } = point;
  const at = leads.indexOf(lead);
  const value = main.y[at];
  $("point-value").textContent = value === null ? t("missing") : `${figures(value)} ${main.units}`;
  $("point-value").dataset.value = point.values[at];
  $("point-value").dataset.lead = String(lead);
  const where = $("point-place").textContent;
  const mark = x[at];
  drawChart($("meteogram"), {
    label: `${main.name} at ${where}`, time: true, xTitle: t("Valid time (UTC)"), yTitle: main.units,
    mark, legend: plume !== null || normal !== null,
    bands: [
      ...(normal?.low && normal.high ? [{ name: t("Normal ±1 σ"), faint: true, low: normal.low, high: normal.high, x, colour: "--climatology" }] : []),
      ...(plume === null ? [] : plume.bands(main.y).map((band) => ({ ...band, x, colour: "--pear" }))),
    ],
    series: [
      ...(normal === null ? [] : [{ name: t("Normal"), colour: "--climatology", dash: "2 3", x, y: normal.mean }]),
      ...(plume === null ? [] : plume.members.map((y) => ({ name: "member", hidden: true, thin: true, colour: "--pear", x, y }))),
      { name: plume !== null ? t("Mean") : normal === null ? main.name : t("Forecast"), colour: "--pear", x, y: main.y, points: true },
    ],
  });
  const panels = [...(wind ? [wind.speed] : []), ...strips];
  while ($("strips").childElementCount > 2 * panels.length) $("strips").lastChild.remove();
  while ($("strips").childElementCount < 2 * panels.length) {
    const chart = document.createElement("div");
    chart.className = "chart strip";
    $("strips").append(document.createElement("h3"), chart);
  }
  panels.forEach((panel, i) => {
    $("strips").children[2 * i].textContent = `${panel.name} (${panel.units})`;
    drawChart($("strips").children[2 * i + 1], {
      label: `${panel.name} at ${where}`, time: true, mark, zero: wind !== null && panel === wind.speed,
      series: [{ name: panel.units, colour: "--pear", x, y: panel.y }],
      arrows: wind !== null && panel === wind.speed ? { x, u: wind.u, v: wind.v } : undefined,
    });
  });
}

/** Write the time series as a table; the wind with the direction that it comes from. */
function showTable() {
  if (point === null) return;
  const { times, leads, main, strips, wind } = point;
  const columns = [main, ...strips, ...(wind ? [wind.speed] : [])];
  const head = [t("Valid time (UTC)"), t("Lead (h)"), ...columns.map(({ name, units }) => `${name} (${units})`), ...(wind ? [t("Wind from (°)")] : [])];
  const rows = times.map((time, i) => [
    time.slice(0, 16).replace("T", " "), String(leads[i]),
    ...columns.map(({ y }) => (y[i] === null ? "–" : figures(/** @type {number} */ (y[i])))),
    ...(wind ? [directionText(wind.u[i], wind.v[i])] : []),
  ]);
  const table = $("point-table");
  table.tHead.rows[0].replaceChildren(...head.map((text) => tableCell("th", text)));
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    line.append(...row.map((text, i) => tableCell(i === 0 ? "th" : "td", text, head[i])));
    return line;
  }));
}

/** @param {string} kind @param {string} text @param {string} [label] heading of its column, shown where rows are stacked */
export function tableCell(kind, text, label) {
  const made = document.createElement(kind);
  if (label !== undefined) made.dataset.label = label;
  made.textContent = text;
  return made;
}

/** Return the direction that a wind comes from, degrees clockwise from north.
 * @param {number | null} u @param {number | null} v */
export function directionText(u, v) {
  if (u === null || v === null || (u === 0 && v === 0)) return "–";
  return String(Math.round((Math.atan2(-u, -v) * 180) / Math.PI + 360) % 360);
}

/** Return what surrounds the mean: members and bands of their quantiles; without members, a band of
 * kept quantiles, or the mean and its spread.
 * @param {string} run @param {Place} place @param {What} what @param {Ensemble} ensemble
 * @returns {Promise<Plume | null>} */
async function plumeAt(run, place, { variable, derived, level, style }, ensemble) {
  /** @param {string} statistic @returns {Promise<Values>} */
  const read = async (statistic) => {
    const found = await json(pointUrl(run, place, variable, level, "json", statistic));
    return found.points[0].series[0].values;
  };
  if (ensemble.members.length) {
    const members = (await Promise.all(ensemble.members.slice(0, MOST_MEMBERS).map(read))).map((values) => convert(values, style));
    /** @param {number} share */
    const at = (share) => members[0].map((_, i) => quantileOf(members.map((y) => y[i] ?? NaN), share));
    const [wide, narrow] = [{ low: at(0.1), high: at(0.9) }, { low: at(0.25), high: at(0.75) }];
    return { members, bands: () => [{ name: "10–90 %", faint: true, ...wide }, { name: "25–75 %", ...narrow }] };
  }
  if (derived) return null; // no quantiles nor spread are kept of it
  if (ensemble.quantiles.length > 1) {
    const [first, last] = [ensemble.quantiles[0], ensemble.quantiles[ensemble.quantiles.length - 1]];
    const [low, high] = (await Promise.all([read(first), read(last)])).map((values) => convert(values, style));
    return { members: [], bands: () => [{ name: `${Number(first.slice(1))}–${Number(last.slice(1))} %`, low, high }] };
  }
  if (!ensemble.spread) return null;
  const spread = convert(await read("spread"), { scale: style.scale, offset: 0 });
  /** @param {Values} mean @param {number} sign @returns {Values} */
  const beside = (mean, sign) => mean.map((value, i) => {
    const size = spread[i];
    return value === null || size === null ? null : value + sign * size;
  });
  return { members: [], bands: (mean) => [{ name: "mean ± spread", low: beside(mean, -1), high: beside(mean, 1) }] };
}
