// @ts-check
// Centres of high and low pressure: cells above or below all that lies around them.

import { nsideOf, ringCentres, sample } from "./healpix.js";

/** @typedef {{ high: boolean, longitude: number, latitude: number, value: number }} Centre */

const RADIANS = Math.PI / 180;
/** Radii of the rings around a centre, degrees; the smallest is that of its neighbours. */
const RADII = [4, 7, 10];
const DIRECTIONS = 12;

/** Return the centres of a field in ring order, the most prominent first.
 * @param {Float32Array} ring @param {number} least difference to the mean around, in the field's unit
 * @returns {Centre[]} */
export function centresOf(ring, least) {
  const nside = nsideOf(ring.length);
  const { longitude, z, cos } = ringCentres(nside);
  const neighbour = Math.min(RADII[0], 60 / nside);
  const found = [];
  for (let cell = 0; cell < ring.length; cell++) {
    const value = ring[cell];
    let sign = 0;
    let [sum, count] = [0, 0];
    for (const radius of [neighbour, ...RADII]) {
      for (let k = 0; k < DIRECTIONS; k++) {
        const near = around(ring, nside, longitude[cell], z[cell], cos[cell], radius, (360 * k) / DIRECTIONS);
        const side = Math.sign(value - near);
        if (sign === 0) sign = side;
        if (side !== sign || side === 0) {
          sign = NaN;
          break;
        }
        if (radius === RADII[RADII.length - 1]) [sum, count] = [sum + near, count + 1];
      }
      if (Number.isNaN(sign)) break;
    }
    const prominence = Math.abs(value - sum / count);
    if (!Number.isNaN(sign) && prominence >= least) found.push({ cell, high: sign > 0, prominence });
  }
  found.sort((one, other) => other.prominence - one.prominence);
  // Two cells beside a centre may both be extreme: the more prominent one stands for it.
  /** @type {typeof found} */
  const kept = [];
  /** @param {number} a @param {number} b */
  const cosine = (a, b) => z[a] * z[b] + cos[a] * cos[b] * Math.cos((longitude[a] - longitude[b]) * RADIANS);
  for (const each of found) {
    if (!kept.some((other) => other.high === each.high && cosine(other.cell, each.cell) > Math.cos(RADII[1] * RADIANS))) kept.push(each);
  }
  return kept.map(({ cell, high }) => ({
    high,
    longitude: ((longitude[cell] + 540) % 360) - 180,
    latitude: Math.atan2(z[cell], cos[cell]) / RADIANS,
    value: ring[cell],
  }));
}

/** Return the value at a distance and bearing, degrees, from a point.
 * @param {Float32Array} ring @param {number} nside @param {number} longitude
 * @param {number} z @param {number} cos @param {number} distance @param {number} bearing */
function around(ring, nside, longitude, z, cos, distance, bearing) {
  const [sinD, cosD] = [Math.sin(distance * RADIANS), Math.cos(distance * RADIANS)];
  const [sinB, cosB] = [Math.sin(bearing * RADIANS), Math.cos(bearing * RADIANS)];
  const height = Math.max(-1, Math.min(1, z * cosD + cos * sinD * cosB));
  const turn = Math.atan2(sinB * sinD * cos, cosD - z * height) / RADIANS;
  return sample(ring, nside, longitude + turn, height, Math.sqrt(1 - height * height));
}
