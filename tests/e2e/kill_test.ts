import assert from "node:assert/strict";
import { HASH_ANNOTATION } from "../../lib/api/bundle.ts";
import { TARGET_CONCURRENCY } from "../../lib/controller.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { WRITES } from "../cluster/audit.ts";
import { serviceAccountKubeconfig } from "../cluster/kubectl.ts";
import { seededRandom } from "../controller_world.ts";
import { FaultProxy, isTargetWrite } from "../faults/fault_proxy.ts";
import { TargetWatch } from "../faults/target_watch.ts";
import { manyCertificates } from "../many_certificates.ts";
import { sleep, until } from "../until.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

/** How often the operator is killed. */
const KILLS = 200;

Deno.test("The operator is killed at any moment, and nothing is lost or written twice", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, audit } = cluster;

  const replicas = 60;
  for (let i = 0; i < replicas; i++) await cluster.createNamespace(`both-${i}`, { both: "yes" });
  // Another service account with the same rights, so that the audit log tells who is who.
  await addReplica(cluster, "standby");
  const standbyKubeconfig = await serviceAccountKubeconfig(cluster.controlPlane, TRUST_NAMESPACE, "standby");
  const user = (name: string) => `system:serviceaccount:${TRUST_NAMESPACE}:${name}`;
  const [leader, standby] = [user("trust-manager"), user("standby")];
  // 200 kB each, so that a sync takes long enough to meet a fault.
  const contents = [0, 1_000, 2_000].map((first) => manyCertificates(300, first));
  const source = (index: number) =>
    cluster.putConfigMap(TRUST_NAMESPACE, "both", { "ca.crt": contents[index] ?? "" });
  const both = async () => {
    const { items } = await admin.request<{ items: ConfigMap[] | null }>(
      "GET",
      `/api/v1/configmaps?labelSelector=${encodeURIComponent("trust.cert-manager.io/bundle=both")}`,
    );
    return items ?? [];
  };
  const holding = async (index: number) => {
    const wanted = sorted(contents[index] ?? "");
    return (await both()).filter(({ data }) => sorted(data?.["ca.pem"] ?? "") === wanted).length;
  };
  const allHold = async (index: number) => {
    await until(async () => await holding(index) === replicas, "all targets are right");
    await cluster.synced("both");
  };

  for (const fault of ["killed", "frozen"] as const) {
    await t.step(
      `A leader is ${fault} in the middle of a sync: no two replicas write at the same time`,
      async () => {
        const flags = ["--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s"];
        const begin = await audit.mark();
        await source(0);
        await using proxy = await FaultProxy.start(cluster.controlPlane);
        const kubeconfig = await proxy.kubeconfig(cluster.operatorKubeconfig);
        await using first = await cluster.operatorWith({ flags, kubeconfig });
        await first.prints("Became leader");
        await using second = await cluster.operatorWith({ flags, kubeconfig: standbyKubeconfig });
        await cluster.putBundle("both", {
          sources: [{ configMap: { name: "both", key: "ca.crt" } }],
          target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { both: "yes" } } },
        });
        await allHold(0);
        const mark = await audit.mark();
        // So slow that the sync is not over when the fault comes, however late that is.
        const slow = proxy.use((request) =>
          isTargetWrite(request) ? { kind: "delay", milliseconds: 1_000 } : undefined
        );
        // Applied targets are logged: that is faster than to ask for 60 large objects.
        const applied = () => first.output.match(/Applied target/g)?.length ?? 0;
        const before = applied();
        await source(1);
        await until(() => applied() >= before + 3, "some targets are written");
        first.kill(fault === "killed" ? "SIGKILL" : "SIGSTOP");
        slow[Symbol.dispose]();
        const done = await holding(1);
        assert.ok(done < replicas, "the sync was over before the leader failed");
        await second.prints("Became leader", 40_000);
        await allHold(1);
        if (fault === "frozen") {
          // What the frozen one may still send is out of date by now.
          await source(2);
          await allHold(2);
          first.kill("SIGCONT");
          assert.equal(await first.exited(), 1);
          await allHold(2);
        }

        const writes = await audit.since(mark, { verb: WRITES });
        const by = (name: string) => writes.filter((entry) => entry.user === name);
        const renewals = await audit.since(begin, { resource: "leases", verb: WRITES });
        const leases = (name: string) => renewals.filter((entry) => entry.user === name && entry.code < 300);
        const took = leases(standby)[0];
        assert.ok(took !== undefined, "the standby never took the lease");
        const late = by(leader).filter(({ time }) => time > took.time);
        // Those that were on their way.
        assert.ok(
          late.length <= (fault === "killed" ? 0 : TARGET_CONCURRENCY),
          `${late.length} late writes: ${JSON.stringify(late)}`,
        );
        const renewed = leases(leader).filter(({ time }) => time < took.time).at(-1);
        assert.ok(renewed !== undefined, "the leader never took the lease");
        const gap = Date.parse(took.time) - Date.parse(renewed.time);
        assert.ok(gap >= 10_000, `the lease was taken ${gap} ms after it was renewed`);
        for (const { resource, time } of by(standby)) {
          assert.ok(resource === "leases" || time > took.time, `the standby wrote ${resource} before it led`);
        }
        const targets = writes.filter(({ resource, code, user }) =>
          resource === "configmaps" && code < 300 && (user === leader || user === standby)
        );
        const rounds = fault === "killed" ? 1 : 2;
        assert.ok(
          targets.length <= rounds * replicas + 16,
          `${targets.length} writes of ${replicas} targets with ${rounds} contents`,
        );
        assert.equal(await second.stop(), 0);
        await cluster.deleteBundles("both");
      },
    );
  }

  await t.step("Many kills during changes: no target is ever partial, empty or mixed", async () => {
    const seed = Number(Deno.env.get("SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
    console.log(`Seed of the kills: ${seed}`);
    const random = seededRandom(seed);
    const namespaces = Array.from({ length: 10 }, (_, index) => `kill-${index}`);
    for (const name of namespaces) await cluster.createNamespace(name, { kill: "yes" });
    // All of one size and none a part of another, so that whatever is missing or mixed shows.
    const versions = Array.from({ length: 8 }, (_, index) => manyCertificates(12, index * 6));
    let current = 0;
    const change = async () => {
      current = (current + 1 + Math.floor(random() * (versions.length - 1))) % versions.length;
      await cluster.putConfigMap(TRUST_NAMESPACE, "kill", { "ca.crt": versions[current] ?? "" });
    };
    await change();
    await cluster.putBundle("kill", {
      sources: [{ configMap: { name: "kill", key: "ca.crt" } }],
      target: {
        configMap: { key: "ca.pem" },
        additionalFormats: { jks: { key: "ca.jks" } },
        namespaceSelector: { matchLabels: { kill: "yes" } },
      },
    });
    const wanted = new Map(versions.map((text, index) => [sorted(text), index]));
    const problems: string[] = [];
    // The keys of one object belong together: PEM, key store and hash of one version, the same whenever they are seen.
    const together = new Map<number, string>();
    /** The version that each target holds. */
    const held = new Map<string | undefined, number>();
    let states = 0;
    await using watch = await TargetWatch.start(admin, "ConfigMap", ({ metadata, data, binaryData }) => {
      if (metadata.name !== "kill") return;
      states++;
      const version = wanted.get(sorted(data?.["ca.pem"] ?? ""));
      const rest = `${metadata.annotations?.[HASH_ANNOTATION]} ${binaryData?.["ca.jks"]}`;
      if (version === undefined) problems.push(`${metadata.namespace}: no version: ${data?.["ca.pem"]}`);
      else if ((together.get(version) ?? rest) !== rest) problems.push(`${metadata.namespace}: mixed keys`);
      else together.set(version, rest);
      if (version !== undefined) held.set(metadata.namespace, version);
    });
    const holdCurrent = () => [...held.values()].filter((version) => version === current).length;
    const flags = ["--leader-elect=false"];
    for (let kill = 0; kill < KILLS; kill++) {
      await using operator = await cluster.operatorWith({ flags, wait: false });
      // Half of them while it starts, a quarter from when it is ready, and a quarter once some targets are written.
      const written = kill % 4 === 0 ? 1 + Math.floor(random() * namespaces.length) : 0;
      const ms = 20 + random() * (written > 0 ? 30 : 180);
      if (kill % 4 === 2) await operator.ready();
      const changed = change();
      await until(() => holdCurrent() >= written, `${written} targets are new, seed ${seed}`);
      // Not a wait for something: the moment of the fault.
      await sleep(ms);
      operator.kill("SIGKILL");
      await changed;
      watch.check();
      assert.deepEqual(problems, [], `seed ${seed}, kill ${kill}`);
    }
    const mark = await audit.mark();
    await using operator = await cluster.operator(...flags);
    const last = sorted(versions[current] ?? "");
    for (const namespace of namespaces) {
      await cluster.targetBecomes(
        namespace,
        "kill",
        `holds version ${current}, seed ${seed}`,
        (target) => sorted(target?.data?.["ca.pem"] ?? "") === last,
      );
    }
    await cluster.synced("kill");
    const writes = await audit.since(mark, { verb: WRITES, resource: "configmaps" });
    assert.ok(writes.length <= namespaces.length, `${writes.length} writes to make good`);
    watch.check();
    assert.deepEqual(problems, [], `seed ${seed}`);
    // Else it was not shown what it is about.
    assert.ok(states > 200, `only ${states} states were seen, seed ${seed}`);
    assert.ok(together.size >= versions.length - 1, `only ${together.size} versions were seen, seed ${seed}`);
    assert.equal(await operator.stop(), 0);
  });
});

/** Lets another service account do what the operator's may. */
async function addReplica({ admin }: TestCluster, name: string): Promise<void> {
  await admin.create(`/api/v1/namespaces/${TRUST_NAMESPACE}/serviceaccounts`, { metadata: { name } });
  const group = "/apis/rbac.authorization.k8s.io/v1";
  const bindings = [
    `${group}/clusterrolebindings/trust-manager`,
    `${group}/namespaces/${TRUST_NAMESPACE}/rolebindings/trust-manager`,
    `${group}/namespaces/${TRUST_NAMESPACE}/rolebindings/trust-manager:leaderelection`,
  ];
  for (const path of bindings) {
    const { subjects } = await admin.request<{ subjects: { name: string }[] }>("GET", path);
    await admin.mergePatch(path, { subjects: [...subjects, { ...subjects[0], name }] });
  }
}

/** The certificates of a text, in an order of their own. */
function sorted(text: string): string {
  return text.split(/(?<=-----END CERTIFICATE-----)\s*/).filter((block) => block !== "").sort().join("\n");
}
