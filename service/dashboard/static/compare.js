// @ts-check
// Another run, or an analysis, beside the run shown: which of its steps is of the same time, and
// the difference.

import { analysisField, field } from "./api.js";
import { pack } from "./field.js";

/** @typedef {import("./field.js").Field} Field */
/** @typedef {import("./field.js").Style} Style */
/** A run to compare with; `lead` is its longest lead time, hours. An analysis has a name, and
 * `leads` are the lead times of the run shown whose valid times it has; its own are those.
 * @typedef {{ id: string, init: string, lead: number, analysis?: string, leads?: number[] }} Other */

const HOUR = 3600e3;
const COLOURS = "PuOr_r";
const MAX_KEPT = 80;
/** @type {Map<string, Promise<Field>>} */
const kept = new Map();

/** Return the lead time at which another run is of the same valid time, or null.
 * @param {string} init @param {number} lead hours @param {Other} other @returns {number | null} */
export function leadOf(init, lead, other) {
  if (other.leads && !other.leads.includes(lead)) return null;
  const there = lead + (Date.parse(init) - Date.parse(other.init)) / HOUR;
  return there >= 0 && there <= other.lead ? there : null;
}

/** Return the first minus the second, per cell; missing where either is.
 * @param {Float32Array} one @param {Float32Array} two */
export function subtract(one, two) {
  if (one.length !== two.length) throw new RangeError(`fields of ${one.length} and ${two.length} cells have no difference`);
  return one.map((value, cell) => value - two[cell]);
}

/** Return the style of a difference: K of °C, the same colours on both sides of zero.
 * @param {Style} style @param {Record<string, Uint32Array>} tables @returns {Style} */
export function differenceStyle(style, tables) {
  return {
    ...style, units: style.units === "°C" ? "K" : style.units, offset: 0, limits: null, limits_at: {}, from_zero: false,
    symmetric: true, isolines: null, colours: COLOURS, table: tables[COLOURS],
  };
}

/** Return a promise of a field of another run or of an analysis.
 * @param {Other} other @param {number} there its lead time, hours
 * @param {{ variable: string, level: number | null }} wanted @param {number} nside */
export function otherField(other, there, wanted, nside) {
  if (other.analysis === undefined) return field(other.id, { ...wanted, statistic: "" }, there, nside);
  const time = new Date(Date.parse(other.init) + there * HOUR).toISOString().replace(".000", "");
  return analysisField(other.analysis, wanted, time, nside);
}

/** Return a promise of a field of a run minus that of another, or of an analysis.
 * @param {string} run @param {number} lead @param {Other} other @param {number} there its lead time, hours
 * @param {{ variable: string, level: number | null }} wanted @param {number} nside @returns {Promise<Field>} */
export function differenceField(run, lead, other, there, { variable, level }, nside) {
  const key = [run, lead, other.id, variable, level, nside].join("/");
  let promise = kept.get(key);
  if (!promise) {
    const wanted = { variable, level, statistic: "" };
    promise = Promise.all([field(run, wanted, lead, nside), otherField(other, there, wanted, nside)])
      .then(([one, two]) => pack(subtract(one.values, two.values)));
    promise.catch(() => kept.delete(key));
    kept.set(key, promise);
    if (kept.size > MAX_KEPT) kept.delete(/** @type {string} */ (kept.keys().next().value));
  }
  return promise;
}
