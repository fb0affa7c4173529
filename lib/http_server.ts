import { type CancelTimer, type Clock, delay } from "./clock.ts";
import { Connections } from "./connections.ts";
import { BACKLOG, listenOn } from "./listen.ts";
import type { Logger } from "./log.ts";

/** Answers `GET` on one path. */
export type Route = () => Response | Promise<Response>;

/** A plain HTTP server for probes or metrics. */
export interface HttpServer {
  /** The port it listens on; differs from the wanted one only if that was 0. */
  readonly port: number;
  /** How many clients are connected. */
  readonly connections: number;
  /** Ends it, with its open connections. */
  close(): Promise<void>;
}

/** A server that cannot be started. The message is one line for the user. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/** What clients may use up. Times are milliseconds. */
export interface HttpLimits {
  readonly connections: number;
  /** From the connection to the end of the request's head. */
  readonly headMs: number;
  /** Of a request's head, in bytes. */
  readonly headBytes: number;
  /** From the beginning of the answer to its end, and for what the client still sends meanwhile. */
  readonly sendMs: number;
}

/** What fits the kubelet and Prometheus: they send one short request on each of few connections, and read the answer at once. */
export const HTTP_LIMITS: HttpLimits = {
  connections: 256,
  headMs: 5_000,
  headBytes: 16 * 1024,
  sendMs: 10_000,
};

/** How a server answers, and with what. */
export interface HttpServerOptions {
  /** What the server is for, for messages. */
  readonly what: string;
  readonly port: number;
  /** By path. */
  readonly routes: ReadonlyMap<string, Route>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: HttpLimits;
  /** For tests: listens on one address. */
  readonly listen?: (address: Deno.TcpListenOptions) => Listener;
}

/** What is taken of a listener of Deno. */
export interface Listener {
  readonly addr: Deno.NetAddr;
  accept(): Promise<Deno.TcpConn>;
  close(): void;
}

/** Pause after a client could not be accepted, say because there are too many open files, in milliseconds. */
const ACCEPT_PAUSE_MS = 100;

/** Time between two lines in the log about that, in milliseconds. */
const ACCEPT_LOG_MS = 60_000;

/** So many clients are accepted before what those have sent is looked at. */
const ACCEPTED_AT_ONCE = 64;

/** After an answer that a client does not wait for: how much of what it still sends is read and dropped, so that it sees the answer. */
const LINGER_BYTES = 256 * 1024;

/** The same in milliseconds. */
const LINGER_MS = 1_000;

/**
 * Serves `routes` on all addresses of this machine, of IPv6 and IPv4, within its limits whatever clients do: see
 * {@linkcode Connections}. Each connection serves one request (HTTP/1.1, RFC 9112).
 *
 * By hand, because `Deno.serve` has no limits, and its end by one failed accept ends the process; and `node:http` costs 13 MB.
 *
 * @throws {ListenError} if the port cannot be listened on.
 */
export async function serveHttp(options: HttpServerOptions): Promise<HttpServer> {
  const { what, port, routes, clock, log, limits = HTTP_LIMITS, listen = Deno.listen } = options;
  let listeners: [Listener, ...Listener[]];
  try {
    listeners = await listenOn(
      "0.0.0.0",
      port,
      (hostname, port) => listen({ hostname, port, tcpBacklog: BACKLOG }),
      ({ addr }) => addr.port,
    );
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ListenError(`Cannot serve ${what} on port ${port}: ${reason}`, { cause: error });
  }
  const connections = new Connections(limits.connections, clock);
  const open = new Set<Promise<void>>();
  const closing = new AbortController();

  const accepting = listeners.map(async (listener) => {
    let toldAt = -Infinity;
    for (let accepted = 1; !closing.signal.aborted; accepted++) {
      try {
        // Or all that wait would be accepted before what any of them has sent is read, and put each other off.
        if (accepted % ACCEPTED_AT_ONCE === 0) await nextTurn();
        const socket = await listener.accept();
        const served = serveConnection(socket, connections, routes, limits, clock, log, closing.signal);
        open.add(served);
        void served.finally(() => open.delete(served));
      } catch (error) {
        if (closing.signal.aborted) return;
        if (clock.monotonic() - toldAt >= ACCEPT_LOG_MS) {
          toldAt = clock.monotonic();
          log.error("A client could not be accepted; others are tried", error, { server: what });
        }
        await delay(clock, ACCEPT_PAUSE_MS, closing.signal).catch(() => {}); // closed: the loop ends
      }
    }
  });

  return {
    port: listeners[0].addr.port,
    get connections() {
      return connections.size;
    },
    async close() {
      closing.abort();
      for (const listener of listeners) listener.close();
      await Promise.all([...accepting, ...open]);
    },
  };
}

/** Resolves when all that waits now, such as messages from the network, has had its turn. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, 0));
}

/** Answers one request. Never rejects: what a client does is no error of ours. */
async function serveConnection(
  socket: Deno.TcpConn,
  connections: Connections,
  routes: ReadonlyMap<string, Route>,
  limits: HttpLimits,
  clock: Clock,
  log: Logger,
  closing: AbortSignal,
): Promise<void> {
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    cancel();
    closing.removeEventListener("abort", end);
    socket.close();
  };
  let cancel: CancelTimer = clock.setTimer(limits.headMs, end);
  closing.addEventListener("abort", end);
  const connection = connections.open(socket.remoteAddr.hostname, end);
  try {
    if (connection === undefined) return;
    const head = await readHead(socket, limits.headBytes);
    if (head === undefined) return;
    cancel();
    connection.become("answering");
    const answer = await answerTo(head, routes, log);
    if (ended) return;
    connection.become("unfinished");
    cancel = clock.setTimer(limits.sendMs, end);
    await writeAll(socket, await encoded(answer, head.startsWith("HEAD "), clock.now()));
    await socket.closeWrite();
    cancel();
    cancel = clock.setTimer(LINGER_MS, end);
    await drop(socket, LINGER_BYTES);
  } catch {
    // The client is gone, or was put off.
  } finally {
    connection?.forget();
    end();
  }
}

/** The head of a request, or as much of it as fits into `most` bytes; undefined if the client ends before. */
async function readHead(socket: Deno.TcpConn, most: number): Promise<string | undefined> {
  // A small one first: most clients that stay here for long send nothing.
  let buffer = new Uint8Array(512);
  let length = 0;
  while (true) {
    if (length === buffer.length) {
      if (length >= most) break;
      const larger = new Uint8Array(Math.min(4 * length, most));
      larger.set(buffer);
      buffer = larger;
    }
    const count = await socket.read(buffer.subarray(length));
    if (count === null) return undefined;
    const from = Math.max(0, length - 3);
    length += count;
    if (endsHead(buffer.subarray(from, length))) break;
  }
  return new TextDecoder("latin1").decode(buffer.subarray(0, length));
}

function endsHead(bytes: Uint8Array): boolean {
  for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) {
    if (bytes[at - 1] === 0x0d && bytes[at + 1] === 0x0d && bytes[at + 2] === 0x0a) return true;
  }
  return false;
}

async function answerTo(head: string, routes: ReadonlyMap<string, Route>, log: Logger): Promise<Response> {
  const end = head.indexOf("\r\n\r\n");
  if (end < 0) return new Response("Request head too large\n", { status: 431 });
  const [line = ""] = head.slice(0, end).split("\r\n", 1);
  const [, method = "", target = ""] = /^([A-Za-z]+) (\S+) HTTP\/1\.[01]$/.exec(line) ?? [];
  const path = URL.parse(target, "http://localhost")?.pathname;
  if (method === "" || path === undefined) return new Response("Bad request\n", { status: 400 });
  const route = routes.get(path);
  if (route === undefined) return new Response("Not found\n", { status: 404 });
  if (method !== "GET" && method !== "HEAD") {
    return new Response("Method not allowed\n", { status: 405, headers: { allow: "GET, HEAD" } });
  }
  try {
    return await route();
  } catch (error) {
    // A defect. The client learns nothing of it.
    log.error("Failed to answer a request", error);
    return new Response("Internal error\n", { status: 500 });
  }
}

/** @param now milliseconds since the Unix epoch. */
async function encoded(response: Response, headOnly: boolean, now: number): Promise<Uint8Array> {
  const body = await response.bytes();
  const headers = new Headers(response.headers);
  headers.set("content-length", String(body.length));
  headers.set("connection", "close");
  headers.set("date", new Date(now).toUTCString());
  const lines = [...headers].map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const head = new TextEncoder().encode(
    `HTTP/1.1 ${response.status} ${REASONS[response.status] ?? ""}\r\n${lines}\r\n`,
  );
  if (headOnly) return head;
  const whole = new Uint8Array(head.length + body.length);
  whole.set(head);
  whole.set(body, head.length);
  return whole;
}

/** Of the statuses that occur here (RFC 9110, RFC 6585). */
const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  400: "Bad Request",
  404: "Not Found",
  405: "Method Not Allowed",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
};

async function writeAll(socket: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await socket.write(bytes.subarray(sent));
}

/** Reads to the end, or that many bytes. (To close before would be a reset to a client that still sends, and lose the answer.) */
async function drop(socket: Deno.TcpConn, most: number): Promise<void> {
  const buffer = new Uint8Array(4096);
  for (let dropped = 0; dropped < most;) {
    const count = await socket.read(buffer);
    if (count === null) return;
    dropped += count;
  }
}
