// Unit tests of the trend: which runs have a valid time, and their values.

import assert from "node:assert/strict";
import { test } from "node:test";

import { runsAt, valueAt } from "../../../../service/dashboard/static/trend.js";

const run = (id, init, sameModel = true) => ({ id, init, lead: 48, model: "a", sameModel });

test("runs of the same model that have the valid time, oldest first", () => {
  const others = [
    run("late", "2006-11-10T12:00:00Z"), run("early", "2006-11-09T00:00:00Z"),
    run("other", "2006-11-09T12:00:00Z", false), run("ended", "2006-11-07T00:00:00Z"), run("after", "2006-11-12T00:00:00Z"),
  ];
  const found = runsAt("2006-11-10T00:00:00Z", 24, others);
  assert.deepEqual(found.map(({ id, there }) => [id, there]), [["early", 48], ["late", 12]]);
});

test("the value is that of the lead time, or missing", () => {
  const answer = { lead_hours: [6, 12], points: [{ series: [{ values: [1.5, 2.5] }] }] };
  assert.equal(valueAt(answer, 12), 2.5);
  assert.equal(valueAt(answer, 9), null);
});
