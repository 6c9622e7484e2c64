// @ts-check
// Page of the operator: its state is read again now and then; keys are created and revoked.

import { send, showMessage } from "./api.js";
import { confirmed, refreshPart } from "./confirm.js";
import { t } from "./words.js";

const REFRESH_MS = 10000;
/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (document.getElementById(id));

setInterval(() => {
  if (!document.hidden) refreshPart("operation");
}, REFRESH_MS);

document.getElementById("key-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const made = await send("POST", "/v1/keys", { name: input("key-name").value, scope: input("key-scope").value });
    const [part, secret] = [document.getElementById("new-key"), document.getElementById("secret")];
    if (!part || !secret) return;
    secret.textContent = made.key;
    part.hidden = false;
    showMessage(t("Created key {name}.", { name: made.name }));
    /** @type {HTMLFormElement} */ (event.target).reset();
  } catch (error) {
    showMessage(/** @type {Error} */ (error).message, true);
  }
});

document.getElementById("copy")?.addEventListener("click", async () => {
  await navigator.clipboard?.writeText(String(document.getElementById("secret")?.textContent));
  showMessage(t("Copied."));
});

for (const button of document.querySelectorAll("button.revoke")) {
  button.addEventListener("click", async () => {
    const row = /** @type {HTMLElement} */ (button.closest("[data-key]"));
    const name = String(row.dataset.key);
    if (!(await confirmed(t("Revoke key {name}? It stops working at once, and so do the links it signed.", { name }), t("Revoke")))) return;
    try {
      await send("DELETE", `/v1/keys/${encodeURIComponent(name)}`);
      row.remove();
      showMessage(t("Revoked key {name}.", { name }));
    } catch (error) {
      showMessage(/** @type {Error} */ (error).message, true);
    }
  });
}
document.body.dataset.ready = "yes";
