import { BUNDLE_LABEL, FIELD_MANAGER, type TargetKind } from "../../lib/api/bundle.ts";
import type { ConfigMap, KubeObject } from "../../lib/kube/objects.ts";
import { base64 } from "../builders.ts";
import { RestError } from "../cluster/rest_client.ts";
import { bundlePath, targetPath, type TestCluster, TRUST_NAMESPACE } from "../e2e/test_cluster.ts";
import { type Action, type Attack, BUNDLES } from "./actions.ts";
import type { FaultProxy, FaultRule } from "./fault_proxy.ts";
import {
  bundleSpec,
  FOREIGN_KEY,
  type ModelSpec,
  OURS_KEY,
  type SoakModel,
  type SourceState,
  type TargetId,
} from "./model.ts";

const NAMESPACES = "/api/v1/namespaces";

/** What an {@linkcode Actor} acts on. */
export interface ActorParts {
  readonly cluster: TestCluster;
  readonly proxy: FaultProxy;
  readonly model: SoakModel;
  /** Where the operator reads the default package. */
  readonly packagePath: string;
  /** The faults that requests meet with that probability, from 0 to 1. */
  readonly faultRule: (rate: number) => FaultRule;
  /** Sends a signal to a replica, and tells whether it was there. */
  readonly signal: (replica: number, signal: Deno.Signal) => boolean;
}

/** Does what a randomized run has decided on, and tells the model of it. */
export class Actor {
  readonly #cluster: TestCluster;
  readonly #proxy: FaultProxy;
  readonly #model: SoakModel;
  readonly #packagePath: string;
  readonly #faultRule: ActorParts["faultRule"];
  readonly #signal: ActorParts["signal"];
  /** States of targets that it made in others' name, by {@linkcode stateText}. */
  readonly #attacked = new Set<string>();
  #faults: Disposable | undefined;
  #partition: Disposable | undefined;
  #partitionEnds = 0;

  constructor({ cluster, proxy, model, packagePath, faultRule, signal }: ActorParts) {
    this.#cluster = cluster;
    this.#proxy = proxy;
    this.#model = model;
    this.#packagePath = packagePath;
    this.#faultRule = faultRule;
    this.#signal = signal;
  }

  /** Does one thing, tells the model, and returns what came of it. */
  async perform(action: Action): Promise<string> {
    if (this.#partition !== undefined && this.#partitionEnds-- <= 0) this.endPartition();
    const { admin } = this.#cluster;
    const model = this.#model;
    switch (action.type) {
      case "put source":
        model.setSource(action.kind, action.name, action.state);
        await admin.apply([sourceObject(action.kind, action.name, action.state)]);
        return "done";
      case "delete source":
        model.setSource(action.kind, action.name, undefined);
        await admin.delete(targetPath(TRUST_NAMESPACE, action.name, action.kind));
        return "done";
      case "put Bundle":
        return await this.#putBundle(action.name, action.spec);
      case "replace Bundle":
        await this.#deleteBundle(action.name);
        return await this.#putBundle(action.name, action.spec);
      case "delete Bundle":
        return await this.#deleteBundle(action.name);
      case "create namespace":
      case "relabel namespace":
      case "replace namespace": {
        const { type, name, labels } = action;
        if (type === "replace namespace") {
          await admin.delete(`${NAMESPACES}/${name}`);
          await admin.waitUntilGone(`${NAMESPACES}/${name}`, 60_000);
        }
        model.namespaces.set(name, { labels, terminating: false });
        if (type !== "relabel namespace") await this.#cluster.createNamespace(name, labels);
        else {
          const removed = { team: null, tier: null };
          await admin.mergePatch(`${NAMESPACES}/${name}`, {
            metadata: { labels: { ...removed, ...labels } },
          });
        }
        return "done";
      }
      case "delete namespace": {
        const { name, hold } = action;
        if (hold) {
          await admin.create(`${NAMESPACES}/${name}/configmaps`, {
            metadata: { name: "hold", finalizers: ["example.com/hold"] },
          });
          model.namespaces.set(name, { labels: {}, terminating: true });
        } else model.namespaces.delete(name);
        await admin.delete(`${NAMESPACES}/${name}`);
        return "done";
      }
      case "release namespace":
        model.namespaces.delete(action.name);
        await admin.mergePatch(`${NAMESPACES}/${action.name}/configmaps/hold`, {
          metadata: { finalizers: null },
        });
        return "done";
      case "attack target":
        return await this.#attack(action.attack, action.target, action.by);
      case "change default package": {
        const { defaultPackage } = action;
        await Deno.writeTextFile(`${this.#packagePath}.new`, model.packageFile(defaultPackage));
        // Both at once: no replica starts in between.
        Deno.renameSync(`${this.#packagePath}.new`, this.#packagePath);
        model.setPackage(defaultPackage);
        return "done"; // read by whoever starts from now on
      }
      case "faults on":
        this.#faults?.[Symbol.dispose]();
        this.#faults = this.#proxy.use(this.#faultRule(action.rate));
        return "done";
      case "faults off":
        this.endFaults();
        return "done";
      case "partition":
        this.endPartition();
        this.#partition = this.#proxy.partition();
        this.#partitionEnds = action.actions;
        return "done";
      case "break connections":
        this.#proxy.breakConnections();
        return "done";
      case "signal":
        return this.#signal(action.replica, action.signal) ? "done" : "no process";
    }
  }

  /** Whether a target's state is one that it made in others' name. To be asked when no action is under way. */
  hasMade(kind: TargetKind, object: KubeObject): boolean {
    return this.#attacked.has(stateText(kind, object));
  }

  /** Forgets all states that it made: none of them is there any more. */
  forget(): void {
    this.#attacked.clear();
  }

  /** Ends what "faults on" has begun. */
  endFaults(): void {
    this.#faults?.[Symbol.dispose]();
    this.#faults = undefined;
  }

  /** Ends a partition. */
  endPartition(): void {
    this.#partition?.[Symbol.dispose]();
    this.#partition = undefined;
  }

  async #putBundle(name: string, spec: ModelSpec): Promise<string> {
    this.#model.setBundle(name, spec);
    const object = {
      apiVersion: "trust.cert-manager.io/v1alpha1",
      kind: "Bundle",
      metadata: { name },
      spec: bundleSpec(spec),
    };
    const [applied] = await this.#cluster.admin.apply([object]);
    const uid = applied?.metadata["uid"];
    if (typeof uid !== "string") throw new TypeError(`Bundle ${name} has no UID`);
    this.#model.bundleIs(name, uid);
    return `generation ${applied?.metadata["generation"]}, UID ${uid}`;
  }

  async #deleteBundle(name: string): Promise<string> {
    this.#model.setBundle(name, undefined);
    await this.#cluster.admin.delete(bundlePath(name));
    this.#model.bundleIs(name, undefined);
    return "done";
  }

  /** What somebody else does. An object that is not there, or may not be, is left alone. */
  async #attack(attack: Attack, target: TargetId, by: string): Promise<string> {
    try {
      const object = await this.#performAttack(attack, target, by);
      if (object === undefined) return "done";
      this.#attacked.add(stateText(target.kind, object));
      return `resourceVersion ${object.metadata.resourceVersion}`;
    } catch (error) {
      if (error instanceof RestError && [403, 404, 409].includes(error.status)) {
        return `missed: ${error.status}`;
      }
      throw error;
    }
  }

  async #performAttack(
    attack: Attack,
    target: TargetId,
    by: string,
  ): Promise<ConfigMap | undefined> {
    const { admin } = this.#cluster;
    const { kind, namespace, name } = target;
    const path = targetPath(namespace, name, kind);
    const manager = "?fieldManager=somebody";
    const value = kind === "Secret" ? base64(by) : by;
    const patchAs = (query: string, body: unknown) => admin.mergePatch<ConfigMap>(`${path}${query}`, body);
    const patch = (body: unknown) => patchAs(manager, body);
    const ours = `?fieldManager=${FIELD_MANAGER}`;
    const spec = this.#model.bundle(name)?.target;
    const key = (kind === "ConfigMap" ? spec?.configMap : spec?.secret)?.key ?? "ca.crt";
    const addsForeign = (object: ConfigMap) => {
      this.#model.setForeign(target, { uid: object.metadata.uid ?? "", value });
      return object;
    };
    switch (attack) {
      case "edit key":
        return await patch({ data: { [key]: value } });
      case "remove keys":
        return await patch({ data: { [key]: null } });
      case "remove all data":
        this.#model.setForeign(target, undefined);
        return await patch({ data: null, ...(kind === "ConfigMap" ? { binaryData: null } : {}) });
      case "add foreign key":
        return addsForeign(await patch({ data: { [FOREIGN_KEY]: value } }));
      case "remove foreign key":
        this.#model.setForeign(target, undefined);
        return await patch({ data: { [FOREIGN_KEY]: null } });
      case "delete":
        await admin.delete(path);
        return undefined;
      case "remove owners":
        return await patch({ metadata: { ownerReferences: null } });
      case "change label": {
        const other = BUNDLES[(BUNDLES.indexOf(name) + 1) % BUNDLES.length];
        return await patch({ metadata: { labels: { [BUNDLE_LABEL]: other } } });
      }
      case "remove label":
        return await patch({ metadata: { labels: { [BUNDLE_LABEL]: null } } });
      case "change hash":
        return await patch({ metadata: { annotations: { "trust.cert-manager.io/hash": by } } });
      case "remove hash":
        return await patch({ metadata: { annotations: { "trust.cert-manager.io/hash": null } } });
      case "replace":
        this.#model.setForeign(target, undefined);
        return addsForeign(
          await admin.request<ConfigMap>("PUT", `${path}${manager}`, {
            body: { metadata: { name, namespace }, data: { [FOREIGN_KEY]: value } },
          }),
        );
      case "edit key under our name":
        return await patchAs(ours, { data: { [key]: value } });
      case "add key under our name":
        return await patchAs(ours, { data: { [OURS_KEY]: value } });
      case "squat":
        return addsForeign(
          await admin.create<ConfigMap>(`${path.slice(0, path.lastIndexOf("/"))}${manager}`, {
            metadata: { name, namespace },
            data: { [FOREIGN_KEY]: value },
          }),
        );
    }
  }
}

/** One state of an object. */
function stateText(kind: TargetKind, { metadata }: KubeObject): string {
  return `${kind} ${metadata.namespace}/${metadata.name} ${metadata.resourceVersion}`;
}

function sourceObject(kind: TargetKind, name: string, { labels, values, isTls, binary }: SourceState) {
  const texts = Object.fromEntries(Object.entries(values).map(([key, { text }]) => [key, text]));
  const encoded = Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, base64(text)]));
  const content = kind === "Secret"
    ? { data: encoded, type: isTls ? "kubernetes.io/tls" : "Opaque" }
    : binary
    ? { binaryData: encoded }
    : { data: texts };
  return { apiVersion: "v1", kind, metadata: { namespace: TRUST_NAMESPACE, name, labels }, ...content };
}
