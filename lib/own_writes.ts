import type { Clock } from "./clock.ts";
import type { TargetRecord } from "./records/target_record.ts";

/** How long a write is remembered at most while the watch does not show it, in milliseconds. */
const REMEMBER_MS = 10_000;

/**
 * What this process has written and its watch has not shown yet. A watch lags behind: without this, an event from before a
 * write would look like a change by somebody else, and the target would be written twice.
 *
 * resourceVersions are opaque, so "older" cannot be read off them; but a watch shows each state of an object, in order.
 */
export class OwnWrites {
  readonly #clock: Clock;
  /** Resource versions that the watch showed while a write was under way. */
  readonly #underWay = new Map<string, Set<string>>();
  /** In the order of writing. */
  readonly #written = new Map<string, { record: TargetRecord; at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A write of `key` begins. */
  begin(key: string): void {
    this.#underWay.set(key, new Set());
  }

  /** It ended, with what the API server has now, or without success. */
  end(key: string, record: TargetRecord | undefined): void {
    const seen = this.#underWay.get(key);
    this.#underWay.delete(key);
    this.#expire();
    this.#written.delete(key);
    if (record !== undefined && seen?.has(record.resourceVersion) !== true) {
      this.#written.set(key, { record, at: this.#clock.monotonic() });
    }
  }

  /** The watch showed `resourceVersion` of `key` (undefined: that it is gone). */
  shown(key: string, resourceVersion: string | undefined): void {
    if (resourceVersion === undefined) return;
    this.#underWay.get(key)?.add(resourceVersion);
    if (this.#written.get(key)?.record.resourceVersion === resourceVersion) this.#written.delete(key);
  }

  /** What was written to `key` and not yet shown. */
  get(key: string): TargetRecord | undefined {
    this.#expire();
    return this.#written.get(key)?.record;
  }

  /** How many milliseconds from now the last of them is forgotten; undefined if there is none. */
  get expiresInMs(): number | undefined {
    this.#expire();
    let last: number | undefined;
    for (const { at } of this.#written.values()) last = at;
    return last === undefined ? undefined : last + REMEMBER_MS - this.#clock.monotonic();
  }

  /** A relist can skip states, so what was not shown in time is forgotten. */
  #expire(): void {
    const oldest = this.#clock.monotonic() - REMEMBER_MS;
    for (const [key, { at }] of this.#written) {
      if (at > oldest) return;
      this.#written.delete(key);
    }
  }
}
