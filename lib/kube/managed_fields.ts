import type { ManagedFieldsEntry } from "./objects.ts";

/**
 * Makes what `manager` owns by updates something that it owns by server-side apply, as client-go's package `csaupgrade` does: the
 * next apply then removes what it leaves out. Entries of other managers stay as they are. Pure.
 *
 * An apply alone does not do it: to the API server, an update and an apply under one name are two managers (KEP-555).
 *
 * @param subresource `status`, or empty for the object itself.
 * @returns the new entries; undefined if `manager` owns nothing by updates.
 */
export function takeOverUpdates(
  entries: readonly ManagedFieldsEntry[],
  manager: string,
  subresource = "",
): ManagedFieldsEntry[] | undefined {
  const isOurs = (entry: ManagedFieldsEntry, operation: string) =>
    entry.manager === manager && entry.operation === operation && (entry.subresource ?? "") === subresource;
  const updates = entries.filter((entry) => isOurs(entry, "Update"));
  const [first] = updates;
  if (first === undefined) return undefined;
  const applied = entries.find((entry) => isOurs(entry, "Apply")) ?? { ...first, operation: "Apply" };
  const fieldsV1 = [applied, ...updates].map((entry) => entry.fieldsV1 ?? {}).reduce(union);
  const others = entries.filter((entry) => entry !== applied && !updates.includes(entry));
  return [...others, { ...applied, fieldsV1 }];
}

/** Both sets of fields in one. */
function union(a: Record<string, unknown>, b: Record<string, unknown>): Record<string, unknown> {
  const result = { ...a };
  for (const [name, fields] of Object.entries(b)) {
    const held = result[name];
    result[name] = isFields(held) && isFields(fields) ? union(held, fields) : held ?? fields;
  }
  return result;
}

function isFields(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
