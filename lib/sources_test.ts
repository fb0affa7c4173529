import assert from "node:assert/strict";
import {
  base64,
  bundleRecord,
  configMap,
  EXPIRED,
  LEAF,
  parsed,
  pemBlock,
  pemText,
  ROOT_1,
  ROOT_2,
  secret,
  sourceView,
  type TestCertificate,
} from "../tests/builders.ts";
import type { BundleSource } from "./api/bundle.ts";
import type { Secret } from "./kube/objects.ts";
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
    await t.step(row.name, () => assert.deepEqual(gathered(row), { ok: false, reason, message }));
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
        { message: "Skipped incomplete or undecodable PEM blocks", fields: { source: "inLine", blocks: 1 } },
        {
          message: "Skipped incomplete or undecodable PEM blocks",
          fields: { source: "Secret trust/s", key: "k", blocks: 2 },
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
      }],
    },
    {
      name: "filtered certificates",
      sources: [{ inLine: pemText(EXPIRED, LEAF, ROOT_1) }],
      filters: { expired: true, nonCa: true },
      notices: [
        { message: "Ignoring non-CA certificate", fields: { subject: LEAF.subject, sha256: LEAF.sha256 } },
        {
          message: "Ignoring expired certificate",
          fields: { subject: EXPIRED.subject, sha256: EXPIRED.sha256 },
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
