import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { packageOfThisMachine } from "../../default-ca-package/machine_package.ts";
import { encodePackage } from "../../default-ca-package/package_file.ts";
import type { Bundle, BundleSpec } from "../../lib/api/bundle.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { issued, renew } from "../cert_manager/certificate.ts";
import { installCertManager, makeCertManagerImages } from "../cert_manager/install_cert_manager.ts";
import { kubectl, kubectlApply } from "../cluster/kubectl.ts";
import type { RestClient, RestObject } from "../cluster/rest_client.ts";
import { PEER_VALUES_FILES } from "../helm/cases.ts";
import { customResourceDefinitions } from "../helm/custom_resources.ts";
import { CHART, Helm, VALUES_FILE } from "../helm/helm.ts";
import { type ClusterNode, startNode } from "../node/node.ts";
import { makeOperatorImages } from "../node/operator_images.ts";
import { makePeerImages, peerChart } from "../node/peer_images.ts";
import { parse } from "yaml";
import { until } from "../until.ts";

const NAMESPACE = "cert-manager";
const BUNDLES = "/apis/trust.cert-manager.io/v1alpha1/bundles";
const DEPLOYMENT = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/trust-manager`;
const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/trust-manager-leader-election`;
const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;
const DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bundles.trust.cert-manager.io";

/** How long a pod may take to come, to take over from another, or to go, in milliseconds: as long as Helm waits. */
const SLOWEST_POD_MS = 120_000;

type Values = Readonly<Record<string, unknown>>;

/** Values that make do without cert-manager. */
const SELF_MANAGED: Values = { app: { webhook: { tls: { selfManaged: { enabled: true } } } } };
const HELM_CERT: Values = { app: { webhook: { tls: { helmCert: { enabled: true } } } } };

/** What the quick start of the user documentation applies. */
const EXAMPLE_CA = `
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: trust-manager-selfsigned-issuer}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: trust-manager-example-ca, namespace: ${NAMESPACE}}
spec:
  isCA: true
  commonName: trust-manager-example-ca
  secretName: trust-manager-example-ca-secret
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {name: trust-manager-selfsigned-issuer, kind: ClusterIssuer, group: cert-manager.io}
`;

const DEFAULT_CAS: BundleSpec = {
  sources: [{ useDefaultCAs: true }],
  target: { configMap: { key: "trust-bundle.pem" } },
};

/** Prints what its process may do; 2 means that system calls are filtered. */
const LOOK_AROUND = `
  const status = Deno.readTextFileSync("/proc/self/status");
  const number = (field) => parseInt(status.match(new RegExp("^" + field + ":\\\\s*(\\\\w+)", "m"))[1], 16);
  const writable = ["/x", "/tmp/x", "/tls/x", "/packages/x"].filter((path) => {
    try {
      Deno.writeTextFileSync(path, "");
      return true;
    } catch {
      return false;
    }
  });
  console.log(JSON.stringify({ uid: Deno.uid(), capabilities: number("CapEff"), seccomp: number("Seccomp"), writable }));
`;

interface Pod extends RestObject {
  readonly status?: {
    readonly phase?: string;
    readonly containerStatuses?: readonly { readonly restartCount: number }[];
  };
}

/** The chart on a node, as a user has it. */
class Release {
  readonly #node: ClusterNode;
  readonly #helm: Helm;

  constructor(node: ClusterNode, helm: Helm) {
    this.#node = node;
    this.#helm = helm;
  }

  /** Installs or upgrades, and waits until all runs. */
  async upgrade(values: Values = {}, chart = CHART, ...more: string[]): Promise<void> {
    const args = [
      "upgrade",
      "--install",
      "trust-manager",
      chart,
      `--namespace=${NAMESPACE}`,
      "--create-namespace",
      ...more,
    ];
    await this.#helm.run([...args, "--wait", "--timeout=2m", "--values", VALUES_FILE], values)
      .catch(async (error) => {
        throw new Error(`${error}\n${await this.state()}`);
      });
  }

  async rollback(): Promise<void> {
    await this.#helm.run(["rollback", "trust-manager", `--namespace=${NAMESPACE}`, "--wait", "--timeout=2m"]);
  }

  /** Uninstalls, and waits until all pods are gone. */
  async uninstall(): Promise<void> {
    await this.#helm.run([
      "uninstall",
      "trust-manager",
      `--namespace=${NAMESPACE}`,
      "--wait",
      "--timeout=2m",
    ]);
    await this.#node.admin.waitFor<{ items: Pod[] }>(
      `${PODS}?labelSelector=app=trust-manager`,
      "has no pods",
      (list) => list?.items.length === 0,
      SLOWEST_POD_MS,
    );
    // Its rights went first, so that it was not released, and the next would wait until it has run out.
    await this.#node.admin.delete(LEASE);
  }

  /** Those that are not on their way out. */
  async pods(): Promise<readonly Pod[]> {
    const list = await this.#node.admin.get<{ items: Pod[] }>(`${PODS}?labelSelector=app=trust-manager`);
    return (list?.items ?? []).filter(({ metadata }) => metadata["deletionTimestamp"] === undefined);
  }

  async logs(): Promise<string> {
    const logs = (await this.pods()).map(({ metadata: { name } }) =>
      this.#node.admin.text(`${PODS}/${name}/log`)
    );
    return (await Promise.all(logs)).join("\n");
  }

  /** What to look at when something failed. */
  async state(): Promise<string> {
    const statuses = (await this.pods()).map(({ status }) => JSON.stringify(status, null, 1));
    return [...statuses, await this.logs().catch(String)].join("\n");
  }
}

/** Has Bundles admitted, a few at a time, until `change` is done, and at least 100; fails if one is not. */
async function admitWhile(admin: RestClient, change: Promise<unknown>): Promise<void> {
  let admitted = 0;
  let done = false;
  const work = async () => {
    for (; !done || admitted < 100; admitted++) await create(admin, "asked", DEFAULT_CAS, "?dryRun=All");
  };
  await Promise.all([change.finally(() => done = true), work(), work()]);
}

async function create(admin: RestClient, name: string, spec: BundleSpec, query = ""): Promise<void> {
  await admin.create(`${BUNDLES}${query}`, {
    apiVersion: "trust.cert-manager.io/v1alpha1",
    kind: "Bundle",
    metadata: { name },
    spec,
  });
}

/** Checks that the API server asks the webhook in its pods, and heeds it. */
async function asksTheWebhook(admin: RestClient): Promise<void> {
  await assert.rejects(
    create(admin, "asked", { sources: [{ useDefaultCAs: false }] }, "?dryRun=All"),
    /denied the request: spec\.sources: Forbidden: must define at least one source/,
  );
  await create(admin, "asked", DEFAULT_CAS, "?dryRun=All");
}

/** The PEM in a target. */
async function target(admin: RestClient, bundle: string, accept: (pem: string) => boolean): Promise<string> {
  const pem = (target: ConfigMap | undefined) => target?.data?.["trust-bundle.pem"] ?? "";
  const path = `/api/v1/namespaces/default/configmaps/${bundle}`;
  return pem(await admin.waitFor<ConfigMap>(path, "has what is awaited", (target) => accept(pem(target))));
}

function count(pem: string): number {
  return pem.match(/-----BEGIN CERTIFICATE-----/g)?.length ?? 0;
}

/** With the images of this project, of the Go project and of cert-manager. */
async function startNodeWithImages(): Promise<ClusterNode> {
  const report = (line: string) => console.error(line);
  const dir = await Deno.makeTempDir({ prefix: "trust-manager-images-" });
  try {
    const images = [
      ...await makeOperatorImages(dir, report),
      ...await makePeerImages(dir, await Helm.find(), report),
      ...await makeCertManagerImages(dir),
    ];
    return await startNode({ images, report });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("the chart on a real node", async (t) => {
  await using node = await startNodeWithImages();
  const { admin } = node;
  const helm = await Helm.find(node.kubeconfig);
  const release = new Release(node, helm);
  const publicCas = encodePackage(await packageOfThisMachine()).read;

  await t.step("self-managed: installed without cert-manager", async () => {
    await release.upgrade(SELF_MANAGED);
    await asksTheWebhook(admin);
    await create(admin, "public", DEFAULT_CAS);
    await target(admin, "public", (pem) => count(pem) === publicCas.certificates.length);
  });

  await t.step("its pod is not root, can write nothing, and was never restarted", async () => {
    const [pod, ...others] = await release.pods();
    assert.ok(pod);
    assert.deepEqual(others, []);
    assert.deepEqual(pod.status?.containerStatuses?.map(({ restartCount }) => restartCount), [0]);
    const inPod = ["exec", pod.metadata.name, `--namespace=${NAMESPACE}`, "--container=trust-manager", "--"];
    assert.deepEqual(JSON.parse(await kubectl(node, [...inPod, "/usr/bin/deno", "eval", LOOK_AROUND])), {
      uid: 65532,
      capabilities: 0,
      seccomp: 2,
      writable: [],
    });
    assert.doesNotMatch(await release.logs(), /forbidden|PRIVATE KEY/i);
  });

  await t.step("uninstalled: the CRD and the Bundles stay", async () => {
    await release.uninstall();
    assert.ok(await admin.get(DEFINITION));
    assert.ok(await admin.get(`${BUNDLES}/public`));
    assert.equal(await admin.get(DEPLOYMENT), undefined);
  });

  await t.step("helmCert: installed without cert-manager, and an upgrade keeps the certificate", async () => {
    await release.upgrade(HELM_CERT);
    await asksTheWebhook(admin);
    const before = await release.pods();
    await release.upgrade(HELM_CERT);
    assert.deepEqual(names(await release.pods()), names(before));
    await asksTheWebhook(admin);
    await release.uninstall();
  });

  await t.step("default values, beside cert-manager", async () => {
    await installCertManager(helm);
    await release.upgrade();
    await asksTheWebhook(admin);
  });

  await t.step("the quick start", async () => {
    await create(admin, "example-bundle", DEFAULT_CAS);
    await target(admin, "example-bundle", (pem) => count(pem) === publicCas.certificates.length);
    await kubectlApply(node, EXAMPLE_CA);
    const example = await issued(admin, NAMESPACE, "trust-manager-example-ca-secret");
    await admin.mergePatch(`${BUNDLES}/example-bundle`, {
      spec: {
        sources: [
          ...DEFAULT_CAS.sources,
          { secret: { name: "trust-manager-example-ca-secret", key: "tls.crt" } },
        ],
      },
    });
    const pem = await target(admin, "example-bundle", (pem) => pem.includes(example["tls.crt"].trim()));
    assert.equal(count(pem), publicCas.certificates.length + 1);
    const bundle = await admin.waitFor<Bundle>(
      `${BUNDLES}/example-bundle`,
      "has the version",
      (bundle) => bundle?.status?.defaultCAVersion !== undefined,
    );
    assert.equal(bundle?.status?.defaultCAVersion, publicCas.id);
  });

  await t.step("a renewed certificate comes into use under admissions, and none fails", async () => {
    const before = await issued(admin, NAMESPACE, "trust-manager-tls");
    const rotate = async () => {
      await renew(admin, NAMESPACE, "trust-manager");
      const { "tls.crt": certificate } = await issued(admin, NAMESPACE, "trust-manager-tls", before);
      const { serialNumber } = new X509Certificate(certificate);
      // The kubelet takes its time.
      await until(
        async () => (await release.logs()).includes(`serial=${serialNumber}`),
        `${serialNumber} is served`,
        SLOWEST_POD_MS,
      );
    };
    await admitWhile(admin, rotate());
  });

  await t.step("two replicas, and a rolling upgrade under admissions, of which none fails", async () => {
    await release.upgrade({ replicaCount: 2 });
    const before = names(await release.pods());
    assert.equal(before.length, 2);
    const values = { replicaCount: 2, app: { podAnnotations: { "example.com/new": "yes" } } };
    await admitWhile(admin, release.upgrade(values));
    const after = names(await release.pods());
    assert.equal(after.length, 2);
    assert.deepEqual(after.filter((name) => before.includes(name)), []);
  });

  await t.step("the default package from an image volume, and back", async () => {
    await release.upgrade({ defaultPackage: { imageVolume: { enabled: true } } });
    const [pod] = await release.pods();
    assert.equal(Object(pod?.["spec"]).initContainers, undefined);
    await create(admin, "from-volume", DEFAULT_CAS);
    await target(admin, "from-volume", (pem) => count(pem) === publicCas.certificates.length);
    await release.rollback();
    await asksTheWebhook(admin);
    assert.doesNotMatch(await release.logs(), /forbidden|PRIVATE KEY/i);
    await release.uninstall();
  });

  const goChart = await peerChart();
  // Fewer replicas, as each takes its time to be replaced.
  const values: Values = {
    ...parse(PEER_VALUES_FILES["highly available, with monitoring"] ?? ""),
    replicaCount: 2,
  };
  /** What an exchange of one project for the other leaves as it is. */
  const kept = async () => {
    const paths = [
      "/api/v1/namespaces/default/configmaps/of-the-peer",
      "/api/v1/namespaces/default/configmaps/example-bundle",
      `/api/v1/namespaces/${NAMESPACE}/secrets/trust-manager-tls`,
    ];
    const versions = paths.map(async (path) => (await admin.get(path))?.metadata["resourceVersion"]);
    const bundle = await admin.get<Bundle>(`${BUNDLES}/of-the-peer`);
    const deployment = await admin.get(DEPLOYMENT);
    return [...await Promise.all(versions), bundle?.status, deployment?.metadata["uid"]];
  };
  /** Waits until whoever runs now has gone through all Bundles: a new namespace gets its targets after the others were looked at. */
  const worksIn = async (namespace: string) => {
    await admin.apply([{ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } }]);
    for (const bundle of ["of-the-peer", "example-bundle"]) {
      const path = `/api/v1/namespaces/${namespace}/configmaps/${bundle}`;
      await admin.waitFor(path, "is there", (target) => target !== undefined, SLOWEST_POD_MS);
    }
  };

  await t.step("from the Go project, running, with its values file, and back: all is kept", async () => {
    await admin.apply(await customResourceDefinitions());
    // As those who have installed it with Helm 3.
    await release.upgrade(values, goChart, "--server-side=false");
    await create(admin, "of-the-peer", DEFAULT_CAS);
    await target(admin, "of-the-peer", (pem) => count(pem) === publicCas.certificates.length);
    await worksIn("before");
    const before = await kept();

    await release.upgrade(values);
    await asksTheWebhook(admin);
    await worksIn("after");
    assert.deepEqual(await kept(), before);
    const [rendered] = (await helm.render({ values })).filter(({ kind }) => kind === "Deployment");
    const container = (deployment: RestObject | undefined) =>
      Object(deployment?.["spec"]).template.spec.containers[0];
    const live = container(await admin.get(DEPLOYMENT));
    assert.deepEqual(live.args, container(rendered).args);
    assert.equal(live.image, container(rendered).image);
    assert.equal(live.readinessProbe.initialDelaySeconds, undefined, "something of the former chart is left");
    assert.doesNotMatch(await release.logs(), /forbidden|PRIVATE KEY/i);

    await release.rollback();
    assert.match(container(await admin.get(DEPLOYMENT)).image, /jetstack/);
    await asksTheWebhook(admin);
    await worksIn("back");
    assert.deepEqual(await kept(), before);
    await release.uninstall();
  });

  await t.step("from the Go project's objects as kubectl applied them: Helm takes them over", async () => {
    await kubectlApply(
      node,
      await helm.run(["template", "trust-manager", goChart, `--namespace=${NAMESPACE}`]),
    );
    const runs = (found?: RestObject) => Object(found?.["status"]).readyReplicas === 1;
    await admin.waitFor(DEPLOYMENT, "runs", runs, SLOWEST_POD_MS);
    await worksIn("applied");
    const before = await kept();
    await assert.rejects(release.upgrade(), /invalid ownership metadata/);
    await release.upgrade({}, CHART, "--take-ownership", "--force-conflicts");
    await asksTheWebhook(admin);
    await worksIn("taken-over");
    assert.deepEqual(await kept(), before);
    // What both have set to the same stays kubectl's, too.
    const more = { app: { logLevel: 2 } };
    await assert.rejects(release.upgrade(more), /conflict with "kubectl-client-side-apply"/);
    await release.upgrade(more, CHART, "--force-conflicts");
  });
});

function names(pods: readonly Pod[]): string[] {
  return pods.map(({ metadata }) => metadata.name).sort();
}
