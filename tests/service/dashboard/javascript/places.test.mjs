// Unit tests of the search of places.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindLocation, coordinates, plain, search, titleOf } from "../../../../service/dashboard/static/places.js";

const rows = [["Tokyo", "JP", 0, 0], ["São Paulo", "BR", 0, 0], ["Paris", "FR", 0, 0], ["New York City", "US", 0, 0], ["Yorkton", "CA", 0, 0]];

test("places are found without accents, by their words, names that begin so first", () => {
  assert.equal(plain("São Łódź Tromsø"), "sao lodz tromso");
  assert.deepEqual(search(rows, "sao p").map(titleOf), ["São Paulo, BR"]);
  assert.deepEqual(search(rows, "york").map(titleOf), ["Yorkton, CA", "New York City, US"]);
  assert.deepEqual(search(rows, "Paris, FR").map(titleOf), ["Paris, FR"]);
  assert.deepEqual(search(rows, " "), []);
});

test("coordinates are latitude and longitude within bounds", () => {
  assert.deepEqual(coordinates(" 59.3, -18.1"), { latitude: 59.3, longitude: -18.1 });
  assert.equal(coordinates("99, 3"), null);
  assert.equal(coordinates("Paris 3"), null);
});

/** A button that can be pressed. */
function button() {
  const heard = {};
  return { hidden: false, disabled: false, addEventListener: (name, then) => { heard[name] = then; }, press: () => heard.click() };
}

test("the place of the device is chosen, or why not is told", () => {
  const [made, chosen, told] = [button(), [], []];
  let answer = (found) => found({ coords: { latitude: 59.3, longitude: 18.1 } });
  bindLocation(made, (place) => chosen.push(place), (text) => told.push(text), { getCurrentPosition: (found, lost) => answer(found, lost) });
  assert.equal(made.hidden, false);
  made.press();
  assert.deepEqual([chosen, told, made.disabled], [[{ latitude: 59.3, longitude: 18.1 }], [""], false]);
  answer = (_, lost) => lost({ code: 1 });
  made.press();
  assert.match(told[1], /not allowed/);
  answer = (_, lost) => lost({ code: 3 });
  made.press();
  assert.match(told[2], /not found/);
  assert.equal(chosen.length, 1);
});

test("the place of the device is not offered where there is none", () => {
  const made = button();
  bindLocation(made, () => {}, () => {}, undefined);
  assert.equal(made.hidden, true);
});
