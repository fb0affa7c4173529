import type { CancelTimer, Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

/** What a {@linkcode FailureLog} works with. */
export interface FailureLogOptions {
  readonly clock: Clock;
  readonly log: Logger;
}

/** Failures that begin within so many milliseconds are told together: one cause seldom hits one watch alone. */
const GATHER_MS = 1_000;
/** A cause that lasts is told again after so many milliseconds, and a cause that comes and goes no more often. */
const REPEAT_MS = 60_000;
/** So many names are told of those that fail for one cause. */
const MOST_NAMES = 10;

/** One cause, and who fails for it. */
interface Cause {
  readonly failing: Set<string>;
  /** Monotonic, when it began, or began again. */
  since: number;
  /** Monotonic, when it was last told. */
  toldAt: number;
  /** Whether it was told since it began. */
  told: boolean;
  /** Whether one of those that failed works again, rather than failing for another cause. */
  recovered: boolean;
}

/**
 * Tells the log what fails again and again: each cause in one line that names all that it hits, repeated each minute until it is
 * over, and once more then. Shared by all that send requests of their own accord: the watches and the lease.
 */
export class FailureLog {
  readonly #options: FailureLogOptions;
  readonly #causes = new Map<string, Cause>();
  readonly #causeOf = new Map<string, string>();
  #cancelTimer: CancelTimer | undefined;

  constructor(options: FailureLogOptions) {
    this.#options = options;
  }

  /** Why `what` fails at present; undefined if it does not. */
  causeOf(what: string): string | undefined {
    return this.#causeOf.get(what);
  }

  /** `what` has failed, and is tried again. To be called after each attempt; the last cause counts. */
  failing(what: string, cause: string): void {
    const former = this.#causeOf.get(what);
    if (former === cause) return;
    if (former !== undefined) this.#leave(what, former, false);
    const now = this.#options.clock.monotonic();
    this.#causeOf.set(what, cause);
    const entry = this.#causes.getOrInsertComputed(cause, (): Cause => ({
      failing: new Set(),
      since: now,
      toldAt: Number.NEGATIVE_INFINITY,
      told: false,
      recovered: false,
    }));
    if (entry.failing.size === 0) entry.since = now;
    entry.failing.add(what);
    this.#schedule();
  }

  /** `what` works (again). */
  recovered(what: string): void {
    const former = this.#causeOf.get(what);
    if (former === undefined) return;
    this.#causeOf.delete(what);
    this.#leave(what, former, true);
    this.#schedule();
  }

  /** `what` is not tried any more: nothing is said of it from now on. */
  forget(what: string): void {
    const former = this.#causeOf.get(what);
    this.#causeOf.delete(what);
    if (former !== undefined) this.#causes.get(former)?.failing.delete(what);
    this.#schedule();
  }

  #leave(what: string, cause: string, recovered: boolean): void {
    const entry = this.#causes.get(cause);
    if (entry === undefined) return;
    entry.failing.delete(what);
    entry.recovered ||= recovered;
    if (entry.failing.size > 0) return;
    if (entry.told && entry.recovered) {
      const failedMs = Math.round(this.#options.clock.monotonic() - entry.since);
      this.#options.log.info("Requests to the API server work again", { cause, failedMs });
    }
    entry.told = false;
    entry.recovered = false;
  }

  /** Sets the timer for what is to be told next, and forgets what is over. */
  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const now = this.#options.clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const [cause, entry] of this.#causes) {
      if (entry.failing.size > 0) next = Math.min(next, dueAt(entry));
      else if (now - entry.toldAt >= REPEAT_MS) this.#causes.delete(cause);
    }
    if (next === Number.POSITIVE_INFINITY) return;
    this.#cancelTimer = this.#options.clock.setTimer(Math.max(0, next - now), () => {
      this.#tell();
      this.#schedule();
    });
  }

  #tell(): void {
    const { clock, log } = this.#options;
    const now = clock.monotonic();
    for (const [cause, entry] of this.#causes) {
      if (entry.failing.size === 0 || dueAt(entry) > now) continue;
      entry.toldAt = now;
      entry.told = true;
      log.error("Requests to the API server fail; they are sent again until they work", cause, {
        failing: namesOf([...entry.failing]),
        failedMs: Math.round(now - entry.since),
      });
    }
  }
}

/**
 * What to tell of a request that failed: the same text for all requests that fail for one cause.
 *
 * @param fallback if there is no error, but something is wrong all the same.
 */
export function failureCause(error: unknown, fallback: string): string {
  if (!(error instanceof Error)) return error === undefined ? fallback : String(error);
  // Which request it was, and how long that may take, differs.
  return error.message.replace(/ within \d+ ms for [A-Z]+ \S+$/, " in time");
}

/** Names in one line, in order; of very many the first. */
export function namesOf(names: readonly string[]): string {
  const sorted = names.toSorted();
  const more = sorted.length - MOST_NAMES;
  return sorted.slice(0, MOST_NAMES).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function dueAt({ since, toldAt }: Cause): number {
  return Math.max(since + GATHER_MS, toldAt + REPEAT_MS);
}
