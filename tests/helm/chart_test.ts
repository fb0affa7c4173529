import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { parse } from "yaml";
import { leafPaths, valueAt } from "../../deploy/chart_values.ts";
import {
  comparison,
  helmValuesDocuments,
  readOwnValues,
  readPeerValues,
} from "../../deploy/helm_values_document.ts";
import { Metrics } from "../../lib/metrics.ts";
import { type Options, parseCommandLine, UsageError } from "../../lib/options.ts";
import { VERSION } from "../../lib/version.ts";
import { WebhookMetrics } from "../../webhook/webhook_metrics.ts";
import { parseManifests, type RestObject } from "../cluster/rest_client.ts";
import { ROOT } from "../project_files.ts";
import { CASES, PEER_VALUES_FILES, type Values } from "./cases.ts";
import { CHART, Helm, HelmError, VALUES_FILE } from "./helm.ts";
import { readPromql } from "./promql/promql.ts";

const DEPLOYMENT = "Deployment/trust-manager";

/** Rendered objects, to look things up in. Objects are named `kind/name` or `kind/namespace/name`. */
class Rendered {
  readonly objects: readonly RestObject[];

  constructor(objects: readonly RestObject[]) {
    this.objects = objects;
  }

  has(object: string): boolean {
    return this.objects.some((candidate) => namesOf(candidate).includes(object));
  }

  /** What an object holds at a path such as `spec.ports.0`; fails if there is no such object. */
  at(object: string, ...path: string[]): unknown {
    const found = this.objects.find((candidate) => namesOf(candidate).includes(object));
    assert.ok(found, `${object} is not among ${this.names.join(", ")}`);
    return valueAt(found, path.flatMap((part, index) => index === 0 ? part.split(".") : [part]));
  }

  /** Of all objects, with the namespace where there is one. */
  get names(): string[] {
    return this.objects.map((object) => namesOf(object).at(-1) ?? "");
  }

  /** What the pod holds at a path. */
  pod(path: string): unknown {
    return this.at(DEPLOYMENT, `spec.template.spec.${path}`);
  }

  get args(): string[] {
    return [...Object(this.pod("containers.0.args"))];
  }

  get options(): Options {
    const command = parseCommandLine(this.args);
    if (command.run !== "operator") throw new TypeError("The command line does not run the operator");
    return command.options;
  }
}

function namesOf({ kind, metadata: { name, namespace } }: RestObject): string[] {
  return namespace === undefined ? [`${kind}/${name}`] : [`${kind}/${name}`, `${kind}/${namespace}/${name}`];
}

async function render(values: Values = {}, ...args: string[]): Promise<Rendered> {
  return new Rendered(await (await Helm.find()).render({ values, args }));
}

async function refusal(values: Values): Promise<string> {
  try {
    await render(values);
  } catch (error) {
    if (error instanceof HelmError) return error.message;
    throw error;
  }
  assert.fail("It was rendered");
}

/** Rendered objects without what Helm adds to all of them. */
function bare({ apiVersion, kind, metadata: { name, namespace }, ...rest }: RestObject): object {
  const { automountServiceAccountToken: _, ...content } = rest;
  return { apiVersion, kind, metadata: namespace === undefined ? { name } : { name, namespace }, ...content };
}

const byName = (objects: readonly RestObject[]) =>
  Object.fromEntries(objects.map((object) => [namesOf(object).at(-1), bare(object)]));

Deno.test("helm lint --strict finds nothing, whatever the values", async (t) => {
  const helm = await Helm.find();
  for (const [name, values] of Object.entries(CASES)) {
    await t.step(name, async () => {
      await helm.run(["lint", "--strict", CHART, "--values", VALUES_FILE], values);
    });
  }
});

Deno.test("every case renders the same twice, and to a command line that the operator takes", async (t) => {
  const helm = await Helm.find();
  for (const [name, values] of Object.entries(CASES)) {
    await t.step(name, async () => {
      const text = await helm.template({ values });
      // Without a cluster to look into, Helm has to make a new certificate each time.
      if (name !== "a certificate of Helm") assert.equal(await helm.template({ values }), text);
      const rendered = new Rendered(parseManifests(text));
      assert.deepEqual(new Set(rendered.names).size, rendered.names.length, "an object is there twice");
      const deployment = Object.hasOwn(values, "nameOverride") ? "Deployment/trust" : DEPLOYMENT;
      const args = rendered.at(deployment, "spec.template.spec.containers.0.args");
      assert.equal(parseCommandLine([...Object(args)]).run, "operator");
    });
  }
});

Deno.test("RBAC with default values is deploy/rbac.yaml, and what aggregates to cluster-reader", async () => {
  const rendered = await render();
  const rbac = byName(rendered.objects.filter(({ kind }) => /^ServiceAccount$|Role/.test(kind)));
  const wanted = byName(parseManifests(await Deno.readTextFile(`${ROOT}/deploy/rbac.yaml`)));
  const aggregate = "ClusterRole/trust-manager-cluster-view";
  assert.deepEqual(rbac, { ...wanted, [aggregate]: rbac[aggregate] });
  assert.deepEqual(rendered.at(aggregate, "rules"), [
    { apiGroups: ["trust.cert-manager.io"], resources: ["bundles"], verbs: ["get", "list", "watch"] },
  ]);
  assert.equal(
    rendered.at(aggregate, "metadata.labels", "rbac.authorization.k8s.io/aggregate-to-cluster-reader"),
    "true",
  );
});

Deno.test("RBAC of the operator's own certificate is deploy/rbac_self_certificate.yaml", async () => {
  const rendered = byName((await render(CASES["a certificate of the operator"])).objects);
  const file = await Deno.readTextFile(`${ROOT}/deploy/rbac_self_certificate.yaml`);
  for (const [name, object] of Object.entries(byName(parseManifests(file)))) {
    assert.deepEqual(rendered[name], object, name);
  }
});

Deno.test("RBAC of Secret targets", async (t) => {
  const rules = (rendered: Rendered, role: string) =>
    Object.values(Object(rendered.at(role, "rules"))).filter((rule) =>
      Object(rule).resources.includes("secrets")
    );
  const verbs = ["list", "watch", "create", "patch", "delete"];
  await t.step("none without being asked for, nor without a name", async () => {
    for (const name of ["defaults", "Secret targets of no name"]) {
      const rendered = await render(CASES[name]);
      assert.deepEqual(rules(rendered, "ClusterRole/trust-manager"), []);
      assert.equal(rendered.options.secretTargetsEnabled, false);
    }
  });
  await t.step("by name: no verb on any other", async () => {
    const rendered = await render(CASES["Secret targets by name"]);
    assert.deepEqual(rules(rendered, "ClusterRole/trust-manager"), [
      { apiGroups: [""], resources: ["secrets"], resourceNames: ["one", "two"], verbs },
    ]);
    assert.equal(rendered.options.secretTargetsEnabled, true);
    assert.deepEqual(rendered.options.secretTargetNames, ["one", "two"]);
  });
  await t.step("by name, in target namespaces", async () => {
    const rendered = await render(CASES["target namespaces and Secret targets by name"]);
    assert.deepEqual(rules(rendered, "ClusterRole/trust-manager"), []);
    assert.deepEqual(rules(rendered, "Role/ns-a/trust-manager-role"), [
      { apiGroups: [""], resources: ["secrets"], resourceNames: ["one"], verbs },
    ]);
  });
  await t.step("all", async () => {
    const rendered = await render(CASES["Secret targets of all names"]);
    assert.deepEqual(rules(rendered, "ClusterRole/trust-manager"), [
      { apiGroups: [""], resources: ["secrets"], verbs: ["get", ...verbs] },
    ]);
    assert.deepEqual(rendered.options.secretTargetNames, []);
  });
});

Deno.test("RBAC of target namespaces: nothing is written elsewhere", async () => {
  const rendered = await render(CASES["target namespaces"]);
  const resources = (role: string) =>
    Object.values(Object(rendered.at(role, "rules"))).flatMap((rule) => Object(rule).resources);
  assert.deepEqual(
    resources("ClusterRole/trust-manager"),
    ["bundles", "bundles/status", "bundles/finalizers", "namespaces"],
  );
  assert.deepEqual(rendered.names.filter((name) => name.startsWith("Role/")), [
    "Role/default/trust-manager:events",
    "Role/ns-a/trust-manager-role",
    "Role/ns-b/trust-manager-role",
    "Role/cert-manager/trust-manager-role",
    "Role/cert-manager/trust-manager",
    "Role/cert-manager/trust-manager:leaderelection",
  ]);
  assert.deepEqual(rendered.at("Role/cert-manager/trust-manager-role", "rules"), [
    { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] },
  ]);
  assert.deepEqual(rendered.options.targetNamespaces, ["ns-a", "ns-b"]);
  for (const binding of rendered.names.filter((name) => name.startsWith("RoleBinding/"))) {
    const role = String(rendered.at(binding, "roleRef.name"));
    assert.ok(
      rendered.has(`Role/${binding.split("/")[1]}/${role}`),
      `${binding} is of a role that is not there`,
    );
  }
});

Deno.test("every binding is to the ServiceAccount of the pod, whatever its name", async () => {
  for (
    const [name, serviceAccount] of [
      ["defaults", "trust-manager"],
      ["somebody else's ServiceAccount", "mine"],
      ["a ServiceAccount of another name", "mine"],
    ] as const
  ) {
    for (const more of [{}, CASES["target namespaces"]]) {
      const rendered = await render({ ...CASES[name], ...more });
      assert.equal(rendered.pod("serviceAccountName"), serviceAccount);
      for (const binding of rendered.names.filter((other) => /RoleBinding/.test(other))) {
        assert.deepEqual(
          rendered.at(binding, "subjects"),
          [{ kind: "ServiceAccount", name: serviceAccount, namespace: "cert-manager" }],
          binding,
        );
      }
      assert.equal(
        rendered.has(`ServiceAccount/cert-manager/${serviceAccount}`),
        name !== "somebody else's ServiceAccount",
      );
    }
  }
  const unnamed = await render({ serviceAccount: { create: false } });
  assert.equal(unnamed.pod("serviceAccountName"), "default");
});

Deno.test("objects have the names that users know", async (t) => {
  await t.step("with default values", async () => {
    assert.deepEqual((await render()).names.toSorted(), [
      "Certificate/cert-manager/trust-manager",
      "ClusterRole/trust-manager",
      "ClusterRole/trust-manager-cluster-view",
      "ClusterRoleBinding/trust-manager",
      "CustomResourceDefinition/bundles.trust.cert-manager.io",
      "Deployment/cert-manager/trust-manager",
      "Issuer/cert-manager/trust-manager",
      "Role/cert-manager/trust-manager",
      "Role/cert-manager/trust-manager:leaderelection",
      "Role/default/trust-manager:events",
      "RoleBinding/cert-manager/trust-manager",
      "RoleBinding/cert-manager/trust-manager:leaderelection",
      "RoleBinding/default/trust-manager:events",
      "Service/cert-manager/trust-manager",
      "Service/cert-manager/trust-manager-metrics",
      "ServiceAccount/cert-manager/trust-manager",
      "ValidatingWebhookConfiguration/trust-manager",
    ]);
  });
  await t.step("with all at once", async () => {
    const names = (await render(CASES["all at once"])).names;
    for (
      const name of [
        "CertificateRequestPolicy/trust-manager-policy",
        "ClusterRole/trust-manager-policy-role",
        "ClusterRoleBinding/trust-manager-policy-binding",
        "ConfigMap/cert-manager/extra",
        "ConfigMap/cert-manager/trust-manager-dashboard",
        "NetworkPolicy/cert-manager/trust-manager",
        "PodDisruptionBudget/cert-manager/trust-manager",
        "PrometheusRule/cert-manager/trust-manager",
        "Role/ns-a/trust-manager-role",
        "RoleBinding/ns-a/trust-manager-role-binding",
        "ServiceMonitor/cert-manager/trust-manager",
      ]
    ) assert.ok(names.includes(name), name);
  });
  await t.step("with another name and namespace", async () => {
    const rendered = await render(CASES["another name and namespace"]);
    assert.deepEqual(rendered.names.filter((name) => name.includes("trust-manager")), [
      // The trust namespace has not moved, and what is of the API keeps its name.
    ]);
    assert.equal(
      rendered.at(
        "ValidatingWebhookConfiguration/trust",
        "metadata.annotations",
        "cert-manager.io/inject-ca-from-secret",
      ),
      "elsewhere/trust-tls",
    );
    assert.deepEqual(rendered.at("Certificate/elsewhere/trust", "spec.dnsNames"), ["trust.elsewhere.svc"]);
    assert.deepEqual(rendered.at("Role/trust", "metadata.namespace"), "cert-manager");
  });
});

Deno.test("labels and annotations", async (t) => {
  const rendered = await render(CASES["labels and annotations for all"]);
  await t.step("are on all objects", () => {
    for (const name of rendered.names) {
      const labels = Object(rendered.at(name, "metadata.labels"));
      assert.equal(labels["app.kubernetes.io/name"], "trust-manager", name);
      assert.equal(labels["app.kubernetes.io/instance"], "trust-manager", name);
      assert.equal(labels["app.kubernetes.io/version"], `v${VERSION}`, name);
      assert.equal(labels["app.kubernetes.io/managed-by"], "Helm", name);
      assert.equal(labels["helm.sh/chart"], `trust-manager-${VERSION}`, name);
      assert.equal(labels["team"], "blue", name);
      assert.equal(
        rendered.at(name, "metadata.annotations", "example.com/note"),
        name.startsWith("CustomResourceDefinition") ? undefined : "x",
        name,
      );
    }
  });
  await t.step("of pods win over common ones; the selector wins over all", async () => {
    const labels = Object(rendered.at(DEPLOYMENT, "spec.template.metadata.labels"));
    assert.deepEqual([labels.team, labels.app], ["red", "trust-manager"]);
    const cheated = await render({ commonLabels: { app: "x" }, app: { podLabels: { app: "y" } } });
    assert.equal(cheated.at(DEPLOYMENT, "spec.template.metadata.labels.app"), "trust-manager");
    assert.equal(cheated.at("Service/trust-manager", "metadata.labels.app"), "trust-manager");
  });
  await t.step("that Services are found by", () => {
    const labels = Object(rendered.at("Service/trust-manager-metrics", "metadata.labels"));
    assert.equal(labels["app.kubernetes.io/component"], "metrics");
    assert.deepEqual(rendered.at("Service/trust-manager", "spec.selector"), { app: "trust-manager" });
    assert.deepEqual(rendered.at(DEPLOYMENT, "spec.selector.matchLabels"), { app: "trust-manager" });
  });
});

Deno.test("the pod", async (t) => {
  const rendered = await render();
  await t.step("has what the contract says", () => {
    assert.deepEqual(rendered.pod("volumes"), [
      { name: "packages", emptyDir: { sizeLimit: "50M" } },
      { name: "tls", secret: { defaultMode: 420, secretName: "trust-manager-tls" } },
      { name: "no-token", emptyDir: { sizeLimit: "1M" } },
    ]);
    assert.deepEqual(rendered.pod("containers.0.volumeMounts"), [
      { name: "tls", mountPath: "/tls", readOnly: true },
      { name: "packages", mountPath: "/packages", readOnly: true },
    ]);
    assert.equal(rendered.pod("initContainers.0.name"), "cert-manager-package-debian");
    assert.deepEqual(
      rendered.pod("initContainers.0.args"),
      ["/copyandmaybepause", "/debian-package", "/packages"],
    );
    assert.deepEqual(rendered.pod("containers.0.ports"), [
      { name: "webhook", containerPort: 6443 },
      { name: "metrics", containerPort: 9402 },
    ]);
    assert.deepEqual(rendered.pod("containers.0.readinessProbe"), {
      httpGet: { port: 6060, path: "/readyz" },
      periodSeconds: 2,
      failureThreshold: 10,
    });
    assert.deepEqual(rendered.pod("containers.0.livenessProbe.httpGet"), { port: 6060, path: "/healthz" });
    // The operator's own CA is the only one that it trusts.
    assert.deepEqual(rendered.pod("containers.0.env"), [
      { name: "DENO_TLS_CA_STORE", value: "" },
      { name: "NODE_EXTRA_CA_CERTS", value: "" },
    ]);
    assert.deepEqual(rendered.pod("containers.0.lifecycle"), { preStop: { sleep: { seconds: 3 } } });
    assert.deepEqual(rendered.pod("nodeSelector"), { "kubernetes.io/os": "linux" });
  });
  await t.step("may do nothing on its node, and asks for no user", () => {
    for (const container of ["initContainers.0", "containers.0"]) {
      assert.deepEqual(rendered.pod(`${container}.securityContext`), {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ["ALL"] },
        readOnlyRootFilesystem: true,
        runAsNonRoot: true,
        seccompProfile: { type: "RuntimeDefault" },
      });
    }
    assert.equal(rendered.pod("securityContext"), undefined);
  });
  await t.step("gives its token to the container that needs it only", async () => {
    const path = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert.deepEqual(rendered.pod("initContainers.0.volumeMounts"), [
      { name: "packages", mountPath: "/packages" },
      { name: "no-token", mountPath: path, readOnly: true },
    ]);
    const without = await render(CASES["a ServiceAccount of another name"]);
    assert.equal(without.pod("automountServiceAccountToken"), false);
    assert.ok(!JSON.stringify(without.at(DEPLOYMENT, "spec")).includes("no-token"));
  });
  await t.step("has the operator's own defaults", () => {
    const { options } = rendered;
    const unset = parseCommandLine(["--default-package-location=/packages/cert-manager-package-debian.json"]);
    assert.deepEqual({ run: "operator", options }, unset);
  });
  await t.step("on the network of its node", async () => {
    const { pod } = await render({ app: { webhook: { hostNetwork: true } } }).then((it) => ({
      pod: (path: string) => it.pod(path),
    }));
    assert.deepEqual([pod("hostNetwork"), pod("dnsPolicy")], [true, "ClusterFirstWithHostNet"]);
  });
  await t.step("with the package as an image volume", async () => {
    const mounted = await render(CASES["the package as an image volume"]);
    assert.equal(mounted.pod("initContainers"), undefined);
    assert.equal(mounted.pod("volumes.0.image.reference"), rendered.pod("initContainers.0.image"));
    assert.deepEqual(mounted.pod("containers.0.volumeMounts.1"), {
      name: "packages",
      mountPath: "/packages",
      subPath: "debian-package",
      readOnly: true,
    });
    assert.equal(mounted.options.defaultPackageLocation, "/packages/cert-manager-package-debian.json");
  });
  await t.step("without the package", async () => {
    const without = await render(CASES["no package"]);
    assert.equal(without.pod("initContainers"), undefined);
    assert.deepEqual(without.pod("volumes.length"), 1);
    assert.equal(without.options.defaultPackageLocation, undefined);
  });
  await t.step("with flags from values", async () => {
    const { options } = await render(CASES["flags"]);
    assert.deepEqual(
      {
        tlsMinVersion: options.tlsMinVersion,
        logFormat: options.logFormat,
        logLevel: options.logLevel,
        leaderElect: options.leaderElect,
        leaseDurationMs: options.leaseDurationMs,
        renewDeadlineMs: options.renewDeadlineMs,
        readinessProbePort: options.readinessProbePort,
        readinessProbePath: options.readinessProbePath,
        webhookHost: options.webhookHost,
        webhookPort: options.webhookPort,
        metricsPort: options.metricsPort,
      },
      {
        tlsMinVersion: "TLSv1.3",
        logFormat: "json",
        logLevel: 5,
        leaderElect: false,
        leaseDurationMs: 90_000,
        renewDeadlineMs: 60_000,
        readinessProbePort: 6061,
        readinessProbePath: "/ready",
        webhookHost: "127.0.0.1",
        webhookPort: 10250,
        metricsPort: 9403,
      },
    );
    const filtered = (await render(CASES["filters"])).options;
    assert.deepEqual([filtered.filterExpired, filtered.filterNonCa], [true, true]);
    assert.equal(filtered.allowNegativeSerialNumbers, false);
    const negative = (await render(CASES["negative serial numbers"])).options;
    assert.equal(negative.allowNegativeSerialNumbers, true);
  });
  await t.step(
    "with what cannot be enforced, it says so when it starts, and the notes do before",
    async () => {
      for (const [value, flag] of [["cipherSuites", "TLS_A"], ["curvePreferences", "23,29"]] as const) {
        const values = { app: { [value]: flag } };
        const { args } = await render(values);
        assert.throws(() => parseCommandLine(args), UsageError);
        assert.match(await (await Helm.find()).notes({ values }), /cannot be enforced/);
      }
    },
  );
});

Deno.test("references of images", async () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const rows: [Values, string][] = [
    [{}, `ghcr.io/trust-manager-deno/trust-manager:v${VERSION}`],
    [{ imageRegistry: "a.example", imageNamespace: "b" }, `a.example/b/trust-manager:v${VERSION}`],
    [{ imageRegistry: "", imageNamespace: "", image: { name: "x", tag: "v1" } }, "x:v1"],
    [{ image: { repository: "a.example/b/c", tag: "v1" } }, "a.example/b/c:v1"],
    [{ image: { registry: "m.example", repository: "b/c", tag: "v1" } }, "m.example/b/c:v1"],
    [
      { image: { registry: "m.example", tag: "v1" } },
      "m.example/ghcr.io/trust-manager-deno/trust-manager:v1",
    ],
    [{ image: { repository: "c", digest } }, `c@${digest}`],
    [{ image: { repository: "c", tag: "v1", digest } }, `c:v1@${digest}`],
  ];
  for (const [values, reference] of rows) {
    assert.equal((await render(values)).pod("containers.0.image"), reference);
  }
  assert.match(
    await refusal({ image: { name: "" } }),
    /image\.name and defaultPackageImage\.name must not be empty/,
  );
});

Deno.test("the webhook's certificate", async (t) => {
  const configuration = "ValidatingWebhookConfiguration/trust-manager";
  await t.step("of cert-manager", async () => {
    const rendered = await render(CASES["a certificate of cert-manager with more"]);
    assert.deepEqual(rendered.at("Certificate/trust-manager", "spec"), {
      commonName: "trust-manager.cert-manager.svc",
      dnsNames: ["trust-manager.cert-manager.svc"],
      secretName: "trust-manager-tls",
      secretTemplate: {
        annotations: { "cert-manager.io/allow-direct-injection": "true", note: "x" },
        labels: { color: "red" },
      },
      privateKey: { rotationPolicy: "Always" },
      revisionHistoryLimit: 1,
      duration: "8766h",
      issuerRef: { name: "trust-manager", kind: "Issuer", group: "cert-manager.io" },
    });
    assert.deepEqual(rendered.at("Issuer/trust-manager", "spec"), { selfSigned: {} });
    assert.deepEqual(rendered.at(configuration, "metadata.annotations"), {
      "cert-manager.io/inject-ca-from-secret": "cert-manager/trust-manager-tls",
    });
  });
  await t.step("of Helm", async () => {
    const rendered = await render(CASES["a certificate of Helm"]);
    const data: Record<string, string> = Object(rendered.at("Secret/trust-manager-tls", "data"));
    const pem = (name: string) => atob(data[name] ?? "");
    const certificate = new X509Certificate(pem("tls.crt"));
    const ca = new X509Certificate(pem("ca.crt"));
    assert.ok(certificate.verify(ca.publicKey));
    assert.equal(certificate.subjectAltName, "DNS:trust-manager.cert-manager.svc");
    assert.equal(rendered.at(configuration, "webhooks.0.clientConfig.caBundle"), data["ca.crt"]);
    assert.match(
      String(rendered.at(DEPLOYMENT, "spec.template.metadata.annotations", "rollme-due-to-helm-cert")),
      /^[0-9a-f]{16}$/,
    );
    assert.equal(rendered.at(configuration, "metadata.annotations"), undefined);
    assert.ok(!rendered.has("Certificate/trust-manager") && !rendered.has("Issuer/trust-manager"));
  });
  await t.step("of the operator", async () => {
    const rendered = await render({ ...CASES["a certificate of the operator"], nameOverride: "trust" });
    const args = [...Object(rendered.at("Deployment/trust", "spec.template.spec.containers.0.args"))];
    const command = parseCommandLine(args);
    if (command.run !== "operator") throw new TypeError("The command line does not run the operator");
    const { options } = command;
    assert.equal(options.webhookCertificateSource, "self");
    assert.ok(rendered.has(`Secret/cert-manager/${options.webhookSecretName}`));
    assert.ok(rendered.has(`Service/cert-manager/${options.webhookServiceName}`));
    assert.equal(
      rendered.at(
        `ValidatingWebhookConfiguration/${options.webhookConfigurationName}`,
        "metadata.labels",
        "trust.cert-manager.io/webhook-ca",
      ),
      "self",
    );
    assert.deepEqual(
      rendered.at("ClusterRole/trust:webhook-configuration", "rules.0.resourceNames"),
      [options.webhookConfigurationName],
    );
    assert.deepEqual(
      rendered.at("Role/trust:webhook-certificate", "rules.0.resourceNames"),
      [options.webhookSecretName],
    );
    assert.ok(!rendered.has("Certificate/trust") && !rendered.has("Issuer/trust"));
    assert.ok(!JSON.stringify(rendered.at("Deployment/trust")).includes("/tls"));
  });
  await t.step("comes from one place only", async () => {
    for (
      const [one, other] of [
        ["helmCert", "approverPolicy"],
        ["helmCert", "selfManaged"],
        ["selfManaged", "approverPolicy"],
      ] as const
    ) {
      const message = await refusal({
        app: { webhook: { tls: { [one]: { enabled: true }, [other]: { enabled: true } } } },
      });
      assert.ok(message.includes(`app.webhook.tls.${one}.enabled`), message);
      assert.ok(message.includes(`app.webhook.tls.${other}.enabled`), message);
    }
  });
  await t.step("is not needed without the webhook", async () => {
    const rendered = await render(CASES["no webhook"]);
    assert.equal(rendered.options.webhookEnabled, false);
    for (const kind of ["Service", "Issuer", "Certificate", "ValidatingWebhookConfiguration"]) {
      assert.ok(!rendered.has(`${kind}/trust-manager`), kind);
    }
    assert.ok(!JSON.stringify(rendered.pod("volumes")).includes("tls"));
  });
});

Deno.test("without the webhook there is the policy of deploy/, where the cluster has that", async () => {
  const file = await Deno.readTextFile(`${ROOT}/deploy/validating_admission_policy.yaml`);
  const wanted = byName(parseManifests(file));
  const rendered = byName((await render(CASES["no webhook"])).objects);
  for (const [name, object] of Object.entries(wanted)) assert.deepEqual(rendered[name], object, name);

  const renamed = await render({ ...CASES["no webhook"], nameOverride: "trust" });
  assert.equal(renamed.at("ValidatingAdmissionPolicyBinding/trust", "spec.policyName"), "trust");
  assert.ok(renamed.has("ValidatingAdmissionPolicy/trust"));

  const old = await render(CASES["no webhook"], "--kube-version=v1.29.5-eks-1");
  assert.ok(!old.has("ValidatingAdmissionPolicy/trust-manager"));
});

Deno.test("pods that are replaced are asked by the API server for a while, where the cluster has that", async () => {
  const hook = async (values: Values | undefined, version: string) =>
    (await render(values, `--kube-version=${version}`)).pod("containers.0.lifecycle");
  assert.deepEqual(await hook({}, "v1.30.0-eks-1"), { preStop: { sleep: { seconds: 3 } } });
  assert.equal(await hook({}, "v1.29.5-eks-1"), undefined);
  assert.equal(await hook(CASES["no webhook"], "v1.30.0"), undefined);
});

Deno.test("the PodDisruptionBudget has one of the two", async () => {
  const spec = async (values: Values) => {
    const { selector: _, ...rest } = Object(
      (await render(values)).at("PodDisruptionBudget/trust-manager", "spec"),
    );
    return rest;
  };
  assert.deepEqual(await spec(CASES["a PodDisruptionBudget"] ?? {}), { minAvailable: 1 });
  assert.deepEqual(await spec(CASES["a PodDisruptionBudget with a maximum"] ?? {}), { maxUnavailable: 0 });
  assert.deepEqual(await spec(CASES["a PodDisruptionBudget with a minimum"] ?? {}), { minAvailable: "50%" });
  assert.match(
    await refusal({ podDisruptionBudget: { enabled: true, minAvailable: 1, maxUnavailable: 1 } }),
    /Only one of podDisruptionBudget\.minAvailable and podDisruptionBudget\.maxUnavailable/,
  );
});

Deno.test("replicas are left out, or passed on", async () => {
  const left = await render(CASES["replicas left out"]);
  assert.equal(left.at(DEPLOYMENT, "spec.replicas"), undefined);
  assert.equal(left.at(DEPLOYMENT, "spec.revisionHistoryLimit"), undefined);
  assert.equal((await render({ replicaCount: 0 })).at(DEPLOYMENT, "spec.replicas"), 0);
  assert.equal(
    (await render({ replicaCount: "${REPLICAS}" })).at(DEPLOYMENT, "spec.replicas"),
    "${REPLICAS}",
  );
});

Deno.test("metrics that are off have neither port nor Service", async () => {
  const rendered = await render(CASES["no metrics"]);
  assert.deepEqual(rendered.pod("containers.0.ports"), [{ name: "webhook", containerPort: 6443 }]);
  assert.ok(!rendered.has("Service/trust-manager-metrics"));
  const unserved = await render(CASES["no metrics Service"]);
  assert.ok(!unserved.has("Service/trust-manager-metrics") && !unserved.has("ServiceMonitor/trust-manager"));
});

Deno.test("the NetworkPolicy opens what its values say, and nothing because a list is empty", async () => {
  const policy = async (values: Values | undefined) =>
    Object((await render(values)).at("NetworkPolicy/trust-manager", "spec"));
  const tcp = (...ports: number[]) => ports.map((port) => ({ port, protocol: "TCP" }));
  const closed = await policy(CASES["a NetworkPolicy"]);
  assert.deepEqual(closed.policyTypes, ["Ingress", "Egress"]);
  // The API server and the kubelet are no pods. The metrics are for nobody who is not named.
  assert.deepEqual(closed.ingress, [{ ports: tcp(6060, 6443) }]);
  assert.deepEqual(closed.egress, [{ ports: tcp(443, 6443) }]);
  const more = await policy(CASES["a NetworkPolicy with more"]);
  assert.deepEqual(more.ingress, [
    { ports: tcp(6060, 6443) },
    { ports: tcp(9402), from: [{ namespaceSelector: { matchLabels: { name: "monitoring" } } }] },
    { ports: tcp(1) },
  ]);
  assert.deepEqual(more.egress, [
    { ports: tcp(8443), to: [{ ipBlock: { cidr: "192.0.2.1/32" } }] },
    { to: [{ ipBlock: { cidr: "192.0.2.0/24" } }] },
  ]);
  // A rule without ports would be one for all of them.
  assert.match(await refusal({ networkPolicy: { enabled: true, apiServerPorts: [] } }), /apiServerPorts/);
});

Deno.test("the CRD is that of deploy/crds, and kept unless it is not to be", async () => {
  const crd = "CustomResourceDefinition/bundles.trust.cert-manager.io";
  const file = await Deno.readTextFile(`${ROOT}/deploy/crds/trust.cert-manager.io_bundles.yaml`);
  const rendered = await render();
  assert.deepEqual(rendered.at(crd, "spec"), parse(file).spec);
  assert.equal(rendered.at(crd, "metadata.annotations", "helm.sh/resource-policy"), "keep");
  assert.equal((await render(CASES["a CRD that goes"])).at(crd, "metadata.annotations"), undefined);
  assert.ok(!(await render(CASES["no CRD"])).has(crd));
});

Deno.test("files in the chart are copies of those in deploy/", async () => {
  for (const file of ["crds/trust.cert-manager.io_bundles.yaml", "validating_admission_policy.yaml"]) {
    const copy = `${CHART}/files/${file.replace(/.*\//, "")}`;
    assert.equal(
      await Deno.readTextFile(copy),
      await Deno.readTextFile(`${ROOT}/deploy/${file}`),
      `copy deploy/${file} to ${copy}`,
    );
  }
});

Deno.test("the chart has the version of the project", async () => {
  const chart = parse(await Deno.readTextFile(`${CHART}/Chart.yaml`));
  assert.deepEqual([chart.version, chart.appVersion], [VERSION, `v${VERSION}`]);
  assert.equal(chart.kubeVersion, ">= 1.25.0-0");
  await render({}, "--kube-version=v1.25.3-eks-1");
});

Deno.test("values that are wrong fail with their path", async (t) => {
  const rows: [Values, RegExp][] = [
    [{ replicas: 2 }, /additional properties 'replicas' not allowed/],
    [{ app: { webhok: {} } }, /\/app'.*additional properties 'webhok'/],
    [{ replicaCount: true }, /\/replicaCount'.*got boolean/],
    [{ app: { logFormat: "xml" } }, /\/app\/logFormat'/],
    [{ app: { logLevel: 6 } }, /\/app\/logLevel'/],
    [{ app: { webhook: { port: "6443" } } }, /\/app\/webhook\/port'.*got string/],
    [{ app: { webhook: { port: 65536 } } }, /\/app\/webhook\/port'/],
    [{ app: { webhook: { timeoutSeconds: 31 } } }, /\/app\/webhook\/timeoutSeconds'/],
    [{ app: { leaderElection: { leaseDuration: "15" } } }, /\/app\/leaderElection\/leaseDuration'/],
    [{ app: { targetNamespaces: "a,b" } }, /\/app\/targetNamespaces'.*got string, want array/],
    [{ app: { targetNamespaces: ["a,b"] } }, /\/app\/targetNamespaces\/0'/],
    [{ app: { readinessProbe: { path: "readyz" } } }, /\/app\/readinessProbe\/path'/],
    [{ app: { minTLSVersion: "1.3" } }, /\/app\/minTLSVersion'/],
    [{ secretTargets: { authorizedSecrets: ["A"] } }, /\/secretTargets\/authorizedSecrets\/0'/],
    [{ image: { digest: "0123" } }, /\/image\/digest'/],
    [{ image: { pullPolicy: "Sometimes" } }, /\/image\/pullPolicy'/],
    [{ podDisruptionBudget: { minAvailable: "half" } }, /\/podDisruptionBudget\/minAvailable'/],
    [{ commonLabels: { a: 1 } }, /\/commonLabels\/a'.*got number, want string/],
  ];
  for (const [values, message] of rows) {
    await t.step(JSON.stringify(values), async () => assert.match(await refusal(values), message));
  }
});

Deno.test("values files of the Go project's chart are taken", async (t) => {
  const { defaults } = await readPeerValues();
  await t.step("its defaults, all of them", async () => {
    const rendered = await render(Object(defaults));
    const own = await render();
    assert.deepEqual(rendered.names, own.names);
    assert.equal(rendered.pod("containers.0.image"), `quay.io/jetstack/trust-manager:v${VERSION}`);
    assert.deepEqual(rendered.options, own.options);
  });
  for (const [name, yaml] of Object.entries(PEER_VALUES_FILES)) {
    await t.step(name, async () => {
      const { options } = await render(parse(yaml));
      assert.equal(options.webhookEnabled, true);
    });
  }
  await t.step("global values are for other charts too", async () => {
    await render({ global: { imageRegistry: "x", rbac: { other: true } } });
  });
});

Deno.test("no value of the Go project's chart is missing, and defaults differ where they must", async () => {
  const peer = await readPeerValues();
  const own = await readOwnValues();
  const paths = own.map(({ path }) => path);
  assert.ok(peer.paths.length > 80, `only ${peer.paths.length} values were found`);
  assert.deepEqual(peer.paths.filter((path) => !paths.includes(path)), []);
  assert.deepEqual(
    own.filter((value) => !["same", "new"].includes(comparison(value, peer))).map(({ path }) => path),
    ["imageRegistry", "imageNamespace", "defaultPackageImage._defaultReference"],
  );
});

Deno.test("docs/helm-values.md is up to date", async () => {
  const { wanted, present } = await helmValuesDocuments();
  assert.equal(present, wanted, "run: deno run --allow-all deploy/helm_values_document.ts");
});

Deno.test("every value has a text and a schema, and nothing else has", async () => {
  const documented = (await readOwnValues()).map(({ path }) => path);
  const yaml = parse(await Deno.readTextFile(`${CHART}/values.yaml`));
  const uncovered = leafPaths(yaml).filter((leaf) =>
    !documented.some((path) => leaf === path || leaf.startsWith(`${path}.`))
  );
  assert.deepEqual(uncovered, []);

  const schema: Schema = JSON.parse(await Deno.readTextFile(`${CHART}/values.schema.json`));
  const described = leavesOf(schema);
  const within = (path: string) => described.some((leaf) => leaf === path || leaf.startsWith(`${path}.`));
  assert.deepEqual(documented.filter((path) => !within(path)), []);
  assert.deepEqual(
    described.filter((leaf) => !documented.some((path) => leaf === path || leaf.startsWith(`${path}.`))),
    [],
  );
});

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
}

/** Paths of all that has no properties of its own. */
function leavesOf({ properties }: Schema, path = ""): string[] {
  if (properties === undefined) return [path];
  return Object.entries(properties).flatMap(([name, inner]) =>
    leavesOf(inner, path === "" ? name : `${path}.${name}`)
  );
}

Deno.test("Prometheus takes alerts and dashboard, and they are about metrics and labels that there are", async (t) => {
  const rendered = await render(CASES["monitoring"]);
  const rules = rendered.at("PrometheusRule/trust-manager", "spec");
  const { groups }: { groups: { rules: Alert[] }[] } = Object(rules);
  const alerts = groups.flatMap((group) => group.rules);
  const dashboard = JSON.parse(
    String(rendered.at("ConfigMap/trust-manager-dashboard", "data", "trust-manager.json")),
  );
  const panels: { title: string; targets: { expr: string }[] }[] = dashboard.panels;
  const [, variable, label] =
    /^label_values\((.+), (\w+)\)$/.exec(dashboard.templating.list[1].query.query) ??
      [];
  const expressions: [name: string, expression: string][] = [
    ...alerts.map(({ alert, expr }): [string, string] => [alert, expr]),
    ...panels.flatMap(({ title, targets }) => targets.map(({ expr }): [string, string] => [title, expr])),
    ["Variable", `max by (${label}) (${variable})`],
  ];
  assert.ok(
    alerts.length > 8 && expressions.length > 25,
    `only ${expressions.length} expressions were found`,
  );
  // Grafana puts a time in place of these.
  const read = await readPromql(
    JSON.stringify(rules), // is YAML
    expressions.map(([, expression]) => expression.replaceAll(/\$__(rate_)?interval/g, "5m")),
  );

  const labelsOf = await labelsOfMetrics();
  const added = ["instance", "job"]; // by Prometheus
  await t.step("the rules as a file", () => assert.deepEqual(read.ruleErrors, []));
  for (const [index, [name]] of expressions.entries()) {
    await t.step(name, () => {
      const { error, type, selectors = [], grouped = [] } = read.expressions[index] ?? {};
      assert.equal(error, undefined);
      assert.equal(type, "vector");
      assert.ok(selectors.length > 0, "it is about no metric");
      const known = new Set(added);
      for (const { metric, labels } of selectors) {
        const there = labelsOf.get(metric);
        assert.ok(there, `there is no metric ${metric}`);
        for (const label of labels) assert.ok(there.includes(label), `${metric} has no label ${label}`);
        there.forEach((label) => known.add(label));
      }
      for (const label of grouped) assert.ok(known.has(label), `none of the metrics has a label ${label}`);
      // Only labels that the expression keeps can be told.
      const { annotations = {} } = alerts[index] ?? {};
      const told = [...Object.values(annotations).join(" ").matchAll(/\$labels\.(\w+)/g)].map(([, label]) =>
        label
      );
      assert.deepEqual(told.filter((label = "") => !grouped.includes(label)), []);
    });
  }

  await t.step("the document on operations shows the same alerts", async () => {
    const document = await Deno.readTextFile(`${ROOT}/docs/operations.md`);
    const [, block = ""] = /```yaml\n(- alert: [^]*?)```/.exec(document) ?? [];
    const shown: Alert[] = parse(block);
    assert.ok(shown.length > 3);
    for (const { alert, expr, for: duration } of shown) {
      const own = alerts.find((candidate) => candidate.alert === alert);
      assert.deepEqual({ expr, duration }, { expr: own?.expr, duration: own?.for }, alert);
    }
  });
  await t.step("each alert leads to its heading in the document on operations", async () => {
    const document = await Deno.readTextFile(`${ROOT}/docs/operations.md`);
    const section = document.slice(document.indexOf("\n## Alerts"), document.indexOf("\n## Logs"));
    const headings = [...section.matchAll(/^### (\w+)$/gm)].map(([, heading]) => heading);
    assert.deepEqual(headings, alerts.map(({ alert }) => alert));
    const urlOf = ({ annotations }: Alert) => annotations?.["runbook_url"];
    assert.deepEqual(
      alerts.map(urlOf),
      alerts.map(({ alert }) => `docs/operations.md#${alert.toLowerCase()}`),
    );
    const runbookUrl = "https://git.example.com/docs/operations.md";
    const elsewhere = await render({ app: { metrics: { prometheusRule: { enabled: true, runbookUrl } } } });
    const moved: { groups: { rules: Alert[] }[] } = Object(
      elsewhere.at("PrometheusRule/trust-manager", "spec"),
    );
    assert.deepEqual(
      moved.groups.flatMap(({ rules }) => rules).map(urlOf),
      alerts.map(({ alert }) => `${runbookUrl}#${alert.toLowerCase()}`),
    );
  });
  await t.step("what is wrong is found", async () => {
    const withRule = (rule: Record<string, unknown>, expressions: readonly string[] = []) =>
      readPromql(
        JSON.stringify({ groups: [{ name: "bad", rules: [{ alert: "Bad", expr: "up < 1", ...rule }] }] }),
        expressions,
      );
    const rows: [Record<string, unknown>, RegExp][] = [
      [{ for: "10x" }, /10x/],
      [{ expr: "up <" }, /could not parse expression/],
      [{ annotations: { summary: "{{ $labels.bundle | humanise }}" } }, /humanise/],
    ];
    for (const [rule, message] of rows) assert.match((await withRule(rule)).ruleErrors.join("\n"), message);
    const { expressions, ruleErrors } = await withRule({}, ["sum by (bundle (x)", "rate(x)", "up < 1"]);
    assert.deepEqual(ruleErrors, []);
    assert.deepEqual(expressions.map(({ error }) => error !== undefined), [true, true, false]);
  });
});

/** A rule of Prometheus. */
interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The labels of each time series that the process exposes. */
async function labelsOfMetrics(): Promise<ReadonlyMap<string, readonly string[]>> {
  const { registry } = new Metrics(0, "0");
  new WebhookMetrics(registry);
  const labelsOf = new Map<string, readonly string[]>();
  for (const { name, type } of await registry.getMetricsAsJSON()) {
    const metric: { labelNames?: readonly string[] } = Object(registry.getSingleMetric(name));
    const labels = metric.labelNames ?? [];
    labelsOf.set(name, labels);
    if (String(type) === "histogram") labelsOf.set(`${name}_bucket`, [...labels, "le"]);
  }
  return labelsOf;
}

Deno.test("as part of another chart, it is installed if that wants it", async () => {
  const helm = await Helm.find();
  const parent = await Deno.makeTempDir({ prefix: "trust-manager-umbrella-" });
  try {
    const dependency = {
      name: "trust-manager",
      version: `>= ${VERSION}`,
      condition: "trust-manager.enabled",
    };
    const chart = { apiVersion: "v2", name: "umbrella", version: "1.0.0", dependencies: [dependency] };
    await Deno.writeTextFile(`${parent}/Chart.yaml`, JSON.stringify(chart));
    await helm.run(["package", CHART, `--destination=${parent}/charts`]);
    const renderParent = async (values: Values) =>
      new Rendered(parseManifests(
        await helm.run(["template", "up", parent, "--namespace=apps", "--values", VALUES_FILE], values),
      ));
    const part = await renderParent({
      "global": { imageRegistry: "for others" },
      "trust-manager": { namespace: "pki", replicaCount: 2 },
    });
    assert.equal(part.at("Deployment/pki/trust-manager", "spec.replicas"), 2);
    assert.equal(part.at("Deployment/trust-manager", "metadata.labels", "app.kubernetes.io/instance"), "up");
    assert.ok(part.has("CustomResourceDefinition/bundles.trust.cert-manager.io"), "files are in the package");
    assert.deepEqual((await renderParent({ "trust-manager": { enabled: false } })).names, []);
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
});

Deno.test("the notes warn of what is risky", async (t) => {
  const helm = await Helm.find();
  const rows: [Values, RegExp[], RegExp[]][] = [
    [{}, [/one replica only/, /podDisruptionBudget\.enabled/, /default CA package/], [
      /Secrets/,
      /never renewed/,
    ]],
    [{ replicaCount: 2, podDisruptionBudget: { enabled: true } }, [], [/WARNING/]],
    [{ secretTargets: { enabled: true } }, [/has no effect/], []],
    [{ secretTargets: { enabled: true, authorizedSecretsAll: true } }, [/Secrets of any name/], []],
    [{ app: { webhook: { tls: { helmCert: { enabled: true } } } } }, [/never renewed/], []],
    [{ defaultPackage: { enabled: false } }, [], [/default CA package/]],
  ];
  for (const [values, present, absent] of rows) {
    await t.step(JSON.stringify(values), async () => {
      const notes = await helm.notes({ values });
      for (const text of present) assert.match(notes, text);
      for (const text of absent) assert.doesNotMatch(notes, text);
    });
  }
});
