// @ts-check
// Operations of an OpenAPI document: fields of their bodies, examples, and requests as text.

/** @typedef {Record<string, any>} Schema */
/** @typedef {{ name: string, type: string, required: boolean, fallback: string, description: string }} Field */
/** @typedef {{ method: string, path: string, parameters: Schema[], body: Schema | null, secured: boolean }} Operation */
/** A request with its values filled in.
 * @typedef {{ method: string, url: string, headers: Record<string, string>, body: string | null }} Filled */

const DEEPEST = 3;
const JSON_TYPE = "application/json";

/** Return a schema with its reference followed.
 * @param {Schema} document @param {Schema} schema @returns {Schema} */
export function resolve(document, schema) {
  if (!schema?.$ref) return schema ?? {};
  const name = schema.$ref.split("/").pop();
  return { ...document.components.schemas[name], ...(schema.description ? { description: schema.description } : {}) };
}

/** Return the operation of a method and path.
 * @param {Schema} document @param {string} method @param {string} path @returns {Operation} */
export function operationOf(document, method, path) {
  const found = document.paths[path][method.toLowerCase()];
  const body = found.requestBody?.content?.[JSON_TYPE]?.schema;
  return {
    method: method.toUpperCase(),
    path,
    parameters: found.parameters ?? [],
    body: body ? resolve(document, body) : null,
    secured: Boolean(found.security?.length),
  };
}

/** Return the type of a schema in words: `integer or null`, `array of string, up to 64`.
 * @param {Schema} document @param {Schema} given @returns {string} */
export function typeOf(document, given) {
  const schema = resolve(document, given);
  const parts = schema.anyOf ?? schema.oneOf;
  if (parts) return [...new Set(parts.map((/** @type {Schema} */ each) => typeOf(document, each)))].join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((/** @type {unknown} */ each) => String(each)).join(" | ");
  if (schema.type === "array") {
    const most = schema.maxItems === undefined ? "" : `, up to ${schema.maxItems}`;
    return `array of ${typeOf(document, schema.items ?? {})}${most}`;
  }
  const low = schema.minimum ?? schema.exclusiveMinimum ?? schema.ge;
  const high = schema.maximum ?? schema.exclusiveMaximum ?? schema.le;
  const range = low !== undefined || high !== undefined ? ` ${low ?? "…"} to ${high ?? "…"}` : "";
  const format = schema.format ? ` (${schema.format})` : "";
  return `${schema.type ?? "any"}${format}${range}`;
}

/** Return the fields of a body, those of parts by their path: `action.forecast.lead_hours`.
 * @param {Schema} document @param {Schema} given @param {string} [prefix] @param {number} [depth] @returns {Field[]} */
export function fieldsOf(document, given, prefix = "", depth = 0) {
  const schema = objectIn(document, given);
  if (!schema || depth > DEEPEST) return [];
  return Object.entries(schema.properties ?? {}).flatMap(([name, part]) => {
    const field = {
      name: prefix + name,
      type: objectIn(document, part) ? "object" : typeOf(document, part),
      required: (schema.required ?? []).includes(name),
      fallback: part.default === undefined || part.default === null ? "" : JSON.stringify(part.default),
      description: resolve(document, part).description ?? "",
    };
    return [field, ...fieldsOf(document, part, `${prefix}${name}.`, depth + 1)];
  });
}

/** Return the object that a schema is, or one of its choices is; null if there is none.
 * @param {Schema} document @param {Schema} given @returns {Schema | null} */
function objectIn(document, given) {
  const schema = resolve(document, given);
  if (schema.properties) return schema;
  for (const part of schema.anyOf ?? schema.oneOf ?? []) {
    const found = objectIn(document, part);
    if (found) return found;
  }
  return null;
}

/** Return an example of a body as JSON text; "" without a body.
 * @param {Operation} operation */
export function exampleBody({ body }) {
  return body ? JSON.stringify(body.examples?.[0] ?? {}, null, 2) : "";
}

/** Return the value that a parameter begins with: an example where one is required.
 * @param {Schema} parameter @returns {string} */
export function exampleOf(parameter) {
  if (!parameter.required && parameter.in !== "path") return "";
  const value = parameter.example ?? parameter.schema?.examples?.[0] ?? parameter.schema?.default ?? "";
  return Array.isArray(value) ? value.join(",") : String(value);
}

/** Return a request with values of parameters by name and the text of its body.
 * @param {string} base address of the service @param {Operation} operation
 * @param {Record<string, string>} values @param {string} body @returns {Filled} */
export function fill(base, operation, values, body) {
  let path = operation.path;
  const [query, headers] = [new URLSearchParams(), /** @type {Record<string, string>} */ ({})];
  for (const { name, in: place } of operation.parameters) {
    const value = values[name] ?? "";
    if (place === "path") {
      // A path of a file keeps its slashes.
      path = path.replace(`{${name}}`, encodeURIComponent(value).replaceAll("%2F", "/"));
    } else if (value !== "" && place === "query") query.append(name, value);
    else if (value !== "" && place === "header") headers[name] = value;
  }
  if (operation.body) headers["Content-Type"] = JSON_TYPE;
  const asked = query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  return { method: operation.method, url: `${base}${path}${asked ? `?${asked}` : ""}`, headers, body: operation.body ? body : null };
}

/** @param {string} text for a POSIX shell */
const quoted = (text) => (/^[\w./:@=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** Return JSON text on one line, or the text as it is if it is not JSON.
 * @param {string} text */
function oneLine(text) {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch {
    return text;
  }
}

/** Return a request as one line of curl.
 * @param {Filled} request @param {boolean} secured */
export function curl({ method, url, headers, body }, secured) {
  const parts = ["curl"];
  if (method !== "GET") parts.push("-X", method);
  parts.push(quoted(url));
  if (secured) parts.push("-H", "'X-API-Key: …'");
  for (const [name, value] of Object.entries(headers)) parts.push("-H", quoted(`${name}: ${value}`));
  if (body !== null) parts.push("-d", quoted(oneLine(body)));
  return parts.join(" ");
}

/** Return a value as Python writes it.
 * @param {any} value @returns {string} */
export function toPython(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(toPython).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${toPython(each)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}

/** Return a request as Python with httpx.
 * @param {Filled} request @param {boolean} secured @param {boolean} json the answer is JSON */
export function python({ method, url, headers, body }, secured, json) {
  /** @type {Record<string, string>} */
  const sent = { ...headers, ...(secured ? { "X-API-Key": "…" } : {}) };
  delete sent["Content-Type"];
  const parts = [JSON.stringify(url)];
  if (body !== null) {
    try {
      parts.push(`json=${toPython(JSON.parse(body))}`);
    } catch {
      parts.push(`content=${JSON.stringify(body)}`);
    }
  }
  if (Object.keys(sent).length) parts.push(`headers=${toPython(sent)}`);
  const read = json ? "print(answer.json())" : "print(len(answer.content), answer.headers[\"content-type\"])";
  return `import httpx\n\nanswer = httpx.${method.toLowerCase()}(${parts.join(", ")})\nanswer.raise_for_status()\n${method === "DELETE" ? "print(answer.status_code)" : read}`;
}
