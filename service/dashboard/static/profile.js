// @ts-check
// The vertical profile at the point: read when it is opened, as a Skew-T diagram and as a table.

import { json, showMessage } from "./api.js";
import { bindPicture } from "./download.js";
import { written } from "./field.js";
import { directionText, tableCell } from "./point.js";
import { dewPoint, drawSkewT } from "./skewt.js";
import { inUnits } from "./units.js";
import { formatTime, t } from "./words.js";

/** @typedef {import("./skewt.js").LevelOf} LevelOf */
/** @typedef {{ model: string, run: string, place: { latitude: number, longitude: number } | null, valid: string,
 *   units: string, note: string }} Shown */

const NAMES = ["temperature", "specific_humidity", "u_component_of_wind", "v_component_of_wind"];
const ZERO = 273.15;

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
let asked = 0;
/** @type {{ levels: LevelOf[], label: string, south: boolean } | null} */
let drawn = null;
let shownFor = "";

/** Whether a run has what a profile needs.
 * @param {{ variables: { name: string }[], levels: number[] }} page */
export const hasProfile = (page) => page.levels.length > 2 && NAMES.slice(0, 2).every((name) => page.variables.some((each) => each.name === name));

/** Return the levels of an answer, from the ground up.
 * @param {any} answer CoverageJSON, one coverage per level @returns {LevelOf[]} */
export function levelsOf(answer) {
  /** @type {any[]} */
  const coverages = answer.coverages ?? [answer];
  return coverages
    .filter(({ domain }) => domain.axes.z)
    .map(({ domain, ranges }) => {
      const pressure = domain.axes.z.values[0];
      const [kelvin, humidity, u, v] = NAMES.map((name) => ranges[name]?.values[0] ?? null);
      return {
        pressure, u, v, temperature: kelvin === null ? null : kelvin - ZERO,
        dewPoint: humidity === null ? null : dewPoint(humidity, pressure),
      };
    })
    .sort((a, b) => b.pressure - a.pressure);
}

/** Read and show the profile, if it is open and not shown yet.
 * @param {Shown} wanted */
export async function showProfile(wanted) {
  if (wanted.place === null || !$("profile-part").open) return;
  const { latitude, longitude } = wanted.place;
  const query = new URLSearchParams({
    coords: `POINT(${longitude.toFixed(3)} ${latitude.toFixed(3)})`, "parameter-name": NAMES.join(","),
    datetime: wanted.valid,
  });
  const url = `/ogc/collections/${wanted.model}/instances/${wanted.run}/position?${query}`;
  if (shownFor === url + wanted.units) return;
  const request = ++asked;
  try {
    const levels = levelsOf(await json(url));
    if (request !== asked) return;
    shownFor = url + wanted.units;
    const when = formatTime(wanted.valid);
    $("profile-what").textContent = [when, wanted.note].filter(Boolean).join(", ");
    drawn = { levels, label: t("Skew-T diagram, {time}; the values are in the table below it", { time: when }), south: latitude < 0 };
    redraw();
    tabulate(levels, wanted.units);
    $("profile-part").dataset.shown = wanted.valid;
  } catch (error) {
    if (request === asked) showMessage(/** @type {Error} */ (error).message, true);
  }
}

function redraw() {
  if (drawn) drawSkewT($("profile"), drawn.levels, drawn.label, drawn.south);
}

/** Draw again in another width, and offer the picture.
 * @param {() => void} opened */
export function bindProfile(opened) {
  $("profile-part").addEventListener("toggle", opened);
  let width = 0;
  new ResizeObserver(() => {
    if ($("profile").clientWidth === width) return;
    width = $("profile").clientWidth;
    redraw();
  }).observe($("profile"));
  bindPicture($("profile-svg"), () => $("profile").querySelector("svg"), "profile");
}

/** @param {LevelOf[]} levels @param {string} system of units */
function tabulate(levels, system) {
  const plain = { limits: null, limits_at: {} };
  const heat = inUnits({ units: "°C", scale: 1, offset: 0, ...plain }, system);
  const speed = inUnits({ units: "m s⁻¹", scale: 1, offset: 0, ...plain }, system);
  /** @param {number | null} value @param {typeof heat} style */
  const text = (value, style) => (value === null ? "–" : written(value * style.scale + style.offset, 1));
  const head = ["hPa", `${t("Temperature")} (${heat.units})`, `${t("Dew point")} (${heat.units})`, `${t("Wind")} (${speed.units})`, t("Wind from (°)")];
  const rows = levels.map(({ pressure, temperature, dewPoint: dew, u, v }) => [
    String(pressure), text(temperature, heat), text(dew, heat),
    text(u === null || v === null ? null : Math.hypot(u, v), speed), directionText(u, v),
  ]);
  const table = $("profile-table");
  table.tHead.rows[0].replaceChildren(...head.map((each) => tableCell("th", each)));
  table.tBodies[0].replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    line.append(...row.map((each, i) => tableCell(i === 0 ? "th" : "td", each, head[i])));
    return line;
  }));
}
