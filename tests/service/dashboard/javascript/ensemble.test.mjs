// Unit tests of the statistics of an ensemble.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  choicesOf, quantileField, quantileOf, shareAbove, styleFor, wordsOf,
} from "../../../../service/dashboard/static/ensemble.js";

const members = [[1, 5, NaN], [2, 5, 1], [3, 5, 1], [4, 5, 1]].map((each) => Float32Array.from(each));
const ensemble = {
  size: 4, members: ["m00", "m01"], spread: true, quantiles: ["q10"], note: "",
  probabilities: [{ name: "p00", variable: "t", level: null, words: "warmth" }],
};

test("shares above a value are strict, and missing where a member is", () => {
  assert.deepEqual([...shareAbove(members, 2)], [0.5, 1, NaN]);
  assert.deepEqual([...shareAbove(members, 5)], [0, 0, NaN]);
});

test("quantiles are linear between members, as numpy's", () => {
  assert.equal(quantileOf([4, 1, 3, 2], 0.5), 2.5);
  assert.equal(quantileOf([4, 1, 3, 2], 1), 4);
  assert.ok(Number.isNaN(quantileOf([1, NaN], 0.5)));
  assert.deepEqual([...quantileField(members, 0)], [1, 5, NaN]);
});

test("statistics are offered and named; probabilities are per cent, spreads have no offset", () => {
  assert.deepEqual(choicesOf(ensemble).map(([name]) => name), ["", "spread", "above", "quantile", "p00", "q10", "m00", "m01"]);
  assert.ok(!choicesOf({ ...ensemble, members: [] }).some(([name]) => name === "above"));
  assert.equal(wordsOf(ensemble, "", NaN, "K"), "mean of 4 members");
  assert.equal(wordsOf(ensemble, "", NaN, "K", true), "computed from the mean of 4 members");
  assert.equal(wordsOf(ensemble, "above", 30, "°C"), "probability above 30 °C, 4 members");
  assert.equal(wordsOf(ensemble, "m00", NaN, "K"), "member 1, unperturbed (of 4 members)");
  const style = { units: "°C", scale: 1, offset: -273.15, limits: [-45, 45], limits_at: {}, isolines: 4, symmetric: true, from_zero: false, colours: "x", label: null, table: new Uint32Array(1) };
  const tables = { YlGnBu: new Uint32Array(2), viridis: new Uint32Array(3) };
  assert.deepEqual([styleFor(style, "above", tables).units, styleFor(style, "p00", tables).scale], ["%", 100]);
  assert.deepEqual([styleFor(style, "spread", tables).offset, styleFor(style, "spread", tables).limits], [0, null]);
  assert.equal(styleFor(style, "q10", tables), style);
});
