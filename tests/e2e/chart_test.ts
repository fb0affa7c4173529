import assert from "node:assert/strict";
import { OPERATOR_FLAGS, SCRIPT } from "../../build.ts";
import type { BundleSpec, TargetKind } from "../../lib/api/bundle.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { canonicalPem as pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { AuditLog } from "../cluster/audit.ts";
import { type ControlPlane, startControlPlane } from "../cluster/control_plane.ts";
import { goModuleDirectory } from "../cluster/go_module.ts";
import { serviceAccountKubeconfig } from "../cluster/kubectl.ts";
import { RestClient, RestError, type RestObject } from "../cluster/rest_client.ts";
import { CASES, PEER_VALUES_FILES, type Values } from "../helm/cases.ts";
import { customResourceDefinitions } from "../helm/custom_resources.ts";
import { CHART, Helm, HelmError, VALUES_FILE } from "../helm/helm.ts";
import { ROOT } from "../project_files.ts";
import { until } from "../until.ts";
import { OperatorProcess } from "./operator_process.ts";
import { bundlePath, targetPath, TRUST_NAMESPACE } from "./test_cluster.ts";
import { parse } from "yaml";

const BUNDLE = "trust.cert-manager.io/v1alpha1";
const DEPLOYMENT = `/apis/apps/v1/namespaces/${TRUST_NAMESPACE}/deployments/trust-manager`;
const CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/trust-manager";

function namespace(name: string, labels: Record<string, string> = {}): RestObject {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } };
}

/** A control plane with some namespaces and nothing of ours, and Helm to install the chart there. */
class ChartCluster implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly audit: AuditLog;
  readonly helm: Helm;

  private constructor(controlPlane: ControlPlane, helm: Helm) {
    this.controlPlane = controlPlane;
    this.audit = new AuditLog(controlPlane);
    this.helm = helm;
  }

  static async start(
    options: { namespaces: readonly string[]; manifests?: readonly string[] },
  ): Promise<ChartCluster> {
    const controlPlane = await startControlPlane({
      kubeconfig: "",
      manifests: [
        ...[TRUST_NAMESPACE, ...options.namespaces].map((name) => JSON.stringify(namespace(name))),
        ...options.manifests ?? [],
      ],
    });
    try {
      return new ChartCluster(controlPlane, await Helm.find(controlPlane.kubeconfig));
    } catch (error) {
      await controlPlane.stop();
      throw error;
    }
  }

  get admin(): RestClient {
    return this.controlPlane.admin;
  }

  /** Installs the chart, or upgrades it; the values are all that are not default. */
  async install(values: Values, chart = CHART): Promise<void> {
    await this.helm.run(
      [
        "upgrade",
        "--install",
        "trust-manager",
        chart,
        `--namespace=${TRUST_NAMESPACE}`,
        "--values",
        VALUES_FILE,
      ],
      values,
    );
  }

  /** The arguments of the Deployment, as it is in the cluster. */
  async args(): Promise<string[]> {
    const deployment = await this.admin.get(DEPLOYMENT);
    return [...Object(deployment?.["spec"]).template.spec.containers[0].args];
  }

  /** A client with the rights of the pod. */
  async asOperator(): Promise<RestClient> {
    return await RestClient.fromKubeconfig(await this.#kubeconfig());
  }

  /** Runs the operator as the pod would, with its arguments and ServiceAccount; only its ports and files are others. */
  async operator(...flags: string[]): Promise<OperatorProcess> {
    const own = /^--(metrics-port|readiness-probe-port|default-package-location|webhook-host|webhook-port)=/;
    const operator = OperatorProcess.start(OPERATOR_FLAGS, SCRIPT, [
      ...(await this.args()).filter((arg) => !own.test(arg)),
      `--kubeconfig=${await this.#kubeconfig()}`,
      ...flags,
    ]);
    await operator.ready();
    return operator;
  }

  async putBundle(name: string, spec: BundleSpec): Promise<void> {
    await this.admin.apply([{ apiVersion: BUNDLE, kind: "Bundle", metadata: { name }, spec }]);
  }

  /** Waits for the condition of a Bundle to have a status, and returns its message. */
  async condition(name: string, status: "True" | "False"): Promise<string> {
    let message = "";
    await this.admin.waitFor(bundlePath(name), `is Synced=${status}`, (bundle) => {
      const [condition] = Object(bundle?.["status"]).conditions ?? [];
      message = condition?.message ?? "";
      return condition?.status === status &&
        condition.observedGeneration === bundle?.metadata["generation"];
    });
    return message;
  }

  /** Waits until a target holds that text under `ca.pem`. */
  async holds(where: string, name: string, pem: string, kind: TargetKind = "ConfigMap"): Promise<void> {
    const wanted = kind === "ConfigMap" ? pem : btoa(pem);
    await this.admin.waitFor<ConfigMap>(
      targetPath(where, name, kind),
      "holds the bundle",
      (target) => target?.data?.["ca.pem"] === wanted,
    );
  }

  async deleteBundle(name: string): Promise<void> {
    await this.admin.delete(bundlePath(name));
    await this.admin.waitUntilGone(bundlePath(name));
  }

  async #kubeconfig(): Promise<string> {
    return await serviceAccountKubeconfig(this.controlPlane, TRUST_NAMESPACE, "trust-manager");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.controlPlane.stop();
  }
}

/** The status code of a request that is refused; 200 if it is not. */
async function statusOf(client: RestClient, path: string): Promise<number> {
  try {
    await client.text(path);
    return 200;
  } catch (error) {
    if (error instanceof RestError) return error.status;
    throw error;
  }
}

Deno.test("What the chart renders to is what an API server takes", async (t) => {
  await using cluster = await ChartCluster.start({
    namespaces: ["ns-a", "ns-b", "elsewhere", "trust", "restricted"],
    manifests: (await customResourceDefinitions()).map((definition) => JSON.stringify(definition)),
  });
  const { admin, helm } = cluster;
  const apply = async (object: RestObject) => {
    const query = "fieldManager=tests&force=true&fieldValidation=Strict&dryRun=All";
    const contentType = "application/apply-patch+yaml";
    await admin.request("PATCH", `${await admin.pathOf(object)}?${query}`, { body: object, contentType });
  };
  for (const [name, values] of Object.entries(CASES)) {
    await t.step(name, async () => {
      for (const object of await helm.render({ values })) await apply(object);
    });
  }

  await t.step("A field that there is not is refused", async () => {
    const objects = await helm.render();
    const deployment = objects.find(({ kind }) => kind === "Deployment");
    assert.ok(deployment);
    await assert.rejects(
      apply({ ...deployment, spec: { ...Object(deployment["spec"]), replica: 1 } }),
      /unknown field|field not declared in schema/,
    );
  });

  await t.step("Pods are such as Pod Security's restricted level admits", async () => {
    await admin.apply([namespace("restricted", { "pod-security.kubernetes.io/enforce": "restricted" })]);
    const account = { metadata: { name: "trust-manager" } };
    await admin.create("/api/v1/namespaces/restricted/serviceaccounts", account);
    for (const name of ["defaults", "the package as an image volume", "a certificate of the operator"]) {
      const objects = await helm.render({ values: CASES[name] ?? {}, namespace: "restricted" });
      const { template } = Object(objects.find(({ kind }) => kind === "Deployment")?.["spec"]);
      const pod = { ...template, metadata: { ...template.metadata, name: "pod" } };
      await admin.create("/api/v1/namespaces/restricted/pods?dryRun=All&fieldValidation=Strict", pod);
      const root = { ...pod, spec: { ...pod.spec, securityContext: { runAsUser: 0 } } };
      await assert.rejects(
        admin.create("/api/v1/namespaces/restricted/pods?dryRun=All", root),
        /violates PodSecurity/,
      );
    }
  });
});

Deno.test("Helm installs, upgrades, rolls back and uninstalls", async (t) => {
  await using cluster = await ChartCluster.start({ namespaces: ["pki"] });
  const { admin, helm } = cluster;
  await admin.apply(await customResourceDefinitions());
  const peer = await goModuleDirectory(`${ROOT}/tests/peer`, "github.com/cert-manager/trust-manager");
  const peerChart = `${peer}/deploy/charts/trust-manager`;
  const release = [`--namespace=${TRUST_NAMESPACE}`];

  for (const [name, yaml] of Object.entries(PEER_VALUES_FILES)) {
    await t.step(`From the Go project's chart, with its values: ${name}`, async () => {
      const values: Values = parse(yaml);
      await cluster.install(values, peerChart);
      const before = await admin.get(DEPLOYMENT);
      await cluster.install(values);
      const after = await admin.get(DEPLOYMENT);
      assert.equal(after?.metadata["uid"], before?.metadata["uid"], "the Deployment was made anew");
      assert.ok((await cluster.args()).includes("--webhook-host=0.0.0.0"));

      await helm.run(["rollback", "trust-manager", ...release]);
      const back = await admin.get(DEPLOYMENT);
      assert.equal(back?.metadata["uid"], before?.metadata["uid"]);
      assert.deepEqual(Object(back?.["spec"]).template, Object(before?.["spec"]).template);

      await cluster.install(values);
      await helm.run(["uninstall", "trust-manager", ...release]);
      const crd = await admin.get(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bundles.trust.cert-manager.io",
      );
      const keeps = values["crds"] === undefined;
      assert.equal(crd === undefined || crd.metadata["deletionTimestamp"] !== undefined, !keeps);
      assert.equal(await admin.get(DEPLOYMENT), undefined);
      if (!keeps) {
        await admin.waitUntilGone(
          "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bundles.trust.cert-manager.io",
        );
      }
    });
  }

  await t.step("Defaults of the other chart are not taken for this one's", async () => {
    await cluster.install({}, peerChart);
    const upgrade = ["upgrade", "trust-manager", CHART, ...release];
    await assert.rejects(
      helm.run([...upgrade, "--reuse-values"]),
      (error) => error instanceof HelmError && /--reset-then-reuse-values/.test(error.message),
    );
    await helm.run([...upgrade, "--reset-then-reuse-values"]);
  });

  await t.step("A certificate of Helm is made once, and kept", async () => {
    const values = { app: { webhook: { tls: { helmCert: { enabled: true } } } } };
    await cluster.install(values);
    const secret = `/api/v1/namespaces/${TRUST_NAMESPACE}/secrets/trust-manager-tls`;
    const first = await admin.get(secret);
    const generation = (await admin.get(DEPLOYMENT))?.metadata["generation"];
    const caBundle = async () => Object(await admin.get(CONFIGURATION)).webhooks[0].clientConfig.caBundle;
    assert.equal(await caBundle(), Object(first?.["data"])["ca.crt"]);

    await cluster.install(values);
    await cluster.install(values);
    assert.deepEqual((await admin.get(secret))?.["data"], first?.["data"]);
    assert.equal((await admin.get(DEPLOYMENT))?.metadata["generation"], generation, "pods were replaced");
    const render = () => helm.template({ values, args: ["--dry-run=server"] });
    assert.equal(await render(), await render());

    await admin.delete(secret);
    await cluster.install(values);
    const second = await admin.get(secret);
    assert.notDeepEqual(second?.["data"], first?.["data"]);
    assert.equal(await caBundle(), Object(second?.["data"])["ca.crt"]);
    assert.notEqual((await admin.get(DEPLOYMENT))?.metadata["generation"], generation);
  });
});

Deno.test("Helm installs, upgrades, rolls back and uninstalls with Bundles in extraObjects", async (t) => {
  await using cluster = await ChartCluster.start({ namespaces: [] });
  const { admin, helm } = cluster;
  const on = { app: { webhook: { tls: { selfManaged: { enabled: true } } } } };
  const off = { app: { webhook: { enabled: false } } };
  const extra = (...names: string[]) => ({
    extraObjects: names.map((name) => ({
      apiVersion: BUNDLE,
      kind: "Bundle",
      metadata: { name },
      spec: { sources: [{ inLine: pemText(ROOT_1) }], target: { configMap: { key: "ca.pem" } } },
    })),
  });
  const release = async (command: string) =>
    await helm.run([command, "trust-manager", `--namespace=${TRUST_NAMESPACE}`]);
  const policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/trust-manager";
  /** What becomes of a Bundle that is written while no pod is there, as is always so here, and which Bundles there are. */
  const state = async () => {
    const configuration = await admin.get(CONFIGURATION);
    const bundles = await admin.get<{ items: RestObject[] }>(`/apis/${BUNDLE}/bundles`);
    return [
      configuration === undefined ? "no webhook" : Object(configuration).webhooks[0].failurePolicy,
      await admin.get(policies) === undefined ? "no policy" : "a policy",
      ...(bundles?.items ?? []).map(({ metadata }) => metadata.name),
    ];
  };
  const refused = async (act: Promise<unknown>, message: RegExp) =>
    await assert.rejects(act, (error) => error instanceof HelmError && message.test(error.message));

  await t.step(
    "Before the cluster knows Bundles, it says what to do, and nothing is left behind",
    async () => {
      await refused(
        cluster.install({ ...on, ...extra("a") }),
        /Leave the Bundles out of the first installation/,
      );
      assert.deepEqual(await state(), ["no webhook", "no policy"]);
      await refused(
        cluster.install({ ...off, ...extra("a") }),
        /Leave the Bundles out of the first installation/,
      );
    },
  );
  await t.step("An upgrade adds them, also while no pod is ready", async () => {
    await cluster.install(on);
    // Right after the CRD, the API server answers 429 while it sets the kind up.
    await until(
      () => statusOf(admin, `/apis/${BUNDLE}/bundles`).then((it) => it === 200),
      "Bundles are served",
    );
    assert.deepEqual(await state(), ["Fail", "no policy"]);
    await cluster.install({ ...on, ...extra("a") });
    assert.deepEqual(await state(), ["Ignore", "a policy", "a"]);
    const notes = await helm.run(["get", "notes", "trust-manager", `--namespace=${TRUST_NAMESPACE}`]);
    assert.match(notes, /failurePolicy Ignore.*\n?.*upgrade again/);
  });
  await t.step("Once a pod is ready, the webhook is not optional", async () => {
    await admin.mergePatch(`${DEPLOYMENT}/status`, { status: { replicas: 1, readyReplicas: 1 } });
    const rendered = await helm.template({
      values: { ...on, ...extra("a") },
      args: ["--dry-run=server", "--is-upgrade"],
    });
    assert.match(rendered, /failurePolicy: Fail/);
    assert.doesNotMatch(rendered, /ValidatingAdmissionPolicy/);
    await admin.mergePatch(`${DEPLOYMENT}/status`, { status: { readyReplicas: 0, replicas: 0 } });
  });
  await t.step("It is rolled back, to less and to no webhook", async () => {
    await release("rollback");
    assert.deepEqual(await state(), ["Fail", "no policy"]);
    await refused(
      cluster.install({ ...off, ...extra("a") }),
      /kubectl delete validatingwebhookconfiguration trust-manager/,
    );
    await admin.delete(CONFIGURATION);
    await cluster.install({ ...off, ...extra("a") });
    await cluster.install({ ...on, ...extra("a", "b") });
    assert.deepEqual(await state(), ["Ignore", "a policy", "a", "b"]);
    await release("rollback");
    assert.deepEqual(await state(), ["no webhook", "a policy", "a"]);
  });
  await t.step("It is uninstalled, and installed again where the CRD was kept", async () => {
    await cluster.install({ ...on, ...extra("a") });
    await release("uninstall");
    assert.deepEqual(await state(), ["no webhook", "no policy"]);
    await cluster.install({ ...on, ...extra("a") });
    assert.deepEqual(await state(), ["Ignore", "a policy", "a"]);
    await release("uninstall");
    assert.deepEqual(await state(), ["no webhook", "no policy"]);
  });
  await t.step("A rendering without a cluster is always the same, and refuses nothing", async () => {
    const rendered = await helm.template({
      values: { ...on, ...extra("a") },
      args: ["--api-versions=v1/Pod"],
    });
    assert.match(rendered, /failurePolicy: Fail/);
    assert.match(rendered, /kind: Bundle/);
  });
});

Deno.test("The operator works with the rights that the chart gives it", async (t) => {
  await using cluster = await ChartCluster.start({ namespaces: ["ns-a", "ns-b", "ns-c"] });
  const { admin, audit } = cluster;
  for (const name of ["ns-a", "ns-b", "ns-c"]) {
    await admin.apply([namespace(name, { team: "yes", [name]: "yes" })]);
    await admin.apply([{
      apiVersion: "v1",
      kind: "Secret",
      metadata: { namespace: name, name: "theirs" },
      stringData: { password: "x" },
    }]);
  }
  const source = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: TRUST_NAMESPACE, name: "source" },
  };
  await admin.apply([{ ...source, stringData: { "ca.crt": pemText(ROOT_1) } }]);
  const sources = [{ secret: { name: "source", key: "ca.crt" } }];
  const target = { configMap: { key: "ca.pem" } };
  const inTeams = { namespaceSelector: { matchLabels: { team: "yes" } } };
  const user = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
  /** Without the webhook, as nothing listens where its Service points to. */
  const off = { webhook: { enabled: false } };

  /** Runs `act`, and demands that the operator asked for nothing that it has no right to. */
  const withoutRefusals = async (act: () => Promise<void>) => {
    const mark = await audit.mark();
    await act();
    assert.deepEqual(await audit.since(mark, { user, code: 403 }), []);
  };

  await t.step("With default values", async () => {
    await cluster.install({ app: off });
    await withoutRefusals(async () => {
      await using operator = await cluster.operator();
      await cluster.putBundle("everywhere", { sources, target });
      await cluster.condition("everywhere", "True");
      for (const name of ["ns-a", "ns-b", "default", "kube-system"]) {
        await cluster.holds(name, "everywhere", pemText(ROOT_1));
      }
      await admin.delete(targetPath("ns-a", "everywhere"));
      await cluster.holds("ns-a", "everywhere", pemText(ROOT_1));
      await cluster.putBundle("everywhere", {
        sources,
        target: { ...target, namespaceSelector: { matchLabels: { "ns-a": "yes" } } },
      });
      await admin.waitUntilGone(targetPath("ns-b", "everywhere"));
      await eventAbout("everywhere");
      assert.equal(await operator.stop(), 0);
    });
    await cluster.deleteBundle("everywhere");
    using client = await cluster.asOperator();
    assert.equal(await statusOf(client, "/api/v1/secrets"), 403);
    assert.equal(await statusOf(client, "/api/v1/namespaces/ns-a/secrets/theirs"), 403);
    assert.equal(await statusOf(client, `/api/v1/namespaces/${TRUST_NAMESPACE}/secrets`), 200);
  });

  await t.step("Without the webhook, bad Bundles are refused all the same", async () => {
    await admin.waitFor(
      "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/trust-manager",
      "is there",
      (policy) => policy !== undefined,
    );
    const bad: BundleSpec = { sources: [{ useDefaultCAs: true }, { useDefaultCAs: true }] };
    const deadline = performance.now() + 30_000;
    while (true) {
      // The API server takes a moment to take up a new policy.
      try {
        await cluster.putBundle("bad", bad);
      } catch (error) {
        assert.match(String(error), /must request default CAs either once or not at all/);
        break;
      }
      assert.ok(performance.now() < deadline, "It was not refused");
      await cluster.deleteBundle("bad");
    }
  });

  await t.step("With target namespaces", async () => {
    await cluster.install({ app: { ...off, targetNamespaces: ["ns-a", "ns-b"] } });
    await withoutRefusals(async () => {
      await using operator = await cluster.operator();
      await cluster.putBundle("limited", { sources, target });
      await cluster.condition("limited", "True");
      for (const name of ["ns-a", "ns-b"]) await cluster.holds(name, "limited", pemText(ROOT_1));
      assert.equal(await admin.get(targetPath("ns-c", "limited")), undefined);
      await eventAbout("limited");
      assert.equal(await operator.stop(), 0);
    });
    await cluster.deleteBundle("limited");
    using client = await cluster.asOperator();
    assert.equal(await statusOf(client, "/api/v1/configmaps"), 403);
    assert.equal(await statusOf(client, "/api/v1/namespaces/ns-c/configmaps"), 403);
    assert.equal(await statusOf(client, "/api/v1/namespaces/ns-a/configmaps"), 200);
  });

  /** Secret targets of a Bundle come, are repaired, changed and cleaned. */
  const secretTargets = async (name: string, namespaces: readonly string[]) => {
    await cluster.putBundle(name, { sources, target: { secret: { key: "ca.pem" }, ...inTeams } });
    await cluster.condition(name, "True");
    for (const where of namespaces) await cluster.holds(where, name, pemText(ROOT_1), "Secret");
    const [first = "", second = ""] = namespaces;
    await admin.mergePatch(targetPath(first, name, "Secret"), { data: { "ca.pem": btoa("none") } });
    await cluster.holds(first, name, pemText(ROOT_1), "Secret");
    await admin.delete(targetPath(second, name, "Secret"));
    await cluster.holds(second, name, pemText(ROOT_1), "Secret");
    await admin.apply([{ ...source, stringData: { "ca.crt": pemText(ROOT_1, ROOT_2) } }]);
    for (const where of namespaces) await cluster.holds(where, name, pemText(ROOT_1, ROOT_2), "Secret");
    await admin.apply([{ ...source, stringData: { "ca.crt": pemText(ROOT_1) } }]);
    await cluster.putBundle(name, { sources, target: { ...target, ...inTeams } });
    for (const where of namespaces) await admin.waitUntilGone(targetPath(where, name, "Secret"));
    await cluster.condition(name, "True");
    await cluster.deleteBundle(name);
  };

  await t.step("With Secret targets by name: no other Secret can be read", async () => {
    await cluster.install({
      app: off,
      secretTargets: { enabled: true, authorizedSecrets: ["public", "other"] },
    });
    await withoutRefusals(async () => {
      await using operator = await cluster.operator();
      await secretTargets("public", ["ns-a", "ns-b", "ns-c"]);
      assert.equal(await operator.stop(), 0);
    });
    using client = await cluster.asOperator();
    for (
      const [path, status] of [
        ["/api/v1/secrets", 403],
        ["/api/v1/secrets?labelSelector=trust.cert-manager.io/bundle", 403],
        ["/api/v1/secrets?fieldSelector=metadata.name=theirs", 403],
        ["/api/v1/namespaces/ns-a/secrets", 403],
        ["/api/v1/namespaces/ns-a/secrets/theirs", 403],
        ["/api/v1/secrets?fieldSelector=metadata.name=public", 200],
        ["/api/v1/namespaces/ns-a/secrets/public", 403],
      ] as const
    ) assert.equal(await statusOf(client, path), status, path);
  });

  await t.step("With Secret targets by name: another name is refused, and told", async () => {
    await using operator = await cluster.operator();
    await cluster.putBundle("private", { sources, target: { secret: { key: "ca.pem" }, ...inTeams } });
    const message = await cluster.condition("private", "False");
    assert.match(message, /secrets "private" is forbidden/);
    assert.equal(await admin.get(targetPath("ns-a", "private", "Secret")), undefined);
    assert.equal(await operator.stop(), 0);
    await cluster.deleteBundle("private");
  });

  await t.step("With Secret targets by name, in target namespaces", async () => {
    await cluster.install({
      app: { ...off, targetNamespaces: ["ns-a", "ns-b"] },
      secretTargets: { enabled: true, authorizedSecrets: ["public"] },
    });
    await withoutRefusals(async () => {
      await using operator = await cluster.operator();
      await secretTargets("public", ["ns-a", "ns-b"]);
      assert.equal(await operator.stop(), 0);
    });
    using client = await cluster.asOperator();
    assert.equal(await statusOf(client, "/api/v1/secrets?fieldSelector=metadata.name=public"), 403);
    assert.equal(await statusOf(client, "/api/v1/namespaces/ns-c/secrets/public"), 403);
  });

  await t.step("With Secret targets of all names", async () => {
    await cluster.install({ app: off, secretTargets: { enabled: true, authorizedSecretsAll: true } });
    await withoutRefusals(async () => {
      await using operator = await cluster.operator();
      await secretTargets("any", ["ns-a", "ns-b", "ns-c"]);
      assert.equal(await operator.stop(), 0);
    });
  });

  await t.step("With a certificate of its own, it fills in Secret and configuration", async () => {
    const values = { app: { webhook: { tls: { selfManaged: { enabled: true } } } } };
    await cluster.install(values);
    const caBundle = async () => Object(await admin.get(CONFIGURATION)).webhooks[0].clientConfig.caBundle;
    await withoutRefusals(async () => {
      await using operator = await cluster.operator("--webhook-host=127.0.0.1", "--webhook-port=0");
      assert.match(atob(await caBundle()), /BEGIN CERTIFICATE/);
      assert.equal(await operator.stop(), 0);
    });
    const secret = `/api/v1/namespaces/${TRUST_NAMESPACE}/secrets/trust-manager-webhook`;
    const [made, announced] = [(await admin.get(secret))?.["data"], await caBundle()];
    assert.ok(Object.keys(Object(made)).length >= 3);
    // Another upgrade takes nothing of it back.
    await cluster.install({ ...values, replicaCount: 2 });
    assert.deepEqual((await admin.get(secret))?.["data"], made);
    assert.equal(await caBundle(), announced);
  });

  async function eventAbout(bundle: string): Promise<void> {
    await admin.waitFor<{ items: { regarding: { name: string } }[] }>(
      "/apis/events.k8s.io/v1/namespaces/default/events",
      `has an event about ${bundle}`,
      (events) => events?.items.some(({ regarding }) => regarding.name === bundle) ?? false,
    );
  }
});
