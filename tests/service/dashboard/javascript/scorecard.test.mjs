// Unit tests of scorecards: shades, texts, tables, CSV and SVG.

import assert from "node:assert/strict";
import { test } from "node:test";

import { daysOf, fullOf, fullText, gainText, rowsOf, shadeOf, tablesOf, tablesSvg, toldOf } from "../../../../service/dashboard/static/scorecard.js";

const cell = { variable: "geopotential", level: 500, lead_days: 1, model: 10, baseline: 20, gain: 0.5, low: 0.4, high: 0.6, significant: true };
const surface = { ...cell, variable: "2m_temperature", level: null, lead_days: 3, gain: -0.2, low: null, high: null, significant: null };

test("shades follow the gain, and that of a bias its size", () => {
  assert.equal(shadeOf(cell, "rmse", 0.6), 4);
  assert.equal(shadeOf({ ...cell, gain: -1 }, "acc", 0.5), -5);
  assert.equal(shadeOf({ ...cell, gain: 5, baseline: -20 }, "bias", 0.5), 3);
  assert.equal(shadeOf({ ...cell, gain: null }, "acc", 1), 0);
});

test("gains are percentages of errors, or numbers of two digits", () => {
  assert.equal(gainText(0.254, "rmse"), "25\u202f%");
  assert.equal(gainText(-0.254, "acc"), "\u22120.25");
  assert.equal(gainText(1234.5, "bias"), "1235");
  assert.equal(gainText(0.00012, "bias"), "1e\u22124");
  assert.equal(gainText(0, "bias"), "0.00");
  assert.equal(gainText(null, "acc"), "–");
});

test("fields at the surface share a table, each variable on levels has its own", () => {
  const tables = tablesOf([surface, cell, { ...cell, level: 850, lead_days: 3 }], (name) => name.toUpperCase());
  assert.deepEqual(tables.map(({ title, rows }) => [title, [...rows.keys()]]), [
    ["Surface", ["2M_TEMPERATURE"]], ["GEOPOTENTIAL, by level and day", ["500", "850"]],
  ]);
  assert.deepEqual(daysOf(tables), [1, 3]);
  assert.deepEqual(rowsOf(tables)[2], ["GEOPOTENTIAL, by level and day", "500", 1, 10, 20, 0.5, 0.4, 0.6, "true"]);
  assert.equal(rowsOf(tables)[1].at(-1), null);
});

test("a cell tells both scores, and its interval where it has one", () => {
  assert.match(toldOf(cell, "rmse"), /PEAR 10\.00, reference 20\.00; gain 50.%, 95 %: 40.% to 60.%/);
  assert.equal(toldOf(surface, "rmse"), "PEAR 10.00, reference 20.00");
});

test("pictures are SVG with the text and colour of each cell", () => {
  const svg = tablesSvg("A < B", [{ title: "T", rows: [[{ text: "hPa", fill: "none" }, { text: "1", fill: "none" }], [{ text: "500", fill: "none" }, { text: "50 %", fill: "rgb(1, 2, 3)" }]] }]);
  assert.match(svg, /A &lt; B/);
  assert.equal(svg.match(/fill="rgb\(1, 2, 3\)"/g)?.length, 1);
  assert.match(svg, /text-anchor="end" y="\d+">50 %</);
  assert.match(svg, /^<\?xml/);
});

test("the colours fit the gains: finer between two models than over a baseline", () => {
  const cells = [0.01, -0.04, 0.03].map((gain) => ({ ...cell, gain }));
  assert.equal(fullOf(cells, "rmse"), 0.05);
  assert.equal(shadeOf(cells[1], "rmse", 0.05), -4);
  assert.equal(fullOf([cell], "rmse"), 0.5);
  assert.equal(fullOf([{ ...cell, gain: 0.8 }], "acc"), 1);
  assert.equal(fullText(1, "acc"), "Full colour: a gain or loss of 1.00");
  assert.equal(fullText(0.05, "rmse"), "Full colour: a gain or loss of 5\u202f%");
  assert.equal(fullOf([], "rmse"), 0.02);
});
