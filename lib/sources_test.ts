import assert from "node:assert/strict";
import {
  base64,
  bundleRecord,
  configMap,
  EXPIRED,
  LEAF,
  managedFields,
  parsed,
  pemBlock,
  pemText,
  ROOT_1,
  ROOT_2,
  secret,
  sourceView,
  type TestCertificate,
} from "../tests/builders.ts";
import { BUNDLE_LABEL, type BundleSource } from "./api/bundle.ts";
import type { ObjectMeta, OwnerReference, Secret } from "./kube/objects.ts";
import { ownerReference } from "./resolve.ts";
import { type DefaultCas, gather, type PoolFilters, type SourceNotice } from "./sources.ts";

const NOW = Date.parse("2030-01-01T00:00:00Z");

function defaultCas(...certificates: TestCertificate[]): DefaultCas {
  return {
    id: "debian-1.0-0123456789abcdef",
    reading: {
      ok: true,
      certificates: parsed(...certificates),
      skipped: { brokenBlocks: 0, certificates: [] },
    },
  };
}

interface Case {
  readonly name: string;
  readonly sources: BundleSource[];
  readonly view?: Parameters<typeof sourceView>[0];
  readonly filters?: Partial<PoolFilters>;
  readonly now?: number;
}

function gathered({ sources, view, filters, now = NOW }: Case) {
  return gather(
    bundleRecord({ sources }),
    sourceView(view),
    { expired: false, nonCa: false, ...filters },
    now,
  );
}

Deno.test("certificates of all sources come into one pool, each once, ascending by SHA-256", async (t) => {
  const roots = { configMaps: [configMap("roots", { "1": pemText(ROOT_1), "2": pemText(ROOT_2) })] };
  const table: (Case & { pool: { sha256: string }[] })[] = [
    { name: "inline", sources: [{ inLine: pemText(ROOT_2, ROOT_1) }], pool: [ROOT_1, ROOT_2] },
    {
      name: "one key of a ConfigMap",
      sources: [{ configMap: { name: "roots", key: "2" } }],
      view: roots,
      pool: [ROOT_2],
    },
    {
      name: "a key of binaryData",
      sources: [{ configMap: { name: "roots", key: "bin" } }],
      view: { configMaps: [configMap("roots", {}, { binaryData: { bin: base64(pemText(ROOT_1)) } })] },
      pool: [ROOT_1],
    },
    {
      name: "all keys of a ConfigMap, of data and binaryData",
      sources: [{ configMap: { name: "roots", includeAllKeys: true } }],
      view: {
        configMaps: [
          configMap("roots", { a: pemText(ROOT_2) }, { binaryData: { b: base64(pemText(ROOT_1)) } }),
        ],
      },
      pool: [ROOT_1, ROOT_2],
    },
    {
      name: "one key of a TLS Secret; its private key is not looked at",
      sources: [{ secret: { name: "tls", key: "ca.crt" } }],
      view: {
        secrets: [
          secret("tls", { "ca.crt": pemText(ROOT_1), "tls.key": pemBlock("PRIVATE KEY", "x") }, {
            type: "kubernetes.io/tls",
          }),
        ],
      },
      pool: [ROOT_1],
    },
    {
      name: "all keys of an opaque Secret",
      sources: [{ secret: { name: "roots", includeAllKeys: true } }],
      view: { secrets: [secret("roots", { a: pemText(ROOT_2), b: pemText(ROOT_1) })] },
      pool: [ROOT_1, ROOT_2],
    },
    {
      name: "one key of each selected object",
      sources: [{ configMap: { selector: { matchLabels: { ca: "yes" } }, key: "k" } }],
      view: {
        configMaps: [
          configMap("a", { k: pemText(ROOT_1), other: "no PEM" }, { metadata: { labels: { ca: "yes" } } }),
          configMap("b", { k: pemText(ROOT_2) }, { metadata: { labels: { ca: "no" } } }),
          configMap("c", { k: pemText(LEAF) }, { metadata: { labels: { ca: "yes", x: "y" } } }),
        ],
      },
      pool: [ROOT_1, LEAF],
    },
    {
      name: "an empty selector selects all, by kind",
      sources: [{ secret: { selector: {}, includeAllKeys: true } }],
      view: { ...roots, secrets: [secret("a", { k: pemText(ROOT_1) }), secret("b", { k: pemText(LEAF) })] },
      pool: [ROOT_1, LEAF],
    },
    {
      name: "a name goes before a selector, a key before includeAllKeys",
      sources: [{ configMap: { name: "roots", selector: {}, key: "1", includeAllKeys: true } }],
      view: { configMaps: [...roots.configMaps, configMap("more", { "1": pemText(LEAF) })] },
      pool: [ROOT_1],
    },
    {
      name: "default CAs",
      sources: [{ useDefaultCAs: true }],
      view: { defaultCas: defaultCas(ROOT_2) },
      pool: [ROOT_2],
    },
    {
      name: "default CAs that are not asked for",
      sources: [{ useDefaultCAs: false }, { inLine: pemText(ROOT_1) }],
      view: { defaultCas: defaultCas(ROOT_2) },
      pool: [ROOT_1],
    },
    {
      name: "a selector that matches nothing adds nothing",
      sources: [{ configMap: { selector: { matchLabels: { a: "b" } }, key: "k" } }, {
        inLine: pemText(ROOT_1),
      }],
      view: roots,
      pool: [ROOT_1],
    },
    {
      name: "the same certificate from everywhere",
      sources: [
        { inLine: pemText(ROOT_1, ROOT_2, ROOT_1) },
        { configMap: { name: "roots", includeAllKeys: true } },
        { useDefaultCAs: true },
      ],
      view: { ...roots, defaultCas: defaultCas(ROOT_1, LEAF) },
      pool: [ROOT_1, LEAF, ROOT_2],
    },
    {
      name: "no filter",
      sources: [{ inLine: pemText(EXPIRED, ROOT_2, LEAF, ROOT_1) }],
      pool: [ROOT_1, LEAF, ROOT_2, EXPIRED],
    },
    {
      name: "without expired ones",
      sources: [{ inLine: pemText(EXPIRED, ROOT_2, LEAF, ROOT_1) }],
      filters: { expired: true },
      pool: [ROOT_1, LEAF, ROOT_2],
    },
    {
      name: "at notAfter a certificate is still valid",
      sources: [{ inLine: pemText(ROOT_1, ROOT_2) }],
      filters: { expired: true },
      now: Date.parse(ROOT_2.notAfter),
      pool: [ROOT_1, ROOT_2],
    },
    {
      name: "after notAfter it is not",
      sources: [{ inLine: pemText(ROOT_1, ROOT_2) }],
      filters: { expired: true },
      now: Date.parse(ROOT_2.notAfter) + 1,
      pool: [ROOT_1],
    },
    {
      name: "without those that are no CA",
      sources: [{ inLine: pemText(EXPIRED, ROOT_2, LEAF, ROOT_1) }],
      filters: { nonCa: true },
      pool: [ROOT_1, ROOT_2, EXPIRED],
    },
    {
      name: "with both filters",
      sources: [{ inLine: pemText(EXPIRED, ROOT_2, LEAF, ROOT_1) }],
      filters: { expired: true, nonCa: true },
      pool: [ROOT_1, ROOT_2],
    },
  ];
  for (const { pool, ...row } of table) {
    await t.step(row.name, () => {
      const result = gathered(row);
      assert.ok(result.ok, "message" in result ? result.message : "");
      assert.deepEqual(result.pool.map(({ sha256 }) => sha256), pool.map(({ sha256 }) => sha256));
    });
  }
});

Deno.test("what is wrong with a source is told in the words that users know", async (t) => {
  const notFound = "SourceNotFound";
  const buildError = "SourceBuildError";
  const key = pemText(ROOT_1) + pemBlock("PRIVATE KEY", "x");
  const onlyCertificates =
    "invalid PEM block in bundle: only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'";
  const badSelector = { matchExpressions: [{ key: "a", operator: "Near" }] };
  const badSelectorCause = '"Near" is not a valid label selector operator';
  const tls: Secret = secret("tls", { "tls.crt": pemText(ROOT_1) }, {
    type: "kubernetes.io/tls",
    metadata: { labels: { ca: "yes" } },
  });
  const table: (Case & { reason: string; message: string })[] = [
    {
      name: "ConfigMap missing",
      sources: [{ configMap: { name: "c", key: "k" } }],
      view: { secrets: [secret("c", { k: pemText(ROOT_1) })] },
      reason: notFound,
      message: 'failed to get ConfigMap trust/c: ConfigMap "c" not found',
    },
    {
      name: "Secret missing",
      sources: [{ secret: { name: "s", key: "k" } }],
      view: { configMaps: [configMap("s", { k: pemText(ROOT_1) })] },
      reason: notFound,
      message: 'failed to get Secret trust/s: Secret "s" not found',
    },
    {
      name: "key of a ConfigMap missing",
      sources: [{ configMap: { name: "c", key: "k" } }],
      view: { configMaps: [configMap("c", { other: pemText(ROOT_1) })] },
      reason: notFound,
      message: 'no data found in ConfigMap trust/c at key "k"',
    },
    {
      name: "key of a Secret missing",
      sources: [{ secret: { name: "s", key: "k" } }],
      view: { secrets: [secret("s", { other: pemText(ROOT_1) })] },
      reason: notFound,
      message: 'no data found in Secret trust/s at key "k"',
    },
    {
      name: "a key that is quoted as Go quotes",
      sources: [{ configMap: { name: "c", key: 'a"\u0007<' } }],
      view: { configMaps: [configMap("c", {})] },
      reason: notFound,
      message: String.raw`no data found in ConfigMap trust/c at key "a\"\a<"`,
    },
    {
      name: "key missing in one of several selected objects: the first in name order",
      sources: [{ configMap: { selector: {}, key: "k" } }],
      view: { configMaps: [configMap("c", {}), configMap("b", {}), configMap("a", { k: pemText(ROOT_1) })] },
      reason: notFound,
      message: 'no data found in ConfigMap trust/b at key "k"',
    },
    {
      name: "bad PEM in a ConfigMap",
      sources: [{ configMap: { name: "c", key: "k" } }],
      view: { configMaps: [configMap("c", { k: key })] },
      reason: buildError,
      message: `invalid PEM data in ConfigMap trust/c at key "k": ${onlyCertificates}`,
    },
    {
      name: "bad PEM in a Secret",
      sources: [{ secret: { name: "s", key: "k" } }],
      view: { secrets: [secret("s", { k: pemBlock("CERTIFICATE", "x", "A: b\n\n") })] },
      reason: buildError,
      message: 'invalid PEM data in Secret trust/s at key "k": invalid PEM block in bundle; ' +
        "blocks are not permitted to have PEM headers",
    },
    {
      name: "no certificate in a CERTIFICATE block",
      sources: [{ secret: { name: "s", key: "k" } }],
      view: { secrets: [secret("s", { k: pemBlock("CERTIFICATE", "x") })] },
      reason: buildError,
      message: 'invalid PEM data in Secret trust/s at key "k": invalid PEM block in bundle; ' +
        "invalid PEM certificate: x509: malformed certificate",
    },
    {
      name: "bad PEM in one of all keys",
      sources: [{ configMap: { name: "c", includeAllKeys: true } }],
      view: { configMaps: [configMap("c", { a: pemText(ROOT_1), c: pemBlock("OTHER", "x"), b: key })] },
      reason: buildError,
      message: `invalid PEM data in ConfigMap trust/c at key "b": ${onlyCertificates}`,
    },
    {
      name: "bad inline PEM",
      sources: [{ inLine: key }],
      reason: buildError,
      message: `inline source contains invalid PEM data: ${onlyCertificates}`,
    },
    {
      name: "bad default package",
      sources: [{ useDefaultCAs: true }],
      view: { defaultCas: { id: "i", reading: { ok: false, error: onlyCertificates } } },
      reason: buildError,
      message: `default package contains invalid PEM data: ${onlyCertificates}`,
    },
    {
      name: "bad selector for ConfigMaps",
      sources: [{ configMap: { selector: badSelector, key: "k" } }],
      reason: buildError,
      message:
        `failed to parse label selector as Selector for ConfigMap in namespace trust: ${badSelectorCause}`,
    },
    {
      name: "bad selector for Secrets",
      sources: [{ secret: { selector: badSelector, key: "k" } }],
      reason: buildError,
      message:
        `failed to parse label selector as Selector for Secret in namespace trust: ${badSelectorCause}`,
    },
    {
      name: "no default package",
      sources: [{ useDefaultCAs: true }],
      reason: notFound,
      message: "no default package was specified when trust-manager was started; default CAs not available",
    },
    {
      name: "all keys of a TLS Secret",
      sources: [{ secret: { name: "tls", includeAllKeys: true } }],
      view: { secrets: [tls] },
      reason: buildError,
      message: "includeAllKeys is not supported for TLS Secrets such as trust/tls",
    },
    {
      name: "all keys of selected Secrets, one of them TLS",
      sources: [{ secret: { selector: { matchLabels: { ca: "yes" } }, includeAllKeys: true } }],
      view: { secrets: [tls] },
      reason: buildError,
      message: "includeAllKeys is not supported for TLS Secrets such as trust/tls",
    },
    {
      name: "no source",
      sources: [],
      reason: notFound,
      message: "couldn't find any valid certificates in bundle",
    },
    {
      name: "no key asked for",
      sources: [{ configMap: { name: "c" } }, { configMap: { name: "c", key: "", includeAllKeys: false } }],
      view: { configMaps: [configMap("c", { k: pemText(ROOT_1) })] },
      reason: notFound,
      message: "couldn't find any valid certificates in bundle",
    },
    {
      name: "a value without certificates",
      sources: [{ inLine: "no PEM" }],
      reason: notFound,
      message: "couldn't find any valid certificates in bundle",
    },
    {
      name: "only a selector that matches nothing",
      sources: [{ configMap: { selector: { matchLabels: { a: "b" } }, key: "k" } }],
      reason: notFound,
      message: "couldn't find any valid certificates in bundle",
    },
    {
      name: "all filtered out",
      sources: [{ inLine: pemText(EXPIRED, LEAF) }],
      filters: { expired: true, nonCa: true },
      reason: notFound,
      message: "couldn't find any valid certificates in bundle",
    },
    {
      name: "the first of several errors",
      sources: [{ inLine: pemText(ROOT_1) }, { secret: { name: "s", key: "k" } }, { inLine: key }],
      reason: notFound,
      message: 'failed to get Secret trust/s: Secret "s" not found',
    },
  ];
  for (const { reason, message, ...row } of table) {
    await t.step(row.name, () => {
      const result = gathered(row);
      assert.ok(!result.ok);
      assert.deepEqual({ reason: result.reason, message: result.message }, { reason, message });
    });
  }
});

Deno.test("the default package is told only if it is used", async (t) => {
  const view = { defaultCas: defaultCas(ROOT_2) };
  for (
    const [useDefaultCAs, version] of [[true, "debian-1.0-0123456789abcdef"], [false, undefined]] as const
  ) {
    await t.step(String(useDefaultCAs), () => {
      const result = gathered({ name: "", sources: [{ useDefaultCAs }, { inLine: pemText(ROOT_1) }], view });
      assert.ok(result.ok);
      assert.equal(result.defaultCaVersion, version);
    });
  }
});

Deno.test("what is passed over without an error is noticed", async (t) => {
  const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n";
  const damaged = { looksLike: "has blocks whose base64 or END line is broken", advice: "copy them again" };
  const ecAcc = "88497f01602f3154246ae28c4d5aef10f1d87ebb76626f4ae0b7f95ba7968799";
  const table: (Case & { notices: SourceNotice[] })[] = [
    { name: "nothing", sources: [{ inLine: pemText(ROOT_1) }], notices: [] },
    {
      name: "nothing of a selector that matches",
      sources: [{ configMap: { selector: {}, key: "k" } }],
      view: { configMaps: [configMap("c", { k: pemText(ROOT_1) })] },
      notices: [],
    },
    {
      name: "broken blocks, by place",
      sources: [{ inLine: pemText(ROOT_1) + broken }, { secret: { name: "s", key: "k" } }],
      view: { secrets: [secret("s", { k: pemText(ROOT_1) + broken + broken })] },
      notices: [
        {
          message: "Skipped incomplete or undecodable PEM blocks",
          fields: { source: "inLine", blocks: 1, ...damaged },
          detail:
            "inline source: 1 PEM block is skipped; it has blocks whose base64 or END line is broken: copy them again",
          event: "EmptySource",
        },
        {
          message: "Skipped incomplete or undecodable PEM blocks",
          fields: { source: "Secret trust/s", key: "k", blocks: 2, ...damaged },
          detail: 'Secret trust/s, key "k": 2 PEM blocks are skipped; ' +
            "it has blocks whose base64 or END line is broken: copy them again",
          event: "EmptySource",
        },
      ],
    },
    {
      name: "a certificate that is known to be malformed",
      sources: [{ useDefaultCAs: true }],
      view: {
        defaultCas: {
          id: "i",
          reading: {
            ok: true,
            certificates: parsed(ROOT_1),
            skipped: { brokenBlocks: 0, certificates: [ecAcc] },
          },
        },
      },
      notices: [{
        message: "Skipped a certificate that is known to be malformed",
        fields: { source: "default CAs", sha256: ecAcc },
        detail: `default CAs: skipped a certificate with a negative serial number (SHA-256 ${ecAcc})`,
      }],
    },
    {
      name: "filtered certificates",
      sources: [{ inLine: pemText(EXPIRED, LEAF, ROOT_1) }],
      filters: { expired: true, nonCa: true },
      notices: [
        {
          message: "Ignoring non-CA certificate",
          fields: { subject: LEAF.subject, sha256: LEAF.sha256, source: "inLine" },
          detail: `inline source: ${LEAF.subject} (SHA-256 ${LEAF.sha256}) is not of a CA and is filtered`,
        },
        {
          message: "Ignoring expired certificate",
          fields: { subject: EXPIRED.subject, sha256: EXPIRED.sha256, source: "inLine" },
          detail:
            `inline source: ${EXPIRED.subject} (SHA-256 ${EXPIRED.sha256}) expired on 2020-01-01 and is filtered`,
        },
      ],
    },
    {
      name: "a selector that matches nothing",
      sources: [
        {
          secret: {
            selector: { matchLabels: { b: "1" }, matchExpressions: [{ key: "a", operator: "Exists" }] },
            key: "k",
          },
        },
        { inLine: pemText(ROOT_1) },
      ],
      notices: [{
        message: "Label selector of a source matches nothing",
        fields: { kind: "Secret", namespace: "trust", selector: "a,b=1" },
        detail: 'selector "a,b=1" of Secrets: matches nothing',
      }],
    },
  ];
  for (const { notices, ...row } of table) {
    await t.step(row.name, () => {
      const result = gathered(row);
      assert.ok(result.ok);
      assert.deepEqual(result.notices, notices);
    });
  }
});

Deno.test("a mistake in the program is not taken for a bad source", () => {
  const view = { ...sourceView(), get: () => assert.fail("the store is broken") };
  const bundle = bundleRecord({ sources: [{ configMap: { name: "c", key: "k" } }] });
  assert.throws(() => gather(bundle, view, { expired: false, nonCa: false }, NOW), /the store is broken/);
});

const byLabel = { selector: { matchLabels: { ca: "yes" } }, includeAllKeys: true };

/** The target of a Bundle in the trust namespace, beside which users may keep keys of their own. */
function targetOf(
  bundle: string,
  owned: Record<string, string>,
  others: Record<string, string> = {},
  metadata: Partial<ObjectMeta> = {},
) {
  return configMap(bundle, { ...owned, ...others }, {
    metadata: {
      labels: { [BUNDLE_LABEL]: bundle, ca: "yes" },
      managedFields: [managedFields({ data: Object.keys(owned) })],
      ...metadata,
    },
  });
}

Deno.test("what the operator wrote for a Bundle is no source of it; what others keep in the same object is", async (t) => {
  const target = { configMap: { key: "ca.crt" }, additionalFormats: { jks: { key: "a.jks" } } };
  const sources: BundleSource[] = [{ inLine: pemText(ROOT_1) }, { configMap: byLabel }];
  const own = { "ca.crt": pemText(ROOT_1, ROOT_2) };
  const unlabelled = { labels: { ca: "yes" } };
  const owner = (parts: Partial<OwnerReference> = {}) => ({
    ownerReferences: [{ ...ownerReference({ name: "example", uid: "u" }), ...parts }],
  });
  const edited = {
    managedFields: [managedFields({ manager: "kubectl-edit", operation: "Update", data: ["ca.crt"] })],
  };
  const table: {
    name: string;
    sources?: BundleSource[];
    configMaps: ReturnType<typeof configMap>[];
    pool: TestCertificate[];
    own?: boolean;
  }[] = [
    { name: "by a selector", configMaps: [targetOf("example", own)], pool: [ROOT_1] },
    {
      name: "by name, all keys",
      sources: [{ inLine: pemText(ROOT_1) }, { configMap: { name: "example", includeAllKeys: true } }],
      configMaps: [targetOf("example", own)],
      pool: [ROOT_1],
    },
    {
      name: "by name and key, which admission refuses",
      sources: [{ inLine: pemText(ROOT_1) }, { configMap: { name: "example", key: "ca.crt" } }],
      configMaps: [targetOf("example", own)],
      pool: [ROOT_1],
    },
    {
      name: "a user's key in it is read, by a selector",
      configMaps: [targetOf("example", own, { mine: pemText(LEAF) })],
      pool: [ROOT_1, LEAF],
    },
    {
      name: "a user's key in it is read, by name",
      sources: [{ configMap: { name: "example", key: "mine" } }],
      configMaps: [targetOf("example", own, { mine: pemText(LEAF) })],
      pool: [LEAF],
      own: false,
    },
    {
      name: "a key that the spec does not name any more",
      configMaps: [targetOf("example", { "old.crt": pemText(ROOT_2) })],
      pool: [ROOT_1],
    },
    {
      name: "its key just now edited by somebody else",
      configMaps: [targetOf("example", own, {}, edited)],
      pool: [ROOT_1],
    },
    {
      name: "the label taken away, by which nobody else's it becomes",
      configMaps: [targetOf("example", own, {}, { ...unlabelled, ...owner() })],
      pool: [ROOT_1],
    },
    {
      name: "of a former Bundle of that name",
      configMaps: [targetOf("example", own, {}, owner({ uid: "former" }))],
      pool: [ROOT_1],
    },
    {
      name: "written by update, as old versions of the Go project did",
      configMaps: [
        targetOf("example", { "old.crt": pemText(ROOT_2) }, {}, {
          managedFields: [managedFields({ operation: "Update", data: ["old.crt"] })],
        }),
      ],
      pool: [ROOT_1],
    },
    {
      name: "a user's object of that name, without label and owner",
      configMaps: [targetOf("example", {}, own, unlabelled)],
      pool: [ROOT_1, ROOT_2],
      own: false,
    },
    {
      name: "an owner of that name that is no Bundle",
      configMaps: [
        targetOf("example", own, {}, { ...unlabelled, ...owner({ kind: "Pod", apiVersion: "v1" }) }),
      ],
      pool: [ROOT_1, ROOT_2],
      own: false,
    },
    {
      name: "a copy of it under another name",
      configMaps: [
        configMap("copy", own, {
          metadata: {
            labels: { ca: "yes", [BUNDLE_LABEL]: "example" },
            managedFields: [managedFields({ data: ["ca.crt"] })],
          },
        }),
      ],
      pool: [ROOT_1, ROOT_2],
      own: false,
    },
    {
      name: "the target of another Bundle",
      configMaps: [targetOf("other", own)],
      pool: [ROOT_1, ROOT_2],
      own: false,
    },
  ];
  for (const row of table) {
    await t.step(row.name, () => {
      const view = sourceView({ configMaps: row.configMaps });
      const bundle = bundleRecord({ sources: row.sources ?? sources, target });
      const result = gather(bundle, view, { expired: false, nonCa: false }, NOW);
      assert.ok(result.ok);
      assert.deepEqual(result.pool.map(({ sha256 }) => sha256), row.pool.map(({ sha256 }) => sha256));
      assert.equal(result.notices.some(({ event }) => event === "OwnTargetAsSource"), row.own ?? true);
      assert.equal(result.cycleSize, row.own ?? true ? 1 : 0);
    });
  }
});

Deno.test("a Bundle that reads nothing but its own target has no certificates, and says why", () => {
  const view = { configMaps: [targetOf("example", { "ca.crt": pemText(ROOT_1) })] };
  const result = gathered({ name: "", sources: [{ configMap: byLabel }], view });
  assert.ok(!result.ok);
  assert.equal(
    `${result.message}${result.details}`,
    "couldn't find any valid certificates in bundle: " +
      'selector "ca=yes" of ConfigMaps matches targets of Bundles: example; ' +
      'ConfigMap trust/example, key "ca.crt": is the Bundle\'s own target, which is not read',
  );
});

Deno.test("in a cycle, the sources of the others are read in the place of their targets", async (t) => {
  const reads = (name: string): BundleSource => ({ configMap: { name, key: "ca.crt" } });
  const inLine = (...certificates: TestCertificate[]): BundleSource => ({ inLine: pemText(...certificates) });
  const target = { configMap: { key: "ca.crt" } };
  const stale = pemText(ROOT_1, ROOT_2, LEAF);
  const configMaps = ["a", "b", "c"].map((name) => targetOf(name, { "ca.crt": stale }));
  const run = (specs: Record<string, BundleSource[]>, cycle: string[], of = "a") => {
    const bundles = Object.entries(specs).map(([name, sources]) => bundleRecord({ name, sources, target }));
    const bundle = bundles.find(({ name }) => name === of);
    assert.ok(bundle !== undefined);
    const view = sourceView({ configMaps, bundles, cycle });
    return gather(bundle, view, { expired: false, nonCa: false }, NOW);
  };
  const table: {
    name: string;
    specs: Record<string, BundleSource[]>;
    cycle: string[];
    of?: string;
    pool: TestCertificate[];
  }[] = [
    {
      name: "two, one with a source of its own",
      specs: { a: [inLine(ROOT_1), reads("b")], b: [reads("a")] },
      cycle: ["a", "b"],
      pool: [ROOT_1],
    },
    {
      name: "the other of the two is not emptied",
      specs: { a: [inLine(ROOT_1), reads("b")], b: [reads("a")] },
      cycle: ["a", "b"],
      of: "b",
      pool: [ROOT_1],
    },
    {
      name: "three, each with its own",
      specs: {
        a: [inLine(ROOT_1), reads("b")],
        b: [inLine(LEAF), reads("c")],
        c: [inLine(ROOT_2), reads("a")],
      },
      cycle: ["a", "b", "c"],
      pool: [ROOT_1, LEAF, ROOT_2],
    },
    {
      name: "a member's own target",
      specs: {
        a: [inLine(ROOT_1), reads("b")],
        b: [inLine(LEAF), reads("a"), { configMap: { name: "b", includeAllKeys: true } }],
      },
      cycle: ["a", "b"],
      pool: [ROOT_1, LEAF],
    },
    {
      name: "a Bundle that only reads one of a cycle reads its target",
      specs: { a: [reads("b")], b: [inLine(ROOT_1), reads("c")], c: [reads("b")] },
      cycle: ["b", "c"],
      pool: [ROOT_1, LEAF, ROOT_2],
    },
    {
      name: "a chain",
      specs: { a: [reads("b")], b: [reads("c")], c: [inLine(ROOT_1)] },
      cycle: [],
      pool: [ROOT_1, LEAF, ROOT_2],
    },
  ];
  for (const { name, specs, cycle, of, pool } of table) {
    await t.step(name, () => {
      const result = run(specs, cycle, of);
      assert.ok(result.ok, result.ok ? "" : result.message);
      assert.deepEqual(result.pool.map(({ sha256 }) => sha256), pool.map(({ sha256 }) => sha256));
      const told = result.notices.filter(({ event }) => event === "SourceCycle");
      assert.equal(told.length, cycle.includes(of ?? "a") ? 1 : 0);
      assert.equal(result.cycleSize, cycle.includes(of ?? "a") ? cycle.length : 0);
    });
  }

  await t.step("the way round is told", () => {
    const result = run({ a: [inLine(ROOT_1), reads("b")], b: [reads("a")] }, ["a", "b"], "b");
    const [notice] = result.notices;
    assert.equal(notice?.detail, "Bundles read each other's targets in a cycle (b → a → b)");
  });

  await t.step("what is wrong with a source of another is told of this one, too", () => {
    const specs = { a: [inLine(ROOT_1), reads("b")], b: [reads("missing"), reads("a")] };
    const result = run(specs, ["a", "b"]);
    assert.ok(!result.ok);
    assert.equal(
      result.message,
      'failed to get ConfigMap trust/missing: ConfigMap "missing" not found ' +
        '(a source of Bundle "b", whose target is read in a cycle)',
    );
  });

  await t.step("nobody has a source but the others", () => {
    const result = run({ a: [reads("b")], b: [reads("a")] }, ["a", "b"]);
    assert.ok(!result.ok);
    assert.equal(result.message, "couldn't find any valid certificates in bundle");
    assert.match(result.details, /in a cycle \(a → b → a\)$/);
  });
});

Deno.test("each source that gives nothing, or not all, is told, with what it looks like and what to do", async (t) => {
  const der = parsed(ROOT_1)[0]?.der ?? new Uint8Array();
  const view = {
    configMaps: [
      configMap("c", {
        good: pemText(ROOT_1),
        empty: "",
        glued: `${ROOT_1.pem}${pemText(ROOT_2)}`,
        some: `${pemText(ROOT_2)}${ROOT_1.pem.replaceAll("-----", "–––––")}`,
      }, { binaryData: { der: der.toBase64() } }),
    ],
    defaultCas: {
      id: "i",
      reading: { ok: true, certificates: [], skipped: { brokenBlocks: 0, certificates: [] } },
    } as const,
  };
  const table: [source: BundleSource, details: string[]][] = [
    [{ configMap: { name: "c", key: "good" } }, []],
    [{ configMap: { name: "c", key: "der" } }, [
      'ConfigMap trust/c, key "der": gives no certificate; it looks like DER: convert it with openssl x509 -inform der',
    ]],
    [{ configMap: { name: "c", key: "glued" } }, [
      'ConfigMap trust/c, key "glued": gives no certificate; it has an END and a BEGIN in one line: ' +
      "put a newline between the certificates",
    ]],
    [{ configMap: { name: "c", key: "some" } }, [
      'ConfigMap trust/c, key "some": gives not all that is in it; it has typographic dashes: ' +
      "write five hyphens (-----) before and after BEGIN and END",
    ]],
    [{ configMap: { name: "c", key: "empty" } }, [
      'ConfigMap trust/c, key "empty": gives no certificate; it is empty: fill it, or remove the source',
    ]],
    [{ inLine: btoa(ROOT_1.pem) }, [
      "inline source: gives no certificate; it looks like base64 of PEM: decode it once more with base64 -d",
    ]],
    [{ useDefaultCAs: true }, [
      "default CAs: gives no certificate; it is empty: fill it, or remove the source",
    ]],
  ];
  for (const [source, details] of table) {
    await t.step(JSON.stringify(source).slice(0, 60), () => {
      const result = gathered({ name: "", sources: [{ inLine: pemText(LEAF) }, source], view });
      assert.ok(result.ok);
      assert.deepEqual(result.notices.map(({ detail }) => detail), details);
      assert.deepEqual(result.notices.map(({ event }) => event), details.map(() => "EmptySource"));
      assert.equal(result.emptySources, details.length);
    });
  }
  await t.step("of all keys of another's target, key stores are no sources", () => {
    const configMaps = [targetOf("other", { "ca.crt": pemText(ROOT_1), "a.jks": "store" })];
    const all = gathered({ name: "", sources: [{ configMap: byLabel }], view: { configMaps } });
    assert.deepEqual(all.notices.map(({ event }) => event), ["TargetSelected"]);
    const named = [{ configMap: { name: "other", key: "a.jks" } }, { inLine: pemText(LEAF) }];
    assert.equal(gathered({ name: "", sources: named, view: { configMaps } }).emptySources, 1);
  });
});

Deno.test("a failure says all that is left out, and by which source", async (t) => {
  const whole = (row: Case) => {
    const result = gathered(row);
    assert.ok(!result.ok);
    return `${result.message}${result.details}`;
  };
  await t.step("nothing is left", () => {
    const nothing = whole({
      name: "",
      sources: [
        { inLine: pemText(EXPIRED) },
        { configMap: { name: "c", key: "leaf" } },
        { configMap: { name: "c", key: "bom" } },
        { secret: { selector: { matchLabels: { a: "b" } }, key: "k" } },
      ],
      view: { configMaps: [configMap("c", { leaf: pemText(LEAF), bom: `\ufeff${pemText(ROOT_1)}` })] },
      filters: { expired: true, nonCa: true },
    });
    assert.equal(
      nothing,
      [
        'couldn\'t find any valid certificates in bundle: ConfigMap trust/c, key "bom": gives no certificate',
        "it begins with a byte order mark: save it as UTF-8 without one",
        'selector "a=b" of Secrets: matches nothing',
        `ConfigMap trust/c, key "leaf": ${LEAF.subject} (SHA-256 ${LEAF.sha256}) is not of a CA and is filtered`,
        `inline source: ${EXPIRED.subject} (SHA-256 ${EXPIRED.sha256}) expired on 2020-01-01 and is filtered`,
      ].join("; "),
    );
  });
  await t.step("no sources at all: nothing more to say", () => {
    assert.equal(whole({ name: "", sources: [] }), "couldn't find any valid certificates in bundle");
  });
  await t.step("several errors", () => {
    const several = whole({
      name: "",
      sources: [{ secret: { name: "s", key: "k" } }, { inLine: pemBlock("PRIVATE KEY", "x") }, {
        useDefaultCAs: true,
      }],
    });
    assert.equal(
      several,
      [
        'failed to get Secret trust/s: Secret "s" not found',
        "also inline source contains invalid PEM data: invalid PEM block in bundle: " +
        "only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'",
        "no default package was specified when trust-manager was started; default CAs not available",
      ].join("; "),
    );
  });
  await t.step("the same error of the same source twice", () => {
    const source = { secret: { name: "s", key: "k" } };
    const other = { secret: { name: "t", key: "k" } };
    assert.equal(
      whole({ name: "", sources: [source, other, source, other] }),
      'failed to get Secret trust/s: Secret "s" not found; also failed to get Secret trust/t: Secret "t" not found',
    );
  });
  await t.step("very many are counted", () => {
    const names = Array.from({ length: 1_000 }, (_, i) => `s${i}`);
    const sources = names.map((name) => ({ secret: { name, key: "k".repeat(253) } }));
    const view = { secrets: names.map((name) => secret(name, {})) };
    const many = whole({ name: "", sources, view });
    assert.ok(many.length < 10_000, String(many.length));
    assert.match(many, / \(and \d+ more\)$/);
  });
});
