import { type Bundle, BUNDLE_LABEL, BUNDLES_PATH, type TargetKind } from "./api/bundle.ts";
import type { PemOptions } from "./certs/pem.ts";
import type { Clock } from "./clock.ts";
import type { KubeClient } from "./kube/client.ts";
import type { ConfigMap, KubeObject, ObjectMeta, Secret } from "./kube/objects.ts";
import { type FailureLog, namesOf } from "./kube/failure_log.ts";
import { Reflector } from "./kube/reflector.ts";
import { SharedConnection } from "./kube/shared_connection.ts";
import { type Change, Store } from "./kube/store.ts";
import type { Logger } from "./log.ts";
import { type BundleRecord, readBundle } from "./records/bundle_record.ts";
import { type NamespaceRecord, readNamespace, sameNamespace } from "./records/namespace_record.ts";
import {
  readConfigMapSource,
  readSecretSource,
  sameSource,
  type SourceRecord,
} from "./records/source_record.ts";
import {
  bundleNameOf,
  readTarget,
  sharingTexts,
  type TargetRecord,
  targetStoreKey,
} from "./records/target_record.ts";

/** Watches that share one connection: well below the number of streams that API servers allow (100 by RFC 9113's advice, often more). */
const WATCHES_PER_CONNECTION = 50;

/** Who is told of changes. Called after the store holds the change. */
export interface ViewListener {
  onBundle(change: Change<BundleRecord>): void;
  onNamespace(change: Change<NamespaceRecord>): void;
  onSource(kind: TargetKind, change: Change<SourceRecord>): void;
  onTarget(kind: TargetKind, change: Change<TargetRecord>): void;
  /** Namespaces, or targets of a kind, cannot be listed or watched any more; what was known of them is kept. */
  onListFailure(kind: "Namespace" | TargetKind, cause: string): void;
}

/** What is watched, and how. */
export interface ClusterViewOptions {
  /** Makes a client with a connection of its own. */
  readonly connect: () => KubeClient;
  readonly trustNamespace: string;
  /** Empty means all. */
  readonly targetNamespaces: readonly string[];
  readonly secretTargetsEnabled: boolean;
  /** Names of the Secrets that may be targets: only these are asked for, so that no right to others is needed. Empty means all. */
  readonly secretTargetNames?: readonly string[];
  /** How strictly certificates in sources are read. */
  readonly pem?: PemOptions;
  readonly listener: ViewListener;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** Tells what fails. */
  readonly failures: FailureLog;
  /** For tests: how long a watch may be silent, in milliseconds. */
  readonly idleTimeoutMs?: number;
}

/** What of a collection is watched. */
interface WatchScope {
  /** The one namespace that it is about, which need not exist. */
  readonly optionalNamespace?: string;
  readonly metadataOnly?: boolean;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly keyOf?: (metadata: ObjectMeta) => string;
  readonly explain?: (code: number) => string | undefined;
  readonly onRefused?: (code: number, message: string) => void;
}

/**
 * All that the operator knows of the cluster: Bundles; namespaces and targets, of which only metadata is read; and the sources in
 * the trust namespace, of which only certificates are kept.
 */
export class ClusterView {
  readonly bundles: Store<BundleRecord>;
  readonly namespaces: Store<NamespaceRecord>;
  /** Objects in the trust namespace, by name. */
  readonly sources: Readonly<Record<TargetKind, Store<SourceRecord>>>;
  /** Objects with the bundle label, by `namespace/name`. Secrets only if Secret targets are enabled. */
  readonly targets: Readonly<{ ConfigMap: Store<TargetRecord>; Secret?: Store<TargetRecord> }>;
  /** Resolves when {@linkcode isSynced} becomes true. */
  readonly synced: Promise<void>;
  readonly #setSynced: () => void;
  #isSynced = false;
  /** Of each watch, whether it has had a complete list. */
  readonly #lists: {
    readonly name: string;
    synced: boolean;
    readonly optionalNamespace: string | undefined;
  }[] = [];
  /** Keys of targets, by kind and by the Bundle that they belong to. */
  readonly #keysOfBundle: Readonly<Record<TargetKind, Map<string, Set<string>>>> = {
    ConfigMap: new Map(),
    Secret: new Map(),
  };
  /** The target that was read last, by kind and by the Bundle that it belongs to. */
  readonly #latestOfBundle: Readonly<Record<TargetKind, Map<string, TargetRecord>>> = {
    ConfigMap: new Map(),
    Secret: new Map(),
  };
  readonly #reflectors: { run(signal: AbortSignal): Promise<void> }[] = [];
  readonly #connections: SharedConnection[] = [];
  readonly #options: ClusterViewOptions;

  constructor(options: ClusterViewOptions) {
    this.#options = options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.synced = promise;
    this.#setSynced = resolve;
    const { listener, trustNamespace, targetNamespaces, secretTargetsEnabled, secretTargetNames = [], pem } =
      options;
    const sameVersion = (a: { resourceVersion: string }, b: { resourceVersion: string }) =>
      a.resourceVersion === b.resourceVersion;

    this.bundles = new Store<BundleRecord>({
      keyOf: ({ name }) => name,
      same: sameVersion,
      onChange: (change) => listener.onBundle(change),
    });
    this.#watch("bundles", BUNDLES_PATH, this.bundles, (object: Bundle) => readBundle(object, pem), {
      explain: (code) => code === 404 ? NO_CRD : undefined,
    });

    this.namespaces = new Store<NamespaceRecord>({
      keyOf: ({ name }) => name,
      same: sameNamespace,
      onChange: (change) => {
        listener.onNamespace(change);
        this.#noteSynced();
      },
    });
    this.#watch("namespaces", "/api/v1/namespaces", this.namespaces, readNamespace, {
      metadataOnly: true,
      onRefused: (code, cause) => isForGood(code) && listener.onListFailure("Namespace", cause),
    });

    const sourceStore = (kind: TargetKind) =>
      new Store<SourceRecord>({
        keyOf: ({ name }) => name,
        same: sameSource,
        onChange: (change) => listener.onSource(kind, change),
      });
    this.sources = { ConfigMap: sourceStore("ConfigMap"), Secret: sourceStore("Secret") };
    const byName = { keyOf: ({ name }: ObjectMeta) => name };
    const trusted = `/api/v1/namespaces/${encodeURIComponent(trustNamespace)}`;
    this.#watch(
      "source configmaps",
      `${trusted}/configmaps`,
      this.sources.ConfigMap,
      (object: ConfigMap) => readConfigMapSource(object, pem),
      byName,
    );
    this.#watch(
      "source secrets",
      `${trusted}/secrets`,
      this.sources.Secret,
      (object: Secret) => readSecretSource(object, pem),
      byName,
    );

    const targetStore = (kind: TargetKind) => {
      const resource = kind === "ConfigMap" ? "configmaps" : "secrets";
      const store = new Store<TargetRecord>({
        keyOf: ({ namespace, name }) => targetStoreKey(namespace, name),
        // Every state is told, so that own writes are recognised by their resourceVersion.
        same: sameVersion,
        onChange: (change) => {
          this.#index(kind, change);
          listener.onTarget(kind, change);
        },
      });
      // RBAC lets whoever may list one name list all objects of that name, if no others are asked for.
      const scopes = kind === "Secret" && secretTargetNames.length > 0
        ? secretTargetNames.map((name) => ({ fieldSelector: `metadata.name=${name}`, of: ` ${name}` }))
        : [{ of: "" }];
      for (const namespace of targetNamespaces.length > 0 ? targetNamespaces : [undefined]) {
        const place = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
        for (const { of, ...scope } of scopes) {
          this.#watch(
            `target ${resource}${of}${namespace === undefined ? "" : ` in ${namespace}`}`,
            `/api/v1${place}/${resource}`,
            store,
            (object) => this.#sharing(readTarget(kind, object)),
            {
              metadataOnly: true,
              labelSelector: BUNDLE_LABEL,
              ...scope,
              ...(namespace === undefined ? {} : { optionalNamespace: namespace }),
              onRefused: (code, cause) => isForGood(code) && listener.onListFailure(kind, cause),
            },
          );
        }
      }
      return store;
    };
    this.targets = {
      ConfigMap: targetStore("ConfigMap"),
      ...(secretTargetsEnabled ? { Secret: targetStore("Secret") } : {}),
    };
  }

  /** Keeps the stores right until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.run(signal)));
    for (const { client } of this.#connections) client.close();
  }

  /**
   * Whether every watch has had a complete list; once true it stays so. One of a target namespace that does not exist is not
   * waited for: no Role in it can allow the list, and that must not stop all others.
   */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** Which watches have had no complete list yet, and why, in words for the user; undefined once {@linkcode isSynced}. */
  get notSynced(): string | undefined {
    if (this.#isSynced) return undefined;
    const namesByCause = new Map<string, string[]>();
    for (const { name } of this.#awaitedLists()) {
      const cause = this.#options.failures.causeOf(name) ?? "the list is not complete yet";
      namesByCause.getOrInsertComputed(cause, () => []).push(name);
    }
    const causes = [...namesByCause].map(([cause, names]) => `${namesOf(names)}: ${cause}`);
    return ["Not all stores have synced", ...causes].join("\n");
  }

  #noteSynced(): void {
    if (this.#isSynced) return;
    this.#isSynced = this.#awaitedLists().length === 0;
    if (this.#isSynced) this.#setSynced();
  }

  #awaitedLists(): { readonly name: string }[] {
    return this.#lists.filter(({ synced, optionalNamespace }) =>
      !synced && (optionalNamespace === undefined || this.namespaces.get(optionalNamespace) !== undefined)
    );
  }

  /** The targets of a kind that belong to `bundle`; found without a look at those of other Bundles. */
  *targetsOf(kind: TargetKind, bundle: string): IterableIterator<TargetRecord> {
    for (const key of this.#keysOfBundle[kind].get(bundle) ?? []) {
      const target = this.targets[kind]?.get(key);
      if (target !== undefined) yield target;
    }
  }

  /** A thousand targets of one Bundle hold one copy of the texts that they have in common. */
  #sharing(record: TargetRecord): TargetRecord {
    const bundle = bundleNameOf(record);
    if (bundle === undefined) return record;
    const latest = this.#latestOfBundle[record.kind];
    const sharing = sharingTexts(record, latest.get(bundle));
    latest.set(bundle, sharing);
    return sharing;
  }

  #index(kind: TargetKind, { key, before, after }: Change<TargetRecord>): void {
    const [former, present] = [before && bundleNameOf(before), after && bundleNameOf(after)];
    if (former === present) return;
    const index = this.#keysOfBundle[kind];
    if (former !== undefined) {
      const keys = index.get(former);
      keys?.delete(key);
      if (keys?.size === 0) {
        index.delete(former);
        this.#latestOfBundle[kind].delete(former);
      }
    }
    if (present !== undefined) index.getOrInsertComputed(present, () => new Set()).add(key);
  }

  #watch<O extends KubeObject, T>(
    name: string,
    path: string,
    store: Store<T>,
    convert: (object: O) => T,
    { optionalNamespace, ...scope }: WatchScope = {},
  ): void {
    const { connect, clock, random, log, failures, idleTimeoutMs } = this.#options;
    if (this.#reflectors.length % WATCHES_PER_CONNECTION === 0) {
      this.#connections.push(new SharedConnection(connect()));
    }
    const connection = this.#connections.at(-1) ?? new SharedConnection(connect());
    const writer = store.writer();
    const list = { name, synced: false, optionalNamespace };
    this.#lists.push(list);
    this.#reflectors.push(
      new Reflector({
        connection,
        name,
        path,
        metadataOnly: false,
        ...scope,
        convert,
        writer: {
          ...writer,
          replace: (items, unreadable) => {
            writer.replace(items, unreadable);
            list.synced = true;
            this.#noteSynced();
          },
        },
        clock,
        random,
        log,
        failures,
        ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
      }),
    );
  }
}

/** What it means that the API server does not know Bundles. */
const NO_CRD =
  "the CustomResourceDefinition bundles.trust.cert-manager.io is not installed: install it with " +
  '"kubectl apply --server-side -f deploy/crds/trust.cert-manager.io_bundles.yaml", or with the value crds.enabled=true of ' +
  "the Helm chart";

/** Whether a refusal lasts until somebody does something about it: missing credentials, rights, or the resource itself. */
function isForGood(code: number): boolean {
  return code === 401 || code === 403 || code === 404;
}
