// Map of one field on the HEALPix grid: a globe or a flat map, with coastlines.

import { indexImage } from "./healpix.js";
import { FLAT_ASPECT, flat, globe } from "./projections.js";

const MISSING = 0xffc8c8c8;

/** Meridians and parallels every 30 degrees, in hundredths of a degree like the coastlines. */
const GRATICULE = [
  ...Array.from({ length: 12 }, (_, k) => Array.from({ length: 33 }, (__, i) => [3000 * k, 500 * (i - 16)]).flat()),
  ...Array.from({ length: 5 }, (_, k) => Array.from({ length: 73 }, (__, i) => [500 * i, 3000 * (k - 2)]).flat()),
];

/** Decode a field packed into 16-bit numbers. */
export function decode(buffer, headers) {
  const scale = Number(headers.get("PEAR-Scale"));
  const offset = Number(headers.get("PEAR-Offset"));
  const packed = new Uint16Array(buffer);
  const values = new Float32Array(packed.length);
  for (let i = 0; i < packed.length; i++) {
    values[i] = packed[i] === 65535 ? NaN : offset + scale * packed[i];
  }
  return { values, packed, scale, offset, nside: Math.round(Math.sqrt(packed.length / 12)) };
}

/** Return the limits of the colour bar: those of the style, or rounded percentiles. */
export function limitsOf(style, values, level) {
  const given = level === null ? style.limits : (style.limits_at[level] ?? style.limits);
  if (given) return given;
  const sorted = Float32Array.from(values).filter(Number.isFinite).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))] * style.scale + style.offset;
  let [low, high] = [at(0.005), at(0.995)];
  if (style.symmetric) {
    high = Math.max(Math.abs(low), Math.abs(high));
    low = -high;
  }
  const step = nice((high - low) / 10);
  return [Math.floor(low / step) * step, Math.ceil(high / step) * step];
}

/** Return round values for at most `most` ticks of a colour bar. */
export function ticksOf([low, high], most) {
  const step = nice((high - low) / (most - 1));
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-6); k * step <= high + 1e-6 * step; k++) {
    ticks.push({ at: (k * step - low) / (high - low), text: written(k * step, digits) });
  }
  return ticks;
}

/** Format a number with a minus sign instead of a hyphen. */
export function written(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
}

function nice(span) {
  if (!(span > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(span));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= span * 0.999);
}

/** Return 32-bit pixels from the "rrggbb…" text of a colour map. */
export function lookup(text) {
  const table = new Uint32Array(text.length / 6);
  for (let i = 0; i < table.length; i++) {
    const rgb = parseInt(text.slice(6 * i, 6 * i + 6), 16);
    table[i] = 0xff000000 | ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16);
  }
  return table;
}

/** Painter without a GPU: keeps a table of the cell of each pixel. */
class TablePainter {
  constructor() {
    this.kind = "canvas2d";
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
    this.projection = null;
  }

  paint(width, height, view, projection, field, style, limits) {
    if (this.projection !== projection || this.nside !== field.nside) {
      this.cells = indexImage(field.nside, width, height, (x, y, out) => projection.lonlat(x, y, out));
      [this.projection, this.nside] = [projection, field.nside];
      [this.canvas.width, this.canvas.height] = [width, height];
    }
    const colours = colourCells(field, style, limits);
    const image = this.context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const { cells } = this;
    for (let i = 0; i < pixels.length; i++) if (cells[i] >= 0) pixels[i] = colours[cells[i]];
    this.context.putImageData(image, 0, 0);
    return this.canvas;
  }
}

function colourCells({ packed, scale, offset }, style, [low, high]) {
  const { table } = style;
  const top = table.length - 1;
  const factor = (style.scale * scale * top) / (high - low);
  const shift = ((style.scale * offset + style.offset - low) * top) / (high - low);
  const out = new Uint32Array(packed.length);
  for (let i = 0; i < packed.length; i++) {
    const position = packed[i] * factor + shift;
    out[i] = packed[i] === 65535 ? MISSING : table[position < 0 ? 0 : position > top ? top : position | 0];
  }
  return out;
}

export class FieldMap {
  constructor(canvas, coastlines, painter = null) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.coastlines = coastlines;
    this.painter = painter ?? new TablePainter();
    this.view = { kind: "globe", longitude: 0, latitude: 30 };
    this.field = null;
    this.mark = null;
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
    this.locate();
  }

  setView(view) {
    const turned = view.kind !== undefined && view.kind !== this.view.kind;
    this.view = { ...this.view, ...view };
    if (turned) this.resize();
    else this.locate();
  }

  /** Update the projection. */
  locate() {
    const { width, height } = this.canvas;
    const { kind, longitude, latitude } = this.view;
    this.projection = kind === "flat"
      ? flat(width, height, longitude)
      : globe(width, height, longitude, latitude);
  }

  show(field, style, limits) {
    this.field = field;
    this.style = style;
    this.limits = limits;
    this.draw();
  }

  draw() {
    const { width, height } = this.canvas;
    if (this.field === null || width === 0) return;
    const painted = this.painter.paint(
      width, height, this.view, this.projection, this.field, this.style, this.limits,
    );
    this.context.clearRect(0, 0, width, height);
    this.context.drawImage(painted, 0, 0);
    this.drawLines();
  }

  drawLines() {
    const { context, projection } = this;
    context.save();
    context.lineJoin = "round";
    this.trace(GRATICULE);
    context.lineWidth = 0.6 * this.ratio;
    context.strokeStyle = "rgba(10, 14, 20, 0.22)";
    context.stroke();
    this.trace(this.coastlines);
    // A light line below the dark one keeps it visible on dark colours.
    for (const [width, colour] of [[2.2, "rgba(255, 255, 255, 0.4)"], [0.9, "rgba(10, 14, 20, 0.9)"]]) {
      context.lineWidth = width * this.ratio;
      context.strokeStyle = colour;
      context.stroke();
    }
    projection.outline(context);
    context.lineWidth = 1.2 * this.ratio;
    context.strokeStyle = "rgba(10, 14, 20, 0.6)";
    context.stroke();
    if (this.mark) this.drawMark();
    context.restore();
  }

  /** Begin a path along lines in hundredths of a degree, without the far side of the globe. */
  trace(lines) {
    const { context, projection } = this;
    context.beginPath();
    for (const line of lines) {
      let before = null;
      for (let i = 0; i < line.length; i += 2) {
        const now = projection.pixel(line[i] / 100, line[i + 1] / 100);
        const joined = now && before && Math.abs(now[0] - before[0]) < projection.jump;
        if (joined) context.lineTo(now[0], now[1]);
        else if (now) context.moveTo(now[0], now[1]);
        before = now;
      }
    }
  }

  drawMark() {
    const at = this.projection.pixel(this.mark.longitude, this.mark.latitude);
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

  /** Return longitude and latitude at a position on the page, or null outside the map. */
  placeAt(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const out = { longitude: 0, z: 0, cos: 0 };
    const x = ((clientX - box.left) / box.width) * this.canvas.width;
    const y = ((clientY - box.top) / box.height) * this.canvas.height;
    if (!this.projection.lonlat(x, y, out)) return null;
    const longitude = ((out.longitude % 360) + 540) % 360 - 180;
    return { longitude, latitude: (Math.atan2(out.z, out.cos) * 180) / Math.PI };
  }
}
