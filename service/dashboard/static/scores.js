// The scores page: curves by lead time, the scorecard, spectra where there are any.

import { json } from "./api.js";
import { scoreChart } from "./charts.js";

const page = JSON.parse(document.getElementById("page-data").textContent);
const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const SHADES = 5;

const fieldName = (record) => (record.level === null ? record.variable : `${record.variable}:${record.level}`);
const label = (name) => {
  const [variable, level] = name.split(":");
  return level ? `${page.names[variable].long_name} ${level} hPa` : page.names[variable].long_name;
};

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

async function load() {
  const found = await json(`/v1/scores?evaluation=${encodeURIComponent($("evaluation").value)}`);
  const fields = [...new Set(found.records.map(fieldName))];
  const regions = [...new Set(found.records.map((record) => record.region ?? "global"))];
  const wanted = query.get("field") ?? "geopotential:500";
  fill($("field"), fields.map((name) => [name, label(name)]), fields.includes(wanted) ? wanted : fields[0]);
  fill($("region"), regions.map((name) => [name, name]), query.get("region") ?? "global");
  const about = Object.entries(found.about)
    .filter(([, value]) => typeof value === "string" || typeof value === "number")
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${value}`);
  $("about").textContent = about.join(" · ");
  return found;
}

async function draw(found) {
  const [field, region, metric] = [$("field").value, $("region").value, $("metric").value];
  const [variable, level] = field.split(":");
  const records = found.records.filter((r) => fieldName(r) === field && (r.region ?? "global") === region);
  await scoreChart($("scores"), records, metric, page.names[variable].units);
  const state = new URLSearchParams({ evaluation: found.evaluation, field, region, metric, baseline: $("baseline").value });
  history.replaceState(null, "", `?${state}`);
  const csv = new URLSearchParams({ evaluation: found.evaluation, variable, region, format: "csv" });
  if (level) csv.set("level", level);
  $("csv").href = `/v1/scores?${csv}`;
  await card(found.evaluation, region, metric);
  showPlots(found.evaluation);
}

async function card(evaluation, region, metric) {
  const query = new URLSearchParams({ evaluation, region, metric, baseline: $("baseline").value });
  const { cells } = await json(`/v1/scorecard?${query}`);
  const days = [...new Set(cells.map((cell) => cell.lead_days))].sort((a, b) => a - b);
  const rows = new Map();
  for (const cell of cells) {
    const name = fieldName(cell);
    if (!rows.has(name)) rows.set(name, new Map());
    rows.get(name).set(cell.lead_days, cell);
  }
  const head = document.createElement("tr");
  head.append(cellOf("th", "Field"), ...days.map((day) => cellOf("th", `${day} d`)));
  const body = [...rows].map(([name, at]) => {
    const row = document.createElement("tr");
    const first = cellOf("th", label(name));
    first.scope = "row";
    row.append(first, ...days.map((day) => gainCell(at.get(day), metric)));
    return row;
  });
  $("card").replaceChildren(head, ...body);
}

/** Pictures that the evaluation drew itself. */
function showPlots(evaluation) {
  const { plots } = page.evaluations.find((each) => each.id === evaluation);
  $("plots-section").hidden = plots.length === 0;
  if ($("plots").dataset.of === evaluation) return;
  $("plots").dataset.of = evaluation;
  $("plots").replaceChildren(...plots.map((name) => {
    const image = new Image();
    image.alt = name === "spectra" ? "Power of the forecast over that of the analysis, by degree" : "Root mean square error at every cell";
    image.loading = "lazy";
    image.src = `/v1/evaluations/${encodeURIComponent(evaluation)}/plots/${name}.png`;
    return image;
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
  const element = cellOf("td", share ? `${Math.round(gain * 100)} %` : gain.toPrecision(2));
  const span = metric === "bias" ? Math.max(Math.abs(cell.baseline), 1e-12) : 1;
  const shade = Math.max(-SHADES, Math.min(SHADES, Math.round((gain / span) * SHADES * 1.5)));
  element.className = shade < 0 ? `worse-${-shade}` : `better-${shade}`;
  element.title = `PEAR ${cell.model.toPrecision(4)}, baseline ${cell.baseline.toPrecision(4)}`;
  return element;
}

async function start() {
  if (!page.evaluations.length) return;
  for (const id of ["evaluation", "metric", "baseline"]) if (query.get(id)) $(id).value = query.get(id);
  if (!$("evaluation").value) $("evaluation").selectedIndex = 0;
  let found = await load();
  const redraw = () => draw(found).catch((error) => { $("message").textContent = error.message; });
  for (const id of ["field", "region", "metric", "baseline"]) $(id).addEventListener("change", redraw);
  $("evaluation").addEventListener("change", async () => { found = await load(); redraw(); });
  await redraw();
  document.body.dataset.ready = "yes";
}

start();
