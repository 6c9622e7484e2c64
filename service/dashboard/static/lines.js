// @ts-check
// Lines on the map: coastlines and graticule, without what lies outside of the view.

/** @typedef {import("./projections.js").Projection} Projection */
/** A line in hundredths of a degree, longitude and latitude in turn, and the cap that holds it.
 * @typedef {{ points: ArrayLike<number>, x: number, y: number, z: number, radius: number }} Line */

const RADIANS = Math.PI / 180;

/** Return lines with the caps of the sphere that hold them.
 * @param {ArrayLike<number>[]} lines in hundredths of a degree @returns {Line[]} */
export function linesOf(lines) {
  return lines.flatMap(cut).map((points) => {
    let [x, y, z] = [0, 0, 0];
    const units = [];
    for (let i = 0; i < points.length; i += 2) {
      const at = unit(points[i] / 100, points[i + 1] / 100);
      units.push(at);
      [x, y, z] = [x + at[0], y + at[1], z + at[2]];
    }
    const size = Math.hypot(x, y, z);
    if (size < 1e-9) return { points, x: 1, y: 0, z: 0, radius: Math.PI };
    [x, y, z] = [x / size, y / size, z / size];
    const least = Math.min(...units.map((at) => at[0] * x + at[1] * y + at[2] * z));
    return { points, x, y, z, radius: Math.acos(Math.max(-1, Math.min(1, least))) };
  });
}

const LONGEST = 200;

/** Cut a line into parts, so that a coast of a continent is not drawn as a whole for a bay of it.
 * @param {ArrayLike<number>} line */
function cut(line) {
  const parts = [];
  for (let at = 0; at < line.length - 2; at += LONGEST) parts.push(Array.prototype.slice.call(line, at, at + LONGEST + 2));
  return parts;
}

/** @param {number} longitude @param {number} latitude @returns {[number, number, number]} */
function unit(longitude, latitude) {
  const [s, c] = [Math.sin(latitude * RADIANS), Math.cos(latitude * RADIANS)];
  return [c * Math.cos(longitude * RADIANS), c * Math.sin(longitude * RADIANS), s];
}

/** Return meridians and parallels at a spacing in degrees, in hundredths of a degree.
 * @param {number} spacing @returns {number[][]} */
export function graticule(spacing) {
  const fine = Math.min(2, spacing / 5);
  const lines = [];
  for (let longitude = -180; longitude < 180; longitude += spacing) {
    const line = [];
    for (let latitude = -80; latitude <= 80 + 1e-6; latitude += fine) line.push(100 * longitude, 100 * latitude);
    lines.push(line);
  }
  for (let latitude = -90 + spacing; latitude < 90; latitude += spacing) {
    const line = [];
    for (let longitude = -180; longitude <= 180 + 1e-6; longitude += fine) line.push(100 * longitude, 100 * latitude);
    lines.push(line);
  }
  return lines;
}

/** Return the cap of the sphere that a map shows; the whole sphere where its edge is outside.
 * @param {Projection} projection @param {number} width @param {number} height */
export function capOf(projection, width, height) {
  const place = { longitude: 0, z: 0, cos: 0 };
  const whole = { x: 1, y: 0, z: 0, radius: Math.PI };
  if (!projection.lonlat(width / 2, height / 2, place)) return whole;
  const middle = unit(place.longitude, Math.atan2(place.z, place.cos) / RADIANS);
  let radius = 0;
  for (let k = 0; k <= 8; k++) {
    for (const [x, y] of [[k / 8, 0], [k / 8, 1], [0, k / 8], [1, k / 8]]) {
      if (!projection.lonlat(x * width, y * height, place)) return projection.kind === "globe"
        ? { x: middle[0], y: middle[1], z: middle[2], radius: Math.PI / 2 } : whole;
      const at = unit(place.longitude, Math.atan2(place.z, place.cos) / RADIANS);
      radius = Math.max(radius, Math.acos(Math.max(-1, Math.min(1, at[0] * middle[0] + at[1] * middle[1] + at[2] * middle[2]))));
    }
  }
  return { x: middle[0], y: middle[1], z: middle[2], radius: 1.05 * radius };
}

/** Begin a path along lines, without the far side of the globe and what the map does not show.
 * @param {CanvasRenderingContext2D} context @param {Projection} projection @param {Line[]} lines
 * @param {{ x: number, y: number, z: number, radius: number }} cap */
export function trace(context, projection, lines, cap) {
  context.beginPath();
  for (const line of lines) {
    const apart = Math.acos(Math.max(-1, Math.min(1, line.x * cap.x + line.y * cap.y + line.z * cap.z)));
    if (apart > line.radius + cap.radius) continue;
    const { points } = line;
    /** @type {[number, number] | null} */
    let before = null;
    for (let i = 0; i < points.length; i += 2) {
      const now = projection.pixel(points[i] / 100, points[i + 1] / 100);
      const joined = now && before && Math.abs(now[0] - before[0]) < projection.jump;
      if (joined) context.lineTo(now[0], now[1]);
      else if (now) context.moveTo(now[0], now[1]);
      before = now;
    }
  }
}
