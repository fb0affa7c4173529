import assert from "node:assert/strict";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { canonicalPem, pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { WRITES } from "../cluster/audit.ts";
import { targetPath, TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";
import { until } from "../until.ts";

const OPERATOR = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
const CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bundles.trust.cert-manager.io";
const MANIFEST = new URL("../../deploy/crds/trust.cert-manager.io_bundles.yaml", import.meta.url);

/** What the log says of a definition that is missing. */
const NO_CRD =
  /level=ERROR .* err="the CustomResourceDefinition bundles\.trust\.cert-manager\.io is not installed: install it with .*" failing=bundles /;

Deno.test("The definition of Bundles goes, and comes back", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, audit } = cluster;
  const namespaces = Array.from({ length: 5 }, (_, index) => `ns-${index}`);
  for (const name of namespaces) await cluster.createNamespace(name, { crd: "yes" });
  await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_1) });
  const bundles = ["one", "two"];
  const putBundles = async () => {
    for (const name of bundles) {
      await cluster.putBundle(name, {
        sources: [{ configMap: { name: "source", key: "ca.crt" } }],
        target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { crd: "yes" } } },
      });
    }
  };
  const targets = async () => {
    const label = encodeURIComponent("trust.cert-manager.io/bundle");
    const { items } = await admin.request<{ items: ConfigMap[] }>(
      "GET",
      `/api/v1/configmaps?labelSelector=${label}`,
    );
    return items;
  };
  const allHold = async (text: string) => {
    for (const name of bundles) {
      for (const namespace of namespaces) {
        await cluster.targetBecomes(namespace, name, "holds it", (it) => it?.data?.["ca.pem"] === text);
      }
      await cluster.synced(name);
    }
  };
  /** What the operator wrote since then, but for its lease. */
  const writesSince = async (mark: Awaited<ReturnType<typeof audit.mark>>) =>
    (await audit.since(mark, { user: OPERATOR, verb: WRITES })).filter(({ resource }) =>
      resource !== "leases"
    );

  await using operator = await cluster.operator();
  await putBundles();
  // The garbage collector learns of a new kind within 30 s: only from then on it is what clusters have.
  await cluster.putBundle("canary", {
    sources: [{ inLine: pemText(ROOT_1) }],
    target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { crd: "yes" } } },
  });
  await cluster.synced("canary");
  await cluster.deleteBundles("canary");
  for (const namespace of namespaces) {
    await admin.waitUntilGone(targetPath(namespace, "canary"), 60_000);
  }
  await allHold(canonicalPem(ROOT_1));
  const mark = await audit.mark();

  await t.step("Its targets go with the Bundles, and the operator stays and writes nothing", async () => {
    await admin.delete(CRD);
    await admin.waitUntilGone(CRD);
    await until(
      async () => (await targets()).length === 0,
      async () => `all targets are gone; ${(await targets()).length} are still there`,
      60_000,
    );
    // What would make it write, were there a Bundle.
    await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_2) });
    await cluster.createNamespace("ns-new", { crd: "yes" });
    await operator.prints(NO_CRD);
    assert.deepEqual(await targets(), []);
    assert.deepEqual((await writesSince(mark)).map(({ resource, name }) => `${resource} ${name}`), []);
    assert.equal(await operator.probe("/healthz"), 200);
    assert.equal(await operator.probe("/readyz"), 200);
    const lines = operator.output.split("\n").filter((line) => /(watch|failing)=bundles/.test(line)).length;
    assert.ok(lines < 10, `${lines} lines about the watch that fails`);
  });

  await t.step("An operator that starts meanwhile is not ready, and writes nothing", async () => {
    await using other = await cluster.operatorWith({ wait: false, flags: ["--leader-elect=false"] });
    await other.prints(NO_CRD);
    const response = await fetch(`http://127.0.0.1:${other.probePort}/readyz`);
    assert.equal(response.status, 503);
    assert.match(
      await response.text(),
      /^Not all stores have synced\nbundles: the CustomResourceDefinition bundles\.trust\.cert-manager\.io is not installed: /,
    );
    assert.equal(await other.probe("/healthz"), 200);
    assert.deepEqual(await writesSince(mark), []);
    assert.equal(await other.stop(), 0);
  });

  await t.step("All is back when the definition and the Bundles are", async () => {
    const restored = await audit.mark();
    await admin.apply(await Deno.readTextFile(MANIFEST));
    await putBundles();
    namespaces.push("ns-new");
    // The longer the definition was gone, the longer are the pauses between attempts, up to a minute.
    await operator.prints(
      /Requests to the API server work again" cause="the CustomResourceDefinition/,
      90_000,
    );
    await allHold(canonicalPem(ROOT_2));
    for (const name of bundles) {
      const uid = (await cluster.getBundle(name))?.metadata.uid;
      for (const { metadata } of (await targets()).filter(({ metadata }) => metadata.name === name)) {
        assert.deepEqual(metadata.ownerReferences?.map((owner) => owner.uid), [uid]);
      }
    }
    const wanted = { configmaps: bundles.length * namespaces.length, bundles: bundles.length };
    let written = { configmaps: 0, bundles: 0 };
    // An object can be seen a moment before its write is in the audit log.
    await until(async () => {
      const writes = await writesSince(restored);
      const of = (resource: string) => writes.filter((entry) => entry.resource === resource).length;
      written = { configmaps: of("configmaps"), bundles: of("bundles") };
      return written.configmaps >= wanted.configmaps && written.bundles >= wanted.bundles;
    }, () => `all writes are in the audit log; those were ${JSON.stringify(written)}`);
    assert.deepEqual(written, wanted);
    assert.equal(await operator.stop(), 0);
  });
});
