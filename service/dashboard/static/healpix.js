// @ts-check
// HEALPix (Górski et al. 2005): the cell of a point, in nested and in ring order, and the four
// cells around a point with their bilinear weights, as the server's maps use them.

/** Return a table that moves the bits of 0…nside-1 to even positions.
 * @param {number} nside */
export function bitTable(nside) {
  const table = new Uint32Array(nside);
  for (let i = 0; i < nside; i++) {
    let spread = 0;
    for (let bit = 0; (1 << bit) < nside; bit++) spread |= ((i >> bit) & 1) << (2 * bit);
    table[i] = spread;
  }
  return table;
}

/** @type {Map<number, Uint32Array>} */
const bitTables = new Map();

/** @param {number} nside */
function bitsOf(nside) {
  let bits = bitTables.get(nside);
  if (bits === undefined) bitTables.set(nside, (bits = bitTable(nside)));
  return bits;
}

/** Return the nested cell of a point; longitude and latitude in degrees.
 * @param {number} nside @param {number} longitude @param {number} latitude */
export function cellOf(nside, longitude, latitude) {
  const phi = latitude * (Math.PI / 180);
  return cellOfUnit(nside, longitude, Math.sin(phi), Math.cos(phi));
}

/** As cellOf, from sine and cosine of the latitude (their section 5).
 * @param {number} nside @param {number} longitude @param {number} z @param {number} cosLatitude */
export function cellOfUnit(nside, longitude, z, cosLatitude) {
  const bits = bitsOf(nside);
  const height = Math.abs(z);
  const quarter = quarterOf(longitude);
  let face, x, y;
  if (height <= 2 / 3) {
    const along = nside * (0.5 + quarter);
    const across = nside * z * 0.75;
    const up = Math.floor(along - across);
    const down = Math.floor(along + across);
    const faceUp = Math.floor(up / nside);
    const faceDown = Math.floor(down / nside);
    if (faceUp === faceDown) face = (faceUp & 3) + 4;
    else face = faceUp < faceDown ? faceUp & 3 : (faceDown & 3) + 8;
    x = down & (nside - 1);
    y = nside - (up & (nside - 1)) - 1;
  } else {
    const sector = Math.min(3, Math.floor(quarter));
    const part = quarter - sector;
    const reach = nside * cosLatitude / Math.sqrt((1 + height) / 3);
    const up = Math.min(nside - 1, Math.floor(part * reach));
    const down = Math.min(nside - 1, Math.floor((1 - part) * reach));
    if (z >= 0) {
      face = sector;
      x = nside - down - 1;
      y = nside - up - 1;
    } else {
      face = sector + 8;
      x = up;
      y = down;
    }
  }
  return face * nside * nside + bits[x] + 2 * bits[y];
}

/** Return the longitude in quarter turns, in [0, 4).
 * @param {number} longitude */
function quarterOf(longitude) {
  let quarter = (longitude / 90) % 4;
  if (quarter < 0) quarter += 4;
  return quarter >= 4 ? 0 : quarter; // -1e-17 + 4 rounds to 4
}

const FACE_RING = [2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4];
const FACE_PHI = [1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7];
/** @type {Map<number, Uint32Array>} */
const ringTables = new Map();

/** Return the index in ring order of each nested cell.
 * @param {number} nside */
export function ringOfNested(nside) {
  const known = ringTables.get(nside);
  if (known) return known;
  const bits = bitsOf(nside);
  const out = new Uint32Array(12 * nside * nside);
  for (let face = 0, base = 0; face < 12; face++, base += nside * nside) {
    for (let y = 0; y < nside; y++) {
      for (let x = 0; x < nside; x++) {
        const ring = FACE_RING[face] * nside - x - y - 1;
        let count = nside;
        let before = 2 * nside * (nside - 1) + (ring - nside) * 4 * nside;
        let shift = (ring - nside) & 1;
        if (ring < nside) {
          [count, before, shift] = [ring, 2 * ring * (ring - 1), 0];
        } else if (ring > 3 * nside) {
          count = 4 * nside - ring;
          [before, shift] = [12 * nside * nside - 2 * (count + 1) * count, 0];
        }
        let along = (FACE_PHI[face] * count + x - y + 1 + shift) / 2;
        if (along < 1) along += 4 * nside;
        out[base + bits[x] + 2 * bits[y]] = before + along - 1;
      }
    }
  }
  ringTables.set(nside, out);
  return out;
}

/** Return values of nested cells in ring order.
 * @template {Float32Array | Uint16Array} T @param {T} nested @returns {T} */
export function toRing(nested) {
  const ring = ringOfNested(nsideOf(nested.length));
  const out = /** @type {T} */ (nested instanceof Uint16Array ? new Uint16Array(nested.length) : new Float32Array(nested.length));
  for (let i = 0; i < nested.length; i++) out[ring[i]] = nested[i];
  return out;
}

/** @param {number} cells */
export function nsideOf(cells) {
  return Math.round(Math.sqrt(cells / 12));
}

/** First cell, number of cells, colatitude and shift of each ring, from 1 on.
 * @typedef {{ start: Int32Array, count: Int32Array, theta: Float64Array, shift: Float64Array }} Rings */

/** @type {Map<number, Rings>} */
const rings = new Map();

/** @param {number} nside @returns {Rings} */
export function ringsOf(nside) {
  const known = rings.get(nside);
  if (known) return known;
  const size = 4 * nside + 1;
  const made = {
    start: new Int32Array(size), count: new Int32Array(size),
    theta: new Float64Array(size), shift: new Float64Array(size),
  };
  const cells = 12 * nside * nside;
  for (let ring = 1; ring < 4 * nside; ring++) {
    const north = Math.min(ring, 4 * nside - ring);
    let [start, count, shift, theta] = [0, 4 * nside, 0, 0];
    if (north < nside) {
      const part = (north * north) / (3 * nside * nside);
      theta = Math.atan2(Math.sqrt(part * (2 - part)), 1 - part);
      [start, count, shift] = [2 * north * (north - 1), 4 * north, 0.5];
    } else {
      theta = Math.acos(((2 * nside - north) * 2) / (3 * nside));
      shift = ((north - nside) & 1) === 0 ? 0.5 : 0;
      start = 2 * nside * (nside - 1) + (north - nside) * 4 * nside;
    }
    if (north !== ring) [theta, start] = [Math.PI - theta, cells - start - count];
    made.start[ring] = start;
    made.count[ring] = count;
    made.theta[ring] = theta;
    made.shift[ring] = shift;
  }
  rings.set(nside, made);
  return made;
}

/** Four cells in ring order around a point, and their weights.
 * @typedef {{ cells: Int32Array, weights: Float64Array }} Around */

/** @returns {Around} */
export function around() {
  return { cells: new Int32Array(4), weights: new Float64Array(4) };
}

/** Find the cells and bilinear weights of a point: linear along each of two rings, then between.
 * @param {number} nside @param {number} longitude degrees
 * @param {number} z @param {number} cosLatitude @param {Around} out */
export function weigh(nside, longitude, z, cosLatitude, out) {
  const { start, count, theta, shift } = ringsOf(nside);
  const { cells, weights } = out;
  const height = Math.abs(z);
  const last = 4 * nside;
  let above;
  if (height <= 2 / 3) above = Math.floor(nside * (2 - 1.5 * z));
  else {
    const reach = Math.floor((nside * cosLatitude * Math.sqrt(3)) / Math.sqrt(1 + height));
    above = z > 0 ? reach : last - reach - 1;
  }
  above = Math.max(0, Math.min(last - 1, above));
  const below = above + 1;
  const colatitude = Math.atan2(cosLatitude, z);
  const turn = quarterOf(longitude) / 4;
  for (let k = 0; k < 2; k++) {
    const ring = k === 0 ? above : below;
    if (ring === 0 || ring === last) continue;
    const many = count[ring];
    const along = turn * many - shift[ring];
    const first = Math.floor(along);
    const part = along - first;
    cells[2 * k] = start[ring] + ((first % many) + many) % many;
    cells[2 * k + 1] = start[ring] + ((first + 1) % many + many) % many;
    weights[2 * k] = 1 - part;
    weights[2 * k + 1] = part;
  }
  if (above === 0) {
    const down = colatitude / theta[1];
    const fourth = (1 - down) / 4;
    for (let i = 0; i < 2; i++) {
      cells[i] = (cells[i + 2] + 2) & 3;
      weights[i] = fourth;
      weights[i + 2] = weights[i + 2] * down + fourth;
    }
  } else if (below === last) {
    const down = (colatitude - theta[above]) / (Math.PI - theta[above]);
    const base = 12 * nside * nside - 4;
    for (let i = 0; i < 2; i++) {
      cells[i + 2] = ((cells[i] + 2) & 3) + base;
      weights[i + 2] = down / 4;
      weights[i] = weights[i] * (1 - down) + down / 4;
    }
  } else {
    const down = (colatitude - theta[above]) / (theta[below] - theta[above]);
    weights[0] *= 1 - down;
    weights[1] *= 1 - down;
    weights[2] *= down;
    weights[3] *= down;
  }
}

const scratch = around();

/** Return the bilinear value of a field in ring order; NaN where a cell is missing.
 * @param {Float32Array} ring @param {number} nside
 * @param {number} longitude @param {number} z @param {number} cosLatitude */
export function sample(ring, nside, longitude, z, cosLatitude) {
  weigh(nside, longitude, z, cosLatitude, scratch);
  const { cells, weights } = scratch;
  return weights[0] * ring[cells[0]] + weights[1] * ring[cells[1]]
    + weights[2] * ring[cells[2]] + weights[3] * ring[cells[3]];
}

/** Return longitude in degrees, and sine and cosine of the latitude, of each cell in ring order.
 * @param {number} nside */
export function ringCentres(nside) {
  const { start, count, theta, shift } = ringsOf(nside);
  const size = 12 * nside * nside;
  const out = { longitude: new Float64Array(size), z: new Float64Array(size), cos: new Float64Array(size) };
  for (let ring = 1; ring < 4 * nside; ring++) {
    for (let i = 0; i < count[ring]; i++) {
      const cell = start[ring] + i;
      out.longitude[cell] = (360 * (i + shift[ring])) / count[ring];
      out.z[cell] = Math.cos(theta[ring]);
      out.cos[cell] = Math.sin(theta[ring]);
    }
  }
  return out;
}
