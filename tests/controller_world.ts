import type { BundleSpec, TargetKind } from "../lib/api/bundle.ts";
import { BUNDLES_PATH } from "../lib/api/bundle.ts";
import { targetPath, Writer } from "../lib/apply.ts";
import { delay } from "../lib/clock.ts";
import { ClusterView } from "../lib/cluster_view.ts";
import { Controller, type ControllerOptions } from "../lib/controller.ts";
import type { KubeRequest } from "../lib/kube/client.ts";
import type { EventInput } from "../lib/kube/event_recorder.ts";
import { FailureLog } from "../lib/kube/failure_log.ts";
import type { Condition, ConfigMap, KubeObject } from "../lib/kube/objects.ts";
import { createLogger } from "../lib/log.ts";
import { Metrics } from "../lib/metrics.ts";
import { TRUST_NAMESPACE } from "./builders.ts";
import { FakeApiServer } from "./fake_api_server.ts";
import { update } from "./fake_apply.ts";
import { FakeClock } from "./fake_clock.ts";

const NAMESPACES = "/api/v1/namespaces";

/** What a test's operator is told beside the usual. */
export type OperatorParts =
  & Partial<
    Pick<ControllerOptions, "filters" | "secretTargetsEnabled" | "targetNamespaces" | "defaultCas">
  >
  & { readonly mayWrite?: () => boolean };

/** The heart of the operator (view, controller, writer), against an API server in memory, with a clock that the test moves. */
export class ControllerWorld implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly server = new FakeApiServer(this.clock);
  /** Seeded, so that a failure comes again. */
  readonly random: () => number;
  /** What was sent to write targets and statuses, oldest first. */
  readonly writes: { readonly method: string; readonly path: string }[] = [];
  readonly events: EventInput[] = [];
  readonly log: string[] = [];
  #operator: { controller: Controller; stop: AbortController; watched: Promise<void> } | undefined;

  constructor(seed = 1) {
    this.random = seededRandom(seed);
    this.putNamespace(TRUST_NAMESPACE);
  }

  // The operator:

  /** Starts an operator, and lets it begin its work. */
  async start(parts: OperatorParts = {}): Promise<Controller> {
    const { clock, random, server } = this;
    const { secretTargetsEnabled = false, targetNamespaces = [], mayWrite = () => true } = parts;
    const log = createLogger({ format: "text", level: 1, write: (line) => this.log.push(line), clock });
    const client = {
      request: <T>(request: KubeRequest): Promise<T> => {
        this.writes.push({ method: request.method ?? "GET", path: request.path });
        return server.request<T>(request);
      },
      stream: server.stream.bind(server),
      reconnect: () => {},
      close: () => {},
    };
    const view: ClusterView = new ClusterView({
      connect: () => ({
        request: server.request.bind(server),
        stream: server.stream.bind(server),
        reconnect: () => {},
        close: () => {},
      }),
      trustNamespace: TRUST_NAMESPACE,
      targetNamespaces,
      secretTargetsEnabled,
      listener: {
        onBundle: (change) => controller.onBundle(change),
        onNamespace: (change) => controller.onNamespace(change),
        onSource: (kind, change) => controller.onSource(kind, change),
        onTarget: (kind, change) => controller.onTarget(kind, change),
        onListFailure: (kind, cause) => controller.onListFailure(kind, cause),
      },
      clock,
      random,
      log,
      failures: new FailureLog({ clock, log }),
    });
    const controller: Controller = new Controller({
      view,
      writer: new Writer({ client, mayWrite }),
      recordEvent: (event) => this.events.push(event),
      defaultCas: parts.defaultCas,
      filters: parts.filters ?? { expired: false, nonCa: false },
      secretTargetsEnabled,
      trustNamespace: TRUST_NAMESPACE,
      targetNamespaces,
      loadKeyStoreEncoder: async () => {
        await delay(clock, 50);
        return (pool, { format, password }) =>
          new TextEncoder().encode([format, password, ...pool.map(({ sha256 }) => sha256)].join());
      },
      clock,
      random,
      log,
      metrics: new Metrics(clock.now(), "test"),
    });
    const stop = new AbortController();
    this.#operator = { controller, stop, watched: view.run(stop.signal) };
    void view.synced.then(() => controller.start());
    await clock.advance(1_000);
    return controller;
  }

  /** Ends the operator. */
  async stop(): Promise<void> {
    if (this.#operator === undefined) return;
    const { controller, stop, watched } = this.#operator;
    this.#operator = undefined;
    const stopped = controller.stop(0);
    stop.abort(new Error("The test is over"));
    await this.clock.advance(100);
    await Promise.all([stopped, watched]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  // The world:

  putNamespace(name: string, labels: Record<string, string> = {}): void {
    const held = this.server.objects(NAMESPACES).find(({ metadata }) => metadata.name === name);
    this.server.put(NAMESPACES, { metadata: { ...held?.metadata, name, labels } });
  }

  /** A namespace begins to go away. */
  terminate(name: string): void {
    const held = this.server.objects(NAMESPACES).find(({ metadata }) => metadata.name === name);
    if (held === undefined) return;
    held.metadata.deletionTimestamp = new Date(this.clock.now()).toISOString();
    this.server.put(NAMESPACES, held);
  }

  /** A namespace goes away, with all that is in it. */
  removeNamespace(name: string): void {
    for (const kind of ["ConfigMap", "Secret"] as const) {
      for (const { metadata } of this.server.objects(collectionOf(kind, name))) {
        this.server.remove(collectionOf(kind, name), metadata.name);
      }
    }
    this.server.remove(NAMESPACES, name);
  }

  putBundle(name: string, spec: BundleSpec): void {
    const held = this.bundle(name);
    const metadata = { ...held?.metadata, name, generation: (held?.metadata.generation ?? 0) + 1 };
    const { status } = held ?? {};
    this.server.put(BUNDLES_PATH, { metadata, spec, ...(status ? { status } : {}) } as KubeObject);
  }

  removeBundle(name: string): void {
    this.server.remove(BUNDLES_PATH, name);
  }

  /** What Kubernetes' garbage collector does: objects all of whose owners are gone go too. */
  collectGarbage(): void {
    const uids = new Set(this.server.objects(BUNDLES_PATH).map(({ metadata }) => metadata.uid));
    for (const kind of ["ConfigMap", "Secret"] as const) {
      for (const { metadata } of this.targets(kind)) {
        const owners = metadata.ownerReferences ?? [];
        if (owners.length === 0 || owners.some(({ uid }) => uids.has(uid))) continue;
        this.server.remove(collectionOf(kind, metadata.namespace ?? ""), metadata.name);
      }
    }
  }

  putSource(name: string, data: Record<string, string>, labels: Record<string, string> = {}): void {
    this.server.put(collectionOf("ConfigMap", TRUST_NAMESPACE), {
      metadata: { name, namespace: TRUST_NAMESPACE, labels },
      data,
    } as ConfigMap);
  }

  removeSource(name: string): void {
    this.server.remove(collectionOf("ConfigMap", TRUST_NAMESPACE), name);
  }

  /** Changes a target as `kubectl edit --field-manager=<manager>` does. */
  editTarget(
    namespace: string,
    name: string,
    change: (target: ConfigMap) => void,
    kind: TargetKind = "ConfigMap",
    manager = "kubectl-edit",
  ): void {
    this.server.edit(collectionOf(kind, namespace), name, manager, change);
  }

  /** Creates a ConfigMap or Secret as `kubectl create` does, if there is none of that name. */
  createObject(
    namespace: string,
    name: string,
    data: Record<string, string>,
    kind: TargetKind = "ConfigMap",
  ) {
    const collection = collectionOf(kind, namespace);
    if (this.target(namespace, name, kind) !== undefined) return;
    const created = update({ metadata: { name, namespace } }, "kubectl-create", (object: ConfigMap) => {
      object.data = data;
    });
    this.server.put(collection, created);
  }

  removeTarget(namespace: string, name: string, kind: TargetKind = "ConfigMap"): void {
    this.server.remove(collectionOf(kind, namespace), name);
  }

  // What is there:

  bundle(name: string) {
    return this.bundles().find(({ metadata }) => metadata.name === name);
  }

  bundles() {
    return this.server.objects(BUNDLES_PATH) as (KubeObject & {
      spec: BundleSpec;
      status?: { conditions?: Condition[]; defaultCAVersion?: string };
    })[];
  }

  condition(name: string): Condition | undefined {
    return this.bundle(name)?.status?.conditions?.[0];
  }

  target(namespace: string, name: string, kind: TargetKind = "ConfigMap"): ConfigMap | undefined {
    return this.server.objects(collectionOf(kind, namespace)).find(({ metadata }) => metadata.name === name);
  }

  /** ConfigMaps or Secrets in all namespaces. */
  targets(kind: TargetKind = "ConfigMap"): ConfigMap[] {
    return this.server.all(`/api/v1/${kind === "ConfigMap" ? "configmaps" : "secrets"}`);
  }

  namespaces(): KubeObject[] {
    return this.server.objects(NAMESPACES);
  }

  /** The writes of `work`, as `METHOD path`. */
  async writesOf(work: () => Promise<void> | void): Promise<string[]> {
    const from = this.writes.length;
    await work();
    return this.writes.slice(from).map(({ method, path }) => `${method} ${path}`);
  }
}

/** Path of all objects of a kind in a namespace. */
export function collectionOf(kind: TargetKind, namespace: string): string {
  return targetPath(kind, namespace, "x").replace(/\/x$/, "");
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
