// Unit tests of units on choice.

import assert from "node:assert/strict";
import { test } from "node:test";

import { inUnits } from "../../../../service/dashboard/static/units.js";

const style = { units: "°C", scale: 1, offset: -273.15, limits: [-40, 100], limits_at: { 850: [0, 10] } };

test("limits and values are converted together", () => {
  const shown = inUnits(style, "us");
  assert.equal(shown.units, "°F");
  assert.ok(Math.abs(300 * shown.scale + shown.offset - 80.33) < 1e-9);
  assert.deepEqual([shown.limits, shown.limits_at[850]], [[-40, 212], [32, 50]]);
  assert.equal(inUnits(style, "knots"), style);
  const wind = inUnits({ ...style, units: "m s⁻¹", offset: 0, limits: null }, "knots");
  assert.ok(Math.abs(10 * wind.scale - 19.4384) < 1e-3);
  assert.equal(wind.limits, null);
});
