import assert from "node:assert/strict";
import type { BundleSpec } from "../../lib/api/bundle.ts";
import { pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { WRITES } from "../cluster/audit.ts";
import { startPeer } from "../peer/run_peer.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

interface Targets {
  readonly items: { readonly metadata: { namespace: string; name: string; resourceVersion: string } }[];
}

Deno.test("A cluster goes from the Go project to this one and back, and no target is written", async (t) => {
  await using cluster = await TestCluster.start({ secretTargets: true });
  const { admin, audit, operatorKubeconfig: kubeconfig } = cluster;
  for (let i = 0; i < 5; i++) await cluster.createNamespace(`ns-${i}`, { team: i < 3 ? "a" : "b" });
  await cluster.putConfigMap(TRUST_NAMESPACE, "source", {
    "ca.crt": `text before\n${pemText(ROOT_2, ROOT_1, ROOT_2)}`,
    "debian.crt": await Deno.readTextFile("/etc/ssl/certs/ca-certificates.crt"),
  });
  await cluster.putSecret("source", { "ca.crt": pemText(ROOT_1) });
  const team = (name: string) => ({ namespaceSelector: { matchLabels: { team: name } } });
  const metadata = {
    labels: { zebra: "z", apple: "a", "example.com/x": "1" },
    annotations: { "example.com/note": "two words", "a": "b" },
  };
  const specs: Record<string, BundleSpec> = {
    plain: {
      sources: [{ configMap: { name: "source", key: "ca.crt" } }],
      target: { configMap: { key: "ca.pem" } },
    },
    debian: {
      sources: [{ configMap: { name: "source", includeAllKeys: true } }, {
        secret: { name: "source", key: "ca.crt" },
      }],
      target: { configMap: { key: "ca.pem", metadata }, ...team("a") },
    },
    both: {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: {
        configMap: { key: "x", metadata },
        secret: { key: "y", metadata: { labels: { only: "here" } } },
        ...team("b"),
      },
    },
  };
  const versions = async () => {
    const found: Record<string, string> = {};
    for (const resource of ["configmaps", "secrets"]) {
      const list = await admin.get<Targets>(
        `/api/v1/${resource}?labelSelector=trust.cert-manager.io%2Fbundle`,
      );
      for (const { metadata: { namespace, name, resourceVersion } } of list?.items ?? []) {
        found[`${resource}/${namespace}/${name}`] = resourceVersion;
      }
    }
    return found;
  };
  const writes = async (mark: Awaited<ReturnType<typeof audit.mark>>) =>
    (await audit.since(mark, {
      user: `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`,
      verb: WRITES,
    }))
      .filter(({ resource }) => resource === "configmaps" || resource === "secrets");

  await t.step("From the Go project to this one", async () => {
    {
      await using _peer = await startPeer({ kubeconfig, args: ["--secret-targets-enabled"] });
      for (const [name, spec] of Object.entries(specs)) await cluster.putBundle(name, spec);
      // The Go project is limited to 5 requests a second.
      for (const name of Object.keys(specs)) await cluster.synced(name);
    }
    const before = await versions();
    assert.equal(Object.keys(before).length, await namespaces() + 3 + 2 + 2);
    const mark = await audit.mark();
    await using operator = await cluster.operator("--secret-targets-enabled");
    await passed(operator, specs);
    assert.deepEqual(await writes(mark), []);
    assert.deepEqual(await versions(), before);
    assert.equal(await operator.stop(), 0);
  });

  await t.step("From this one to the Go project", async () => {
    for (const name of Object.keys(specs)) {
      await admin.delete(`/apis/trust.cert-manager.io/v1alpha1/bundles/${name}`);
    }
    await admin.waitFor<Targets>(
      "/api/v1/configmaps?labelSelector=trust.cert-manager.io%2Fbundle",
      "no targets are left",
      (list) => list?.items.length === 0,
    );
    {
      await using operator = await cluster.operator("--secret-targets-enabled");
      for (const [name, spec] of Object.entries(specs)) await cluster.putBundle(name, spec);
      for (const name of Object.keys(specs)) await cluster.synced(name);
      assert.equal(await operator.stop(), 0);
    }
    const before = await versions();
    const mark = await audit.mark();
    await using peer = await startPeer({ kubeconfig, args: ["--secret-targets-enabled", "--log-level=4"] });
    // It works on one Bundle after the other, so what comes last shows that it has passed over the others.
    await cluster.putBundle("later", {
      sources: [{ inLine: pemText(ROOT_2) }],
      target: { configMap: { key: "k" }, ...team("b") },
    });
    await cluster.synced("later");
    const after = await versions();
    for (const [target, version] of Object.entries(before)) assert.equal(after[target], version, target);
    assert.deepEqual((await writes(mark)).filter(({ name }) => name !== "later"), []);
    assert.ok(peer.pid > 0);
  });

  async function namespaces(): Promise<number> {
    return (await admin.get<{ items: unknown[] }>("/api/v1/namespaces"))?.items.length ?? 0;
  }

  /** Waits until the operator has passed over all Bundles and found nothing to do. */
  async function passed(
    operator: { metrics(): Promise<string> },
    bundles: Record<string, unknown>,
  ): Promise<void> {
    const deadline = performance.now() + 20_000;
    for (const name of Object.keys(bundles)) {
      while (
        !(await operator.metrics()).includes(
          `trust_manager_bundle_last_success_timestamp_seconds{bundle="${name}"}`,
        )
      ) {
        assert.ok(performance.now() < deadline, `Bundle ${name} was not found in sync`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
});
