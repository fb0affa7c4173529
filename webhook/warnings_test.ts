import assert from "node:assert/strict";
import type { Bundle, LabelSelectorSpec } from "../lib/api/bundle.ts";
import { readNamespace } from "../lib/records/namespace_record.ts";
import { readConfigMapSource, readSecretSource } from "../lib/records/source_record.ts";
import { configMap, EXPIRED, LEAF, pemBlock, pemText, ROOT_1, ROOT_2, secret } from "../tests/builders.ts";
import { admissionWarnings, type KnownObjects, MOST_STEPS } from "./warnings.ts";

const NOW = Date.parse("2030-01-01T00:00:00Z");
const INTERMEDIATE = await Deno.readTextFile(new URL("testdata/intermediate.pem", import.meta.url));

const objects = {
  ConfigMap: [configMap("roots", { "ca.crt": pemText(ROOT_1) }, { metadata: { labels: { use: "root" } } })]
    .map(readConfigMapSource),
  Secret: [
    secret("issued", { "tls.crt": pemText(ROOT_1) }, {
      metadata: { labels: { "controller.cert-manager.io/fao": "true" } },
    }),
    secret("tls", { "tls.crt": pemText(ROOT_1) }, {
      type: "kubernetes.io/tls",
      metadata: { labels: { use: "tls" } },
    }),
    secret("plain", { "tls.crt": pemText(ROOT_1) }),
  ].map(readSecretSource),
};
const known: KnownObjects = {
  synced: true,
  sources: (kind) => objects[kind],
  source: (kind, name) => objects[kind].find((object) => object.name === name),
  namespaces: () => [readNamespace({ metadata: { name: "a", labels: { team: "blue" } } })],
};
const target = { configMap: { key: "k" } };
const inLine = (inLine: string): Bundle["spec"] => ({ sources: [{ inLine }], target });
const renewed =
  "spec.sources[0].secret.key: tls.crt of this Secret changes when the certificate is renewed, and what the former " +
  "one issued is then distrusted at once; copy the root into a ConfigMap";

const cases: Record<
  string,
  { spec: Bundle["spec"]; warnings: string[]; known?: KnownObjects; now?: number }
> = {
  "nothing to say": { spec: inLine(pemText(ROOT_1, ROOT_2)), warnings: [] },
  "a leaf": {
    spec: inLine(pemText(ROOT_1, LEAF)),
    warnings: [
      "spec.sources[0].inLine: CN=leaf.example.org (cd82c6ee) is a leaf, no CA; trust the root that issued it",
    ],
  },
  "an intermediate": {
    spec: inLine(INTERMEDIATE),
    warnings: [
      "spec.sources[0].inLine: CN=Example Intermediate (61fdf7a3) is an intermediate, which then cannot be rotated freely; trust its root",
    ],
  },
  "an expired one": {
    spec: inLine(pemText(EXPIRED)),
    warnings: [
      "spec.sources[0].inLine: CN=Example Expired Root,O=Example Trust (ec05f387) expired on 2020-01-01; remove it",
    ],
  },
  "one that expires soon": {
    spec: inLine(pemText(ROOT_2)),
    now: Date.parse("2035-05-20T00:00:00Z"),
    warnings: [
      "spec.sources[0].inLine: CN=Example Root 2,O=Example Trust,C=EX (d2b91cdf) expires on 2035-06-01; add its successor",
    ],
  },
  "a private key": {
    spec: inLine(pemBlock("PRIVATE KEY", "k")),
    warnings: [
      "spec.sources[0].inLine: the Bundle will not sync: invalid PEM block in bundle: only CERTIFICATE blocks are permitted but " +
      "found 'PRIVATE KEY'",
    ],
  },
  "half a block": {
    spec: inLine(`${pemText(ROOT_1)}-----BEGIN CERTIFICATE-----\nMII`),
    warnings: ["spec.sources[0].inLine: 1 incomplete PEM blocks are skipped; complete them"],
  },
  "no certificate": {
    spec: inLine("hello"),
    warnings: ["spec.sources[0].inLine: no certificate in it; add one in PEM"],
  },
  "tls.crt of a Secret of cert-manager": {
    spec: { sources: [{ secret: { name: "issued", key: "tls.crt" } }], target },
    warnings: [renewed],
  },
  "tls.crt of a TLS Secret, by selector": {
    spec: { sources: [{ secret: { selector: { matchLabels: { use: "tls" } }, key: "tls.crt" } }], target },
    warnings: [renewed],
  },
  "tls.crt of another Secret": {
    spec: { sources: [{ secret: { name: "plain", key: "tls.crt" } }], target },
    warnings: [],
  },
  "tls.crt of a Secret that is not known": {
    spec: { sources: [{ secret: { name: "unknown", key: "tls.crt" } }], target },
    warnings: [],
  },
  "ca.crt of a Secret of cert-manager": {
    spec: { sources: [{ secret: { name: "issued", key: "ca.crt" } }], target },
    warnings: [],
  },
  "tls.key": {
    spec: { sources: [{ secret: { name: "tls", key: "tls.key" } }], target },
    warnings: [
      'spec.sources[0].secret.key: "tls.key" looks like a private key, which is never distributed; use ca.crt',
    ],
  },
  "all keys of a TLS Secret": {
    spec: { sources: [{ secret: { name: "tls", includeAllKeys: true } }], target },
    warnings: [
      "spec.sources[0].secret.includeAllKeys: the Bundle will not sync: Secret tls is of type kubernetes.io/tls; name a key",
    ],
  },
  "selectors that match": {
    spec: {
      sources: [{ configMap: { selector: { matchLabels: { use: "root" } }, key: "ca.crt" } }],
      target: { ...target, namespaceSelector: { matchLabels: { team: "blue" } } },
    },
    warnings: [],
  },
  "selectors that match nothing": {
    spec: {
      sources: [
        { configMap: { selector: { matchLabels: { use: "x" } }, key: "ca.crt" } },
        { secret: { selector: { matchLabels: { use: "root" } }, key: "ca.crt" } },
      ],
      target: { ...target, namespaceSelector: { matchLabels: { team: "red" } } },
    },
    warnings: [
      "spec.sources[0].configMap.selector: matches no ConfigMap in the trust namespace now; check it, or label the sources",
      "spec.sources[1].secret.selector: matches no Secret in the trust namespace now; check it, or label the sources",
      "spec.target.namespaceSelector: matches no namespace now; check it, or label the namespaces",
    ],
  },
  "selectors before the stores have synced": {
    known: { synced: false, sources: () => [], source: () => undefined, namespaces: () => [] },
    spec: {
      sources: [{ configMap: { selector: { matchLabels: { use: "x" } }, key: "ca.crt" } }],
      target: { ...target, namespaceSelector: { matchLabels: { team: "red" } } },
    },
    warnings: [],
  },
};

for (const [name, { spec, warnings, known: view = known, now = NOW }] of Object.entries(cases)) {
  Deno.test(`warnings: ${name}`, () => {
    assert.deepEqual(admissionWarnings({ metadata: { name: "example" }, spec }, view, now), warnings);
  });
}

Deno.test("keys that look like private keys", () => {
  const warnings = (key: string) =>
    admissionWarnings(
      { metadata: { name: "example" }, spec: { sources: [{ configMap: { name: "x", key } }], target } },
      known,
      NOW,
    ).length;
  for (const key of ["tls.key", "ca-key.pem", "KEY", "server_key", "private.pem", "id_rsa"]) {
    assert.equal(warnings(key), 1, key);
  }
  for (const key of ["ca.crt", "tls.crt", "keystore.jks", "monkey.pem", "keys"]) {
    assert.equal(warnings(key), 0, key);
  }
});

Deno.test("warnings fit what API servers pass on", () => {
  const sources = Array(100).fill({ inLine: pemText(LEAF) });
  const many = admissionWarnings({ metadata: { name: "a" }, spec: { sources } }, known, NOW);
  assert.equal(many.length, 12);
  assert.equal(many.at(-1), "there may be more warnings than these");

  const refused = { inLine: `-----BEGIN ${"é".repeat(300)}-----\nAAAA\n-----END ${"é".repeat(300)}-----` };
  for (
    const warning of admissionWarnings({ metadata: { name: "a" }, spec: { sources: [refused] } }, known, NOW)
  ) {
    assert.ok(warning.length <= 256);
  }
});

/** As many objects of each kind, each of which counts how often its labels are looked at. */
function countedObjects(count: number, labels: Record<string, string> = {}) {
  const counter = { looks: 0 };
  const all = Array.from({ length: count }, (_, i) => ({
    ...readConfigMapSource(configMap(`c${i}`, {})),
    get labels() {
      counter.looks++;
      return labels;
    },
  }));
  const counted: KnownObjects = { ...known, sources: () => all };
  return { counter, counted };
}

const selecting = (selector: LabelSelectorSpec, key = "ca.crt") => ({ configMap: { selector, key } });

Deno.test("warnings: each distinct selector is compared with each object once", () => {
  const { counter, counted } = countedObjects(1000);
  const sources = Array.from({ length: 100 }, (_, i) => selecting({ matchLabels: { app: `a${i % 2}` } }));
  admissionWarnings({ metadata: { name: "a" }, spec: { sources, target } }, counted, NOW);
  assert.equal(counter.looks, 2000);
});

Deno.test("warnings: no more is looked for than is told", () => {
  const { counter, counted } = countedObjects(1000);
  const sources = Array.from({ length: 100 }, (_, i) => selecting({ matchLabels: { app: `a${i}` } }));
  const warnings = admissionWarnings({ metadata: { name: "a" }, spec: { sources, target } }, counted, NOW);
  assert.equal(warnings.length, 12);
  assert.equal(warnings.at(-1), "there may be more warnings than these");
  assert.equal(counter.looks, 13_000);
});

Deno.test("warnings: the largest Bundle is checked as a whole", () => {
  const { counted } = countedObjects(1000, { app: "a" });
  const sources = Array.from(
    { length: 100 },
    (_, i) => selecting({ matchExpressions: [{ key: `k${i}`, operator: "DoesNotExist" }] }),
  );
  const spec = { sources, target: { ...target, namespaceSelector: { matchLabels: { team: "red" } } } };
  assert.deepEqual(admissionWarnings({ metadata: { name: "a" }, spec }, counted, NOW), [
    "spec.target.namespaceSelector: matches no namespace now; check it, or label the namespaces",
  ]);
  const pem = pemText(ROOT_1).repeat(Math.floor(750_000 / pemText(ROOT_1).length));
  assert.deepEqual(
    admissionWarnings(
      { metadata: { name: "a" }, spec: { sources: [{ inLine: pem }, { inLine: `\n${pem}` }], target } },
      known,
      NOW,
    ),
    [],
  );
});

/** What a client that asks the webhook by itself may send. */
const costly: Record<string, { spec: Bundle["spec"]; told: number }> = {
  "sources": {
    spec: {
      sources: Array.from({ length: 46_774 }, (_, i) => selecting({ matchLabels: { [`k${i}`]: "v" } })),
      target,
    },
    told: 12,
  },
  "sources with one selector that all objects match": {
    spec: { sources: Array(46_774).fill(selecting({})), target },
    told: 1,
  },
  "requirements": {
    spec: {
      sources: [selecting({
        matchExpressions: Array.from(
          { length: 50_000 },
          (_, i) => ({ key: `k${i}`, operator: "DoesNotExist" }),
        ),
      })],
      target,
    },
    told: 1,
  },
  "values": {
    spec: {
      sources: [selecting({
        matchExpressions: [{
          key: "app",
          operator: "NotIn",
          values: Array.from({ length: 100_000 }, (_, i) => `v${i}`),
        }],
      })],
      target,
    },
    told: 1,
  },
  "labels": {
    spec: {
      sources: [
        selecting({
          matchLabels: Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`k${i}`, "v"])),
        }),
      ],
      target,
    },
    told: 1,
  },
  "PEM": {
    spec: {
      sources: Array.from({ length: 6 }, (_, i) => ({ inLine: `${i}${"-".repeat(500_000)}` })),
      target,
    },
    told: 5,
  },
};

for (const [name, { spec, told }] of Object.entries(costly)) {
  Deno.test(`warnings: the work for one Bundle has a bound: ${name}`, () => {
    const { counter, counted } = countedObjects(1000);
    const warnings = admissionWarnings({ metadata: { name: "a" }, spec }, counted, NOW);
    assert.ok(counter.looks <= MOST_STEPS, `${counter.looks} objects were compared`);
    assert.equal(warnings.length, told);
    assert.match(warnings.at(-1) ?? "", /may be more warnings|too large to be checked for all warnings/);
  });
}
