import { setImmediate } from "node:timers";
import type { CancelTimer, Clock } from "../lib/clock.ts";

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #wall: number;
  #monotonic = 1_000_000;
  readonly #timers = new Set<{ readonly due: number; readonly fire: () => void }>();

  /** @param start wall-clock time, anything that `Date` reads. */
  constructor(start: string | number = "2030-01-01T00:00:00Z") {
    this.#wall = new Date(start).getTime();
  }

  now(): number {
    return this.#wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  setTimer(ms: number, fire: () => void): CancelTimer {
    const timer = { due: this.#monotonic + Math.max(ms, 0), fire };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  /** How many timers have neither fired nor been cancelled. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Milliseconds until the next timer is due; undefined if there is none. */
  get nextTimerMs(): number | undefined {
    const due = Math.min(...[...this.#timers].map((timer) => timer.due));
    return Number.isFinite(due) ? due - this.#monotonic : undefined;
  }

  /**
   * Lets `ms` milliseconds pass: fires the timers that are due by then, in their order and each at its time, and lets all that
   * follows from one happen before the next (as far as it waits for promises only, not for real I/O).
   */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    await settled();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#move(next.due - this.#monotonic);
      this.#timers.delete(next);
      next.fire();
      await settled();
    }
    this.#move(end - this.#monotonic);
    await settled();
  }

  /** Sets the wall clock forward (or back, if negative); no time passes. */
  jumpWall(ms: number): void {
    this.#wall += ms;
  }

  /** As a process that is stopped (SIGSTOP) and continued sees it: both clocks went on, and no timer has fired yet. */
  freeze(ms: number): void {
    this.#move(ms);
  }

  #next(end: number) {
    let next: { readonly due: number; readonly fire: () => void } | undefined;
    for (const timer of this.#timers) {
      if (timer.due <= end && (next === undefined || timer.due < next.due)) next = timer;
    }
    return next;
  }

  #move(ms: number): void {
    if (ms <= 0) return;
    this.#monotonic += ms;
    this.#wall += ms;
  }
}

/** Resolves when all that waits for promises only has gone on as far as it can. (A timer would take 5 ms each time.) */
export function settled(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}
