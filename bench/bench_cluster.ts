import { BUNDLE_API_VERSION, BUNDLES_PATH } from "../lib/api/bundle.ts";
import { AuditLog } from "../tests/cluster/audit.ts";
import {
  type ControlPlane,
  type OwnControlPlane,
  startControlPlane,
} from "../tests/cluster/control_plane.ts";
import { serviceAccountKubeconfig } from "../tests/cluster/kubectl.ts";
import type { RestClient, RestObject } from "../tests/cluster/rest_client.ts";
import { ROOT } from "../tests/project_files.ts";
import { TargetWatch } from "./target_watch.ts";
import { type Content, PEM_KEY, targetSpec } from "./trust_content.ts";

/** The namespace that sources lie in. */
export const TRUST_NAMESPACE = "cert-manager";

/** User of operator, peer and bare loop, as the audit log names it. */
export const CONTENDER_USER = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;

/** Name of the source. */
const SOURCE = "bench-source";

/** Label of the namespaces that Bundles select. */
const LABEL = "bench";

/** Requests of the benchmark itself that are on their way at once, when it prepares something. */
const PREPARING = 16;

/** The older events API, which the peer uses beside the newer one. */
const PEER_EVENTS = [
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "peer-events" },
    rules: [{ apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] }],
  },
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "peer-events" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "peer-events" },
    subjects: [{ kind: "ServiceAccount", name: "trust-manager", namespace: TRUST_NAMESPACE }],
  },
];

/** A fresh control plane with namespaces, for benchmarks. */
export class BenchCluster implements AsyncDisposable {
  readonly audit: AuditLog;
  readonly watch: TargetWatch;
  /** Of the service account that all contenders use. */
  readonly kubeconfig: string;
  readonly #controlPlane: ControlPlane;
  readonly #namespaces: string[] = [];
  #created = 0;

  private constructor(controlPlane: ControlPlane, kubeconfig: string, watch: TargetWatch) {
    this.#controlPlane = controlPlane;
    this.kubeconfig = kubeconfig;
    this.watch = watch;
    this.audit = new AuditLog(controlPlane);
  }

  /** Starts it, and returns when its namespaces are there and the control plane has come to rest. */
  static async start(namespaces: number, report: (line: string) => void): Promise<BenchCluster> {
    const read = (file: string) => Deno.readTextFile(`${ROOT}/deploy/${file}`);
    const controlPlane = await startControlPlane({
      kubeconfig: "",
      report,
      // A pass over 1,000 targets adds 220 MB to etcd's history. What drops it, which takes seconds, must not come at random: see `compact`.
      apiServerArgs: ["--etcd-compaction-interval=0"],
      manifests: [
        JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: TRUST_NAMESPACE } }),
        await read("crds/trust.cert-manager.io_bundles.yaml"),
        await read("rbac.yaml"),
        ...PEER_EVENTS.map((object) => JSON.stringify(object)),
      ],
    });
    try {
      const kubeconfig = await serviceAccountKubeconfig(controlPlane, TRUST_NAMESPACE, "trust-manager");
      const watch = await TargetWatch.open(controlPlane.admin.config);
      const cluster = new BenchCluster(controlPlane, kubeconfig, watch);
      const created = await cluster.createNamespaces(namespaces);
      await cluster.#settleNamespaces(created);
      return cluster;
    } catch (error) {
      await controlPlane.stop();
      throw error;
    }
  }

  get admin(): RestClient {
    return this.#controlPlane.admin;
  }

  /** Where contenders may keep files. */
  get dir(): string {
    return this.#controlPlane.dir;
  }

  /** Namespaces that Bundles select. */
  get namespaces(): readonly string[] {
    return this.#namespaces;
  }

  /** Process id of the API server. */
  get apiServerPid(): number {
    return this.#own.pids()["kube-apiserver"];
  }

  /** Drops etcd's history. To be called before something is measured, never meanwhile. */
  async compact(): Promise<void> {
    await this.#own.compactEtcd();
  }

  get #own(): OwnControlPlane {
    const { own } = this.#controlPlane;
    if (own === undefined) throw new Error("The control plane is not one that was started here");
    return own;
  }

  /** Creates one more namespace that Bundles select, and returns its name. */
  async createNamespace(): Promise<string> {
    const name = `bench-${String(this.#created++).padStart(5, "0")}`;
    this.#namespaces.push(name);
    await this.admin.create("/api/v1/namespaces", { metadata: { name, labels: { [LABEL]: "yes" } } });
    return name;
  }

  /** Creates so many at once. */
  async createNamespaces(count: number, atOnce = PREPARING): Promise<string[]> {
    const names: string[] = [];
    await inParallel(Array.from({ length: count }), atOnce, async () => {
      names.push(await this.createNamespace());
    });
    return names;
  }

  /** Lets no Bundle select any but the first `count` namespaces. To be called while nobody syncs. */
  async shrink(count: number): Promise<void> {
    const surplus = this.#namespaces.splice(count);
    await inParallel(surplus, PREPARING, async (name) => {
      await this.admin.mergePatch(`/api/v1/namespaces/${name}`, { metadata: { labels: { [LABEL]: null } } });
    });
    await this.#settleNamespaces(surplus);
  }

  /** Makes the source hold `pem`. */
  async putSource(pem: string): Promise<void> {
    const metadata = { namespace: TRUST_NAMESPACE, name: SOURCE };
    await this.admin.apply([{ apiVersion: "v1", kind: "ConfigMap", metadata, data: { [PEM_KEY]: pem } }]);
  }

  /** Creates a Bundle of the source for all namespaces of the benchmark. Returns its UID. */
  async createBundle(name: string, content: Content): Promise<string> {
    const bundle = await this.admin.create<RestObject>(BUNDLES_PATH, {
      apiVersion: BUNDLE_API_VERSION,
      kind: "Bundle",
      metadata: { name },
      spec: {
        sources: [{ configMap: { name: SOURCE, key: PEM_KEY } }],
        target: { ...targetSpec(content), namespaceSelector: { matchLabels: { [LABEL]: "yes" } } },
      },
    });
    return String(bundle.metadata["uid"]);
  }

  /** Deletes Bundles and waits until the garbage collector has removed their targets. To be called while nobody syncs. */
  async deleteBundles(...names: string[]): Promise<void> {
    for (const name of names) await this.admin.delete(`${BUNDLES_PATH}/${name}`);
    await this.watch.until(
      `the targets of ${names.join(", ")} are gone`,
      600_000,
      () => names.every((name) => this.watch.count(name) === 0),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.watch[Symbol.asyncDispose]();
    await this.#controlPlane.stop();
  }

  /** Waits until the controllers have put into each namespace what belongs there, so that they disturb no measurement. */
  async #settleNamespaces(names: readonly string[]): Promise<void> {
    await inParallel(names, PREPARING, async (name) => {
      for (const path of ["configmaps/kube-root-ca.crt", "serviceaccounts/default"]) {
        await this.admin.waitFor(
          `/api/v1/namespaces/${name}/${path}`,
          "is there",
          (object) => object !== undefined,
          120_000,
        );
      }
    });
  }
}

/** Does `work` for each item, for `atOnce` of them at the same time. */
export async function inParallel<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    for (const item of rest) await work(item);
  }));
}
