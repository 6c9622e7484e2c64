// @ts-check
// Map of one field on the HEALPix grid, with coastlines, isolines, wind and pressure centres.

import { isolines } from "./contours.js";
import { centresOf } from "./extrema.js";
import { written } from "./field.js";
import { cellOfUnit, sample } from "./healpix.js";
import { capOf, graticule, linesOf, trace } from "./lines.js";
import { TablePainter } from "./painter.js";
import { FLAT_ASPECT, bounded, project } from "./projections.js";
import { drawBarbs } from "./wind.js";

/** @typedef {import("./field.js").Field} Field */
/** @typedef {import("./painter.js").Scene} Scene */
/** @typedef {import("./projections.js").View} View */
/** Isolines of a field: in shown units, `shown = scale * value + offset`.
 * @typedef {{ field: Field, scale: number, offset: number, spacing: number, centres: boolean }} Contours */

const SETTLE_MS = 140;
const DARK = "rgba(10, 14, 20, 0.9)";
const BORDER = "rgba(10, 14, 20, 0.45)";
const LEAST_CENTRE = 0.6; // spacings of isolines

export class FieldMap {
  /** @param {HTMLCanvasElement} canvas @param {{ kind: string, canvas: HTMLCanvasElement, paint: Function } | null} painter */
  constructor(canvas, painter = null) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.painter = painter ?? new TablePainter();
    /** @type {View} */
    this.view = { kind: "globe", longitude: 0, latitude: 30, zoom: 1 };
    this.projection = project(1, 1, this.view);
    this.ratio = 1;
    /** @type {Scene | null} */
    this.scene = null;
    /** @type {Contours | null} */
    this.contours = null;
    /** @type {import("./wind.js").Wind | null} */
    this.barbs = null;
    /** @type {{ longitude: number, latitude: number } | null} */
    this.mark = null;
    /** Coastlines, coarse and fine; the fine ones are asked for when they are needed.
     * @type {{ coarse: import("./lines.js").Line[], fine: import("./lines.js").Line[] | null }} */
    this.coast = { coarse: [], fine: null };
    /** Borders between countries, likewise.
     * @type {{ coarse: import("./lines.js").Line[], fine: import("./lines.js").Line[] | null }} */
    this.borders = { coarse: [], fine: null };
    /** @type {(() => void) | null} */
    this.wantFine = null;
    /** @type {Map<number, import("./lines.js").Line[]>} */
    this.graticules = new Map();
    /** @type {{ of: Float32Array, found: import("./extrema.js").Centre[] } | null} */
    this.centres = null;
    /** Another map that shows the same part of the sphere.
     * @type {FieldMap | null} */
    this.twin = null;
    this.moving = false;
    this.waiting = 0;
    this.settle = 0;
    canvas.dataset.painter = this.painter.kind;
  }

  /** Fit the canvas to its element. */
  resize() {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = this.canvas.clientWidth;
    const aspect = this.view.kind === "flat" ? FLAT_ASPECT : Math.min(1, 560 / width);
    const height = Math.round(width * aspect);
    this.canvas.style.setProperty("aspect-ratio", `${width} / ${height}`);
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.ratio = ratio;
    this.setView({});
  }

  /** @param {Partial<View>} view @param {boolean} [alone] the twin stays as it is */
  setView(view, alone = false) {
    const turned = view.kind !== undefined && view.kind !== this.view.kind;
    this.view = bounded({ ...this.view, ...view });
    if (turned) this.resize();
    else this.projection = project(this.canvas.width, this.canvas.height, this.view);
    if (this.twin && !alone) {
      this.twin.setView(this.view, true);
      this.twin.drawSoon();
    }
  }

  /** Set the view while it is being moved: drawn with the next frame, coarsely until it rests.
   * @param {Partial<View>} view */
  moveTo(view) {
    this.setView(view);
    this.setMoving(true);
    clearTimeout(this.settle);
    this.settle = window.setTimeout(() => {
      this.setMoving(false);
      this.drawSoon();
      this.twin?.drawSoon();
    }, SETTLE_MS);
    this.drawSoon();
  }

  /** @param {boolean} moving */
  setMoving(moving) {
    this.moving = moving;
    if (this.twin) this.twin.moving = moving;
  }

  drawSoon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.draw();
    });
  }

  draw() {
    const { width, height } = this.canvas;
    if (this.scene === null || width === 0) return;
    // Without a GPU a map that moves is painted coarsely, and never finer than the screen's units.
    const step = this.painter.kind === "webgl2" ? 1 : Math.round(this.moving ? 3 * this.ratio : this.ratio);
    const painted = this.painter.paint(width, height, this.view, this.projection, this.scene, step);
    const { context } = this;
    context.clearRect(0, 0, width, height);
    context.save();
    this.projection.outline(context);
    context.clip();
    context.imageSmoothingEnabled = this.scene.smooth;
    context.drawImage(painted, 0, 0, painted.width * step, painted.height * step);
    context.lineJoin = "round";
    this.drawLines();
    if (this.contours) this.drawContours(this.contours);
    context.restore();
    this.projection.outline(context);
    context.lineWidth = 1.2 * this.ratio;
    context.strokeStyle = "rgba(90, 100, 112, 0.9)";
    context.stroke();
    if (this.barbs) drawBarbs(context, this.projection, this.barbs, this.ratio);
    if (this.contours?.centres) this.drawCentres(this.contours);
    if (this.mark) this.drawMark(this.mark);
  }

  drawLines() {
    const { context, projection } = this;
    const { zoom } = this.view;
    const cap = capOf(projection, this.canvas.width, this.canvas.height);
    const spacing = zoom < 3 ? 30 : zoom < 8 ? 10 : 5;
    let grid = this.graticules.get(spacing);
    if (!grid) this.graticules.set(spacing, (grid = linesOf(graticule(spacing))));
    trace(context, projection, grid, cap);
    context.lineWidth = 0.6 * this.ratio;
    context.strokeStyle = "rgba(10, 14, 20, 0.22)";
    context.stroke();
    const sharp = zoom > 1.6 && !this.moving;
    if (sharp && this.coast.fine === null) this.wantFine?.();
    trace(context, projection, (sharp && this.borders.fine) || this.borders.coarse, cap);
    context.lineWidth = 0.8 * this.ratio;
    context.strokeStyle = BORDER;
    context.stroke();
    trace(context, projection, (sharp && this.coast.fine) || this.coast.coarse, cap);
    // A light line below the dark one keeps it visible on dark colours.
    for (const [width, colour] of /** @type {[number, string][]} */ ([[2.2, "rgba(255, 255, 255, 0.4)"], [0.9, DARK]])) {
      context.lineWidth = width * this.ratio;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  /** @param {Contours} contours */
  drawContours({ field, scale, offset, spacing }) {
    const { context, projection, ratio } = this;
    const step = (this.moving ? 8 : 5) * ratio;
    const [columns, rows] = [Math.ceil(this.canvas.width / step) + 1, Math.ceil(this.canvas.height / step) + 1];
    const values = new Float32Array(columns * rows).fill(NaN);
    const place = { longitude: 0, z: 0, cos: 0 };
    for (let row = 0, i = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, i++) {
        if (!projection.lonlat(column * step, row * step, place)) continue;
        values[i] = scale * sample(field.ring, field.nside, place.longitude, place.z, place.cos) + offset;
      }
    }
    context.strokeStyle = DARK;
    context.font = `${10.5 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    /** @type {{ x: number, y: number, angle: number, text: string }[]} */
    const labels = [];
    for (const { level, points } of isolines(values, columns, spacing)) {
      const fifth = Math.round(level / spacing) % 5 === 0;
      context.lineWidth = (fifth ? 1.4 : 0.8) * ratio;
      context.beginPath();
      for (const [x, y] of points) context.lineTo(x * step, y * step);
      context.stroke();
      if (points.length > 24 && !this.moving) labels.push(labelOf(points, step, written(level, spacing < 1 ? 1 : 0)));
    }
    /** @type {{ x: number, y: number }[]} */
    const put = [];
    for (const label of labels) {
      if (put.some((other) => Math.hypot(other.x - label.x, other.y - label.y) < 48 * ratio)) continue;
      put.push(label);
      context.save();
      context.translate(label.x, label.y);
      context.rotate(label.angle);
      this.halo(label.text, 0, 0);
      context.restore();
    }
  }

  /** Write text on a light edge.
   * @param {string} text @param {number} x @param {number} y */
  halo(text, x, y) {
    const { context } = this;
    context.lineWidth = 3 * this.ratio;
    context.strokeStyle = "rgba(255, 255, 255, 0.85)";
    context.strokeText(text, x, y);
    context.fillStyle = "#10161d";
    context.fillText(text, x, y);
  }

  /** @param {Contours} contours */
  drawCentres({ field, scale, offset, spacing }) {
    if (this.moving) return;
    if (this.centres?.of !== field.ring) {
      this.centres = { of: field.ring, found: centresOf(field.ring, (LEAST_CENTRE * spacing) / scale) };
    }
    const { context, ratio } = this;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const place = { longitude: 0, z: 0, cos: 0 };
    /** @type {[number, number][]} */
    const put = [];
    for (const { high, longitude, latitude, value } of this.centres.found) {
      const at = this.projection.pixel(longitude, latitude);
      if (!at || put.some((other) => Math.hypot(other[0] - at[0], other[1] - at[1]) < 48 * ratio)) continue;
      if (!this.projection.lonlat(at[0], at[1] + 20 * ratio, place) || !this.projection.lonlat(at[0], at[1] - 10 * ratio, place)) continue;
      put.push(at);
      context.font = `700 ${17 * ratio}px system-ui, sans-serif`;
      this.halo(high ? "H" : "L", at[0], at[1]);
      context.font = `600 ${10.5 * ratio}px system-ui, sans-serif`;
      this.halo(written(scale * value + offset, 0), at[0], at[1] + 14 * ratio);
    }
    this.canvas.dataset.centres = String(put.length);
  }

  /** @param {{ longitude: number, latitude: number }} mark */
  drawMark(mark) {
    const at = this.projection.pixel(mark.longitude, mark.latitude);
    if (!at) return;
    const { context, ratio } = this;
    context.beginPath();
    context.arc(at[0], at[1], 5 * ratio, 0, 2 * Math.PI);
    context.fillStyle = "#fff";
    context.strokeStyle = "#111";
    context.lineWidth = 2 * ratio;
    context.fill();
    context.stroke();
  }

  /** Return longitude and latitude at a position on the page, or null outside the map.
   * @param {number} clientX @param {number} clientY */
  placeAt(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const out = { longitude: 0, z: 0, cos: 0 };
    const x = ((clientX - box.left) / box.width) * this.canvas.width;
    const y = ((clientY - box.top) / box.height) * this.canvas.height;
    if (!this.projection.lonlat(x, y, out)) return null;
    const longitude = ((((out.longitude + 180) % 360) + 360) % 360) - 180;
    return { longitude, latitude: (Math.atan2(out.z, out.cos) * 180) / Math.PI };
  }

  /** Return the value that the map shows at a place, in the unit of the field.
   * @param {{ longitude: number, latitude: number }} place */
  valueAt({ longitude, latitude }) {
    if (!this.scene) return NaN;
    const { field, smooth } = this.scene;
    const phi = (latitude * Math.PI) / 180;
    const [z, cos] = [Math.sin(phi), Math.cos(phi)];
    return smooth ? sample(field.ring, field.nside, longitude, z, cos)
      : field.values[cellOfUnit(field.nside, longitude, z, cos)];
  }
}

/** Return where a line is labelled: in its middle, along its direction, upright.
 * @param {[number, number][]} points @param {number} step @param {string} text */
function labelOf(points, step, text) {
  const middle = points.length >> 1;
  const [before, after] = [points[Math.max(0, middle - 3)], points[Math.min(points.length - 1, middle + 3)]];
  let angle = Math.atan2(after[1] - before[1], after[0] - before[0]);
  if (Math.abs(angle) > Math.PI / 2) angle -= Math.sign(angle) * Math.PI;
  return { x: points[middle][0] * step, y: points[middle][1] * step, angle, text };
}
