import assert from "node:assert/strict";
import { bundle, bundleRecord, pemBlock, pemText, ROOT_1, ROOT_2 } from "../../tests/builders.ts";
import type { BundleSource } from "../api/bundle.ts";
import type { Condition } from "../kube/objects.ts";
import { readBundle, type SourceReference } from "./bundle_record.ts";

Deno.test("each kind of source is kept as what it asks for", async (t) => {
  const object = { name: "roots", key: "ca.crt" };
  const selector = { selector: { matchLabels: { a: "b" } }, includeAllKeys: true };
  const table: { name: string; source: BundleSource; kept: SourceReference[] }[] = [
    { name: "ConfigMap", source: { configMap: object }, kept: [{ type: "ConfigMap", object }] },
    { name: "Secret", source: { secret: selector }, kept: [{ type: "Secret", object: selector }] },
    { name: "default CAs", source: { useDefaultCAs: true }, kept: [{ type: "defaultCAs" }] },
    { name: "default CAs: false", source: { useDefaultCAs: false }, kept: [] },
    { name: "nothing", source: {}, kept: [] },
  ];
  for (const { name, source, kept } of table) {
    await t.step(name, () => assert.deepEqual(bundleRecord({ sources: [source] }).sources, kept));
  }
});

Deno.test("inline text is kept only as what reading it came to", () => {
  const { sources } = bundleRecord({
    sources: [{ inLine: `a comment\n${pemText(ROOT_1)}` }, { inLine: pemBlock("PRIVATE KEY", "a key") }],
  });
  const [good, bad] = sources;
  assert.ok(good?.type === "inLine" && good.reading.ok);
  assert.deepEqual(good.reading.certificates.map(({ sha256 }) => sha256), [ROOT_1.sha256]);
  assert.ok(bad?.type === "inLine" && !bad.reading.ok);
  const kept = JSON.stringify(sources);
  assert.ok(!kept.includes("a comment") && !kept.includes("BEGIN") && !kept.includes(btoa("a key")));
});

Deno.test("sources stay in order", () => {
  const record = bundleRecord({
    sources: [{ useDefaultCAs: true }, { configMap: { name: "b" } }, { inLine: pemText(ROOT_2) }, {
      configMap: { name: "a" },
    }],
  });
  assert.deepEqual(record.sources.map(({ type }) => type), [
    "defaultCAs",
    "ConfigMap",
    "inLine",
    "ConfigMap",
  ]);
});

Deno.test("identity, target and status are kept", () => {
  const condition = (type: string): Condition => ({
    type,
    status: "True",
    reason: "Synced",
    message: "m",
    observedGeneration: 3,
    lastTransitionTime: "2030-01-01T00:00:00Z",
  });
  const target = { secret: { key: "ca.crt" }, namespaceSelector: { matchLabels: { a: "b" } } };
  const { sources: _, ...record } = bundleRecord({
    name: "b",
    target,
    metadata: { uid: "u", generation: 4, resourceVersion: "9" },
    status: { conditions: [condition("Other"), condition("Synced")], defaultCAVersion: "debian-1-ab" },
  });
  assert.deepEqual(record, {
    name: "b",
    uid: "u",
    generation: 4,
    resourceVersion: "9",
    deleting: false,
    target,
    refusal: undefined,
    condition: condition("Synced"),
    defaultCaVersion: "debian-1-ab",
  });
});

Deno.test("why admission would refuse it is kept, in one line", () => {
  const record = bundleRecord({ sources: [{ useDefaultCAs: true }, { useDefaultCAs: true }] });
  assert.equal(
    record.refusal,
    "spec.sources: Forbidden: must request default CAs either once or not at all but got 2 requests",
  );
});

Deno.test("a Bundle without target or status, and one that is being deleted", () => {
  const { spec: { sources }, ...rest } = bundle();
  const record = readBundle({ ...rest, spec: { sources } });
  assert.deepEqual([record.target, record.condition, record.defaultCaVersion], [{}, undefined, undefined]);
  assert.equal(bundleRecord({ metadata: { deletionTimestamp: "2030-01-01T00:00:00Z" } }).deleting, true);
});

Deno.test("of an item with several fields, which older CRDs let through, that counts which the Go project takes", async (t) => {
  const pem = pemText(ROOT_1);
  const table: [string, BundleSource, string[]][] = [
    ["an empty inLine beside default CAs", { inLine: "", useDefaultCAs: true }, ["defaultCAs"]],
    ["an empty inLine beside no default CAs", { inLine: "", useDefaultCAs: false }, []],
    ["inLine beside default CAs", { inLine: pem, useDefaultCAs: true }, ["inLine"]],
    ["an empty inLine alone, so that it can be told", { inLine: "" }, ["inLine"]],
    ["a ConfigMap beside all others", {
      configMap: {},
      secret: { name: "s", key: "k" },
      inLine: pem,
      useDefaultCAs: true,
    }, ["ConfigMap"]],
    ["a Secret beside default CAs", { secret: {}, inLine: "", useDefaultCAs: true }, ["Secret"]],
    ["nothing", {}, []],
  ];
  for (const [name, source, types] of table) {
    await t.step(name, () => {
      const record = bundleRecord({ sources: [source] });
      assert.deepEqual(record.sources.map(({ type }) => type), types);
      // More than one is told by an event, unless only one of them says something.
      const count = [source.configMap, source.secret, source.inLine || undefined, source.useDefaultCAs]
        .filter((field) => field !== undefined).length;
      assert.equal(/exactly one source type/.test(record.refusal ?? ""), count !== 1);
    });
  }
});
