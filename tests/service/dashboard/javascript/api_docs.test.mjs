// Requests as text, and fields of bodies, from an OpenAPI document.
import assert from "node:assert/strict";
import { test } from "node:test";

import { curl, exampleBody, exampleOf, fieldsOf, fill, operationOf, python, typeOf } from "../../../../service/dashboard/static/api_docs.js";

const DOCUMENT = {
  components: { schemas: {
    In: {
      required: ["name"],
      examples: [{ name: "it's", part: { many: [1, null, true] } }],
      properties: {
        name: { type: "string", description: "A name." },
        part: { anyOf: [{ $ref: "#/components/schemas/Part" }, { type: "null" }], description: "A part." },
      },
    },
    Part: { properties: { many: { type: "array", items: { type: "integer", minimum: 0 }, maxItems: 3, default: [] } } },
  } },
  paths: {
    "/v1/things/{id}": { post: {
      parameters: [
        { name: "id", in: "path", required: true, example: "a b", schema: { type: "string" } },
        { name: "at", in: "query", schema: { anyOf: [{ type: "string" }, { type: "null" }] } },
        { name: "prefer", in: "header", schema: { type: "string" } },
      ],
      requestBody: { content: { "application/json": { schema: { $ref: "#/components/schemas/In" } } } },
      security: [{ key: [] }],
    } },
  },
};
const operation = operationOf(DOCUMENT, "POST", "/v1/things/{id}");

test("fields of a body are listed with those of its parts", () => {
  assert.deepEqual(fieldsOf(DOCUMENT, operation.body).map(({ name, type, required, fallback }) => [name, type, required, fallback]), [
    ["name", "string", true, ""],
    ["part", "object", false, ""],
    ["part.many", "array of integer 0 to …, up to 3", false, "[]"],
  ]);
  assert.equal(typeOf(DOCUMENT, operation.parameters[1].schema), "string or null");
});

test("a request is filled, quoted for a shell, and written for Python", () => {
  const values = { id: exampleOf(operation.parameters[0]), at: "2001-03-01T00:00:00Z", prefer: "wait=5" };
  const request = fill("http://localhost", operation, values, exampleBody(operation));
  assert.equal(request.url, "http://localhost/v1/things/a%20b?at=2001-03-01T00:00:00Z");
  assert.equal(
    curl(request, operation.secured),
    "curl -X POST 'http://localhost/v1/things/a%20b?at=2001-03-01T00:00:00Z' -H 'X-API-Key: …' -H 'prefer: wait=5' " +
      "-H 'Content-Type: application/json' -d '{\"name\":\"it'\\''s\",\"part\":{\"many\":[1,null,true]}}'",
  );
  const code = python(request, operation.secured, true);
  assert.match(code, /json=\{"name": "it's", "part": \{"many": \[1, None, True\]\}\}/);
  assert.match(code, /headers=\{"prefer": "wait=5", "X-API-Key": "…"\}/);
});

test("what is not given is left out", () => {
  const request = fill("", operation, { id: "x/y" }, "{}");
  assert.equal(request.url, "/v1/things/x/y");
  assert.deepEqual(Object.keys(request.headers), ["Content-Type"]);
});
