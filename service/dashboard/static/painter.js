// @ts-check
// Painter without a GPU: keeps a table of the cells and weights of each pixel.

import { MISSING, shadeOf } from "./field.js";
import { around, cellOfUnit, ringOfNested, weigh } from "./healpix.js";

/** @typedef {import("./field.js").Field} Field */
/** @typedef {import("./field.js").Style} Style */
/** @typedef {import("./projections.js").Projection} Projection */
/** What is painted: a field, and the next one with the share of it while playing.
 * @typedef {{ field: Field, next: Field | null, share: number, style: Style,
 *   limits: [number, number], smooth: boolean }} Scene */

const GREY = 0xffc8c8c8;

export class TablePainter {
  constructor() {
    this.kind = "canvas2d";
    this.canvas = document.createElement("canvas");
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    /** @type {Projection | null} */
    this.projection = null;
    this.key = "";
    this.pixels = new Uint32Array(0);
    this.cells = new Uint32Array(0);
    this.weights = new Float32Array(0);
    this.many = 1;
  }

  /** Paint a scene; return the canvas to copy from.
   * @param {number} width @param {number} height @param {unknown} _view
   * @param {Projection} projection @param {Scene} scene @param {number} step pixels per side painted at once */
  paint(width, height, _view, projection, scene, step) {
    const key = `${scene.field.nside}/${scene.smooth}/${step}`;
    if (this.projection !== projection || this.key !== key) {
      [this.projection, this.key] = [projection, key];
      this.locate(Math.ceil(width / step), Math.ceil(height / step), projection, scene, step);
    }
    const places = this.places(scene.field, scene);
    if (scene.next && scene.share > 0) {
      const next = this.places(scene.next, scene);
      for (let i = 0; i < places.length; i++) places[i] += scene.share * (next[i] - places[i]);
    }
    const image = this.context.createImageData(this.canvas.width, this.canvas.height);
    const out = new Uint32Array(image.data.buffer);
    const { table } = scene.style;
    const top = table.length - 1;
    for (let i = 0; i < places.length; i++) {
      const place = places[i];
      out[this.pixels[i]] = place === place ? table[place < 0 ? 0 : place > top ? top : place | 0] : GREY;
    }
    this.context.putImageData(image, 0, 0);
    return this.canvas;
  }

  /** Find the cells and weights of each pixel on the map.
   * @param {number} width @param {number} height @param {Projection} projection
   * @param {Scene} scene @param {number} step */
  locate(width, height, projection, { field: { nside }, smooth }, step) {
    [this.canvas.width, this.canvas.height] = [width, height];
    const many = smooth ? 4 : 1;
    const size = width * height;
    const [pixels, cells] = [new Uint32Array(size), new Uint32Array(many * size)];
    const weights = new Float32Array(smooth ? 4 * size : 0);
    const [place, near, ring] = [{ longitude: 0, z: 0, cos: 0 }, around(), ringOfNested(nside)];
    let count = 0;
    for (let row = 0, i = 0; row < height; row++) {
      for (let column = 0; column < width; column++, i++) {
        if (!projection.lonlat((column + 0.5) * step, (row + 0.5) * step, place)) continue;
        pixels[count] = i;
        if (smooth) {
          weigh(nside, place.longitude, place.z, place.cos, near);
          cells.set(near.cells, 4 * count);
          weights.set(near.weights, 4 * count);
        } else cells[count] = ring[cellOfUnit(nside, place.longitude, place.z, place.cos)];
        count++;
      }
    }
    this.pixels = pixels.subarray(0, count);
    this.cells = cells.subarray(0, many * count);
    this.weights = weights.subarray(0, many * count);
    this.many = many;
  }

  /** Return the position of each pixel in the colour map; NaN where a cell is missing.
   * @param {Field} field @param {Scene} scene */
  places(field, { style, limits }) {
    const [factor, shift] = shadeOf(field, style, limits);
    const shade = new Float32Array(field.packed.length);
    for (let i = 0; i < shade.length; i++) {
      shade[i] = field.packed[i] === MISSING ? NaN : field.packed[i] * factor + shift;
    }
    const out = new Float32Array(this.pixels.length);
    const { cells, weights } = this;
    if (this.many === 1) {
      for (let i = 0; i < out.length; i++) out[i] = shade[cells[i]];
      return out;
    }
    for (let i = 0, k = 0; i < out.length; i++, k += 4) {
      out[i] = weights[k] * shade[cells[k]] + weights[k + 1] * shade[cells[k + 1]]
        + weights[k + 2] * shade[cells[k + 2]] + weights[k + 3] * shade[cells[k + 3]];
    }
    return out;
  }
}
