/**
 * Sends a signal to a child process. One that has ended gets none, also while the promise of its status is yet to be fulfilled: Deno
 * knows already then, and refuses.
 */
export function signalChild(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}
