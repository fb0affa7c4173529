import assert from "node:assert/strict";
import { ADMISSION_CASES } from "../../tests/admission_cases.ts";
import { decodeBundle } from "./decode_bundle.ts";

Deno.test("what has the right types is read as it is", () => {
  for (const { spec } of ADMISSION_CASES) {
    assert.deepEqual(decodeBundle({ metadata: { name: "a", uid: "x" }, spec }), {
      metadata: { name: "a" },
      spec,
    });
  }
  const pkcs12 = { key: "k", password: "p", profile: "LegacyDES" };
  const spec = { sources: [], target: { additionalFormats: { jks: { key: "k", password: "p" }, pkcs12 } } };
  assert.deepEqual(decodeBundle({ metadata: { name: "a" }, spec }).spec, spec);
});

const lenient: Record<string, { spec: unknown; read: unknown }> = {
  "no spec": { spec: undefined, read: { sources: [] } },
  "null is absent": {
    spec: { sources: [{ configMap: null, inLine: "x", useDefaultCAs: null }], target: null },
    read: { sources: [{ inLine: "x" }] },
  },
  "null in a list or map is the empty value": {
    spec: {
      sources: [null],
      target: {
        namespaceSelector: { matchLabels: { a: null }, matchExpressions: [null, { values: [null] }] },
      },
    },
    read: {
      sources: [{}],
      target: {
        namespaceSelector: {
          matchLabels: { a: "" },
          matchExpressions: [{ key: "", operator: "" }, { key: "", operator: "", values: [""] }],
        },
      },
    },
  },
  "unknown fields are dropped": {
    spec: { sources: [{ Inline: "x", more: 1 }], more: {} },
    read: { sources: [{}] },
  },
};

for (const [name, { spec, read }] of Object.entries(lenient)) {
  Deno.test(`decoding: ${name}`, () => assert.deepEqual(decodeBundle({ spec }).spec, read));
}

Deno.test("names of Object's members are names like others", () => {
  const spec = JSON.parse(
    `{"sources": [], "target": {"namespaceSelector": {"matchLabels": {"__proto__": "x"}}}}`,
  );
  const labels = decodeBundle({ spec }).spec.target?.namespaceSelector?.matchLabels ?? {};
  assert.deepEqual(Object.entries(labels), [["__proto__", "x"]]);
  assert.deepEqual(decodeBundle({ spec: Object.create({ sources: [{}] }) }).spec, { sources: [] });
});

const refused: Record<string, { object: unknown; error: string }> = {
  "no object": { object: [], error: 'object: Invalid value: "array": must be an object' },
  "null": { object: null, error: 'object: Invalid value: "null": must be an object' },
  "a name that is no string": {
    object: { metadata: { name: 1 } },
    error: 'metadata.name: Invalid value: "number": must be a string',
  },
  "sources that are no list": {
    object: { spec: { sources: {} } },
    error: 'spec.sources: Invalid value: "object": must be a list',
  },
  "a source that is no object": {
    object: { spec: { sources: [{}, "x"] } },
    error: 'spec.sources[1]: Invalid value: "string": must be an object',
  },
  "a source's field": {
    object: { spec: { sources: [{ configMap: "x" }] } },
    error: 'spec.sources[0].configMap: Invalid value: "string": must be an object',
  },
  "a boolean": {
    object: { spec: { sources: [{ useDefaultCAs: "true" }] } },
    error: 'spec.sources[0].useDefaultCAs: Invalid value: "string": must be a boolean',
  },
  "a label's value": {
    object: { spec: { target: { configMap: { metadata: { labels: { a: 1 } } } } } },
    error: 'spec.target.configMap.metadata.labels.a: Invalid value: "number": must be a string',
  },
};

for (const [name, { object, error }] of Object.entries(refused)) {
  Deno.test(`not to be decoded: ${name}`, () => {
    assert.throws(() => decodeBundle(object), { name: "BundleDecodeError", message: error });
  });
}
