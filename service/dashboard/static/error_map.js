// @ts-check
// Map of an error on the page of scores: a flat map in its own colours, with its scale.

import { json } from "./api.js";
import { decode, limitsOf, lookup } from "./field.js";
import { linesOf } from "./lines.js";
import { FieldMap } from "./map.js";
import { marksOf, paintScale } from "./scale.js";

export class ErrorMap {
  /** @param {HTMLCanvasElement} canvas @param {HTMLElement} bar
   * @param {Record<string, string>} colours colour maps by name */
  constructor(canvas, bar, colours) {
    this.map = new FieldMap(canvas);
    this.map.view = { kind: "flat", longitude: 0, latitude: 0, zoom: 1 };
    this.bar = bar;
    this.tables = Object.fromEntries(Object.entries(colours).map(([name, text]) => [name, lookup(text)]));
    this.coast = json(new URL("coastlines-110m.json", import.meta.url).href).then((lines) => { this.map.coast.coarse = linesOf(lines); });
    let width = canvas.clientWidth;
    new ResizeObserver(() => {
      if (canvas.clientWidth === width) return;
      width = canvas.clientWidth;
      this.map.resize();
      this.map.draw();
    }).observe(/** @type {Element} */ (canvas.parentElement));
  }

  /** Show the errors at an address; return them, or null if another was asked for meanwhile.
   * @param {string} url @param {{ units: string, bias: boolean, label: string }} what
   * @param {() => boolean} overtaken */
  async show(url, { units, bias, label }, overtaken) {
    const response = await fetch(url);
    if (!response.ok) throw new Error((await response.json()).detail);
    const field = decode(await response.arrayBuffer(), response.headers);
    await this.coast;
    if (overtaken()) return null;
    const colours = bias ? "PuOr_r" : "viridis";
    const style = {
      units, scale: 1, offset: 0, colours, symmetric: bias, limits: null, limits_at: {}, isolines: null,
      from_zero: !bias, label: null, table: this.tables[colours],
    };
    const limits = limitsOf(style, field.values, null);
    this.map.scene = { field, next: null, share: 0, style, limits, smooth: false };
    this.map.resize();
    this.map.draw();
    this.map.canvas.setAttribute("aria-label", label);
    this.map.canvas.dataset.shown = url;
    this.drawBar(style, limits);
    return field.values;
  }

  /** @param {import("./field.js").Style} style @param {[number, number]} limits */
  drawBar(style, limits) {
    const canvas = document.createElement("canvas");
    paintScale(canvas, style.table);
    canvas.setAttribute("aria-hidden", "true");
    const ticks = document.createElement("div");
    ticks.className = "ticks";
    ticks.append(...marksOf(limits, 6));
    const units = document.createElement("span");
    units.textContent = style.units;
    this.bar.replaceChildren(canvas, units, ticks);
  }

  /** Save the map as a PNG file.
   * @param {string} name */
  save(name) {
    this.map.canvas.toBlob((blob) => {
      if (blob === null) return;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
}
