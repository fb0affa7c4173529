import assert from "node:assert/strict";
import type { Bundle } from "../../lib/api/bundle.ts";
import { TestProxy } from "../../lib/kube/test_proxy.ts";
import { canonicalPem, pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { until } from "../until.ts";
import { OperatorInside } from "./operator_inside.ts";
import { bundlePath, TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const OPERATOR = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;

Deno.test("Faults of others do not stop the operator, and are told", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, audit } = cluster;
  const target = (label: string) => ({
    configMap: { key: "ca.pem" },
    namespaceSelector: { matchLabels: { [label]: "yes" } },
  });
  const sources = [{ inLine: pemText(ROOT_1) }];

  /** The operator's kubeconfig, by way of a proxy. */
  async function throughProxy({ port }: TestProxy): Promise<string> {
    const text = await Deno.readTextFile(cluster.operatorKubeconfig);
    const path = `${cluster.controlPlane.dir}/proxy-${port}.yaml`;
    await Deno.writeTextFile(
      path,
      text.replaceAll(new URL(cluster.controlPlane.server).host, `127.0.0.1:${port}`),
    );
    return path;
  }

  await t.step("Namespaces that hang hold nobody up, however many they are", async () => {
    await using _operator = await cluster.operator();
    // Accepts connections, and says nothing.
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const held: Deno.Conn[] = [];
    const accepting = (async () => {
      for await (const connection of listener) held.push(connection);
    })().catch(() => {});
    for (let i = 0; i < 20; i++) {
      await cluster.createNamespace(`a-hangs-${i}`, { h: "yes", hangs: "yes" });
      await cluster.createNamespace(`b-works-${i}`, { h: "yes" });
    }
    await admin.apply([{
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingWebhookConfiguration",
      metadata: { name: "hangs" },
      webhooks: [{
        name: "hangs.example.com",
        clientConfig: { url: `https://127.0.0.1:${listener.addr.port}/` },
        rules: [{
          apiGroups: [""],
          apiVersions: ["v1"],
          operations: ["CREATE", "UPDATE"],
          resources: ["configmaps"],
        }],
        namespaceSelector: { matchLabels: { hangs: "yes" } },
        failurePolicy: "Fail",
        sideEffects: "None",
        admissionReviewVersions: ["v1"],
        timeoutSeconds: 20,
      }],
    }]);
    try {
      // The webhook takes a moment to be in force.
      const probe = "/api/v1/namespaces/a-hangs-0/configmaps?dryRun=All&timeout=1s";
      await until(
        () =>
          admin.create(probe, { metadata: { name: "probe" } }).then(
            () => false,
            ({ status }) => status >= 500,
          ),
        "a write hangs",
      );
      await cluster.putBundle("hangs", { sources, target: target("h") });
      for (let i = 0; i < 20; i++) {
        await cluster.targetBecomes(`b-works-${i}`, "hangs", "is written", (it) => it !== undefined);
      }
      // Those that hang are still being tried: nothing has been given up to get there.
      assert.equal((await cluster.getBundle("hangs"))?.status?.conditions, undefined);
      const condition = await cluster.condition("hangs", "False");
      assert.equal(condition.reason, "SyncConfigMapTargetFailed");
      assert.match(
        condition.message,
        /^Failed to sync bundle ConfigMap to namespace "a-hangs-0": .* \(and 19 more\)$/,
      );
      // Another Bundle, and a new namespace, are as quick as ever.
      await cluster.createNamespace("b-works-new", { h: "yes" });
      await cluster.targetBecomes("b-works-new", "hangs", "is written", (it) => it !== undefined);
    } finally {
      await admin.delete("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/hangs");
      listener.close();
      await accepting;
      held.forEach((connection) => connection.close());
    }
    await cluster.synced("hangs");
    await cluster.deleteBundles("hangs");
  });

  await t.step(
    "A target that somebody else changes again and again is repaired after pauses, and that is told",
    async () => {
      await using operator = await cluster.operator();
      await cluster.createNamespace("contested", { contested: "yes" });
      await cluster.putBundle("contested", { sources, target: target("contested") });
      await cluster.synced("contested");
      const mark = await audit.mark();
      const path = "/api/v1/namespaces/contested/configmaps/contested";
      let attacks = 0;
      const start = performance.now();
      const seconds = () => (performance.now() - start) / 1000;
      await until(async () => {
        const text = (await cluster.target("contested", "contested"))?.data?.["ca.pem"];
        if (text === canonicalPem(ROOT_1)) {
          await admin.mergePatch(path, { data: { "ca.pem": `theirs ${attacks++}` } });
        }
        if (seconds() < 5) return false;
        return (await cluster.events("contested")).some(({ reason }) => reason === "TargetContested");
      }, () => `it is contested; it was changed ${attacks} times`);
      const repairs = await audit.since(mark, { user: OPERATOR, verb: "patch", resource: "configmaps" });
      // Five at once, and then with pauses that double, from 1 s on.
      const most = 7 + Math.floor(Math.log2(1 + seconds()));
      assert.ok(repairs.length <= most, `${repairs.length} repairs within ${seconds()} s`);
      const event = await cluster.event("contested", "TargetContested");
      assert.match(event.note, /^ConfigMap contested\/contested is changed again and again by somebody else/);
      // Once it is left alone, it is right.
      await cluster.targetBecomes(
        "contested",
        "contested",
        "is repaired",
        (it) => it?.data?.["ca.pem"] === canonicalPem(ROOT_1),
      );
      assert.equal(await operator.stop(), 0);
      await cluster.deleteBundles("contested");
    },
  );

  await t.step("A status that somebody else removes is written again", async () => {
    await using operator = await cluster.operator();
    await cluster.createNamespace("wiped", { wiped: "yes" });
    await cluster.putBundle("wiped", { sources, target: target("wiped") });
    const before = await cluster.synced("wiped");
    await admin.request("PATCH", `${bundlePath("wiped")}/status`, {
      body: { status: { conditions: [{ ...before, status: "False", reason: "Wrong" }] } },
      contentType: "application/merge-patch+json",
    });
    const after = await cluster.synced("wiped");
    assert.equal(after.message, before.message);
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundles("wiped");
  });

  await t.step(
    "A connection that freezes is replaced: a change that it did not carry arrives all the same",
    async () => {
      const server = new URL(cluster.controlPlane.server);
      using proxy = new TestProxy(Number(server.port));
      const text = await Deno.readTextFile(cluster.operatorKubeconfig);
      const kubeconfig = `${cluster.controlPlane.dir}/through-proxy.yaml`;
      await Deno.writeTextFile(kubeconfig, text.replaceAll(server.host, `127.0.0.1:${proxy.port}`));
      await using _operator = OperatorInside.start(kubeconfig, [], 3_000);
      await cluster.createNamespace("frozen", { frozen: "yes" });
      await cluster.putConfigMap(TRUST_NAMESPACE, "frozen", { "ca.crt": pemText(ROOT_1) });
      await cluster.putBundle("frozen", {
        sources: [{ configMap: { name: "frozen", key: "ca.crt" } }],
        target: target("frozen"),
      });
      await cluster.synced("frozen");
      proxy.freeze();
      await cluster.putConfigMap(TRUST_NAMESPACE, "frozen", { "ca.crt": pemText(ROOT_2) });
      await cluster.createNamespace("frozen-new", { frozen: "yes" });
      for (const namespace of ["frozen", "frozen-new"]) {
        await cluster.targetBecomes(
          namespace,
          "frozen",
          "follows",
          (it) => it?.data?.["ca.pem"] === canonicalPem(ROOT_2),
        );
      }
      await cluster.deleteBundles("frozen");
    },
  );

  await t.step("A list that is refused is told, and what is known goes on", async () => {
    using proxy = new TestProxy(Number(new URL(cluster.controlPlane.server).port));
    await using operator = await cluster.operatorWith({ kubeconfig: await throughProxy(proxy) });
    await cluster.createNamespace("listed", { listed: "yes" });
    await cluster.putBundle("listed", { sources, target: target("listed") });
    await cluster.synced("listed");
    const path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/trust-manager";
    const { rules } = await admin.request<{ rules: { resources: string[] }[] }>("GET", path);
    const allowed = (resources: readonly string[]) =>
      admin.mergePatch(path, {
        rules: rules.filter((rule) => !rule.resources.some((it) => resources.includes(it))),
      });
    try {
      await allowed(["namespaces"]);
      // Until it ends, a watch that has begun goes on.
      proxy.breakAll();
      const event = await cluster.event("listed", "NamespaceListError");
      assert.match(event.note, /^Failed to list namespaces: namespaces is forbidden: /);
      assert.deepEqual([event.type, event.action], ["Warning", "SyncFailed"]);
      await cluster.putBundle("listed", { sources: [{ inLine: pemText(ROOT_2) }], target: target("listed") });
      await cluster.targetBecomes(
        "listed",
        "listed",
        "follows",
        (it) => it?.data?.["ca.pem"] === canonicalPem(ROOT_2),
      );
      assert.equal(await operator.probe("/readyz"), 200);
    } finally {
      await allowed([]);
    }
    await cluster.createNamespace("listed-new", { listed: "yes" });
    await cluster.targetBecomes("listed-new", "listed", "is written", (it) => it !== undefined);
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundles("listed");
  });

  await t.step("What an admission webhook changes is told, and not written for ever", async () => {
    await using operator = await cluster.operator();
    await cluster.createNamespace("mutated", { mutated: "yes" });
    await admin.apply([{
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "MutatingAdmissionPolicy",
      metadata: { name: "mutates" },
      spec: {
        matchConstraints: {
          namespaceSelector: { matchLabels: { mutated: "yes" } },
          resourceRules: [{
            apiGroups: [""],
            apiVersions: ["v1"],
            operations: ["CREATE", "UPDATE"],
            resources: ["configmaps"],
          }],
        },
        matchConditions: [{ name: "target", expression: "object.metadata.name == 'mutated'" }],
        failurePolicy: "Fail",
        reinvocationPolicy: "Never",
        mutations: [{
          patchType: "ApplyConfiguration",
          applyConfiguration: {
            expression:
              `Object{metadata: Object.metadata{annotations: {"trust.cert-manager.io/hash": "another"}}}`,
          },
        }],
      },
    }, {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "MutatingAdmissionPolicyBinding",
      metadata: { name: "mutates" },
      spec: { policyName: "mutates" },
    }]);
    try {
      const mutates = async () => {
        await cluster.putConfigMap("mutated", "mutated", { probe: String(Math.random()) });
        return (await cluster.target("mutated", "mutated"))?.metadata.annotations !== undefined;
      };
      // A policy takes a moment to be in force.
      while (!await mutates());
      const mark = await audit.mark();
      const start = performance.now();
      await cluster.putBundle("mutated", { sources, target: target("mutated") });
      const condition = await cluster.condition("mutated", "False");
      assert.match(
        condition.message,
        /mutated\/mutated: the API server accepted it but stores something else/,
      );
      const writes = await audit.since(mark, { user: OPERATOR, verb: "patch", resource: "configmaps" });
      // Pauses double, from 0.5 s on.
      const seconds = (performance.now() - start) / 1000;
      assert.ok(writes.length <= 2 + Math.log2(1 + seconds / 0.5), `${writes.length} writes in ${seconds} s`);
    } finally {
      await admin.delete("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/mutates");
      await admin.delete("/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/mutates");
    }
    await cluster.synced("mutated");
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundles("mutated");
  });

  await t.step("A stored Bundle that admission would refuse is synced, and told", async () => {
    await using operator = await cluster.operator();
    await cluster.createNamespace("refused", { refused: "yes" });
    await cluster.putBundle("refused", {
      sources,
      target: {
        ...target("refused"),
        configMap: { key: "ca.pem", metadata: { labels: { "trust-manager.io/x": "y" } } },
      },
    });
    await cluster.synced("refused");
    const event = await cluster.event("refused", "InvalidBundle");
    assert.equal(event.type, "Warning");
    assert.match(event.note, /trust-manager\.io\/\* labels are not allowed$/);
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundles("refused");
  });

  await t.step("A Bundle that is deleted and made anew gets targets of its own", async () => {
    await using operator = await cluster.operator();
    await cluster.createNamespace("anew", { anew: "yes" });
    await cluster.putBundle("anew", { sources, target: target("anew") });
    await cluster.synced("anew");
    await admin.delete(bundlePath("anew"));
    await cluster.putBundle("anew", { sources, target: target("anew") });
    const uid = (await admin.get<Bundle>(bundlePath("anew")))?.metadata.uid;
    await cluster.synced("anew");
    await cluster.targetBecomes(
      "anew",
      "anew",
      "belongs to the new Bundle",
      (it) => it?.metadata.ownerReferences?.length === 1 && it.metadata.ownerReferences[0]?.uid === uid,
    );
    assert.equal(await operator.stop(), 0);
  });
});
