import { OPERATOR_FLAGS, SCRIPT } from "../../build.ts";
import {
  type Bundle,
  BUNDLE_LABEL,
  type BundleSpec,
  FIELD_MANAGER,
  type TargetKind,
} from "../../lib/api/bundle.ts";
import type { Condition, ConfigMap, KubeObject, Secret } from "../../lib/kube/objects.ts";
import { AuditLog } from "../cluster/audit.ts";
import { type ControlPlane, startControlPlane } from "../cluster/control_plane.ts";
import { serviceAccountKubeconfig } from "../cluster/kubectl.ts";
import { assertNoSecrets } from "./no_secrets.ts";
import { OperatorProcess } from "./operator_process.ts";

const MANIFESTS = new URL("../../deploy/", import.meta.url);

/** The namespace that sources lie in, and that the operator's service account lives in. */
export const TRUST_NAMESPACE = "cert-manager";

/** A real API server with the CRD and the RBAC of `deploy/`, for end-to-end tests. */
export class TestCluster implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly audit: AuditLog;
  readonly #kubeconfig: string;

  private constructor(controlPlane: ControlPlane, kubeconfig: string) {
    this.controlPlane = controlPlane;
    this.audit = new AuditLog(controlPlane);
    this.#kubeconfig = kubeconfig;
  }

  /** Starts the control plane, with the trust namespace, the CRD and the RBAC; with the RBAC of Secret targets if asked for. */
  static async start(options: { secretTargets?: boolean } = {}): Promise<TestCluster> {
    const read = (file: string) => Deno.readTextFile(new URL(file, MANIFESTS));
    const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: TRUST_NAMESPACE } };
    const controlPlane = await startControlPlane({
      manifests: [
        JSON.stringify(namespace),
        await read("crds/trust.cert-manager.io_bundles.yaml"),
        await read("rbac.yaml"),
        ...(options.secretTargets ? [await read("rbac_secret_targets.yaml")] : []),
      ],
    });
    try {
      const kubeconfig = await serviceAccountKubeconfig(controlPlane, TRUST_NAMESPACE, "trust-manager");
      return new TestCluster(controlPlane, kubeconfig);
    } catch (error) {
      await controlPlane.stop();
      throw error;
    }
  }

  get admin(): ControlPlane["admin"] {
    return this.controlPlane.admin;
  }

  /**
   * Starts the operator with the rights of its service account, and waits until it is ready.
   *
   * @param flags beside those for ports and cluster.
   */
  operator(...flags: string[]): Promise<OperatorProcess> {
    return this.operatorWith({ flags });
  }

  /** As {@linkcode operator}; with a kubeconfig of its own, say through a proxy, or without waiting. */
  async operatorWith(
    { flags = [], kubeconfig = this.#kubeconfig, wait = true }: {
      flags?: readonly string[];
      kubeconfig?: string;
      wait?: boolean;
    },
  ): Promise<OperatorProcess> {
    const operator = OperatorProcess.start(OPERATOR_FLAGS, SCRIPT, [
      `--kubeconfig=${kubeconfig}`,
      `--trust-namespace=${TRUST_NAMESPACE}`,
      "--webhook-enabled=false",
      ...flags,
    ]);
    if (wait) await operator.ready();
    return operator;
  }

  /** Creates a namespace. */
  async createNamespace(name: string, labels: Record<string, string> = {}): Promise<void> {
    await this.admin.create("/api/v1/namespaces", { metadata: { name, labels } });
  }

  /** Puts a ConfigMap, as a user with `kubectl apply` would. */
  async putConfigMap(
    namespace: string,
    name: string,
    data: Record<string, string>,
    labels = {},
  ): Promise<void> {
    await this.admin.apply([{
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace, name, labels },
      data,
    }]);
  }

  /** Puts a Secret, as a user with `kubectl apply` would. */
  async putSecret(
    name: string,
    stringData: Record<string, string>,
    options: { type?: string; labels?: Record<string, string> } = {},
  ): Promise<void> {
    const { type = "Opaque", labels = {} } = options;
    const metadata = { namespace: TRUST_NAMESPACE, name, labels };
    await this.admin.apply([{ apiVersion: "v1", kind: "Secret", metadata, type, stringData }]);
  }

  /** Creates a Bundle, or changes its spec. */
  async putBundle(name: string, spec: BundleSpec): Promise<void> {
    await this.admin.apply([{
      apiVersion: "trust.cert-manager.io/v1alpha1",
      kind: "Bundle",
      metadata: { name },
      spec,
    }]);
  }

  /** Deletes Bundles and waits until they are gone. Their targets are the garbage collector's. */
  async deleteBundles(...names: string[]): Promise<void> {
    for (const name of names) await this.admin.delete(bundlePath(name));
    for (const name of names) await this.admin.waitUntilGone(bundlePath(name));
  }

  async getBundle(name: string): Promise<Bundle | undefined> {
    return await this.admin.get<Bundle>(bundlePath(name));
  }

  /** Waits for the `Synced` condition of the present generation to say something, and returns it. */
  async condition(
    bundle: string,
    status: "True" | "False",
    accept: (condition: Condition) => boolean = () => true,
  ): Promise<Condition> {
    let found: Condition | undefined;
    await this.admin.waitFor<Bundle>(bundlePath(bundle), `has the awaited condition ${status}`, (object) => {
      found = object?.status?.conditions?.find(({ type }) => type === "Synced");
      return found?.status === status && found.observedGeneration === object?.metadata.generation &&
        accept(found);
    });
    if (found === undefined) throw new TypeError("No condition was found");
    return found;
  }

  /** Waits until the Bundle is in sync. */
  synced(bundle: string, accept?: (condition: Condition) => boolean): Promise<Condition> {
    return this.condition(bundle, "True", accept);
  }

  /** Reads a target; undefined if there is none. */
  async target(
    namespace: string,
    name: string,
    kind: TargetKind = "ConfigMap",
  ): Promise<ConfigMap | undefined> {
    return await this.admin.get<ConfigMap>(targetPath(namespace, name, kind));
  }

  /** Waits until a target is as wanted, and returns it. */
  async targetBecomes(
    namespace: string,
    name: string,
    what: string,
    accept: (target: ConfigMap | undefined) => boolean,
    kind: TargetKind = "ConfigMap",
  ): Promise<ConfigMap> {
    const target = await this.admin.waitFor<ConfigMap>(targetPath(namespace, name, kind), what, accept);
    return target ?? { metadata: { name } };
  }

  /** Waits until a target is gone. */
  async targetGone(namespace: string, name: string, kind: TargetKind = "ConfigMap"): Promise<void> {
    await this.admin.waitUntilGone(targetPath(namespace, name, kind));
  }

  /** The events about a Bundle so far, oldest first. */
  async events(bundle: string): Promise<BundleEvent[]> {
    const list = await this.admin.get<{ items: BundleEvent[] }>(
      "/apis/events.k8s.io/v1/namespaces/default/events",
    );
    return (list?.items ?? []).filter(({ regarding }) => regarding.name === bundle)
      .sort((a, b) => a.eventTime < b.eventTime ? -1 : 1);
  }

  /** Waits for an event about a Bundle, and returns it. */
  async event(bundle: string, reason: string, note?: string): Promise<BundleEvent> {
    let found: BundleEvent | undefined;
    const what = `has an event ${reason} about ${bundle}${note === undefined ? "" : `: ${note}`}`;
    await this.admin.waitFor<{ items: BundleEvent[] }>(
      "/apis/events.k8s.io/v1/namespaces/default/events",
      what,
      (list) => {
        found = list?.items.find((event) =>
          event.regarding.name === bundle && event.reason === reason &&
          (note === undefined || event.note === note)
        );
        return found !== undefined;
      },
    );
    if (found === undefined) throw new TypeError("No event was found");
    return found;
  }

  /** The kubeconfig of the operator's service account. */
  get operatorKubeconfig(): string {
    return this.#kubeconfig;
  }

  /** Ends it, after a look at all that the operator has written: whatever the scenario was, no secret may be in there. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#findNoSecrets();
    } finally {
      await this.controlPlane.stop();
    }
  }

  async #findNoSecrets(): Promise<void> {
    const items = async <T>(path: string) => (await this.admin.get<{ items: T[] }>(path))?.items ?? [];
    const label = `?labelSelector=${encodeURIComponent(BUNDLE_LABEL)}`;
    assertNoSecrets("targets", JSON.stringify(await items(`/api/v1/configmaps${label}`)));
    for (const { metadata, data } of await items<Secret>(`/api/v1/secrets${label}`)) {
      const ours = JSON.stringify(metadata.managedFields?.filter(({ manager }) => manager === FIELD_MANAGER));
      for (const [key, value] of Object.entries(data ?? {})) {
        // What others keep in the same Secret is theirs.
        if (ours.includes(`"f:${key}"`)) assertNoSecrets("a target", atob(value));
      }
    }
    const bundles = await items<Bundle>("/apis/trust.cert-manager.io/v1alpha1/bundles");
    assertNoSecrets("statuses", JSON.stringify(bundles.map(({ status }) => status)));
    assertNoSecrets("events", JSON.stringify(await items("/apis/events.k8s.io/v1/events")));
  }
}

/** An event (events.k8s.io/v1) about a Bundle. */
export interface BundleEvent extends KubeObject {
  readonly eventTime: string;
  readonly type: string;
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly regarding: { readonly kind: string; readonly name: string; readonly uid: string };
  readonly reportingController: string;
  readonly series?: { readonly count: number };
}

/** API path of a Bundle. */
export function bundlePath(name: string): string {
  return `/apis/trust.cert-manager.io/v1alpha1/bundles/${name}`;
}

/** API path of a target. */
export function targetPath(namespace: string, name: string, kind: TargetKind = "ConfigMap"): string {
  return `/api/v1/namespaces/${namespace}/${kind === "ConfigMap" ? "configmaps" : "secrets"}/${name}`;
}
