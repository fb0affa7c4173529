import assert from "node:assert/strict";
import type { AdditionalFormats, TargetMetadata } from "./bundle.ts";
import { MAX_ANNOTATION_BYTES, targetLimits } from "./target_limits.ts";

interface Row {
  readonly what: string;
  readonly name?: string;
  readonly key?: string;
  readonly metadata?: TargetMetadata;
  readonly formats?: AdditionalFormats;
  /** Of a ConfigMap. */
  readonly whole?: readonly RegExp[];
  readonly stores?: Readonly<Record<string, RegExp>>;
}

const chars = /^spec\.target\.configMap\.key: is no key .* use only letters, digits, '-', '_' and '\.'$/;
const dots = /^spec\.target\.configMap\.key: is no key .* must not be '\.' or start with '\.\.'$/;

const rows: readonly Row[] = [
  { what: "a usual Bundle" },
  { what: "a name that just fits", name: "x".repeat(63) },
  {
    what: "a name that does not",
    name: `${"x".repeat(60)}.org`,
    whole: [
      /^metadata\.name: has 64 characters, but is the value of the label trust\.cert-manager\.io\/bundle .* takes 63;/,
    ],
  },
  { what: "a key with all that is allowed", key: "-._aZ09" },
  { what: "the longest key", key: "k".repeat(253) },
  { what: "a longer one", key: "k".repeat(254), whole: [/key: has more than 253 characters$/] },
  { what: "a path", key: "certs/ca.pem", whole: [chars] },
  { what: "a blank", key: "ca pem", whole: [chars] },
  { what: "a letter beyond ASCII", key: "zürich.pem", whole: [chars] },
  { what: "a trailing newline", key: "ca.pem\n", whole: [chars] },
  { what: "no key", key: "", whole: [chars] },
  { what: ".", key: ".", whole: [dots] },
  { what: "..", key: "..", whole: [dots] },
  { what: "..data", key: "..data", whole: [dots] },
  { what: ".hidden", key: ".hidden" },
  { what: "a dot in a path of dots", key: "a..b" },
  {
    what: "several things at once",
    name: "x".repeat(64),
    key: "a/b",
    whole: [/^metadata\.name/, chars],
  },
  {
    what: "labels and annotations as they should be",
    metadata: { labels: { "a.b/c": "d", e: "" }, annotations: { "A.B/c": "any text\n" } },
  },
  {
    what: "metadata of the operator's own, which it overrules",
    metadata: {
      labels: { "trust.cert-manager.io/bundle": "not valid" },
      annotations: { "trust.cert-manager.io/hash": "x".repeat(MAX_ANNOTATION_BYTES) },
    },
  },
  {
    what: "the key of a label",
    metadata: { labels: { "a b": "c", "d e": "f" } },
    whole: [/^spec\.target\.configMap\.metadata\.labels: Invalid value: "a b": name part must consist of/],
  },
  {
    what: "the value of a label",
    metadata: { labels: { a: "x".repeat(64) } },
    whole: [
      /^spec\.target\.configMap\.metadata\.labels: Invalid value: "x{64}": must be no more than 63 (bytes|characters)$/,
    ],
  },
  {
    what: "the key of an annotation",
    metadata: { annotations: { "/": "" } },
    whole: [
      /^spec\.target\.configMap\.metadata\.annotations: Invalid value: "\/": prefix part must be non-empty$/,
    ],
  },
  {
    what: "annotations that just fit, with the hash",
    metadata: { annotations: { a: "x".repeat(MAX_ANNOTATION_BYTES - 1 - 26 - 64) } },
  },
  {
    what: "annotations that do not, though admission takes them",
    metadata: { annotations: { a: "ä" + "x".repeat(MAX_ANNOTATION_BYTES - 1 - 26 - 64 - 1) } },
    whole: [
      /^spec\.target\.configMap\.metadata\.annotations: have 262145 bytes together with the operator's own,/,
    ],
  },
  {
    what: "annotations that do not, because of the key stores",
    metadata: { annotations: { a: "x".repeat(MAX_ANNOTATION_BYTES - 1 - 26 - 64) } },
    formats: { jks: { key: "j" } },
    whole: [/^spec\.target\.configMap\.metadata\.annotations: have 262188 bytes together/],
  },
  { what: "key stores", formats: { jks: { key: "j" }, pkcs12: { key: "p" } } },
  {
    what: "a key store at a path",
    formats: { jks: { key: "a/b" }, pkcs12: { key: "p" } },
    stores: { jks: /^spec\.target\.additionalFormats\.jks\.key: is no key / },
  },
  {
    what: "all at one key",
    key: "k",
    formats: { jks: { key: "k" }, pkcs12: { key: "k" } },
    stores: {
      jks: /^spec\.target\.additionalFormats\.jks\.key: is the key of another output$/,
      pkcs12: /^spec\.target\.additionalFormats\.pkcs12\.key: is the key of another output$/,
    },
  },
  {
    what: "two stores at one key: the first has it",
    formats: { jks: { key: "s" }, pkcs12: { key: "s" } },
    stores: { pkcs12: /is the key of another output$/ },
  },
];

for (const { what, name = "example", key = "ca.crt", metadata, formats, whole = [], stores = {} } of rows) {
  Deno.test(`what a target cannot hold: ${what}`, () => {
    const template = { key, ...(metadata && { metadata }) };
    const limits = targetLimits(name, "ConfigMap", template, formats);
    assert.equal(limits.whole.length, whole.length, limits.whole.join("\n"));
    whole.forEach((pattern, i) => assert.match(limits.whole[i] ?? "", pattern));
    assert.deepEqual(Object.keys(limits.stores), Object.keys(stores));
    for (const format of ["jks", "pkcs12"] as const) {
      const pattern = stores[format];
      if (pattern !== undefined) assert.match(limits.stores[format] ?? "", pattern);
    }
    // The same of a Secret, but for the path.
    const secret = targetLimits(name, "Secret", template, formats);
    const renamed = JSON.stringify(limits).replaceAll("spec.target.configMap", "spec.target.secret");
    assert.deepEqual(JSON.stringify(secret), renamed);
  });
}
