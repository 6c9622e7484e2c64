// @ts-check
// Moving the map: drag, wheel, pinch and keys; a click reads a place, a pointer above it as well.

import { MAX_ZOOM } from "./projections.js";

/** @typedef {import("./map.js").FieldMap} FieldMap */
/** @typedef {{ longitude: number, latitude: number }} Position */
/** @typedef {{ pick: (place: Position) => void, hover: (place: Position | null, x: number, y: number) => void,
 *   moved: () => void }} Handlers */

const CLICK_PIXELS = 4;

/** Zoom by a factor, and keep the place below a point of the page where it is.
 * @param {FieldMap} map @param {number} factor @param {number} x @param {number} y */
export function zoomAt(map, factor, x, y) {
  const held = map.placeAt(x, y);
  map.moveTo({ zoom: map.view.zoom * factor });
  if (held) hold(map, held, x, y);
}

/** Move the map until a place lies below a point of the page, as far as its bounds allow.
 * @param {FieldMap} map @param {Position} held @param {number} x @param {number} y */
function hold(map, held, x, y) {
  for (let i = 0; i < 12; i++) {
    const now = map.placeAt(x, y);
    if (!now) return;
    const turn = ((held.longitude - now.longitude + 540) % 360) - 180;
    const rise = held.latitude - now.latitude;
    if (Math.abs(turn) + Math.abs(rise) < 1e-3) return;
    map.moveTo({ longitude: map.view.longitude + turn, latitude: map.view.latitude + rise });
  }
}

/** @param {HTMLCanvasElement} canvas @param {FieldMap} map @param {Handlers} handlers */
export function bindGestures(canvas, map, handlers) {
  /** @type {Map<number, { x: number, y: number }>} */
  const pointers = new Map();
  /** @type {{ x: number, y: number, held: Position | null, moved: boolean } | null} */
  let drag = null;
  /** @type {{ gap: number, zoom: number } | null} */
  let pinch = null;

  const middle = () => {
    const all = [...pointers.values()];
    const gap = all.length > 1 ? Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) : 0;
    const sum = all.reduce((total, at) => ({ x: total.x + at.x, y: total.y + at.y }), { x: 0, y: 0 });
    return { x: sum.x / all.length, y: sum.y / all.length, gap };
  };
  const grasp = () => {
    const at = middle();
    drag = { x: at.x, y: at.y, held: map.placeAt(at.x, at.y), moved: drag?.moved ?? false };
    pinch = pointers.size > 1 ? { gap: at.gap, zoom: map.view.zoom } : null;
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size === 1) drag = null;
    grasp();
    handlers.hover(null, 0, 0);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId) || drag === null) {
      if (event.pointerType !== "touch") handlers.hover(map.placeAt(event.clientX, event.clientY), event.clientX, event.clientY);
      return;
    }
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const at = middle();
    if (Math.abs(at.x - drag.x) + Math.abs(at.y - drag.y) > CLICK_PIXELS || pinch) drag.moved = true;
    if (!drag.moved) return;
    if (pinch && pinch.gap > 0) map.moveTo({ zoom: (pinch.zoom * at.gap) / pinch.gap });
    if (drag.held && map.placeAt(at.x, at.y)) hold(map, drag.held, at.x, at.y);
    else {
      // Beside the globe nothing is held: turn it by the distance.
      const turn = 60 / (map.projection.unit / map.ratio);
      map.moveTo({
        longitude: map.view.longitude - (at.x - drag.x) * turn,
        latitude: map.view.latitude + (at.y - drag.y) * turn,
      });
      [drag.x, drag.y] = [at.x, at.y];
    }
  });
  /** @param {PointerEvent} event */
  const release = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    const clicked = drag !== null && !drag.moved && event.type === "pointerup" && pointers.size === 0;
    if (pointers.size) grasp();
    else drag = pinch = null;
    handlers.moved();
    const place = clicked ? map.placeAt(event.clientX, event.clientY) : null;
    if (place) handlers.pick(place);
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => handlers.hover(null, 0, 0));
  canvas.addEventListener("wheel", (event) => {
    const factor = Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015));
    // At its ends the wheel scrolls the page.
    if (factor < 1 ? map.view.zoom <= 1 : map.view.zoom >= MAX_ZOOM) return;
    event.preventDefault();
    zoomAt(map, factor, event.clientX, event.clientY);
    handlers.moved();
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const { view } = map;
    const step = 10 / view.zoom;
    /** @type {Record<string, Partial<import("./projections.js").View>>} */
    const moves = {
      ArrowLeft: { longitude: view.longitude - step }, ArrowRight: { longitude: view.longitude + step },
      ArrowUp: { latitude: view.latitude + step }, ArrowDown: { latitude: view.latitude - step },
      "+": { zoom: view.zoom * 1.5 }, "=": { zoom: view.zoom * 1.5 }, "-": { zoom: view.zoom / 1.5 }, 0: { zoom: 1 },
    };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") {
      const box = canvas.getBoundingClientRect();
      const place = map.placeAt(box.left + box.width / 2, box.top + box.height / 2);
      if (place) handlers.pick(place);
      return;
    }
    if (!(event.key in moves)) return;
    event.preventDefault();
    map.moveTo(moves[event.key]);
    handlers.moved();
  });
}
