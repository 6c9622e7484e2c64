// Unit tests of the comparison of runs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { differenceField, differenceStyle, leadOf, otherField, subtract } from "../../../../service/dashboard/static/compare.js";
import { inUnits } from "../../../../service/dashboard/static/units.js";

const celsius = {
  units: "°C", scale: 1, offset: -273.15, limits: [-45, 45], limits_at: {}, isolines: 4, symmetric: false,
  from_zero: false, colours: "x", label: null, table: new Uint32Array(1),
};
const tables = { PuOr_r: new Uint32Array(2) };

test("the step of the same valid time is found, or is not of the run", () => {
  const other = { id: "b", init: "2006-11-09T12:00:00Z", lead: 48 };
  assert.equal(leadOf("2006-11-10T00:00:00Z", 24, other), 36);
  assert.equal(leadOf("2006-11-10T00:00:00Z", 36, other), 48);
  assert.equal(leadOf("2006-11-10T00:00:00Z", 42, other), null, "after its end");
  assert.equal(leadOf("2006-11-08T00:00:00Z", 24, other), null, "before its start");
  const analysis = { id: "analysis:x", analysis: "x", init: "2006-11-10T00:00:00Z", lead: 240, leads: [0, 24] };
  assert.equal(leadOf("2006-11-10T00:00:00Z", 24, analysis), 24);
  assert.equal(leadOf("2006-11-10T00:00:00Z", 48, analysis), null, "a time that the analysis lacks");
});

test("differences are the first minus the second, missing where either is", () => {
  assert.deepEqual([...subtract(Float32Array.of(3, NaN, 1), Float32Array.of(1, 1, NaN))], [2, NaN, NaN]);
  assert.throws(() => subtract(new Float32Array(12), new Float32Array(48)), /12 and 48/);
});

test("differences of temperature are in K and have no offset in any unit", () => {
  const metric = differenceStyle(celsius, tables);
  assert.deepEqual([metric.units, metric.scale, metric.offset, metric.symmetric, metric.limits], ["K", 1, 0, true, null]);
  const us = differenceStyle(inUnits(celsius, "us"), tables);
  assert.deepEqual([us.units, us.scale, us.offset], ["°F", 1.8, 0]);
});

test("each run is read at its own lead time", async () => {
  const asked = [];
  globalThis.fetch = async (url) => {
    asked.push(url);
    const first = url.includes("/a/");
    return new Response(Uint16Array.from({ length: 12 }, () => (first ? 7 : 2)).buffer, { headers: { "PEAR-Scale": "0.5", "PEAR-Offset": "280" } });
  };
  const found = await differenceField("a", 24, { id: "b", init: "2006-11-09T00:00:00Z", lead: 240 }, 48, { variable: "t", level: 850 }, 1);
  assert.ok(found.values.every((value) => value === 2.5));
  assert.ok(/\/a\/.*lead_time=24/.test(asked[0]) && /\/b\/.*lead_time=48/.test(asked[1]), asked.join(" "));
});

test("an analysis is read at the valid time", async () => {
  const asked = [];
  globalThis.fetch = async (url) => {
    asked.push(url);
    return new Response(new Uint16Array(12).buffer, { headers: { "PEAR-Scale": "1", "PEAR-Offset": "0" } });
  };
  const analysis = { id: "analysis:x y", analysis: "x y", init: "2006-11-10T00:00:00Z", lead: 240, leads: [24] };
  await otherField(analysis, 24, { variable: "t", level: 850 }, 1);
  assert.deepEqual(asked, ["/v1/stores/analysis/x%20y/fields/t?time=2006-11-11T00%3A00%3A00Z&format=u16&nside=1&level=850"]);
});
