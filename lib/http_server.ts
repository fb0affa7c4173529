/** Answers `GET` on one path. */
export type Route = () => Response | Promise<Response>;

/** A plain HTTP server for probes or metrics. */
export interface HttpServer {
  /** The port it listens on; differs from the wanted one only if that was 0. */
  readonly port: number;
  /** Ends it, with its open connections. */
  close(): Promise<void>;
}

/** A server that cannot be started. The message is one line for the user. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/**
 * Serves `routes`, by path, on all addresses of this machine, of IPv6 and IPv4.
 *
 * @param what what the server is for, for the error message.
 * @throws {ListenError} if the port cannot be listened on.
 */
export function serveHttp(what: string, port: number, routes: ReadonlyMap<string, Route>): HttpServer {
  const abort = new AbortController();
  const handler = (request: Request): Response | Promise<Response> => {
    const route = routes.get(new URL(request.url).pathname);
    if (route === undefined) return new Response("Not found\n", { status: 404 });
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("Method not allowed\n", { status: 405, headers: { allow: "GET, HEAD" } });
    }
    return route();
  };
  const listen = (hostname: string) =>
    Deno.serve({
      port,
      hostname,
      signal: abort.signal,
      onListen: () => {},
      // The runtime would print the error with its stack, and so might a client see it.
      onError: () => new Response("Internal error\n", { status: 500 }),
    }, handler);
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = listen("::");
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) throw listenError(what, port, error);
    try {
      // No IPv6 on this machine.
      server = listen("0.0.0.0");
    } catch (error) {
      throw listenError(what, port, error);
    }
  }
  return {
    port: server.addr.port,
    async close() {
      abort.abort();
      await server.finished;
    },
  };
}

function listenError(what: string, port: number, cause: unknown): ListenError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ListenError(`Cannot serve ${what} on port ${port}: ${reason}`, { cause });
}
