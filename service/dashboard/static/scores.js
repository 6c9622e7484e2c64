// Scores page: scores by lead time, scorecard, and plots of the evaluation.

import { json } from "./api.js";
import { scoreChart } from "./charts.js";
import { written } from "./field.js";
import { t } from "./words.js";

const page = JSON.parse(document.getElementById("page-data").textContent);
const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const SHADES = 5;

const label = (name) => {
  const [variable, level] = name.split(":");
  return level ? `${page.names[variable].long_name} ${level} hPa` : page.names[variable].long_name;
};

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

/** Ask for the scores of one field in one region: all of them are megabytes. */
function ask(field, region) {
  const [variable, level] = field.split(":");
  const query = new URLSearchParams({ evaluation: $("evaluation").value, variable, region });
  if (level) query.set("level", level);
  return json(`/v1/scores?${query}`);
}

async function load() {
  const evaluation = page.evaluations.find((each) => each.id === $("evaluation").value);
  const { fields, regions } = page.choices[evaluation.choices];
  const field = [query.get("field"), "geopotential:500"].find((name) => fields.includes(name)) ?? fields[0];
  const region = [query.get("region"), "global"].find((name) => regions.includes(name)) ?? regions[0];
  fill($("field"), fields.map((name) => [name, label(name)]), field);
  fill($("region"), regions.map((name) => [name, name.replaceAll("_", " ")]), region);
  const found = await ask(field, region);
  const about = Object.entries(found.about)
    .filter(([, value]) => typeof value === "string" || typeof value === "number")
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`);
  const { inits } = found.about;
  if (inits?.length) about.push(t("{count} init times, {first} to {last}", { count: inits.length, first: inits[0].slice(0, 10), last: inits.at(-1).slice(0, 10) }));
  $("about").textContent = about.join(" · ");
  return found;
}

async function draw(found) {
  const [field, region, metric] = [$("field").value, $("region").value, $("metric").value];
  const [variable, level] = field.split(":");
  const { records } = await ask(field, region);
  if (field !== $("field").value || region !== $("region").value) return; // chosen anew meanwhile
  scoreChart($("scores"), records, metric, page.names[variable].units);
  const state = new URLSearchParams({ evaluation: found.evaluation, field, region, metric, baseline: $("baseline").value });
  history.replaceState(null, "", `?${state}`);
  const csv = new URLSearchParams({ evaluation: found.evaluation, variable, region, format: "csv" });
  if (level) csv.set("level", level);
  $("csv").href = `/v1/scores?${csv}`;
  $("card-title").textContent = t("Scorecard: {score} against {baseline}", { score: metric.toUpperCase(), baseline: $("baseline").selectedOptions[0].textContent.toLowerCase() });
  await card(found.evaluation, region, metric);
  showPlots(found.evaluation);
}

async function card(evaluation, region, metric) {
  const query = new URLSearchParams({ evaluation, region, metric, baseline: $("baseline").value });
  const { cells } = await json(`/v1/scorecard?${query}`);
  const days = [...new Set(cells.map((cell) => cell.lead_days))].sort((a, b) => a - b);
  // One table for all at the surface, one for each variable on levels.
  const tables = new Map();
  for (const cell of cells) {
    const title = cell.level === null ? t("Surface") : page.names[cell.variable].long_name;
    const name = cell.level === null ? page.names[cell.variable].long_name : String(cell.level);
    if (!tables.has(title)) tables.set(title, new Map());
    const rows = tables.get(title);
    if (!rows.has(name)) rows.set(name, new Map());
    rows.get(name).set(cell.lead_days, cell);
  }
  $("card").replaceChildren(...[...tables].map(([title, rows]) => heatTable(title, rows, days, metric)));
}

function heatTable(title, rows, days, metric) {
  const table = document.createElement("table");
  table.className = "heat";
  const head = document.createElement("tr");
  head.append(...[title === t("Surface") ? t("Day") : "hPa", ...days].map((text) => {
    const cell = cellOf("th", text);
    cell.scope = "col";
    return cell;
  }));
  const body = [...rows].map(([name, at]) => {
    const row = document.createElement("tr");
    const first = cellOf("th", name);
    first.scope = "row";
    row.append(first, ...days.map((day) => gainCell(at.get(day), metric)));
    return row;
  });
  table.append(cellOf("caption", title === t("Surface") ? title : t("{what}, by level and day", { what: title })), head, ...body);
  const holder = document.createElement("div");
  holder.append(table);
  return holder;
}

/** Show the plots of the evaluation. */
function showPlots(evaluation) {
  const { plots } = page.evaluations.find((each) => each.id === evaluation);
  $("plots-section").hidden = plots.length === 0;
  if ($("plots").dataset.of === evaluation) return;
  $("plots").dataset.of = evaluation;
  $("plots").replaceChildren(...plots.map((name) => {
    const image = new Image();
    image.alt = name === "spectra" ? t("Power of the forecast relative to the analysis, by degree") : t("Root mean square error of each cell");
    image.loading = "lazy";
    image.src = `/v1/evaluations/${encodeURIComponent(evaluation)}/plots/${name}.png`;
    const link = document.createElement("a");
    link.href = image.src;
    link.append(image);
    return link;
  }));
}

function cellOf(kind, text) {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}

function gainCell(cell, metric) {
  const gain = cell?.gain ?? null;
  if (gain === null) return cellOf("td", "–");
  const share = metric === "rmse" || metric === "mae";
  const element = cellOf("td", share ? `${written(gain * 100, 0)}\u202f%` : format(gain));
  const span = metric === "bias" ? Math.max(Math.abs(cell.baseline), 1e-12) : 1;
  const shade = Math.max(-SHADES, Math.min(SHADES, Math.round((gain / span) * SHADES * 1.5)));
  element.className = shade < 0 ? `worse-${-shade}` : `better-${shade}`;
  element.title = `PEAR ${cell.model.toPrecision(4)}, baseline ${cell.baseline.toPrecision(4)}`;
  return element;
}

/** Format with two decimals, or with fewer digits if the number is large or small. */
function format(value) {
  const size = Math.abs(value);
  if (size === 0 || (size >= 0.095 && size < 10)) return written(value, 2);
  return size >= 10 ? written(value, 0) : size < 0.0095 ? value.toExponential(0).replaceAll("-", "\u2212") : written(value, 2);
}

async function start() {
  if (!page.evaluations.length) return;
  for (const id of ["evaluation", "metric", "baseline"]) if (query.get(id)) $(id).value = query.get(id);
  for (const id of ["evaluation", "metric", "baseline"]) if (!$(id).value) $(id).selectedIndex = 0; // the page says so
  let found = await load();
  const redraw = () => draw(found).catch((error) => { $("message").textContent = error.message; });
  for (const id of ["field", "region", "metric", "baseline"]) $(id).addEventListener("change", redraw);
  $("evaluation").addEventListener("change", async () => { found = await load(); redraw(); });
  await redraw();
  document.body.dataset.ready = "yes";
}

start();
