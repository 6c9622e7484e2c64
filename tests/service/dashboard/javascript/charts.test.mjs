// Unit tests of the charts' arithmetic.

import assert from "node:assert/strict";
import { test } from "node:test";

import { legendOf, lineOf, pathOf, rangeOf, timeTicks } from "../../../../service/dashboard/static/charts.js";

test("lines break where values are missing", () => {
  const path = pathOf([0, 1, 2, 3], [1, null, 2, 3], (x) => 10 * x, (y) => -y);
  assert.equal(path, "M0.0 -1.0M20.0 -2.0L30.0 -3.0");
});

test("the vertical axis holds all lines and bands, and zero where asked", () => {
  const series = [{ name: "", colour: "", x: [0, 1], y: [5, null] }];
  const [low, high] = rangeOf({ label: "", series, bands: [{ name: "", colour: "", x: [0], low: [2], high: [9] }] });
  assert.ok(low < 2 && low > 1 && high > 9 && high < 10);
  assert.equal(rangeOf({ label: "", series, zero: true })[0], 0);
  assert.deepEqual(rangeOf({ label: "", series, range: [-1, 1] }), [-1, 1]);
  const flat = rangeOf({ label: "", series: [{ name: "", colour: "", x: [0], y: [0] }] });
  assert.ok(flat[0] < flat[1]);
});

test("ticks of time are at whole hours and days, UTC", () => {
  const start = Date.UTC(2001, 1, 27, 3);
  assert.deepEqual(timeTicks([start, start + 48 * 3600e3], 5).map(({ text }) => text), ["12:00", "28 Feb", "12:00", "1 Mar"]);
  assert.deepEqual(timeTicks([start, start + 240 * 3600e3], 6).map(({ text }) => text), ["1 Mar", "3 Mar", "5 Mar", "7 Mar", "9 Mar"]);
});

test("legends go on in another row where the window ends", () => {
  const series = ["PEAR", "Persistence", "Climatology", "Linear inverse model"].map((name) => ({ name, colour: "", x: [], y: [] }));
  const wide = legendOf({ series }, 40, 900);
  assert.deepEqual(wide.map(({ row }) => row), [0, 0, 0, 0]);
  const narrow = legendOf({ series }, 40, 300);
  assert.deepEqual(narrow.map(({ row }) => row), [0, 0, 1, 2]);
  assert.ok(narrow.every(({ x }) => x >= 40));
});

test("each forecaster has a name and a colour, known or not", () => {
  assert.deepEqual(lineOf("pear-ensemble"), lineOf("ensemble"));
  assert.equal(lineOf("my_model")[0], "my model");
  assert.notEqual(lineOf("pear")[1], lineOf("persistence")[1]);
});
