import {
  BUNDLE_LABEL,
  type BundleSource,
  type LabelSelectorSpec,
  type SourceObjectSelector,
  type TargetKind,
  type TargetTemplate,
} from "../lib/api/bundle.ts";
import type { DecodedBundle } from "../lib/api/decode_bundle.ts";
import { parseLabelSelector } from "../lib/api/label_selector.ts";
import { APPEARANCES } from "../lib/certs/appearance.ts";
import type { Certificate } from "../lib/certs/certificate.ts";
import { type PemCertificates, type PemOptions, type PemResult, readPem } from "../lib/certs/pem.ts";
import { isSelfIssued } from "../lib/certs/self_issued.ts";
import { subjectOf } from "../lib/certs/subject.ts";
import type { NamespaceRecord } from "../lib/records/namespace_record.ts";
import type { SourceRecord } from "../lib/records/source_record.ts";
import { type TargetSearch, targetWarnings } from "./target_warnings.ts";

/** What is known of the cluster without asking it. */
export interface KnownObjects {
  /** Whether the following is complete; until then nothing is said about it. */
  readonly synced: boolean;
  /** Name of the trust namespace; without it, nothing is said of objects that targets would take over. */
  readonly trustNamespace?: string;
  /** The objects of that kind in the trust namespace. */
  sources(kind: TargetKind): Iterable<SourceRecord>;
  /** The object of that kind and name in the trust namespace. */
  source(kind: TargetKind, name: string): SourceRecord | undefined;
  /** The namespaces that targets may be written to. */
  namespaces(): Iterable<NamespaceRecord>;
  /** How strictly the operator reads certificates. */
  readonly pem?: PemOptions;
}

/** How long before its end a certificate is worth a warning, in milliseconds. */
const EXPIRES_SOON_MS = 30 * 24 * 3_600_000;

/** Longest warning that API servers pass on whole, in characters. */
const LONGEST = 256;

/** Most warnings for one Bundle; API servers drop those beyond 4,096 characters in all. */
const MOST = 12;

/** Label of Secrets that cert-manager writes. */
const CERT_MANAGER_LABEL = "controller.cert-manager.io/fao";

/**
 * How much work the warnings of one Bundle may cost, in steps: {@linkcode Search} says what a step is. With the flags that the operator
 * runs with, all of them take about 0.2 s of processor time. 100 selectors that select among 1,000 objects take 200,000, the largest
 * Bundle that etcd stores, all of it in inline sources, 160,000.
 */
export const MOST_STEPS = 250_000;

/** It takes as long to read as many bytes of PEM, with the certificates in it, as to compare an object with a requirement. */
const BYTES_PER_STEP = 10;

/** So many times as long takes it to read a requirement of a selector, or one of its values. */
const STEPS_PER_TERM = 3;

/** What the last warning says where there may be more than were looked for. */
const MORE = "there may be more warnings than these";
const NOT_ALL_CHECKED = "the Bundle is too large to be checked for all warnings";

/**
 * What a user should know about a valid Bundle, short and with advice: certificates and keys that do not belong into a trust
 * bundle, selectors that match nothing at present, and targets that cannot be, or are others'. Pure.
 *
 * Anybody who reaches the webhook can ask for this, with a Bundle of any size, so its cost has a bound: it ends when enough warnings were
 * found, or the steps are used up. The last warning says so then.
 *
 * @param now milliseconds since the Unix epoch.
 * @param steps see {@linkcode MOST_STEPS}.
 */
export function admissionWarnings(
  bundle: DecodedBundle,
  known: KnownObjects,
  now: number,
  steps = MOST_STEPS,
): string[] {
  const warnings = new Set<string>();
  try {
    for (const text of allWarnings(bundle, new Search(known, now, steps))) {
      if (warnings.size === MOST && !warnings.has(shortened(text))) return [...warnings].with(-1, MORE);
      warnings.add(shortened(text));
    }
  } catch (error) {
    if (!(error instanceof OutOfSteps)) throw error;
    return [...[...warnings].slice(0, MOST - 1), NOT_ALL_CHECKED];
  }
  return [...warnings];
}

function shortened(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

// All of the following find the next warning only when it is asked for, and look at nothing but through `search`, which counts the cost.

function* allWarnings(bundle: DecodedBundle, search: Search): Generator<string> {
  const { spec } = bundle;
  yield* targetWarnings(bundle, search);
  const own = ownTargets(bundle);
  for (const [index, source] of spec.sources.entries()) {
    search.spend(1);
    yield* sourceWarnings(source, `spec.sources[${index}]`, own, search);
  }
  const selector = spec.target?.namespaceSelector;
  if (selector !== undefined && search.synced && search.namespaces(selector).length === 0) {
    yield "spec.target.namespaceSelector: matches no namespace now; check it, or label the namespaces";
  }
}

/** What a Bundle writes into the trust namespace. */
interface OwnTargets {
  readonly bundle: string;
  /** Whether it writes into all namespaces, and so into that one. */
  readonly everywhere: boolean;
  /** By kind, the labels that its targets have for sure. */
  readonly labels: Readonly<Partial<Record<TargetKind, Readonly<Record<string, string>>>>>;
}

function ownTargets({ metadata: { name }, spec: { target = {} } }: DecodedBundle): OwnTargets {
  const { matchLabels = {}, matchExpressions = [] } = target.namespaceSelector ?? {};
  const labelsOf = (template: TargetTemplate) => ({ ...template.metadata?.labels, [BUNDLE_LABEL]: name });
  return {
    bundle: name,
    everywhere: Object.keys(matchLabels).length === 0 && matchExpressions.length === 0,
    labels: {
      ...(target.configMap && { ConfigMap: labelsOf(target.configMap) }),
      ...(target.secret && { Secret: labelsOf(target.secret) }),
    },
  };
}

/** There are no steps left. */
class OutOfSteps extends Error {
  override readonly name = "OutOfSteps";
}

/**
 * Answers questions about the known objects for one Bundle, each distinct one once. A step is one source, one object, one requirement
 * that an object is compared with, or what takes as long.
 */
class Search implements TargetSearch {
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
  readonly #known: KnownObjects;
  #steps: number;
  /** By kind and selector. */
  readonly #selected = new Map<string, readonly Labelled[]>();
  /** By what was selected. */
  readonly #targets = new Map<readonly SourceRecord[], readonly string[]>();
  /** By text. */
  readonly #readings = new Map<string, PemResult>();

  constructor(known: KnownObjects, now: number, steps: number) {
    this.#known = known;
    this.now = now;
    this.#steps = steps;
  }

  /** Whether all objects are known. */
  get synced(): boolean {
    return this.#known.synced;
  }

  /** Name of the trust namespace, if it is known. */
  get trustNamespace(): string | undefined {
    return this.#known.trustNamespace;
  }

  /** @throws {OutOfSteps} if fewer are left. */
  spend(steps: number): void {
    this.#steps -= steps;
    if (this.#steps < 0) throw new OutOfSteps();
  }

  /** The object of that kind and name in the trust namespace. */
  source(kind: TargetKind, name: string): SourceRecord | undefined {
    this.spend(1);
    return this.#known.source(kind, name);
  }

  /** The objects of that kind in the trust namespace that are selected. @throws {OutOfSteps} */
  sources(kind: TargetKind, selector: LabelSelectorSpec): readonly SourceRecord[] {
    return this.#select(kind, selector, () => this.#known.sources(kind));
  }

  /** The namespaces that are selected and may be written to. @throws {OutOfSteps} */
  namespaces(selector: LabelSelectorSpec): readonly NamespaceRecord[] {
    return this.#select("Namespace", selector, () => this.#known.namespaces());
  }

  /** Certificates in PEM. @throws {OutOfSteps} */
  pem(text: string): PemResult {
    let reading = this.#readings.get(text);
    if (reading === undefined) {
      this.spend(Math.ceil(text.length / BYTES_PER_STEP));
      reading = readPem(new TextEncoder().encode(text), this.#known.pem);
      this.#readings.set(text, reading);
    }
    return reading;
  }

  /** Names of those that are targets of Bundles, sorted. Found as part of the step that it took to select them. */
  targetsAmong(objects: readonly SourceRecord[]): readonly string[] {
    let targets = this.#targets.get(objects);
    if (targets === undefined) {
      targets = objects.filter(({ labels, output }) =>
        output !== undefined || Object.hasOwn(labels, BUNDLE_LABEL)
      )
        .map(({ name }) => name).sort();
      this.#targets.set(objects, targets);
    }
    return targets;
  }

  #select<T extends Labelled>(
    kind: string,
    selector: LabelSelectorSpec,
    objects: () => Iterable<T>,
  ): readonly T[] {
    const { matchLabels = {}, matchExpressions = [] } = selector;
    const requirements = Object.keys(matchLabels).length + matchExpressions.length;
    const terms = matchExpressions.reduce((sum, { values = [] }) => sum + values.length, requirements);
    this.spend(STEPS_PER_TERM * terms);
    const question = JSON.stringify([kind, matchLabels, matchExpressions]);
    const known = this.#selected.get(question);
    if (known !== undefined) {
      this.spend(known.length);
      // What is kept for a kind is of that kind.
      return known as readonly T[];
    }
    const { matches } = parseLabelSelector(selector);
    const selected: T[] = [];
    for (const object of objects()) {
      this.spend(1 + requirements);
      if (matches(object.labels)) selected.push(object);
    }
    this.#selected.set(question, selected);
    return selected;
  }
}

interface Labelled {
  readonly labels: Readonly<Record<string, string>>;
}

function sourceWarnings(
  { inLine, configMap, secret, useDefaultCAs }: BundleSource,
  path: string,
  own: OwnTargets,
  search: Search,
): Iterable<string> {
  // Beside default CAs, an empty text counts as none.
  if (inLine !== undefined && (inLine !== "" || useDefaultCAs === undefined)) {
    return inLineWarnings(inLine, `${path}.inLine`, search);
  }
  if (configMap !== undefined) {
    return objectWarnings(configMap, "ConfigMap", `${path}.configMap`, own, search);
  }
  if (secret !== undefined) return objectWarnings(secret, "Secret", `${path}.secret`, own, search);
  return [];
}

function* inLineWarnings(text: string, path: string, search: Search): Generator<string> {
  const reading = search.pem(text);
  if (!reading.ok) {
    const advice = reading.error.endsWith("'PKCS7'") ? "; convert it with openssl pkcs7 -print_certs" : "";
    yield `${path}: the Bundle will not sync: ${reading.error}${advice}`;
    return;
  }
  const lost = lostWarning(reading);
  if (lost !== undefined) yield `${path}: ${lost}`;
  for (const certificate of reading.certificates) {
    for (const warning of certificateWarnings(certificate, search.now)) yield `${path}: ${warning}`;
  }
}

/** What of a value is not read, what it looks like and what to do; undefined if all of it is. */
function lostWarning({ certificates, skipped }: PemCertificates): string | undefined {
  const { brokenBlocks, appearance } = skipped;
  if (appearance === undefined) return undefined;
  const { looksLike, advice } = APPEARANCES[appearance];
  if (brokenBlocks > 0) {
    return appearance === "noEnd" || appearance === "damaged"
      ? `${brokenBlocks} incomplete PEM blocks are skipped; complete them`
      : `${brokenBlocks} PEM blocks are skipped: it ${looksLike}; ${advice}`;
  }
  if (certificates.length > 0) return `not all in it is read: it ${looksLike}; ${advice}`;
  return appearance === "text" || appearance === "empty"
    ? "no certificate in it; add one in PEM"
    : `no certificate in it: it ${looksLike}; ${advice}`;
}

function certificateWarnings(certificate: Certificate, now: number): string[] {
  const problems: string[] = [];
  if (!certificate.isCa) problems.push("is a leaf, no CA; trust the root that issued it");
  else if (!isSelfIssued(certificate)) {
    problems.push("is an intermediate, which then cannot be rotated freely; trust its root");
  }
  const date = () => new Date(certificate.notAfter).toISOString().slice(0, 10);
  if (certificate.notAfter < now) problems.push(`expired on ${date()}; remove it`);
  else if (certificate.notAfter - now < EXPIRES_SOON_MS) {
    problems.push(`expires on ${date()}; add its successor`);
  }
  return problems.map((problem) => `${nameOf(certificate)} ${problem}`);
}

/** The subject, and of the hash what tells which one it is: subjects may be long, equal or empty. */
function nameOf(certificate: Certificate): string {
  const subject = subjectOf(certificate);
  return `${subject.length > 80 ? `${subject.slice(0, 79)}…` : subject} (${certificate.sha256.slice(0, 8)})`;
}

function* objectWarnings(
  object: SourceObjectSelector,
  kind: TargetKind,
  path: string,
  own: OwnTargets,
  search: Search,
): Generator<string> {
  const { name, selector, key, includeAllKeys } = object;
  const objects = selectedObjects(name, selector, kind, search);
  if (selector !== undefined && search.synced && objects.length === 0) {
    yield `${path}.selector: matches no ${kind} in the trust namespace now; check it, or label the sources`;
  }
  yield* targetSourceWarnings(object, objects, kind, path, own, search);
  if (key !== undefined && looksLikePrivateKey(key)) {
    yield `${path}.key: "${key}" looks like a private key, which is never distributed; use ca.crt`;
  } else if (kind === "Secret" && key === "tls.crt" && objects.some(isRenewed)) {
    yield `${path}.key: tls.crt of this Secret changes when the certificate is renewed, and what the former one issued is then ` +
      "distrusted at once; copy the root into a ConfigMap";
  }
  const tlsSecret = includeAllKeys === true ? objects.find(({ isTlsSecret }) => isTlsSecret) : undefined;
  if (tlsSecret !== undefined) {
    yield `${path}.includeAllKeys: the Bundle will not sync: Secret ${tlsSecret.name} is of type kubernetes.io/tls; name a key`;
  }
  // Of Secrets, what is in them is not told to whoever asks: the Bundle's event does.
  if (kind === "ConfigMap") yield* valueWarnings(object, objects, path, search);
}

/** How many names a warning has at most. */
const MOST_NAMES = 3;

/** Of sources that are targets: the Bundle's own are not read, and others may close a cycle. */
function* targetSourceWarnings(
  { name, selector, key }: SourceObjectSelector,
  objects: readonly SourceRecord[],
  kind: TargetKind,
  path: string,
  own: OwnTargets,
  search: Search,
): Generator<string> {
  if (selector === undefined) {
    const isOwn = name === own.bundle &&
      objects.some(({ output }) =>
        output !== undefined && output.bundle === name && (key === undefined || output.keys.includes(key))
      );
    if (isOwn) {
      yield `${path}.name: is the Bundle's own target; what the operator wrote there is not read; use another`;
    }
    return;
  }
  const targets = search.targetsAmong(objects);
  if (targets.length > 0) {
    const names = targets.slice(0, MOST_NAMES).join(", ");
    const more = targets.length > MOST_NAMES ? ` and ${targets.length - MOST_NAMES} more` : "";
    yield `${path}.selector: matches targets of Bundles (${names}${more}); name the sources, or give them a label that targets lack`;
  }
  if (targets.includes(own.bundle)) return;
  // It may be that there is none yet.
  const labels = own.everywhere ? own.labels[kind] : undefined;
  if (labels !== undefined && parseLabelSelector(selector).matches(labels)) {
    yield `${path}.selector: will match the Bundle's own target in the trust namespace, which is not read; give sources a label ` +
      "that targets lack";
  }
}

/** Values that give no certificate, or not all that is in them. */
function* valueWarnings(
  { key, includeAllKeys }: SourceObjectSelector,
  objects: readonly SourceRecord[],
  path: string,
  search: Search,
): Generator<string> {
  for (const { name, values, output } of objects) {
    const keys = key !== undefined && key !== ""
      ? [key]
      : includeAllKeys === true
      ? [...values.keys()].sort()
      : [];
    // To look one up is a small part of the step that it took to select the object.
    if (keys.length > 1) search.spend(keys.length);
    for (const wanted of keys) {
      const reading = values.get(wanted);
      if (reading === undefined || output?.keys.includes(wanted)) continue;
      const lost = reading.ok ? lostWarning(reading) : undefined;
      if (lost !== undefined) yield `${path}: ConfigMap ${name}, key "${wanted}": ${lost}`;
    }
  }
}

function selectedObjects(
  name: string | undefined,
  selector: LabelSelectorSpec | undefined,
  kind: TargetKind,
  search: Search,
): readonly SourceRecord[] {
  if (selector !== undefined) return search.sources(kind, selector);
  const found = name === undefined ? undefined : search.source(kind, name);
  return found === undefined ? [] : [found];
}

/** Whether cert-manager, or a tool like it, keeps renewing what is in the Secret. */
function isRenewed({ labels, isTlsSecret }: SourceRecord): boolean {
  return isTlsSecret || Object.hasOwn(labels, CERT_MANAGER_LABEL);
}

/** Such as `tls.key`, `ca-key.pem`, `private.pem`, `id_rsa`. */
function looksLikePrivateKey(key: string): boolean {
  return /(^|[^a-z])key([^a-z]|$)|private|^id_(rsa|ecdsa|ed25519)$/i.test(key);
}
