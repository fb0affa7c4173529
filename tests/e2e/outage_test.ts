import assert from "node:assert/strict";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { type AuditMark, WRITES } from "../cluster/audit.ts";
import type { OwnControlPlane } from "../cluster/control_plane.ts";
import { writeKubeconfig } from "../cluster/control_plane.ts";
import { manyCertificates } from "../many_certificates.ts";
import type { OperatorProcess } from "./operator_process.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";
import { until } from "../until.ts";

const OPERATOR = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
const NAMESPACES = 60;

/** How many targets may be written at the same time: their answers can be lost, so that they are written once more. */
const IN_FLIGHT = 8;

Deno.test("The API server, its storage, its CA and the operator's token fail, and nothing is lost", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, audit, controlPlane } = cluster;
  const own = ownOf(controlPlane.own);
  for (let i = 0; i < NAMESPACES; i++) await cluster.createNamespace(`ns-${i}`, { wanted: "yes" });
  const bundle = () =>
    cluster.putBundle("outage", {
      sources: [{ configMap: { name: "source", key: "ca.crt" } }],
      target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { wanted: "yes" } } },
    });
  // 200 kB each, so that a sync takes long enough to meet a fault.
  const contents = { A: manyCertificates(300), B: manyCertificates(300, 1_000) } as const;
  type Content = keyof typeof contents;
  const source = (content: Content) =>
    cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": contents[content] });
  const sorted = (text: string) =>
    text.split(/(?<=-----END CERTIFICATE-----)\s*/).filter((block) => block !== "").sort().join("\n");
  const wanted = { A: sorted(contents.A), B: sorted(contents.B) } as const;

  const targetList = `/api/v1/configmaps?labelSelector=${
    encodeURIComponent("trust.cert-manager.io/bundle=outage")
  }`;
  /** How many targets hold exactly that content; fails if one holds something else than either of the two. */
  const holding = async (content: Content): Promise<number> => {
    const { items } = await admin.request<{ items: ConfigMap[] | null }>("GET", targetList);
    const texts = (items ?? []).map(({ data }) => sorted(data?.["ca.pem"] ?? ""));
    for (const text of texts) assert.ok(text === wanted.A || text === wanted.B, "a target is partial");
    return texts.filter((text) => text === wanted[content]).length;
  };
  /** Makes a change and returns in the middle of its sync, when some targets are new: the time. */
  const midSync = async (operator: OperatorProcess, change: () => Promise<void>): Promise<string> => {
    // Applied targets are logged: by the time that one has asked for 60 large objects, the sync may be over.
    const applied = () => operator.output.match(/Applied target/g)?.length ?? 0;
    const before = applied();
    await change();
    await until(() => applied() >= before + 3, "some targets are written");
    return new Date().toISOString();
  };
  /**
   * Waits until all is as it should be, and checks that it cost few writes.
   *
   * @param fault when something failed: some targets must have been written after that, or nothing was shown.
   */
  const converged = async (content: Content, mark: AuditMark, fault = "") => {
    const started = performance.now() - (fault === "" ? 0 : Date.now() - Date.parse(fault));
    // A watch that has failed for long is tried again once a minute.
    const deadline = performance.now() + 120_000;
    for (let right = 0; right < NAMESPACES;) {
      right = await holding(content);
      assert.ok(performance.now() < deadline, `only ${right} targets are right`);
    }
    const condition = await cluster.synced("outage");
    assert.equal(
      condition.message,
      "Successfully synced Bundle to namespaces that match this label selector: wanted=yes",
    );
    const writes = await audit.since(mark, { user: OPERATOR, verb: WRITES });
    const done = writes.filter(({ resource, code }) => resource === "configmaps" && code < 300);
    assert.ok(
      done.length <= NAMESPACES + IN_FLIGHT,
      `${done.length} writes of ${NAMESPACES} targets`,
    );
    assert.ok(done.some(({ time }) => time > fault), "the sync was over before anything failed");
    const failed = writes.filter(({ resource, code }) => resource === "configmaps" && code >= 300);
    const codes = Map.groupBy(failed, ({ code }) => code);
    const told = [...codes].map(([code, entries]) => `${entries.length} with ${code}`).join(", ");
    // What fails is tried again after 0.5 s, 1 s, 2 s and so on.
    const attempts = 2 + Math.log2(1 + (performance.now() - started) / 500);
    assert.ok(failed.length <= attempts * NAMESPACES, `Writes that failed: ${told}`);
    const statuses = writes.filter(({ resource }) => resource === "bundles");
    assert.ok(statuses.length <= 8, `${statuses.length} writes of the status`);
  };

  await source("A");

  await t.step("The API server is killed in the middle of a sync", async () => {
    await using operator = await cluster.operator("--leader-elect=false");
    const mark = await audit.mark();
    const fault = await midSync(operator, bundle);
    await own.restartApiServer("SIGKILL");
    await converged("A", mark, fault);
    // The watches work as well: a change costs one write a target and nothing more.
    const next = await audit.mark();
    await source("B");
    await converged("B", next);
    assert.equal(await operator.stop(), 0);
  });

  await t.step("etcd is killed in the middle of a sync, and started with the same data", async () => {
    await using operator = await cluster.operator("--leader-elect=false");
    const mark = await audit.mark();
    const fault = await midSync(operator, () => source("A"));
    await own.restartEtcd();
    await converged("A", mark, fault);
    assert.equal(await operator.stop(), 0);
  });

  await t.step("etcd is frozen in the middle of a sync until writes are given up, and goes on", async () => {
    await using operator = await cluster.operator("--leader-elect=false");
    const mark = await audit.mark();
    const fault = await midSync(operator, () => source("B"));
    Deno.kill(own.pids().etcd, "SIGSTOP");
    try {
      await operator.prints("did not answer within", 40_000);
    } finally {
      Deno.kill(own.pids().etcd, "SIGCONT");
    }
    await converged("B", mark, fault);
    assert.equal(await operator.stop(), 0);
  });

  await t.step(
    "A leader that cannot renew because etcd is frozen ends; the next start makes good",
    async () => {
      const flags = ["--leader-election-lease-duration=10s", "--leader-election-renew-deadline=8s"];
      const mark = await audit.mark();
      let fault: string;
      {
        await using operator = await cluster.operator(...flags);
        await operator.prints("Became leader");
        fault = await midSync(operator, () => source("A"));
        Deno.kill(own.pids().etcd, "SIGSTOP");
        try {
          assert.equal(await operator.exited(), 1);
        } finally {
          Deno.kill(own.pids().etcd, "SIGCONT");
        }
      }
      await using operator = await cluster.operator(...flags);
      await converged("A", mark, fault);
      assert.equal(await operator.stop(), 0);
    },
  );

  /** The operator's kubeconfig, with its CA and its token in files. */
  const kubeconfigWithFiles = async (caFile: string, tokenFile: string): Promise<string> => {
    const path = `${controlPlane.dir}/files.yaml`;
    await writeKubeconfig(path, admin, "");
    const config = JSON.parse(await Deno.readTextFile(path));
    config.clusters[0].cluster = { server: controlPlane.server, "certificate-authority": caFile };
    config.users[0].user = { tokenFile };
    await Deno.writeTextFile(path, JSON.stringify(config));
    return path;
  };
  /** A token of the operator's service account that is refused once the Secret is gone. */
  const tokenBoundTo = async (secret: string): Promise<string> => {
    await cluster.putSecret(secret, {});
    const bound = await admin.get<{ metadata: { uid: string } }>(
      `/api/v1/namespaces/${TRUST_NAMESPACE}/secrets/${secret}`,
    );
    const { status } = await admin.create<{ status: { token: string } }>(
      `/api/v1/namespaces/${TRUST_NAMESPACE}/serviceaccounts/trust-manager/token`,
      {
        spec: {
          expirationSeconds: 3600,
          boundObjectRef: { apiVersion: "v1", kind: "Secret", name: secret, uid: bound?.metadata.uid },
        },
      },
    );
    return status.token;
  };
  const caFile = `${controlPlane.dir}/operator-ca.crt`;
  const tokenFile = `${controlPlane.dir}/operator-token`;
  await Deno.copyFile(own.caFile, caFile);
  await Deno.writeTextFile(tokenFile, await tokenBoundTo("first-token"));
  const kubeconfig = await kubeconfigWithFiles(caFile, tokenFile);
  await t.step(
    "The token is refused: the operator takes the new one from its file, and nothing is lost",
    async () => {
      await using operator = await cluster.operatorWith({ kubeconfig, flags: ["--leader-elect=false"] });
      const old = await Deno.readTextFile(tokenFile);
      const next = await tokenBoundTo("second-token");
      await admin.delete(`/api/v1/namespaces/${TRUST_NAMESPACE}/secrets/first-token`);
      await untilRefused(controlPlane.server, admin.httpClient, old);
      const mark = await audit.mark();
      await source("B");
      await operator.prints(/Unauthorized/);
      // Half a token is refused too; nothing at all is no token.
      await Deno.writeTextFile(tokenFile, "");
      await operator.prints(/stays in use.*holds no token/);
      await Deno.writeTextFile(tokenFile, next);
      await converged("B", mark);
      assert.ok(!operator.output.includes(old) && !operator.output.includes(next), "a token is in the log");
      assert.equal(await operator.stop(), 0);
    },
  );

  await t.step(
    "The serving CA is replaced: the operator takes the new one from its file, by itself",
    async () => {
      await using operator = await cluster.operatorWith({ kubeconfig, flags: ["--leader-elect=false"] });
      const mark = await audit.mark();
      await own.replaceServingCa();
      await source("A");
      const untrusted = /certificate of the API server is not trusted.* err="invalid peer certificate: /;
      await operator.prints(untrusted, 90_000);
      const next = await Deno.readTextFile(own.caFile);
      const bad: [text: string, problem: string][] = [[next.slice(0, 300), "section end"], [
        "garbage",
        "no PEM",
      ]];
      for (const [text, problem] of bad) {
        await Deno.writeTextFile(caFile, text);
        await operator.prints(new RegExp(`stays in use.*${problem}`), 90_000);
      }
      assert.ok(await holding("B") === NAMESPACES, "it connected without knowing the new CA");
      await Deno.writeTextFile(caFile, next);
      await converged("A", mark);
      assert.equal(await operator.probe("/readyz"), 200);
      assert.equal(await operator.stop(), 0);
    },
  );
});

function ownOf(own: OwnControlPlane | undefined): OwnControlPlane {
  if (own === undefined) throw new Error("These tests end servers: they need a control plane of their own");
  return own;
}

/** Waits until the API server does not know the token any more; it remembers tokens for some seconds. */
async function untilRefused(server: string, client: Deno.HttpClient, token: string): Promise<void> {
  await until(async () => {
    const response = await fetch(`${server}/api/v1/namespaces`, {
      client,
      headers: { authorization: `Bearer ${token}` },
    });
    await response.body?.cancel();
    return response.status === 401;
  }, "the old token is refused");
}
