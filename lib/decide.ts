import type { TargetContent } from "./resolve.ts";
import { bundleNameOf, type TargetRecord } from "./records/target_record.ts";

/**
 * The next write that brings one target to what is wanted:
 * - `apply`: the whole content, with the owner reference;
 * - `share`: the content without the owner reference, since others own data in the same object;
 * - `clean`: takes out what is ours, but leaves label and owner reference, so that what is left can be found again;
 * - `delete`: deletes the object, of which nothing is left, or nothing can be taken out;
 * - `release`: takes out all that is ours, label and owner reference too, since others own data in the same object;
 * - `take over`: makes fields that were updated under our name fields that we applied;
 * - `keep`: none.
 */
export type Step = "apply" | "share" | "clean" | "delete" | "release" | "take over" | "keep";

/** The Bundle that a target belongs to. */
export interface Owner {
  readonly name: string;
  readonly uid: string;
  /**
   * The layout that targets without a layout annotation are known to have, by kind of target. The Go project writes none, nor did this
   * project at first.
   */
  readonly unmarkedLayouts?: Readonly<Partial<Record<TargetContent["kind"], string>>>;
}

/** What an answer of the API server showed beside the metadata. */
export interface Shown {
  /** Whether `managedFields` are at hand, as taking over fields needs them. */
  readonly managedFields: boolean;
  /** Whether the object holds no data; undefined if the answer had metadata only. */
  readonly isEmpty?: boolean | undefined;
}

/**
 * Decides what to do so that one target holds the latest version, or nothing of ours if none is wanted. Pure.
 *
 * @param shown what the answer to the last write showed; absent if the record is of the watch.
 */
export function decide(
  wanted: TargetContent | undefined,
  observed: TargetRecord | undefined,
  owner: Owner,
  shown: Shown = { managedFields: false },
): Step {
  if (wanted?.frozen === true) return "keep"; // the API server would refuse it
  const isRight = wanted !== undefined
    ? observed !== undefined && isCurrent(observed, wanted, owner)
    : observed === undefined || !isStale(observed, owner);
  if (isRight) return "keep";
  if (observed?.hasUpdates === true && shown.managedFields) return "take over";
  if (wanted !== undefined) return observed !== undefined && isShared(observed, wanted) ? "share" : "apply";
  if (observed?.foreignKeys.length !== 0 || shown.isEmpty === false) return "release";
  // An immutable one cannot be cleaned. Where `managedFields` were cleared, nobody knows whose the data is.
  const isOursForGood = observed.immutable && observed.owned !== "";
  return shown.isEmpty === true || isOursForGood ? "delete" : "clean";
}

/** Whether the target is ours and holds what is wanted. */
function isCurrent(observed: TargetRecord, wanted: TargetContent, owner: Owner): boolean {
  return observed.bundle === owner.name &&
    observed.hash === wanted.hash &&
    observed.owned === wanted.owned &&
    !observed.hasUpdates &&
    hasLayout(observed, wanted, owner) &&
    isOwned(observed, wanted, owner);
}

/** Whether others have data in the same object. One of our keys that somebody edited is not theirs: it is taken back. */
function isShared({ foreignKeys }: TargetRecord, { keys }: TargetContent): boolean {
  return foreignKeys.some((key) => !keys.includes(key));
}

/** With key stores, the same hash and the same keys can stand for other bytes: see {@linkcode layoutOf}. */
function hasLayout(observed: TargetRecord, wanted: TargetContent, owner: Owner): boolean {
  if (wanted.layout === undefined) return true;
  return (observed.layout ?? owner.unmarkedLayouts?.[wanted.kind]) === wanted.layout;
}

/** Where others own data, an owner reference would have the garbage collector delete it with the Bundle. */
function isOwned(observed: TargetRecord, wanted: TargetContent, owner: Owner): boolean {
  return isShared(observed, wanted)
    ? observed.bundleUid === owner.uid && !observed.ownsOwner
    : observed.bundleUid === undefined && observed.controllerUid === owner.uid;
}

/**
 * Whether a target that is not wanted still holds something of ours, or nothing at all (then it is to be deleted). The Bundle of a
 * `bundleUid` that is not the owner's is gone: names of Bundles are unique. Targets are named like their Bundle, so that no object is a
 * matter of two.
 */
function isStale(observed: TargetRecord, owner: Owner): boolean {
  return observed.name === owner.name && bundleNameOf(observed) === owner.name &&
    (observed.controllerUid === owner.uid || observed.bundleUid !== undefined) &&
    !observed.deleting &&
    (observed.owned !== "" || observed.ownsOwner || observed.hasUpdates || !observed.hasData);
}
