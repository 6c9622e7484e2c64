// Texts, times and numbers in the reader's language.
import assert from "node:assert/strict";
import { test } from "node:test";

import { formatNumber, formatTime, t } from "../../../../service/dashboard/static/words.js";

test("values are filled in, unknown names stay", () => {
  assert.equal(t("{count} of {all}", { count: 3 }), "3 of {all}");
});

test("times are UTC: ISO in English, the language's own elsewhere", () => {
  assert.equal(formatTime("2001-03-01T06:30:00Z", "en"), "2001-03-01 06:30 UTC");
  assert.equal(formatTime("2001-03-01T06:30:00Z", "de"), "01.03.2001, 06:30 UTC");
  assert.equal(formatNumber(1234.5, {}, "de"), "1.234,5");
});
