// @ts-check
// Statistics of an ensemble: those that the run keeps, and those computed here from its members.

import { field } from "./api.js";
import { pack } from "./field.js";

/** @typedef {import("./field.js").Field} Field */
/** @typedef {import("./field.js").Style} Style */
/** @typedef {{ size: number, members: string[], spread: boolean, quantiles: string[], note: string,
 *   probabilities: { name: string, variable: string, level: number | null, words: string }[] }} Ensemble */

const MAX_COMPUTED = 80;
/** Statistics that are computed from the members. */
export const TYPED = ["above", "quantile"];
/** @type {Map<string, Promise<Field>>} */
const computed = new Map();

/** Return the choice of statistics of an ensemble: value and text.
 * @param {Ensemble} ensemble @returns {[string, string][]} */
export function choicesOf(ensemble) {
  /** @type {[string, string][]} */
  const out = [["", ensemble.size ? `Mean of ${ensemble.size} members` : "Mean of the members"]];
  if (ensemble.spread) out.push(["spread", "Spread"]);
  if (ensemble.members.length) out.push(["above", "Probability above…"], ["quantile", "Quantile…"]);
  for (const each of ensemble.probabilities) out.push([each.name, `Probability: ${each.words}`]);
  for (const name of ensemble.quantiles) out.push([name, `Quantile ${Number(name.slice(1))} %`]);
  for (const name of ensemble.members) out.push([name, memberText(name)]);
  return out;
}

/** @param {string} name */
function memberText(name) {
  const number = Number(name.slice(1));
  return `Member ${number + 1}${number === 0 ? ", unperturbed" : ""}`;
}

/** Return what a statistic is, in words.
 * @param {Ensemble} ensemble @param {string} statistic @param {number} value typed threshold or per cent
 * @param {string} units @param {boolean} [derived] the field is computed from others, of the mean too */
export function wordsOf(ensemble, statistic, value, units, derived = false) {
  const of = ensemble.size ? `${ensemble.size} members` : "the members";
  if (statistic === "") return `${derived ? "computed from the " : ""}mean of ${of}`;
  if (statistic === "spread") return `spread of ${of} (standard deviation)`;
  if (statistic === "above") return `probability above ${value} ${units}, ${of}`;
  if (statistic === "quantile") return `${value} % quantile of ${of}`;
  if (statistic.startsWith("q")) return `${Number(statistic.slice(1))} % quantile of ${of}`;
  if (statistic.startsWith("m")) return `${memberText(statistic).toLowerCase()} (of ${of})`;
  const known = ensemble.probabilities.find(({ name }) => name === statistic);
  return `probability of ${known?.words ?? statistic}, ${of}`;
}

/** Return the style of a statistic, as on the server's maps.
 * @param {Style} style @param {string} statistic @param {Record<string, Uint32Array>} tables @returns {Style} */
export function styleFor(style, statistic, tables) {
  const plain = { ...style, offset: 0, limits: null, limits_at: {}, isolines: null, symmetric: false };
  if (statistic === "above" || statistic.startsWith("p")) {
    return { ...plain, units: "%", scale: 100, limits: [0, 100], colours: "YlGnBu", table: tables.YlGnBu };
  }
  if (statistic === "spread") return { ...plain, from_zero: true, colours: "viridis", table: tables.viridis };
  return style;
}

/** Return the share of members above a value, per cell.
 * @param {Float32Array[]} members @param {number} value in the unit of the fields */
export function shareAbove(members, value) {
  const out = new Float32Array(members[0].length);
  for (const member of members) for (let i = 0; i < out.length; i++) out[i] += member[i] > value ? 1 : 0;
  for (let i = 0; i < out.length; i++) out[i] = members.some((member) => Number.isNaN(member[i])) ? NaN : out[i] / members.length;
  return out;
}

/** Return a quantile of numbers, linear between those sorted; NaN if one is missing.
 * @param {ArrayLike<number>} numbers @param {number} share in [0, 1] */
export function quantileOf(numbers, share) {
  const sorted = Float64Array.from(numbers).sort();
  if (!sorted.length || Number.isNaN(sorted[sorted.length - 1])) return NaN;
  const at = share * (sorted.length - 1);
  const low = Math.floor(at);
  return sorted[low] + (at - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}

/** @param {Float32Array[]} members @param {number} share */
export function quantileField(members, share) {
  const numbers = new Float64Array(members.length);
  return Float32Array.from(members[0], (_, cell) => {
    members.forEach((member, k) => { numbers[k] = member[cell]; });
    return quantileOf(numbers, share);
  });
}

/** Return a promise of a statistic of a field; one computed here needs all members.
 * @param {string} run @param {Ensemble | null} ensemble
 * @param {{ variable: string, level: number | null, statistic: string, value: number }} wanted
 * `value` is the threshold in the unit of the field, or the quantile in per cent
 * @param {number} lead @param {number} nside @returns {Promise<Field>} */
export function statisticField(run, ensemble, { variable, level, statistic, value }, lead, nside) {
  if (ensemble === null || !TYPED.includes(statistic)) return field(run, { variable, level, statistic }, lead, nside);
  const key = [run, variable, level, statistic, value, lead, nside].join("/");
  let promise = computed.get(key);
  if (!promise) {
    promise = Promise.all(ensemble.members.map((name) => field(run, { variable, level, statistic: name }, lead, nside)))
      .then((members) => {
        const values = members.map((member) => member.values);
        return pack(statistic === "above" ? shareAbove(values, value) : quantileField(values, value / 100));
      });
    promise.catch(() => computed.delete(key));
    computed.set(key, promise);
    if (computed.size > MAX_COMPUTED) computed.delete(/** @type {string} */ (computed.keys().next().value));
  }
  return promise;
}
