// @ts-check
// Line charts as SVG, drawn to the size of their element and in the colours of the page.

import { figures, ticksOf } from "./field.js";
import { language, t } from "./words.js";

/** A line; `colour` is a colour of the style sheet, such as "--pear".
 * @typedef {{ name: string, colour: string, x: number[], y: (number | null)[], dash?: string,
 *   thin?: boolean, points?: boolean, hidden?: boolean, bars?: boolean }} Series */
/** An area between two lines.
 * @typedef {{ name: string, colour: string, x: number[], low: (number | null)[], high: (number | null)[],
 *   faint?: boolean }} Band */
/** @typedef {{ label: string, time?: boolean, xTitle?: string, yTitle?: string,
 *   range?: [number, number], zero?: boolean, mark?: number, series: Series[], bands?: Band[],
 *   legend?: boolean, arrows?: { x: number[], u: (number | null)[], v: (number | null)[] } }} Chart */

const SVG = "http://www.w3.org/2000/svg";
/** Name, colour and dash of each forecaster that an evaluation may have.
 * @type {Record<string, [string, string, string]>} */
const LINES = {
  pear: ["PEAR", "--pear", ""], ensemble: [t("Ensemble mean"), "--focus", ""],
  persistence: [t("Persistence"), "--persistence", "7 4"], climatology: [t("Climatology"), "--climatology", "2 3"],
  damped_persistence: [t("Damped persistence"), "--warm", "8 3 2 3"], linear_inverse_model: [t("Linear inverse model"), "--quiet", "4 2"],
};
const HOUR = 3600e3;
const TIME_STEPS = [1, 3, 6, 12, 24, 48, 72, 120, 240, 720, 2160, 8760].map((hours) => hours * HOUR);
/** @type {WeakMap<Element, Chart>} */
const charts = new WeakMap();

/** Return name, colour and dash of a forecaster; one that is not known has its own name.
 * @param {string} forecaster @returns {[string, string, string]} */
export function lineOf(forecaster) {
  if (forecaster.endsWith("-ensemble")) return LINES.ensemble;
  return LINES[forecaster] ?? [forecaster.replaceAll("_", " "), "--ink", "1 2"];
}
/** @type {ResizeObserver | null} */
let observer = null;

/** Draw a score by lead time for model and baselines, with its confidence interval if it has one.
 * @param {HTMLElement} element @param {any[]} records @param {string} metric @param {string} units */
export function scoreChart(element, records, metric, units) {
  /** @type {Series[]} */
  const series = [];
  /** @type {Band[]} */
  const bands = [];
  for (const forecaster of new Set(records.map((record) => record.forecaster))) {
    const rows = records
      .filter((record) => record.forecaster === forecaster)
      .sort((a, b) => a.lead_days - b.lead_days);
    const x = rows.map((row) => row.lead_days);
    const [name, colour, dash] = lineOf(forecaster);
    series.push({ name, colour, x, y: rows.map((row) => row[metric]), dash, points: true });
    const [low, high] = [`${metric}_low`, `${metric}_high`];
    if (low in rows[0]) bands.push({ name: "", colour, x, low: rows.map((row) => row[low]), high: rows.map((row) => row[high]) });
  }
  const title = metric === "acc" ? t("Anomaly correlation") : `${metric.toUpperCase()} (${units})`;
  drawChart(element, {
    label: t("{score} by lead time", { score: title }), xTitle: t("Lead time (days)"), yTitle: title, series, bands, legend: true,
    range: metric === "acc" ? [-0.1, 1.02] : undefined, zero: true,
  });
}

/** Draw a chart, and again whenever its element changes its size.
 * @param {HTMLElement} element @param {Chart} chart */
export function drawChart(element, chart) {
  charts.set(element, chart);
  observer ??= new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const known = charts.get(target);
      const drawn = target.querySelector("svg");
      if (known && drawn?.getAttribute("width") !== String(target.clientWidth)) render(/** @type {HTMLElement} */ (target), known);
    }
  });
  observer.observe(element);
  render(element, chart);
}

/** @param {Element} parent @param {string} name @param {Record<string, string | number>} attributes @param {string} [text] */
export function add(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

/** @param {Element} element @param {string} property @param {string} colour */
export function paint(element, property, colour) {
  /** @type {SVGElement} */ (element).style.setProperty(property, `var(${colour})`);
}

/** Return the lowest and highest of numbers, without those missing.
 * @param {(number | null)[]} values @returns {[number, number]} */
function extent(values) {
  const known = /** @type {number[]} */ (values.filter((value) => value !== null && Number.isFinite(value)));
  return known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
}

/** Return the range of the vertical axis, with some room.
 * @param {Chart} chart @returns {[number, number]} */
export function rangeOf({ series, bands = [], range, zero }) {
  if (range) return range;
  let [low, high] = extent([...series.flatMap(({ y }) => y), ...bands.flatMap((band) => [...band.low, ...band.high])]);
  if (zero) [low, high] = [Math.min(0, low), Math.max(0, high)];
  const room = high > low ? 0.06 * (high - low) : Math.max(Math.abs(high) * 0.01, 1e-6);
  return [zero && low === 0 ? 0 : low - room, zero && high === 0 ? 0 : high + room];
}

/** Return the ticks of a time axis, UTC: at most `most`, at whole hours or days.
 * @param {[number, number]} range milliseconds @param {number} most */
export function timeTicks([first, last], most) {
  const step = TIME_STEPS.find((each) => (last - first) / each < most) ?? TIME_STEPS[TIME_STEPS.length - 1];
  const ticks = [];
  for (let at = Math.ceil(first / step) * step; at <= last; at += step) {
    const iso = new Date(at).toISOString();
    const day = new Date(at).toLocaleDateString(language === "en" ? "en-GB" : language, { day: "numeric", month: "short", timeZone: "UTC" });
    ticks.push({ value: at, text: step < 24 * HOUR && iso.slice(11, 16) !== "00:00" ? iso.slice(11, 16) : day });
  }
  return ticks;
}

/** Return the path of a line; it breaks where a value is missing.
 * @param {number[]} x @param {(number | null)[]} y @param {(value: number) => number} toX @param {(value: number) => number} toY */
export function pathOf(x, y, toX, toY) {
  let [path, pen] = ["", false];
  for (let i = 0; i < x.length; i++) {
    const value = y[i];
    if (value === null || !Number.isFinite(value)) {
      pen = false;
      continue;
    }
    path += `${pen ? "L" : "M"}${toX(x[i]).toFixed(1)} ${toY(value).toFixed(1)}`;
    pen = true;
  }
  return path;
}

/** @param {HTMLElement} element @param {Chart} chart */
function render(element, chart) {
  const [width, height] = [element.clientWidth, element.clientHeight];
  if (width < 80 || height < 60) return;
  const { series, bands = [], time = false } = chart;
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ width, height, role: "img", tabindex: "0", "aria-label": chart.label })) svg.setAttribute(name, String(value));
  const edge = chart.yTitle ? 56 : 42;
  const legend = chart.legend ? legendOf(chart, edge, width) : [];
  const top = 8 + 18 * (legend.length ? legend[legend.length - 1].row + 1 : 0);
  const [left, right, bottom] = [edge, width - 10, height - (chart.xTitle ? 40 : 24) - (chart.arrows ? 18 : 0)];
  const xs = extent([...series.flatMap(({ x }) => x), ...bands.flatMap(({ x }) => x)]);
  const ys = rangeOf(chart);
  const widest = Math.max(0, ...series.filter(({ bars: isBar }) => isBar).map(({ x }) => 0.5 / Math.max(1, x.length - 1)));
  const pad = time ? 0 : Math.max(0.04, widest) * (xs[1] - xs[0] || 1);
  /** @param {number} value */
  const toX = (value) => left + ((value - xs[0] + pad) / (xs[1] - xs[0] + 2 * pad || 1)) * (right - left);
  /** @param {number} value */
  const toY = (value) => bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (bottom - top);

  for (const { value, text } of ticksOf(ys, Math.max(4, Math.floor((bottom - top) / 34)))) {
    add(svg, "line", { class: "grid", x1: left, x2: right, y1: toY(value), y2: toY(value) });
    add(svg, "text", { x: left - 6, y: toY(value) + 4, "text-anchor": "end" }, text);
  }
  const room = Math.max(3, Math.floor((right - left) / (time ? 64 : 44)));
  const bars = series.find(({ bars: isBar }) => isBar);
  const named = bars && bars.x.length <= room ? bars.x.map((value) => ({ value, text: String(value) })) : null;
  const ticks = time ? timeTicks(xs, room) : (named ?? ticksOf(xs, Math.min(room, 12)));
  for (const { value, text } of ticks) {
    add(svg, "line", { class: "grid", x1: toX(value), x2: toX(value), y1: top, y2: bottom });
    // A label at the right edge ends there instead of being cut.
    const cut = toX(value) + 3.5 * text.length > width;
    const x = cut ? width - 1 : toX(value);
    add(svg, "text", { x, y: bottom + 16 + (chart.arrows ? 18 : 0), "text-anchor": cut ? "end" : "middle" }, text);
  }
  if (chart.xTitle) add(svg, "text", { class: "title", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, chart.xTitle);
  if (chart.yTitle) {
    add(svg, "text", { class: "title", x: 0, y: 0, transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, chart.yTitle);
  }
  for (const band of bands) {
    const low = [...band.low].reverse();
    const path = pathOf(band.x, band.high, toX, toY) + pathOf([...band.x].reverse(), low, toX, toY).replace("M", "L");
    paint(add(svg, "path", { class: band.faint ? "band faint" : "band", d: `${path}Z` }), "fill", band.colour);
  }
  for (const each of series) {
    if (each.bars) {
      const wide = (0.8 * (toX(xs[1]) - toX(xs[0]))) / Math.max(1, each.x.length - 1);
      each.x.forEach((x, i) => {
        const y = each.y[i];
        if (y !== null) paint(add(svg, "rect", { x: toX(x) - wide / 2, y: toY(y), width: wide, height: Math.max(0, toY(Math.max(0, ys[0])) - toY(y)) }), "fill", each.colour);
      });
      continue;
    }
    const line = add(svg, "path", { class: each.thin ? "line thin" : "line", d: pathOf(each.x, each.y, toX, toY), "stroke-dasharray": each.dash ?? "" });
    paint(line, "stroke", each.colour);
    if (!each.points) continue;
    each.x.forEach((x, i) => {
      const y = each.y[i];
      if (y !== null && Number.isFinite(y)) paint(add(svg, "circle", { cx: toX(x), cy: toY(y), r: 2.8 }), "fill", each.colour);
    });
  }
  if (chart.arrows) drawArrows(svg, chart.arrows, toX, bottom + 12);
  if (chart.mark !== undefined) add(svg, "line", { class: "now", x1: toX(chart.mark), x2: toX(chart.mark), y1: top, y2: bottom });
  drawLegend(svg, legend);
  bindReader(svg, chart, { left, right, top, bottom, toX, toY });
  element.replaceChildren(svg);
}

/** Draw arrows in the direction that a wind blows, north up.
 * @param {Element} svg @param {NonNullable<Chart["arrows"]>} arrows @param {(value: number) => number} toX @param {number} y */
function drawArrows(svg, { x, u, v }, toX, y) {
  let last = -Infinity;
  for (let i = 0; i < x.length; i++) {
    const [east, north, at] = [u[i], v[i], toX(x[i])];
    if (east === null || north === null || at - last < 15) continue;
    last = at;
    const angle = (Math.atan2(east, north) * 180) / Math.PI;
    add(svg, "path", { class: "arrow", d: "M0 7V-7M-3 -3L0 -7L3 -3", transform: `translate(${at.toFixed(1)} ${y}) rotate(${angle.toFixed(0)})` });
  }
}

/** Return the entries of the legend, each with its place; they go on in another row where they must.
 * @param {Pick<Chart, "series" | "bands">} chart @param {number} left @param {number} width
 * @returns {{ entry: Series | Band, x: number, row: number }[]} */
export function legendOf({ series, bands = [] }, left, width) {
  let [x, row] = [left, 0];
  return [...series.filter(({ hidden }) => !hidden), ...bands.filter(({ name }) => name)].map((entry) => {
    const wide = 40 + 6.6 * entry.name.length;
    if (x > left && x + wide - 10 > width) [x, row] = [left, row + 1];
    x += wide;
    return { entry, x: x - wide, row };
  });
}

/** @param {Element} svg @param {ReturnType<typeof legendOf>} places */
function drawLegend(svg, places) {
  for (const { entry, x, row } of places) {
    const y = 10 + 18 * row;
    if ("low" in entry) paint(add(svg, "rect", { class: entry.faint ? "band faint" : "band", x, y: y - 5, width: 22, height: 10 }), "fill", entry.colour);
    else if (entry.bars) paint(add(svg, "rect", { x: x + 6, y: y - 5, width: 10, height: 10 }), "fill", entry.colour);
    else paint(add(svg, "line", { class: "line", x1: x, x2: x + 22, y1: y, y2: y, "stroke-dasharray": entry.dash ?? "" }), "stroke", entry.colour);
    add(svg, "text", { x: x + 27, y: y + 4 }, entry.name);
  }
}

/** Tell the values at the place that is pointed at, or that the arrow keys choose.
 * @param {SVGSVGElement} svg @param {Chart} chart
 * @param {{ left: number, right: number, top: number, bottom: number, toX: (value: number) => number, toY: (value: number) => number }} frame */
function bindReader(svg, { series, time, label }, { left, right, top, bottom, toX, toY }) {
  const shown = series.filter(({ hidden }) => !hidden);
  const all = [...new Set(shown.flatMap(({ x }) => x))].sort((a, b) => a - b);
  if (!all.length) return;
  const group = add(svg, "g", { class: "reader", visibility: "hidden" });
  let at = -1;
  /** @param {number} index */
  const tell = (index) => {
    at = index;
    const x = all[at];
    group.replaceChildren();
    group.setAttribute("visibility", "visible");
    add(group, "line", { class: "now", x1: toX(x), x2: toX(x), y1: top, y2: bottom });
    const head = time ? `${new Date(x).toISOString().slice(0, 16).replace("T", " ")} UTC` : String(x);
    const lines = [head];
    for (const each of shown) {
      const y = each.y[each.x.indexOf(x)];
      if (y === undefined || y === null || !Number.isFinite(y)) continue;
      paint(add(group, "circle", { cx: toX(x), cy: toY(y), r: 4 }), "fill", each.colour);
      lines.push(`${each.name}: ${figures(y)}`);
    }
    const wide = 12 + 6.8 * Math.max(...lines.map((line) => line.length));
    const from = Math.max(0, Math.min(right - wide, toX(x) > (left + right) / 2 ? toX(x) - wide - 8 : toX(x) + 8));
    add(group, "rect", { x: from, y: top + 2, width: wide, height: 6 + 15 * lines.length, rx: 4 });
    lines.forEach((line, i) => add(group, "text", { x: from + 6, y: top + 16 + 15 * i }, line));
    svg.setAttribute("aria-label", `${label}. ${lines.join(", ")}`);
  };
  const hide = () => {
    group.setAttribute("visibility", "hidden");
    svg.setAttribute("aria-label", label);
  };
  svg.addEventListener("pointermove", (event) => {
    const x = event.clientX - svg.getBoundingClientRect().left;
    let best = 0;
    all.forEach((value, i) => { if (Math.abs(toX(value) - x) < Math.abs(toX(all[best]) - x)) best = i; });
    tell(best);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    tell(Math.max(0, Math.min(all.length - 1, at + step)));
  });
}
