/** Where Deno listens for debuggers when it gets SIGUSR1, on the loopback address, whatever its flags and permissions say. */
export const DEBUGGER_PORT = 9229;

/**
 * Takes the port on which SIGUSR1 makes Deno (2.9.2 and later) listen for debuggers: who connects to a debugger can read all memory
 * and run any code. There is no flag against it, and a listener for the signal is called besides; but if the port is taken, Deno
 * says so on standard error and does nothing. Nobody who connects to the port gets an answer.
 *
 * @returns the port, to be kept until the process ends; undefined if it cannot be had, usually because another process has it.
 */
export function takeDebuggerPort(): Disposable | undefined {
  try {
    return Deno.listen({ hostname: "127.0.0.1", port: DEBUGGER_PORT });
  } catch {
    return undefined;
  }
}
