// @ts-check
// A question before something that cannot be undone, and parts of a page that are read again.

import { t, writeTimes } from "./words.js";

/** Ask a question in a dialog; resolves to whether the answer was yes.
 * @param {string} question @param {string} yes what the button that does it says
 * @returns {Promise<boolean>} */
export function confirmed(question, yes) {
  const dialog = document.createElement("dialog");
  const text = document.createElement("p");
  text.textContent = question;
  text.id = "question";
  const [no, go] = [document.createElement("button"), document.createElement("button")];
  no.textContent = t("Keep");
  no.className = "plain";
  no.value = "no";
  go.textContent = yes;
  go.className = "danger";
  go.value = "yes";
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "controls";
  form.append(no, go);
  dialog.append(text, form);
  dialog.setAttribute("aria-labelledby", "question");
  document.body.append(dialog);
  dialog.showModal();
  no.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}

/** Read this page again and put one part of it in place of what is shown; false if that failed.
 * @param {string} id of the part
 * @param {boolean} [now] also if the reader is in the middle of it, after what they did there */
export async function refreshPart(id, now = false) {
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) return false;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById(id);
    const part = document.getElementById(id);
    if (!fresh || !part) return false;
    const within = part.contains(document.activeElement);
    if (!now && (within || part.querySelector("details[open]"))) return false;
    writeTimes(fresh);
    part.replaceWith(fresh);
    if (within) {
      fresh.tabIndex = -1;
      fresh.focus();
    }
    return true;
  } catch {
    return false;
  }
}
