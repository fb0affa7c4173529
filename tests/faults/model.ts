import { createHash } from "node:crypto";
import {
  type AdditionalFormats,
  BUNDLE_LABEL,
  type BundleSource,
  type BundleSpec,
  FIELD_MANAGER,
  HASH_ANNOTATION,
  type LabelSelectorSpec,
  type TargetKind,
  type TargetTemplate,
} from "../../lib/api/bundle.ts";
import type { ConfigMap, KubeObject } from "../../lib/kube/objects.ts";
import type { TestCertificate } from "../builders.ts";
import { readJks } from "./read_jks.ts";

/** The kinds of sources and targets. */
export const KINDS: readonly TargetKind[] = ["ConfigMap", "Secret"];

/** Some of the model's certificates: bit i stands for the i-th in the order of SHA-256. */
export type CertificateSet = number;

/** The value of one key of a source, or an inline source: its text, and what is to be made of that. */
export interface Value {
  readonly text: string;
  readonly certificates: CertificateSet;
  /** If the whole source is refused for it: how the error begins. */
  readonly refusal?: string;
}

/** A ConfigMap or Secret in the trust namespace. */
export interface SourceState {
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it is a Secret of type `kubernetes.io/tls`. */
  readonly isTls: boolean;
  /** Whether a ConfigMap has its values in `binaryData`. */
  readonly binary: boolean;
  readonly values: Readonly<Record<string, Value>>;
}

/** A label selector: as the API takes it, as Kubernetes prints it, and what it means. */
export interface Selector {
  readonly spec: LabelSelectorSpec;
  readonly text: string;
  matches(labels: Readonly<Record<string, string>>): boolean;
}

/** One source of a Bundle. Without `key`, all keys of the objects are meant. */
export type ModelSource =
  | { readonly type: "inLine"; readonly value: Value }
  | { readonly type: "default CAs"; readonly use: boolean }
  | { readonly type: "named"; readonly kind: TargetKind; readonly name: string; readonly key?: string }
  | {
    readonly type: "selected";
    readonly kind: TargetKind;
    readonly selector: Selector;
    readonly key?: string;
  };

/** What a Bundle asks for. Without `target`, it has none. */
export interface ModelSpec {
  readonly sources: readonly ModelSource[];
  readonly target?: {
    readonly configMap?: TargetTemplate;
    readonly secret?: TargetTemplate;
    readonly additionalFormats?: AdditionalFormats;
    readonly selector?: Selector;
  };
}

/** A default CA package. */
export interface ModelPackage {
  readonly version: string;
  readonly certificates: CertificateSet;
}

/** A namespace. `held` ones stay Terminating for ever once they are deleted. */
export interface NamespaceState {
  readonly labels: Readonly<Record<string, string>>;
  readonly terminating: boolean;
}

/** Which object of the cluster. */
export interface TargetId {
  readonly kind: TargetKind;
  readonly namespace: string;
  /** Of the target, and of its Bundle. */
  readonly name: string;
}

/** All that the model is compared with. */
export interface ClusterState {
  readonly bundles: readonly (KubeObject & {
    readonly status?: {
      readonly conditions?: readonly {
        readonly type: string;
        readonly status: string;
        readonly reason: string;
        readonly message: string;
        readonly observedGeneration?: number;
      }[];
      readonly defaultCAVersion?: string;
    };
  })[];
  readonly namespaces: readonly KubeObject[];
  /** All with the bundle label, or named like a Bundle. */
  readonly targets: Readonly<Record<TargetKind, readonly ConfigMap[]>>;
}

/** One thing that is not as the model says. */
export interface Difference {
  /** The Bundle that it is about. */
  readonly bundle: string;
  readonly namespace?: string;
  readonly text: string;
}

/** What targets may hold: one of the pools, in the way that the spec asks for. */
interface Allowed {
  readonly spec: ModelSpec;
  readonly pools: ReadonlySet<CertificateSet>;
}

interface BundleLife {
  readonly name: string;
  readonly uid: string;
  /** Since the last time that all was settled; the last one is the present one. */
  specs: ModelSpec[];
  /** Of the time before that: what its targets were left with if its sources were in error. */
  former: Allowed[];
  deleted: boolean;
}

interface ForeignKey {
  readonly uid: string;
  readonly value: string;
}

/** The data key that others add to targets. */
export const FOREIGN_KEY = "foreign";

/** Labels and annotations that Bundles may ask for. */
export const METADATA_KEYS = ["color", "a", "ab", "example.com/a", "example.com/b"];

/** The key that somebody adds to targets under the operator's name: it must go. */
export const OURS_KEY = "under-our-name";

/** Name of the default CA packages. */
export const PACKAGE_NAME = "soak";

/**
 * What the cluster should come to, in the words of the contract and not in those of the operator: a second opinion, as simple
 * as can be. It also remembers what was asked for since all was last seen to be right, because until it is so again, a target may
 * hold what any of that time's states come to: watches lag behind, each by itself.
 */
export class SoakModel {
  readonly trustNamespace: string;
  /** In the order of SHA-256. */
  readonly certificates: readonly TestCertificate[];
  /** Those that the operator leaves out. */
  readonly filtered: CertificateSet;
  readonly namespaces = new Map<string, NamespaceState>();
  /** Since all was last settled, by kind and name; the last one is the present one. */
  readonly #sources = new Map<string, (SourceState | undefined)[]>();
  #packages: ModelPackage[] = [];
  readonly #bundles = new Map<string, ModelSpec>();
  readonly #lives = new Map<string, BundleLife>();
  readonly #foreign = new Map<string, ForeignKey>();
  readonly #index: ReadonlyMap<string, number>;

  constructor(
    options: {
      readonly trustNamespace: string;
      readonly certificates: readonly TestCertificate[];
      readonly filtered?: readonly TestCertificate[];
      readonly defaultPackage: ModelPackage;
    },
  ) {
    this.trustNamespace = options.trustNamespace;
    this.certificates = [...options.certificates].sort((a, b) => a.sha256 < b.sha256 ? -1 : 1);
    this.#index = new Map(this.certificates.map(({ sha256 }, index) => [sha256, index]));
    this.filtered = this.setOf(options.filtered ?? []);
    this.#packages.push(options.defaultPackage);
  }

  // What is asked for

  setSource(kind: TargetKind, name: string, state: SourceState | undefined): void {
    const key = `${kind}/${name}`;
    const states = this.#sources.get(key) ?? [undefined];
    states.push(state);
    this.#sources.set(key, states);
  }

  source(kind: TargetKind, name: string): SourceState | undefined {
    return this.#sources.get(`${kind}/${name}`)?.at(-1);
  }

  setPackage(defaultPackage: ModelPackage): void {
    this.#packages.push(defaultPackage);
  }

  get defaultPackage(): ModelPackage {
    return present(this.#packages);
  }

  /** A Bundle is about to be created, changed, or (undefined) deleted. */
  setBundle(name: string, spec: ModelSpec | undefined): void {
    if (spec === undefined) this.#bundles.delete(name);
    else this.#bundles.set(name, spec);
  }

  /** The API server has made it so: `uid` is that of the Bundle now; undefined after it was deleted. */
  bundleIs(name: string, uid: string | undefined): void {
    for (const life of this.#lives.values()) if (life.name === name && life.uid !== uid) life.deleted = true;
    const spec = this.#bundles.get(name);
    if (uid === undefined || spec === undefined) return;
    const life = this.#lives.get(uid);
    if (life === undefined) this.#lives.set(uid, { name, uid, specs: [spec], former: [], deleted: false });
    else life.specs.push(spec);
  }

  bundle(name: string): ModelSpec | undefined {
    return this.#bundles.get(name);
  }

  get bundleNames(): readonly string[] {
    return [...this.#bundles.keys()].sort();
  }

  /** Somebody added {@linkcode FOREIGN_KEY} to an object, or (undefined) took it away. */
  setForeign(target: TargetId, foreign: ForeignKey | undefined): void {
    if (foreign === undefined) this.#foreign.delete(idText(target));
    else this.#foreign.set(idText(target), foreign);
  }

  /** All is as the model says: nothing older than that is allowed any more. */
  settled(): void {
    for (const [uid, life] of this.#lives) {
      if (life.deleted) this.#lives.delete(uid);
      else {
        // Targets of a Bundle with an error stay as they were.
        life.former = "reason" in this.outcome(life.name) ? this.#allowed(life) : [];
        life.specs = life.specs.slice(-1);
      }
    }
    for (const [key, states] of this.#sources) this.#sources.set(key, [states.at(-1)]);
    this.#packages = [this.defaultPackage];
  }

  #allowed({ specs, former }: BundleLife): Allowed[] {
    return [...specs.map((spec) => ({ spec, pools: this.possiblePools(spec) })), ...former];
  }

  // What that comes to

  setOf(certificates: readonly TestCertificate[]): CertificateSet {
    return certificates.reduce((set, { sha256 }) => set | (1 << (this.#index.get(sha256) ?? 31)), 0);
  }

  /** The PEM text of a set, as targets hold it. */
  pem(set: CertificateSet): string {
    return this.certificates.filter((_, index) => set & (1 << index)).map(({ pem }) => pem).join("\n");
  }

  /** The targets that are wanted now, in a fixed order. */
  wantedTargets(): TargetId[] {
    return this.bundleNames.flatMap((name) =>
      [...this.namespaces.keys()].sort().flatMap((namespace) =>
        KINDS.filter((kind) => this.#template({ kind, namespace, name }) !== undefined)
          .map((kind) => ({ kind, namespace, name }))
      )
    );
  }

  /** What a Bundle comes to now: its certificates, or the error in its sources. */
  outcome(
    name: string,
  ): { readonly pool: CertificateSet } | { readonly reason: string; readonly message: string } {
    const spec = this.#bundles.get(name);
    if (spec === undefined) throw new TypeError(`There is no Bundle ${name}`);
    let pool = 0;
    for (const source of spec.sources) {
      const read = this.#readSource(source);
      if ("reason" in read) return read;
      pool |= read.pool;
    }
    pool &= ~this.filtered;
    return pool === 0 ? notFound("couldn't find any valid certificates in bundle") : { pool };
  }

  /** The pools that a Bundle may have come to, given all states of its sources since all was last settled. */
  possiblePools(spec: ModelSpec): Set<CertificateSet> {
    let pools = new Set<CertificateSet>([0]);
    for (const source of spec.sources) pools = unions(pools, this.#possibleReadings(source));
    return new Set([...pools].map((pool) => pool & ~this.filtered).filter((pool) => pool !== 0));
  }

  /**
   * Whether a target may look so, at any time: it holds nothing of ours, or all of a version that is allowed. Returns what is
   * wrong with it.
   */
  judge(kind: TargetKind, object: ConfigMap): string | undefined {
    const uid = bundleOf(object);
    if (uid === undefined || (ownedKeys(kind, object).length === 0 && !ownsHash(object))) return undefined;
    const life = this.#lives.get(uid);
    if (life === undefined) {
      return ownedKeys(kind, object).length === 0
        ? undefined
        : `belongs to a Bundle of UID ${uid}, which there is none of`;
    }
    const problems = new Set<string>();
    for (const { spec, pools } of this.#allowed(life)) {
      const template = kind === "ConfigMap" ? spec.target?.configMap : spec.target?.secret;
      if (template === undefined) continue;
      const problem = this.#judgeContent(kind, object, life.name, spec, template, pools);
      if (problem === undefined) return undefined;
      problems.add(problem);
    }
    return [...problems].join("; or: ") || "is of a kind that its Bundle never asked for";
  }

  /** Everything that is not as it should have come to. */
  compare(state: ClusterState): Difference[] {
    const differences: Difference[] = [];
    const find = (text: string, bundle: string, namespace?: string) =>
      void differences.push({ bundle, text, ...(namespace === undefined ? {} : { namespace }) });

    for (const { metadata: { name, deletionTimestamp } } of state.namespaces) {
      const wanted = this.namespaces.get(name);
      if (wanted === undefined) find(`Namespace ${name} is still there`, "", name);
      else if (wanted.terminating !== (deletionTimestamp !== undefined)) {
        find(`Namespace ${name} should ${wanted.terminating ? "" : "not "}be terminating`, "", name);
      }
    }
    const uids = new Set<string>();
    for (const name of this.bundleNames) {
      const bundle = state.bundles.find(({ metadata }) => metadata.name === name);
      if (bundle === undefined) {
        find(`Bundle ${name} is missing`, name);
        continue;
      }
      uids.add(bundle.metadata.uid ?? "");
      const problem = this.#judgeStatus(bundle);
      if (problem !== undefined) find(`Bundle ${name}: ${problem}`, name);
    }
    for (const { metadata: { name } } of state.bundles) {
      if (!this.#bundles.has(name)) find(`Bundle ${name} is still there`, name);
    }

    const found = new Map<string, ConfigMap>();
    for (const kind of KINDS) {
      for (const target of state.targets[kind]) {
        const { name, namespace = "" } = target.metadata;
        found.set(idText({ kind, namespace, name }), target);
        const label = target.metadata.labels?.[BUNDLE_LABEL];
        const owner = bundleOf(target);
        const where = idText({ kind, namespace, name });
        if (owner !== undefined && label !== undefined && !uids.has(owner)) {
          find(`${where} belongs to a Bundle that is gone, UID ${owner}`, name, namespace);
        }
      }
    }
    for (const name of this.bundleNames) {
      const uid = state.bundles.find(({ metadata }) => metadata.name === name)?.metadata.uid ?? "";
      for (const [namespace] of this.namespaces) {
        for (const kind of KINDS) {
          const id = { kind, namespace, name };
          const problem = this.#judgeTarget(id, found.get(idText(id)), uid);
          if (problem !== undefined) find(`${idText(id)} ${problem}`, name, namespace);
        }
      }
    }
    return differences;
  }

  /** What is wrong with a target, or its absence, now that all is settled. */
  #judgeTarget(id: TargetId, target: ConfigMap | undefined, uid: string): string | undefined {
    const spec = this.#bundles.get(id.name);
    const outcome = this.outcome(id.name);
    if (this.namespaces.get(id.namespace)?.terminating) {
      return target === undefined ? undefined : "is still there, although its namespace is terminating";
    }
    // Targets stay as they are.
    if ("reason" in outcome || spec === undefined) return undefined;
    const template = this.#template(id);
    if (template === undefined) {
      if (
        target === undefined || bundleOf(target) !== uid ||
        target.metadata.labels?.[BUNDLE_LABEL] !== id.name
      ) return undefined;
      const keys = ownedKeys(id.kind, target);
      if (keys.length > 0) return `is not wanted, and still has our keys ${keys.join(", ")}`;
      if (ownsHash(target)) return "is not wanted, and still has our hash";
      if (FOREIGN_KEY in allData(target)) return "is not wanted, and would go with its Bundle";
      return Object.keys(allData(target)).length === 0
        ? "is not wanted, and was left behind empty"
        : undefined;
    }
    if (target === undefined) return "is missing";
    if (bundleOf(target) !== uid) {
      return `is controlled by ${bundleOf(target) ?? "nobody"}, not ${uid}`;
    }
    const owners = target.metadata.ownerReferences?.length ?? 0;
    // Where others have data, the garbage collector must not delete it with the Bundle.
    const wanted = FOREIGN_KEY in allData(target) ? 0 : 1;
    if (owners !== wanted) return `has ${owners} owners, and should have ${wanted}`;
    if (OURS_KEY in allData(target)) return `has the key ${OURS_KEY}, which nobody but us owned`;
    const foreign = this.#foreign.get(idText(id));
    if (foreign !== undefined && foreign.uid === target.metadata.uid) {
      const value = target.data?.[FOREIGN_KEY];
      if (value !== foreign.value) return `has lost the key ${FOREIGN_KEY}, which somebody else owns`;
    }
    return this.#judgeContent(id.kind, target, id.name, spec, template, new Set([outcome.pool]));
  }

  #judgeContent(
    kind: TargetKind,
    object: ConfigMap,
    name: string,
    spec: ModelSpec,
    template: TargetTemplate,
    pools: ReadonlySet<CertificateSet>,
  ): string | undefined {
    const { labels = {}, annotations = {} } = object.metadata;
    const formats = spec.target?.additionalFormats;
    const keys = [template.key, formats?.jks?.key, formats?.pkcs12?.key].filter((key) => key !== undefined);
    const owned = ownedKeys(kind, object);
    if (owned.join() !== keys.sort().join()) {
      return `should have the keys ${keys.join(", ")} of ours, and has ${owned.join(", ") || "none"}`;
    }
    if (object.metadata.name !== name) return `should be named ${name}`;
    if (labels[BUNDLE_LABEL] !== name) return `has the bundle label ${labels[BUNDLE_LABEL]}`;

    const value = object.data?.[template.key] ?? "";
    const text = kind === "Secret" ? new TextDecoder().decode(bytesOf(value)) : value;
    const pool = this.#readPem(text);
    if (pool === undefined) {
      return `holds something else than a bundle: ${JSON.stringify(text.slice(0, 200))}`;
    }
    if (!pools.has(pool)) {
      const allowed = [...pools].map((it) => this.#print(it)).join(" or ") || "nothing";
      return `holds ${this.#print(pool)}, and should hold ${allowed}`;
    }
    const hash = hashOf(text, formats, template);
    if (annotations[HASH_ANNOTATION] !== hash) {
      return `has the hash ${annotations[HASH_ANNOTATION]}, and should have ${hash} of ${this.#print(pool)}`;
    }
    for (const key of METADATA_KEYS) {
      const [label, annotation] = [template.metadata?.labels?.[key], template.metadata?.annotations?.[key]];
      if (labels[key] !== label) return `has label ${key}=${labels[key]} instead of ${label}`;
      if (annotations[key] !== annotation) {
        return `has annotation ${key}=${annotations[key]} instead of ${annotation}`;
      }
    }
    const binary = kind === "Secret" ? object.data : object.binaryData;
    return this.#judgeKeyStores(binary ?? {}, formats, pool);
  }

  #judgeKeyStores(
    binary: Readonly<Record<string, string>>,
    formats: AdditionalFormats | undefined,
    pool: CertificateSet,
  ): string | undefined {
    const jks = formats?.jks;
    if (jks !== undefined) {
      const store = bytesOf(binary[jks.key] ?? "");
      try {
        const found = readJks(store, jks.password ?? "changeit").map(sha256);
        if (found.sort().join() !== this.#sha256s(pool).join()) {
          return `has other certificates in ${jks.key} than in its PEM`;
        }
      } catch (error) {
        return `has a broken JKS in ${jks.key}: ${error instanceof Error ? error.message : error}`;
      }
    }
    const pkcs12 = formats?.pkcs12;
    if (pkcs12 !== undefined) {
      const store = bytesOf(binary[pkcs12.key] ?? "");
      // A DER SEQUENCE with a length of two bytes, to its end.
      const whole = store[0] === 0x30 && store[1] === 0x82 &&
        4 + (store[2] ?? 0) * 256 + (store[3] ?? 0) === store.length;
      if (!whole) return `has a broken PKCS#12 store in ${pkcs12.key}`;
      if ((pkcs12.password ?? "") === "") {
        const hex = store.toHex();
        const held = this.certificates.filter(({ pem }) => hex.includes(derOf(pem).toHex()));
        if (this.setOf(held) !== pool) return `has other certificates in ${pkcs12.key} than in its PEM`;
      }
    }
    return undefined;
  }

  #judgeStatus(bundle: ClusterState["bundles"][number]): string | undefined {
    const { name, generation } = bundle.metadata;
    const condition = bundle.status?.conditions?.find(({ type }) => type === "Synced");
    if (condition === undefined) return "has no condition Synced";
    const outcome = this.outcome(name);
    const spec = this.#bundles.get(name);
    const selector = spec?.target?.selector;
    const wanted = "reason" in outcome ? { status: "False", ...outcome } : {
      status: "True",
      reason: "Synced",
      message: selector === undefined
        ? "Successfully synced Bundle to all namespaces"
        : `Successfully synced Bundle to namespaces that match this label selector: ${selector.text}`,
    };
    const seen = `${condition.status} ${condition.reason} ${JSON.stringify(condition.message)}`;
    if (
      condition.status !== wanted.status || condition.reason !== wanted.reason ||
      !isMessage(condition.message, wanted.message)
    ) return `has condition ${seen}, and should have ${wanted.status} ${wanted.reason} "${wanted.message}"`;
    if (condition.observedGeneration !== generation) {
      return `has condition ${seen} of generation ${condition.observedGeneration}, and is of generation ${generation}`;
    }
    if ("reason" in outcome) return undefined;
    const usesDefault = spec?.sources.some((source) => source.type === "default CAs" && source.use) ?? false;
    const version = usesDefault ? this.packageId(this.defaultPackage) : undefined;
    const seenVersion = bundle.status?.defaultCAVersion;
    return seenVersion === version
      ? undefined
      : `has defaultCAVersion ${seenVersion}, and should have ${version}`;
  }

  /** What `status.defaultCAVersion` says of a package. */
  packageId({ version, certificates }: ModelPackage): string {
    const hash = createHash("sha256").update(this.pem(certificates)).digest("hex");
    return `${PACKAGE_NAME}-${version}-${hash.slice(0, 16)}`;
  }

  /** The JSON file of a package. */
  packageFile({ version, certificates }: ModelPackage): string {
    return JSON.stringify({ name: PACKAGE_NAME, version, bundle: this.pem(certificates) });
  }

  #template({ kind, namespace, name }: TargetId): TargetTemplate | undefined {
    const target = this.#bundles.get(name)?.target;
    const state = this.namespaces.get(namespace);
    if (target === undefined || state === undefined || state.terminating) return undefined;
    if (target.selector !== undefined && !target.selector.matches(state.labels)) return undefined;
    return kind === "ConfigMap" ? target.configMap : target.secret;
  }

  #readSource(
    source: ModelSource,
  ): { readonly pool: CertificateSet } | { readonly reason: string; readonly message: string } {
    switch (source.type) {
      case "inLine":
        return source.value.refusal === undefined
          ? { pool: source.value.certificates }
          : buildError(`inline source contains invalid PEM data: ${source.value.refusal}`);
      case "default CAs":
        return { pool: source.use ? this.defaultPackage.certificates : 0 };
      case "named": {
        const { kind, name } = source;
        const state = this.source(kind, name);
        return state === undefined
          ? notFound(`failed to get ${kind} ${this.trustNamespace}/${name}: ${kind} "${name}" not found`)
          : this.#readObject(source, name, state);
      }
      case "selected": {
        let pool = 0;
        for (const [key, states] of [...this.#sources].sort(([a], [b]) => a < b ? -1 : 1)) {
          const [kind, name = ""] = key.split("/");
          const state = states.at(-1);
          if (kind !== source.kind || state === undefined || !source.selector.matches(state.labels)) continue;
          const read = this.#readObject(source, name, state);
          if ("reason" in read) return read;
          pool |= read.pool;
        }
        return { pool };
      }
    }
  }

  #readObject(
    { kind, key }: { readonly kind: TargetKind; readonly key?: string },
    name: string,
    { values, isTls }: SourceState,
  ): { readonly pool: CertificateSet } | { readonly reason: string; readonly message: string } {
    const place = `${this.trustNamespace}/${name}`;
    if (key === undefined && isTls) {
      return buildError(`includeAllKeys is not supported for TLS Secrets such as ${place}`);
    }
    let pool = 0;
    for (const wanted of key === undefined ? Object.keys(values).sort() : [key]) {
      const value = values[wanted];
      if (value === undefined) return notFound(`no data found in ${kind} ${place} at key "${wanted}"`);
      if (value.refusal !== undefined) {
        return buildError(`invalid PEM data in ${kind} ${place} at key "${wanted}": ${value.refusal}`);
      }
      pool |= value.certificates;
    }
    return { pool };
  }

  #possibleReadings(source: ModelSource): Set<CertificateSet> {
    switch (source.type) {
      case "inLine":
        return new Set(source.value.refusal === undefined ? [source.value.certificates] : []);
      case "default CAs":
        return new Set(source.use ? this.#packages.map(({ certificates }) => certificates) : [0]);
      case "named": {
        const states = this.#sources.get(`${source.kind}/${source.name}`) ?? [];
        return this.#readings(states.filter((state) => state !== undefined), source, source.name);
      }
      case "selected": {
        let pools = new Set<CertificateSet>([0]);
        for (const [key, states] of this.#sources) {
          const [kind, name = ""] = key.split("/");
          if (kind !== source.kind) continue;
          const selected = states.filter((state) =>
            state !== undefined && source.selector.matches(state.labels)
          ).filter((state) => state !== undefined);
          const readings = this.#readings(selected, source, name);
          if (selected.length < states.length) readings.add(0);
          pools = unions(pools, readings);
        }
        return pools;
      }
    }
  }

  #readings(
    states: readonly SourceState[],
    source: { readonly kind: TargetKind; readonly key?: string },
    name: string,
  ): Set<CertificateSet> {
    const readings = states.map((state) => this.#readObject(source, name, state));
    return new Set(readings.flatMap((reading) => "pool" in reading ? [reading.pool] : []));
  }

  /** Which certificates a target's PEM holds; undefined unless it is exactly the canonical text of known ones. */
  #readPem(text: string): CertificateSet | undefined {
    const set = this.setOf(this.certificates.filter(({ pem }) => text.includes(pem)));
    return set !== 0 && this.pem(set) === text ? set : undefined;
  }

  #sha256s(set: CertificateSet): string[] {
    return this.certificates.filter((_, index) => set & (1 << index)).map(({ sha256 }) => sha256).sort();
  }

  /** A set in words. */
  #print(set: CertificateSet): string {
    const names = this.certificates.flatMap(({ subject }, index) => set & (1 << index) ? [subject] : []);
    return `{${names.map((name) => name.replace(/^CN=|,.*$/g, "")).join(", ")}}`;
  }
}

/** The spec that a user would write. */
export function bundleSpec({ sources, target }: ModelSpec): BundleSpec {
  return {
    sources: sources.map(sourceSpec),
    ...(target === undefined ? {} : {
      target: {
        ...(target.configMap === undefined ? {} : { configMap: target.configMap }),
        ...(target.secret === undefined ? {} : { secret: target.secret }),
        ...(target.additionalFormats === undefined ? {} : { additionalFormats: target.additionalFormats }),
        ...(target.selector === undefined ? {} : { namespaceSelector: target.selector.spec }),
      },
    }),
  };
}

function sourceSpec(source: ModelSource): BundleSource {
  switch (source.type) {
    case "inLine":
      return { inLine: source.value.text };
    case "default CAs":
      return { useDefaultCAs: source.use };
    default: {
      const object = {
        ...(source.type === "named" ? { name: source.name } : { selector: source.selector.spec }),
        ...(source.key === undefined ? { includeAllKeys: true } : { key: source.key }),
      };
      return source.kind === "ConfigMap" ? { configMap: object } : { secret: object };
    }
  }
}

/** A target in words: `ConfigMap app/bundle`. */
export function idText({ kind, namespace, name }: TargetId): string {
  return `${kind} ${namespace}/${name}`;
}

function notFound(text: string) {
  return { reason: "SourceNotFound", message: `Bundle source was not found: ${text}` };
}

function buildError(text: string) {
  return { reason: "SourceBuildError", message: `Failed to build bundle sources: ${text}` };
}

/**
 * Whether a message is the wanted one. What the parser says of a broken certificate is left open, and so is what is said after it of
 * other sources that are broken, or of what was left out.
 */
function isMessage(message: string, wanted: string): boolean {
  if (message.startsWith(`${wanted}; also `)) return true;
  if (wanted.endsWith("couldn't find any valid certificates in bundle")) return message.startsWith(wanted);
  return message === wanted || (wanted.endsWith("invalid PEM certificate: ") && message.startsWith(wanted));
}

/** The hash annotation, as the contract has it. */
function hashOf(pem: string, formats: AdditionalFormats | undefined, { metadata }: TargetTemplate): string {
  const hash = createHash("sha256").update(pem);
  if (formats?.jks !== undefined) hash.update(formats.jks.password ?? "changeit");
  if (formats?.pkcs12 !== undefined) {
    hash.update(formats.pkcs12.password ?? "").update(formats.pkcs12.profile ?? "");
  }
  for (const map of [metadata?.annotations ?? {}, metadata?.labels ?? {}]) {
    for (const key of Object.keys(map).sort()) hash.update(`${key}${map[key]}`);
  }
  return hash.digest("hex");
}

function unions(a: Iterable<CertificateSet>, b: ReadonlySet<CertificateSet>): Set<CertificateSet> {
  const result = new Set<CertificateSet>();
  for (const one of a) for (const other of b) result.add(one | other);
  return result;
}

/** UID of the Bundle that a target belongs to: its controlling owner, or what an annotation of ours says. */
function bundleOf({ metadata }: KubeObject): string | undefined {
  return metadata.ownerReferences?.find(({ controller }) => controller)?.uid ??
    metadata.annotations?.["trust.cert-manager.io/bundle-uid"];
}

/** The data keys that the operator owns, sorted. */
function ownedKeys(kind: TargetKind, object: ConfigMap): string[] {
  const names = kind === "ConfigMap" ? ["f:data", "f:binaryData"] : ["f:data"];
  return names.flatMap((name) => Object.keys(ownFields(object)[name] ?? {}))
    .filter((field) => field.startsWith("f:")).map((field) => field.slice(2))
    // Between the write that takes it over and the one that removes it.
    .filter((key) => key !== OURS_KEY).sort();
}

function ownsHash(object: ConfigMap): boolean {
  const annotations = ownFields(object)["f:metadata"]?.["f:annotations"] ?? {};
  return `f:${HASH_ANNOTATION}` in annotations;
}

type Fields = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>;

function ownFields({ metadata }: ConfigMap): Fields {
  const entry = metadata.managedFields?.find(({ manager, operation }) =>
    manager === FIELD_MANAGER && operation === "Apply"
  );
  return (entry?.fieldsV1 ?? {}) as Fields;
}

function allData({ data = {}, binaryData = {} }: ConfigMap): Record<string, string> {
  return { ...data, ...binaryData };
}

function present<T>(states: readonly T[]): T {
  const state = states.at(-1);
  if (state === undefined) throw new TypeError("There is no state");
  return state;
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.fromBase64(base64);
  } catch {
    return new Uint8Array();
  }
}

function derOf(pem: string): Uint8Array {
  return Uint8Array.fromBase64(pem.replace(/-----[^-]*-----|\n/g, ""));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
