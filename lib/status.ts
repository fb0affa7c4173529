import { SYNCED, type TargetKind } from "./api/bundle.ts";
import type { Condition } from "./kube/objects.ts";
import type { BundleRecord } from "./records/bundle_record.ts";
import type { Resolution } from "./resolve.ts";

/** A target that could not be written. */
export interface TargetFailure {
  readonly kind: TargetKind;
  readonly namespace: string;
  /** `failed to patch ConfigMap <ns>/<name>: <the API server's message>`. */
  readonly cause: string;
}

/** `metav1.Condition` takes messages of up to this many characters (code points; these are never more than UTF-16 units). */
const MAX_MESSAGE = 32_768;

/** What the status of a Bundle should say. */
export interface DesiredStatus {
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
  /** Text of the event; differs from `message` where a target failed. */
  readonly note: string;
  readonly defaultCaVersion: string | undefined;
}

/**
 * Folds what a pass found, and what became of each target, into one status. Pure.
 *
 * @param failures the targets that could not be written.
 * @param limited whether the operator is limited to some namespaces (`--target-namespaces`).
 * @param storedDefaultCaVersion kept while something fails: it changes once all targets are right.
 */
export function foldStatus(
  resolution: Resolution,
  failures: Iterable<TargetFailure>,
  limited: boolean,
  storedDefaultCaVersion: string | undefined,
): DesiredStatus {
  if (!resolution.ok) {
    const { reason } = resolution.problem;
    const message = cut(resolution.problem.message);
    return { status: "False", reason, message, note: message, defaultCaVersion: storedDefaultCaVersion };
  }
  const short = resolution.version.contents.find(({ shortfall }) => shortfall !== undefined);
  const [first, ...others] = [...failures].sort(byNamespace);
  if (short !== undefined) {
    // It is the same in all namespaces, and lasts: whatever else fails in some of them can wait.
    const more = first === undefined ? "" : ` (and ${others.length + 1} more)`;
    const inFull = short.frozen === true ? "" : " in full";
    const message = `${
      cut(`Failed to sync bundle ${short.kind} to any namespace${inFull}: ${short.shortfall}`)
    }${more}`;
    return {
      status: "False",
      reason: `Sync${short.kind}TargetFailed`,
      message,
      note: message,
      defaultCaVersion: storedDefaultCaVersion,
    };
  }
  if (first !== undefined) {
    const { kind, namespace, cause } = first;
    const more = others.length > 0 ? ` (and ${others.length} more)` : "";
    return {
      status: "False",
      reason: `Sync${kind}TargetFailed`,
      message: `${
        cut(`Failed to sync bundle ${kind} to namespace ${JSON.stringify(namespace)}: ${cause}`)
      }${more}`,
      note: `Failed to sync target ${kind} in Namespace ${JSON.stringify(namespace)}: ${cause}${more}`,
      defaultCaVersion: storedDefaultCaVersion,
    };
  }
  const allowed = limited ? "allowed " : "";
  const message = cut(
    resolution.selector.empty
      ? `Successfully synced Bundle to all ${allowed}namespaces`
      : `Successfully synced Bundle to ${allowed}namespaces that match this label selector: ${resolution.selector}`,
  );
  return {
    status: "True",
    reason: "Synced",
    message,
    note: message,
    defaultCaVersion: resolution.defaultCaVersion,
  };
}

function byNamespace(a: TargetFailure, b: TargetFailure): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return a.kind < b.kind ? -1 : 1;
}

/** Whether the condition says something else than the one that is stored. Then an event is due. */
export function conditionDiffers(desired: DesiredStatus, stored: Condition | undefined): boolean {
  return stored?.status !== desired.status || stored.reason !== desired.reason ||
    stored.message !== desired.message;
}

/** Whether the stored status must be written. */
export function statusDiffers(desired: DesiredStatus, bundle: BundleRecord): boolean {
  return conditionDiffers(desired, bundle.condition) ||
    bundle.condition?.observedGeneration !== bundle.generation ||
    bundle.defaultCaVersion !== desired.defaultCaVersion;
}

/**
 * The status to apply: all that is ours, nothing else.
 *
 * @param now milliseconds since the Unix epoch; becomes `lastTransitionTime` if the condition's `status` changes.
 */
export function statusBody(desired: DesiredStatus, bundle: BundleRecord, now: number) {
  const { condition: stored, generation } = bundle;
  const condition: Condition = {
    type: SYNCED,
    status: desired.status,
    reason: desired.reason,
    message: desired.message,
    observedGeneration: generation,
    lastTransitionTime: stored?.status === desired.status ? stored.lastTransitionTime : rfc3339(now),
  };
  return {
    conditions: [condition],
    ...(desired.defaultCaVersion === undefined ? {} : { defaultCAVersion: desired.defaultCaVersion }),
  };
}

/**
 * `message` if the API server takes it, with some room for what is added; else its beginning, and `…`. Never half a character: the
 * API server would store another one in its place, and the condition would differ from what is wanted for ever.
 */
function cut(message: string): string {
  const whole = message.toWellFormed();
  if (whole.length <= MAX_MESSAGE - 100) return whole;
  // Half a surrogate pair at the end, if any, is dropped.
  return `${whole.slice(0, MAX_MESSAGE - 101).replace(/[\ud800-\udbff]$/, "")}…`;
}

/** RFC 3339 in whole seconds, as `metav1.Time` prints. */
function rfc3339(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}
