// Projections: the globe (orthographic) and the flat map (Equal Earth, Šavrič, Patterson and Jenny
// 2018, which preserves areas like HEALPix does). Arguments in degrees, results in pixels.

const RADIANS = Math.PI / 180;
const A = [1.340264, -0.081106, 0.000893, 0.003796];
const ROOT3 = Math.sqrt(3);
const MARGIN = 2;

function equalEarthY(t) {
  const t2 = t * t;
  const t6 = t2 * t2 * t2;
  return t * (A[0] + A[1] * t2 + t6 * (A[2] + A[3] * t2));
}

function equalEarthSlope(t) {
  const t2 = t * t;
  const t6 = t2 * t2 * t2;
  return A[0] + 3 * A[1] * t2 + t6 * (7 * A[2] + 9 * A[3] * t2);
}

const TOP = equalEarthY(Math.PI / 3);
const HALF_WIDTH = 2 * ROOT3 * Math.PI / (3 * A[0]);
export const FLAT_ASPECT = TOP / HALF_WIDTH;

/** Return the flat map centred on a longitude. */
export function flat(width, height, longitude) {
  const scale = Math.min((width / 2 - MARGIN) / HALF_WIDTH, (height / 2 - MARGIN) / TOP);
  const rows = new Map();
  // Latitude and scale depend on the row only: one Newton solution per row.
  function row(y) {
    let found = rows.get(y);
    if (found === undefined) {
      const target = (height / 2 - y) / scale;
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
      const t = Math.asin((ROOT3 / 2) * Math.sin(lat * RADIANS));
      const x = (2 * ROOT3 * lambda * RADIANS * Math.cos(t)) / (3 * equalEarthSlope(t));
      return [width / 2 + scale * x, height / 2 - scale * equalEarthY(t)];
    },
    outline(context) {
      context.beginPath();
      for (let lat = -90; lat <= 90; lat += 2) context.lineTo(...this.pixel(longitude + 179.9999, lat));
      for (let lat = 90; lat >= -90; lat -= 2) context.lineTo(...this.pixel(longitude - 179.9999, lat));
      context.closePath();
    },
    jump: scale * HALF_WIDTH,
    unit: scale,
  };
}

/** Return the globe seen from above a point. */
export function globe(width, height, longitude, latitude, zoom = 1) {
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
  };
}
