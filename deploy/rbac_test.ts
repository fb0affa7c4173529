import assert from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { parseCommandLine } from "../lib/options.ts";
import { startControlPlane } from "../tests/cluster/control_plane.ts";
import type { RestClient } from "../tests/cluster/rest_client.ts";
import { until } from "../tests/until.ts";

const OPERATOR = "system:serviceaccount:cert-manager:trust-manager";
const ALL_VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/** What may be done to which resource in which namespace, if it is not nothing. */
const grants: { what: string; namespace: string; name?: string; verbs: string[] }[] = [
  { what: "trust.cert-manager.io/bundles", namespace: "", verbs: ["get", "list", "watch"] },
  { what: "trust.cert-manager.io/bundles/status", namespace: "", verbs: ["patch"] },
  { what: "trust.cert-manager.io/bundles/finalizers", namespace: "", verbs: ["update"] },
  { what: "/namespaces", namespace: "", verbs: ["get", "list", "watch"] },
  { what: "/configmaps", namespace: "", verbs: ["get", "list", "watch", "create", "patch", "delete"] },
  { what: "/configmaps", namespace: "default", verbs: ["get", "list", "watch", "create", "patch", "delete"] },
  { what: "events.k8s.io/events", namespace: "default", verbs: ["create", "patch"] },
  { what: "events.k8s.io/events", namespace: "cert-manager", verbs: [] },
  { what: "events.k8s.io/events", namespace: "", verbs: [] },
  { what: "/secrets", namespace: "cert-manager", verbs: ["get", "list", "watch"] },
  { what: "/secrets", namespace: "default", verbs: [] },
  { what: "/secrets", namespace: "", verbs: [] },
  {
    what: "coordination.k8s.io/leases",
    namespace: "cert-manager",
    name: "trust-manager-leader-election",
    verbs: ["get", "create", "update"],
  },
  { what: "coordination.k8s.io/leases", namespace: "cert-manager", name: "another", verbs: ["create"] },
  { what: "coordination.k8s.io/leases", namespace: "cert-manager", verbs: ["create"] },
  { what: "coordination.k8s.io/leases", namespace: "default", verbs: [] },
  { what: "/events", namespace: "default", verbs: [] },
  { what: "/pods", namespace: "cert-manager", verbs: [] },
  { what: "/serviceaccounts/token", namespace: "cert-manager", verbs: [] },
  { what: "rbac.authorization.k8s.io/clusterroles", namespace: "", verbs: [] },
];

/** With rbac_secret_targets.yaml. */
const moreGrants: typeof grants = [
  { what: "/secrets", namespace: "default", verbs: ["get", "list", "watch", "create", "patch", "delete"] },
  { what: "/secrets", namespace: "", verbs: ["get", "list", "watch", "create", "patch", "delete"] },
  { what: "/configmaps", namespace: "default", verbs: ["get", "list", "watch", "create", "patch", "delete"] },
];

Deno.test("the operator may do what it must, and nothing else", async (t) => {
  const read = (file: string) => Deno.readTextFile(`${import.meta.dirname}/${file}`);
  await using controlPlane = await startControlPlane({
    kubeconfig: "",
    manifests: [`{apiVersion: v1, kind: Namespace, metadata: {name: cert-manager}}`, await read("rbac.yaml")],
  });
  const { admin } = controlPlane;

  // The API server decides by what its watches have shown it.
  const untilKnown = (is: boolean, what: string, verb: string) =>
    until(
      async () => (await allowed(admin, what, "default")).includes(verb) === is,
      `${verb} of ${what} is ${is ? "granted" : "refused"}`,
    );

  await untilKnown(true, "/configmaps", "get");
  for (const { what, namespace, name = "", verbs } of grants) {
    const which = `${what}${name && ` ${name}`} in ${namespace || "all namespaces"}`;
    await t.step(`${which}: ${verbs.join(" ") || "nothing"}`, async () => {
      assert.deepEqual(await allowed(admin, what, namespace, name), verbs.toSorted());
    });
  }

  await t.step("with the addition for Secret targets", async (t) => {
    await admin.apply(await read("rbac_secret_targets.yaml"));
    await untilKnown(true, "/secrets", "get");
    for (const { what, namespace, verbs } of moreGrants) {
      await t.step(`${what} in ${namespace || "all namespaces"}: ${verbs.join(" ")}`, async () => {
        assert.deepEqual(await allowed(admin, what, namespace), verbs.toSorted());
      });
    }
  });

  await t.step("with the addition narrowed as its comment says", async () => {
    const text = await read("rbac_secret_targets.yaml");
    const comment = text.split("\n").filter((line) => line.startsWith("#   ")).map((line) => line.slice(4))
      .join("\n");
    const [role] = parseAllDocuments(text).map((document) => document.toJS());
    await admin.apply([{ ...role, ...parse(comment) }]);

    await untilKnown(false, "/secrets", "get");
    assert.deepEqual(await allowed(admin, "/secrets", "default"), []);
    assert.deepEqual(await allowed(admin, "/secrets", "default", "another"), []);
    assert.deepEqual(
      await allowed(admin, "/secrets", "default", "my-bundle"),
      ["create", "delete", "list", "patch", "watch"],
    );
    // So that the operator looks at no others.
    const flag = /--[a-z-]+=my-bundle,my-other-bundle/.exec(text)?.[0] ?? "";
    const command = parseCommandLine(["--secret-targets-enabled", flag]);
    assert.ok(command.run === "operator");
    assert.deepEqual(command.options.secretTargetNames, ["my-bundle", "my-other-bundle"]);
  });
});

/** The verbs that RBAC grants, sorted. */
async function allowed(admin: RestClient, what: string, namespace: string, name = ""): Promise<string[]> {
  const [group, resource, subresource = ""] = what.split("/");
  const granted: string[] = [];
  for (const verb of ALL_VERBS) {
    const review = await admin.create<{ status: { allowed: boolean } }>(
      "/apis/authorization.k8s.io/v1/subjectaccessreviews",
      {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: {
          user: OPERATOR,
          groups: ["system:serviceaccounts", "system:serviceaccounts:cert-manager", "system:authenticated"],
          resourceAttributes: { verb, group, resource, subresource, namespace, name },
        },
      },
    );
    if (review.status.allowed) granted.push(verb);
  }
  return granted.sort();
}
