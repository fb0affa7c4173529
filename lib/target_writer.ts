import type { TargetKind } from "./api/bundle.ts";
import { WriteError, type Writer, type WrittenTarget } from "./apply.ts";
import { decide, type Owner, type Step } from "./decide.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { OwnWrites } from "./own_writes.ts";
import { type TargetRecord, targetStoreKey } from "./records/target_record.ts";
import type { TargetContent } from "./resolve.ts";

/** How many writes one target takes at most; usually it is one. */
const MAX_STEPS = 6;

/** Which object a target is. */
export interface TargetPlace {
  readonly kind: TargetKind;
  readonly namespace: string;
  readonly name: string;
}

/** What {@linkcode TargetWriter.bring} came to. */
export interface Brought {
  /** The last state that is known of the target, written or observed; undefined if it was not there. */
  readonly record: TargetRecord | undefined;
  /** `kept`: nothing had to be written. `unchanged`: what was sent changed nothing. */
  readonly outcome: "kept" | "changed" | "unchanged" | "failed";
  /** Why it failed. */
  readonly error?: unknown;
}

/** What a {@linkcode TargetWriter} works with. */
export interface TargetWriterOptions {
  readonly writer: Writer;
  readonly ownWrites: OwnWrites;
  readonly metrics: Metrics;
  readonly log: Logger;
}

/** Brings one target to what is wanted, in as many writes as {@linkcode decide} asks for. */
export class TargetWriter {
  readonly #options: TargetWriterOptions;

  constructor(options: TargetWriterOptions) {
    this.#options = options;
  }

  /**
   * Writes until the API server's answer shows what is wanted. Never throws.
   *
   * @param wanted undefined if nothing of ours is to be left.
   * @param observed the target as it is.
   * @param shownVersion the resourceVersion that the watch shows.
   */
  async bring(
    place: TargetPlace,
    wanted: TargetContent | undefined,
    observed: TargetRecord | undefined,
    shownVersion: string | undefined,
    owner: Owner,
    signal: AbortSignal,
  ): Promise<Brought> {
    let step = decide(wanted, observed, owner);
    if (step === "keep") return { record: observed, outcome: "kept" };
    const { ownWrites, metrics, log } = this.#options;
    const { kind, namespace, name } = place;
    const action = wanted === undefined ? "clean" : "apply";
    const key = writeKeyOf(place);
    const fields = { bundle: owner.name, kind, namespace, name };
    let latest: WrittenTarget | undefined;
    ownWrites.begin(key, shownVersion);
    try {
      for (let steps = 0, last: Step = "keep"; step !== "keep"; steps++) {
        if (step === last || steps === MAX_STEPS) {
          // Trying again at once would go on for ever.
          throw new WriteError(
            `failed to patch ${kind} ${namespace}/${name}`,
            "the API server accepted it but stores something else; an admission webhook may change it",
          );
        }
        if (step === "take over") {
          log.info("Fields were updated under the operator's name; taking over", fields);
        }
        if (step === "share") {
          log.info("Others own data in the target, so it has no owner reference", fields, 2);
        }
        latest = await this.#write(step, place, wanted, latest, observed, owner, signal);
        last = step;
        step = decide(wanted, latest.record, owner, { managedFields: true, isEmpty: latest.isEmpty });
      }
      metrics.wrote(kind, action, "success");
      const message = wanted === undefined ? "Cleaned target" : "Applied target";
      log.info(message, fields, 2);
      const isSame = latest !== undefined && latest.record.resourceVersion === observed?.resourceVersion;
      return { record: latest?.record, outcome: isSame ? "unchanged" : "changed" };
    } catch (error) {
      metrics.wrote(kind, action, "error");
      return { record: latest?.record ?? observed, outcome: "failed", error };
    } finally {
      ownWrites.end(key, latest?.record);
    }
  }

  #write(
    step: Step,
    { namespace, name }: TargetPlace,
    wanted: TargetContent | undefined,
    latest: WrittenTarget | undefined,
    observed: TargetRecord | undefined,
    owner: Owner,
    signal: AbortSignal,
  ): Promise<WrittenTarget> {
    const { writer } = this.#options;
    const record = latest?.record ?? observed;
    if (wanted !== undefined && (step === "apply" || step === "share")) {
      return writer.applyTarget(wanted, namespace, name, signal, step === "share" ? owner.uid : undefined);
    }
    if (record !== undefined) {
      switch (step) {
        case "clean":
          return writer.cleanTarget(record, owner, signal);
        case "release":
          return writer.releaseTarget(record, signal);
        case "delete":
          return writer.deleteTarget(record, signal);
        case "take over":
          return writer.takeOverTarget(record, latest?.managedFields ?? [], signal);
      }
    }
    throw new TypeError(`There is nothing to ${step}`);
  }
}

/** Key of a target among the own writes: whichever Bundle it is of. */
export function writeKeyOf({ kind, namespace, name }: TargetPlace): string {
  return `${kind}/${targetStoreKey(namespace, name)}`;
}
