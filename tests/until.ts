/** How often {@linkcode until} looks, in milliseconds. */
const INTERVAL_MS = 20;

/**
 * Waits until `condition` holds, for tests: for what has no event to wait for.
 *
 * @param what is waited for, as it goes on after "until"; or who tells, at the end, how far it came.
 * @throws {Error} after `timeoutMs` milliseconds.
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string | Promise<string>),
  timeoutMs = 40_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!await condition()) {
    if (performance.now() > deadline) {
      throw new Error(
        `Waited ${timeoutMs / 1000} s in vain until ${typeof what === "string" ? what : await what()}`,
      );
    }
    await sleep(INTERVAL_MS);
  }
}

/** Lets time pass, for tests: where the passing of time is what matters, such as a fault that lasts. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
