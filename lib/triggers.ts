import type { TargetKind } from "./api/bundle.ts";
import { parseLabelSelector } from "./api/label_selector.ts";
import type { Change } from "./kube/store.ts";
import type { BundleRecord } from "./records/bundle_record.ts";
import { isOwnOutput } from "./own_output.ts";
import { sameMap } from "./records/namespace_record.ts";
import { sameReading, type SourceRecord } from "./records/source_record.ts";

/** Whether a change of a ConfigMap or Secret in the trust namespace concerns `bundle`: by what it was, or by what it is now. Pure. */
export function concernsSource(
  bundle: BundleRecord,
  kind: TargetKind,
  change: Change<SourceRecord>,
): boolean {
  const { before, after } = change;
  const states = [before, after].filter((state) => state !== undefined);
  if (before !== undefined && after !== undefined && differOnlyInOwnOutput(bundle, kind, before, after)) {
    return false;
  }
  return bundle.sources.some((source) => {
    if (source.type !== kind) return false;
    const { name, selector } = source.object;
    if (name !== undefined && name !== "") return states.some((state) => state.name === name);
    try {
      const parsed = parseLabelSelector(selector);
      return states.some((state) => parsed.matches(state.labels));
    } catch {
      // The Bundle's own pass reports the bad selector; no object is selected by it.
      return false;
    }
  });
}

/** Whether all that changed is what the operator itself wrote for the Bundle, which is no source of it. */
function differOnlyInOwnOutput(
  bundle: BundleRecord,
  kind: TargetKind,
  before: SourceRecord,
  after: SourceRecord,
): boolean {
  if (before.output?.bundle !== bundle.name || after.output?.bundle !== bundle.name) return false;
  if (before.isTlsSecret !== after.isTlsSecret || !sameMap(before.labels, after.labels)) return false;
  const keys = new Set([...before.values.keys(), ...after.values.keys()]);
  return [...keys].every((key) => {
    const [a, b] = [before.values.get(key), after.values.get(key)];
    if (a === undefined || b === undefined) return false;
    const isOwn = isOwnOutput(bundle, kind, before, key);
    return isOwn === isOwnOutput(bundle, kind, after, key) && (isOwn || sameReading(a, b));
  });
}

/** Whether a Bundle must be resolved anew after a change of itself. A change of its status alone is no reason. Pure. */
export function changesBundle({ before, after }: Change<BundleRecord>): boolean {
  return before?.uid !== after?.uid || before?.generation !== after?.generation ||
    before?.deleting !== after?.deleting;
}

/** The Bundles that an object with our label may be a target of: those it names or named, and the one of its own name. Pure. */
export function bundlesOfTarget(
  change: {
    readonly before?: { name: string; bundle: string | undefined };
    readonly after?: { name: string; bundle: string | undefined };
  },
): Set<string> {
  const names = new Set<string>();
  for (const state of [change.before, change.after]) {
    if (state === undefined) continue;
    names.add(state.name);
    if (state.bundle !== undefined) names.add(state.bundle);
  }
  return names;
}
