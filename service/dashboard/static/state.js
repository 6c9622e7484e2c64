// @ts-check
// What the forecast page shows, kept in its address: a link shows the same to others.

import { KINDS, MAX_ZOOM } from "./projections.js";
import { UNITS } from "./units.js";

/** @typedef {{ variable: string, level: number, lead: number, view: string, cells: string,
 *   longitude: number, latitude: number, zoom: number, isolines: string, wind: string,
 *   colours: string, speed: string, units: string, statistic: string, value: number, compare: string, show: string, point: { latitude: number, longitude: number } | null }} State */

/** Return the state that an address holds; what is not possible there becomes the default, and is
 * added to `ignored`, for the page to say so.
 * @param {string} search
 * @param {{ variables: { name: string }[], levels: number[], leads: number[], colours: Record<string, string> }} page
 * @param {string[]} isolines what isolines may be drawn of
 * @param {string[]} statistics of the ensemble @param {string[]} others runs to compare with
 * @param {[string, string][]} ignored names and values @returns {State} */
export function readState(search, page, isolines, statistics = [""], others = [], ignored = []) {
  const query = new URLSearchParams(search);
  /** @param {string} name @param {(string | number)[]} allowed @param {string | number} fallback */
  const pick = (name, allowed, fallback) => {
    const value = query.get(name);
    if (value !== null && allowed.map(String).includes(value)) return value;
    if (value !== null) ignored.push([name, value]);
    return String(fallback);
  };
  /** @template T @param {string} name @param {number} low @param {number} high @param {T} fallback */
  const number = (name, low, high, fallback) => {
    const text = query.get(name);
    const value = text?.trim() ? Number(text) : NaN;
    if (value >= low && value <= high) return value;
    if (text !== null) ignored.push([name, text]);
    return fallback;
  };
  const names = page.variables.map((each) => each.name);
  const [plat, plon] = [number("plat", -90, 90, null), number("plon", -180, 180, null)];
  const view = pick("view", KINDS, "globe");
  return {
    variable: pick("variable", names, names[0]),
    level: Number(pick("level", page.levels, page.levels.includes(500) ? 500 : page.levels[0] ?? 0)),
    lead: Number(pick("lead", page.leads, page.leads.find((lead) => lead > 0) ?? page.leads[0])),
    view,
    cells: pick("cells", ["smooth", "whole"], "smooth"),
    longitude: number("lon", -180, 180, 10),
    latitude: number("lat", -90, 90, defaultLatitude(view)),
    zoom: number("zoom", 1, MAX_ZOOM, 1),
    isolines: pick("isolines", ["auto", "none", "own", ...isolines], "auto"),
    wind: pick("wind", ["none", "barbs", "particles"], "none"),
    colours: pick("colours", ["default", ...Object.keys(page.colours)], "default"),
    units: pick("units", UNITS, "metric"),
    statistic: pick("statistic", statistics, ""),
    value: number("value", -1e6, 1e6, NaN),
    compare: pick("compare", ["", ...others], ""),
    show: pick("show", ["difference", "beside"], "difference"),
    speed: pick("speed", ["0.5", "1", "2", "4"], "1"),
    point: plat !== null && plon !== null ? { latitude: plat, longitude: plon } : null,
  };
}

/** Return the latitude that a map of this kind begins at.
 * @param {string} view */
export function defaultLatitude(view) {
  return { globe: 35, north: 90, south: -90 }[view] ?? 0;
}

/** Return the address of a state.
 * @param {string} run @param {State} state @param {boolean} levelled the variable has levels */
export function writeState(run, state, levelled) {
  const query = new URLSearchParams({ run, variable: state.variable });
  if (levelled) query.set("level", String(state.level));
  query.set("lead", String(state.lead));
  query.set("view", state.view);
  query.set("cells", state.cells);
  query.set("lon", state.longitude.toFixed(1));
  if (state.view === "globe" || state.zoom > 1) query.set("lat", state.latitude.toFixed(1));
  if (state.zoom > 1) query.set("zoom", state.zoom.toFixed(2));
  for (const [name, plain] of /** @type {[keyof State, string][]} */ ([
    ["isolines", "auto"], ["wind", "none"], ["colours", "default"], ["speed", "1"], ["units", "metric"],
  ])) {
    if (state[name] !== plain) query.set(name, String(state[name]));
  }
  if (state.compare) query.set("compare", state.compare);
  if (state.compare && state.show !== "difference") query.set("show", state.show);
  if (state.statistic) query.set("statistic", state.statistic);
  if (Number.isFinite(state.value)) query.set("value", String(state.value));
  if (state.point) {
    query.set("plat", state.point.latitude.toFixed(3));
    query.set("plon", state.point.longitude.toFixed(3));
  }
  return `?${query}`;
}
