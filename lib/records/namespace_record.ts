import type { KubeObject } from "../kube/objects.ts";

/** What is kept of a namespace. */
export interface NamespaceRecord {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it is being deleted. Metadata has no phase; the deletion timestamp says the same. */
  readonly terminating: boolean;
}

/** Reads a Namespace, whole or metadata only. */
export function readNamespace(object: KubeObject): NamespaceRecord {
  const { name, labels, deletionTimestamp } = object.metadata;
  return { name, labels: labels ?? {}, terminating: deletionTimestamp !== undefined };
}

/** Whether both say the same. */
export function sameNamespace(a: NamespaceRecord, b: NamespaceRecord): boolean {
  return a.terminating === b.terminating && sameMap(a.labels, b.labels);
}

/** Whether two flat maps are equal. */
export function sameMap(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
