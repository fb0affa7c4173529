import { type PemOptions, type PemResult, readPem } from "../certs/pem.ts";
import type { ConfigMap, Secret } from "../kube/objects.ts";
import { sameMap } from "./namespace_record.ts";

/**
 * What is kept of a ConfigMap or Secret in the trust namespace: of each value only what reading it as PEM came to. The bytes
 * are dropped at once, so that a private key that lies in the trust namespace does not stay in this process.
 */
export interface SourceRecord {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Opaque; compared for equality only. */
  readonly resourceVersion: string;
  /** Whether it is a Secret of type `kubernetes.io/tls`. */
  readonly isTlsSecret: boolean;
  /** By key, of `data` and then `binaryData`. */
  readonly values: ReadonlyMap<string, PemResult>;
}

/** Reads a ConfigMap, once per change. */
export function readConfigMapSource(object: ConfigMap, pem: PemOptions = {}): SourceRecord {
  const values = new Map<string, PemResult>();
  const encoder = new TextEncoder();
  for (const [key, text] of Object.entries(object.data ?? {})) {
    values.set(key, readPem(encoder.encode(text), pem));
  }
  for (const [key, base64] of Object.entries(object.binaryData ?? {})) {
    if (!values.has(key)) values.set(key, readPem(Uint8Array.fromBase64(base64), pem));
  }
  return { ...identity(object), isTlsSecret: false, values };
}

/** Reads a Secret, once per change. */
export function readSecretSource(object: Secret, pem: PemOptions = {}): SourceRecord {
  const values = new Map<string, PemResult>();
  for (const [key, base64] of Object.entries(object.data ?? {})) {
    values.set(key, readPem(Uint8Array.fromBase64(base64), pem));
  }
  return { ...identity(object), isTlsSecret: object.type === "kubernetes.io/tls", values };
}

function identity(object: ConfigMap | Secret): Pick<SourceRecord, "name" | "labels" | "resourceVersion"> {
  return {
    name: object.metadata.name,
    labels: object.metadata.labels ?? {},
    resourceVersion: object.metadata.resourceVersion ?? "",
  };
}

/**
 * Whether no Bundle can tell the two apart: the same labels, and the same certificates or errors by key. (Annotations, key
 * order and other writers' bookkeeping change a source's resourceVersion all the time.)
 */
export function sameSource(a: SourceRecord, b: SourceRecord): boolean {
  if (a.resourceVersion === b.resourceVersion) return true;
  if (a.isTlsSecret !== b.isTlsSecret || a.values.size !== b.values.size || !sameMap(a.labels, b.labels)) {
    return false;
  }
  for (const [key, value] of a.values) {
    const other = b.values.get(key);
    if (other === undefined || !sameReading(value, other)) return false;
  }
  return true;
}

function sameReading(a: PemResult, b: PemResult): boolean {
  if (!a.ok || !b.ok) return !a.ok && !b.ok && a.error === b.error;
  return a.certificates.length === b.certificates.length &&
    a.certificates.every((certificate, index) => certificate.sha256 === b.certificates[index]?.sha256);
}
