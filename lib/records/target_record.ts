import { BUNDLE_LABEL, FIELD_MANAGER, HASH_ANNOTATION, type TargetKind } from "../api/bundle.ts";
import type { KubeObject, ManagedFieldsEntry } from "../kube/objects.ts";

/** What is kept of an object that carries the bundle label: enough to tell whether it must be written, and no content. */
export interface TargetRecord {
  readonly kind: TargetKind;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Opaque; compared for equality only. */
  readonly resourceVersion: string;
  /** Value of the bundle label. */
  readonly bundle: string | undefined;
  /** Value of the hash annotation. */
  readonly hash: string | undefined;
  /** UID of the controlling owner. */
  readonly controllerUid: string | undefined;
  /** Data keys that our field manager owns, as {@linkcode keySet} writes them. */
  readonly ownedKeys: string;
  /** Whether any manager owns a data key. */
  readonly hasData: boolean;
  /** Whether it is being deleted. */
  readonly deleting: boolean;
}

/** A set of data keys as one string, to be compared and kept cheaply. Keys cannot contain `/`. */
export function keySet(keys: Iterable<string>): string {
  return [...keys].sort().join("/");
}

/** Key of a target in its store. */
export function targetStoreKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/**
 * Reads a ConfigMap or Secret, whole or metadata only.
 *
 * Who owns which data key is in `managedFields` (KEP-555): `f:data` and, of ConfigMaps, `f:binaryData`, each with one `f:<key>` a key.
 */
export function readTarget(kind: TargetKind, object: KubeObject): TargetRecord {
  const { metadata } = object;
  const owned = new Set<string>();
  let hasData = false;
  for (const entry of metadata.managedFields ?? []) {
    const keys = dataKeys(kind, entry);
    hasData ||= keys.length > 0;
    if (entry.manager === FIELD_MANAGER) keys.forEach((key) => owned.add(key));
  }
  return {
    kind,
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid ?? "",
    resourceVersion: metadata.resourceVersion ?? "",
    bundle: metadata.labels?.[BUNDLE_LABEL],
    hash: metadata.annotations?.[HASH_ANNOTATION],
    controllerUid: metadata.ownerReferences?.find((owner) => owner.controller === true)?.uid,
    ownedKeys: keySet(owned),
    hasData,
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

function dataKeys(kind: TargetKind, entry: ManagedFieldsEntry): string[] {
  const keys: string[] = [];
  for (const field of kind === "ConfigMap" ? ["f:data", "f:binaryData"] : ["f:data"]) {
    const children = entry.fieldsV1?.[field];
    if (typeof children !== "object" || children === null) continue;
    for (const child of Object.keys(children)) {
      if (child.startsWith("f:")) keys.push(child.slice(2));
    }
  }
  return keys;
}
