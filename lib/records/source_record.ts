import { BUNDLE_API_VERSION, BUNDLE_LABEL, BUNDLE_UID_ANNOTATION, FIELD_MANAGER } from "../api/bundle.ts";
import { type PemOptions, type PemResult, readPem } from "../certs/pem.ts";
import type { ConfigMap, ObjectMeta, Secret } from "../kube/objects.ts";
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
  /** Whose target it is, by label or owner; absent if it is none. */
  readonly output?: SourceOutput;
}

/** Of an object that is the target of a Bundle: what the operator wrote into it, which is no source of that Bundle. */
export interface SourceOutput {
  /** Name of the Bundle, which is also that of the object. */
  readonly bundle: string;
  /** The data keys that our field manager owns, sorted. Others are a user's. */
  readonly keys: readonly string[];
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

function identity(
  object: ConfigMap | Secret,
): Pick<SourceRecord, "name" | "labels" | "resourceVersion" | "output"> {
  const output = outputOf(object);
  return {
    name: object.metadata.name,
    labels: object.metadata.labels ?? {},
    resourceVersion: object.metadata.resourceVersion ?? "",
    ...(output === undefined ? {} : { output }),
  };
}

/**
 * Of another name than its Bundle no target is: a copy of one is a user's. The label is enough, as the owner may be a former Bundle
 * of that name; so is the owner, or the annotation in its place, if somebody took the label away.
 */
function outputOf({ metadata }: ConfigMap | Secret): SourceOutput | undefined {
  const { name, labels, annotations = {}, ownerReferences = [] } = metadata;
  const isOurs = labels?.[BUNDLE_LABEL] === name || Object.hasOwn(annotations, BUNDLE_UID_ANNOTATION) ||
    ownerReferences.some((owner) =>
      owner.controller === true && owner.kind === "Bundle" && owner.apiVersion === BUNDLE_API_VERSION &&
      owner.name === name
    );
  return isOurs ? { bundle: name, keys: ownedDataKeys(metadata) } : undefined;
}

/** Who owns which data key is in `managedFields` (KEP-555). Old versions of the Go project wrote by update, under the same name. */
function ownedDataKeys({ managedFields = [] }: ObjectMeta): string[] {
  const keys = new Set<string>();
  for (const { manager, fieldsV1 } of managedFields) {
    if (manager !== FIELD_MANAGER) continue;
    for (const field of ["f:data", "f:binaryData"]) {
      for (const name of Object.keys(fieldsV1?.[field] ?? {})) {
        if (name.startsWith("f:")) keys.add(name.slice(2));
      }
    }
  }
  return [...keys].sort();
}

/**
 * Whether no Bundle can tell the two apart: the same labels, and the same certificates or errors by key, of which the same are the
 * operator's own. (Annotations, key order and other writers' bookkeeping change a source's resourceVersion all the time.)
 */
export function sameSource(a: SourceRecord, b: SourceRecord): boolean {
  if (a.resourceVersion === b.resourceVersion) return true;
  if (a.isTlsSecret !== b.isTlsSecret || a.values.size !== b.values.size || !sameMap(a.labels, b.labels)) {
    return false;
  }
  if (a.output?.bundle !== b.output?.bundle || a.output?.keys.join("/") !== b.output?.keys.join("/")) {
    return false;
  }
  for (const [key, value] of a.values) {
    const other = b.values.get(key);
    if (other === undefined || !sameReading(value, other)) return false;
  }
  return true;
}

/** Whether both values came to the same, and are told of in the same words. */
export function sameReading(a: PemResult, b: PemResult): boolean {
  if (!a.ok || !b.ok) return !a.ok && !b.ok && a.error === b.error;
  const { skipped } = b;
  return a.skipped.brokenBlocks === skipped.brokenBlocks && a.skipped.appearance === skipped.appearance &&
    a.skipped.certificates.join() === skipped.certificates.join() &&
    a.certificates.length === b.certificates.length &&
    a.certificates.every((certificate, index) => certificate.sha256 === b.certificates[index]?.sha256);
}
