// @ts-check
// What every page does: the choice of the language, and times in it.

import { writeTimes } from "./words.js";

const choice = /** @type {HTMLSelectElement | null} */ (document.getElementById("language"));
choice?.addEventListener("change", () => {
  document.cookie = `pear_language=${choice.value}; path=/; max-age=31536000; samesite=lax`;
  location.reload();
});
writeTimes(document);
