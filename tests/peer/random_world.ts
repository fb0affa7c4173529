import fc from "fast-check";
import { parseLabelSelector } from "../../lib/api/label_selector.ts";
import type {
  BundleSource,
  BundleSpec,
  BundleTarget,
  SourceObjectSelector,
  TargetKind,
} from "../../lib/api/bundle.ts";
import { EXPIRED, LEAF, pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { seededRandom } from "../controller_world.ts";
import { bundlePath, targetPath, TRUST_NAMESPACE } from "../e2e/test_cluster.ts";
import { CERTIFICATE_FILES, certificateFile, damagedCertificates, pemTexts } from "../hostile/inputs.ts";

/** Namespaces of a world beside the trust namespace. They are there before it, without labels. */
export const WORLD_NAMESPACES: readonly string[] = ["n0", "n1", "n2"];

/**
 * Stands in a request for the UID of `kube-root-ca.crt` in the namespace of the request: the owner of an object that is somebody else's.
 */
export const UID_OF_ANOTHER_OWNER = "uid-of-kube-root-ca.crt";

/** A request that goes to both clusters alike. */
export interface WorldRequest {
  readonly method: "PATCH" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
}

/** What happens at once, before both operators are left alone. */
export interface WorldStep {
  readonly text: string;
  readonly requests: readonly WorldRequest[];
  /** Whether it happens while no operator runs. */
  readonly stopped: boolean;
  /** Whether each operator goes on with what the other has made. Happens without requests. */
  readonly swap: boolean;
}

/** Some Bundles and what happens to them. */
export interface World {
  /** Begins the name of all that is in it, but for namespaces. */
  readonly prefix: string;
  readonly secretTargets: boolean;
  readonly defaultPackage: boolean;
  /** More flags of the operators, that both know. */
  readonly flags: readonly string[];
  readonly steps: readonly WorldStep[];
}

/** Thinks of a world; the same seed gives the same one. */
export function randomWorld(seed: number, prefix: string): World {
  return new WorldMaker(seed, prefix).make();
}

const encoder = new TextEncoder();
const KINDS: readonly TargetKind[] = ["ConfigMap", "Secret"];
const PASSWORDS = ["changeit", "changeit1", "2", "pässword", "日本", "a b", "x".repeat(128), "😀"];

class WorldMaker {
  readonly #seed: number;
  readonly #random: () => number;
  readonly #prefix: string;
  readonly #bundles = new Map<string, BundleSpec>();
  readonly #names: readonly string[];
  /** Labels of namespaces. */
  readonly #labels = new Map<string, Record<string, string>>();

  constructor(seed: number, prefix: string) {
    this.#seed = seed;
    this.#random = seededRandom(seed);
    this.#prefix = prefix;
    const long = this.#chance(0.04) ? `-${"x".repeat(64)}` : "";
    this.#names = ["a", "b", "c"].map((name) => `${prefix}-${name}${name === "c" ? long : ""}`);
  }

  make(): World {
    const secretTargets = this.#chance(0.8);
    const defaultPackage = this.#chance(0.7);
    const flags = [
      ...(this.#chance(0.2) ? ["--filter-expired-certificates"] : []),
      ...(this.#chance(0.2) ? ["--filter-non-ca-certs"] : []),
    ];
    const first: WorldRequest[] = WORLD_NAMESPACES.flatMap((name, i) =>
      this.#relabel(name, { team: i === 0 ? "a" : i === 1 ? "b" : this.#pick(["a", "b", null]) })
    );
    for (const kind of KINDS) for (let i = 0; i < 3; i++) first.push(this.#putSource(kind, i));
    const begin: WorldStep = { text: "namespaces and sources", requests: first, stopped: false, swap: false };
    const steps = [begin, this.#step("putBundle"), this.#step("putBundle")];
    for (let i = 0; i < 8; i++) {
      if (this.#chance(0.06)) steps.push({ text: "take-over", requests: [], stopped: false, swap: true });
      else steps.push(this.#step(undefined, this.#chance(0.08)));
    }
    return { prefix: this.#prefix, secretTargets, defaultPackage, flags, steps };
  }

  #step(kind?: string, stopped = false): WorldStep {
    const random = this.#random();
    const request = (() => {
      if (kind === "putBundle" || random < 0.25) return this.#putBundle();
      if (random < 0.45) return this.#putSource();
      if (random < 0.47) return this.#deleteSource();
      if (random < 0.51) return this.#deleteBundle();
      if (random < 0.59) {
        const name = this.#pick(WORLD_NAMESPACES);
        return this.#relabel(name, { team: this.#pick(["a", "b", null]) })[0];
      }
      if (random < 0.69) return this.#object();
      return this.#chance(0.7) ? this.#edit() : this.#putBundle();
    })();
    const requests = request === undefined ? [] : [request];
    const text = requests.map(requestText).join("; ") || "nothing";
    return { text: stopped ? `while stopped: ${text}` : text, requests, stopped, swap: false };
  }

  // Sources

  #putSource(kind = this.#pick(KINDS), index?: number): WorldRequest {
    const tls = kind === "Secret" && index === undefined && this.#chance(0.15);
    const name = `${this.#prefix}-s${tls ? "tls" : index ?? Math.floor(this.#random() * 3)}`;
    const keys = tls
      ? ["tls.crt", "tls.key"]
      : ["ca.crt", "b.pem", "c"].filter((_, i) => this.#chance(i === 0 ? 0.97 : 0.4));
    const data: Record<string, string> = {};
    const binaryData: Record<string, string> = {};
    for (const key of keys) {
      const value = key === "tls.key"
        ? encoder.encode(PRIVATE_KEY)
        : this.#value(index === undefined ? 0.2 : 0.05);
      const text = kind === "ConfigMap" ? textOf(value) : undefined;
      if (text === undefined || this.#chance(0.1)) {
        (kind === "ConfigMap" ? binaryData : data)[key] = value.toBase64();
      } else data[key] = text;
    }
    const labels = {
      world: this.#prefix,
      group: this.#pick(["x", "y"]),
      ...(this.#chance(0.2) ? { odd: "" } : {}),
    };
    return this.#apply(kind, TRUST_NAMESPACE, name, {
      metadata: { labels },
      ...(kind === "Secret" ? { type: tls ? "kubernetes.io/tls" : "Opaque" } : {}),
      ...(Object.keys(data).length > 0 ? { data } : {}),
      ...(Object.keys(binaryData).length > 0 ? { binaryData } : {}),
    });
  }

  #deleteSource(): WorldRequest {
    const name = `${this.#prefix}-s${Math.floor(this.#random() * 3)}`;
    return { method: "DELETE", path: targetPath(TRUST_NAMESPACE, name, this.#pick(KINDS)) };
  }

  /** What a key of a source holds. */
  #value(odd = 0.3): Uint8Array<ArrayBuffer> {
    const good = [ROOT_1, ROOT_2, LEAF, EXPIRED];
    const some = good.filter(() => this.#chance(0.5));
    const pem = pemText(...some);
    const one = pemText(this.#pick(good));
    const random = this.#random();
    if (random > odd) return encoder.encode(some.length > 0 ? pem : one);
    const file = () => derPem(certificateFile(this.#pick(CERTIFICATE_FILES)));
    const values: (() => string | Uint8Array<ArrayBuffer>)[] = [
      () => "",
      () => "no PEM at all",
      () => certificateFile(this.#pick(CERTIFICATE_FILES)),
      file,
      () => one + file(),
      () => `${one}${one}${pem}`,
      () => `# a comment\n${pem}\n# another\n${one}`,
      () => `\ufeff${one}`,
      () => utf16(one),
      () => btoa(one),
      () => (pem + one).replaceAll("-----\n-----", "----------"),
      () => one + PRIVATE_KEY,
      () => one.replace("-----\n", "-----\nProc-Type: 4,ENCRYPTED\n\n"),
      () => one.replace("MII", "M!I") + pem,
      () => one.slice(0, -20) + pem,
      () => one.replaceAll("CERTIFICATE", "TRUSTED CERTIFICATE"),
      () => one.replaceAll("\n", "\r\n"),
      () => one.replaceAll("\n", "\r"),
      () => one.replaceAll(/^/gm, "  "),
      () => one.replaceAll("\n", " "),
      () => one.replaceAll("-----", "—–—"),
      () => Deno.readTextFileSync(new URL("../../lib/certs/testdata/ec_acc.pem", import.meta.url)) + pem,
      () => this.#sample(pemTexts),
      () => this.#sample(pemTexts),
      () => derPem(this.#sample(damagedCertificates)) + pem,
      () => derPem(this.#sample(damagedCertificates)) + pem,
    ];
    const value = this.#pick(values)();
    return typeof value === "string" ? encoder.encode(value.toWellFormed()) : value;
  }

  // Bundles

  #putBundle(): WorldRequest {
    const name = this.#pick(this.#names);
    const before = this.#bundles.get(name);
    const spec: BundleSpec = before !== undefined && this.#chance(0.6)
      ? (this.#chance(0.5)
        ? { ...before, sources: this.#sources() }
        : { ...before, ...this.#maybeTarget(before.target) })
      : { sources: this.#sources(), ...this.#maybeTarget(undefined) };
    this.#bundles.set(name, spec);
    return this.#applyRequest(bundlePath(name), {
      apiVersion: "trust.cert-manager.io/v1alpha1",
      kind: "Bundle",
      metadata: { name },
      spec,
    });
  }

  #deleteBundle(): WorldRequest {
    const name = this.#pick(this.#names);
    this.#bundles.delete(name);
    return { method: "DELETE", path: bundlePath(name) };
  }

  #sources(): BundleSource[] {
    const sources = Array.from({ length: 1 + Math.floor(this.#random() * 3) }, () => this.#source());
    if (this.#chance(0.2)) sources.push({ useDefaultCAs: this.#chance(0.8) });
    return sources;
  }

  #source(): BundleSource {
    const random = this.#random();
    if (random < 0.3) {
      const value = this.#chance(0.8) ? encoder.encode(pemText(this.#pick([ROOT_1, ROOT_2]))) : this.#value();
      const inLine = textOf(value);
      return { inLine: inLine === undefined || inLine === "" ? " " : inLine };
    }
    const kind = this.#pick(KINDS);
    const what = this.#chance(0.25)
      ? { includeAllKeys: true }
      : { key: this.#chance(0.95) ? "ca.crt" : this.#pick(["b.pem", "c", "tls.crt"]) };
    const source: SourceObjectSelector = random < 0.75
      ? { name: this.#sourceName(kind), ...what }
      : { selector: this.#sourceSelector(), ...what };
    return kind === "ConfigMap" ? { configMap: source } : { secret: source };
  }

  #sourceName(kind: TargetKind): string {
    if (this.#chance(0.08)) return this.#pick(this.#names);
    if (kind === "Secret" && this.#chance(0.04)) return `${this.#prefix}-stls`;
    return `${this.#prefix}-s${Math.floor(this.#random() * 3)}`;
  }

  #sourceSelector(): NonNullable<SourceObjectSelector["selector"]> {
    const matchLabels = { world: this.#prefix };
    if (this.#chance(0.6)) return { matchLabels: { ...matchLabels, group: this.#pick(["x", "y"]) } };
    return this.#pick([
      { matchLabels: { ...matchLabels, group: "nothing" } },
      { matchLabels, matchExpressions: [{ key: "odd", operator: this.#pick(["Exists", "DoesNotExist"]) }] },
      {
        matchLabels,
        matchExpressions: [{ key: "group", operator: this.#pick(["In", "NotIn"]), values: ["x", "z"] }],
      },
      { matchLabels },
      { matchLabels: { ...matchLabels, group: "not valid!" } },
      { matchLabels, matchExpressions: [{ key: "group", operator: "Is", values: ["x"] }] },
      { matchLabels, matchExpressions: [{ key: "group", operator: "In" }] },
    ]);
  }

  #maybeTarget(before: BundleTarget | undefined): { target?: BundleTarget } {
    if (this.#chance(0.06)) return {};
    return { target: this.#target(before) };
  }

  #target(before: BundleTarget | undefined): BundleTarget {
    const random = this.#random();
    if (before !== undefined && random < 0.25) return { ...before, ...this.#formats(0.9) };
    if (before !== undefined && random < 0.5) return { ...before, ...this.#namespaceSelector() };
    const which = this.#random();
    return {
      ...(which < 0.75 ? { configMap: this.#template() } : {}),
      ...(which > 0.55 ? { secret: this.#template() } : {}),
      ...this.#formats(0.35),
      ...this.#namespaceSelector(),
    };
  }

  #template(): NonNullable<BundleTarget["configMap"]> {
    const key = this.#chance(0.02)
      ? this.#pick(["certs/ca.pem", "..", "a b"])
      : this.#pick(["ca.crt", "ca.crt", "bundle.pem"]);
    if (this.#chance(0.5)) return { key };
    const map = () => {
      const keys = ["world", "team", "example.com/note"].filter(() => this.#chance(0.5));
      if (this.#chance(0.05)) {
        keys.push(`trust.cert-manager.io/${this.#pick(["bundle", "hash", "layout", "bundle-uid", "other"])}`);
      }
      return Object.fromEntries(
        keys.map((
          key,
        ) => [
          key,
          key === "world"
            ? this.#prefix
            : this.#chance(0.03)
            ? "not valid!"
            : this.#pick(["blue", "green", ""]),
        ]),
      );
    };
    const [labels, annotations] = [map(), map()];
    const metadata = {
      ...(Object.keys(labels).length > 0 ? { labels } : {}),
      ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    };
    return Object.keys(metadata).length > 0 ? { key, metadata } : { key };
  }

  #formats(probability: number): { additionalFormats?: NonNullable<BundleTarget["additionalFormats"]> } {
    if (!this.#chance(probability)) return {};
    const which = this.#random();
    const key = (usual: string) => this.#chance(0.05) ? this.#pick(["ca.crt", "ts", "a/b"]) : usual;
    const password = () => this.#chance(0.6) ? { password: this.#pick(PASSWORDS) } : {};
    const profile = this.#chance(0.6)
      ? { profile: this.#pick(["LegacyRC2", "LegacyDES", "Modern2023"] as const) }
      : {};
    const [jks, pkcs12] = this.#chance(0.85) ? ["ts.jks", "ts.p12"] : ["ts.p12", "ts.jks"];
    return {
      additionalFormats: {
        ...(which < 0.6 ? { jks: { key: key(jks), ...password() } } : {}),
        ...(which > 0.4 ? { pkcs12: { key: key(pkcs12), ...password(), ...profile } } : {}),
      },
    };
  }

  #namespaceSelector(): Pick<BundleTarget, "namespaceSelector"> {
    const random = this.#random();
    if (random < 0.06) return {};
    if (random < 0.09) return { namespaceSelector: {} };
    if (random < 0.1) return { namespaceSelector: { matchLabels: { team: "not valid!" } } };
    if (random < 0.2) {
      return { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": TRUST_NAMESPACE } } };
    }
    return {
      namespaceSelector: this.#pick([
        { matchLabels: { team: "a" } },
        { matchLabels: { team: "b" } },
        { matchExpressions: [{ key: "team", operator: "Exists" }] },
        { matchExpressions: [{ key: "team", operator: "In", values: ["b", "a"] }] },
        { matchLabels: { team: "a" }, matchExpressions: [{ key: "odd", operator: "DoesNotExist" }] },
        {
          matchExpressions: [{
            key: "kubernetes.io/metadata.name",
            operator: "In",
            values: [TRUST_NAMESPACE, "n0"],
          }],
        },
      ]),
    };
  }

  // Targets

  /** Somebody creates an object of the name of a Bundle, or applies to it. */
  #object(): WorldRequest {
    const kind = this.#pick(KINDS);
    const name = this.#pick(this.#names);
    const namespace = this.#namespaceOf(name);
    const key = this.#pick(["ca.crt", "user", "b.pem"]);
    const text = this.#pick(["something", pemText(ROOT_2)]);
    const data = { [key]: kind === "Secret" ? btoa(text) : text };
    const random = this.#random();
    const metadata: Record<string, unknown> = { labels: { world: this.#prefix } };
    if (random < 0.15) metadata["labels"] = { "trust.cert-manager.io/bundle": name };
    if (random > 0.9) {
      metadata["ownerReferences"] = [{
        apiVersion: "v1",
        kind: "ConfigMap",
        name: "kube-root-ca.crt",
        uid: UID_OF_ANOTHER_OWNER,
        controller: this.#chance(0.6),
      }];
    }
    if (random > 0.7 || random < 0.15) {
      return {
        method: "POST",
        path: `${collection(namespace, kind)}?fieldManager=${
          this.#pick(["somebody", "somebody", "trust-manager"])
        }`,
        body: { metadata: { ...metadata, name }, data },
      };
    }
    return this.#apply(kind, namespace, name, { metadata, data });
  }

  /** Somebody changes a target, or deletes it. */
  #edit(): WorldRequest {
    const name = this.#bundles.size > 0 ? this.#pick([...this.#bundles.keys()]) : this.#names[0] ?? "";
    const target = this.#bundles.get(name)?.target;
    const kind = target?.configMap === undefined
      ? "Secret"
      : target.secret === undefined
      ? "ConfigMap"
      : this.#pick(KINDS);
    const key = (kind === "Secret" ? target?.secret : target?.configMap)?.key ?? "ca.crt";
    const path = targetPath(this.#namespaceOf(name), name, kind);
    if (this.#chance(0.15)) return { method: "DELETE", path };
    const data = (key: string, text: string | null) => ({
      data: { [key]: text !== null && kind === "Secret" ? btoa(text) : text },
    });
    const metadata = (kind === "Secret" ? target?.secret : target?.configMap)?.metadata;
    const own = (map: Readonly<Record<string, string>> = {}) =>
      Object.fromEntries(Object.keys(map).map((key) => [key, this.#pick(["red", null])]));
    const body = this.#pick<unknown>([
      { metadata: { labels: own(metadata?.labels), annotations: own(metadata?.annotations) } },
      data(key, "edited"),
      data(key, null),
      data("user", "somebody's"),
      data("ca.crt", pemText(ROOT_1)),
      { metadata: { labels: { "trust.cert-manager.io/bundle": null } } },
      { metadata: { labels: { "trust.cert-manager.io/bundle": this.#pick(this.#names) } } },
      { metadata: { annotations: { "trust.cert-manager.io/hash": null } } },
      { metadata: { annotations: { "trust.cert-manager.io/hash": "another" } } },
      { metadata: { labels: { team: this.#pick(["red", null]) } } },
      { metadata: { annotations: { "example.com/note": this.#pick(["red", null]) } } },
      { metadata: { labels: { mine: "red" }, annotations: { mine: "red" } } },
      { metadata: { ownerReferences: null } },
      { immutable: true },
    ]);
    const manager = this.#chance(0.15) ? "trust-manager" : "somebody";
    return {
      method: "PATCH",
      path: `${path}?fieldManager=${manager}`,
      body,
      contentType: "application/merge-patch+json",
    };
  }

  // Parts

  #namespace(): string {
    return this.#chance(0.2) ? TRUST_NAMESPACE : this.#pick(WORLD_NAMESPACES);
  }

  /** A namespace, most often one that has a target of the Bundle. */
  #namespaceOf(bundle: string): string {
    const target = this.#bundles.get(bundle)?.target;
    if (target === undefined || this.#chance(0.1)) return this.#namespace();
    try {
      const selector = parseLabelSelector(target.namespaceSelector ?? {});
      const selected = [...WORLD_NAMESPACES, TRUST_NAMESPACE].filter((name) =>
        selector.matches({ ...this.#labels.get(name), "kubernetes.io/metadata.name": name })
      );
      return selected.length > 0 ? this.#pick(selected) : this.#namespace();
    } catch {
      return this.#namespace(); // The selector is not valid.
    }
  }

  #relabel(name: string, labels: Record<string, string | null>): WorldRequest[] {
    this.#labels.set(
      name,
      Object.fromEntries(
        Object.entries(labels).flatMap(([key, value]) => value === null ? [] : [[key, value]]),
      ),
    );
    return [{
      method: "PATCH",
      path: `/api/v1/namespaces/${name}`,
      body: { metadata: { labels } },
      contentType: "application/merge-patch+json",
    }];
  }

  #apply(
    kind: TargetKind,
    namespace: string,
    name: string,
    object: { metadata: Record<string, unknown>; [field: string]: unknown },
  ): WorldRequest {
    return this.#applyRequest(targetPath(namespace, name, kind), {
      apiVersion: "v1",
      kind,
      ...object,
      metadata: { namespace, name, ...object.metadata },
    });
  }

  #applyRequest(path: string, body: unknown): WorldRequest {
    return {
      method: "PATCH",
      path: `${path}?fieldManager=tests&force=true`,
      body,
      contentType: "application/apply-patch+yaml",
    };
  }

  #sample<T>(arbitrary: fc.Arbitrary<T>): T {
    const seed = Math.floor(this.#random() * 0x7fff_ffff) ^ this.#seed;
    const [value] = fc.sample(arbitrary, { seed, numRuns: 1 });
    if (value === undefined) throw new TypeError("fast-check gave no sample");
    return value;
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #pick<T>(things: readonly T[]): T {
    const thing = things[Math.floor(this.#random() * things.length)];
    if (thing === undefined) throw new TypeError("There is nothing to pick from");
    return thing;
  }
}

const PRIVATE_KEY = `-----BEGIN PRIVATE KEY-----\n${
  btoa("not really a private key")
}\n-----END PRIVATE KEY-----\n`;

function requestText({ method, path, body }: WorldRequest): string {
  return `${method} ${path}${body === undefined ? "" : ` ${JSON.stringify(body)}`}`;
}

function collection(namespace: string, kind: TargetKind): string {
  return `/api/v1/namespaces/${namespace}/${kind === "ConfigMap" ? "configmaps" : "secrets"}`;
}

/** As text, if it is UTF-8 without NUL. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return text.includes("\0") ? undefined : text;
  } catch {
    return undefined;
  }
}

function derPem(der: Uint8Array): string {
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function utf16(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(2 * text.length + 2);
  bytes.set([0xff, 0xfe]);
  for (let i = 0; i < text.length; i++) bytes[2 * i + 2] = text.charCodeAt(i);
  return bytes;
}
