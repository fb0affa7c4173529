import type { Clock } from "./clock.ts";

/** How many repairs of one target in a row are made at once. */
const FREE_REPAIRS = 5;

/** The first pause, in milliseconds; doubled with each further repair. */
const BASE_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 300_000;

/** A target that was left alone for this long, in milliseconds, starts anew. */
const CALM_MS = 600_000;

/**
 * Bounds how often a target is repaired that somebody else changes again and again: another controller may fight over it, and
 * neither would ever stop.
 */
export class RepairLimiter {
  readonly #clock: Clock;
  /** In the order of the last repair. */
  readonly #repairs = new Map<string, { count: number; at: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes one repair of `key`; returns for how many milliseconds it has to wait. */
  take(key: string): number {
    const now = this.#clock.monotonic();
    for (const [other, { at }] of this.#repairs) {
      if (now - at < CALM_MS) break;
      this.#repairs.delete(other);
    }
    const count = (this.#repairs.get(key)?.count ?? 0) + 1;
    this.#repairs.delete(key);
    this.#repairs.set(key, { count, at: now });
    const over = count - FREE_REPAIRS;
    return over <= 0 ? 0 : Math.min(BASE_PAUSE_MS * 2 ** Math.min(over - 1, 20), MAX_PAUSE_MS);
  }
}
