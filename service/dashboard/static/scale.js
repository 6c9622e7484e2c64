// @ts-check
// Colour scale below a map: its colours in one row, and the marks of its values.

import { ticksOf } from "./field.js";

/** Paint the colours of a scale into a canvas, one pixel a colour.
 * @param {HTMLCanvasElement} canvas @param {Uint32Array} table colours as 0xAABBGGRR */
export function paintScale(canvas, table) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  [canvas.width, canvas.height] = [table.length, 1];
  const image = context.createImageData(canvas.width, 1);
  new Uint32Array(image.data.buffer).set(table);
  context.putImageData(image, 0, 0);
}

/** Return the marks of a scale, each placed by its share of the width.
 * @param {[number, number]} limits @param {number} most marks at most */
export function marksOf(limits, most) {
  return ticksOf(limits, most).map(({ at, text }) => {
    const mark = document.createElement("span");
    mark.textContent = text;
    mark.style.setProperty("left", `${100 * at}%`);
    return mark;
  });
}
