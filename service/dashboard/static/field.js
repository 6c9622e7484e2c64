// @ts-check
// A field as it arrives, and how it is shown: limits, ticks, numbers and colours.

import { nsideOf, toRing } from "./healpix.js";
import { t, withMark } from "./words.js";

/** @typedef {{ units: string, scale: number, offset: number, colours: string, symmetric: boolean,
 *   limits: [number, number] | null, limits_at: Record<string, [number, number]>,
 *   isolines: number | null, from_zero: boolean, label: string | null,
 *   table: Uint32Array }} Style */
/** Values of all cells: `values` in nested order, `packed` and `ring` in ring order.
 * @typedef {{ values: Float32Array, packed: Uint16Array, ring: Float32Array, scale: number,
 *   offset: number, nside: number }} Field */

export const MISSING = 65535;

/** Decode a field packed into 16-bit numbers.
 * @param {ArrayBuffer} buffer @param {Headers} headers @returns {Field} */
export function decode(buffer, headers) {
  return unpack(new Uint16Array(buffer), Number(headers.get("PEAR-Scale")), Number(headers.get("PEAR-Offset")));
}

/** @param {Uint16Array} packed nested @param {number} scale @param {number} offset @returns {Field} */
export function unpack(packed, scale, offset) {
  const values = new Float32Array(packed.length);
  for (let i = 0; i < packed.length; i++) {
    values[i] = packed[i] === MISSING ? NaN : offset + scale * packed[i];
  }
  return { values, packed: toRing(packed), ring: toRing(values), scale, offset, nside: nsideOf(packed.length) };
}

/** Pack values computed here as the server packs its fields.
 * @param {Float32Array} values nested @returns {Field} */
export function pack(values) {
  const [low, high] = rangeOf(values);
  const scale = (high - low) / 65_534 || 1;
  const packed = Uint16Array.from(values, (value) => (Number.isFinite(value) ? Math.round((value - low) / scale) : MISSING));
  return unpack(packed, scale, low);
}

/** Return the lowest and highest value; missing ones are passed over.
 * @param {Iterable<number>} values @returns {[number, number]} */
export function rangeOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? [0, 0] : [low, high];
}

/** Return the limits of the colour bar: those of the style, or rounded percentiles.
 * @param {Style} style @param {Float32Array} values @param {number | null} level
 * @returns {[number, number]} */
export function limitsOf(style, values, level) {
  const given = level === null ? style.limits : (style.limits_at[level] ?? style.limits);
  if (given) return given;
  const sorted = Float32Array.from(values).filter(Number.isFinite).sort();
  /** @param {number} share */
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))] * style.scale + style.offset;
  let [low, high] = sorted.length ? [at(0.005), at(0.995)] : [0, 1];
  if (style.symmetric) {
    high = Math.max(Math.abs(low), Math.abs(high));
    low = -high;
  }
  if (style.from_zero) low = 0;
  const step = nice((high - low) / 10);
  [low, high] = [Math.floor(low / step) * step, Math.ceil(high / step) * step];
  return high > low ? [low, high] : [low - step, high + step];
}

/** Return round values for at most `most` ticks of a scale.
 * @param {[number, number]} limits @param {number} most */
export function ticksOf([low, high], most) {
  const step = nice((high - low) / (most - 1));
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-6); k * step <= high + 1e-6 * step; k++) {
    ticks.push({ value: k * step, at: (k * step - low) / (high - low), text: written(k * step, digits) });
  }
  return ticks;
}

/** Format a number with a minus sign instead of a hyphen, and the decimal mark of the language.
 * @param {number} value @param {number} digits */
export function written(value, digits) {
  const text = withMark(value.toFixed(digits));
  return Number(value.toFixed(digits)) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
}

/** Format a value with three significant digits, or one decimal if it is large.
 * @param {number} value */
export function figures(value) {
  const digits = Math.max(1, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 1e-9))));
  return written(value, Math.min(digits, 6));
}

/** Return the decimals with which values are told on a scale: a hundredth of it and finer.
 * @param {[number, number]} limits */
export function decimalsFor([low, high]) {
  return Math.max(0, Math.min(8, Math.ceil(2 - Math.log10(high - low) - 1e-9)));
}

/** Round a span up to 1, 2 or 5 times a power of ten.
 * @param {number} span */
export function nice(span) {
  if (!(span > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(span));
  return power * (/** @type {number} */ ([1, 2, 5, 10].find((factor) => factor * power >= span * 0.999)));
}

/** Return 32-bit pixels from the "rrggbb…" text of a colour map.
 * @param {string} text */
export function lookup(text) {
  const table = new Uint32Array(text.length / 6);
  for (let i = 0; i < table.length; i++) {
    const rgb = parseInt(text.slice(6 * i, 6 * i + 6), 16);
    table[i] = 0xff000000 | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16);
  }
  return table;
}

/** Return factor and shift from packed values to positions in the colour map.
 * @param {Field} field @param {Style} style @param {[number, number]} limits @returns {[number, number]} */
export function shadeOf({ scale, offset }, style, [low, high]) {
  const size = style.table.length;
  return [
    (style.scale * scale * size) / (high - low),
    ((style.scale * offset + style.offset - low) * size) / (high - low),
  ];
}

/** Return a place as text: 12.30° N, 45.60° E.
 * @param {{ latitude: number, longitude: number }} place @param {number} digits */
export function placeText({ latitude, longitude }, digits = 2) {
  const [north, east] = [written(Math.abs(latitude), digits), written(Math.abs(longitude), digits)];
  return `${north}° ${latitude < 0 ? t("S") : t("N")}, ${east}° ${longitude < 0 ? t("W") : t("E")}`;
}
