import assert from "node:assert/strict";
import { canonicalPem as pemText, ROOT_1, ROOT_2, type TestCertificate } from "../builders.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const LEASE =
  `/apis/coordination.k8s.io/v1/namespaces/${TRUST_NAMESPACE}/leases/trust-manager-leader-election`;

interface Lease {
  readonly metadata: { readonly name: string };
  readonly spec?: { readonly holderIdentity?: string; readonly leaseDurationSeconds?: number };
}

Deno.test("Of two replicas one writes, and the other takes over", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin } = cluster;
  const flags = ["--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s"];
  const holder = async (accept: (identity: string) => boolean) => {
    let found = "";
    await admin.waitFor<Lease>(LEASE, "has the awaited holder", (lease) => {
      found = lease?.spec?.holderIdentity ?? "";
      return accept(found);
    });
    return found;
  };
  await cluster.createNamespace("ns-a");
  await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_1) });
  await cluster.putBundle("failover", {
    sources: [{ configMap: { name: "source", key: "ca.crt" } }],
    target: { configMap: { key: "ca.pem" } },
  });
  const holds = (...certificates: readonly TestCertificate[]) =>
    cluster.targetBecomes(
      "ns-a",
      "failover",
      "follows",
      (target) => target?.data?.["ca.pem"] === pemText(...certificates),
    );

  await using first = await cluster.operator(...flags);
  await holds(ROOT_1);
  const firstHolder = await holder((identity) => identity !== "");
  assert.match(firstHolder, new RegExp(`^${Deno.hostname()}_[0-9a-f-]{36}$`));
  await using second = await cluster.operator(...flags);
  assert.match(
    await first.metrics(),
    /leader_election_master_status\{name="trust-manager-leader-election"\} 1/,
  );
  assert.match(
    await second.metrics(),
    /leader_election_master_status\{name="trust-manager-leader-election"\} 0/,
  );

  await t.step("At SIGTERM the lease is released, and the other one leads at once", async () => {
    assert.equal(await first.stop(), 0);
    await holder((identity) => identity !== "" && identity !== firstHolder);
    await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_2) });
    await holds(ROOT_2);
  });

  await using third = await cluster.operator(...flags);
  await t.step("At SIGKILL it leads once the lease has run out", async () => {
    const secondHolder = await holder((identity) => identity !== "");
    second.kill("SIGKILL");
    await second.exited();
    await holder((identity) => identity !== "" && identity !== secondHolder);
    await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_1) });
    await holds(ROOT_1);
  });

  await t.step("A leader that was frozen past its lease ends, and writes nothing", async () => {
    await using fourth = await cluster.operator(...flags);
    const thirdHolder = await holder((identity) => identity !== "");
    third.kill("SIGSTOP");
    await holder((identity) => identity !== "" && identity !== thirdHolder);
    await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(ROOT_2) });
    await holds(ROOT_2);
    third.kill("SIGCONT");
    assert.equal(await third.exited(), 1);
    assert.doesNotMatch(third.output.split("Ended")[0]?.split("Lost").at(-1) ?? "", /Applied target/);
    await holds(ROOT_2);
    assert.equal(await fourth.stop(), 0);
  });
});
