// @ts-check
// The action of a schedule as fields of a form, and back; what the form does not show is kept.

/** Field of the form by part and setting of the action; numbers are told from text.
 * @type {Record<string, Record<string, { id: string, number?: boolean }>>} */
const FIELDS = {
  fetch: { source: { id: "s-fetch-source" }, newest: { id: "s-fetch-newest", number: true } },
  forecast: {
    lead_hours: { id: "s-forecast-lead", number: true },
    model: { id: "s-forecast-model" },
    every_hours: { id: "s-forecast-every", number: true },
  },
  evaluate: { lead_hours: { id: "s-evaluate-lead", number: true } },
  publish: { to: { id: "s-publish-to" } },
  expire: { keep_days: { id: "s-expire-days", number: true }, keep_latest: { id: "s-expire-latest", number: true } },
};
const MEMBERS = "s-forecast-members";

/** Return the id of the field for a part of a refused schedule, or null if the form has none for it.
 * @param {string} path such as `action.expire.keep_days` */
export function fieldFor(path) {
  if (path === "name" || path === "cron") return `s-${path}`;
  const [root, part, ...rest] = path.split(".");
  if (root !== "action" || !(part in FIELDS)) return null;
  const setting = rest.join(".");
  if (setting === "options.members" && part === "forecast") return MEMBERS;
  return FIELDS[part][setting]?.id ?? `s-${part}`;
}

/** Return the fields that show an action, by id.
 * @param {Record<string, any>} action @returns {Record<string, string | number | boolean>} */
export function fieldsOf(action) {
  /** @type {Record<string, string | number | boolean>} */
  const fields = { [MEMBERS]: action.forecast?.options?.members ?? "" };
  for (const [part, settings] of Object.entries(FIELDS)) {
    fields[`s-${part}`] = part in action;
    if (!(part in action)) continue;
    for (const [name, { id }] of Object.entries(settings)) fields[id] = action[part][name] ?? "";
  }
  return fields;
}

/** Return the action that the fields show; settings without a field stay as they were.
 * @param {(id: string) => string | boolean} read the value of a field
 * @param {Record<string, any>} before the action that is changed @returns {Record<string, any>} */
export function actionOf(read, before) {
  /** @type {Record<string, any>} */
  const action = {};
  for (const [part, settings] of Object.entries(FIELDS)) {
    if (!read(`s-${part}`)) continue;
    action[part] = { ...before[part] };
    for (const [name, { id, number }] of Object.entries(settings)) {
      const value = read(id);
      if (value === "") delete action[part][name];
      else action[part][name] = number ? Number(value) : value;
    }
  }
  if (action.forecast) {
    const { members, ...options } = before.forecast?.options ?? {};
    const given = read(MEMBERS);
    if (given !== "") options.members = Number(given);
    if (Object.keys(options).length) action.forecast.options = options;
    else delete action.forecast.options;
  }
  return action;
}
