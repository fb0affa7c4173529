import assert from "node:assert/strict";
import { type AuditEntry, WRITES } from "../cluster/audit.ts";
import { canonicalPem, pemText, ROOT_1, ROOT_2, type TestCertificate } from "../builders.ts";
import { FaultProxy, isTargetWrite } from "../faults/fault_proxy.ts";
import type { OperatorProcess } from "./operator_process.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";
import { sleep, until } from "../until.ts";

const SERVICE_ACCOUNT = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
const LEASE =
  `/apis/coordination.k8s.io/v1/namespaces/${TRUST_NAMESPACE}/leases/trust-manager-leader-election`;
/** What the audit log knows those by that came through the proxy. */
const MARK = "(through the proxy)";
/** Renewed each 2 s: no stall of some seconds ends it, and nobody waits for its end for long. */
const SHORT_LEASE = ["--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s"];
const LONG_LEASE = ["--leader-election-lease-duration=30s", "--leader-election-renew-deadline=20s"];

/** Enough that writes are under way for a while. */
const NAMESPACES = Array.from({ length: 30 }, (_, i) => `n-${i}`);

interface Lease {
  readonly metadata: { readonly name: string };
  readonly spec?: { readonly holderIdentity?: string };
}

Deno.test("Partitions: one leader writes, and all is right afterwards", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, audit } = cluster;
  for (const name of NAMESPACES) await cluster.createNamespace(name, { cut: "yes" });
  let source: TestCertificate = ROOT_1;
  const put = async (certificate: TestCertificate) => {
    source = certificate;
    await cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(certificate) });
  };
  const other = () => source === ROOT_1 ? ROOT_2 : ROOT_1;
  await put(ROOT_1);
  await cluster.putBundle("cut", {
    sources: [{ configMap: { name: "source", key: "ca.crt" } }],
    target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { cut: "yes" } } },
  });
  /** How many targets hold what they should. */
  const right = async () => {
    const { items } = await admin.request<{ items: { data?: Record<string, string> }[] }>(
      "GET",
      "/api/v1/configmaps?labelSelector=trust.cert-manager.io/bundle=cut",
    );
    return items.filter(({ data }) => data?.["ca.pem"] === canonicalPem(source)).length;
  };
  const converged = async () => {
    await until(async () => await right() === NAMESPACES.length, "all targets are right");
    await cluster.synced("cut");
  };
  const holder = async () => (await admin.get<Lease>(LEASE))?.spec?.holderIdentity ?? "";
  /** Waits until a process leads, and returns its identity. */
  const leading = async (operator: OperatorProcess) => {
    await until(
      async () => /^leader_election_master_status\{.*\} 1$/m.test(await operator.metrics()),
      "it leads",
    );
    return await holder();
  };
  const anotherLeads = async (than: string) => {
    await until(async () => ![than, ""].includes(await holder()), "another process leads");
  };
  const viaProxy = async (proxy: FaultProxy, ...flags: string[]): Promise<OperatorProcess> =>
    await cluster.operatorWith({ kubeconfig: await proxy.kubeconfig(cluster.operatorKubeconfig), flags });
  const start = () => FaultProxy.start(cluster.controlPlane, { userAgent: MARK });
  /** Writes of targets and statuses that came through the proxy since `since`. */
  const late = async (since: Awaited<ReturnType<typeof audit.mark>>) =>
    (await audit.since(since, { user: SERVICE_ACCOUNT, userAgent: MARK, verb: WRITES }))
      .filter(({ resource }) => resource !== "leases" && resource !== "events");
  /** All writes of targets since `since`, when there is at least one for each: what it has changed is there before it is logged. */
  const allWrites = async (since: Awaited<ReturnType<typeof audit.mark>>, userAgent = "") => {
    const filter = { user: SERVICE_ACCOUNT, userAgent, verb: WRITES, resource: "configmaps" };
    let writes: AuditEntry[] = [];
    await until(
      async () => (writes = await audit.since(since, filter)).length >= NAMESPACES.length,
      () => `all writes are logged; ${writes.length} are`,
    );
    return writes;
  };

  await t.step(
    "A leader without connection loses to the standby, ends, and writes nothing any more",
    async () => {
      await using proxy = await start();
      await using leader = await viaProxy(proxy, ...SHORT_LEASE);
      const first = await leading(leader);
      await converged();
      await using standby = await cluster.operator(...SHORT_LEASE);
      const since = await audit.mark();
      {
        using _partition = proxy.partition();
        await put(other());
        // A deletion and an edit, which the old leader would repair.
        await admin.delete("/api/v1/namespaces/n-1/configmaps/cut");
        await admin.mergePatch("/api/v1/namespaces/n-2/configmaps/cut", { data: { "ca.pem": "theirs" } });
        await anotherLeads(first);
        assert.equal(await leader.exited(), 1);
        assert.match(leader.output, /Lost the lease/);
        await converged();
      }
      await converged();
      assert.deepEqual(await late(since), []);
      const writes = await allWrites(since);
      for (const [target, entries] of Map.groupBy(writes, ({ namespace }) => namespace)) {
        assert.equal(entries.length, 1, `${target} was written ${entries.length} times`);
      }
      assert.equal(writes.length, NAMESPACES.length);
      assert.equal(await standby.stop(), 0);
    },
  );

  await t.step(
    "A leader that is cut off while it writes: what was under way is all that arrives late",
    async () => {
      await using proxy = await start();
      await using leader = await viaProxy(proxy, ...SHORT_LEASE);
      const first = await leading(leader);
      await converged();
      await using standby = await cluster.operator(...SHORT_LEASE);
      const { promise: released, resolve: release } = Promise.withResolvers<void>();
      let [sent, held] = [0, 0];
      using _rule = proxy.use((request) => {
        if (!isTargetWrite(request) || ++sent <= 10) return undefined;
        held++;
        return { kind: "late", until: released };
      });
      const begin = await audit.mark();
      await put(other());
      await until(
        async () => held >= 4 && (await late(begin)).length >= 10,
        "the first writes are done, and others under way",
      );
      const since = await audit.mark();
      {
        using _partition = proxy.partition();
        await put(other()); // back again: what is under way is wrong now
        await anotherLeads(first);
        assert.equal(await leader.exited(), 1);
        await converged();
      }
      assert.deepEqual(await late(since), []);
      release();
      let arrived: AuditEntry[] = [];
      await until(
        async () => (arrived = await late(since)).length >= held,
        () => `what was under way has arrived; ${arrived.length} of ${held} have`,
      );
      assert.deepEqual(
        arrived.map(({ verb, resource, code }) => [verb, resource, code]),
        Array(held).fill(["patch", "configmaps", 200]),
      );
      await converged();
      assert.equal(await standby.stop(), 0);
    },
  );

  const ends: readonly (readonly [string, (proxy: FaultProxy) => void])[] = [
    ["the connections go on", () => {}],
    ["the connections are broken", (proxy) => proxy.breakConnections()],
  ];
  for (const [name, end] of ends) {
    await t.step(`A partition that is shorter than the deadline of the lease; then ${name}`, async () => {
      await using proxy = await start();
      await using operator = await viaProxy(proxy);
      const first = await leading(operator);
      await converged();
      const since = await audit.mark();
      {
        using _partition = proxy.partition();
        await put(other());
        await admin.delete("/api/v1/namespaces/n-1/configmaps/cut");
        await sleep(4_000);
        end(proxy);
      }
      await converged();
      assert.equal(await holder(), first);
      const writes = await late(since);
      assert.ok(writes.length <= NAMESPACES.length + 5, `${writes.length} writes`);
      assert.equal(await operator.stop(), 0);
    });
  }

  await t.step(
    "A partition that outlasts the lease, without a standby: the process ends, and its successor goes on",
    async () => {
      await using proxy = await start();
      await using operator = await viaProxy(proxy, ...SHORT_LEASE);
      await leading(operator);
      await converged();
      const since = await audit.mark();
      {
        using _partition = proxy.partition();
        await put(other());
        assert.equal(await operator.exited(), 1);
      }
      assert.deepEqual(await late(since), []);
      await using successor = await viaProxy(proxy, ...SHORT_LEASE);
      await converged();
      assert.equal((await allWrites(since, MARK)).length, NAMESPACES.length);
      assert.equal(await successor.stop(), 0);
    },
  );

  await t.step(
    "Connections that freeze while it writes and while it renews the lease are replaced",
    async () => {
      await using proxy = await start();
      await using operator = await viaProxy(proxy, ...LONG_LEASE);
      const first = await leading(operator);
      await converged();
      const since = await audit.mark();
      let [writes, leases] = [0, 0];
      using _rule = proxy.use((request) => {
        if (isTargetWrite(request) && writes++ === 0) return { kind: "freeze" };
        if (request.resource === "leases" && leases++ === 0) return { kind: "freeze" };
        return undefined;
      });
      await put(other());
      await converged();
      await until(() => Promise.resolve(leases > 1), "the lease is renewed");
      assert.equal(proxy.faults.get("freeze"), 2);
      assert.equal(await holder(), first);
      const sent = await audit.since(since, { user: SERVICE_ACCOUNT, verb: WRITES, resource: "configmaps" });
      for (const [target, entries] of Map.groupBy(sent, ({ namespace }) => namespace)) {
        assert.ok(entries.length <= 2, `${target} was written ${entries.length} times`);
      }
      assert.equal(await operator.stop(), 0);
    },
  );
});
