import type { TargetContent } from "./resolve.ts";
import type { TargetRecord } from "./records/target_record.ts";

/** What to do with one target: write it, take our part out of it, or leave it. */
export type Step = "apply" | "clean" | "keep";

/** Who a target must be controlled by. */
export interface Owner {
  readonly name: string;
  readonly uid: string;
}

/** What to do so that one target holds the latest version, or nothing of ours if none is wanted. Pure. */
export function decide(
  wanted: TargetContent | undefined,
  observed: TargetRecord | undefined,
  owner: Owner,
): Step {
  if (wanted === undefined) return observed !== undefined && isStale(observed, owner) ? "clean" : "keep";
  return observed !== undefined && isCurrent(observed, wanted, owner) ? "keep" : "apply";
}

/** Whether the target is ours and holds what is wanted. Labels and annotations of the user are part of the hash. */
function isCurrent(observed: TargetRecord, wanted: TargetContent, owner: Owner): boolean {
  return observed.controllerUid === owner.uid &&
    observed.bundle === owner.name &&
    observed.hash === wanted.hash &&
    observed.ownedKeys === wanted.keys;
}

/**
 * Whether a target that is not wanted still holds something of ours, or nothing at all (then it is to be deleted). One that
 * was cleaned and kept, because others have data in it, is left alone.
 */
function isStale(observed: TargetRecord, owner: Owner): boolean {
  return observed.bundle === owner.name &&
    observed.controllerUid === owner.uid &&
    !observed.deleting &&
    (observed.ownedKeys !== "" || observed.ownsHash || !observed.hasData);
}
