import type { CancelTimer, Clock } from "./clock.ts";
import type { TargetRecord } from "./records/target_record.ts";

/** How long a write is remembered at most while the watch does not show it, in milliseconds. */
const REMEMBER_MS = 10_000;

/**
 * What this process has written and its watch has not shown yet. A watch lags behind: without this, an event from before a
 * write would look like a change by somebody else, and the target would be written twice.
 *
 * resourceVersions are opaque, so "older" cannot be read off them; but a watch shows each state of an object, in order. A relist
 * can skip states, so what is not shown in time is forgotten.
 */
export class OwnWrites {
  readonly #clock: Clock;
  readonly #onForgotten: (record: TargetRecord) => void;
  /** What the watch showed while a write was under way: resourceVersions; undefined means that the object was gone. */
  readonly #underWay = new Map<string, Set<string | undefined>>();
  /** In the order of writing. */
  readonly #written = new Map<string, { readonly record: TargetRecord; readonly at: number }>();
  #cancelTimer: CancelTimer | undefined;

  /** @param onForgotten told of each write that the watch has not shown in time: what is there now is to be looked at anew. */
  constructor(clock: Clock, onForgotten: (record: TargetRecord) => void) {
    this.#clock = clock;
    this.#onForgotten = onForgotten;
  }

  /** A write of `key` begins; `resourceVersion` is what the watch shows now. */
  begin(key: string, resourceVersion: string | undefined): void {
    this.#underWay.set(key, new Set(resourceVersion === undefined ? [] : [resourceVersion]));
  }

  /** It ended, with what the API server has now, or without success. An object that was deleted has no resourceVersion. */
  end(key: string, record: TargetRecord | undefined): void {
    const seen = this.#underWay.get(key);
    this.#underWay.delete(key);
    this.#written.delete(key);
    if (record === undefined || seen?.has(stateOf(record)) === true) return;
    this.#written.set(key, { record, at: this.#clock.monotonic() });
    this.#schedule();
  }

  /** Whether a write of `key` is under way. */
  isUnderWay(key: string): boolean {
    return this.#underWay.has(key);
  }

  /** The watch showed `resourceVersion` of `key` (undefined: that it is gone). */
  shown(key: string, resourceVersion: string | undefined): void {
    this.#underWay.get(key)?.add(resourceVersion);
    const written = this.#written.get(key);
    if (written !== undefined && stateOf(written.record) === resourceVersion) this.#written.delete(key);
  }

  /** What was written to `key` and not yet shown. */
  get(key: string): TargetRecord | undefined {
    return this.#written.get(key)?.record;
  }

  /** Forgets all of it, and tells nobody. */
  clear(): void {
    this.#cancelTimer?.();
    this.#written.clear();
  }

  #schedule(): void {
    if (this.#cancelTimer !== undefined) return;
    const [oldest] = this.#written.values();
    if (oldest === undefined) return;
    const ms = oldest.at + REMEMBER_MS - this.#clock.monotonic();
    this.#cancelTimer = this.#clock.setTimer(ms, () => {
      this.#cancelTimer = undefined;
      const due = this.#clock.monotonic() - REMEMBER_MS;
      for (const [key, { record, at }] of this.#written) {
        if (at > due) break;
        this.#written.delete(key);
        this.#onForgotten(record);
      }
      this.#schedule();
    });
  }
}

/** What the watch shows of a state: its resourceVersion, or that the object is gone. */
function stateOf({ resourceVersion }: TargetRecord): string | undefined {
  return resourceVersion === "" ? undefined : resourceVersion;
}
