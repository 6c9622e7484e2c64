// Reads the API; keeps fields that have been read, within a bound.

import { decode } from "./map.js";

const KEPT_FIELDS = 120;
const kept = new Map();

export async function json(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(await reason(answer));
  return answer.json();
}

async function reason(answer) {
  try {
    const problem = await answer.json();
    return problem.hint ? `${problem.detail}; ${problem.hint}` : problem.detail;
  } catch {
    return `${answer.status} ${answer.statusText}`;
  }
}

export function fieldUrl(run, variable, level, lead, nside) {
  const query = new URLSearchParams({ lead_time: lead, format: "u16", nside });
  if (level !== null) query.set("level", level);
  return `/v1/forecasts/${run}/fields/${variable}?${query}`;
}

/** One field; the same promise for the same field. */
export function field(run, variable, level, lead, nside) {
  const url = fieldUrl(run, variable, level, lead, nside);
  if (!kept.has(url)) {
    const promise = fetch(url).then(async (answer) => {
      if (!answer.ok) throw new Error(await reason(answer));
      return decode(await answer.arrayBuffer(), answer.headers);
    });
    promise.catch(() => kept.delete(url));
    kept.set(url, promise);
    if (kept.size > KEPT_FIELDS) kept.delete(kept.keys().next().value);
  }
  return kept.get(url);
}

export function pointUrl(run, place, variable, level, format = "json") {
  const query = new URLSearchParams({
    latitude: place.latitude.toFixed(3), longitude: place.longitude.toFixed(3), variables: variable, format,
  });
  if (level !== null) query.set("levels", level);
  return `/v1/forecasts/${run}/point?${query}`;
}
