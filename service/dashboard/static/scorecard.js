// @ts-check
// Scorecards and heat maps of gains: as tables of the page, as CSV, and as SVG.

import { written } from "./field.js";
import { t, withMark } from "./words.js";

/** A gain: `low` and `high` are its 95 % interval, missing for few init times.
 * @typedef {{ variable: string, level: number | null, lead_days: number, model: number | null,
 *   baseline: number | null, gain: number | null, low: number | null, high: number | null,
 *   significant: boolean | null }} Cell */
/** Rows of a table by name, and the cells of each by lead time, days.
 * @typedef {{ title: string, head: string, rows: Map<string, Map<number, Cell>> }} Table */
/** A rectangle of a picture: text on a colour. @typedef {{ text: string, fill: string, bold?: boolean }} Block */

const SHADES = 5;
/** Gains that may have the full colour. Models differ by less from each other than from a baseline. */
const FULL = [0.02, 0.05, 0.1, 0.2, 0.5, 1];
/** Scores whose gain is a share of the reference's error. */
const SHARES = ["rmse", "mae"];

/** Return the gain of a cell as a share; that of a bias, of the size of the reference's.
 * @param {Cell} cell @param {string} metric */
const shareOf = (cell, metric) => (cell.gain ?? 0) / (metric === "bias" ? Math.max(Math.abs(cell.baseline ?? 0), 1e-12) : 1);

/** Return the gain that has the full colour, so that nine of ten cells have no more.
 * @param {Cell[]} cells @param {string} metric */
export function fullOf(cells, metric) {
  const sizes = cells.map((cell) => Math.abs(shareOf(cell, metric))).sort((a, b) => a - b);
  const most = sizes[Math.floor(0.9 * (sizes.length - 1))] ?? 0;
  return FULL.find((each) => each >= most) ?? 1;
}

/** Return the shade of a cell: 5 much better to −5 much worse.
 * @param {Cell} cell @param {string} metric @param {number} full gain that has the full colour */
export function shadeOf(cell, metric, full) {
  return Math.max(-SHADES, Math.min(SHADES, Math.round((shareOf(cell, metric) / full) * SHADES)));
}

/** Return the gain that has the full colour in words: of an ACC a difference, of others a share.
 * @param {number} full @param {string} metric */
export function fullText(full, metric) {
  const gain = metric === "acc" ? written(full, 2) : `${written(100 * full, 0)}\u202f%`;
  return t("Full colour: a gain or loss of {gain}", { gain });
}

/** Format a gain: as a percentage of the error, or with two decimals, fewer if it is large or small.
 * @param {number | null} gain @param {string} metric */
export function gainText(gain, metric) {
  if (gain === null) return "–";
  if (SHARES.includes(metric)) return `${written(gain * 100, 0)}\u202f%`;
  const size = Math.abs(gain);
  if (size === 0 || (size >= 0.0095 && size < 10)) return written(gain, 2);
  return size >= 10 ? written(gain, 0) : gain.toExponential(0).replaceAll("-", "\u2212");
}

/** Return the tables of a scorecard: one of all variables at the surface, one of each on levels.
 * @param {Cell[]} cells @param {(variable: string) => string} nameOf @returns {Table[]} */
export function tablesOf(cells, nameOf) {
  /** @type {Map<string, Table>} */
  const tables = new Map();
  for (const cell of cells) {
    const key = cell.level === null ? "" : cell.variable;
    let table = tables.get(key);
    if (!table) {
      const title = key ? t("{what}, by level and day", { what: nameOf(key) }) : t("Surface");
      tables.set(key, (table = { title, head: key ? "hPa" : t("Day"), rows: new Map() }));
    }
    const name = cell.level === null ? nameOf(cell.variable) : String(cell.level);
    if (!table.rows.has(name)) table.rows.set(name, new Map());
    table.rows.get(name)?.set(cell.lead_days, cell);
  }
  return [...tables.values()];
}

/** Return the lead times of tables, days, in order.
 * @param {Table[]} tables */
export function daysOf(tables) {
  const days = tables.flatMap(({ rows }) => [...rows.values()].flatMap((row) => [...row.keys()]));
  return [...new Set(days)].sort((a, b) => a - b);
}

/** Return what a cell says in words, with its interval.
 * @param {Cell} cell @param {string} metric */
export function toldOf(cell, metric) {
  const ours = t("PEAR {model}, reference {baseline}", {
    model: withMark(cell.model?.toPrecision(4) ?? "–"), baseline: withMark(cell.baseline?.toPrecision(4) ?? "–"),
  });
  if (cell.low === null || cell.high === null) return ours;
  return `${ours}; ${t("gain {gain}, 95 %: {low} to {high}", {
    gain: gainText(cell.gain, metric), low: gainText(cell.low, metric), high: gainText(cell.high, metric),
  })}`;
}

/** Return an element of a table as HTML.
 * @param {Table} table @param {number[]} days @param {string} metric @param {number} full as of {@link fullOf} */
export function tableElement({ title, head, rows }, days, metric, full) {
  const table = document.createElement("table");
  table.className = "heat";
  const first = document.createElement("tr");
  first.append(...[head, ...days].map((text) => {
    const cell = cellOf("th", String(text));
    cell.setAttribute("scope", "col");
    return cell;
  }));
  const body = [...rows].map(([name, at]) => {
    const row = document.createElement("tr");
    const header = cellOf("th", name);
    header.setAttribute("scope", "row");
    row.append(header, ...days.map((day) => gainCell(at.get(day), metric, full)));
    return row;
  });
  table.append(cellOf("caption", title), first, ...body);
  const holder = document.createElement("div");
  holder.tabIndex = 0; // it scrolls where the table is wider
  holder.append(table);
  return holder;
}

/** @param {string} kind @param {string} text */
function cellOf(kind, text) {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}

/** @param {Cell | undefined} cell @param {string} metric @param {number} full */
function gainCell(cell, metric, full) {
  if (!cell || cell.gain === null) return cellOf("td", "–");
  const shade = shadeOf(cell, metric, full);
  const text = gainText(cell.gain, metric);
  const element = cellOf("td", cell.significant === false ? `(${text})` : text);
  element.className = shade < 0 ? `worse-${-shade}` : `better-${shade}`;
  element.title = toldOf(cell, metric);
  return element;
}

/** Return the rows of tables as CSV has them.
 * @param {Table[]} tables @returns {(string | number | null)[][]} */
export function rowsOf(tables) {
  return [
    ["table", "row", "lead_days", "model", "reference", "gain", "low", "high", "significant"],
    ...tables.flatMap(({ title, rows }) => [...rows].flatMap(([name, at]) => [...at.values()].map((cell) => [
      title, name, cell.lead_days, cell.model, cell.baseline, cell.gain, cell.low, cell.high,
      cell.significant === null ? null : String(cell.significant),
    ]))),
  ];
}

/** Return the tables on the page as blocks, with the colours that they have there.
 * @param {Iterable<HTMLTableElement>} tables */
export function blocksOf(tables) {
  return [...tables].map((table) => ({
    title: table.caption?.textContent ?? "",
    rows: [...table.rows].map((row) => [...row.cells].map((cell) => {
      const style = getComputedStyle(cell);
      return { text: cell.textContent ?? "", fill: cell.tagName === "TD" ? style.backgroundColor : "none", bold: Number(style.fontWeight) > 500 };
    })),
  }));
}

/** Return a picture of tables as the text of an SVG file.
 * @param {string} title @param {{ title: string, rows: Block[][] }[]} tables */
export function tablesSvg(title, tables) {
  const [high, wide, first] = [20, 52, 190];
  /** @param {string} text */
  const safe = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
  const parts = [];
  let y = 24;
  const columns = Math.max(1, ...tables.flatMap(({ rows }) => rows.map((row) => row.length)));
  const width = first + wide * (columns - 1) + 10;
  parts.push(`<text x="8" y="${y}" font-size="15" font-weight="600">${safe(title)}</text>`);
  for (const table of tables) {
    y += 28;
    parts.push(`<text x="8" y="${y}" font-weight="600">${safe(table.title)}</text>`);
    y += 8;
    for (const row of table.rows) {
      row.forEach(({ text, fill, bold }, i) => {
        const x = i ? first + wide * (i - 1) : 8;
        if (fill !== "none") parts.push(`<rect x="${x}" y="${y}" width="${wide - 1}" height="${high - 1}" fill="${safe(fill)}"/>`);
        const at = i ? `x="${x + wide - 5}" text-anchor="end"` : `x="${x}"`;
        parts.push(`<text ${at} y="${y + 14}"${bold ? ' font-weight="700"' : ""}>${safe(text)}</text>`);
      });
      y += high;
    }
  }
  return `<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + 12}" `
    + `viewBox="0 0 ${width} ${y + 12}" font-family="system-ui, sans-serif" font-size="12" fill="#1d2733">`
    + `<rect width="100%" height="100%" fill="#fff"/>${parts.join("")}</svg>\n`;
}
