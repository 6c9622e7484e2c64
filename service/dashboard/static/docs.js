// @ts-check
// Page of the API: operations from the served OpenAPI document, to be read, copied and sent.

import { curl, exampleBody, exampleOf, fieldsOf, fill, operationOf, python, typeOf } from "./api_docs.js";
import { confirmed } from "./confirm.js";
import { formatNumber, t } from "./words.js";

const MOST_TEXT = 20000;
const STREAM_MS = 3000;
const COMMON = ["401", "403", "408", "414", "421", "429", "503"];
/** @type {Promise<any> | null} */
let loading = null;
const load = () => (loading ??= fetch("/openapi.json").then((response) => response.json()));
let numbers = 0;

/** @param {string} name @param {string} [text] @param {string} [kind] */
function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

/** Return text with `code` between backticks as elements.
 * @param {string} text */
function marked(text) {
  const part = document.createDocumentFragment();
  text.split("`").forEach((each, index) => part.append(index % 2 ? element("code", each) : each));
  return part;
}

/** @param {string} title @param {string[]} heads @param {(string | Node)[][]} rows */
function table(title, heads, rows) {
  const [made, head, body] = [element("table", "", "stack fields"), element("tr"), element("tbody")];
  const top = element("thead");
  for (const each of heads) {
    const cell = /** @type {HTMLTableCellElement} */ (element("th", each));
    cell.scope = "col";
    head.append(cell);
  }
  top.append(head);
  for (const row of rows) {
    const line = element("tr");
    row.forEach((each, index) => {
      const [cell, inner] = [element("td"), element("div")];
      cell.dataset.label = heads[index];
      inner.append(each);
      cell.append(inner);
      line.append(cell);
    });
    body.append(line);
  }
  made.append(top, body);
  const part = element("div", "", "scroll");
  part.tabIndex = 0;
  part.append(made);
  const whole = document.createDocumentFragment();
  whole.append(element("h3", title), part);
  return whole;
}

/** Return a field of a form with its label.
 * @param {string} label @param {HTMLElement} field */
function labelled(label, field) {
  const made = element("label", `${label} `);
  made.append(field);
  return made;
}

/** Return text that can be copied, and a function that changes it.
 * @param {string} title @returns {[HTMLElement, (text: string) => void]} */
function snippet(title) {
  const [part, pre, code] = [element("div", "", "snippet"), element("pre"), element("code")];
  const button = /** @type {HTMLButtonElement} */ (element("button", t("Copy"), "plain"));
  button.type = "button";
  button.setAttribute("aria-label", `${t("Copy")}: ${title}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(String(code.textContent));
    button.textContent = t("Copied.");
  });
  pre.tabIndex = 0;
  pre.append(code);
  part.append(element("h3", title), button, pre);
  return [part, (text) => {
    code.textContent = text;
    button.textContent = t("Copy");
  }];
}

/** Send a request to this service and show the answer.
 * @param {import("./api_docs.js").Filled} request @param {HTMLElement} part */
async function sendTo(request, part) {
  const begun = performance.now();
  part.replaceChildren(element("p", t("Sending…")));
  try {
    const control = new AbortController();
    const response = await fetch(request.url, { method: request.method, headers: request.headers, body: request.body, signal: control.signal });
    const type = response.headers.get("content-type") ?? "";
    const shown = await show(response, type, control);
    const seconds = formatNumber((performance.now() - begun) / 1000, { maximumFractionDigits: 2 });
    const line = element("p", `${response.status} ${response.statusText}, ${type || t("no content")}, ${seconds} s`, response.ok ? "" : "bad");
    part.replaceChildren(line, shown);
  } catch (error) {
    part.replaceChildren(element("p", String(error), "bad"));
  }
}

/** Return an answer as an element: an image, text, or its size.
 * @param {Response} response @param {string} type @param {AbortController} control @returns {Promise<Node>} */
async function show(response, type, control) {
  if (type.startsWith("image/")) {
    const image = document.createElement("img");
    image.src = URL.createObjectURL(await response.blob());
    image.alt = t("The image that was answered");
    return image;
  }
  if (type.startsWith("text/event-stream")) return text(await begin(response, control));
  if (!/json|text|xml|csv/.test(type)) {
    const { size } = await response.blob();
    return element("p", t("{count} bytes", { count: formatNumber(size) }));
  }
  const body = await response.text();
  if (!/json/.test(type) || body.length > 10 * MOST_TEXT) return text(body);
  try {
    return text(JSON.stringify(JSON.parse(body), null, 2));
  } catch {
    return text(body);
  }
}

/** @param {string} body */
function text(body) {
  const pre = element("pre", body.length > MOST_TEXT ? `${body.slice(0, MOST_TEXT)}…` : body);
  pre.tabIndex = 0;
  return pre;
}

/** Return what a stream says within a few seconds, then close it.
 * @param {Response} response @param {AbortController} control */
async function begin(response, control) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const [decoder, end] = [new TextDecoder(), setTimeout(() => control.abort(), STREAM_MS)];
  let found = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      found += decoder.decode(value, { stream: true });
    }
  } catch { /* closed here */ } finally {
    clearTimeout(end);
  }
  return found;
}

/** Fill the place of one operation.
 * @param {HTMLDetailsElement} place */
async function describe(place) {
  const inner = /** @type {HTMLElement} */ (place.querySelector(".inner"));
  if (inner.childElementCount) return;
  const openapi = await load();
  if (inner.childElementCount) return; // another click was first
  const [method, path] = [String(place.dataset.method), String(place.dataset.path)];
  const operation = operationOf(openapi, method, path);
  const raw = openapi.paths[path][method.toLowerCase()];
  const mark = `op${++numbers}`;
  if (raw["x-pear-scope"]) inner.append(element("p", t("Needs a key of scope {scope}.", { scope: raw["x-pear-scope"] }), "note"));
  if (operation.parameters.length) {
    inner.append(table(t("Parameters"), [t("Name"), t("Type"), t("Description")], operation.parameters.map((each) => [
      element("code", each.name),
      `${typeOf(openapi, each.schema)}${each.required ? `, ${t("required")}` : ""}${each.schema.default == null ? "" : `, ${t("default")} ${JSON.stringify(each.schema.default)}`}`,
      marked(each.description ?? ""),
    ])));
  }
  if (operation.body) {
    inner.append(table(t("Fields of the body"), [t("Name"), t("Type"), t("Description")], fieldsOf(openapi, operation.body).map((each) => [
      element("code", each.name),
      `${each.type}${each.required ? `, ${t("required")}` : ""}${each.fallback ? `, ${t("default")} ${each.fallback}` : ""}`,
      marked(each.description),
    ])));
  }
  const answers = Object.entries(raw.responses).filter(([status]) => !COMMON.includes(status));
  inner.append(table(t("Answers"), [t("Status"), t("Type"), t("Description")], answers.map(([status, answer]) => [
    status, Object.keys(answer.content ?? {}).join(", "), marked(answer.description ?? ""),
  ])));

  const form = /** @type {HTMLFormElement} */ (element("form", "", "controls try"));
  /** @type {Map<string, HTMLInputElement>} */
  const inputs = new Map();
  for (const each of operation.parameters) {
    const input = document.createElement("input");
    input.value = exampleOf(each);
    input.required = Boolean(each.required);
    input.autocomplete = "off";
    inputs.set(each.name, input);
    form.append(labelled(each.name, input));
  }
  const body = document.createElement("textarea");
  if (operation.body) {
    body.value = exampleBody(operation);
    body.rows = Math.min(12, body.value.split("\n").length + 1);
    body.spellcheck = false;
    form.append(labelled(t("Body (JSON)"), body));
  }
  const go = element("button", t("Send"));
  form.append(go);
  const [command, setCommand] = snippet("curl");
  const [code, setCode] = snippet("Python");
  const answer = element("div", "", "answer");
  answer.setAttribute("role", "status");
  answer.id = mark;
  const request = () => fill(location.origin, operation, Object.fromEntries([...inputs].map(([name, input]) => [name, input.value])), body.value);
  const json = answers.some(([status, each]) => status.startsWith("2") && "application/json" in (each.content ?? {}));
  const write = () => {
    setCommand(curl(request(), operation.secured));
    setCode(python(request(), operation.secured, json));
  };
  form.addEventListener("input", write);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (operation.method === "DELETE" && !(await confirmed(`${operation.method} ${request().url}`, t("Send")))) return;
    sendTo(request(), answer);
  });
  write();
  inner.append(element("h3", t("Try it")), form, answer, command, code);
}

const operations = /** @type {HTMLDetailsElement[]} */ ([...document.querySelectorAll("details.operation")]);
for (const place of operations) {
  place.addEventListener("toggle", () => {
    if (place.open) describe(place);
  });
}

const finder = /** @type {HTMLInputElement} */ (document.getElementById("find"));
finder.addEventListener("input", () => {
  const wanted = finder.value.trim().toLowerCase().split(/\s+/);
  for (const place of operations) {
    const own = `${place.dataset.method} ${place.querySelector("summary")?.textContent} ${place.dataset.path}`.toLowerCase();
    place.hidden = !wanted.every((word) => own.includes(word));
  }
  for (const topic of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("section.topic"))) {
    topic.hidden = !topic.querySelector("details.operation:not([hidden])");
  }
});

// A link to one operation opens it.
const linked = document.getElementById(decodeURIComponent(location.hash.slice(1)));
if (linked instanceof HTMLDetailsElement) linked.open = true;

const builder = /** @type {HTMLFormElement} */ (document.getElementById("builder"));
const address = /** @type {HTMLAnchorElement} */ (document.getElementById("built"));
/** Write the address that the form describes; what is as by default is left out. */
function build() {
  const query = new URLSearchParams();
  const data = new FormData(builder);
  const hourly = data.getAll("hourly").join(",");
  for (const [name, value] of data) {
    if (name === "hourly") continue;
    const field = builder.elements.namedItem(name);
    const plain = field instanceof HTMLSelectElement ? field.options[0].value : "";
    if (String(value) !== plain) query.append(name, String(value));
  }
  if (hourly) query.append("hourly", hourly);
  address.href = `/v1/forecast?${query.toString().replaceAll("%2C", ",").replaceAll("%2F", "/")}`;
  address.textContent = address.href;
}
builder.addEventListener("input", build);
builder.addEventListener("submit", (event) => {
  event.preventDefault();
  sendTo({ method: "GET", url: address.href, headers: {}, body: null }, /** @type {HTMLElement} */ (document.getElementById("built-answer")));
});
build();
document.body.dataset.ready = "yes";
