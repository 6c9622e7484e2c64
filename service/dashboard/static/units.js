// @ts-check
// Units on choice: the style of a variable, converted.

/** @typedef {import("./field.js").Style} Style */

/** Systems of units: for a unit of the styles another one, its factor and its offset.
 * @type {Record<string, Record<string, [string, number, number]>>} */
const SYSTEMS = {
  metric: {},
  kilometres: { "m s⁻¹": ["km/h", 3.6, 0] },
  knots: { "m s⁻¹": ["kt", 3600 / 1852, 0] },
  us: { "°C": ["°F", 1.8, 32], "m s⁻¹": ["mph", 3600 / 1609.344, 0], mm: ["in", 1 / 25.4, 0] },
};
export const UNITS = Object.keys(SYSTEMS);

/** Return a style in the units of a system.
 * @template {Pick<Style, "units" | "scale" | "offset" | "limits" | "limits_at">} T
 * @param {T} style @param {string} system @returns {T} */
export function inUnits(style, system) {
  const found = SYSTEMS[system]?.[style.units];
  if (!found) return style;
  const [units, factor, shift] = found;
  const limits = (/** @type {[number, number]} */ [low, high]) => /** @type {[number, number]} */ ([factor * low + shift, factor * high + shift]);
  return {
    ...style, units, scale: factor * style.scale, offset: factor * style.offset + shift,
    limits: style.limits && limits(style.limits),
    limits_at: Object.fromEntries(Object.entries(style.limits_at).map(([level, range]) => [level, limits(range)])),
  };
}
