import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  base64,
  type BundleParts,
  bundleRecord,
  canonicalPem,
  configMap,
  EXPIRED,
  LEAF,
  parsed,
  pemBlock,
  pemText,
  ROOT_1,
  ROOT_2,
  sourceView,
  type TestCertificate,
} from "../tests/builders.ts";
import type { BundleTarget, TargetMetadata } from "./api/bundle.ts";
import type { KeyStoreEncoder } from "./key_stores.ts";
import { targetHash } from "./hash.ts";
import { type Problem, resolve, type ResolveOptions, type TargetContent } from "./resolve.ts";
import { foldStatus } from "./status.ts";

const NOW = Date.parse("2030-01-01T00:00:00Z");

function resolved(parts: Parameters<typeof bundleRecord>[0], options: Partial<ResolveOptions> = {}) {
  return resolve(bundleRecord(parts), {
    view: sourceView(),
    filters: { expired: false, nonCa: false },
    secretTargetsEnabled: true,
    now: NOW,
    ...options,
  });
}

/** The resolution, which must hold no problem. */
function good(...args: Parameters<typeof resolved>) {
  const resolution = resolved(...args);
  assert.ok(resolution.ok, "problem" in resolution ? resolution.problem.message : "");
  return resolution;
}

function contentsOf(...args: Parameters<typeof resolved>): readonly TargetContent[] {
  return good(...args).version.contents;
}

/** What is sent. */
function bodyOf({ body }: TargetContent) {
  return JSON.parse(new TextDecoder().decode(body));
}

/** Stands in for the real encoders: of each key store, a text of the number of certificates. */
const encodeKeyStore: KeyStoreEncoder = (pool, { format }) =>
  new TextEncoder().encode(`${format === "jks" ? "JKS" : "PKCS#12"} of ${pool.length}`);

const metadata: TargetMetadata = {
  annotations: { note: "for all", "trust.cert-manager.io/hash": "not the user's to set" },
  labels: { team: "a", "trust.cert-manager.io/bundle": "not the user's to set" },
};
const additionalFormats = {
  jks: { key: "ca.jks", password: "changeit" },
  pkcs12: { key: "ca.p12", password: "", profile: "Modern2023" },
} as const;

Deno.test("the apply bodies", async (t) => {
  const table: { name: string; target: BundleTarget }[] = [
    { name: "ConfigMap", target: { configMap: { key: "ca.crt" } } },
    { name: "Secret", target: { secret: { key: "ca.crt" } } },
    {
      name: "ConfigMap and Secret, each with metadata of its own",
      target: {
        configMap: { key: "ca.crt", metadata },
        secret: { key: "tls-ca.crt", metadata: { labels: { b: "c" } } },
      },
    },
    {
      name: "ConfigMap and Secret with key stores",
      target: { configMap: { key: "ca.crt" }, secret: { key: "ca.crt" }, additionalFormats },
    },
  ];
  for (const { name, target } of table) {
    await t.step(name, async (t) => {
      const contents = contentsOf({ target }, { encodeKeyStore });
      await t.assertSnapshot(contents.map(bodyOf));
    });
  }
});

Deno.test("content: canonical PEM, its hash, and its keys", () => {
  const sources = [{ inLine: `# a comment\n${pemText(ROOT_2)}` }, { inLine: pemText(LEAF, ROOT_1, ROOT_2) }];
  const [content, more] = contentsOf({ sources });
  assert.ok(content && more === undefined);
  const pem = [ROOT_1.pem, LEAF.pem, ROOT_2.pem].join("\n");
  assert.deepEqual(bodyOf(content).data, { "ca.crt": pem });
  assert.equal(content.kind, "ConfigMap");
  assert.deepEqual(content.keys, ["ca.crt"]);
  assert.equal(content.layout, undefined);
  assert.equal(content.hash, createHash("sha256").update(pem).digest("hex"));
});

Deno.test("content: each kind hashes its own metadata, and both the key stores", () => {
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  const contents = contentsOf({
    target: {
      configMap: { key: "a", metadata: { labels: { l: "1" } } },
      secret: { key: "b", metadata: { annotations: { n: "2" } } },
      additionalFormats,
    },
  }, { encodeKeyStore });
  const before = ROOT_1.pem + "changeit" + "Modern2023";
  assert.deepEqual(contents.map(({ kind, hash, keys }) => ({ kind, hash, keys })), [
    { kind: "ConfigMap", hash: sha256(`${before}l1`), keys: ["a", "ca.jks", "ca.p12"] },
    { kind: "Secret", hash: sha256(`${before}n2`), keys: ["b", "ca.jks", "ca.p12"] },
  ]);
  for (const content of contents) {
    assert.equal(bodyOf(content).metadata.annotations["trust.cert-manager.io/hash"], content.hash);
  }
});

Deno.test("content: one key store alone", () => {
  const target: BundleTarget = { configMap: { key: "k" }, additionalFormats: { jks: additionalFormats.jks } };
  const [content] = contentsOf({ target }, { encodeKeyStore });
  assert.ok(content);
  assert.deepEqual(bodyOf(content).binaryData, { "ca.jks": base64("JKS of 1") });
});

Deno.test("a body names no namespace, so that one serves all", () => {
  const [content] = contentsOf({});
  assert.ok(content);
  assert.ok(!("namespace" in bodyOf(content).metadata));
});

Deno.test("without a target there is nothing to hold, and no problem", async (t) => {
  for (const target of [{}, { namespaceSelector: {} }, { additionalFormats }]) {
    await t.step(JSON.stringify(target), () => assert.deepEqual(contentsOf({ target }), []));
  }
});

Deno.test("problems, in the order in which a pass looks for them", async (t) => {
  const badSelector = { matchLabels: { a: "not valid" } };
  const noSource = [{ configMap: { name: "c", key: "k" } }];
  const problems = {
    notFound: {
      reason: "SourceNotFound",
      message: 'Bundle source was not found: failed to get ConfigMap trust/c: ConfigMap "c" not found',
      retry: false,
    },
    badSource: {
      reason: "SourceBuildError",
      message: "Failed to build bundle sources: inline source contains invalid PEM data: " +
        "invalid PEM block in bundle: only CERTIFICATE blocks are permitted but found 'PRIVATE KEY'",
      retry: true,
    },
    disabled: {
      reason: "SecretTargetsDisabled",
      message: "Bundle has Secret targets but the feature is disabled",
      retry: false,
    },
    selector: {
      reason: "NamespaceSelectorError",
      message: "Failed to build namespace match labels selector: " +
        'values[0][a]: Invalid value: "not valid": a valid label must be an empty string or consist of ' +
        "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character " +
        "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
        "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
      retry: false,
    },
  };
  const table: {
    name: string;
    parts: Parameters<typeof bundleRecord>[0];
    secretTargetsEnabled?: boolean;
    problem: Problem | undefined;
  }[] = [
    { name: "source missing", parts: { sources: noSource }, problem: problems.notFound },
    {
      name: "bad source",
      parts: { sources: [{ inLine: pemBlock("PRIVATE KEY", "x") }] },
      problem: problems.badSource,
    },
    {
      name: "Secret targets, though they are off",
      parts: { target: { secret: { key: "k" } } },
      secretTargetsEnabled: false,
      problem: problems.disabled,
    },
    {
      name: "Secret targets beside ConfigMap targets, though they are off",
      parts: { target: { configMap: { key: "k" }, secret: { key: "k" } } },
      secretTargetsEnabled: false,
      problem: problems.disabled,
    },
    {
      name: "only ConfigMap targets, while Secret targets are off",
      parts: { target: { configMap: { key: "k" } } },
      secretTargetsEnabled: false,
      problem: undefined,
    },
    {
      name: "bad selector",
      parts: { target: { configMap: { key: "k" }, namespaceSelector: badSelector } },
      problem: problems.selector,
    },
    {
      name: "all of them: sources first",
      parts: { sources: noSource, target: { secret: { key: "k" }, namespaceSelector: badSelector } },
      secretTargetsEnabled: false,
      problem: problems.notFound,
    },
    {
      name: "Secret targets before the selector",
      parts: { target: { secret: { key: "k" }, namespaceSelector: badSelector } },
      secretTargetsEnabled: false,
      problem: problems.disabled,
    },
  ];
  for (const { name, parts, secretTargetsEnabled = true, problem } of table) {
    await t.step(name, () => {
      const resolution = resolved(parts, { secretTargetsEnabled });
      assert.deepEqual(resolution.ok ? undefined : resolution.problem, problem);
    });
  }
});

Deno.test("the namespace selector: absent or empty means every namespace", async (t) => {
  const configMap = { key: "k" };
  const table: { name: string; target: BundleTarget; text: string; selects: (string | undefined)[] }[] = [
    { name: "absent", target: { configMap }, text: "", selects: ["x", "y", undefined] },
    { name: "empty", target: { configMap, namespaceSelector: {} }, text: "", selects: ["x", "y", undefined] },
    {
      name: "given",
      target: { configMap, namespaceSelector: { matchLabels: { a: "x" } } },
      text: "a=x",
      selects: ["x"],
    },
  ];
  for (const { name, target, text, selects } of table) {
    await t.step(name, () => {
      const { selector } = good({ target });
      assert.equal(String(selector), text);
      const values = ["x", "y", undefined].filter((a) => selector.matches(a === undefined ? {} : { a }));
      assert.deepEqual(values, selects);
    });
  }
});

Deno.test("a target may hold as much as the API server takes, and not one byte more", async (t) => {
  const limit = 1024 * 1024;
  const target: BundleTarget = {
    configMap: { key: "ca.crt" },
    additionalFormats: { jks: { key: "ca.jks" } },
  };
  const store = (bytes: number): Partial<ResolveOptions> => ({
    encodeKeyStore: () => new Uint8Array(bytes),
  });
  await t.step("as much", () => {
    assert.equal(contentsOf({ target }, store(limit - ROOT_1.pem.length)).length, 1);
  });
  await t.step("more", () => {
    const bytes = limit - ROOT_1.pem.length + 1;
    assertFrozen(
      { target },
      store(bytes),
      `the target would hold 1048577 bytes (ca.crt: ${ROOT_1.pem.length}, ca.jks: ${bytes}), more than the 1048576 that the API ` +
        "server allows; remove sources or formats, or split the Bundle",
    );
  });
});

/** Nothing is written to targets of a Bundle with only a ConfigMap, which stay as they are, and the condition says why. */
function assertFrozen(
  bundle: Parameters<typeof resolved>[0],
  options: Partial<ResolveOptions>,
  cause: string,
): void {
  const resolution = resolved(bundle, options);
  assert.ok(resolution.ok);
  const [content, ...others] = resolution.version.contents;
  assert.deepEqual([content?.kind, content?.frozen, others.length], ["ConfigMap", true, 0]);
  assert.equal(content?.body.length, 0);
  const { status, reason, message, note } = foldStatus(resolution, [], false, undefined);
  assert.deepEqual({ status, reason, message, note }, {
    status: "False",
    reason: "SyncConfigMapTargetFailed",
    message: `Failed to sync bundle ConfigMap to any namespace: ${cause}`,
    note: message,
  });
}

Deno.test("what the API server would take in no target is not sent, and does not hold back the other kind", () => {
  const target = { configMap: { key: "certs/ca.pem" }, secret: { key: "ca.pem" } };
  const cause =
    "spec.target.configMap.key: is no key that ConfigMaps and Secrets can have: use only letters, digits, " +
    "'-', '_' and '.'";
  assertFrozen({ target: { configMap: target.configMap } }, {}, cause);
  const resolution = resolved({ target }, { secretTargetsEnabled: true });
  assert.ok(resolution.ok);
  const [configMap, secret] = resolution.version.contents;
  assert.deepEqual([configMap?.frozen, configMap?.shortfall], [true, cause]);
  assert.deepEqual([secret?.frozen, secret?.shortfall, secret?.keys], [undefined, undefined, ["ca.pem"]]);
  assert.equal(foldStatus(resolution, [], false, undefined).reason, "SyncConfigMapTargetFailed");
});

Deno.test("a key store that cannot be in the target is left out, and all else is written", async (t) => {
  const jks = "spec.target.additionalFormats.jks";
  const table: {
    name: string;
    target: BundleTarget;
    encode?: KeyStoreEncoder;
    keys: string;
    cause: string;
  }[] = [
    {
      name: "its key is none",
      target: {
        configMap: { key: "ca.crt" },
        additionalFormats: { jks: { key: "a/b" }, pkcs12: { key: "p" } },
      },
      keys: "ca.crt/p",
      cause:
        `${jks}.key: is no key that ConfigMaps and Secrets can have: use only letters, digits, '-', '_' and '.'`,
    },
    {
      name: "its key is that of the PEM",
      target: { configMap: { key: "k" }, additionalFormats: { jks: { key: "k" }, pkcs12: { key: "p" } } },
      keys: "k/p",
      cause: `${jks}.key: is the key of another output`,
    },
    {
      name: "it cannot be encoded",
      target: { configMap: { key: "k" }, additionalFormats: { jks: { key: "j" }, pkcs12: { key: "p" } } },
      encode: (pool, options) => {
        if (options.format === "jks") throw new Error("a mistake in the program");
        return encodeKeyStore(pool, options);
      },
      keys: "k/p",
      cause: `${jks}: failed to encode: a mistake in the program`,
    },
  ];
  for (const { name, target, encode = encodeKeyStore, keys, cause } of table) {
    await t.step(name, () => {
      const resolution = resolved({ target }, { encodeKeyStore: encode });
      assert.ok(resolution.ok);
      const [content] = resolution.version.contents;
      assert.ok(content !== undefined);
      const { data, binaryData } = bodyOf(content);
      assert.deepEqual([content.keys.toSorted().join("/"), content.frozen], [keys, undefined]);
      assert.equal(Object.values(data).join(), canonicalPem(ROOT_1));
      assert.deepEqual(Object.keys(binaryData), ["p"]);
      // The hash is that of the Go project: of what is asked for.
      assert.equal(
        content.hash,
        targetHash(canonicalPem(ROOT_1), target.additionalFormats, undefined),
      );
      const { status, reason, message } = foldStatus(resolution, [], false, undefined);
      assert.deepEqual({ status, reason, message }, {
        status: "False",
        reason: "SyncConfigMapTargetFailed",
        message: `Failed to sync bundle ConfigMap to any namespace in full: ${cause} (left out)`,
      });
    });
  }
  await t.step("no encoder: a mistake in the program", () => {
    assert.throws(() => resolved({ target: { configMap: { key: "k" }, additionalFormats } }), TypeError);
  });
});

Deno.test("certificates that Java cannot read stay in, and are told once, if there are key stores", () => {
  const inLine = Deno.readTextFileSync(new URL("certs/testdata/empty_subject.pem", import.meta.url));
  const sources = [{ inLine: inLine + pemText(ROOT_1) }];
  const target = { configMap: { key: "k" }, additionalFormats };
  const { version, notices, ...rest } = good({ sources, target }, { encodeKeyStore });
  assert.equal(version.pool.length, 2);
  assert.deepEqual(notices.map(({ message, fields }) => [message, fields.cause]), [
    ["Java cannot read this certificate, nor any key store that holds it", "it has no issuer"],
  ]);
  const previous = { bundle: bundleRecord({ sources, target }), resolution: { ...rest, version, notices } };
  assert.deepEqual(good({ sources, target }, { encodeKeyStore, previous }).notices, []);
  assert.deepEqual(good({ sources }).notices, []);
});

Deno.test("key stores are encoded of the pool, once for both kinds, and anew only if something they hold has changed", async (t) => {
  let asked: unknown[] = [];
  const encode: KeyStoreEncoder = (pool, options) => {
    asked.push([pool.map(({ sha256 }) => sha256), options]);
    return encodeKeyStore(pool, options);
  };
  const jks = { key: "ca.jks", password: "secret" };
  const pkcs12 = { key: "ca.p12", password: "", profile: "LegacyDES" } as const;
  const pool = [ROOT_1.sha256];
  const both = { configMap: { key: "k" }, secret: { key: "k" } };
  const madeJks = [pool, { format: "jks", password: "secret" }];
  const madePkcs12 = [pool, { format: "pkcs12", password: "", profile: "LegacyDES" }];
  const rows: [what: string, parts: BundleParts, made: unknown[]][] = [
    ["all", { target: { ...both, additionalFormats: { jks, pkcs12 } } }, [madeJks, madePkcs12]],
    ["another data key", {
      target: { ...both, additionalFormats: { jks: { ...jks, key: "other" }, pkcs12 } },
    }, []],
    ["other labels", {
      target: {
        configMap: { key: "k", metadata: { labels: { a: "b" } } },
        additionalFormats: { jks, pkcs12 },
      },
    }, []],
    ["another password", {
      target: { ...both, additionalFormats: { jks: { ...jks, password: "x" }, pkcs12 } },
    }, [
      [pool, { format: "jks", password: "x" }],
    ]],
    ["no profile", { target: { ...both, additionalFormats: { pkcs12: { key: "ca.p12" } } } }, [
      [pool, { format: "pkcs12", password: "" }],
    ]],
    ["another pool", {
      sources: [{ inLine: pemText(ROOT_2) }],
      target: { ...both, additionalFormats: { jks } },
    }, [[[ROOT_2.sha256], { format: "jks", password: "secret" }]]],
  ];
  const first = bundleRecord({ target: { ...both, additionalFormats: { jks, pkcs12 } } });
  const options = {
    view: sourceView({}),
    filters: { expired: false, nonCa: false },
    secretTargetsEnabled: true,
    now: 0,
  };
  const resolution = resolve(first, { ...options, encodeKeyStore: encode });
  assert.deepEqual(asked, rows[0]?.[2]);
  for (const [what, parts, made] of rows.slice(1)) {
    await t.step(what, () => {
      asked = [];
      const changed = bundleRecord({ metadata: { generation: 2 }, ...parts });
      assert.ok(
        resolve(changed, { ...options, encodeKeyStore: encode, previous: { bundle: first, resolution } }).ok,
      );
      assert.deepEqual(asked, made);
    });
  }
});

Deno.test("the earliest expiry is that of the pool after its filters", () => {
  const { version } = good(
    { sources: [{ inLine: pemText(ROOT_1, EXPIRED, ROOT_2) }] },
    { filters: { expired: true, nonCa: false } },
  );
  assert.equal(version.earliestExpiry, Date.parse(ROOT_2.notAfter));
});

Deno.test("what was noticed, and the default package, are handed on", () => {
  const defaultCas = {
    id: "debian-1-ab",
    reading: { ok: true, certificates: parsed(ROOT_2), skipped: { brokenBlocks: 1, certificates: [] } },
  } as const;
  const resolution = good({ sources: [{ useDefaultCAs: true }] }, { view: sourceView({ defaultCas }) });
  assert.equal(resolution.defaultCaVersion, "debian-1-ab");
  assert.equal(resolution.notices.length, 1);
  assert.deepEqual(resolution.version.pool.map(({ sha256 }) => sha256), [ROOT_2.sha256]);
});

Deno.test("a version is kept while neither the Bundle nor its pool has changed", async (t) => {
  const view = (...certificates: TestCertificate[]) =>
    sourceView({ configMaps: [configMap("roots", { k: pemText(...certificates) })] });
  const sources = [{ configMap: { name: "roots", key: "k" } }];
  const parts = { sources, metadata: { uid: "u", generation: 1 } };
  const bundle = bundleRecord(parts);
  const before = good(parts, { view: view(ROOT_1, ROOT_2) });
  const previous = { bundle, resolution: before };
  const table: {
    name: string;
    metadata?: { uid?: string; generation?: number; resourceVersion?: string };
    view?: ResolveOptions["view"];
    kept: boolean;
  }[] = [
    { name: "nothing", kept: true },
    { name: "status or labels of the Bundle", metadata: { resourceVersion: "99" }, kept: true },
    { name: "order of the certificates", view: view(ROOT_2, ROOT_1), kept: true },
    { name: "spec", metadata: { generation: 2 }, kept: false },
    { name: "the Bundle was made anew", metadata: { uid: "v" }, kept: false },
    { name: "a certificate more", view: view(ROOT_1, ROOT_2, LEAF), kept: false },
    { name: "a certificate less", view: view(ROOT_1), kept: false },
    { name: "another certificate", view: view(ROOT_1, LEAF), kept: false },
  ];
  for (const { name, metadata, view: now = view(ROOT_1, ROOT_2), kept } of table) {
    await t.step(name, () => {
      const after = good({ sources, metadata: { ...parts.metadata, ...metadata } }, { view: now, previous });
      assert.equal(after.version === before.version, kept);
    });
  }
  await t.step("the last pass found a problem", () => {
    const problem = resolved(parts); // no such ConfigMap
    assert.equal(problem.ok, false);
    const after = good(parts, { view: view(ROOT_1), previous: { bundle, resolution: problem } });
    assert.equal(after.version.pool.length, 1);
  });
});
