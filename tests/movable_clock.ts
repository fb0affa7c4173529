import type { CancelTimer, Clock } from "../lib/clock.ts";

/**
 * A clock that runs as that of the machine does, and can be set forward: for tests with real I/O. What is due by then fires at once,
 * in its order. The monotonic clock goes along, as in a process that slept.
 */
export class MovableClock implements Clock {
  #ahead = 0;
  readonly #timers = new Map<() => void, { due: number; id: ReturnType<typeof setTimeout> }>();

  now(): number {
    return Date.now() + this.#ahead;
  }

  monotonic(): number {
    return performance.now() + this.#ahead;
  }

  setTimer(ms: number, fire: () => void): CancelTimer {
    const once = () => {
      cancel();
      fire();
    };
    const cancel = () => {
      clearTimeout(this.#timers.get(once)?.id);
      this.#timers.delete(once);
    };
    const wait = Math.min(Math.max(ms, 0), 0x7fffffff);
    this.#timers.set(once, { due: this.monotonic() + wait, id: setTimeout(once, wait) });
    return cancel;
  }

  /** Sets the clock forward by `ms` milliseconds. */
  jump(ms: number): void {
    this.#ahead += ms;
    const timers = [...this.#timers].sort(([, a], [, b]) => a.due - b.due);
    for (const [once, { due, id }] of timers) {
      clearTimeout(id);
      if (due <= this.monotonic()) once();
      else this.#timers.set(once, { due, id: setTimeout(once, due - this.monotonic()) });
    }
  }
}
