/** Cancels a timer; harmless once it has fired. */
export type CancelTimer = () => void;

/** Time as the operator sees it. Passed in, so that tests decide when a certificate expires or a retry is due. */
export interface Clock {
  /** Wall-clock time in milliseconds since the Unix epoch. */
  now(): number;
  /**
   * Milliseconds since an arbitrary start that never run backwards, also when the wall clock is set.
   * For measuring how long something took and for deadlines (leases), never for dates.
   */
  monotonic(): number;
  /** Calls `fire` once after `ms` milliseconds (at least 0; at most about 24.8 days, the limit of timers). */
  setTimer(ms: number, fire: () => void): CancelTimer;
}

/** The clock of this machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(ms, fire) {
    const id = setTimeout(fire, Math.min(Math.max(ms, 0), 0x7fffffff));
    return () => clearTimeout(id);
  },
};

/**
 * Resolves after `ms` milliseconds.
 *
 * @throws the reason of `signal`, as soon as it aborts.
 */
export function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.setTimer(ms, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
