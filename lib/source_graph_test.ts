import assert from "node:assert/strict";
import { bundleRecord, configMap, managedFields, pemText, ROOT_1, secret } from "../tests/builders.ts";
import { BUNDLE_LABEL, type BundleSource, type TargetKind } from "./api/bundle.ts";
import type { BundleRecord } from "./records/bundle_record.ts";
import { readConfigMapSource, readSecretSource, type SourceRecord } from "./records/source_record.ts";
import { SourceGraph } from "./source_graph.ts";

const reads = (name: string, key = "ca.crt"): BundleSource => ({ configMap: { name, key } });
const bundle = (name: string, ...sources: BundleSource[]) => bundleRecord({ name, sources });

function target(name: string, owned: string[] = ["ca.crt"], data: Record<string, string> = {}): SourceRecord {
  return readConfigMapSource(configMap(name, { "ca.crt": pemText(ROOT_1), ...data }, {
    metadata: {
      labels: { [BUNDLE_LABEL]: name, ca: "yes" },
      managedFields: [managedFields({ data: owned })],
    },
  }));
}

/** A graph of these Bundles, each of which has a target in the trust namespace. */
function graphOf(...bundles: BundleRecord[]): SourceGraph {
  const graph = new SourceGraph();
  for (const { name } of bundles) graph.putObject("ConfigMap", name, target(name), []);
  for (const bundle of bundles) graph.putBundle(bundle);
  graph.update();
  return graph;
}

function paths(graph: SourceGraph, ...names: string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, graph.cycle(name)?.path.join(" ") ?? ""]));
}

Deno.test("cycles are found, however long, and nothing else is one", async (t) => {
  const all: BundleSource = { configMap: { selector: { matchLabels: { ca: "yes" } }, includeAllKeys: true } };
  const table: { name: string; bundles: BundleRecord[]; paths: Record<string, string> }[] = [
    { name: "no Bundle", bundles: [], paths: { a: "" } },
    {
      name: "a chain",
      bundles: [bundle("a", reads("b")), bundle("b", reads("c")), bundle("c")],
      paths: { a: "", b: "", c: "" },
    },
    { name: "itself", bundles: [bundle("a", reads("a"), all)], paths: { a: "" } },
    {
      name: "two",
      bundles: [bundle("a", reads("b")), bundle("b", reads("a"))],
      paths: { a: "a b", b: "b a" },
    },
    {
      name: "three, and two that read from there, or are read",
      bundles: [
        bundle("a", reads("b")),
        bundle("b", reads("c")),
        bundle("c", reads("a"), reads("e")),
        bundle("d", reads("a")),
        bundle("e"),
      ],
      paths: { a: "a b c", b: "b c a", c: "c a b", d: "", e: "" },
    },
    {
      name: "two that have one Bundle in common",
      bundles: [bundle("a", reads("b")), bundle("b", reads("a"), reads("c")), bundle("c", reads("b"))],
      paths: { a: "a b", b: "b a", c: "c b" },
    },
    {
      name: "two apart",
      bundles: [
        bundle("a", reads("b")),
        bundle("b", reads("a")),
        bundle("c", reads("d")),
        bundle("d", reads("c")),
      ],
      paths: { a: "a b", b: "b a", c: "c d", d: "d c" },
    },
    {
      name: "by selectors",
      bundles: [bundle("a", all), bundle("b", all), bundle("c", reads("a"))],
      paths: { a: "a b", b: "b a", c: "c a" },
    },
    {
      name: "a key of a user in the target",
      bundles: [bundle("a", reads("b", "mine")), bundle("b", reads("a"))],
      paths: { a: "", b: "" },
    },
  ];
  for (const { name, bundles, paths: expected } of table) {
    await t.step(
      name,
      () => assert.deepEqual(paths(graphOf(...bundles), ...Object.keys(expected)), expected),
    );
  }
});

Deno.test("who is in another cycle than before is told, once", () => {
  const graph = graphOf(bundle("a", reads("b")), bundle("b", reads("c")), bundle("c"));
  const change = (work: () => void) => {
    work();
    return [...graph.update()].sort();
  };
  assert.deepEqual(change(() => graph.putBundle(bundle("c", reads("a")))), ["a", "b", "c"]);
  assert.deepEqual(change(() => graph.putBundle(bundle("c", reads("a"), { inLine: "x" }))), []);
  assert.deepEqual(change(() => graph.putBundle(bundle("c", reads("b")))), ["a", "b", "c"]);
  assert.deepEqual([...graph.membersOf("b")].sort(), ["b", "c"]);
  assert.deepEqual(change(() => graph.removeBundle("b")), ["b", "c"]);
  assert.deepEqual([...graph.membersOf("b")], []);
});

Deno.test("objects that come, change and go make cycles and end them", async (t) => {
  const a = bundle("a", reads("b"));
  const b = bundle("b", reads("a"));
  const change = (kind: TargetKind, object: SourceRecord | undefined) => {
    const graph = graphOf(a, b);
    graph.putObject(kind, "a", object, [b]);
    return [...graph.update()].sort();
  };
  const both = ["a", "b"];
  const table: [name: string, object: SourceRecord | undefined, different: string[]][] = [
    ["the same again", target("a"), []],
    ["gone", undefined, both],
    ["a user's now", readConfigMapSource(configMap("a", { "ca.crt": pemText(ROOT_1) })), both],
    ["its key is another's", target("a", []), both],
    ["another key of ours beside", target("a", ["ca.crt", "x"], { x: "y" }), []],
  ];
  for (const [name, object, different] of table) {
    await t.step(name, () => assert.deepEqual(change("ConfigMap", object), different));
  }
  await t.step("one of the other kind", () => {
    const metadata = {
      labels: { [BUNDLE_LABEL]: "a" },
      managedFields: [managedFields({ data: ["ca.crt"] })],
    };
    assert.deepEqual(
      change("Secret", readSecretSource(secret("a", { "ca.crt": pemText(ROOT_1) }, { metadata }))),
      [],
    );
  });
  await t.step("closed by the last object", () => {
    const graph = new SourceGraph();
    for (const bundle of [a, b]) graph.putBundle(bundle);
    graph.putObject("ConfigMap", "a", target("a"), [b]);
    assert.deepEqual([...graph.update()], []);
    graph.putObject("ConfigMap", "b", target("b"), [a]);
    assert.deepEqual([...graph.update()].sort(), both);
  });
});

Deno.test("a chain and a cycle of 10,000 Bundles are gone through in a moment", () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `b${i}`);
  const bundles = names.map((name, i) => bundle(name, reads(names[i + 1] ?? "none")));
  const graph = new SourceGraph();
  for (const [i, name] of names.entries()) {
    graph.putObject("ConfigMap", name, target(name), i === 0 ? [] : bundles.slice(i - 1, i));
  }
  graph.update();
  assert.equal(graph.cycle("b0"), undefined);
  const last = bundle("b9999", reads("b0"));
  const start = performance.now();
  graph.putBundle(last);
  assert.equal(graph.update().size, names.length);
  assert.equal(graph.cycle("b5000")?.path.length, names.length);
  assert.ok(performance.now() - start < 5_000);
});
