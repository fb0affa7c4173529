import type { BundleSource, LabelSelectorSpec, SourceObjectSelector, TargetKind } from "../lib/api/bundle.ts";
import type { DecodedBundle } from "../lib/api/decode_bundle.ts";
import { parseLabelSelector } from "../lib/api/label_selector.ts";
import type { Certificate } from "../lib/certs/certificate.ts";
import { type PemResult, readPem } from "../lib/certs/pem.ts";
import { isSelfIssued } from "../lib/certs/self_issued.ts";
import { subjectOf } from "../lib/certs/subject.ts";
import type { NamespaceRecord } from "../lib/records/namespace_record.ts";
import type { SourceRecord } from "../lib/records/source_record.ts";

/** What is known of the cluster without asking it. */
export interface KnownObjects {
  /** Whether the following is complete; until then nothing is said about it. */
  readonly synced: boolean;
  /** The objects of that kind in the trust namespace. */
  sources(kind: TargetKind): Iterable<SourceRecord>;
  /** The object of that kind and name in the trust namespace. */
  source(kind: TargetKind, name: string): SourceRecord | undefined;
  /** The namespaces that targets may be written to. */
  namespaces(): Iterable<NamespaceRecord>;
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
 * bundle, and selectors that match nothing at present. Pure.
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

function* allWarnings({ spec }: DecodedBundle, search: Search): Generator<string> {
  for (const [index, source] of spec.sources.entries()) {
    search.spend(1);
    yield* sourceWarnings(source, `spec.sources[${index}]`, search);
  }
  const selector = spec.target?.namespaceSelector;
  if (selector !== undefined && search.synced && search.namespaces(selector).length === 0) {
    yield "spec.target.namespaceSelector: matches no namespace now; check it, or label the namespaces";
  }
}

/** There are no steps left. */
class OutOfSteps extends Error {
  override readonly name = "OutOfSteps";
}

/**
 * Answers questions about the known objects for one Bundle, each distinct one once. A step is one source, one object, one requirement
 * that an object is compared with, or what takes as long.
 */
class Search {
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
  readonly #known: KnownObjects;
  #steps: number;
  /** By kind and selector. */
  readonly #selected = new Map<string, readonly Labelled[]>();
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
      reading = readPem(new TextEncoder().encode(text));
      this.#readings.set(text, reading);
    }
    return reading;
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

function sourceWarnings(source: BundleSource, path: string, search: Search): Iterable<string> {
  if (source.inLine !== undefined) return inLineWarnings(source.inLine, `${path}.inLine`, search);
  if (source.configMap !== undefined) {
    return objectWarnings(source.configMap, "ConfigMap", `${path}.configMap`, search);
  }
  if (source.secret !== undefined) return objectWarnings(source.secret, "Secret", `${path}.secret`, search);
  return [];
}

function* inLineWarnings(text: string, path: string, search: Search): Generator<string> {
  const reading = search.pem(text);
  if (!reading.ok) {
    yield `${path}: the Bundle will not sync: ${reading.error}`;
    return;
  }
  const { brokenBlocks } = reading.skipped;
  if (brokenBlocks > 0) {
    yield `${path}: ${brokenBlocks} incomplete PEM blocks are skipped; complete them`;
  } else if (reading.certificates.length === 0) {
    yield `${path}: no certificate in it; add one in PEM`;
  }
  for (const certificate of reading.certificates) {
    for (const warning of certificateWarnings(certificate, search.now)) yield `${path}: ${warning}`;
  }
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
  search: Search,
): Generator<string> {
  const { name, selector, key, includeAllKeys } = object;
  const objects = selectedObjects(name, selector, kind, search);
  if (selector !== undefined && search.synced && objects.length === 0) {
    yield `${path}.selector: matches no ${kind} in the trust namespace now; check it, or label the sources`;
  }
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
