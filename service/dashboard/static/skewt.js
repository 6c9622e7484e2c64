// @ts-check
// Skew-T log-p diagram: the curves of thermodynamics, and the drawing of a profile, by the
// conventions of MetPy (30° of skew, adiabats every 10 K, mixing ratios up to 600 hPa).

import { add, paint } from "./charts.js";
import { written } from "./field.js";
import { t } from "./words.js";
import { barbPath } from "./wind.js";

/** A profile from the ground up: hPa, °C, °C, m s⁻¹.
 * @typedef {{ pressure: number, temperature: number | null, dewPoint: number | null,
 *   u: number | null, v: number | null }} LevelOf */

const ZERO = 273.15;
const EPSILON = 0.622;
const R_DRY = 287.05; // J kg⁻¹ K⁻¹
const CP_DRY = 1004.7;
const LATENT = 2.501e6; // J kg⁻¹
const KAPPA = 0.2857;
// Saturation over water, as in the service's formulas (IFS, part IV).
const [A1, A3, A4, TRIPLE] = [6.1121, 17.502, 32.19, 273.16];
const DRIEST = 1e-8;

const [BOTTOM, TOP] = [1050, 100];
const [COLDEST, WARMEST] = [-50, 50];
const SKEW = Math.tan(Math.PI / 6);
const MIXING = [0.0004, 0.001, 0.002, 0.004, 0.007, 0.01, 0.016, 0.024, 0.032];
const MIXING_TOP = 600;
const LINES = [1000, 850, 700, 500, 400, 300, 250, 200, 150, 100];

/** Return the saturation vapour pressure over water, hPa.
 * @param {number} temperature °C */
export function saturation(temperature) {
  const kelvin = temperature + ZERO;
  return A1 * Math.exp((A3 * (kelvin - TRIPLE)) / (kelvin - A4));
}

/** Return the temperature at which a vapour pressure saturates over water, °C.
 * @param {number} vapour hPa */
export function dewPointOf(vapour) {
  const x = Math.log(vapour / A1);
  return (A3 * TRIPLE - A4 * x) / (A3 - x) - ZERO;
}

/** Return the dew point of air, °C.
 * @param {number} humidity specific humidity, kg kg⁻¹ @param {number} pressure hPa */
export function dewPoint(humidity, pressure) {
  const q = Math.max(humidity, DRIEST);
  return dewPointOf((q * pressure) / (EPSILON + (1 - EPSILON) * q));
}

/** Return the temperature on a dry adiabat, °C.
 * @param {number} theta potential temperature, °C @param {number} pressure hPa */
export function dryAdiabat(theta, pressure) {
  return (theta + ZERO) * (pressure / 1000) ** KAPPA - ZERO;
}

/** Return the temperature of a mixing ratio's saturation, °C.
 * @param {number} ratio kg kg⁻¹ @param {number} pressure hPa */
export function mixingLine(ratio, pressure) {
  return dewPointOf((ratio * pressure) / (EPSILON + ratio));
}

/** Return dT/dln p on a saturated pseudoadiabat, K.
 * @param {number} temperature °C @param {number} pressure hPa */
function moistSlope(temperature, pressure) {
  const [kelvin, vapour] = [temperature + ZERO, saturation(temperature)];
  const ratio = (EPSILON * vapour) / (pressure - vapour);
  return (R_DRY * kelvin + LATENT * ratio) / (CP_DRY + (LATENT * LATENT * ratio * EPSILON) / (R_DRY * kelvin * kelvin));
}

/** Return temperatures on a saturated pseudoadiabat, °C, by Runge-Kutta steps in ln p.
 * @param {number} start °C at the first pressure @param {number[]} pressures hPa, either way */
export function moistAdiabat(start, pressures) {
  const out = [start];
  let temperature = start;
  for (let i = 1; i < pressures.length; i++) {
    const whole = Math.log(pressures[i] / pressures[i - 1]);
    const steps = Math.max(1, Math.ceil(Math.abs(whole) / 0.02));
    const step = whole / steps;
    let log = Math.log(pressures[i - 1]);
    for (let k = 0; k < steps; k++, log += step) {
      const a = moistSlope(temperature, Math.exp(log));
      const b = moistSlope(temperature + (a * step) / 2, Math.exp(log + step / 2));
      const c = moistSlope(temperature + (b * step) / 2, Math.exp(log + step / 2));
      const d = moistSlope(temperature + c * step, Math.exp(log + step));
      temperature += (step * (a + 2 * b + 2 * c + d)) / 6;
    }
    out.push(temperature);
  }
  return out;
}

/** Return where the diagram has a temperature and a pressure, within a frame of pixels.
 * @param {{ left: number, right: number, top: number, bottom: number }} frame */
export function axesOf({ left, right, top, bottom }) {
  /** @param {number} pressure */
  const y = (pressure) => bottom - (Math.log(BOTTOM / pressure) / Math.log(BOTTOM / TOP)) * (bottom - top);
  /** @param {number} temperature @param {number} pressure */
  const x = (temperature, pressure) =>
    left + ((temperature - COLDEST) / (WARMEST - COLDEST)) * (right - left) + SKEW * (bottom - y(pressure));
  return { x, y };
}

/** @param {number} from @param {number} to @param {number} step */
const range = (from, to, step) => Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);

/** Draw a profile.
 * @param {HTMLElement} element @param {LevelOf[]} levels @param {string} label what it is of, for readers of the screen
 * @param {boolean} south the feathers of the wind lie on the side of low pressure */
export function drawSkewT(element, levels, label, south) {
  const [width, height] = [element.clientWidth, element.clientHeight];
  element.replaceChildren();
  if (width < 120 || height < 120) return;
  const svg = add(element, "svg", { width, height, role: "img", "aria-label": label });
  const frame = { left: 46, right: width - 44, top: 10, bottom: height - 40 };
  const { x, y } = axesOf(frame);
  const clip = `clip-${element.id}`;
  const hole = add(add(svg, "defs", {}), "clipPath", { id: clip });
  add(hole, "rect", { x: frame.left, y: frame.top, width: frame.right - frame.left, height: frame.bottom - frame.top });
  const inside = add(svg, "g", { "clip-path": `url(#${clip})` });
  const pressures = [...range(TOP, BOTTOM, 25)].reverse();
  /** @param {string} name @param {number[]} temperatures @param {number[]} [at] */
  const curve = (name, temperatures, at = pressures) => {
    const points = temperatures.map((value, i) => `${x(value, at[i]).toFixed(1)} ${y(at[i]).toFixed(1)}`);
    return add(inside, "path", { class: `skew ${name}`, d: `M${points.join("L")}` });
  };
  for (const value of range(-120, WARMEST, 10)) curve(value === 0 ? "isotherm zero" : "isotherm", [value, value], [BOTTOM, TOP]);
  for (const theta of range(-50, 250, 10)) curve("dry", pressures.map((p) => dryAdiabat(theta, p)));
  const above = [1000, ...pressures.filter((p) => p < 1000)];
  for (const start of [...range(-50, -10, 10), ...range(0, 45, 5)]) curve("moist", moistAdiabat(start, above), above);
  const low = pressures.filter((p) => p >= MIXING_TOP);
  for (const ratio of MIXING) curve("mixing", low.map((p) => mixingLine(ratio, p)), low);
  for (const pressure of LINES) {
    add(inside, "line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(pressure), y2: y(pressure) });
    add(svg, "text", { x: frame.left - 5, y: y(pressure) + 4, "text-anchor": "end" }, String(pressure));
  }
  for (const value of range(COLDEST, WARMEST, 10)) {
    add(svg, "text", { x: x(value, BOTTOM), y: frame.bottom + 16, "text-anchor": "middle" }, written(value, 0));
  }
  add(svg, "rect", { class: "frame", x: frame.left, y: frame.top, width: frame.right - frame.left, height: frame.bottom - frame.top });
  add(svg, "text", { class: "title", x: (frame.left + frame.right) / 2, y: height - 6, "text-anchor": "middle" }, t("Temperature (°C)"));
  add(svg, "text", { class: "title", x: 0, y: 0, transform: `translate(10 ${(frame.top + frame.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, "hPa");
  for (const [name, key] of /** @type {["temperature" | "dewPoint", string][]} */ ([["temperature", "--warm"], ["dewPoint", "--pear"]])) {
    const known = levels.filter((level) => level[name] !== null);
    if (!known.length) continue;
    const line = curve("profile", known.map((level) => /** @type {number} */ (level[name])), known.map(({ pressure }) => pressure));
    paint(line, "stroke", key);
    if (name === "dewPoint") line.setAttribute("stroke-dasharray", "6 3");
  }
  for (const { pressure, u, v } of levels) {
    if (u === null || v === null || pressure < TOP) continue;
    const angle = (Math.atan2(u, v) * 180) / Math.PI - 90;
    const { lines, filled } = barbPath(Math.hypot(u, v), south);
    const group = add(svg, "g", { transform: `translate(${frame.right + 22} ${y(pressure).toFixed(1)}) rotate(${angle.toFixed(0)})` });
    add(group, "path", { class: "barb", d: lines });
    add(group, "path", { class: "barb full", d: filled });
  }
}
