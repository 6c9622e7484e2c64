// @ts-check
// Scores page: scores by lead time, scorecards, spectra, error maps and ranks, all drawn here from
// what the service answers for one field.

import { json } from "./api.js";
import { drawChart, scoreChart } from "./charts.js";
import { bindPicture, csvText, save } from "./download.js";
import { ErrorMap } from "./error_map.js";
import { figures } from "./field.js";
import { blocksOf, daysOf, fullOf, fullText, rowsOf, tableElement, tablesOf, tablesSvg } from "./scorecard.js";
import { t } from "./words.js";

/** An evaluation: what it has spectra, maps and ranks of, and with which others it is compared.
 * @typedef {{ id: string, choices: number, files: string[], plotted: string[], days: number[],
 *   members: boolean, hours: number[], against: string[] }} Evaluation */

const page = JSON.parse(document.getElementById("page-data")?.textContent ?? "{}");
/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const colours = ["--pear", "--persistence", "--climatology", "--focus", "--warm"];
/** Requests that were overtaken by others are not shown. */
let drawn = 0;
/** @type {ErrorMap | null} */
let errors = null;
/** What the buttons save as CSV. @type {Record<string, (string | number | null)[][]>} */
const tables = {};

/** @param {string} variable */
const nameOf = (variable) => page.names[variable].long_name;
/** @param {string} name */
const label = (name) => {
  const [variable, level] = name.split(":");
  return level ? `${nameOf(variable)} ${level} hPa` : nameOf(variable);
};

/** @param {HTMLSelectElement} select @param {[string, string][]} options @param {string} chosen */
function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

/** @returns {Evaluation} */
const shown = () => page.evaluations.find((/** @type {Evaluation} */ each) => each.id === $("evaluation").value);

/** Return the parameters of the field that is chosen.
 * @param {Record<string, string>} more */
function wanted(more) {
  const [variable, level] = $("field").value.split(":");
  const found = new URLSearchParams({ evaluation: $("evaluation").value, variable, ...more });
  if (level) found.set("level", level);
  return found;
}

let offered = false;

/** Offer what the evaluation has; at first what the address asks for is chosen. */
function offer() {
  const { choices, hours, against } = shown();
  const { fields, regions } = page.choices[choices];
  /** @param {string} name @param {string} usual @param {string[]} known */
  const pick = (name, usual, known) => [offered ? $(name).value : query.get(name), usual].find((each) => known.includes(each)) ?? known[0];
  fill($("field"), fields.map((/** @type {string} */ name) => [name, label(name)]), pick("field", "geopotential:500", fields));
  fill($("region"), regions.map((/** @type {string} */ name) => [name, name.replaceAll("_", " ")]), pick("region", "global", regions));
  const labels = new Map(page.evaluations.map((/** @type {any} */ each) => [each.id, each.label]));
  /** @type {[string, string][]} */
  const references = [["climatology", t("Climatology")], ["persistence", t("Persistence")], ...against.map((id) => /** @type {[string, string]} */ ([id, labels.get(id)]))];
  fill($("baseline"), references, pick("baseline", "climatology", references.map(([id]) => id)));
  $("hour-label").hidden = hours.length < 2;
  const known = ["", ...hours.map(String)];
  fill($("hour"), known.map((hour) => [hour, hour ? `${hour.padStart(2, "0")} UTC` : t("All")]), pick("hour", "", known));
  offered = true;
}

function keepState() {
  const state = new URLSearchParams();
  for (const name of ["evaluation", "field", "region", "metric", "baseline"]) state.set(name, $(name).value);
  if ($("hour").value) state.set("hour", $("hour").value);
  history.replaceState(null, "", `?${state}`);
}

async function draw() {
  const request = ++drawn;
  const overtaken = () => request !== drawn;
  keepState();
  $("message").textContent = "";
  try {
    await Promise.all([curves(overtaken), card(overtaken), regions(overtaken), spectra(overtaken), ranks(overtaken), maps(overtaken)]);
  } catch (error) {
    if (!overtaken()) $("message").textContent = /** @type {Error} */ (error).message;
  }
}

/** @param {() => boolean} overtaken */
async function curves(overtaken) {
  const [region, metric, hour] = [$("region").value, $("metric").value, $("hour").value];
  /** @type {Record<string, string>} */
  const more = hour ? { by_hour: "true" } : {};
  const found = await json(`/v1/scores?${wanted({ region, ...more })}`);
  if (overtaken()) return;
  const { inits } = found.about;
  const records = hour ? found.records.filter((/** @type {any} */ record) => record.init_hour === Number(hour)) : found.records;
  const units = page.names[records[0].variable].units;
  scoreChart($("scores"), records, metric, units);
  const about = Object.entries(found.about)
    .filter(([, value]) => typeof value === "string" || typeof value === "number")
    .map(([name, value]) => `${name.replaceAll("_", " ")}: ${Number.isInteger(value) || typeof value === "string" ? value : figures(Number(value))}`);
  if (inits?.length) about.push(t("{count} init times, {first} to {last}", { count: inits.length, first: inits[0].slice(0, 10), last: inits.at(-1).slice(0, 10) }));
  $("about").textContent = about.join(" · ");
  $("csv").href = `/v1/scores?${wanted({ region, format: "csv", ...more })}`;
  const many = found.records.filter((/** @type {any} */ record) => Number.isFinite(record.spread));
  $("spread-section").hidden = many.length === 0;
  if (!many.length) return;
  const x = many.map((/** @type {any} */ record) => record.lead_days);
  /** @param {string} name */
  const line = (name) => many.map((/** @type {any} */ record) => record[name]);
  const series = [
    { name: t("Spread"), colour: "--focus", x, y: line("spread"), dash: "6 3", points: true },
    { name: t("RMSE of the mean"), colour: "--pear", x, y: line("rmse_of_mean"), points: true },
    { name: "CRPS", colour: "--persistence", x, y: line("crps"), dash: "2 3", points: true },
  ];
  drawChart($("spread"), { label: t("Spread and error by lead time"), xTitle: t("Lead time (days)"), yTitle: units, series, legend: true, zero: true });
  tables.spread = [["lead_days", "spread", "rmse_of_mean", "crps"], ...x.map((/** @type {number} */ day, /** @type {number} */ i) => [day, ...series.map(({ y }) => y[i])])];
}

/** Return the parameters of a scorecard against what is chosen.
 * @param {string} region @param {URLSearchParams} more */
function reference(region, more) {
  const baseline = $("baseline").value;
  more.set("region", region);
  more.set("metric", $("metric").value);
  more.set(["climatology", "persistence"].includes(baseline) ? "baseline" : "against", baseline);
  return `/v1/scorecard?${more}`;
}

/** @param {() => boolean} overtaken */
async function card(overtaken) {
  const metric = $("metric").value;
  const found = await json(reference($("region").value, new URLSearchParams({ evaluation: $("evaluation").value })));
  if (overtaken()) return;
  const title = t("Scorecard: {score} against {baseline}", { score: metric.toUpperCase(), baseline: $("baseline").selectedOptions[0].textContent });
  $("card-title").textContent = title;
  $("card-about").textContent = `${found.region.replaceAll("_", " ")}, ${t("{count} init times", { count: found.init_times })}`;
  show("card", tablesOf(found.cells, nameOf), metric);
}

/** @param {() => boolean} overtaken */
async function regions(overtaken) {
  const metric = $("metric").value;
  const names = page.choices[shown().choices].regions;
  const found = await Promise.all(names.map((/** @type {string} */ region) => json(reference(region, wanted({})))));
  if (overtaken()) return;
  const rows = new Map(found.map(({ region, cells }) => [
    region.replaceAll("_", " "), new Map(cells.map((/** @type {any} */ cell) => [cell.lead_days, cell])),
  ]));
  show("regions", [{ title: t("{what}, by region and day", { what: label($("field").value) }), head: t("Region"), rows }], metric);
}

/** Show tables of gains, and keep them for the buttons.
 * @param {string} id @param {import("./scorecard.js").Table[]} all @param {string} metric */
function show(id, all, metric) {
  const days = daysOf(all);
  const full = fullOf(all.flatMap(({ rows }) => [...rows.values()].flatMap((row) => [...row.values()])), metric);
  $(id).replaceChildren(...all.map((table) => tableElement(table, days, metric, full)));
  $(`${id}-full`).textContent = fullText(full, metric);
  tables[id] = rowsOf(all);
}

/** @param {() => boolean} overtaken */
async function spectra(overtaken) {
  const has = shown().plotted.includes($("field").value);
  $("spectra-section").hidden = !has;
  if (!has) return;
  const { records } = await json(`/v1/scores/spectra?${wanted({})}`);
  if (overtaken()) return;
  // The mean over the sphere has no counterpart in the sky: degrees begin at 1.
  const series = records.map((/** @type {any} */ record, /** @type {number} */ i) => ({
    name: t("Day {day}", { day: record.lead_days }), colour: colours[i % colours.length], x: record.forecast.slice(1).map((/** @type {number} */ _, /** @type {number} */ k) => k + 1),
    y: record.forecast.slice(1).map((/** @type {number} */ power, /** @type {number} */ k) => (record.analysis[k + 1] > 0 ? power / record.analysis[k + 1] : null)),
  }));
  drawChart($("spectra"), {
    label: t("Power of the forecast relative to the analysis, by degree"), xTitle: t("Degree"), yTitle: t("Power, forecast over analysis"), series, legend: true, zero: true,
  });
  tables.spectra = [
    ["lead_days", "degree", "forecast", "analysis"],
    ...records.flatMap((/** @type {any} */ record) => record.forecast.map((/** @type {number} */ power, /** @type {number} */ degree) => [record.lead_days, degree, power, record.analysis[degree]])),
  ];
}

/** @param {() => boolean} overtaken */
async function ranks(overtaken) {
  const { members } = shown();
  $("ranks-section").hidden = !members;
  if (!members) return;
  const found = await json(`/v1/scores/ranks?${wanted({ region: $("region").value })}`);
  if (overtaken()) return;
  const days = found.records.map((/** @type {any} */ record) => String(record.lead_days));
  fill($("rank-day"), days.map((/** @type {string} */ day) => [day, t("Day {day}", { day })]), days.includes($("rank-day").value) ? $("rank-day").value : days[0]);
  const { shares } = found.records[days.indexOf($("rank-day").value)];
  const x = shares.map((/** @type {number} */ _, /** @type {number} */ rank) => rank);
  const even = 1 / shares.length;
  drawChart($("ranks"), {
    label: t("Rank of the analysis among {count} members", { count: found.members }), xTitle: t("Members below the analysis"), yTitle: t("Share of the cells"),
    legend: true, zero: true, series: [
      { name: t("Analysis"), colour: "--pear", x, y: shares, bars: true },
      { name: t("Reliable ensemble"), colour: "--ink", x, y: x.map(() => even), dash: "5 4" },
    ],
  });
  tables.ranks = [["lead_days", "rank", "share"], ...found.records.flatMap((/** @type {any} */ record) => record.shares.map((/** @type {number} */ share, /** @type {number} */ rank) => [record.lead_days, rank, share]))];
}

/** @param {() => boolean} overtaken */
async function maps(overtaken) {
  const { plotted, days } = shown();
  const has = plotted.includes($("field").value) && days.length > 0;
  $("map-section").hidden = !has;
  if (!has) return;
  fill($("map-day"), days.map((day) => [String(day), t("Day {day}", { day })]), days.map(String).includes($("map-day").value) ? $("map-day").value : String(days[0]));
  const bias = $("metric").value === "bias";
  const [variable] = $("field").value.split(":");
  const more = wanted({ lead_days: $("map-day").value, metric: bias ? "bias" : "rmse", format: "u16" });
  errors ??= new ErrorMap($("error-map"), $("error-bar"), page.colours);
  const title = bias ? t("Mean error of each cell") : t("Root mean square error of each cell");
  const cells = await errors.show(`/v1/scores/map?${more}`, { units: page.names[variable].units, bias, label: `${title}: ${label($("field").value)}, ${t("Day {day}", { day: $("map-day").value })}` }, overtaken);
  if (cells && !overtaken()) tables.map = [["cell", bias ? "bias" : "rmse"], ...[...cells].map((value, cell) => [cell, value])];
}

/** List the pictures that the evaluation drew, as files. */
function listFiles() {
  const { id, files } = shown();
  $("files").replaceChildren(...files.flatMap((name, i) => {
    const link = document.createElement("a");
    link.href = `/v1/evaluations/${encodeURIComponent(id)}/plots/${name}.png`;
    link.textContent = `${name}.png`;
    return i ? [" · ", link] : [link];
  }));
  $("files-part").hidden = files.length === 0;
}

function bindDownloads() {
  for (const id of ["scores", "spectra", "spread", "ranks"]) bindPicture($(`${id}-svg`), () => $(id).querySelector("svg"), id);
  for (const id of ["card", "regions"]) {
    $(`${id}-svg`).addEventListener("click", () => {
      save(tablesSvg($("card-title").textContent, blocksOf($(id).querySelectorAll("table"))), `pear-${id}.svg`, "image/svg+xml");
    });
  }
  for (const id of ["card", "regions", "spectra", "spread", "ranks", "map"]) {
    $(`${id}-csv`).addEventListener("click", () => save(csvText(tables[id] ?? []), `pear-${id}.csv`, "text/csv"));
  }
  $("map-png").addEventListener("click", () => errors?.save("pear-error-map.png"));
}

async function start() {
  if (!page.evaluations.length) return;
  for (const id of ["evaluation", "metric"]) if (query.get(id)) $(id).value = query.get(id);
  for (const id of ["evaluation", "metric"]) if (!$(id).value) $(id).selectedIndex = 0; // the page says so
  offer();
  listFiles();
  bindDownloads();
  for (const id of ["field", "region", "metric", "baseline", "hour", "rank-day", "map-day"]) $(id).addEventListener("change", draw);
  $("evaluation").addEventListener("change", () => {
    offer();
    listFiles();
    void draw();
  });
  await draw();
  document.body.dataset.ready = "yes";
}

void start();
