import assert from "node:assert/strict";
import type { BundleSource, BundleSpec } from "../../lib/api/bundle.ts";
import { canonicalPem, LEAF, parsed, pemText, ROOT_1, ROOT_2, type TestCertificate } from "../builders.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const byLabel: BundleSource = {
  configMap: { selector: { matchLabels: { ca: "yes" } }, includeAllKeys: true },
};
const reads = (name: string): BundleSource => ({ configMap: { name, key: "ca.crt" } });
const inLine = (...certificates: TestCertificate[]): BundleSource => ({ inLine: pemText(...certificates) });

/** Targets in all namespaces, the trust namespace too, with the label that {@linkcode byLabel} selects. */
function spec(...sources: BundleSource[]): BundleSpec {
  return { sources, target: { configMap: { key: "ca.crt", metadata: { labels: { ca: "yes" } } } } };
}

async function holds(
  cluster: TestCluster,
  bundle: string,
  ...certificates: TestCertificate[]
): Promise<void> {
  for (const namespace of ["app", TRUST_NAMESPACE]) {
    await cluster.targetBecomes(
      namespace,
      bundle,
      `holds ${certificates.map(({ subject }) => subject).join(" and ")}`,
      (target) => target?.data?.["ca.crt"] === canonicalPem(...certificates),
    );
  }
}

Deno.test("A removed CA leaves, although a Bundle selects its own target", async (t) => {
  await using cluster = await TestCluster.start();
  await cluster.createNamespace("app");
  await using operator = await cluster.operator();
  await cluster.putConfigMap(TRUST_NAMESPACE, "roots", { "1": pemText(ROOT_1), "2": pemText(ROOT_2) }, {
    ca: "yes",
  });
  await cluster.putBundle("own", spec(byLabel));
  await holds(cluster, "own", ROOT_1, ROOT_2);

  await t.step("it leaves all targets", async () => {
    await cluster.putConfigMap(TRUST_NAMESPACE, "roots", { "1": pemText(ROOT_1) }, { ca: "yes" });
    await holds(cluster, "own", ROOT_1);
    await cluster.synced("own");
  });

  await t.step("events, the log and a metric tell why", async () => {
    const { note } = await cluster.event("own", "OwnTargetAsSource");
    assert.match(
      note,
      /ConfigMap cert-manager\/own, key "ca\.crt": is the Bundle's own target, which is not read/,
    );
    await cluster.event("own", "TargetSelected");
    assert.match(operator.output, /A source is the Bundle's own target, which is not read"? bundle=own /);
    assert.match(await operator.metrics(), /^trust_manager_bundle_source_cycle\{bundle="own"\} 1$/m);
  });

  await t.step("what a user keeps in the same object is a source", async () => {
    await cluster.admin.apply([{
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace: TRUST_NAMESPACE, name: "own" },
      data: { mine: pemText(LEAF) },
    }]);
    await holds(cluster, "own", ROOT_1, LEAF);
    // And goes again with them.
    await cluster.admin.mergePatch(`/api/v1/namespaces/${TRUST_NAMESPACE}/configmaps/own`, {
      data: { mine: null },
    });
    await holds(cluster, "own", ROOT_1);
  });

  await t.step("a restart writes nothing", async () => {
    const versions = async () =>
      await Promise.all(
        ["app", TRUST_NAMESPACE].map(async (namespace) =>
          (await cluster.target(namespace, "own"))?.metadata.resourceVersion
        ),
      );
    const before = await versions();
    assert.equal(await operator.stop(), 0);
    await using again = await cluster.operator();
    await again.prints(/Resolved Bundle"? bundle=own/);
    await cluster.putBundle("later", { sources: [inLine(ROOT_2)], target: { configMap: { key: "k" } } });
    await cluster.synced("later");
    assert.deepEqual(await versions(), before);
  });
});

Deno.test("A removed CA leaves, although Bundles read each other's targets", async (t) => {
  await using cluster = await TestCluster.start();
  await cluster.createNamespace("app");
  await using operator = await cluster.operator();
  const names = ["a", "b", "c"];
  await cluster.putBundle("a", spec(inLine(ROOT_1, ROOT_2)));
  await holds(cluster, "a", ROOT_1, ROOT_2);
  await cluster.putBundle("b", spec(reads("a")));
  await holds(cluster, "b", ROOT_1, ROOT_2);
  await cluster.putBundle("c", spec(reads("b")));
  await holds(cluster, "c", ROOT_1, ROOT_2);

  await t.step("a chain hands it on", async () => {
    await cluster.putBundle("a", spec(inLine(ROOT_1)));
    for (const name of names) await holds(cluster, name, ROOT_1);
    await cluster.putBundle("a", spec(inLine(ROOT_1, ROOT_2)));
    for (const name of names) await holds(cluster, name, ROOT_1, ROOT_2);
    assert.match(await operator.metrics(), /^trust_manager_bundle_source_cycle\{bundle="c"\} 0$/m);
  });

  await t.step("a cycle does not keep it", async () => {
    await cluster.putBundle("a", spec(inLine(ROOT_1, ROOT_2), reads("c")));
    await cluster.event("a", "SourceCycle");
    await cluster.putBundle("a", spec(inLine(ROOT_1), reads("c")));
    for (const name of names) {
      await holds(cluster, name, ROOT_1);
      await cluster.synced(name);
    }
  });

  await t.step("each of the Bundles tells it", async () => {
    const ways = { a: "a → c → b → a", b: "b → a → c → b", c: "c → b → a → c" };
    for (const [name, way] of Object.entries(ways)) {
      const { note } = await cluster.event(name, "SourceCycle");
      assert.ok(note.includes(`(${way})`), note);
      assert.ok(
        (await operator.metrics()).includes(`trust_manager_bundle_source_cycle{bundle="${name}"} 3\n`),
      );
    }
    assert.match(
      operator.output,
      /Bundles read each other's targets in a cycle"? bundle=b cycle="?b → a → c → b/,
    );
  });

  await t.step("a CA that is added to one comes to all", async () => {
    await cluster.putBundle("b", spec(reads("a"), inLine(LEAF)));
    for (const name of names) await holds(cluster, name, ROOT_1, LEAF);
  });
});

Deno.test("Sources that give nothing are told", async (t) => {
  await using cluster = await TestCluster.start();
  await cluster.createNamespace("app");
  await using operator = await cluster.operator();
  const der = parsed(ROOT_2)[0]?.der ?? new Uint8Array();
  await cluster.admin.apply([{
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: TRUST_NAMESPACE, name: "odd" },
    data: {
      glued: `${ROOT_1.pem}${pemText(ROOT_2)}`,
      base64: btoa(pemText(ROOT_2)),
      empty: "",
      dashes: pemText(ROOT_2).replaceAll("-----", "–––––"),
    },
    binaryData: { der: der.toBase64() },
  }]);
  await cluster.putBundle("odd", spec({ configMap: { name: "odd", includeAllKeys: true } }, inLine(ROOT_1)));

  await t.step("beside a good one, which counts", async () => {
    await holds(cluster, "odd", ROOT_1);
    await cluster.synced("odd");
    const { type, note } = await cluster.event("odd", "EmptySource");
    assert.equal(type, "Warning");
    for (
      const text of [
        '"der": gives no certificate; it looks like DER: convert it with openssl x509 -inform der',
        '"glued": gives no certificate; it has an END and a BEGIN in one line',
        '"base64": gives no certificate; it looks like base64 of PEM',
        '"empty": gives no certificate; it is empty',
        '"dashes": gives no certificate; it has typographic dashes',
      ]
    ) assert.ok(note.includes(text), `${text}: ${note}`);
    assert.match(await operator.metrics(), /^trust_manager_bundle_empty_sources\{bundle="odd"\} 5$/m);
    assert.match(operator.output, /A source gives no certificate"? bundle=odd .*key=der /);
  });

  await t.step("alone, by the condition, too", async () => {
    await cluster.putBundle("odd", spec({ configMap: { name: "odd", key: "der" } }));
    const { message } = await cluster.condition("odd", "False");
    assert.equal(
      message,
      "Bundle source was not found: couldn't find any valid certificates in bundle: " +
        'ConfigMap cert-manager/odd, key "der": gives no certificate; it looks like DER: ' +
        "convert it with openssl x509 -inform der",
    );
    await cluster.event("odd", "SourceNotFound", message);
    await holds(cluster, "odd", ROOT_1);
  });
});
