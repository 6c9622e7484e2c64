// Forecast page: map, times, point forecast and skill; the state is kept in the URL.

import { field, followRun, json, pointUrl, showMessage } from "./api.js";
import { meteogram, scoreChart } from "./charts.js";
import { glPainter } from "./gl.js";
import { FieldMap, limitsOf, lookup, ticksOf, written } from "./map.js";

const page = JSON.parse(document.getElementById("page-data").textContent);
const $ = (id) => document.getElementById(id);
const styles = page.styles;
for (const style of Object.values(styles)) style.table = lookup(page.colours[style.colours]);

const FRAME_MS = 650;
const limits = new Map();
const state = readState();
let map;
let timer = null;
let drawn = 0;
let waiting = null;
let asked = 0;
let point = null;

function readState() {
  const query = new URLSearchParams(location.search);
  const pick = (name, allowed, fallback) =>
    (allowed.map(String).includes(query.get(name)) ? query.get(name) : String(fallback));
  const number = (name, low, high, fallback) => {
    const value = Number.parseFloat(query.get(name));
    return value >= low && value <= high ? value : fallback;
  };
  const names = page.variables.map((each) => each.name);
  const found = {
    variable: pick("variable", names, names[0]),
    level: Number(pick("level", page.levels, page.levels.includes(500) ? 500 : page.levels[0] ?? 0)),
    lead: Number(pick("lead", page.leads, page.leads.find((lead) => lead > 0) ?? page.leads[0])),
    view: pick("view", ["globe", "flat"], "globe"),
    cells: pick("cells", ["smooth", "whole"], "smooth"),
    longitude: number("lon", -180, 180, 10),
    latitude: number("lat", -90, 90, 35),
    point: null,
  };
  const [plat, plon] = [number("plat", -90, 90, null), number("plon", -180, 180, null)];
  if (plat !== null && plon !== null) found.point = { latitude: plat, longitude: plon };
  return found;
}

function writeState() {
  const query = new URLSearchParams({ run: page.run, variable: state.variable });
  if (levelOf() !== null) query.set("level", state.level);
  query.set("lead", state.lead);
  query.set("view", state.view);
  query.set("cells", state.cells);
  query.set("lon", state.longitude.toFixed(1));
  if (state.view === "globe") query.set("lat", state.latitude.toFixed(1));
  if (state.point) {
    query.set("plat", state.point.latitude.toFixed(3));
    query.set("plon", state.point.longitude.toFixed(3));
  }
  history.replaceState(null, "", `?${query}`);
}

const row = () => page.variables.find((each) => each.name === state.variable);
const levelOf = () => (row().levels ? state.level : null);
const nsideOf = () => (state.cells === "smooth" ? Math.max(page.nside, page.display_nside) : page.nside);
const nameOf = () => styles[state.variable].label ?? row().long_name;
const fieldAt = (lead) => field(page.run, state.variable, levelOf(), lead, nsideOf());
const utc = (time) => `${time.toISOString().slice(0, 16).replace("T", " ")} UTC`;

async function draw() {
  const request = ++drawn;
  describe();
  writeState();
  try {
    const values = await fieldAt(state.lead);
    if (request !== drawn) return;
    const key = `${state.variable}/${levelOf()}`;
    if (!limits.has(key)) limits.set(key, limitsOf(styles[state.variable], values.values, levelOf()));
    map.show(values, styles[state.variable], limits.get(key));
    drawBar(limits.get(key), values.values);
    showValue().catch((error) => showMessage(error.message, true));
    $("map").dataset.shown = `${key}/${state.lead}`;
    showMessage("");
  } catch (error) {
    showMessage(error.message, true);
  }
}

function describe() {
  const valid = new Date(Date.parse(page.init) + state.lead * 3600e3);
  $("valid").textContent = utc(valid);
  $("slider-text").textContent = `+${state.lead} h`;
  $("lead").textContent = `+${state.lead} h (day ${+(state.lead / 24).toFixed(2)})`;
  const level = levelOf();
  const title = nameOf() + (level === null ? "" : ` at ${level} hPa`);
  $("field-title").textContent = title;
  $("map").setAttribute("aria-label", `Map of ${title}, valid ${utc(valid)}`);
  $("slider").value = String(page.leads.indexOf(state.lead));
  $("slider").setAttribute("aria-valuetext", `lead ${state.lead} hours, valid ${utc(valid)}`);
  $("level").disabled = level === null;
  $("level").closest("label").classList.toggle("off", level === null);
  const query = new URLSearchParams({ lead_time: state.lead });
  if (level !== null) query.set("level", level);
  $("png").href = `/v1/forecasts/${page.run}/maps/${state.variable}.png?${query}`;
}

/** Draw the colour bar; triangles at its ends say that values lie beyond. */
function drawBar(limits, values) {
  const style = styles[state.variable];
  const canvas = $("bar");
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  new Uint32Array(image.data.buffer).set(style.table);
  canvas.width = 256;
  canvas.height = 1;
  context.putImageData(image, 0, 0);
  $("ticks").replaceChildren(...ticksOf(limits, canvas.clientWidth < 500 ? 6 : 9).map(({ at, text }) => {
    const tick = document.createElement("span");
    tick.textContent = text;
    tick.style.setProperty("left", `${100 * at}%`);
    return tick;
  }));
  $("units").textContent = style.units;
  const [low, high] = rangeOf(values).map((value) => value * style.scale + style.offset);
  const slack = 1e-4 * (limits[1] - limits[0]);
  const css = (pixel) => `rgb(${pixel & 255}, ${(pixel >> 8) & 255}, ${(pixel >> 16) & 255})`;
  for (const [end, beyond, colour] of [
    [$("under"), low < limits[0] - slack, style.table[0]],
    [$("over"), high > limits[1] + slack, style.table[style.table.length - 1]],
  ]) {
    end.hidden = !beyond;
    end.style.setProperty("background", css(colour));
  }
}

function rangeOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function setLead(index) {
  state.lead = page.leads[Math.max(0, Math.min(page.leads.length - 1, index))];
  return draw();
}

function play() {
  if (timer !== null) {
    clearTimeout(timer);
    timer = null;
    $("play").setAttribute("aria-pressed", "false");
    $("play").textContent = "Play";
    return;
  }
  $("play").setAttribute("aria-pressed", "true");
  $("play").textContent = "Pause";
  for (const lead of page.leads) fieldAt(lead).catch(() => {});
  const step = async () => {
    await setLead((page.leads.indexOf(state.lead) + 1) % page.leads.length);
    if (timer !== null) timer = setTimeout(step, FRAME_MS);
  };
  timer = setTimeout(step, 0);
}

async function showPoint() {
  if (!state.point) return;
  map.mark = state.point;
  map.draw();
  writeState();
  const { latitude, longitude } = state.point;
  const request = ++asked;
  const name = `${Math.abs(latitude).toFixed(2)}° ${latitude < 0 ? "S" : "N"}, ${Math.abs(longitude).toFixed(2)}° ${longitude < 0 ? "W" : "E"}`;
  try {
    const found = await json(pointUrl(page.run, state.point, state.variable, levelOf()));
    if (request !== asked) return;
    const series = found.points[0].series[0];
    const style = styles[state.variable];
    const shown = series.values.map((value) => (value === null ? null : value * style.scale + style.offset));
    point = {
      key: `${state.variable}/${levelOf()}`,
      leads: found.lead_hours,
      times: found.valid_times,
      values: series.values,
      shown,
      name: nameOf(),
      units: style.units,
    };
    $("point").hidden = false;
    $("point-place").textContent = name;
    $("point-csv").href = pointUrl(page.run, state.point, state.variable, levelOf(), "csv");
    await showValue();
  } catch (error) {
    showMessage(error.message, true);
  }
}

/** Show the value at the lead time of the map, and mark it in the time series. */
async function showValue() {
  if (point === null || point.key !== `${state.variable}/${levelOf()}`) return;
  const at = point.leads.indexOf(state.lead);
  const value = point.shown[at];
  const digits = Math.max(1, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 1e-9))));
  $("point-value").textContent = `${written(value, Math.min(digits, 6))} ${point.units}`;
  $("point-value").dataset.value = point.values[at];
  $("point-value").dataset.lead = state.lead;
  await meteogram($("meteogram"), point.times, point.shown, at, point.name, point.units);
}

function bindMap(canvas) {
  let from = null;
  canvas.addEventListener("pointerdown", (event) => {
    from = { x: event.clientX, y: event.clientY, moved: false, ...state };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    if (Math.abs(dx) + Math.abs(dy) > 4) from.moved = true;
    if (!from.moved) return;
    const turn = state.view === "globe" ? 110 / (map.projection.unit / map.ratio) : 360 / canvas.clientWidth;
    turnTo(from.longitude - dx * turn * 0.6, from.latitude + dy * turn * 0.6);
  });
  canvas.addEventListener("pointerup", (event) => {
    const clicked = from !== null && !from.moved;
    from = null;
    writeState();
    const place = clicked ? map.placeAt(event.clientX, event.clientY) : null;
    if (place) {
      state.point = place;
      showPoint();
    }
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      state.point = { latitude: state.view === "globe" ? state.latitude : 0, longitude: state.longitude };
      showPoint();
      return;
    }
    const step = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] }[event.key];
    if (!step) return;
    event.preventDefault();
    turnTo(state.longitude + step[0], state.latitude + step[1]);
    writeState();
  });
}

function turnTo(longitude, latitude) {
  state.longitude = ((longitude % 360) + 540) % 360 - 180;
  state.latitude = Math.max(-90, Math.min(90, latitude));
  map.setView({ longitude: state.longitude, latitude: state.latitude });
  waiting ??= requestAnimationFrame(() => {
    waiting = null;
    map.draw();
  });
}

async function showScores() {
  const query = new URLSearchParams({ variable: state.variable, region: "global" });
  if (levelOf() !== null) query.set("level", state.level);
  const metric = $("metric").value;
  try {
    const found = await json(`/v1/scores?${query}`);
    $("no-scores").hidden = found.records.length > 0;
    $("scores").hidden = found.records.length === 0;
    if (found.records.length) await scoreChart($("scores"), found.records, metric, row().units);
  } catch (error) {
    $("no-scores").hidden = false;
    $("no-scores").textContent = error.message;
  }
}

function bindControls() {
  $("variable").value = state.variable;
  $("level").value = String(state.level);
  $("view").value = state.view;
  $("cells").value = state.cells;
  const changed = () => {
    state.variable = $("variable").value;
    state.level = Number($("level").value);
    draw();
    showPoint();
    showScores();
  };
  $("variable").addEventListener("change", changed);
  $("level").addEventListener("change", changed);
  $("metric").addEventListener("change", showScores);
  $("view").addEventListener("change", () => {
    state.view = $("view").value;
    map.setView({ kind: state.view });
    draw();
  });
  $("cells").addEventListener("change", () => {
    state.cells = $("cells").value;
    draw();
  });
  $("slider").addEventListener("input", () => setLead(Number($("slider").value)));
  $("play").addEventListener("click", play);
  for (const row of document.querySelectorAll('[data-active="yes"]')) {
    followRun(row.dataset.run, (run) => {
      const status = row.querySelector(".status");
      status.className = `status ${run.status}`;
      status.textContent = run.status;
    });
  }
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    map.resize();
    map.draw();
  });
}

async function start() {
  // ?painter=canvas avoids WebGL2, which some graphics drivers implement incorrectly.
  const wanted = new URLSearchParams(location.search).get("painter");
  map = new FieldMap($("map"), [], wanted === "canvas" ? null : glPainter(wanted === "webgl"));
  map.view = { kind: state.view, longitude: state.longitude, latitude: state.latitude };
  map.resize();
  bindControls();
  bindMap($("map"));
  const lines = json("/static/coastlines-110m.json").then((coastlines) => {
    map.coastlines = coastlines;
    map.draw();
  });
  await Promise.all([draw(), lines]);
  document.body.dataset.ready = "yes";
  performance.mark("first map");
  await Promise.all([showPoint(), showScores()]);
  document.body.dataset.charts = "yes";
}

start();
