// @ts-check
// Forecast page: map, times, point forecast and skill; the state is kept in the URL.

import { field, followRun, json, showMessage } from "./api.js";
import { Beside } from "./beside.js";
import { scoreChart } from "./charts.js";
import { differenceField, differenceStyle, leadOf, otherField } from "./compare.js";
import { decimalsFor, limitsOf, lookup, nice, placeText, rangeOf, written } from "./field.js";
import { TYPED, choicesOf, statisticField, styleFor, wordsOf } from "./ensemble.js";
import { bindGestures, zoomAt } from "./gestures.js";
import { glPainter } from "./gl.js";
import { linesOf } from "./lines.js";
import { FieldMap } from "./map.js";
import { bindLocation, bindPlaces } from "./places.js";
import { Player } from "./player.js";
import { showPoint, showValue } from "./point.js";
import { bindProfile, hasProfile, showProfile } from "./profile.js";
import { marksOf, paintScale } from "./scale.js";
import { defaultLatitude, readState, writeState } from "./state.js";
import { bindTrend, showTrend } from "./trend.js";
import { inUnits } from "./units.js";
import { Particles, Wind } from "./wind.js";
import { formatNumber, formatTime, language, t } from "./words.js";

/** @typedef {import("./field.js").Field} Field */
/** @typedef {import("./field.js").Style} Style */

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
const page = JSON.parse($("page-data").textContent);
/** @type {Record<string, Uint32Array>} */
const tables = Object.fromEntries(Object.entries(page.colours).map(([name, text]) => [name, lookup(text)]));
const LOADING_MS = 250;
/** Address of a static file of the same version. @param {string} name */
const addressOf = (name) => new URL(name, import.meta.url).href;

/** @type {Map<string, [number, number]>} */
const limits = new Map();
/** @type {import("./ensemble.js").Ensemble | null} */
const ensemble = page.ensemble;
const choices = ensemble ? choicesOf(ensemble) : [];
/** @type {[string, string][]} */
const ignored = [...page.ignored];
const state = readState(
  location.search, page, page.isolines.map((/** @type {any} */ each) => each.key), ["", ...choices.map(([name]) => name)],
  page.others.map((/** @type {any} */ each) => each.id), ignored,
);
$("ignored").hidden = !ignored.length;
$("ignored").textContent = ignored.map(([name, value]) => t("{name}={value} of the address is not known here; the default is shown.", { name, value })).join(" ");
// A statistic of an ensemble is not compared.
if (state.statistic) state.compare = "";
/** @type {FieldMap} */
let map;
/** @type {Beside} */
let beside;
/** @type {Particles} */
let particles;
/** @type {Wind | null} */
let wind = null;
let drawn = 0;

/** @param {string} name */
const rowOf = (name) => page.variables.find((/** @type {any} */ each) => each.name === name);
const row = () => rowOf(state.variable);
const levelOf = () => (row().levels ? state.level : null);
/** @returns {Style} */
const baseStyle = () => inUnits(page.styles[state.variable], state.units);
const styleOf = () => {
  const plain = { ...baseStyle(), table: tables[baseStyle().colours] };
  const style = subtracted() ? differenceStyle(plain, tables) : styleFor(plain, state.statistic, tables);
  return state.colours === "default" ? style : { ...style, table: tables[state.colours] };
};
/** The run or analysis that the map is compared with, if there is one. @returns {import("./compare.js").Other | undefined} */
const compared = () => page.others.find((/** @type {any} */ each) => each.id === state.compare);
/** The same, where it is subtracted and not shown beside the map. */
const subtracted = () => (state.show === "beside" ? undefined : compared());
const otherName = () => $("compare").selectedOptions[0].textContent;
const nameOf = () => page.styles[state.variable].label ?? row().long_name;
/** A component of the wind is interpolated as a vector, which the server does.
 * @param {string} variable */
const nsideOf = (variable) => (state.cells === "smooth" && rowOf(variable).vector ? Math.max(page.nside, page.display_nside) : page.nside);
/** Isolines are those of the member that is shown, else of the mean. */
const ofMember = () => (/^m\d/.test(state.statistic) ? state.statistic : "");
/** @param {string} variable @param {number | null} level @param {number} lead */
const readOwn = (variable, level, lead, nside = nsideOf(variable)) => field(page.run, { variable, level, statistic: ofMember() }, lead, nside);
/** The components of the wind that are of the field shown, or null: statistics but the mean and the members have none. */
const windPair = () => (state.statistic === ofMember() ? page.winds[levelOf() === null ? "surface" : "upper"] : null);
/** The typed value in the unit of the field: a threshold, or per cent. */
const typedValue = () => (state.statistic === "above" ? (state.value - baseStyle().offset) / baseStyle().scale : state.value);
/** @param {number} lead */
const fieldAt = (lead) => {
  const other = subtracted();
  if (other) {
    const there = leadOf(page.init, lead, other);
    return there === null ? Promise.reject(notOfThisTime()) : differenceField(page.run, lead, other, there, { variable: state.variable, level: levelOf() }, nsideOf(state.variable));
  }
  const nside = state.statistic === ofMember() ? nsideOf(state.variable) : page.nside;
  return statisticField(page.run, ensemble, { variable: state.variable, level: levelOf(), statistic: state.statistic, value: typedValue() }, lead, nside);
};
const notOfThisTime = () => new Error(t("{run} is not of this valid time; choose another lead time or run", { run: otherName() }));
/** Return a field of what is shown beside the map, at the same valid time; null if nothing is.
 * @param {number} lead @param {string} variable @param {number | null} level @returns {Promise<Field | null>} */
const readOther = (lead, variable, level) => {
  const other = state.show === "beside" ? compared() : undefined;
  if (!other) return Promise.resolve(null);
  const there = leadOf(page.init, lead, other);
  return there === null ? Promise.reject(notOfThisTime()) : otherField(other, there, { variable, level }, nsideOf(variable));
};
/** @param {Date} time */
const utc = (time) => formatTime(time.toISOString());

function keepState() {
  ({ longitude: state.longitude, latitude: state.latitude, zoom: state.zoom } = map.view);
  history.replaceState(null, "", writeState(page.run, state, levelOf() !== null));
  $("permalink").href = location.href;
}

/** Draw the state; return whether it is drawn, or was overtaken by another.
 * @returns {Promise<boolean>} */
async function draw() {
  const request = ++drawn;
  describe();
  keepState();
  const late = setTimeout(() => request === drawn && setStage("loading"), LOADING_MS);
  try {
    const [found, contours, winds, other, otherContours] = await Promise.all([
      fieldAt(state.lead), contoursAt(state.lead, readOwn), windAt(state.lead), readOther(state.lead, state.variable, levelOf()),
      contoursAt(state.lead, (variable, level, lead) => readOther(lead, variable, level)),
    ]);
    if (request !== drawn) return true;
    const style = styleOf();
    const key = `${state.variable}/${levelOf()}`;
    const kind = subtracted()?.id ?? (ofMember() ? "" : state.statistic);
    const range = limits.get(`${key}/${kind}/${state.units}`) ?? limitsOf(style, found.values, levelOf());
    limits.set(`${key}/${kind}/${state.units}`, range);
    map.scene = { field: found, next: null, share: 0, style, limits: range, smooth: state.cells === "smooth" };
    map.contours = contours;
    wind = winds;
    map.barbs = state.wind === "barbs" ? winds : null;
    showBeside(other, otherContours);
    map.draw();
    drift();
    drawBar(style, range, found.values);
    setStage("ready");
    showValue(state.variable, levelOf(), state.lead);
    profile();
    $("map").dataset.shown = `${key}/${state.lead}`;
    $("map").dataset.statistic = state.statistic;
    $("map").dataset.compare = state.compare;
    return true;
  } catch (error) {
    if (request !== drawn) return true;
    // A map of another time than the page says would mislead.
    map.scene = null;
    beside.hide();
    map.context.clearRect(0, 0, map.canvas.width, map.canvas.height);
    particles.stop();
    delete $("map").dataset.shown;
    setStage("error", /** @type {Error} */ (error).message);
    return false;
  } finally {
    clearTimeout(late);
  }
}

/** @param {"loading" | "error" | "ready"} name @param {string} [text] */
function setStage(name, text = "") {
  $("stage").dataset.state = name;
  $("state").hidden = name === "ready";
  $("state-text").textContent = name === "error" ? t("This map did not load: {reason}", { reason: text }) : t("Loading…");
  $("retry").hidden = name !== "error";
}

/** Show the other field beside the map, or the map alone.
 * @param {Field | null} other @param {import("./map.js").Contours | null} contours */
function showBeside(other, contours) {
  if (other === null || map.scene === null) {
    beside.hide();
    return;
  }
  const what = `${$("field-title").textContent}, ${map.scene.style.units}`;
  /** @type {[string, string]} */
  const titles = [`${t("This run")}: ${what}`, `${otherName()}: ${what}`];
  const label = t("Map of {what}, valid {time}", { what: `${titles[1]}`, time: $("valid").textContent });
  beside.show({ ...map.scene, field: other, next: null, share: 0 }, contours, titles, label);
}

/** Return the isolines that are wanted, or null.
 * @param {number} lead
 * @param {(variable: string, level: number | null, lead: number) => Promise<Field | null>} read
 * @returns {Promise<import("./map.js").Contours | null>} */
async function contoursAt(lead, read) {
  const own = page.styles[state.variable];
  if (state.isolines === "none" || (state.isolines === "auto" && own.isolines === null)) return null;
  const other = page.isolines.find((/** @type {any} */ each) => each.key === state.isolines);
  const [variable, level] = other ? [other.variable, other.level] : [state.variable, levelOf()];
  const style = page.styles[variable];
  const found = await read(variable, level, lead);
  if (found === null) return null;
  const [low, high] = rangeOf(found.values);
  const spacing = style.isolines ?? nice((style.scale * (high - low)) / 12);
  return { field: found, scale: style.scale, offset: style.offset, spacing, centres: style.isolines !== null };
}

/** @param {number} lead */
async function windAt(lead) {
  const pair = windPair();
  if (state.wind === "none" || pair === null) return null;
  const level = rowOf(pair[0]).levels ? state.level : null;
  const [east, north] = await Promise.all(pair.map((/** @type {string} */ name) => readOwn(name, level, lead, page.nside)));
  return new Wind(east, north);
}

/** Let particles drift where the wind is drawn by them. */
function drift() {
  const canvas = $("flow");
  canvas.hidden = state.wind !== "particles" || wind === null;
  if (canvas.hidden) {
    particles.stop();
    return;
  }
  [canvas.width, canvas.height] = [map.canvas.width, map.canvas.height];
  particles.start(() => (wind === null ? null : {
    wind, projection: map.projection, zoom: map.view.zoom, ratio: map.ratio, moving: map.moving,
  }));
}

function describe() {
  const valid = new Date(Date.parse(page.init) + state.lead * 3600e3);
  $("valid").textContent = utc(valid);
  $("valid-local").textContent = localTime(valid);
  $("slider-text").textContent = `+${state.lead} h`;
  $("lead").textContent = t("+{hours} h (day {day})", { hours: state.lead, day: formatNumber(state.lead / 24, { maximumFractionDigits: 2 }) });
  const level = levelOf();
  const title = level === null ? nameOf() : t("{name} at {level} hPa", { name: nameOf(), level });
  $("field-title").textContent = title;
  const other = subtracted();
  const nature = [...(other ? [t("difference from {run}", { run: otherName() })] : []), ...(ensemble ? [wordsOf(ensemble, state.statistic, state.value, baseStyle().units, row().derived)] : []), ...page.nature.map((/** @type {string} */ word) => t(word))].join(", ");
  $("nature").hidden = nature === "";
  $("nature").textContent = nature.slice(0, 1).toUpperCase() + nature.slice(1);
  $("map").setAttribute("aria-label", t("Map of {what}, valid {time}", { what: `${title}${nature && `, ${nature}`}`, time: utc(valid) }));
  $("slider").value = String(page.leads.indexOf(state.lead));
  $("slider").setAttribute("aria-valuetext", t("lead {hours} hours, valid {time}", { hours: state.lead, time: utc(valid) }));
  $("level").disabled = level === null;
  $("level").closest("label").classList.toggle("off", level === null);
  $("show").disabled = compared() === undefined;
  $("show").closest("label").classList.toggle("off", $("show").disabled);
  $("wind").disabled = windPair() === null;
  $("wind").closest("label").classList.toggle("off", windPair() === null);
  const query = new URLSearchParams({ lead_time: String(state.lead) });
  if (level !== null) query.set("level", String(level));
  const projection = { globe: "orthographic", flat: "robinson", north: "north_polar", south: "south_polar" }[state.view];
  query.set("projection", projection ?? "robinson");
  query.set("longitude", state.longitude.toFixed(0));
  if (state.view === "globe") query.set("latitude", state.latitude.toFixed(0));
  if (state.isolines === "none") query.set("isolines", "false");
  if (state.wind !== "none" && windPair() !== null) query.set("wind", "true");
  if (state.colours !== "default") query.set("cmap", state.colours);
  if (state.statistic) query.set("statistic", state.statistic);
  if (other) query.set("difference", other.id);
  const place = `/v1/forecasts/${page.run}/maps/${state.variable}`;
  $("png").href = `${place}.png?${query}`;
  $("svg").href = `${place}.svg?${query}`;
  $("embed").value = `<img src="${location.origin}${place}.png?${query}" width="1000" alt="${title}, ${utc(valid)}">`.replaceAll("&", "&amp;");
  query.delete("lead_time");
  query.set("width", "800");
  $("webp").href = `${place}.webp?${query}`;
  // The server draws what a run keeps; what is computed here from members it does not have.
  const kept = !TYPED.includes(state.statistic) && other?.analysis === undefined;
  for (const id of ["png", "svg", "webp"]) $(id).hidden = !kept;
  $("webp").hidden = !kept || other !== undefined; // which has not all of these times
  $("embed").closest("details").hidden = !kept;
}

/** Return a time in the reader's zone, or nothing where that is UTC.
 * @param {Date} time */
function localTime(time) {
  if (time.getTimezoneOffset() === 0) return "";
  return time.toLocaleString(language, { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
}

/** Draw the colour bar; triangles at its ends say that values lie beyond.
 * @param {Style} style @param {[number, number]} range @param {Float32Array} values */
function drawBar(style, range, values) {
  const canvas = $("bar");
  paintScale(canvas, style.table);
  $("ticks").replaceChildren(...marksOf(range, canvas.clientWidth < 500 ? 6 : 9));
  $("bar-units").textContent = style.units;
  const [low, high] = rangeOf(values).map((value) => value * style.scale + style.offset);
  const slack = 1e-4 * (range[1] - range[0]);
  /** @param {number} pixel */
  const css = (pixel) => `rgb(${pixel & 255}, ${(pixel >> 8) & 255}, ${(pixel >> 16) & 255})`;
  for (const [end, beyond, colour] of [
    [$("under"), low < range[0] - slack, style.table[0]],
    [$("over"), high > range[1] + slack, style.table[style.table.length - 1]],
  ]) {
    end.hidden = !beyond;
    end.style.setProperty("background", css(colour));
  }
}

/** @param {number} index */
function setLead(index) {
  state.lead = page.leads[Math.max(0, Math.min(page.leads.length - 1, index))];
  return draw();
}

const player = new Player({
  leads: page.leads,
  now: () => state.lead,
  speed: () => Number(state.speed),
  load: fieldAt,
  fade(next, share) {
    if (map.scene === null) return;
    map.scene.next = next;
    map.scene.share = share;
    map.draw();
  },
  show: (lead) => setLead(page.leads.indexOf(lead)),
  changed(playing) {
    $("play").setAttribute("aria-pressed", String(playing));
    $("play").textContent = playing ? t("Pause") : t("Play");
    if (!playing && map.scene?.share) {
      map.scene.share = 0;
      map.draw();
    }
    if (playing) for (const lead of page.leads) fieldAt(lead).catch(() => {});
  },
});

/** Show the vertical profile and the trend at the point, where they are open. */
function profile() {
  void showProfile({
    model: page.model, run: page.run, place: state.point, units: state.units,
    valid: new Date(Date.parse(page.init) + state.lead * 3600e3).toISOString().replace(".000", ""),
    note: ensemble ? wordsOf(ensemble, "", NaN, "") : "",
  });
  const style = baseStyle();
  void showTrend({
    run: page.run, init: page.init, lead: state.lead, place: state.point, variable: state.variable, level: levelOf(),
    name: nameOf(), units: style.units, scale: style.scale, offset: style.offset,
  }, page.others);
}

function pointChanged() {
  map.mark = state.point;
  map.drawSoon();
  if (map.twin) {
    map.twin.mark = state.point;
    map.twin.drawSoon();
  }
  keepState();
  if (state.point === null) return Promise.resolve();
  profile();
  const level = levelOf();
  const what = {
    variable: state.variable, derived: row().derived, level, name: level === null ? nameOf() : t("{name} at {level} hPa", { name: nameOf(), level }), style: baseStyle(),
    hasNormal: page.normals.includes(state.variable), units: state.units, wind: page.winds.surface, note: subtracted() ? t("the forecast itself, not its difference") : "",
    others: page.variables.filter((/** @type {any} */ each) => !each.levels && !each.vector && !each.derived).map((/** @type {any} */ each) => ({
      name: each.name, long_name: page.styles[each.name].label ?? each.long_name, style: inUnits(page.styles[each.name], state.units),
    })),
  };
  return showPoint(page.run, state.point, what, ensemble, () => state.lead);
}

async function showScores() {
  const { evaluation } = page;
  const query = new URLSearchParams({ evaluation: evaluation?.id ?? "", variable: state.variable, region: "global" });
  if (levelOf() !== null) query.set("level", String(state.level));
  const scored = evaluation?.fields.includes(levelOf() === null ? state.variable : `${state.variable}:${state.level}`) ?? false;
  $("scores-of").textContent = scored ? evaluation.label : "";
  $("no-scores").hidden = scored;
  $("scores").hidden = !scored;
  if (!scored) return; // the service would refuse it
  const metric = $("metric").value;
  try {
    const found = await json(`/v1/scores?${query}`);
    $("no-scores").hidden = found.records.length > 0;
    $("scores").hidden = found.records.length === 0;
    if (found.records.length) scoreChart($("scores"), found.records, metric, row().units);
  } catch (error) {
    $("no-scores").hidden = false;
    $("no-scores").textContent = /** @type {Error} */ (error).message;
  }
}

/** Offer the value that a statistic needs, with a first one. */
function offerValue() {
  if (!ensemble) return;
  const typed = TYPED.includes(state.statistic);
  $("value-label").hidden = !typed;
  if (!typed) {
    state.value = NaN;
    return;
  }
  const above = state.statistic === "above";
  $("value-text").textContent = above ? t("Above ({units})", { units: baseStyle().units }) : t("Quantile (%)");
  $("value").min = above ? "" : "0";
  $("value").max = above ? "" : "100";
  if (!Number.isFinite(state.value)) {
    const [low, high] = limits.get(`${state.variable}/${levelOf()}//${state.units}`)
      ?? baseStyle().limits ?? baseStyle().limits_at[levelOf() ?? 0] ?? [0, 0];
    state.value = above ? Math.round((low + high) / 2) : 90;
  }
  $("value").value = String(state.value);
}

function bindStatistic() {
  if (!ensemble) return;
  $("statistic").replaceChildren(...choices.map(([name, text]) => new Option(text, name)));
  $("statistic").value = state.statistic;
  $("statistic").addEventListener("change", () => {
    state.statistic = $("statistic").value;
    state.value = NaN;
    if (state.statistic) state.compare = $("compare").value = "";
    const kept = ensemble.probabilities.find(({ name }) => name === state.statistic);
    if (kept) {
      state.variable = $("variable").value = kept.variable;
      if (kept.level !== null) state.level = Number(($("level").value = String(kept.level)));
      void pointChanged();
    }
    offerValue();
    void draw();
  });
  $("value").addEventListener("change", () => {
    const value = $("value").valueAsNumber;
    const above = state.statistic === "above";
    if (!Number.isFinite(value) || (!above && (value < 0 || value > 100))) {
      showMessage(above ? t("The threshold is not a number.") : t("A quantile is between 0 and 100 %."), true);
      return;
    }
    showMessage("");
    state.value = value;
    void draw();
  });
  offerValue();
}

/** A kept probability is of one field only, and spread and quantiles are of no derived field: with
 * another one the mean is shown. */
function fitStatistic() {
  const kept = ensemble?.probabilities.find(({ name }) => name === state.statistic);
  const lacks = row().derived && /^(spread$|q\d)/.test(state.statistic);
  if (lacks || (kept && (kept.variable !== state.variable || kept.level !== levelOf()))) state.statistic = $("statistic").value = "";
  if (state.statistic === "above") state.value = NaN;
  offerValue();
}

function bindControls() {
  for (const name of ["variable", "level", "view", "cells", "isolines", "wind", "colours", "speed", "units", "compare", "show"]) {
    $(name).value = String(state[/** @type {keyof typeof state} */ (name)]);
  }
  const changed = () => {
    state.variable = $("variable").value;
    state.level = Number($("level").value);
    fitStatistic();
    void draw();
    void pointChanged();
    void showScores();
  };
  $("variable").addEventListener("change", changed);
  $("level").addEventListener("change", changed);
  $("metric").addEventListener("change", showScores);
  $("view").addEventListener("change", () => {
    state.view = $("view").value;
    map.setView({ kind: state.view, latitude: defaultLatitude(state.view), zoom: 1 });
    void draw();
  });
  for (const name of /** @type {const} */ (["cells", "isolines", "wind", "colours"])) {
    $(name).addEventListener("change", () => {
      state[name] = $(name).value;
      void draw();
    });
  }
  $("show").addEventListener("change", () => {
    state.show = $("show").value;
    void draw();
    void pointChanged();
  });
  $("compare").addEventListener("change", () => {
    state.compare = $("compare").value;
    if (state.compare && state.statistic) {
      state.statistic = $("statistic").value = "";
      offerValue();
    }
    void draw();
    void pointChanged();
  });
  $("units").addEventListener("change", () => {
    state.units = $("units").value;
    state.value = NaN;
    offerValue();
    void draw();
    void pointChanged();
  });
  $("speed").addEventListener("change", () => {
    state.speed = $("speed").value;
    keepState();
  });
  $("slider").addEventListener("input", () => setLead(Number($("slider").value)));
  $("play").addEventListener("click", () => player.toggle());
  $("retry").addEventListener("click", draw);
  for (const [id, factor] of /** @type {[string, number][]} */ ([["zoom-in", 1.5], ["zoom-out", 1 / 1.5], ["zoom-none", 0]])) {
    $(id).addEventListener("click", () => {
      const box = map.canvas.getBoundingClientRect();
      if (factor) zoomAt(map, factor, box.left + box.width / 2, box.top + box.height / 2);
      else map.moveTo({ zoom: 1, latitude: defaultLatitude(state.view) });
      keepState();
    });
  }
  for (const item of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-active="yes"]'))) {
    void followRun(/** @type {string} */ (item.dataset.run), (run) => {
      const status = /** @type {HTMLElement} */ (item.querySelector(".status"));
      status.className = `status ${run.status}`;
      status.textContent = t(run.status);
    });
  }
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    map.resize();
    map.draw();
    map.twin?.resize();
    map.twin?.draw();
    drift();
  });
}

/** @param {{ longitude: number, latitude: number } | null} place */
function hover(place) {
  const text = place === null ? "" : readOut(map, place);
  $("hover").hidden = text === "";
  $("hover").textContent = text;
  beside.hover(place, readOut);
}

/** Return a place and the value that a map shows there, or nothing.
 * @param {FieldMap} of @param {{ longitude: number, latitude: number }} place */
function readOut(of, place) {
  const value = of.valueAt(place);
  if (!of.scene || !Number.isFinite(value)) return "";
  const { style, limits: range } = of.scene;
  return `${placeText(place, 1)}: ${written(value * style.scale + style.offset, decimalsFor(range))} ${style.units}`;
}

async function start() {
  // ?painter=canvas avoids WebGL2, which some graphics drivers implement incorrectly.
  const wanted = new URLSearchParams(location.search).get("painter");
  map = new FieldMap($("map"), wanted === "canvas" ? null : glPainter(wanted === "webgl"));
  map.view = { kind: state.view, longitude: state.longitude, latitude: state.latitude, zoom: state.zoom };
  map.mark = state.point;
  map.resize();
  particles = new Particles($("flow"));
  bindControls();
  bindStatistic();
  $("profile-part").hidden = !hasProfile(page);
  bindProfile(profile);
  bindTrend(profile);
  const handlers = {
    /** @param {{ longitude: number, latitude: number }} place */
    pick(place) {
      state.point = place;
      void pointChanged();
    },
    hover,
    moved: () => { describe(); keepState(); },
  };
  beside = new Beside(map, handlers);
  bindGestures($("map"), map, handlers);
  /** @param {{ latitude: number, longitude: number }} place */
  const goTo = (place) => {
    state.point = place;
    map.setView(place);
    void pointChanged();
  };
  /** @param {string} text */
  const tell = (text) => showMessage(text, text !== "");
  bindPlaces($("place"), $("place-list"), () => json(addressOf("places.json")), goTo, tell);
  bindLocation($("locate"), goTo, tell);
  /** @param {string} resolution */
  const readLines = async (resolution) => {
    const [coasts, borders] = await Promise.all(["coastlines", "borders"].map((kind) => json(addressOf(`${kind}-${resolution}.json`))));
    return [linesOf(coasts), linesOf(borders)];
  };
  const lines = readLines("110m").then((found) => { [map.coast.coarse, map.borders.coarse] = found; });
  map.wantFine = () => {
    map.wantFine = null;
    readLines("50m").then((found) => {
      [map.coast.fine, map.borders.fine] = found;
      map.drawSoon();
      map.twin?.drawSoon();
    }, () => {});
  };
  await Promise.all([draw(), lines.then(() => map.draw(), (error) => showMessage(error.message, true))]);
  document.body.dataset.ready = "yes";
  performance.mark("first map");
  await Promise.all([pointChanged(), showScores()]);
  document.body.dataset.charts = "yes";
}

void start();
