import type { BundleSource, LabelSelectorSpec, SourceObjectSelector, TargetKind } from "../lib/api/bundle.ts";
import type { DecodedBundle } from "../lib/api/decode_bundle.ts";
import { parseLabelSelector } from "../lib/api/label_selector.ts";
import type { Certificate } from "../lib/certs/certificate.ts";
import { readPem } from "../lib/certs/pem.ts";
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
 * What a user should know about a valid Bundle, short and with advice: certificates and keys that do not belong into a trust
 * bundle, and selectors that match nothing at present. Pure.
 *
 * @param now milliseconds since the Unix epoch.
 */
export function admissionWarnings({ spec }: DecodedBundle, known: KnownObjects, now: number): string[] {
  const warnings = new Set<string>();
  spec.sources.forEach((source, index) => {
    for (const warning of sourceWarnings(source, `spec.sources[${index}]`, known, now)) warnings.add(warning);
  });
  const selector = spec.target?.namespaceSelector;
  if (selector !== undefined && known.synced && matchesNone(selector, known.namespaces())) {
    warnings.add(
      "spec.target.namespaceSelector: matches no namespace now; check it, or label the namespaces",
    );
  }
  const all = [...warnings].map((text) => text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);
  return all.length <= MOST ? all : [...all.slice(0, MOST - 1), `and ${all.length - MOST + 1} more warnings`];
}

function sourceWarnings(source: BundleSource, path: string, known: KnownObjects, now: number): string[] {
  if (source.inLine !== undefined) return inLineWarnings(source.inLine, `${path}.inLine`, now);
  if (source.configMap !== undefined) {
    return objectWarnings(source.configMap, "ConfigMap", `${path}.configMap`, known);
  }
  if (source.secret !== undefined) return objectWarnings(source.secret, "Secret", `${path}.secret`, known);
  return [];
}

function inLineWarnings(text: string, path: string, now: number): string[] {
  const reading = readPem(new TextEncoder().encode(text));
  if (!reading.ok) return [`${path}: the Bundle will not sync: ${reading.error}`];
  const warnings: string[] = [];
  const { brokenBlocks } = reading.skipped;
  if (brokenBlocks > 0) {
    warnings.push(`${path}: ${brokenBlocks} incomplete PEM blocks are skipped; complete them`);
  } else if (reading.certificates.length === 0) {
    warnings.push(`${path}: no certificate in it; add one in PEM`);
  }
  for (const certificate of reading.certificates) {
    warnings.push(...certificateWarnings(certificate, now).map((warning) => `${path}: ${warning}`));
  }
  return warnings;
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

function objectWarnings(
  object: SourceObjectSelector,
  kind: TargetKind,
  path: string,
  known: KnownObjects,
): string[] {
  const { name, selector, key, includeAllKeys } = object;
  const warnings: string[] = [];
  if (selector !== undefined && known.synced && matchesNone(selector, known.sources(kind))) {
    warnings.push(
      `${path}.selector: matches no ${kind} in the trust namespace now; check it, or label the sources`,
    );
  }
  const objects = selectedObjects(name, selector, kind, known);
  if (key !== undefined && looksLikePrivateKey(key)) {
    warnings.push(`${path}.key: "${key}" looks like a private key, which is never distributed; use ca.crt`);
  } else if (kind === "Secret" && key === "tls.crt" && objects.some(isRenewed)) {
    warnings.push(
      `${path}.key: tls.crt of this Secret changes when the certificate is renewed, and what the former one issued is then ` +
        "distrusted at once; copy the root into a ConfigMap",
    );
  }
  const tlsSecret = includeAllKeys === true ? objects.find(({ isTlsSecret }) => isTlsSecret) : undefined;
  if (tlsSecret !== undefined) {
    warnings.push(
      `${path}.includeAllKeys: the Bundle will not sync: Secret ${tlsSecret.name} is of type kubernetes.io/tls; name a key`,
    );
  }
  return warnings;
}

function selectedObjects(
  name: string | undefined,
  selector: LabelSelectorSpec | undefined,
  kind: TargetKind,
  known: KnownObjects,
): SourceRecord[] {
  if (selector !== undefined) {
    const parsed = parseLabelSelector(selector);
    return [...known.sources(kind)].filter(({ labels }) => parsed.matches(labels));
  }
  const found = name === undefined ? undefined : known.source(kind, name);
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

function matchesNone(
  selector: LabelSelectorSpec,
  objects: Iterable<{ readonly labels: Readonly<Record<string, string>> }>,
): boolean {
  const parsed = parseLabelSelector(selector);
  for (const { labels } of objects) {
    if (parsed.matches(labels)) return false;
  }
  return true;
}
