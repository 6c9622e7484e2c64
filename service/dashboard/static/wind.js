// @ts-check
// Wind as a vector: interpolated in space, drawn as barbs (WMO) or as moving particles.

import { around, ringCentres, weigh } from "./healpix.js";

/** @typedef {import("./projections.js").Projection} Projection */
/** @typedef {import("./field.js").Field} Field */

const RADIANS = Math.PI / 180;
const STEP_DEGREES = 0.05;
/** Knots are the unit of barbs. */
export const KNOTS = 3600 / 1852;

export class Wind {
  /** @param {Field} east @param {Field} north components, m/s */
  constructor(east, north) {
    this.nside = east.nside;
    const size = east.ring.length;
    const { longitude, z, cos } = ringCentres(this.nside);
    // Components along the axes of space can be interpolated; those along meridians cannot.
    this.x = new Float32Array(size);
    this.y = new Float32Array(size);
    this.z = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      const [s, c] = [Math.sin(longitude[i] * RADIANS), Math.cos(longitude[i] * RADIANS)];
      const [u, v] = [east.ring[i], north.ring[i]];
      this.x[i] = -s * u - z[i] * c * v;
      this.y[i] = c * u - z[i] * s * v;
      this.z[i] = cos[i] * v;
    }
    this.near = around();
  }

  /** Write eastward and northward wind at a point to `out`.
   * @param {number} longitude @param {number} z @param {number} cos @param {{ u: number, v: number }} out */
  at(longitude, z, cos, out) {
    weigh(this.nside, longitude, z, cos, this.near);
    const { cells, weights } = this.near;
    let [x, y, up] = [0, 0, 0];
    for (let k = 0; k < 4; k++) {
      x += weights[k] * this.x[cells[k]];
      y += weights[k] * this.y[cells[k]];
      up += weights[k] * this.z[cells[k]];
    }
    const [s, c] = [Math.sin(longitude * RADIANS), Math.cos(longitude * RADIANS)];
    out.u = c * y - s * x;
    out.v = cos * up - z * (c * x + s * y);
  }
}

/** Return the pennants, full and half barbs of a speed: 50, 10 and 5 knots, rounded to 5.
 * @param {number} speed m/s */
export function barbsOf(speed) {
  const fives = Math.round((speed * KNOTS) / 5);
  return { pennants: Math.floor(fives / 10), full: Math.floor((fives % 10) / 2), half: fives % 2 };
}

/** Draw wind barbs on a grid of pixels; the feathers lie on the side of low pressure.
 * @param {CanvasRenderingContext2D} context @param {Projection} projection @param {Wind} wind
 * @param {number} ratio pixels of the screen */
export function drawBarbs(context, projection, wind, ratio) {
  const { width, height } = context.canvas;
  const gap = 38 * ratio;
  const place = { longitude: 0, z: 0, cos: 0 };
  const at = { u: 0, v: 0 };
  context.lineWidth = 1.1 * ratio;
  context.strokeStyle = context.fillStyle = "rgba(10, 14, 20, 0.85)";
  for (let y = gap / 2; y < height; y += gap) {
    for (let x = gap / 2; x < width; x += gap) {
      if (!projection.lonlat(x, y, place) || place.cos < 0.01) continue;
      wind.at(place.longitude, place.z, place.cos, at);
      const angle = angleOn(projection, place, at, x, y);
      if (angle !== null) drawBarb(context, x, y, angle, Math.hypot(at.u, at.v), place.z < 0, ratio);
    }
  }
}

/** Return the direction of a wind on the map, radians; null at the edge of the map.
 * @param {Projection} projection @param {{ longitude: number, z: number, cos: number }} place
 * @param {{ u: number, v: number }} wind @param {number} x @param {number} y */
export function angleOn(projection, { longitude, z, cos }, { u, v }, x, y) {
  const speed = Math.hypot(u, v);
  if (speed < 1e-6) return 0;
  const latitude = Math.atan2(z, cos) / RADIANS + (STEP_DEGREES * v) / speed;
  const to = projection.pixel(longitude + (STEP_DEGREES * u) / speed / cos, latitude);
  if (to === null || Math.hypot(to[0] - x, to[1] - y) > projection.jump / 10) return null;
  return Math.atan2(to[1] - y, to[0] - x);
}

/** Return a barb as two paths, in pixels about its middle: the staff lies along x and points into
 * the wind at its left end; feathers stand above it. `filled` holds the pennants.
 * @param {number} speed m/s @param {boolean} [south] feathers below, as south of the equator */
export function barbPath(speed, south = false) {
  const { pennants, full, half } = barbsOf(speed);
  if (!pennants && !full && !half) return { lines: "M2.5 0A2.5 2.5 0 1 1 -2.5 0A2.5 2.5 0 1 1 2.5 0", filled: "" };
  const [length, feather, space] = [20, south ? 8 : -8, 3.4];
  let [lines, filled, at] = [`M${length / 2} 0L${-length / 2} 0`, "", -length / 2];
  for (let i = 0; i < pennants; i++, at += 1.6 * space) filled += `M${at} 0L${at} ${feather}L${at + 1.5 * space} 0Z`;
  for (let i = 0; i < full; i++, at += space) lines += `M${at} 0L${at - space} ${feather}`;
  if (half) {
    if (!pennants && !full) at += space;
    lines += `M${at} 0L${at - space / 2} ${feather / 2}`;
  }
  return { lines, filled };
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y
 * @param {number} angle towards which it blows @param {number} speed m/s
 * @param {boolean} south @param {number} ratio */
function drawBarb(context, x, y, angle, speed, south, ratio) {
  const { lines, filled } = barbPath(speed, south);
  context.save();
  context.translate(x, y);
  context.rotate(angle);
  context.scale(ratio, ratio);
  context.lineWidth = 1.1;
  context.stroke(new Path2D(lines));
  const pennants = new Path2D(filled);
  context.fill(pennants);
  context.stroke(pennants);
  context.restore();
}

const LIFE_FRAMES = 90;
const PER_PIXEL = 1 / 260;
const MOST = 3000;
/** Degrees that a particle moves in a frame for each m/s, at no zoom. */
const PACE = 0.012;

/** Particles that drift with the wind and leave fading trails. */
export class Particles {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {{ longitude: number, latitude: number, age: number }[]} */
    this.all = [];
    this.frame = 0;
    /** @type {(() => { wind: Wind, projection: Projection, zoom: number, ratio: number, moving: boolean } | null) | null} */
    this.scene = null;
  }

  /** Move particles until stop() is called.
   * @param {NonNullable<Particles["scene"]>} scene what they move in, asked for each frame */
  start(scene) {
    this.scene = scene;
    if (!this.frame) this.frame = requestAnimationFrame(() => this.step());
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.all = [];
    this.clear();
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  step() {
    this.frame = requestAnimationFrame(() => this.step());
    const scene = document.hidden ? null : this.scene?.();
    if (!scene) return;
    const { context, canvas } = this;
    if (scene.moving) {
      this.clear();
      return;
    }
    context.globalCompositeOperation = "destination-in";
    context.fillStyle = "rgba(0, 0, 0, 0.93)";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "source-over";
    context.lineWidth = 1.2 * scene.ratio;
    context.strokeStyle = "rgba(255, 255, 255, 0.85)";
    context.beginPath();
    const { ratio } = scene;
    const wanted = Math.min(MOST, (canvas.width * canvas.height * PER_PIXEL) / (ratio * ratio));
    while (this.all.length < wanted) this.all.push({ longitude: 0, latitude: 0, age: LIFE_FRAMES * Math.random() - LIFE_FRAMES });
    for (const particle of this.all) this.move(particle, scene);
    context.stroke();
  }

  /** @param {Particles["all"][number]} particle
   * @param {{ wind: Wind, projection: Projection, zoom: number }} scene */
  move(particle, { wind, projection, zoom }) {
    const place = { longitude: 0, z: 0, cos: 0 };
    if (particle.age <= 0) {
      const { width, height } = this.canvas;
      if (!projection.lonlat(Math.random() * width, Math.random() * height, place)) return;
      particle.longitude = place.longitude;
      particle.latitude = Math.atan2(place.z, place.cos) / RADIANS;
      particle.age = LIFE_FRAMES * (0.4 + 0.6 * Math.random());
    }
    const phi = particle.latitude * RADIANS;
    const [z, cos] = [Math.sin(phi), Math.cos(phi)];
    const from = projection.pixel(particle.longitude, particle.latitude);
    const at = { u: 0, v: 0 };
    wind.at(particle.longitude, z, cos, at);
    particle.longitude += (PACE * at.u) / zoom / Math.max(cos, 0.05);
    particle.latitude = Math.max(-89.9, Math.min(89.9, particle.latitude + (PACE * at.v) / zoom));
    particle.age -= 1;
    const to = projection.pixel(particle.longitude, particle.latitude);
    if (!from || !to || Math.abs(to[0] - from[0]) > projection.jump / 10) {
      particle.age = 0;
      return;
    }
    this.context.moveTo(from[0], from[1]);
    this.context.lineTo(to[0], to[1]);
  }
}
