/**
 * How many clients may wait to be accepted (`listen(2)`), as far as `net.core.somaxconn` allows. Where many come at once, those beyond are
 * told nothing, and try again after a second: too late for a probe.
 */
export const BACKLOG = 4_096;

/** Addresses that stand for all. */
const WILDCARDS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/**
 * Listens on a host as Go's `net.Listen("tcp", …)` does: `0.0.0.0`, like `::`, means all addresses, of IPv6 and IPv4, whichever of the two
 * this machine has. Any other address means itself.
 *
 * Returns one listener or two: Linux serves both families with one socket on `::`, unless `net.ipv6.bindv6only` is set.
 *
 * @param listen listens on one address; fails with an error of Deno or Node.
 * @param portOf the port of a listener, for the second family if any port will do for the first.
 * @throws what `listen` throws, if no family can be listened on, or the port is in use.
 */
export async function listenOn<T>(
  host: string,
  port: number,
  listen: (address: string, port: number) => T | Promise<T>,
  portOf: (listener: T) => number,
): Promise<[T, ...T[]]> {
  if (!WILDCARDS.has(host)) return [await listen(host, port)];
  let first: T;
  try {
    first = await listen("::", port);
  } catch (error) {
    if (isInUse(error)) throw error;
    return [await listen("0.0.0.0", port)]; // no IPv6 on this machine
  }
  try {
    return [first, await listen("0.0.0.0", portOf(first))];
  } catch {
    return [first]; // in use by the first, which serves both; or no IPv4 on this machine
  }
}

function isInUse(error: unknown): boolean {
  return error instanceof Deno.errors.AddrInUse ||
    (error instanceof Error && "code" in error && error.code === "EADDRINUSE");
}
