import assert from "node:assert/strict";
import type { Bundle } from "./bundle.ts";
import { schemaLimitError, sourcesLimitError } from "./schema_limits.ts";

const source = { inLine: "pem" };
const target = { configMap: { key: "k" } };
const withSources = (...sources: Bundle["spec"]["sources"]): Bundle["spec"] => ({ sources, target });
const withTarget = (target: NonNullable<Bundle["spec"]["target"]>): Bundle["spec"] => ({
  sources: [source],
  target,
});
const long = "a".repeat(254);
const tooLong = (field: string, longest = 253) => `${field}: Too long: may not be more than ${longest} bytes`;

const cases: Record<string, { spec: Bundle["spec"]; error: string | undefined }> = {
  "nothing": { spec: { sources: [] }, error: undefined },
  "everything as long as may be": {
    spec: {
      sources: [
        { configMap: { name: "a".repeat(253), key: "a".repeat(253) } },
        { secret: { name: "a".repeat(253), key: "a".repeat(253) } },
        { inLine: "a".repeat(1_048_576) },
      ],
      target: {
        configMap: { key: "a".repeat(253) },
        secret: { key: "a".repeat(253) },
        additionalFormats: {
          jks: { key: "a".repeat(253), password: "a".repeat(128) },
          pkcs12: { key: "a".repeat(253), password: "a".repeat(128) },
        },
      },
    },
    error: undefined,
  },
  "characters of two units": {
    spec: withTarget({
      ...target,
      additionalFormats: { jks: { key: "j", password: "\u{1f511}".repeat(128) } },
    }),
    error: undefined,
  },
  "one of them more": {
    spec: withTarget({
      ...target,
      additionalFormats: { jks: { key: "j", password: "\u{1f511}".repeat(129) } },
    }),
    error: tooLong("spec.target.additionalFormats.jks.password", 128),
  },
  "a long name": {
    spec: withSources(source, { configMap: { name: long, key: "k" } }),
    error: tooLong("spec.sources[1].configMap.name"),
  },
  "a long key": {
    spec: withSources({ secret: { name: "s", key: long } }),
    error: tooLong("spec.sources[0].secret.key"),
  },
  "a long inline source": {
    spec: withSources({ inLine: "a".repeat(1_048_577) }),
    error: tooLong("spec.sources[0].inLine", 1_048_576),
  },
  "a long key of a ConfigMap target": {
    spec: withTarget({ configMap: { key: long } }),
    error: tooLong("spec.target.configMap.key"),
  },
  "a long key of a Secret target": {
    spec: withTarget({ secret: { key: long } }),
    error: tooLong("spec.target.secret.key"),
  },
  "a long key of a JKS": {
    spec: withTarget({ ...target, additionalFormats: { jks: { key: long } } }),
    error: tooLong("spec.target.additionalFormats.jks.key"),
  },
  "a long password of a PKCS#12": {
    spec: withTarget({ ...target, additionalFormats: { pkcs12: { key: "p", password: "a".repeat(129) } } }),
    error: tooLong("spec.target.additionalFormats.pkcs12.password", 128),
  },
};

for (const [name, { spec, error }] of Object.entries(cases)) {
  Deno.test(`limits of the schema: ${name}`, () => {
    const found = schemaLimitError({ spec });
    assert.equal(found === undefined ? undefined : `${found.field}: ${found.problem}`, error);
  });
}

const sourceCases: Record<string, { object: unknown; stored: boolean; error?: string }> = {
  "as many as may be": { object: { spec: { sources: Array(100) } }, stored: false },
  "one more": {
    object: { spec: { sources: Array(101) } },
    stored: false,
    error: "spec.sources: Too many: 101: must have at most 100 items",
  },
  "one more than was stored": { object: { spec: { sources: Array(101) } }, stored: true },
  "more than can have been stored": {
    object: { spec: { sources: Array(1001) } },
    stored: true,
    error: "spec.sources: Too many: 1001: must have at most 1000 items",
  },
  "no Bundle": { object: null, stored: false },
  "no list": { object: { spec: { sources: { length: 101 } } }, stored: false },
};

for (const [name, { object, stored, error }] of Object.entries(sourceCases)) {
  Deno.test(`limits of the schema, sources: ${name}`, () => {
    const found = sourcesLimitError(object, stored);
    assert.equal(found === undefined ? undefined : `${found.field}: ${found.problem}`, error);
  });
}
