import assert from "node:assert/strict";
import { canonicalPem as pemText, EXPIRED, LEAF, ROOT_1, ROOT_2 } from "../builders.ts";
import { PASS_INTERVAL_MS } from "../../lib/controller.ts";
import { type AuditEntry, WRITES } from "../cluster/audit.ts";
import type { OperatorProcess } from "./operator_process.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const OPERATOR = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
const NAMESPACES = 40;

/** What was written, and how often: `patch configmaps: 40`. The lease is renewed all the time and is left out. */
function counted(entries: readonly AuditEntry[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { verb, resource, subresource } of entries) {
    if (resource === "leases") continue;
    const what = `${verb} ${resource}${subresource === "" ? "" : `/${subresource}`}`;
    counts[what] = (counts[what] ?? 0) + 1;
  }
  return counts;
}

/** Waits until the operator has nothing left to do. */
async function idle(operator: OperatorProcess): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (let calm = 0; calm < 3;) {
    const text = await operator.metrics();
    const value = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? NaN);
    const busy = value(/^trust_manager_bundle_targets\{bundle="counted",state="pending"\} (\S+)$/m) +
      value(/^workqueue_depth\{name="statuses"\} (\S+)$/m) +
      value(/^workqueue_depth\{name="bundles"\} (\S+)$/m);
    calm = busy === 0 ? calm + 1 : 0;
    assert.ok(performance.now() < deadline, `The operator does not come to rest:\n${text}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

Deno.test("The operator sends no request that is not needed", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, audit } = cluster;
  const requests = (mark: Awaited<ReturnType<typeof audit.mark>>) => audit.since(mark, { user: OPERATOR });
  const writes = (mark: Awaited<ReturnType<typeof audit.mark>>) =>
    audit.since(mark, { user: OPERATOR, verb: WRITES });

  for (let i = 0; i < NAMESPACES; i++) await cluster.createNamespace(`n-${i}`, { counted: "yes" });
  await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_1) });
  let operator = await cluster.operator();

  const written = (text: string, targets = NAMESPACES) =>
    admin.waitFor<{ items: { data?: Record<string, string> }[] }>(
      "/api/v1/configmaps?labelSelector=trust.cert-manager.io%2Fbundle%3Dcounted",
      "all targets are written",
      (list) => list?.items.filter(({ data }) => data?.["ca.pem"] === text).length === targets,
    );

  try {
    await t.step("First sync: a write each target, one status, one event", async () => {
      const mark = await audit.mark();
      await cluster.putBundle("counted", {
        sources: [{ configMap: { name: "source", key: "ca.crt" } }],
        target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { counted: "yes" } } },
      });
      await cluster.synced("counted");
      await cluster.event("counted", "Synced");
      await idle(operator);
      assert.deepEqual(counted(await requests(mark)), {
        "patch configmaps": NAMESPACES,
        "patch bundles/status": 1,
        "create events": 1,
      });
    });

    await t.step(
      "A source changes: a write each target, and nothing else, as the status says the same",
      async () => {
        const mark = await audit.mark();
        await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_1, ROOT_2) });
        await written(pemText(ROOT_1, ROOT_2));
        await idle(operator);
        assert.deepEqual(counted(await requests(mark)), { "patch configmaps": NAMESPACES });
      },
    );

    await t.step("A source changes in what no Bundle reads: nothing", async () => {
      const mark = await audit.mark();
      const path = `/api/v1/namespaces/${TRUST_NAMESPACE}/configmaps/source`;
      await admin.mergePatch(path, { metadata: { annotations: { touched: "yes" } }, data: { note: "text" } });
      // What comes after it has been seen, so it has been, too.
      await cluster.createNamespace("after-note", { counted: "yes" });
      await cluster.targetBecomes("after-note", "counted", "is written", (target) => target !== undefined);
      await idle(operator);
      assert.deepEqual(counted(await requests(mark)), { "patch configmaps": 1 });
      await admin.delete("/api/v1/namespaces/after-note");
      await admin.waitUntilGone("/api/v1/namespaces/after-note");
      await idle(operator);
    });

    await t.step("A new namespace: one write", async () => {
      const mark = await audit.mark();
      await cluster.createNamespace("one-more", { counted: "yes" });
      await cluster.targetBecomes("one-more", "counted", "is written", (target) => target !== undefined);
      await idle(operator);
      assert.deepEqual(counted(await requests(mark)), { "patch configmaps": 1 });
    });

    await t.step("A restart with everything in place: no write", async () => {
      assert.equal(await operator.stop(), 0);
      const mark = await audit.mark();
      operator = await cluster.operator();
      await idle(operator);
      assert.deepEqual(counted(await writes(mark)), {});
      assert.deepEqual(counted(await requests(mark)), {
        "watch bundles": 1,
        "watch namespaces": 1,
        "watch configmaps": 2,
        "watch secrets": 1,
      });
    });

    await t.step("Steady state: the lease, and nothing else", async () => {
      const mark = await audit.mark();
      const lease =
        `/apis/coordination.k8s.io/v1/namespaces/${TRUST_NAMESPACE}/leases/trust-manager-leader-election`;
      const renewals = new Set<string>();
      await admin.waitFor<{ spec?: { renewTime?: string } }>(lease, "is renewed three times", (object) => {
        renewals.add(object?.spec?.renewTime ?? "");
        return renewals.size > 3;
      });
      assert.deepEqual(counted(await requests(mark)), {});
    });

    await t.step(
      "A source changes 20 times in a row: the last content everywhere, and far fewer writes than changes",
      async () => {
        const mark = await audit.mark();
        // Each of the four, in the order of SHA-256, is in or out: no two states in a row are the same.
        const states = Array.from(
          { length: 20 },
          (_, i) => pemText(...[ROOT_1, LEAF, ROOT_2, EXPIRED].filter((_, bit) => ((i % 15) + 1) >> bit & 1)),
        );
        const start = performance.now();
        for (const state of states) {
          await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": state });
        }
        const targets = NAMESPACES + 1;
        await written(states.at(-1) ?? "", targets);
        const passes = 1 + Math.ceil((performance.now() - start) / PASS_INTERVAL_MS);
        await idle(operator);
        const { "patch configmaps": patches = 0 } = counted(await requests(mark));
        // The first at once, then one for all that has changed meanwhile: three if all changes came in a second.
        assert.ok(patches >= targets && patches <= passes * targets, `${patches} writes in ${passes} passes`);
      },
    );
  } finally {
    await operator[Symbol.asyncDispose]();
  }
});
