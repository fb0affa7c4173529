/**
 * Ports of 127.0.0.1 that nobody listens on, all different. They are not held: who starts a server on one must expect that
 * somebody else was quicker.
 */
export function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () => Deno.listen({ hostname: "127.0.0.1", port: 0 }));
  try {
    return listeners.map((listener) => listener.addr.port);
  } finally {
    for (const listener of listeners) listener.close();
  }
}
