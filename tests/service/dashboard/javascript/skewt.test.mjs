// Unit tests of the vertical profile: thermodynamics against published values, and the layout.

import assert from "node:assert/strict";
import { test } from "node:test";

import { csvText } from "../../../../service/dashboard/static/download.js";
import { levelsOf } from "../../../../service/dashboard/static/profile.js";
import { axesOf, dewPoint, dewPointOf, dryAdiabat, mixingLine, moistAdiabat, saturation } from "../../../../service/dashboard/static/skewt.js";
import { barbPath } from "../../../../service/dashboard/static/wind.js";

const near = (found, wanted, tolerance) => assert.ok(Math.abs(found - wanted) <= tolerance, `${found} is not ${wanted}`);

test("a moist adiabat is that of MetPy's reference", () => {
  // metpy.calc.moist_lapse of 293 K at 1000 hPa: 284.64, 272.81, 264.42 and 252.91 K.
  const found = moistAdiabat(293 - 273.15, [1000, 800, 600, 500, 400]);
  [293, 284.64, 272.81, 264.42, 252.91].forEach((kelvin, i) => near(found[i] + 273.15, kelvin, 0.12));
  const [, back] = moistAdiabat(found[4], [400, 1000]);
  near(back, found[0], 1e-3, "upwards and downwards are one curve");
});

test("a dry adiabat is that of MetPy's reference", () => {
  // metpy.calc.dry_lapse of 303.15 K at 1000 hPa: 294.16 K at 900 and 290.83 K at 864.89 hPa.
  near(dryAdiabat(30, 900) + 273.15, 294.16, 0.02);
  near(dryAdiabat(30, 864.89) + 273.15, 290.83, 0.02);
});

test("saturation and dew point are inverse, and those of the service", () => {
  near(saturation(0), 6.1121 * Math.exp((17.502 * -0.01) / (273.15 - 32.19)), 1e-12);
  near(dewPointOf(saturation(17.3)), 17.3, 1e-9);
  near(dewPoint(0.0145, 1000), 19.8, 0.05); // as in the service's documentation of its formula
  near(mixingLine(0.01, 1000), dewPointOf((0.01 * 1000) / 0.632), 1e-12);
  assert.ok(Number.isFinite(dewPoint(-1e-6, 100)), "humidity below zero is dry air");
});

test("isotherms lean by 30 degrees, pressure is logarithmic and grows downwards", () => {
  const { x, y } = axesOf({ left: 0, right: 300, top: 0, bottom: 400 });
  near(y(1050), 400, 1e-9);
  near(y(100), 0, 1e-9);
  near(y(Math.sqrt(1050 * 100)), 200, 1e-9);
  const lean = Math.atan2(x(0, 100) - x(0, 1050), y(1050) - y(100));
  near((lean * 180) / Math.PI, 30, 1e-9);
});

test("levels come from the ground up, whatever the order of the answer", () => {
  const at = (z, kelvin) => ({
    domain: { axes: { z: { values: [z] } } },
    ranges: { temperature: { values: [kelvin] }, specific_humidity: { values: [null] } },
  });
  const surface = { domain: { axes: {} }, ranges: {} };
  const found = levelsOf({ coverages: [at(500, 253.15), surface, at(1000, 283.15)] });
  assert.deepEqual(found.map(({ pressure }) => pressure), [1000, 500]);
  near(found[0].temperature, 10, 1e-9);
  assert.equal(found[0].dewPoint, null);
  assert.equal(found[0].u, null);
});

test("barbs hold pennants of 50 knots, and a circle when it is calm", () => {
  const knots = 1852 / 3600;
  assert.equal(barbPath(65 * knots).filled.split("Z").length - 1, 1);
  assert.equal(barbPath(65 * knots).lines.split("M").length - 1, 3, "staff, one full and one half");
  assert.equal(barbPath(0).filled, "");
  assert.match(barbPath(0).lines, /A/);
});

test("tables are quoted where they must be", () => {
  assert.equal(csvText([["a", "b,c"], [1, null], ['"', 2.5]]), 'a,"b,c"\n1,\n"""",2.5\n');
});
