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
  /** Whether that annotation is our field manager's, and so goes when we stop to apply it. */
  readonly ownsHash: boolean;
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
  let ownsHash = false;
  for (const entry of metadata.managedFields ?? []) {
    const keys = dataKeys(kind, entry);
    hasData ||= keys.length > 0;
    if (entry.manager !== FIELD_MANAGER) continue;
    keys.forEach((key) => owned.add(key));
    ownsHash ||= fieldNames(fieldsOf(entry.fieldsV1, "f:metadata"), "f:annotations").includes(
      HASH_ANNOTATION,
    );
  }
  return {
    kind,
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid ?? "",
    resourceVersion: metadata.resourceVersion ?? "",
    bundle: metadata.labels?.[BUNDLE_LABEL],
    hash: metadata.annotations?.[HASH_ANNOTATION],
    ownsHash,
    controllerUid: metadata.ownerReferences?.find((owner) => owner.controller === true)?.uid,
    ownedKeys: keySet(owned),
    hasData,
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

function dataKeys(kind: TargetKind, { fieldsV1 }: ManagedFieldsEntry): string[] {
  const fields = kind === "ConfigMap" ? ["f:data", "f:binaryData"] : ["f:data"];
  return fields.flatMap((field) => fieldNames(fieldsV1, field));
}

/** The names that are owned below `field`. */
function fieldNames(fields: Readonly<Record<string, unknown>> | undefined, field: string): string[] {
  return Object.keys(fieldsOf(fields, field)).filter((name) => name.startsWith("f:")).map((name) =>
    name.slice(2)
  );
}

function fieldsOf(
  fields: Readonly<Record<string, unknown>> | undefined,
  field: string,
): Readonly<Record<string, unknown>> {
  const children = fields?.[field];
  return typeof children === "object" && children !== null ? children as Record<string, unknown> : {};
}
