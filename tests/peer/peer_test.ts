import assert from "node:assert/strict";
import { AuditLog } from "../cluster/audit.ts";
import { startControlPlane } from "../cluster/control_plane.ts";
import { serviceAccountKubeconfig } from "../cluster/kubectl.ts";
import type { RestObject } from "../cluster/rest_client.ts";
import { startPeer } from "./run_peer.ts";

const DEPLOY = `${import.meta.dirname}/../../deploy`;

/** The older events API, which the peer still uses beside the newer one. */
const PEER_EVENTS = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: peer-events}
rules: [{apiGroups: [""], resources: [events], verbs: [create, patch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: peer-events}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: peer-events}
subjects: [{kind: ServiceAccount, name: trust-manager, namespace: cert-manager}]
`;

Deno.test("the Go trust-manager works with this project's CRD and RBAC", async () => {
  const read = (file: string) => Deno.readTextFile(`${DEPLOY}/${file}`);
  await using controlPlane = await startControlPlane({
    kubeconfig: "",
    manifests: [
      await read("crds/trust.cert-manager.io_bundles.yaml"),
      `{apiVersion: v1, kind: Namespace, metadata: {name: cert-manager}}`,
      await read("rbac.yaml"),
      await read("rbac_secret_targets.yaml"),
      PEER_EVENTS,
    ],
  });
  const { admin } = controlPlane;
  const audit = new AuditLog(controlPlane);
  const mark = await audit.mark();
  const kubeconfig = await serviceAccountKubeconfig(controlPlane, "cert-manager", "trust-manager");
  await using peer = await startPeer({ kubeconfig, args: ["--secret-targets-enabled"] });

  const bundles = "/apis/trust.cert-manager.io/v1alpha1/bundles";
  const target = { configMap: { key: "ca.crt" }, secret: { key: "ca.crt" } };
  await admin.create(bundles, {
    apiVersion: "trust.cert-manager.io/v1alpha1",
    kind: "Bundle",
    metadata: { name: "example" },
    spec: { sources: [{ inLine: peer.webhookCa }], target },
  });
  await admin.waitFor(`${bundles}/example`, "is synced", isSynced);
  for (const resource of ["configmaps", "secrets"]) {
    const written = await admin.get(`/api/v1/namespaces/default/${resource}/example`);
    assert.deepEqual(Object.keys(Object(written?.["data"])), ["ca.crt"]);
  }

  await admin.delete(`${bundles}/example`);
  await admin.waitUntilGone("/api/v1/namespaces/default/configmaps/example");

  const requests = await audit.since(mark, { user: "system:serviceaccount:cert-manager:trust-manager" });
  assert.ok(requests.length > 0);
  assert.deepEqual(requests.filter(({ code }) => code === 403), []);
});

function isSynced(bundle: RestObject | undefined): boolean {
  const status = Object(bundle?.["status"]);
  return status.conditions?.some((it: { type: string; status: string }) =>
    it.type === "Synced" && it.status === "True"
  );
}
