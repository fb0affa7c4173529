import {
  BUNDLE_LABEL,
  BUNDLE_UID_ANNOTATION,
  FIELD_MANAGER,
  HASH_ANNOTATION,
  LAYOUT_ANNOTATION,
  type TargetKind,
} from "../api/bundle.ts";
import { BEFORE_FIRST_APPLY, type KubeObject, type ManagedFieldsEntry } from "../kube/objects.ts";

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
  /** Value of the layout annotation, if our field manager applied it. Targets without key stores have none. */
  readonly layout: string | undefined;
  /** UID of the controlling owner. */
  readonly controllerUid: string | undefined;
  /** UID of the Bundle in the annotation that takes the place of the owner reference where others own data. */
  readonly bundleUid: string | undefined;
  /** What our field manager applied, as {@linkcode ownedFields} writes it; empty if it owns nothing. */
  readonly owned: string;
  /** Whether our field manager applied an owner reference. */
  readonly ownsOwner: boolean;
  /**
   * Whether updates under our field manager's name own something that its applies do not own, or what these own is booked under
   * {@linkcode BEFORE_FIRST_APPLY} as well, so that no apply would ever remove it.
   */
  readonly hasUpdates: boolean;
  /** Data keys that others own and our field manager does not. */
  readonly foreignKeys: readonly string[];
  /** Whether any manager owns a data key. */
  readonly hasData: boolean;
  /** Whether somebody has made it immutable: then its data cannot be changed any more, only deleted with the object. */
  readonly immutable: boolean;
  /** Whether it is being deleted. */
  readonly deleting: boolean;
}

/** The fields of a target that the operator applies, and compares. */
export interface OwnedFields {
  readonly data: readonly string[];
  readonly binaryData: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Annotations that have a field of their own in {@linkcode TargetRecord}. */
const COMPARED_APART = new Set([LAYOUT_ANNOTATION, BUNDLE_UID_ANNOTATION]);

/**
 * Writes applied fields as one text, to be compared and kept cheaply: the keys of `data` and of `binaryData`, labels and annotations
 * with their values. The value of the hash annotation is left out, since it is compared apart.
 */
export function ownedFields({ data, binaryData, labels, annotations }: OwnedFields): string {
  const entries = (map: Readonly<Record<string, string>>) =>
    Object.keys(map).filter((key) => !COMPARED_APART.has(key)).sort().map((key) =>
      key === HASH_ANNOTATION ? [key] : [key, map[key]]
    );
  const fields = [[...data].sort(), [...binaryData].sort(), entries(labels), entries(annotations)];
  return fields.every(({ length }) => length === 0) ? "" : JSON.stringify(fields);
}

/**
 * Name of the Bundle that a target belongs to: what its label says; but where the annotation takes the place of the owner reference, its
 * own name, which is that of its Bundle: whoever changes the label gives the target to nobody else.
 */
export function bundleNameOf(
  { name, bundle, bundleUid }: Pick<TargetRecord, "name" | "bundle" | "bundleUid">,
): string | undefined {
  return bundleUid === undefined ? bundle : name;
}

/** Key of a target in its store. */
export function targetStoreKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

/**
 * Reads a ConfigMap or Secret, whole or metadata only.
 *
 * Who owns which field is in `managedFields` (KEP-555). A value that somebody else changes is not in the entry of our applies any
 * more. That holds for an update under our name too: its entry is another one, of operation `Update`.
 */
export function readTarget(kind: TargetKind, object: KubeObject): TargetRecord {
  const { metadata } = object;
  const applied = new Set<string>();
  const updated = new Set<string>();
  const foreign = new Set<string>();
  const nobodys = new Set<string>();
  for (const entry of metadata.managedFields ?? []) {
    const into = entry.manager !== FIELD_MANAGER ? foreign : entry.operation === "Apply" ? applied : updated;
    for (const leaf of leavesOf(kind, entry)) {
      into.add(leaf);
      if (entry.manager === BEFORE_FIRST_APPLY) nobodys.add(leaf);
    }
  }
  const isData = (leaf: string) => leaf.startsWith(DATA) || leaf.startsWith(BINARY_DATA);
  const isOurs = (leaf: string) => applied.has(leaf) || updated.has(leaf);
  const names = (prefix: string) =>
    [...applied].filter((leaf) => leaf.startsWith(prefix)).map((leaf) => leaf.slice(prefix.length));
  const values = (prefix: string, map: Readonly<Record<string, string>> = {}) =>
    Object.fromEntries(names(prefix).map((name) => [name, map[name] ?? ""]));
  const labels = values(LABELS, metadata.labels);
  const annotations = values(ANNOTATIONS, metadata.annotations);
  return {
    kind,
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid ?? "",
    resourceVersion: metadata.resourceVersion ?? "",
    bundle: metadata.labels?.[BUNDLE_LABEL],
    hash: metadata.annotations?.[HASH_ANNOTATION],
    layout: annotations[LAYOUT_ANNOTATION],
    controllerUid: metadata.ownerReferences?.find((owner) => owner.controller === true)?.uid,
    bundleUid: annotations[BUNDLE_UID_ANNOTATION],
    owned: ownedFields({ data: names(DATA), binaryData: names(BINARY_DATA), labels, annotations }),
    ownsOwner: names(OWNERS).length > 0,
    hasUpdates: [...updated].some((leaf) => !applied.has(leaf)) ||
      [...nobodys].some((leaf) => applied.has(leaf)),
    foreignKeys: [...foreign].filter((leaf) => isData(leaf) && !isOurs(leaf)).map((leaf) => leaf.slice(2)),
    hasData: [applied, updated, foreign].some((leaves) => [...leaves].some(isData)),
    // Nobody would set it to false: that is the default, and it cannot be taken back.
    immutable: metadata.managedFields?.some(({ fieldsV1 }) => fieldsV1?.["f:immutable"] !== undefined) ??
      false,
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

/**
 * Returns the record with the texts of `sibling` where they are equal. A thousand targets of one Bundle then hold one copy of what
 * they have in common.
 */
export function sharingTexts(record: TargetRecord, sibling: TargetRecord | undefined): TargetRecord {
  if (sibling === undefined) return record;
  const shared = <T>(own: T, other: T) => own === other ? other : own;
  return {
    ...record,
    name: shared(record.name, sibling.name),
    bundle: shared(record.bundle, sibling.bundle),
    hash: shared(record.hash, sibling.hash),
    layout: shared(record.layout, sibling.layout),
    controllerUid: shared(record.controllerUid, sibling.controllerUid),
    bundleUid: shared(record.bundleUid, sibling.bundleUid),
    owned: shared(record.owned, sibling.owned),
    foreignKeys: record.foreignKeys.length + sibling.foreignKeys.length === 0
      ? sibling.foreignKeys
      : record.foreignKeys,
  };
}

// A field is written as the letter of the map that it is in, and its name.
const DATA = "d/";
const BINARY_DATA = "b/";
const LABELS = "l/";
const ANNOTATIONS = "a/";
const OWNERS = "o/";

/** The fields of an entry that matter here. */
function leavesOf(kind: TargetKind, { fieldsV1 }: ManagedFieldsEntry): string[] {
  const metadata = childrenOf(fieldsV1, "f:metadata");
  const maps = [
    [DATA, childrenOf(fieldsV1, "f:data")],
    [BINARY_DATA, kind === "ConfigMap" ? childrenOf(fieldsV1, "f:binaryData") : {}],
    [LABELS, childrenOf(metadata, "f:labels")],
    [ANNOTATIONS, childrenOf(metadata, "f:annotations")],
  ] as const;
  const owners = Object.keys(childrenOf(metadata, "f:ownerReferences"));
  return [
    ...maps.flatMap(([prefix, children]) =>
      Object.keys(children).filter((name) => name.startsWith("f:")).map((name) => prefix + name.slice(2))
    ),
    ...owners.filter((name) => name.startsWith("k:")).map((name) => OWNERS + name),
  ];
}

function childrenOf(
  fields: Readonly<Record<string, unknown>> | undefined,
  name: string,
): Readonly<Record<string, unknown>> {
  const children = fields?.[name];
  return typeof children === "object" && children !== null ? children as Record<string, unknown> : {};
}
