// Nested HEALPix: the cell that contains a point (Górski et al. 2005, section 5).

/** Return a table that moves the bits of 0…nside-1 to even positions. */
export function bitTable(nside) {
  const table = new Uint32Array(nside);
  for (let i = 0; i < nside; i++) {
    let spread = 0;
    for (let bit = 0; (1 << bit) < nside; bit++) spread |= ((i >> bit) & 1) << (2 * bit);
    table[i] = spread;
  }
  return table;
}

const tables = new Map();

function tableFor(nside) {
  if (!tables.has(nside)) tables.set(nside, bitTable(nside));
  return tables.get(nside);
}

/** Return the nested cell of a point; longitude and latitude in degrees. */
export function cellOf(nside, longitude, latitude) {
  const phi = latitude * (Math.PI / 180);
  return cellOfUnit(nside, longitude, Math.sin(phi), Math.cos(phi), tableFor(nside));
}

/** As cellOf, from sine and cosine of the latitude. */
export function cellOfUnit(nside, longitude, z, cosLatitude, bits) {
  const height = Math.abs(z);
  let quarter = (longitude / 90) % 4;
  if (quarter < 0) quarter += 4;
  if (quarter >= 4) quarter = 0; // -1e-17 + 4 rounds to 4
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

/** Return the cell of each pixel; `lonlat(x, y, out)` returns false outside the map. */
export function indexImage(nside, width, height, lonlat) {
  const cells = new Int32Array(width * height).fill(-1);
  const bits = tableFor(nside);
  const place = { longitude: 0, z: 0, cos: 0 };
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      if (lonlat(column + 0.5, row + 0.5, place)) {
        cells[i] = cellOfUnit(nside, place.longitude, place.z, place.cos, bits);
      }
    }
  }
  return cells;
}
