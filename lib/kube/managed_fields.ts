import { BEFORE_FIRST_APPLY, type ManagedFieldsEntry } from "./objects.ts";

/**
 * Makes what `manager` owns by updates something that it owns by server-side apply, as client-go's package `csaupgrade` does: the
 * next apply then removes what it leaves out. What it applies and {@linkcode BEFORE_FIRST_APPLY} owns too becomes its own, since that is
 * nobody who would ever let go of it. Entries of other managers stay as they are. Pure.
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
  const held = entries.find((entry) => isOurs(entry, "Apply"));
  const applied = held ?? (first && { ...first, operation: "Apply" });
  if (applied === undefined) return undefined;
  const fieldsV1 = [applied, ...updates].map((entry) => entry.fieldsV1 ?? {}).reduce(union);
  let isSame = first === undefined;
  const others = entries.filter((entry) => entry !== applied && !updates.includes(entry)).flatMap((entry) => {
    const isNobodys = entry.manager === BEFORE_FIRST_APPLY && (entry.subresource ?? "") === subresource;
    const left = isNobodys ? difference(entry.fieldsV1 ?? {}, fieldsV1) : entry.fieldsV1;
    if (left === entry.fieldsV1) return [entry];
    isSame = false;
    return left === undefined ? [] : [{ ...entry, fieldsV1: left }];
  });
  return isSame ? undefined : [...others, { ...applied, fieldsV1 }];
}

/** Fields of `a` that `b` does not have: `a` itself if they have none in common, undefined if nothing is left. */
function difference(
  a: Record<string, unknown>,
  b: Record<string, unknown>,
): Record<string, unknown> | undefined {
  let result = a;
  for (const [name, fields] of Object.entries(a)) {
    const other = b[name];
    if (!isFields(fields) || !isFields(other) || name === ".") continue;
    // An item of a list is owned as a whole here.
    const isWhole = Object.keys(fields).length === 0 || name.startsWith("k:");
    const left = isWhole ? undefined : difference(fields, other);
    if (left === fields) continue;
    const { [name]: _, ...rest } = result;
    result = left === undefined ? rest : { ...rest, [name]: left };
  }
  // The map itself is nothing without its members.
  return result !== a && Object.keys(result).every((name) => name === ".") ? undefined : result;
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
