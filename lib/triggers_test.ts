import assert from "node:assert/strict";
import {
  bundleRecord,
  configMap,
  managedFields,
  pemText,
  ROOT_1,
  ROOT_2,
  secret,
} from "../tests/builders.ts";
import { BUNDLE_LABEL, type BundleSource, type TargetKind } from "./api/bundle.ts";
import { readConfigMapSource, readSecretSource, type SourceRecord } from "./records/source_record.ts";
import { bundlesOfTarget, changesBundle, concernsSource } from "./triggers.ts";

function source(name: string, labels: Record<string, string> = {}): SourceRecord {
  return readConfigMapSource(configMap(name, {}, { metadata: { labels } }));
}

Deno.test("a changed source concerns the Bundles that name it, or that select what it was or is", async (t) => {
  const byLabel = { selector: { matchLabels: { ca: "yes" } }, key: "k" };
  const table: {
    name: string;
    sources: BundleSource[];
    kind?: TargetKind;
    before?: SourceRecord;
    after?: SourceRecord;
    concerned: boolean;
  }[] = [
    { name: "named, new", sources: [{ configMap: { name: "a" } }], after: source("a"), concerned: true },
    { name: "named, gone", sources: [{ configMap: { name: "a" } }], before: source("a"), concerned: true },
    { name: "another name", sources: [{ configMap: { name: "a" } }], after: source("b"), concerned: false },
    { name: "another kind", sources: [{ secret: { name: "a" } }], after: source("a"), concerned: false },
    {
      name: "a Secret",
      kind: "Secret",
      sources: [{ secret: { name: "a" } }],
      after: readSecretSource(secret("a", {})),
      concerned: true,
    },
    {
      name: "any of several sources",
      sources: [{ inLine: pemText(ROOT_1) }, { useDefaultCAs: true }, { configMap: { name: "b" } }, {
        configMap: { name: "a" },
      }],
      after: source("a"),
      concerned: true,
    },
    { name: "no object source", sources: [{ useDefaultCAs: true }], after: source("a"), concerned: false },
    {
      name: "selected now",
      sources: [{ configMap: byLabel }],
      before: source("a"),
      after: source("a", { ca: "yes" }),
      concerned: true,
    },
    {
      name: "selected before",
      sources: [{ configMap: byLabel }],
      before: source("a", { ca: "yes" }),
      after: source("a"),
      concerned: true,
    },
    {
      name: "selected and gone",
      sources: [{ configMap: byLabel }],
      before: source("a", { ca: "yes" }),
      concerned: true,
    },
    {
      name: "not selected, before or now",
      sources: [{ configMap: byLabel }],
      before: source("a", { ca: "no" }),
      after: source("a", { ca: "other" }),
      concerned: false,
    },
    {
      name: "an empty selector selects all",
      sources: [{ configMap: { selector: {}, key: "k" } }],
      after: source("a"),
      concerned: true,
    },
    {
      name: "an empty name is none, so the selector counts",
      sources: [{ configMap: { ...byLabel, name: "" } }],
      after: source("a", { ca: "yes" }),
      concerned: true,
    },
    {
      name: "a selector that cannot be parsed selects nothing, and hides no other source",
      sources: [
        { configMap: { selector: { matchExpressions: [{ key: "a", operator: "Near" }] }, key: "k" } },
        { configMap: { name: "a" } },
      ],
      after: source("a"),
      concerned: true,
    },
    {
      name: "a selector that cannot be parsed, alone",
      sources: [{
        configMap: { selector: { matchExpressions: [{ key: "a", operator: "Near" }] }, key: "k" },
      }],
      after: source("a"),
      concerned: false,
    },
  ];
  for (const { name, sources, kind = "ConfigMap", before, after, concerned } of table) {
    await t.step(name, () => {
      const change = { key: "a", ...(before && { before }), ...(after && { after }) };
      assert.equal(concernsSource(bundleRecord({ sources }), kind, change), concerned);
    });
  }
});

Deno.test("what the operator writes for a Bundle does not concern that Bundle, unless something else changed too", async (t) => {
  const target = (data: Record<string, string>, owned: string[], labels: Record<string, string> = {}) =>
    readConfigMapSource(configMap("example", data, {
      metadata: {
        resourceVersion: JSON.stringify([data, owned, labels]),
        labels: { ca: "yes", [BUNDLE_LABEL]: "example", ...labels },
        managedFields: [managedFields({ data: owned })],
      },
    }));
  const before = target({ "ca.crt": pemText(ROOT_1), mine: "x" }, ["ca.crt"]);
  const table: { name: string; before?: SourceRecord; after?: SourceRecord; concerned: boolean }[] = [
    {
      name: "its own key",
      before,
      after: target({ "ca.crt": pemText(ROOT_2), mine: "x" }, ["ca.crt"]),
      concerned: false,
    },
    {
      name: "its own key, edited by somebody else",
      before,
      after: target({ "ca.crt": pemText(ROOT_2), mine: "x" }, []),
      concerned: false,
    },
    {
      name: "a user's key",
      before,
      after: target({ "ca.crt": pemText(ROOT_1), mine: pemText(ROOT_2) }, ["ca.crt"]),
      concerned: true,
    },
    {
      name: "a user's key that becomes ours",
      before,
      after: target({ "ca.crt": pemText(ROOT_1), mine: "x" }, ["ca.crt", "mine"]),
      concerned: true,
    },
    {
      name: "a key more",
      before,
      after: target({ "ca.crt": pemText(ROOT_1), mine: "x", b: "y" }, ["ca.crt"]),
      concerned: true,
    },
    {
      name: "a label",
      before,
      after: target({ "ca.crt": pemText(ROOT_1), mine: "x" }, ["ca.crt"], { a: "b" }),
      concerned: true,
    },
    { name: "new", after: before, concerned: true },
    { name: "gone", before, concerned: true },
  ];
  const sources: BundleSource[] = [{
    configMap: { selector: { matchLabels: { ca: "yes" } }, includeAllKeys: true },
  }];
  for (const { name, before, after, concerned } of table) {
    await t.step(name, () => {
      const change = { key: "example", ...(before && { before }), ...(after && { after }) };
      assert.equal(concernsSource(bundleRecord({ sources }), "ConfigMap", change), concerned);
      // Other Bundles that read it are concerned by each change.
      assert.equal(concernsSource(bundleRecord({ name: "other", sources }), "ConfigMap", change), true);
    });
  }
});

Deno.test("a Bundle is resolved anew when it is new, gone, another one, being deleted, or its spec changes", async (t) => {
  const before = bundleRecord();
  const at = (metadata: Parameters<typeof bundleRecord>[0]) => bundleRecord(metadata);
  const table: { name: string; change: Parameters<typeof changesBundle>[0]; changes: boolean }[] = [
    { name: "new", change: { key: "example", after: before }, changes: true },
    { name: "gone", change: { key: "example", before }, changes: true },
    {
      name: "spec",
      change: { key: "example", before, after: at({ metadata: { generation: 2 } }) },
      changes: true,
    },
    {
      name: "made anew, with the same generation",
      change: { key: "example", before, after: at({ metadata: { uid: "other" } }) },
      changes: true,
    },
    {
      name: "being deleted",
      change: {
        key: "example",
        before,
        after: at({ metadata: { deletionTimestamp: "2030-01-01T00:00:00Z" } }),
      },
      changes: true,
    },
    {
      name: "status alone",
      change: {
        key: "example",
        before,
        after: at({ metadata: { resourceVersion: "2" }, status: { defaultCAVersion: "x" } }),
      },
      changes: false,
    },
    {
      name: "labels alone",
      change: {
        key: "example",
        before,
        after: at({ metadata: { resourceVersion: "2", labels: { a: "b" } } }),
      },
      changes: false,
    },
  ];
  for (const { name, change, changes } of table) {
    await t.step(name, () => assert.equal(changesBundle(change), changes));
  }
});

Deno.test("an object with our label concerns the Bundles it names or named, and the one of its name", async (t) => {
  const table: { name: string; change: Parameters<typeof bundlesOfTarget>[0]; names: string[] }[] = [
    { name: "new", change: { after: { name: "a", bundle: "a" } }, names: ["a"] },
    { name: "gone", change: { before: { name: "a", bundle: "a" } }, names: ["a"] },
    { name: "of another name", change: { after: { name: "a", bundle: "b" } }, names: ["a", "b"] },
    {
      name: "label changed",
      change: { before: { name: "a", bundle: "b" }, after: { name: "a", bundle: "c" } },
      names: ["a", "b", "c"],
    },
    { name: "label empty", change: { after: { name: "a", bundle: undefined } }, names: ["a"] },
  ];
  for (const { name, change, names } of table) {
    await t.step(name, () => assert.deepEqual([...bundlesOfTarget(change)].sort(), names));
  }
});
