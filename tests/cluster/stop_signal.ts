/** Somebody wants this process to end. */
export class StopRequested extends Error {
  override readonly name = "StopRequested";
}

/**
 * Aborts, with a {@linkcode StopRequested}, when Ctrl-C is pressed, the terminal closed, or the process told to end. From the call on,
 * it does not end by itself then: whoever calls this sees to that.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = () => controller.abort(new StopRequested("Asked to stop"));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    if (Deno.build.os !== "windows" || signal === "SIGINT") Deno.addSignalListener(signal, stop);
  }
  return controller.signal;
}
