import assert from "node:assert/strict";
import { AuditLog, WRITES } from "./audit.ts";
import { KUBERNETES_VERSION } from "./build_control_plane.ts";
import { startControlPlane } from "./control_plane.ts";
import { kubectl, kubectlApply, serviceAccountKubeconfig } from "./kubectl.ts";
import { RestClient, RestError } from "./rest_client.ts";

/** A custom kind. */
const OWNER = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: owners.example.org}
spec:
  group: example.org
  scope: Cluster
  names: {kind: Owner, plural: owners}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`;

Deno.test("a control plane works like a cluster, and stops without a trace", async (t) => {
  await using controlPlane = await startControlPlane({ kubeconfig: "", manifests: [OWNER] });
  const { admin, own } = controlPlane;
  assert.ok(own !== undefined);
  const audit = new AuditLog(controlPlane);

  await t.step("it is of the pinned version", async () => {
    const { gitVersion } = await admin.request<{ gitVersion: string }>("GET", "/version");
    assert.equal(gitVersion, KUBERNETES_VERSION);
  });

  await t.step("a namespace gets what controllers put there, and goes away with its content", async () => {
    await admin.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: town}}`);
    const isThere = (object: unknown) => object !== undefined;
    await admin.waitFor("/api/v1/namespaces/town/configmaps/kube-root-ca.crt", "is published", isThere);
    await admin.waitFor("/api/v1/namespaces/town/serviceaccounts/default", "is created", isThere);
    await admin.delete("/api/v1/namespaces/town");
    await admin.waitUntilGone("/api/v1/namespaces/town");
    assert.equal(await admin.get("/api/v1/namespaces/town/configmaps/kube-root-ca.crt"), undefined);
  });

  await t.step(
    "an owned object goes with its owner, at once also if the owner is of a custom kind",
    async () => {
      const [owner] = await admin.apply(`{apiVersion: example.org/v1, kind: Owner, metadata: {name: owner}}`);
      const ownerReferences = [{
        apiVersion: "example.org/v1",
        kind: "Owner",
        name: "owner",
        uid: owner?.metadata["uid"],
        controller: true,
        blockOwnerDeletion: true,
      }];
      await admin.apply([{
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "owned", ownerReferences },
      }]);
      await admin.delete("/apis/example.org/v1/owners/owner");
      await admin.waitUntilGone("/api/v1/namespaces/default/configmaps/owned", 20_000);
    },
  );

  await t.step("a service account has the rights that RBAC gives it, and no others", async () => {
    await kubectlApply(
      controlPlane,
      `
      {apiVersion: v1, kind: ServiceAccount, metadata: {name: reader, namespace: default}}
---
      {apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: default},
       rules: [{apiGroups: [""], resources: [configmaps], verbs: [list]}]}
---
      {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader, namespace: default},
       roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader},
       subjects: [{kind: ServiceAccount, name: reader}]}`,
    );
    const kubeconfig = await serviceAccountKubeconfig(controlPlane, "default", "reader");
    using reader = await RestClient.fromKubeconfig(kubeconfig, "reader/1.0");
    const mark = await audit.mark();
    await reader.request("GET", "/api/v1/namespaces/default/configmaps");
    await assert.rejects(
      reader.request("GET", "/api/v1/namespaces/default/secrets"),
      (error) => error instanceof RestError && error.status === 403 && error.reason === "Forbidden",
    );

    const entries = await audit.since(mark, { user: "system:serviceaccount:default:reader" });
    assert.deepEqual(
      entries.map(({ verb, resource, namespace, code, userAgent }) => ({
        verb,
        resource,
        namespace,
        code,
        userAgent,
      })),
      [
        { verb: "list", resource: "configmaps", namespace: "default", code: 200, userAgent: "reader/1.0" },
        { verb: "list", resource: "secrets", namespace: "default", code: 403, userAgent: "reader/1.0" },
      ],
    );
  });

  await t.step("the audit log tells writes from reads, and shows a watch while it runs", async () => {
    const mark = await audit.mark();
    await kubectl(controlPlane, ["create", "configmap", "written"]);
    const watch = await fetch(`${controlPlane.server}/api/v1/namespaces/default/configmaps?watch=1`, {
      headers: { authorization: `Bearer ${admin.config.token}`, "user-agent": "watcher" },
      client: admin.httpClient,
    });
    const written = await audit.since(mark, { verb: WRITES });
    assert.deepEqual(written.map(({ verb, name }) => `${verb} ${name}`), ["create written"]);
    assert.equal((await audit.since(mark, { verb: "watch", userAgent: "watcher" })).length, 1);
    await watch.body?.cancel();
    assert.equal((await audit.since(mark, { verb: "watch", userAgent: "watcher" })).length, 1);
    assert.deepEqual(await audit.since(await audit.mark()), []);
  });

  await t.step("its state survives a restart of the API server", async () => {
    const before = own.pids();
    await own.restartApiServer();
    const after = own.pids();
    assert.notEqual(after["kube-apiserver"], before["kube-apiserver"]);
    assert.equal(after.etcd, before.etcd);
    assert.ok(await admin.get("/api/v1/namespaces/default/configmaps/written"));
  });

  await t.step("stopped, it leaves neither process nor file", async () => {
    const pids = Object.values(own.pids());
    assert.deepEqual(pids.map(isAlive), [true, true, true]);
    await controlPlane.stop();
    assert.deepEqual(pids.map(isAlive), [false, false, false]);
    await assert.rejects(Deno.stat(controlPlane.dir), Deno.errors.NotFound);
    await controlPlane.stop();
  });
});

function isAlive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
