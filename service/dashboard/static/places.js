// @ts-check
// Search of places by name, in a list that the page brings with it.

import { t } from "./words.js";

/** Name, country code, and latitude and longitude in hundredths of a degree.
 * @typedef {[string, string, number, number]} Row */
/** @typedef {{ latitude: number, longitude: number }} Place */

const MOST = 8;

/** Return text without accents and capitals, as people type it.
 * @param {string} text */
export function plain(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replaceAll("ø", "o").replaceAll("ł", "l").replaceAll("ß", "ss");
}

/** @param {Row} row */
export const titleOf = ([name, country]) => `${name}, ${country}`;

/** Return the places whose name begins with a text, or a word of it, the largest first.
 * @param {Row[]} rows the largest first @param {string} text */
export function search(rows, text) {
  const wanted = plain(text.trim());
  if (!wanted) return [];
  const [begins, within] = [/** @type {Row[]} */ ([]), /** @type {Row[]} */ ([])];
  for (const row of rows) {
    const name = plain(titleOf(row));
    if (name.startsWith(wanted)) begins.push(row);
    else if (name.includes(` ${wanted}`) || name.includes(`-${wanted}`)) within.push(row);
    if (begins.length === MOST) break;
  }
  return [...begins, ...within].slice(0, MOST);
}

/** Return the place that a text gives as latitude and longitude, such as "59.3, 18.1"; else null.
 * @param {string} text @returns {Place | null} */
export function coordinates(text) {
  const found = /^\s*(-?\d+(?:\.\d+)?)\s*[,; ]\s*(-?\d+(?:\.\d+)?)\s*$/.exec(text);
  if (!found) return null;
  const [latitude, longitude] = [Number(found[1]), Number(found[2])];
  return Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180 ? { latitude, longitude } : null;
}

/** Offer places in a field with a list, and say which one is chosen.
 * @param {HTMLInputElement} input @param {HTMLDataListElement} list
 * @param {() => Promise<Row[]>} load @param {(place: Place) => void} chosen
 * @param {(text: string) => void} tell what is wrong */
export function bindPlaces(input, list, load, chosen, tell) {
  /** @type {Row[]} */
  let rows = [];
  /** @type {Promise<void> | null} */
  let loading = null;
  const ready = () => (loading ??= load().then((found) => { rows = found; }, (error) => {
    loading = null;
    tell(error.message);
  }));
  input.addEventListener("focus", () => void ready());
  input.addEventListener("input", async () => {
    await ready();
    list.replaceChildren(...search(rows, input.value).map((row) => new Option("", titleOf(row))));
  });
  input.addEventListener("change", async () => {
    await ready();
    const [row] = search(rows, input.value);
    const place = coordinates(input.value) ?? (row ? { latitude: row[2] / 100, longitude: row[3] / 100 } : null);
    if (place) {
      tell("");
      if (row && !coordinates(input.value)) input.value = titleOf(row);
      chosen(place);
    } else if (input.value.trim()) tell(`No place called ${input.value.trim()} in the list; latitude and longitude work too: 59.3, 18.1`);
  });
}

/** Let a button choose the place of the device. It is not offered where the browser has none to
 * tell, as on pages that came without encryption.
 * @param {HTMLButtonElement} button @param {(place: Place) => void} chosen
 * @param {(text: string) => void} tell what is wrong, or empty
 * @param {Pick<Geolocation, "getCurrentPosition"> | undefined} geolocation */
export function bindLocation(button, chosen, tell, geolocation = globalThis.isSecureContext ? navigator.geolocation : undefined) {
  button.hidden = geolocation === undefined;
  button.addEventListener("click", () => {
    button.disabled = true;
    geolocation?.getCurrentPosition(({ coords }) => {
      button.disabled = false;
      tell("");
      chosen({ latitude: coords.latitude, longitude: coords.longitude });
    }, (error) => {
      button.disabled = false;
      tell(error.code === 1 ? t("The browser was not allowed to tell the location.") : t("The location of this device was not found."));
    }, { maximumAge: 600e3, timeout: 15e3 });
  });
}
