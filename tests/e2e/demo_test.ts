import assert from "node:assert/strict";
import { endDemo } from "../../demo/end_demo.ts";
import { planGuest, writeGuestRecord } from "../../demo/guest.ts";
import { pemText, ROOT_1 } from "../builders.ts";
import { type ControlPlane, startControlPlane } from "../cluster/control_plane.ts";
import type { RestObject } from "../cluster/rest_client.ts";
import { ROOT } from "../project_files.ts";
import { until } from "../until.ts";

const CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bundles.trust.cert-manager.io";

/** What a user may have in a cluster, with the names that the quick start is known by. */
const OBJECTS: readonly RestObject[] = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "team-a" } },
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "cert-manager" } },
  {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "precious", namespace: "team-a" },
    stringData: { password: "x" },
  },
  {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "trust-manager-example-ca-secret", namespace: "cert-manager" },
    stringData: { "tls.crt": "x" },
  },
  {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "example-bundle", namespace: "default" },
    data: { mine: "x" },
  },
  {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "trust-manager", namespace: "cert-manager" },
  },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "trust-manager" },
    rules: [],
  },
];

/** All that is in the cluster and does not change by itself: paths with uid and resourceVersion. */
async function everything({ admin }: ControlPlane): Promise<Record<string, string>> {
  const collections = [
    "/api/v1/namespaces",
    "/api/v1/secrets",
    "/api/v1/configmaps",
    "/api/v1/serviceaccounts",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/events.k8s.io/v1/events",
    "/apis/trust.cert-manager.io/v1alpha1/bundles",
  ];
  const found: Record<string, string> = {};
  for (const collection of collections) {
    const { items = [] } = await admin.get<{ items?: RestObject[] }>(collection) ?? {};
    for (const { metadata } of items) {
      const { namespace = "", name, uid, resourceVersion } = metadata;
      // The API server's own leases are renewed.
      if (collection.endsWith("/leases") && namespace === "kube-system") continue;
      found[`${collection}/${namespace}/${name}`] = `${uid} ${resourceVersion}`;
    }
  }
  return found;
}

interface Ended {
  readonly code: number;
  readonly out: string;
}

/** Runs the demo in a cluster as a user would, without a terminal. */
async function demo(
  cluster: ControlPlane,
  args: readonly string[],
  during: (process: Deno.ChildProcess) => Promise<void> = async () => {},
): Promise<Ended> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-all",
      "--no-check",
      `${ROOT}/demo/demo.ts`,
      `--kubeconfig=${cluster.kubeconfig}`,
      ...args,
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const ended = Promise.all([process.stdout.text(), process.stderr.text(), process.status]);
  // One that ends before its time is told by its code.
  await Promise.race([during(process), ended]);
  const [out, said, { code }] = await ended;
  return { code, out: out + said };
}

Deno.test("In a cluster of the user's own, the demo leaves all as it was", async (t) => {
  await using cluster = await startControlPlane({ kubeconfig: "" });
  const { admin } = cluster;
  await admin.apply(OBJECTS);
  // Controllers have done with it.
  for (const name of ["team-a", "cert-manager"]) {
    for (const path of ["configmaps/kube-root-ca.crt", "serviceaccounts/default"]) {
      const absolute = `/api/v1/namespaces/${name}/${path}`;
      await admin.waitFor(absolute, "is there", (object) => object !== undefined);
    }
  }
  const before = await everything(cluster);

  await t.step(
    "Without a terminal and without --yes it says what it would do, and does nothing",
    async () => {
      const { code, out } = await demo(cluster, ["--once"]);
      assert.equal(code, 1, out);
      assert.match(out, /context test, https:/);
      assert.match(out, /customresourcedefinitions\/bundles\.trust\.cert-manager\.io/);
      assert.match(out, /roles\/trust-manager-demo-\w+:events in namespace default/);
      assert.match(out, /Nothing was created: there is no terminal to ask on.*--yes/);
      assert.deepEqual(await everything(cluster), before);
    },
  );

  await t.step("When it has been played to its end", async () => {
    const { code, out } = await demo(cluster, ["--once", "--yes"]);
    assert.equal(code, 0, out);
    assert.match(out, /All \d+ promises were kept/);
    assert.match(out, /nothing of it stays/);
    assert.deepEqual(await everything(cluster), before);
  });

  await t.step("When it is interrupted", async () => {
    const { code, out } = await demo(cluster, ["--once", "--yes"], async (process) => {
      type List = { items: RestObject[] };
      await until(
        async () => {
          // Right after the CRD, the API server has yet to set the kind up.
          const bundles = await admin.get<List>("/apis/trust.cert-manager.io/v1alpha1/bundles").catch(() =>
            undefined
          );
          return (bundles?.items.length ?? 0) > 0;
        },
        "there is a Bundle",
        120_000,
      );
      process.kill("SIGINT");
    });
    assert.equal(code, 130, out);
    assert.match(out, /nothing of it stays/);
    assert.deepEqual(await everything(cluster), before);
  });

  await t.step("When it fails", async () => {
    // No token can be had for the operator: its ServiceAccount is deleted as soon as it is there.
    let over = false;
    const { code, out } = await demo(cluster, ["--once", "--yes"], async () => {
      await until(
        async () => {
          const { items } = await admin.request<{ items: RestObject[] }>("GET", "/api/v1/namespaces");
          const name = items.map(({ metadata }) => metadata.name).find((it) =>
            it.startsWith("trust-manager-demo-")
          );
          if (name !== undefined) {
            await admin.delete(`/api/v1/namespaces/${name}`);
            over = true;
          }
          return over;
        },
        "it has begun",
        120_000,
      );
    });
    assert.equal(code, 1, out);
    assert.match(out, /nothing of it stays/);
    assert.deepEqual(await everything(cluster), before);
  });

  const crd = await Deno.readTextFile(`${ROOT}/deploy/crds/trust.cert-manager.io_bundles.yaml`);
  const rbac = await Deno.readTextFile(`${ROOT}/deploy/rbac.yaml`);

  await t.step("When a Bundle of somebody else came meanwhile, the CRD stays, and is named", async () => {
    const directory = await Deno.makeTempDir();
    try {
      const plan = planGuest("trust-manager-demo-0", [crd, rbac]);
      await writeGuestRecord(directory, { ...plan, kubeconfig: cluster.kubeconfig });
      await admin.apply(plan.objects.flatMap(({ object }) => object === undefined ? [] : [object]));
      await admin.apply([{
        apiVersion: "trust.cert-manager.io/v1alpha1",
        kind: "Bundle",
        metadata: { name: "theirs" },
        spec: { sources: [{ inLine: pemText(ROOT_1) }], target: { configMap: { key: "ca.pem" } } },
      }]);
      const lines = await endDemo(directory);
      assert.match(
        lines.join("\n"),
        /This stays:\n {2}customresourcedefinitions\/bundles.*Bundles.*: theirs/,
      );
      const after = await everything(cluster);
      const more = Object.keys(after).filter((path) => before[path] !== after[path]);
      assert.deepEqual(more, [
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions//bundles.trust.cert-manager.io",
        "/apis/trust.cert-manager.io/v1alpha1/bundles//theirs",
      ]);
      assert.deepEqual(await endDemo(directory), []);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });

  await t.step("Where trust-manager is installed, it refuses", async () => {
    const installed = await everything(cluster);
    const { code, out } = await demo(cluster, ["--once", "--yes"]);
    assert.equal(code, 1, out);
    assert.match(
      out,
      /Nothing was created: the CustomResourceDefinition bundles\.trust\.cert-manager\.io exists/,
    );
    assert.deepEqual(await everything(cluster), installed);

    await admin.delete(CRD);
    await admin.waitUntilGone(CRD);
    const lease = "/apis/coordination.k8s.io/v1/namespaces/cert-manager/leases";
    await admin.create(lease, {
      metadata: { name: "trust-manager-leader-election" },
      spec: { holderIdentity: "somebody" },
    });
    const webhooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    await admin.create(webhooks, {
      metadata: { name: "other-name" },
      webhooks: [{
        name: "trust.cert-manager.io",
        admissionReviewVersions: ["v1"],
        sideEffects: "None",
        clientConfig: { url: "https://localhost:1/" },
        rules: [{
          apiGroups: ["trust.cert-manager.io"],
          apiVersions: ["*"],
          operations: ["*"],
          resources: ["*"],
        }],
      }],
    });
    await admin.create("/apis/apps/v1/namespaces/team-a/deployments", {
      metadata: { name: "trust-manager" },
      spec: {
        selector: { matchLabels: { a: "b" } },
        template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } },
      },
    });
    const again = await demo(cluster, ["--once", "--yes"]);
    assert.equal(again.code, 1, again.out);
    assert.match(again.out, /Deployment trust-manager exists in namespace team-a/);
    assert.match(again.out, /ValidatingWebhookConfiguration other-name is about Bundles/);
    assert.match(again.out, /Lease .* in namespace cert-manager is held by somebody/);
  });
});
