// @ts-check
// Projections: the globe (orthographic), the flat map (Equal Earth, Šavrič, Patterson and Jenny
// 2018, which preserves areas like HEALPix does), and stereographic maps of the poles (Snyder
// 1987, p. 154). Arguments in degrees, results in pixels.

const RADIANS = Math.PI / 180;
const A = [1.340264, -0.081106, 0.000893, 0.003796];
const ROOT3 = Math.sqrt(3);
const MARGIN = 2;
export const MAX_ZOOM = 24;
/** Latitude at the edge of the maps of the poles, as of the server's. */
export const POLAR_EDGE = 30;
export const KINDS = ["globe", "flat", "north", "south"];

/** Centre and magnification of a map.
 * @typedef {{ kind: string, longitude: number, latitude: number, zoom: number }} View */
/** A point on the sphere.
 * @typedef {{ longitude: number, z: number, cos: number }} Place */
/** A projection; `dx` and `dy` are the pixels from the middle of the map to its origin, upwards.
 * @typedef {{ kind: string, unit: number, dy: number, jump: number,
 *   lonlat: (x: number, y: number, out: Place) => boolean,
 *   pixel: (longitude: number, latitude: number) => [number, number] | null,
 *   outline: (context: CanvasRenderingContext2D) => void }} Projection */

/** @param {number} t */
function equalEarthY(t) {
  const t2 = t * t;
  const t6 = t2 * t2 * t2;
  return t * (A[0] + A[1] * t2 + t6 * (A[2] + A[3] * t2));
}

/** @param {number} t */
function equalEarthSlope(t) {
  const t2 = t * t;
  const t6 = t2 * t2 * t2;
  return A[0] + 3 * A[1] * t2 + t6 * (7 * A[2] + 9 * A[3] * t2);
}

const TOP = equalEarthY(Math.PI / 3);
const HALF_WIDTH = (2 * ROOT3 * Math.PI) / (3 * A[0]);
const POLAR_RADIUS = 2 * Math.tan((45 - POLAR_EDGE / 2) * RADIANS);
export const FLAT_ASPECT = TOP / HALF_WIDTH;

/** @param {number} latitude */
const parametric = (latitude) => Math.asin((ROOT3 / 2) * Math.sin(latitude * RADIANS));

/** Return the projection of a view.
 * @param {number} width @param {number} height @param {View} view @returns {Projection} */
export function project(width, height, view) {
  if (view.kind === "flat") return flat(width, height, view);
  return view.kind === "globe" ? globe(width, height, view) : polar(width, height, view);
}

/** Return a view within its bounds: maps are not moved away from what they show.
 * @param {View} view @returns {View} */
export function bounded({ kind, longitude, latitude, zoom }) {
  const size = Math.max(1, Math.min(MAX_ZOOM, zoom));
  let [south, north] = [-90, 90];
  if (kind === "flat") north = latitudeOf(TOP * (1 - 1 / size));
  if (kind === "flat") south = -north;
  if (kind === "north") south = polarLatitude(POLAR_RADIUS * (1 - 1 / size));
  if (kind === "south") north = -polarLatitude(POLAR_RADIUS * (1 - 1 / size));
  return {
    kind, zoom: size,
    longitude: ((((longitude + 180) % 360) + 360) % 360) - 180,
    latitude: Math.max(south, Math.min(north, latitude)),
  };
}

/** Return the latitude at a height on the Equal Earth map.
 * @param {number} y */
function latitudeOf(y) {
  let t = y / A[0];
  for (let i = 0; i < 8; i++) t -= (equalEarthY(t) - y) / equalEarthSlope(t);
  return Math.asin(Math.max(-1, Math.min(1, (2 / ROOT3) * Math.sin(t)))) / RADIANS;
}

/** Return the latitude at a distance from the north pole on the stereographic map.
 * @param {number} distance */
function polarLatitude(distance) {
  return 90 - (2 * Math.atan(distance / 2)) / RADIANS;
}

/** @param {number} width @param {number} height @param {View} view @returns {Projection} */
function flat(width, height, { longitude, latitude, zoom }) {
  const scale = zoom * Math.min((width / 2 - MARGIN) / HALF_WIDTH, (height / 2 - MARGIN) / TOP);
  const dy = -scale * equalEarthY(parametric(latitude));
  const middle = height / 2 - dy;
  /** @type {Map<number, { z: number, cos: number, stretch: number } | null>} */
  const rows = new Map();
  // Latitude and scale depend on the row only: one Newton solution per row.
  /** @param {number} y */
  function row(y) {
    let found = rows.get(y);
    if (found === undefined) {
      const target = (middle - y) / scale;
      let t = target / A[0];
      for (let i = 0; i < 8; i++) t -= (equalEarthY(t) - target) / equalEarthSlope(t);
      const z = (2 / ROOT3) * Math.sin(t);
      found = Math.abs(target) <= TOP && Math.abs(z) <= 1
        ? { z, cos: Math.sqrt(1 - z * z), stretch: (3 * equalEarthSlope(t)) / (2 * ROOT3 * Math.cos(t)) }
        : null;
      rows.set(y, found);
    }
    return found;
  }
  return {
    kind: "flat",
    lonlat(x, y, out) {
      const at = row(y);
      if (at === null) return false;
      const lambda = ((x - width / 2) / scale) * at.stretch;
      if (Math.abs(lambda) > Math.PI) return false;
      out.longitude = longitude + lambda / RADIANS;
      out.z = at.z;
      out.cos = at.cos;
      return true;
    },
    pixel(lon, lat) {
      let lambda = (lon - longitude) % 360;
      if (lambda > 180) lambda -= 360;
      if (lambda < -180) lambda += 360;
      const t = parametric(lat);
      const x = (2 * ROOT3 * lambda * RADIANS * Math.cos(t)) / (3 * equalEarthSlope(t));
      return [width / 2 + scale * x, middle - scale * equalEarthY(t)];
    },
    outline(context) {
      context.beginPath();
      for (const side of [179.9999, -179.9999]) {
        for (let k = -90; k <= 90; k += 2) {
          const at = this.pixel(longitude + side, side > 0 ? k : -k);
          if (at) context.lineTo(at[0], at[1]);
        }
      }
      context.closePath();
    },
    jump: scale * HALF_WIDTH,
    unit: scale,
    dy,
  };
}

/** @param {number} width @param {number} height @param {View} view @returns {Projection} */
function globe(width, height, { longitude, latitude, zoom }) {
  const radius = zoom * (Math.min(width, height) / 2 - MARGIN);
  const [sin0, cos0] = [Math.sin(latitude * RADIANS), Math.cos(latitude * RADIANS)];
  return {
    kind: "globe",
    lonlat(px, py, out) {
      const x = (px - width / 2) / radius;
      const y = (height / 2 - py) / radius;
      const r2 = x * x + y * y;
      if (r2 > 1) return false;
      const depth = Math.sqrt(1 - r2);
      out.z = Math.max(-1, Math.min(1, depth * sin0 + y * cos0));
      const toward = depth * cos0 - y * sin0;
      out.cos = Math.sqrt(x * x + toward * toward);
      out.longitude = longitude + Math.atan2(x, toward) / RADIANS;
      return true;
    },
    pixel(lon, lat) {
      const [sin, cos] = [Math.sin(lat * RADIANS), Math.cos(lat * RADIANS)];
      const lambda = (lon - longitude) * RADIANS;
      if (sin0 * sin + cos0 * cos * Math.cos(lambda) < 0) return null;
      const x = cos * Math.sin(lambda);
      const y = cos0 * sin - sin0 * cos * Math.cos(lambda);
      return [width / 2 + radius * x, height / 2 - radius * y];
    },
    outline(context) {
      context.beginPath();
      context.arc(width / 2, height / 2, radius, 0, 2 * Math.PI);
      context.closePath();
    },
    jump: radius,
    unit: radius,
    dy: 0,
  };
}

/** A pole; the central meridian runs from it down the map (up, for the south pole).
 * @param {number} width @param {number} height @param {View} view @returns {Projection} */
function polar(width, height, { kind, longitude, latitude, zoom }) {
  const sign = kind === "north" ? 1 : -1;
  const scale = (zoom * (Math.min(width, height) / 2 - MARGIN)) / POLAR_RADIUS;
  const dy = sign * scale * 2 * Math.tan((45 - (sign * latitude) / 2) * RADIANS);
  const middle = height / 2 - dy;
  return {
    kind,
    lonlat(px, py, out) {
      const x = (px - width / 2) / scale;
      const y = (sign * (middle - py)) / scale;
      const r2 = x * x + y * y;
      if (r2 > POLAR_RADIUS * POLAR_RADIUS) return false;
      // z and cosine of the latitude from the distance 2 tan(colatitude / 2).
      out.z = (sign * (4 - r2)) / (4 + r2);
      out.cos = (4 * Math.sqrt(r2)) / (4 + r2);
      out.longitude = longitude + Math.atan2(x, -y) / RADIANS;
      return true;
    },
    pixel(lon, lat) {
      if (sign * lat < POLAR_EDGE) return null;
      const distance = 2 * scale * Math.tan((45 - (sign * lat) / 2) * RADIANS);
      const lambda = (lon - longitude) * RADIANS;
      return [width / 2 + distance * Math.sin(lambda), middle + sign * distance * Math.cos(lambda)];
    },
    outline(context) {
      context.beginPath();
      context.arc(width / 2, middle, scale * POLAR_RADIUS, 0, 2 * Math.PI);
      context.closePath();
    },
    jump: scale * POLAR_RADIUS,
    unit: scale,
    dy,
  };
}
