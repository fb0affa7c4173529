import type { Bundle } from "../../lib/api/bundle.ts";
import type { ConfigMap, Secret } from "../../lib/kube/objects.ts";
import { EXPIRED, LEAF, pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { RestError } from "../cluster/rest_client.ts";
import { type BundleEvent, bundlePath, TestCluster, TRUST_NAMESPACE } from "../e2e/test_cluster.ts";
import { readWithOpenssl } from "../oracles/read_key_store.ts";
import { sleep } from "../until.ts";
import { UID_OF_ANOTHER_OWNER, type World, WORLD_NAMESPACES, type WorldRequest } from "./random_world.ts";

/** What can be seen of a world, one text for each thing. */
export type Facts = ReadonlyMap<string, string>;

/** A running operator of either project. */
export interface SideOperator {
  /** Whether it has nothing to do, as far as it tells. */
  idle(): Promise<boolean>;
  stop(): Promise<unknown>;
}

/** Starts one, with these flags. */
export type StartOperator = (cluster: TestCluster, flags: readonly string[]) => Promise<SideOperator>;

/** How often a side is looked at while it may still change. */
const LOOK_MS = 300;
/** How long a world may take to come to rest. An operator may retry for ever, so that it is no error. */
const REST_MS = 20_000;

interface Freezable {
  readonly immutable?: boolean;
}

interface List<T> {
  readonly items: readonly T[];
}

/** A control plane with one of the two operators: one half of a differential run. */
export class WorldSide implements AsyncDisposable {
  readonly cluster: TestCluster;
  #start: StartOperator;
  readonly #packagePath: string;
  readonly #otherOwners: ReadonlyMap<string, string>;
  /** What openssl says of PKCS#12 stores, by content and passwords. */
  readonly #stores = new Map<string, string>();
  readonly #pastEvents = new Set<string>();
  #world: World | undefined;
  #operator: SideOperator | undefined;
  /** All passwords that Bundles of this world have had. */
  readonly #passwords = new Set<string>();

  private constructor(
    cluster: TestCluster,
    start: StartOperator,
    packagePath: string,
    otherOwners: ReadonlyMap<string, string>,
  ) {
    this.cluster = cluster;
    this.#start = start;
    this.#packagePath = packagePath;
    this.#otherOwners = otherOwners;
  }

  /** Starts a control plane, without an operator. */
  static async start(start: StartOperator): Promise<WorldSide> {
    const cluster = await TestCluster.start({ secretTargets: true });
    const packagePath = `${cluster.controlPlane.dir}/package.json`;
    const bundle = pemText(ROOT_1, LEAF);
    await Deno.writeTextFile(packagePath, JSON.stringify({ name: "differential", version: "1", bundle }));
    const owners = new Map<string, string>();
    for (const name of WORLD_NAMESPACES) await cluster.createNamespace(name);
    for (const name of [...WORLD_NAMESPACES, TRUST_NAMESPACE]) {
      const owner = await cluster.targetBecomes(
        name,
        "kube-root-ca.crt",
        "is there",
        (it) => it !== undefined,
      );
      owners.set(name, owner.metadata.uid ?? "");
    }
    return new WorldSide(cluster, start, packagePath, owners);
  }

  /** Starts the operator for a world, and goes on with it when it is stopped in between. */
  async begin(world: World): Promise<void> {
    this.#world = world;
    this.#passwords.clear();
    await this.resume();
  }

  /** From the next start on, it is another operator; events so far are not shown any more. */
  async use(start: StartOperator): Promise<void> {
    for (const path of (await this.look()).keys()) if (path.startsWith("Event ")) this.#pastEvents.add(path);
    this.#start = start;
  }

  /** Stops the operator. */
  async pause(): Promise<void> {
    await this.#operator?.stop();
    this.#operator = undefined;
  }

  /** Starts the operator again. */
  async resume(): Promise<void> {
    const { flags, secretTargets, defaultPackage } = this.#current();
    this.#operator = await this.#start(this.cluster, [
      ...flags,
      ...(secretTargets ? ["--secret-targets-enabled"] : []),
      ...(defaultPackage ? [`--default-package-location=${this.#packagePath}`] : []),
      "--leader-elect=false",
    ]);
  }

  /** Makes a request. Returns the API server's answer in short. */
  async send({ method, path, body, contentType }: WorldRequest): Promise<string> {
    const namespace = /^\/api\/v1\/namespaces\/([^/]+)\//.exec(path)?.[1] ?? "";
    const uid = this.#otherOwners.get(namespace) ?? "";
    try {
      await this.cluster.admin.request(method, path, {
        ...(body === undefined
          ? {}
          : { body: JSON.parse(JSON.stringify(body).replaceAll(UID_OF_ANOTHER_OWNER, uid)) }),
        ...(contentType === undefined ? {} : { contentType }),
      });
      return "done";
    } catch (error) {
      if (error instanceof RestError) return `${error.status} ${error.reason}`;
      throw error;
    }
  }

  /** Waits until nothing changes any more, as far as can be told, and returns what is there then. */
  async rest(): Promise<Facts> {
    const deadline = performance.now() + REST_MS;
    await sleep(LOOK_MS);
    let before = "";
    while (true) {
      const idle = await this.#operator?.idle() ?? true;
      const facts = await this.look();
      const now = JSON.stringify([...facts]);
      if ((idle && now === before) || performance.now() > deadline) return facts;
      before = now;
      await sleep(LOOK_MS);
    }
  }

  /** What there is of the world at this moment. */
  async look(): Promise<Facts> {
    const { prefix } = this.#current();
    const list = async <T>(path: string) => (await this.cluster.admin.get<List<T>>(path))?.items ?? [];
    const [bundles, configMaps, secrets, events] = await Promise.all([
      list<Bundle>(bundlePath("").replace(/\/$/, "")),
      list<ConfigMap & Freezable>("/api/v1/configmaps"),
      list<Secret & Freezable>("/api/v1/secrets"),
      list<BundleEvent>("/apis/events.k8s.io/v1/namespaces/default/events"),
    ]);
    const facts = new Map<string, string>();
    const uids = new Map([...this.#otherOwners.values()].map((uid) => [uid, "kube-root-ca.crt"]));
    for (const { metadata, spec, status } of bundles) {
      const { jks, pkcs12 } = spec.target?.additionalFormats ?? {};
      for (const store of [jks, pkcs12]) {
        if (store?.password !== undefined) this.#passwords.add(store.password);
      }
      uids.set(metadata.uid ?? "", metadata.name);
      if (!metadata.name.startsWith(prefix)) continue;
      const path = `Bundle ${metadata.name}`;
      facts.set(path, "is there");
      for (const { type, ...condition } of status?.conditions ?? []) {
        for (const field of ["status", "reason", "message", "observedGeneration"] as const) {
          facts.set(`${path} ${type} ${field}`, String(condition[field]));
        }
      }
      const version = status?.defaultCAVersion;
      if (version !== undefined) facts.set(`${path} defaultCAVersion`, version);
    }
    const objects: (Pick<ConfigMap, "metadata" | "data" | "binaryData"> & Freezable & { kind: string })[] = [
      ...configMaps.map((object) => ({ ...object, kind: "ConfigMap" })),
      ...secrets.map(({ data = {}, ...object }) => ({
        ...object,
        kind: "Secret",
        data: {},
        binaryData: data,
      })),
    ];
    for (const { kind, metadata, data, binaryData: binary, immutable } of objects) {
      const { namespace, name, labels, annotations, ownerReferences } = metadata;
      if (!name.startsWith(prefix) || namespace === undefined || !this.#isShown(namespace)) continue;
      const path = `${kind} ${namespace}/${name}`;
      facts.set(path, immutable === true ? "is there, immutable" : "is there");
      for (const [key, text] of Object.entries(data ?? {})) facts.set(`${path} data ${key}`, readable(text));
      for (const [key, value] of Object.entries(binary ?? {})) {
        facts.set(`${path} ${kind === "Secret" ? "data" : "binaryData"} ${key}`, await this.#binary(value));
      }
      for (const [key, value] of Object.entries(labels ?? {})) facts.set(`${path} label ${key}`, value);
      for (const [key, value] of Object.entries(annotations ?? {})) {
        facts.set(`${path} annotation ${key}`, value);
      }
      const owners = (ownerReferences ?? []).map(({ uid, controller, blockOwnerDeletion }) =>
        `${uids.get(uid) ?? "who is gone"}${controller ? ", controller" : ""}${
          blockOwnerDeletion ? ", blocks" : ""
        }`
      );
      if (owners.length > 0) facts.set(`${path} owners`, owners.sort().join("; "));
    }
    for (const { regarding, type, reason, action, note, reportingController } of events) {
      if (!regarding.name.startsWith(prefix)) continue;
      const path = `Event ${regarding.name} ${type} ${reason} ${action} ${reportingController}: ${note}`;
      if (!this.#pastEvents.has(path)) facts.set(path, "told");
    }
    return facts;
  }

  /** The resourceVersion of each ConfigMap and Secret of the world, by names as in {@linkcode look}. */
  async versions(): Promise<ReadonlyMap<string, string>> {
    const versions = new Map<string, string>();
    for (const [kind, resource] of [["ConfigMap", "configmaps"], ["Secret", "secrets"]]) {
      const list = await this.cluster.admin.get<List<ConfigMap>>(`/api/v1/${resource}`);
      for (const { metadata: { namespace, name, resourceVersion = "" } } of list?.items ?? []) {
        if (name.startsWith(this.#current().prefix)) {
          versions.set(`${kind} ${namespace}/${name}`, resourceVersion);
        }
      }
    }
    return versions;
  }

  /** Ends the world: stops the operator and deletes all that was made. */
  async clean(): Promise<void> {
    await this.pause();
    const { prefix } = this.#current();
    const { admin } = this.cluster;
    const left = async () => {
      const paths: string[] = [];
      for (const path of [bundlePath("").replace(/\/$/, ""), "/api/v1/configmaps", "/api/v1/secrets"]) {
        for (const { metadata } of (await admin.get<List<ConfigMap>>(path))?.items ?? []) {
          if (!metadata.name.startsWith(prefix)) continue;
          const [base, resource] = [path.slice(0, path.lastIndexOf("/")), path.slice(path.lastIndexOf("/"))];
          const namespace = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`;
          paths.push(`${base}${namespace}${resource}/${metadata.name}`);
        }
      }
      return paths;
    };
    for (let paths = await left(); paths.length > 0; paths = await left()) {
      for (const path of paths) await admin.delete(path);
    }
    this.#world = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pause();
    await this.cluster[Symbol.asyncDispose]();
  }

  #current(): World {
    if (this.#world === undefined) throw new TypeError("No world has begun");
    return this.#world;
  }

  #isShown(namespace: string): boolean {
    return namespace === TRUST_NAMESPACE || namespace === "default" || WORLD_NAMESPACES.includes(namespace);
  }

  /** A value in a form that is the same if the content is: of PKCS#12 what openssl reads, as salts are random. */
  async #binary(base64: string): Promise<string> {
    const bytes = Uint8Array.fromBase64(base64);
    if (bytes[0] !== 0x30 || bytes.length < 100) return readable(new TextDecoder().decode(bytes), base64);
    const key = JSON.stringify([base64, ...this.#passwords]);
    const known = this.#stores.get(key);
    if (known !== undefined) return known;
    let said = `DER ${base64}`;
    for (const password of ["", ...this.#passwords]) {
      const reading = await readWithOpenssl(bytes, password, "-legacy");
      if (reading.code !== 0) continue;
      said = `PKCS#12 of ${bytes.length} bytes, password ${password}: ${
        readable(reading.stdout)
      } ${reading.stderr}`;
      break;
    }
    this.#stores.set(key, said);
    return said;
  }
}

const NAMES = { ROOT_1, ROOT_2, LEAF, EXPIRED };

/** Shorter, and nothing but text. */
function readable(text: string, base64?: string): string {
  if (text.includes("\ufffd") && base64 !== undefined) return `bytes ${base64}`;
  let short = text;
  for (const [name, { pem }] of Object.entries(NAMES)) short = short.replaceAll(pem, `<${name}>`);
  return short;
}
