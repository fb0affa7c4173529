import type { Bundle } from "../lib/api/bundle.ts";

/** A Bundle, and what becomes of it. */
export interface AdmissionCase {
  readonly name: string;
  /** Default `example`. */
  readonly bundleName?: string;
  readonly spec: Bundle["spec"];
  /** The errors, as they are printed; absent if the Bundle is good. */
  readonly refusal?: string;
  /** Whether the schema of the CRD refuses it before any webhook or policy is asked. */
  readonly schemaRefuses?: boolean;
}

const pem = { inLine: "pem" };
const target = { configMap: { key: "ca.crt" } };
const NAME_RULE =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
  "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with " +
  "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const PREFIX_RULE =
  "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start " +
  "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  String.raw`'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`;
const TWO_SLASHES =
  "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
  "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is " +
  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
const ONE_OF = "must validate one and only one schema (oneOf): [name, selector]. Found";

const sources = (...sources: Bundle["spec"]["sources"]) => ({ sources, target });
const withTarget = (target: NonNullable<Bundle["spec"]["target"]>) => ({ sources: [pem], target });

/** A case for each row of the Admission table, ConfigMap and Secret alike. */
function objectCases(kind: "configMap" | "secret"): AdmissionCase[] {
  const at = `spec.sources[0].${kind}`;
  const one = (object: NonNullable<Bundle["spec"]["sources"][number]["configMap"]>) =>
    sources({ [kind]: object });
  return [
    { name: `${kind} by name and key`, spec: one({ name: "a", key: "b" }) },
    {
      name: `${kind} by selector, all keys`,
      spec: one({ selector: { matchLabels: { a: "b" } }, includeAllKeys: true }),
    },
    { name: `${kind} by an empty selector`, spec: one({ selector: {}, key: "b" }) },
    {
      name: `${kind} with neither name nor selector`,
      spec: one({ key: "a" }),
      refusal: `${at}: Invalid value: "name: ' ', selector: nil": ${ONE_OF} none valid`,
      schemaRefuses: true,
    },
    {
      name: `${kind} with name and selector`,
      spec: one({ name: "some", selector: {}, key: "a" }),
      refusal: `${at}: Invalid value: "name: some, selector: {}": ${ONE_OF} both set`,
      schemaRefuses: true,
    },
    {
      name: `${kind} without key`,
      spec: one({ name: "a" }),
      refusal: `${at}: Invalid value: "key: ' ', includeAllKeys: false": ` +
        `source ${kind} key must be defined when includeAllKeys is false`,
    },
    {
      name: `${kind} without key, includeAllKeys false`,
      spec: one({ name: "a", includeAllKeys: false }),
      refusal: `${at}: Invalid value: "key: ' ', includeAllKeys: false": ` +
        `source ${kind} key must be defined when includeAllKeys is false`,
    },
    {
      name: `${kind} with key and includeAllKeys`,
      spec: one({ name: "a", key: "b", includeAllKeys: true }),
      refusal: `${at}: Invalid value: "key: b, includeAllKeys: true": ` +
        `source ${kind} key cannot be defined when includeAllKeys is true`,
    },
    {
      name: `${kind} with nothing`,
      spec: one({}),
      refusal: `[${at}: Invalid value: "name: ' ', selector: nil": ${ONE_OF} none valid, ` +
        `${at}: Invalid value: "key: ' ', includeAllKeys: false": ` +
        `source ${kind} key must be defined when includeAllKeys is false]`,
      schemaRefuses: true,
    },
    {
      name: `${kind} that is the target`,
      spec: { sources: [pem, { [kind]: { name: "example", key: "k" } }], target: { [kind]: { key: "k" } } },
      refusal: `spec.sources[1].${kind}.example.k: Forbidden: cannot define the same source as target`,
    },
    {
      name: `${kind} that is the target twice`,
      spec: {
        sources: [{ [kind]: { name: "example", key: "k" } }, { [kind]: { name: "example", key: "k" } }],
        target: { [kind]: { key: "k" } },
      },
      refusal: `[spec.sources[0].${kind}.example.k: Forbidden: cannot define the same source as target, ` +
        `spec.sources[1].${kind}.example.k: Forbidden: cannot define the same source as target]`,
    },
    {
      name: `${kind} of the target's name, other key`,
      spec: { sources: [{ [kind]: { name: "example", key: "other" } }], target: { [kind]: { key: "k" } } },
    },
    {
      name: `${kind} of the target's key, other name`,
      spec: { sources: [{ [kind]: { name: "other", key: "k" } }], target: { [kind]: { key: "k" } } },
    },
    {
      name: `${kind} with a bad selector`,
      spec: one({ selector: { matchLabels: { "a b": "c" } }, key: "k" }),
      refusal: `${at}.selector.matchLabels: Invalid value: "a b": ${NAME_RULE}`,
    },
    {
      name: `${kind} target with reserved metadata`,
      spec: withTarget({
        [kind]: {
          key: "k",
          metadata: {
            annotations: { "trust.cert-manager.io/hash": "x", "trust-manager.io/y": "x" },
            labels: { "trust.cert-manager.io/bundle": "x", "trust-manager.io/z": "x" },
          },
        },
      }),
      refusal: `[spec.target.${kind}.metadata.annotations: Invalid value: "trust-manager.io/y": ` +
        "trust-manager.io/* annotations are not allowed, " +
        `spec.target.${kind}.metadata.annotations: Invalid value: "trust.cert-manager.io/hash": ` +
        "trust.cert-manager.io/* annotations are not allowed, " +
        `spec.target.${kind}.metadata.labels: Invalid value: "trust-manager.io/z": ` +
        "trust-manager.io/* labels are not allowed, " +
        `spec.target.${kind}.metadata.labels: Invalid value: "trust.cert-manager.io/bundle": ` +
        "trust.cert-manager.io/* labels are not allowed]",
    },
    {
      name: `${kind} target with bad metadata`,
      spec: withTarget({
        [kind]: {
          key: "k",
          metadata: { annotations: { "a/b/c": "x" }, labels: { "-a": "x", b: "no blanks" } },
        },
      }),
      refusal: `[spec.target.${kind}.metadata.annotations: Invalid value: "a/b/c": ${TWO_SLASHES}, ` +
        `spec.target.${kind}.metadata.labels: Invalid value: "-a": ${NAME_RULE}, ` +
        `spec.target.${kind}.metadata.labels: Invalid value: "no blanks": ${VALUE_RULE}]`,
    },
    {
      name: `${kind} target with good metadata`,
      spec: withTarget({
        [kind]: {
          key: "k",
          metadata: {
            annotations: { "Example.com/A_b": "any thing ✓" },
            labels: { "example.com/a": "", b: "C_1" },
          },
        },
      }),
    },
  ];
}

/** Selectors of namespaces; those of sources follow the same rules. */
function selectorCases(): AdmissionCase[] {
  const at = "spec.target.namespaceSelector";
  const one = (
    name: string,
    namespaceSelector: NonNullable<NonNullable<Bundle["spec"]["target"]>["namespaceSelector"]>,
    refusal?: string,
    more: Partial<AdmissionCase> = {},
  ): AdmissionCase => ({
    name: `namespace selector ${name}`,
    spec: withTarget({ ...target, namespaceSelector }),
    ...(refusal === undefined ? {} : { refusal }),
    ...more,
  });
  const expression = (key: string, operator: string, ...values: string[]) => ({
    matchExpressions: [{ key, operator, values }],
  });
  const only = `${at}.matchExpressions[0]`;
  return [
    one("that is empty", {}),
    one("with all operators", {
      matchLabels: { "a.example/b": "c", d: "" },
      matchExpressions: [
        { key: "e", operator: "In", values: ["f", ""] },
        { key: "e", operator: "NotIn", values: ["g"] },
        { key: "h", operator: "Exists" },
        { key: "i", operator: "DoesNotExist", values: [] },
      ],
    }),
    one(
      "with an empty key",
      { matchLabels: { "": "a" } },
      `[${at}.matchLabels: Invalid value: "": name part must be non-empty, ${at}.matchLabels: Invalid value: "": ${NAME_RULE}]`,
    ),
    one(
      "with a bad prefix",
      { matchLabels: { "Bad/a": "" } },
      `${at}.matchLabels: Invalid value: "Bad/a": ${PREFIX_RULE}`,
    ),
    one(
      "with an empty prefix",
      { matchLabels: { "/a": "" } },
      `${at}.matchLabels: Invalid value: "/a": prefix part must be non-empty`,
    ),
    one(
      "with a long key",
      { matchLabels: { ["k".repeat(64)]: "" } },
      `${at}.matchLabels: Invalid value: "${"k".repeat(64)}": name part must be no more than 63 bytes`,
    ),
    one(
      "with a long prefix",
      { matchLabels: { [`${"p".repeat(254)}/a`]: "" } },
      `${at}.matchLabels: Invalid value: "${"p".repeat(254)}/a": prefix part must be no more than 253 bytes`,
    ),
    one(
      "with a long value",
      { matchLabels: { a: "v".repeat(64) } },
      `${at}.matchLabels: Invalid value: "${"v".repeat(64)}": must be no more than 63 bytes`,
    ),
    one(
      "with a bad value",
      { matchLabels: { a: "é" } },
      `${at}.matchLabels: Invalid value: "é": ${VALUE_RULE}`,
    ),
    one(
      "with a value that must be quoted",
      { matchLabels: { a: 'say "hi"\n' } },
      String.raw`${at}.matchLabels: Invalid value: "say \"hi\"\n": ${VALUE_RULE}`,
    ),
    one(
      "In nothing",
      expression("a", "In"),
      `${only}.values: Required value: must be specified when ${"`operator`"} is 'In' or 'NotIn'`,
    ),
    one(
      "NotIn nothing",
      { matchExpressions: [{ key: "a", operator: "NotIn" }] },
      `${only}.values: Required value: must be specified when ${"`operator`"} is 'In' or 'NotIn'`,
    ),
    one(
      "Exists with values",
      expression("a", "Exists", "b"),
      `${only}.values: Forbidden: may not be specified when ${"`operator`"} is 'Exists' or 'DoesNotExist'`,
    ),
    one(
      "DoesNotExist with values",
      expression("a", "DoesNotExist", "b"),
      `${only}.values: Forbidden: may not be specified when ${"`operator`"} is 'Exists' or 'DoesNotExist'`,
    ),
    one(
      "with an unknown operator",
      expression("a", "<Like>", "b"),
      String.raw`${only}.operator: Invalid value: "\u003cLike\u003e": not a valid selector operator`,
    ),
    one(
      "with a bad key in an expression",
      expression("a@", "Exists"),
      `${only}.key: Invalid value: "a@": ${NAME_RULE}`,
    ),
    one(
      "with bad values in an expression",
      expression("a", "In", "ok", "-", "/"),
      `[${only}.values[1]: Invalid value: "-": ${VALUE_RULE}, ${only}.values[2]: Invalid value: "/": ${VALUE_RULE}]`,
    ),
  ];
}

/** Every row of the Admission table in the contract, with the exact text. */
export const ADMISSION_CASES: readonly AdmissionCase[] = [
  ...objectCases("configMap"),
  ...objectCases("secret"),
  ...selectorCases(),
  { name: "default CAs and inline", spec: sources({ useDefaultCAs: true }, pem) },
  { name: "no target", spec: { sources: [pem] } },
  {
    name: "no sources",
    spec: { sources: [] },
    refusal: "spec.sources: Forbidden: must define at least one source",
    schemaRefuses: true,
  },
  {
    name: "an empty source",
    spec: sources({}),
    refusal:
      "[spec.sources[0]: Forbidden: must define exactly one source type for each item but found 0 defined types, " +
      "spec.sources: Forbidden: must define at least one source]",
    schemaRefuses: true,
  },
  {
    name: "an empty inline source",
    spec: sources(pem, { inLine: "" }),
    refusal:
      "spec.sources[1]: Forbidden: must define exactly one source type for each item but found 0 defined types",
    schemaRefuses: true,
  },
  {
    name: "several types in items",
    spec: sources(
      { configMap: { name: "a", key: "b" }, inLine: "x" },
      pem,
      {
        configMap: { name: "a", key: "b" },
        secret: { name: "a", key: "b" },
        inLine: "x",
        useDefaultCAs: false,
      },
    ),
    refusal:
      "[spec.sources[0]: Forbidden: must define exactly one source type for each item but found 2 defined types, " +
      "spec.sources[2]: Forbidden: must define exactly one source type for each item but found 4 defined types]",
    schemaRefuses: true,
  },
  {
    name: "useDefaultCAs false alone",
    spec: sources({ useDefaultCAs: false }),
    refusal: "spec.sources: Forbidden: must define at least one source",
  },
  { name: "useDefaultCAs false and inline", spec: sources({ useDefaultCAs: false }, pem) },
  {
    name: "default CAs twice",
    spec: sources({ useDefaultCAs: true }, { useDefaultCAs: true }),
    refusal: "spec.sources: Forbidden: must request default CAs either once or not at all but got 2 requests",
  },
  {
    name: "default CAs three times, once false",
    spec: sources({ useDefaultCAs: true }, { useDefaultCAs: false }, { useDefaultCAs: true }),
    refusal: "spec.sources: Forbidden: must request default CAs either once or not at all but got 3 requests",
  },
  {
    name: "default CAs twice, both false",
    spec: sources({ useDefaultCAs: false }, { useDefaultCAs: false }),
    refusal: "[spec.sources: Forbidden: must define at least one source, " +
      "spec.sources: Forbidden: must request default CAs either once or not at all but got 2 requests]",
  },
  {
    name: "output keys that are all different",
    spec: withTarget({ ...target, additionalFormats: { jks: { key: "a" }, pkcs12: { key: "b" } } }),
  },
  {
    name: "a ConfigMap's and a Secret's PEM key that are equal",
    spec: withTarget({ ...target, secret: { key: "ca.crt" } }),
  },
  {
    name: "a JKS key that is the ConfigMap's",
    spec: withTarget({ ...target, additionalFormats: { jks: { key: "ca.crt" } } }),
    refusal:
      'spec.target.additionalFormats.jks.key: Invalid value: "ca.crt": key must be unique across all target output keys',
  },
  {
    name: "a PKCS#12 key that is the Secret's",
    spec: withTarget({ ...target, secret: { key: "s" }, additionalFormats: { pkcs12: { key: "s" } } }),
    refusal:
      'spec.target.additionalFormats.pkcs12.key: Invalid value: "s": key must be unique across all target output keys',
  },
  {
    name: "JKS and PKCS#12 keys that are equal",
    spec: withTarget({ ...target, additionalFormats: { jks: { key: "a" }, pkcs12: { key: "a" } } }),
    refusal:
      'spec.target.additionalFormats.pkcs12.key: Invalid value: "a": key must be unique across all target output keys',
  },
  {
    name: "both store keys that are the ConfigMap's",
    spec: withTarget({ ...target, additionalFormats: { jks: { key: "ca.crt" }, pkcs12: { key: "ca.crt" } } }),
    refusal:
      '[spec.target.additionalFormats.jks.key: Invalid value: "ca.crt": key must be unique across all target output keys, ' +
      'spec.target.additionalFormats.pkcs12.key: Invalid value: "ca.crt": key must be unique across all target output keys]',
  },
  {
    name: "annotations that are too large",
    spec: withTarget({ configMap: { key: "k", metadata: { annotations: { a: "x".repeat(256 * 1024) } } } }),
    refusal: "spec.target.configMap.metadata.annotations: Too long: may not be more than 262144 bytes",
  },
  {
    name: "annotations that are as large as they may be",
    spec: withTarget({
      configMap: { key: "k", metadata: { annotations: { a: "x".repeat(256 * 1024 - 1) } } },
    }),
  },
  {
    name: "equal errors once",
    spec: withTarget({ ...target, namespaceSelector: { matchLabels: { a: "/", b: "/" } } }),
    refusal: `spec.target.namespaceSelector.matchLabels: Invalid value: "/": ${VALUE_RULE}`,
  },
];
