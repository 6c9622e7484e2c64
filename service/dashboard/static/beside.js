// @ts-check
// A second map beside the first, of the same part of the sphere: what moves one moves the other.

import { bindGestures } from "./gestures.js";
import { FieldMap } from "./map.js";

/** @typedef {{ longitude: number, latitude: number }} Position */
/** What a map shows in words, such as "Run A, valid …, °C". @typedef {[string, string]} Titles */

/** @param {string} id @returns {any} */
const $ = (id) => document.getElementById(id);

export class Beside {
  /** @param {FieldMap} first @param {import("./gestures.js").Handlers} handlers those of the first map */
  constructor(first, handlers) {
    this.first = first;
    this.handlers = handlers;
    /** @type {FieldMap | null} */
    this.second = null;
  }

  get open() {
    return $("maps").classList.contains("two");
  }

  /** Show another field beside the first, with the same colours and limits.
   * @param {import("./painter.js").Scene} scene @param {import("./map.js").Contours | null} contours
   * @param {Titles} titles @param {string} labels of the second map, for those who do not see it */
  show(scene, contours, titles, labels) {
    $("title-1").textContent = titles[0];
    $("title-2").textContent = titles[1];
    if (!this.open) this.toggle(true);
    if (this.second === null) {
      this.second = new FieldMap($("map-2"));
      bindGestures($("map-2"), this.second, this.handlers);
    }
    const { first, second } = this;
    [first.twin, second.twin] = [second, first];
    [second.coast, second.borders] = [first.coast, first.borders]; // the fine ones are asked for once
    second.wantFine = () => first.wantFine?.();
    second.mark = first.mark;
    second.scene = scene;
    second.contours = contours;
    second.view = { ...first.view };
    second.resize();
    second.draw();
    second.canvas.setAttribute("aria-label", labels);
  }

  /** Show the first map alone. */
  hide() {
    if (!this.open) return;
    this.first.twin = null;
    this.toggle(false);
  }

  /** @param {boolean} two */
  toggle(two) {
    $("maps").classList.toggle("two", two);
    for (const id of ["title-1", "title-2", "stage-2"]) $(id).hidden = !two;
    this.first.twin = null;
    this.first.resize();
    this.first.draw();
  }

  /** Tell the value of the second map at a place.
   * @param {Position | null} place @param {(map: FieldMap, place: Position) => string} textOf empty for none */
  hover(place, textOf) {
    const text = place === null || this.second === null || !this.open ? "" : textOf(this.second, place);
    $("hover-2").hidden = text === "";
    $("hover-2").textContent = text;
  }
}
