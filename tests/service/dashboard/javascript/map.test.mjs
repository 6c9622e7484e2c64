// Unit tests of the modules of the map, by Node's own runner.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isolines } from "../../../../service/dashboard/static/contours.js";
import { centresOf } from "../../../../service/dashboard/static/extrema.js";
import {
  decimalsFor, limitsOf, pack, placeText, ticksOf, written,
} from "../../../../service/dashboard/static/field.js";
import { isSoftware } from "../../../../service/dashboard/static/gl.js";
import { ringCentres, ringOfNested, sample } from "../../../../service/dashboard/static/healpix.js";
import { capOf, graticule, linesOf } from "../../../../service/dashboard/static/lines.js";
import { KINDS, bounded, project } from "../../../../service/dashboard/static/projections.js";
import { defaultLatitude, readState, writeState } from "../../../../service/dashboard/static/state.js";
import { Wind, angleOn, barbsOf } from "../../../../service/dashboard/static/wind.js";

const RADIANS = Math.PI / 180;
const near = (value, wanted, slack) => assert.ok(Math.abs(value - wanted) <= slack, `${value} is not ${wanted}`);

/** A field of a function of longitude and latitude in degrees. */
function fieldOf(nside, of) {
  const { longitude, z } = ringCentres(nside);
  const ring = ringOfNested(nside);
  const values = Float32Array.from(ring, (cell) => of(longitude[cell], Math.asin(z[cell]) / RADIANS));
  return pack(values);
}

test("projections are inverted by their inverses, at any zoom and centre", () => {
  for (const kind of KINDS) {
    for (const [zoom, latitude] of [[1, 20], [7, 52], [20, -47]]) {
      const view = bounded({ kind, longitude: 100, latitude, zoom });
      const at = project(640, 480, view);
      const place = { longitude: 0, z: 0, cos: 0 };
      let inside = 0;
      for (let x = 7; x < 640; x += 31) {
        for (let y = 5; y < 480; y += 29) {
          if (!at.lonlat(x, y, place)) continue;
          inside++;
          near(place.z ** 2 + place.cos ** 2, 1, 1e-9);
          const back = at.pixel(place.longitude, Math.atan2(place.z, place.cos) / RADIANS);
          near(back[0], x, 1e-5);
          near(back[1], y, 1e-5);
        }
      }
      assert.ok(inside > 100, `${kind} ${zoom}`);
    }
  }
});

test("the centre of a view is in the middle of the map, within its bounds", () => {
  for (const kind of KINDS) {
    const view = bounded({ kind, longitude: 370, latitude: kind === "south" ? -60 : 60, zoom: 5 });
    assert.equal(view.longitude, 10);
    const place = { longitude: 0, z: 0, cos: 0 };
    project(600, 400, view).lonlat(300, 200, place);
    near(place.longitude, 10, 1e-6);
    near(Math.asin(place.z) / RADIANS, view.latitude, 1e-6);
  }
  assert.equal(Math.abs(bounded({ kind: "flat", longitude: 0, latitude: 50, zoom: 1 }).latitude), 0);
  near(bounded({ kind: "north", longitude: 0, latitude: 50, zoom: 1 }).latitude, 90, 1e-9);
  assert.equal(bounded({ kind: "globe", longitude: 0, latitude: 99, zoom: 99 }).zoom, 24);
});

test("bilinear values of a smooth field are close to it", () => {
  const smooth = (longitude, latitude) => 10 * Math.sin(latitude * RADIANS) + 5 * Math.cos(latitude * RADIANS) * Math.cos((longitude - 40) * RADIANS);
  const field = fieldOf(32, smooth);
  for (let k = 0; k < 200; k++) {
    const [longitude, latitude] = [(k * 137.5) % 360, Math.asin(1 - (2 * k + 1) / 200) / RADIANS];
    const value = sample(field.ring, 32, longitude, Math.sin(latitude * RADIANS), Math.cos(latitude * RADIANS));
    near(value, smooth(longitude, latitude), 0.02);
  }
});

test("isolines of a cone are circles, closed, and pass no missing value", () => {
  const width = 41;
  const cone = Float32Array.from({ length: width * width }, (_, i) => Math.hypot((i % width) - 20, Math.floor(i / width) - 20));
  const found = isolines(cone, width, 5).filter(({ level }) => level === 10);
  assert.equal(found.length, 1);
  const { points } = found[0];
  for (const [x, y] of points) near(Math.hypot(x - 20, y - 20), 10, 0.05);
  assert.deepEqual(points[0], points[points.length - 1]);
  cone[10 * width + 20] = NaN;
  const open = isolines(cone, width, 5).filter(({ level }) => level === 10);
  assert.ok(open.every((line) => line.points.every(([x, y]) => Math.hypot(x - 20, y - 10) > 0.7)));
  assert.deepEqual(isolines(new Float32Array([1, 1, 1, 1]), 2, 5), []);
});

test("pressure centres are found where they are", () => {
  const bump = (lon, lat, lon0, lat0) => {
    const cosine = Math.sin(lat * RADIANS) * Math.sin(lat0 * RADIANS)
      + Math.cos(lat * RADIANS) * Math.cos(lat0 * RADIANS) * Math.cos((lon - lon0) * RADIANS);
    return Math.exp(-((Math.acos(Math.min(1, cosine)) / (8 * RADIANS)) ** 2));
  };
  const field = fieldOf(32, (lon, lat) => 1013 + 20 * bump(lon, lat, 30, 45) - 25 * bump(lon, lat, -60, -50) + 0.5 * bump(lon, lat, 150, 0));
  const found = centresOf(field.ring, 3);
  assert.deepEqual(found.map(({ high }) => high), [false, true]);
  near(found[0].longitude, -60, 2);
  near(found[0].latitude, -50, 2);
  near(found[1].value, 1033, 0.5);
});

test("winds are vectors: across a pole, and drawn in the direction they blow", () => {
  const nside = 32;
  // A uniform flow through space along +x: u = -sin(lon), v = -sin(lat) cos(lon).
  const east = fieldOf(nside, (lon) => -10 * Math.sin(lon * RADIANS));
  const north = fieldOf(nside, (lon, lat) => -10 * Math.sin(lat * RADIANS) * Math.cos(lon * RADIANS));
  const wind = new Wind(east, north);
  const at = { u: 0, v: 0 };
  for (const longitude of [0, 77, 181, 300]) {
    wind.at(longitude, Math.sin(89.5 * RADIANS), Math.cos(89.5 * RADIANS), at);
    near(at.u, -10 * Math.sin(longitude * RADIANS), 0.05);
    near(at.v, -10 * Math.cos(longitude * RADIANS), 0.05);
  }
  const globe = project(400, 400, { kind: "globe", longitude: 0, latitude: 0, zoom: 1 });
  near(angleOn(globe, { longitude: 0, z: 0, cos: 1 }, { u: 5, v: 0 }, 200, 200), 0, 1e-3);
  near(angleOn(globe, { longitude: 0, z: 0, cos: 1 }, { u: 0, v: 5 }, 200, 200), -Math.PI / 2, 1e-3);
});

test("barbs count knots by 50, 10 and 5", () => {
  const knots = (n) => (n * 1852) / 3600;
  assert.deepEqual(barbsOf(knots(65)), { pennants: 1, full: 1, half: 1 });
  assert.deepEqual(barbsOf(knots(19)), { pennants: 0, full: 2, half: 0 });
  assert.deepEqual(barbsOf(knots(2)), { pennants: 0, full: 0, half: 0 });
});

test("lines outside of the view are left out", () => {
  const view = project(400, 400, { kind: "globe", longitude: 10, latitude: 50, zoom: 10 });
  const cap = capOf(view, 400, 400);
  assert.ok(cap.radius < 10 * RADIANS);
  const [here, away] = linesOf([[900, 4900, 1100, 5100], [-17000, -4900, -16900, -4800]]);
  const apart = (line) => Math.acos(line.x * cap.x + line.y * cap.y + line.z * cap.z) - line.radius;
  assert.ok(apart(here) < cap.radius);
  assert.ok(apart(away) > cap.radius);
  assert.equal(graticule(30).length, 12 + 5);
});

test("limits, ticks and numbers", () => {
  const style = { scale: 1, offset: 0, limits: null, limits_at: { 500: [480, 600] }, symmetric: false, from_zero: false };
  const values = Float32Array.from({ length: 1001 }, (_, i) => i / 100);
  assert.deepEqual(limitsOf(style, values, 500), [480, 600]);
  assert.deepEqual(limitsOf(style, values, 850), [0, 10]);
  assert.deepEqual(limitsOf({ ...style, symmetric: true }, values, null), [-10, 10]);
  assert.deepEqual(limitsOf(style, new Float32Array([5, 5]), null), [4, 6]);
  assert.deepEqual(ticksOf([970, 1050], 9).map(({ text }) => text), ["970", "980", "990", "1000", "1010", "1020", "1030", "1040", "1050"]);
  assert.equal(written(-0.04, 1), "0.0");
  assert.equal(written(-4, 1), "\u22124.0");
  assert.deepEqual([[970, 1050], [-45, 45], [0, 0.006]].map(decimalsFor), [1, 1, 5]);
  assert.equal(placeText({ latitude: -5.5, longitude: 170 }, 1), "5.5° S, 170.0° E");
});

test("packed values are those packed, and missing ones stay missing", () => {
  const field = pack(Float32Array.from({ length: 12 }, (_, i) => (i === 3 ? NaN : 100 + i)));
  assert.ok(Number.isNaN(field.values[3]));
  for (const i of [0, 1, 11]) near(field.values[i], 100 + i, 2e-4);
  assert.equal(field.ring[ringOfNested(1)[7]], field.values[7]);
});

test("an address restores what it was written from, and nothing impossible", () => {
  const page = {
    variables: [{ name: "t" }, { name: "z" }], levels: [850, 500], leads: [0, 24, 48], colours: { viridis: "" },
  };
  const state = readState("?variable=z&level=850&lead=48&view=north&lat=70.0&lon=-20.0&zoom=3.00&wind=barbs&isolines=z:500&plat=1&plon=2&speed=4&units=us&cells=whole&colours=viridis&statistic=q90&value=12.5&compare=b", page, ["z:500"], ["", "q90"], ["b"]);
  assert.equal(state.statistic + state.value, "q9012.5");
  assert.deepEqual(readState(writeState("r", state, true), page, ["z:500"], ["", "q90"], ["b"]), state);
  assert.equal(state.compare, "b");
  const plain = readState("?variable=x&level=7&lead=1&view=moon&lat=123&lon=x&zoom=99&wind=up&isolines=q", page, []);
  assert.deepEqual(plain, {
    variable: "t", level: 500, lead: 24, view: "globe", cells: "smooth", longitude: 10, latitude: defaultLatitude("globe"),
    zoom: 1, isolines: "auto", wind: "none", colours: "default", speed: "1", units: "metric", statistic: "", value: NaN, compare: "", show: "difference",
    point: null,
  });
  const ignored = [];
  readState("?variable=x&level=7&lat=12abc&view=north&wind=", page, [], [""], [], ignored);
  assert.deepEqual(ignored.sort(), [["lat", "12abc"], ["level", "7"], ["variable", "x"], ["wind", ""]]);
});

test("renderers on the processor are known by their names", () => {
  for (const name of ["ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero)), SwiftShader driver)", "llvmpipe (LLVM 15.0.7, 256 bits)", "Microsoft Basic Render Driver", "Apple Software Renderer"]) assert.ok(isSoftware(name), name);
  for (const name of ["ANGLE (Intel, Mesa Intel(R) UHD Graphics 620 (KBL GT2), OpenGL 4.6)", "ANGLE (Apple, ANGLE Metal Renderer: Apple M1, Unspecified Version)", "NVIDIA GeForce RTX 3060/PCIe/SSE2"]) assert.ok(!isSoftware(name), name);
});
