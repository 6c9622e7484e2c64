// @ts-check
// Text of the pages in the reader's language; dates and numbers as that language writes them.

const page = globalThis.document?.documentElement;
export const language = page?.lang || "en";
const english = language === "en";
/** @type {Record<string, string>} */
const words = english ? {} : await (await fetch(new URL(`words.${language}.json`, import.meta.url))).json();

/** Return English text in the reader's language, with `{name}` replaced.
 * @param {string} text @param {Record<string, string | number>} [values] */
export function t(text, values = {}) {
  return (words[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** Return a time in UTC: ISO with a blank in English, the language's own way elsewhere.
 * @param {string} iso @param {string} [locale] */
export function formatTime(iso, locale = language) {
  if (locale === "en") return `${iso.slice(0, 16).replace("T", " ")} UTC`;
  const options = /** @type {const} */ ({ dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });
  return `${new Intl.DateTimeFormat(locale, options).format(new Date(iso))} UTC`;
}

/** Return a number as the language writes it.
 * @param {number} value @param {Intl.NumberFormatOptions} [options] @param {string} [locale] */
export function formatNumber(value, options = {}, locale = language) {
  return new Intl.NumberFormat(locale, options).format(value);
}

/** Return a number that is written with a point with the decimal mark of the language.
 * @param {string} text @param {string} [locale] */
export function withMark(text, locale = language) {
  return text.replace(".", locale === "en" ? "." : formatNumber(0.5, {}, locale).slice(1, 2));
}

/** Write every time of a part of the page in the reader's way.
 * @param {ParentNode} part */
export function writeTimes(part) {
  if (english) return;
  for (const each of part.querySelectorAll("time")) each.textContent = formatTime(each.dateTime);
}
