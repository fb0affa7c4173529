import type { KubeObject, ManagedFieldsEntry, OwnerReference } from "../lib/kube/objects.ts";

/** An object, as far as fields of it can be owned here. */
interface Fields extends KubeObject {
  data?: Record<string, unknown>;
  binaryData?: Record<string, unknown>;
  status?: { conditions?: { type: string }[] } & Record<string, unknown>;
}

/** A field, as the names that lead to it in `fieldsV1`, joined by newlines. */
type Leaf = string;

/**
 * Server-side apply with force (KEP-555), of the fields that Bundles and targets have: data, labels, annotations, owner
 * references and status. An object that nobody owns anything of is booked under `before-first-apply` first. Pure.
 *
 * @param held the object as it is; undefined if there is none.
 * @param subresource applies to nothing else: `status`, or empty.
 */
export function serverSideApply(
  held: KubeObject | undefined,
  patch: KubeObject,
  manager: string,
  subresource = "",
): KubeObject {
  const { name, namespace } = patch.metadata;
  const { apiVersion, kind } = patch;
  const result =
    (held === undefined
      ? { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } }
      : structuredClone(held)) as Fields;
  const wanted = leavesOf(patch, subresource);
  const current = leavesOf(result, subresource);
  const entries = result.metadata.managedFields ?? [];
  const isOurs = (entry: ManagedFieldsEntry) =>
    entry.manager === manager && entry.operation === "Apply" && (entry.subresource ?? "") === subresource;
  const all = entries.map((entry) => ({ entry, leaves: ownedLeaves(entry) }));
  if (held !== undefined && entries.length === 0 && subresource === "") {
    const entry = { manager: "before-first-apply", operation: "Update" };
    all.push({ entry, leaves: new Set(current.keys()) });
  }
  const others = all.filter(({ entry }) => !isOurs(entry));
  let own = all.find(({ entry }) => isOurs(entry));
  if (own === undefined) {
    const entry = { manager, operation: "Apply", ...(subresource === "" ? {} : { subresource }) };
    all.push(own = { entry, leaves: new Set() });
  }
  for (const [leaf, value] of wanted) {
    if (JSON.stringify(current.get(leaf)) === JSON.stringify(value)) continue;
    put(result, leaf, value);
    others.forEach(({ leaves }) => leaves.delete(leaf));
  }
  for (const leaf of own.leaves) {
    if (!wanted.has(leaf) && !others.some(({ leaves }) => leaves.has(leaf))) put(result, leaf, undefined);
  }
  own.leaves = new Set(wanted.keys());
  setEntries(result, all);
  return result;
}

/** As `kubectl edit` by `manager`: what it changes becomes its own, what it removes nobody's. Pure. */
export function update(held: KubeObject, manager: string, change: (object: KubeObject) => void): KubeObject {
  const result = structuredClone(held) as Fields;
  change(result);
  const before = leavesOf(held, "");
  const after = leavesOf(result, "");
  const changed = [...after.keys()].filter((leaf) =>
    JSON.stringify(after.get(leaf)) !== JSON.stringify(before.get(leaf))
  );
  const gone = [...before.keys()].filter((leaf) => !after.has(leaf));
  const entries = (result.metadata.managedFields ?? []).map((entry) => ({
    entry,
    leaves: ownedLeaves(entry),
  }));
  let own = entries.find(({ entry }) => entry.manager === manager && entry.operation === "Update");
  if (own === undefined) entries.push(own = { entry: { manager, operation: "Update" }, leaves: new Set() });
  for (const { leaves } of entries) [...changed, ...gone].forEach((leaf) => leaves.delete(leaf));
  for (const leaf of changed) own.leaves.add(leaf);
  setEntries(result, entries);
  return result;
}

function leavesOf(object: KubeObject, subresource: string): Map<Leaf, unknown> {
  const { data, binaryData, status, metadata } = object as Fields;
  const leaves = new Map<Leaf, unknown>();
  const add = (path: string[], map: Readonly<Record<string, unknown>> | undefined) => {
    for (const [key, value] of Object.entries(map ?? {})) leaves.set([...path, `f:${key}`].join("\n"), value);
  };
  if (subresource === "status") {
    const { conditions, ...rest } = status ?? {};
    add(["f:status"], rest);
    for (const condition of conditions ?? []) {
      leaves.set(["f:status", "f:conditions", item({ type: condition.type })].join("\n"), condition);
    }
    return leaves;
  }
  add(["f:data"], data);
  add(["f:binaryData"], binaryData);
  add(["f:metadata", "f:labels"], metadata.labels);
  add(["f:metadata", "f:annotations"], metadata.annotations);
  for (const owner of metadata.ownerReferences ?? []) {
    leaves.set(["f:metadata", "f:ownerReferences", item({ uid: owner.uid })].join("\n"), owner);
  }
  return leaves;
}

/** Sets the value at `leaf`, or removes it. */
function put(object: Fields, leaf: Leaf, value: unknown): void {
  const names = leaf.split("\n").map((name) => name.startsWith("f:") ? name.slice(2) : name);
  const last = names.pop() ?? "";
  let place = object as unknown as Record<string, unknown>;
  const list = names.at(-1);
  if (list === "conditions" || list === "ownerReferences") {
    names.pop();
    for (const name of names) place = (place[name] ??= {}) as Record<string, unknown>;
    const key = (entry: unknown) =>
      item(
        list === "conditions"
          ? { type: (entry as { type: string }).type }
          : { uid: (entry as OwnerReference).uid },
      );
    const rest = ((place[list] ?? []) as unknown[]).filter((entry) => key(entry) !== last);
    place[list] = value === undefined ? rest : [...rest, value];
    return;
  }
  for (const name of names) place = (place[name] ??= {}) as Record<string, unknown>;
  if (value === undefined) delete place[last];
  else place[last] = value;
}

function item(key: Readonly<Record<string, string>>): string {
  return `k:${JSON.stringify(key)}`;
}

function ownedLeaves({ fieldsV1 }: ManagedFieldsEntry): Set<Leaf> {
  const leaves = new Set<Leaf>();
  const walk = (value: unknown, path: string[]) => {
    const children = Object.entries(value as Record<string, unknown>);
    if (children.length === 0 && path.length > 0) leaves.add(path.join("\n"));
    for (const [name, child] of children) walk(child, [...path, name]);
  };
  walk(fieldsV1 ?? {}, []);
  return leaves;
}

function setEntries(
  object: KubeObject,
  entries: readonly { entry: ManagedFieldsEntry; leaves: ReadonlySet<Leaf> }[],
): void {
  object.metadata.managedFields = entries.filter(({ leaves }) => leaves.size > 0).map(({ entry, leaves }) => {
    const fieldsV1: Record<string, unknown> = {};
    for (const leaf of leaves) {
      let place = fieldsV1;
      for (const name of leaf.split("\n")) place = (place[name] ??= {}) as Record<string, unknown>;
    }
    return { ...entry, fieldsV1 };
  });
}
