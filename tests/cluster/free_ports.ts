/**
 * Where to look for ports: below those that Linux and others give to outgoing connections (32768 and 49152 on), which would else take a
 * free one until its server listens; and above those of Kubernetes' own programs (10250 and so on).
 */
const [FIRST, COUNT] = [11_000, 19_000];

/**
 * Ports of 127.0.0.1 that nobody listens on, all different. They are not held: who starts a server on one must expect that
 * somebody else was quicker.
 */
export function freePorts(count: number): number[] {
  const listeners: Deno.TcpListener[] = [];
  try {
    for (let attempts = count + 100; listeners.length < count; attempts--) {
      const port = FIRST + Math.floor(Math.random() * COUNT);
      try {
        listeners.push(Deno.listen({ hostname: "127.0.0.1", port }));
      } catch (error) {
        if (!(error instanceof Deno.errors.AddrInUse) || attempts <= 0) throw error;
      }
    }
    return listeners.map((listener) => listener.addr.port);
  } finally {
    for (const listener of listeners) listener.close();
  }
}

/** One of {@linkcode freePorts}. */
export function freePort(): number {
  const [port = 0] = freePorts(1);
  return port;
}
