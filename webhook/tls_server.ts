import type { IncomingMessage, ServerResponse } from "node:http";
import type https from "node:https";
import type { Socket } from "node:net";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { type Connection, Connections } from "../lib/connections.ts";
import { ListenError } from "../lib/http_server.ts";
import { BACKLOG, listenOn } from "../lib/listen.ts";
import type { Logger } from "../lib/log.ts";
import { type HttpAnswer, refusal, type RequestHead } from "./admission_handler.ts";
import { AdmissionQueue, type Work } from "./admission_queue.ts";
import type { KeyPair } from "./key_pair.ts";

/** What clients may use up. Times are milliseconds. */
export interface ServerLimits {
  /** Largest body of a request, in bytes. */
  readonly bodyBytes: number;
  /** All bodies that are being received, or wait for their answer, in bytes. */
  readonly allBodiesBytes: number;
  readonly connections: number;
  /** From the connection to the end of the first request's head, the TLS handshake included. */
  readonly headMs: number;
  /** From the end of a request's head to the end of its body. */
  readonly bodyMs: number;
  /** From the end of a body to the answer, and from that to the end of its sending. */
  readonly answerMs: number;
  /** From an answer to the end of the next request's head. Longer than the API server keeps idle connections (90 s), so that it never sends a request into a connection that is being closed. */
  readonly idleMs: number;
}

/**
 * What fits API servers: they send one small request at a time on each of few connections.
 *
 * A body holds two objects at most, the new Bundle and the former one, each as large as etcd takes at most (1.5 MiB, its
 * `--max-request-bytes`); the rest is for who asks. What does not fit could not be stored.
 */
export const DEFAULT_LIMITS: ServerLimits = {
  bodyBytes: 4 * 1024 * 1024,
  allBodiesBytes: 16 * 1024 * 1024,
  connections: 256,
  headMs: 10_000,
  bodyMs: 10_000,
  answerMs: 10_000,
  idleMs: 300_000,
};

/** After a request was refused before its end: how long what is still sent is read and dropped, so that the client sees the answer. */
const LINGER_MS = 1_000;

/** The same in bytes. (To pause instead would be no use: the runtime reads on into memory.) */
const LINGER_BYTES = 256 * 1024;

/** How a server answers, and with what. */
export interface TlsServerOptions {
  readonly host: string;
  readonly port: number;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  readonly limits: ServerLimits;
  /** Refuses a request before its body is read. */
  readonly refuse: (head: RequestHead) => HttpAnswer | undefined;
  /** Answers a body, in stages that are short. */
  readonly answer: (body: Uint8Array) => Work<HttpAnswer>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A client's connection. */
interface Client {
  readonly socket: Socket;
  readonly connection: Connection;
  /** Whether a request is being received or answered. */
  busy: boolean;
  /** Ends the present time limit. */
  cancel: CancelTimer;
}

/** A request whose body is being received, or waits for its answer. */
interface Reception {
  readonly source: string;
  bytes: number;
  /** Refuses it. */
  readonly giveUp: () => void;
}

/**
 * An HTTPS server for small JSON requests whose certificate can be replaced at any time, and that stays within its limits
 * whatever clients do: see {@linkcode Connections} and {@linkcode AdmissionQueue}. (`node:https`, because `Deno.serve` cannot replace a
 * certificate.)
 */
export class TlsServer {
  readonly #options: TlsServerOptions;
  /** One, or one for each family of addresses. */
  readonly #servers: https.Server[] = [];
  readonly #connections: Connections;
  /** By the client's address and port. */
  readonly #clients = new Map<string, Client>();
  readonly #receptions = new Set<Reception>();
  readonly #queue: AdmissionQueue<HttpAnswer>;
  #receiving = 0;

  private constructor(options: TlsServerOptions) {
    this.#options = options;
    this.#connections = new Connections(options.limits.connections, options.clock);
    this.#queue = new AdmissionQueue(options.clock);
  }

  /**
   * Starts to listen. Until {@linkcode use} is called for the first time, TLS handshakes fail.
   *
   * @throws {ListenError}
   */
  static async listen(options: TlsServerOptions): Promise<TlsServer> {
    // Here and not at the top, because a bundle would load it at its start, which costs 13 MB.
    const { createServer } = await import("node:https");
    const server = new TlsServer(options);
    try {
      const listeners = await listenOn(
        options.host,
        options.port,
        (host, port) => server.#listen(createServer, host, port),
        portOf,
      );
      server.#servers.push(...listeners);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ListenError(
        `Cannot serve the webhook on ${options.host}, port ${options.port}: ${reason}`,
        { cause: error },
      );
    }
    return server;
  }

  async #listen(createServer: typeof https.createServer, host: string, port: number): Promise<https.Server> {
    const { log, minVersion } = this.#options;
    // No timeout for the handshake (0 would mean two minutes): its timer keeps a connection that has ended, 18 kB, until it fires.
    const options = { minVersion, handshakeTimeout: -1 };
    const server = createServer(options, (request, response) => this.#serve(request, response));
    // The limits of this class take its place, and that of these.
    Object.assign(server, { headersTimeout: 0, requestTimeout: 0, keepAliveTimeout: 0, timeout: 0 });
    server.on("connection", (socket: Socket) => this.#accept(socket));
    server.on("tlsClientError", (error: Error) => {
      log.info("TLS handshake failed", { cause: error.message }, 4);
    });
    server.on("clientError", (error: Error, socket: Socket) => {
      log.info("Client sent no valid HTTP", { cause: error.message }, 4);
      socket.destroy();
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen({ host, port, backlog: BACKLOG }, resolve);
    await promise;
    server.off("error", reject);
    server.on("error", (error: Error) => log.error("Webhook server failed", error));
    return server;
  }

  /** The port it listens on; differs from the wanted one only if that was 0. */
  get port(): number {
    const [server] = this.#servers;
    return server === undefined ? this.#options.port : portOf(server);
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Serves new connections with this pair; open ones go on with theirs. */
  use({ certificate, privateKey }: KeyPair): void {
    // The minimum version is lost if it is not said again.
    const context = { cert: certificate, key: privateKey, minVersion: this.#options.minVersion };
    for (const server of this.#servers) server.setSecureContext(context);
  }

  /** Takes no more requests, answers those that are being received within `graceMs` milliseconds, and ends. */
  async close(graceMs: number): Promise<void> {
    const closed = this.#servers.map((server) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      server.close(() => resolve());
      return promise;
    });
    for (const { socket, busy } of this.#clients.values()) {
      if (!busy) socket.destroy();
    }
    const cancel = this.#options.clock.setTimer(graceMs, () => {
      for (const { socket } of this.#clients.values()) socket.destroy();
    });
    await Promise.all(closed);
    cancel();
  }

  #accept(socket: Socket): void {
    const { limits, clock } = this.#options;
    const key = clientKey(socket);
    socket.on("error", () => {});
    const connection = this.#connections.open(socket.remoteAddress ?? "", () => socket.destroy());
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    const client: Client = { socket, connection, busy: false, cancel: () => {} };
    client.cancel = clock.setTimer(limits.headMs, () => socket.destroy());
    this.#clients.set(key, client);
    socket.on("close", () => {
      client.cancel();
      connection.forget();
      if (this.#clients.get(key) === client) this.#clients.delete(key);
    });
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const client = this.#clients.get(clientKey(request.socket));
    if (client === undefined || client.socket.destroyed) {
      request.socket.destroy(); // It was put off meanwhile.
      return;
    }
    request.on("error", () => {});
    response.on("error", () => {});
    const head = {
      method: request.method ?? "",
      url: request.url ?? "",
      contentType: request.headers["content-type"],
    };
    const { limits } = this.#options;
    client.busy = true;
    // Its time began with its head, unless it was idle before.
    if (client.connection.state === "idle") client.connection.become("unfinished");
    this.#limit(client, limits.bodyMs);
    const refused = this.#options.refuse(head) ?? tooLarge(request, limits.bodyBytes);
    if (refused !== undefined) this.#refuse(refused, client, request, response);
    else this.#receive(client, request, response);
  }

  /** Ends the connection after `ms` milliseconds, in place of the former limit. */
  #limit(client: Client, ms: number): void {
    client.cancel();
    client.cancel = this.#options.clock.setTimer(ms, () => client.socket.destroy());
  }

  #receive(client: Client, request: IncomingMessage, response: ServerResponse): void {
    const { limits, answer } = this.#options;
    const { source } = client.connection;
    const chunks: Uint8Array[] = [];
    let open = true;
    let giveUpWork = () => {};
    const end = () => {
      if (!open) return;
      open = false;
      chunks.length = 0;
      giveUpWork();
      this.#receptions.delete(reception);
      this.#receiving -= reception.bytes;
    };
    const reception: Reception = {
      source,
      bytes: 0,
      giveUp: () => {
        end();
        this.#refuse(refusal(503, "Too busy: too many large requests at once"), client, request, response);
      },
    };
    this.#receptions.add(reception);
    response.on("close", end);
    request.on("data", (chunk: Uint8Array) => {
      if (!open) return;
      reception.bytes += chunk.length;
      this.#receiving += chunk.length;
      if (reception.bytes > limits.bodyBytes) {
        end();
        this.#refuse(bodyTooLarge(limits.bodyBytes), client, request, response);
        return;
      }
      chunks.push(chunk);
      while (this.#receiving > limits.allBodiesBytes) {
        const largest = largestOf(this.#receptions);
        if (largest === undefined) break;
        largest.giveUp();
      }
    });
    request.on("end", () => {
      if (!open) return;
      client.connection.become("answering");
      client.cancel();
      client.cancel = this.#options.clock.setTimer(limits.answerMs, reception.giveUp);
      const body = concat(chunks, reception.bytes);
      chunks.length = 0;
      giveUpWork = this.#queue.add({
        source,
        bytes: body.length,
        work: answer(body),
        done: (outcome) => {
          end();
          this.#send(this.#answerOf(outcome), client, response, () => this.#becomeIdle(client));
        },
      });
    });
  }

  #answerOf(outcome: { readonly value: HttpAnswer } | { readonly error: unknown }): HttpAnswer {
    if ("value" in outcome) return outcome.value;
    // A defect. The client learns nothing of it; what the body was is not logged either.
    this.#options.log.error("Failed to answer an admission request", outcome.error);
    return refusal(500, "Internal error");
  }

  /**
   * Answers before the request has ended. What is still sent is dropped; the connection goes on if that ends soon. (It is not
   * closed at once, which would be a reset to a client that still sends, and lose the answer.)
   */
  #refuse(answer: HttpAnswer, client: Client, request: IncomingMessage, response: ServerResponse): void {
    this.#send(answer, client, response, () => {
      if (request.complete) this.#becomeIdle(client);
      else request.once("end", () => this.#becomeIdle(client));
    });
    if (!request.complete) this.#limit(client, LINGER_MS);
    let dropped = 0;
    request.on("data", (chunk: Uint8Array) => {
      dropped += chunk.length;
      if (dropped > LINGER_BYTES) client.socket.destroy();
    });
    request.resume();
  }

  #becomeIdle(client: Client): void {
    client.busy = false;
    client.connection.become("idle");
    this.#limit(client, this.#options.limits.idleMs);
  }

  #send(
    { status, headers, body }: HttpAnswer,
    client: Client,
    response: ServerResponse,
    sent: () => void,
  ): void {
    // Who does not read it is as slow as who does not send.
    client.connection.become("unfinished");
    this.#limit(client, this.#options.limits.answerMs);
    const bytes = new TextEncoder().encode(body);
    response.writeHead(status, { ...headers, "content-length": bytes.length });
    response.end(bytes, sent);
  }
}

function portOf(server: https.Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** The largest of the source whose bodies take the most memory together. */
function largestOf(receptions: ReadonlySet<Reception>): Reception | undefined {
  const bySource = new Map<string, number>();
  for (const { source, bytes } of receptions) bySource.set(source, (bySource.get(source) ?? 0) + bytes);
  let largest: Reception | undefined;
  let most = -1;
  for (const reception of receptions) {
    const all = bySource.get(reception.source) ?? 0;
    if (all < most || (all === most && reception.bytes <= (largest?.bytes ?? 0))) continue;
    [largest, most] = [reception, all];
  }
  return largest;
}

function concat(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function clientKey({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}

/** Refuses what says itself that it is too large. */
function tooLarge(request: IncomingMessage, limit: number): HttpAnswer | undefined {
  return Number(request.headers["content-length"] ?? 0) > limit ? bodyTooLarge(limit) : undefined;
}

function bodyTooLarge(limit: number): HttpAnswer {
  return refusal(413, `The body is larger than ${limit} bytes`);
}
