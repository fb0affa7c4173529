import type { IncomingMessage, ServerResponse } from "node:http";
import type https from "node:https";
import type { Socket } from "node:net";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { ListenError } from "../lib/http_server.ts";
import type { Logger } from "../lib/log.ts";
import { type HttpAnswer, refusal, type RequestHead } from "./admission_handler.ts";
import type { KeyPair } from "./key_pair.ts";

/** What clients may use up. Times are milliseconds. */
export interface ServerLimits {
  /** Largest body of a request, in bytes. */
  readonly bodyBytes: number;
  /** All bodies that are being received, in bytes. */
  readonly allBodiesBytes: number;
  readonly connections: number;
  /** From the connection to the end of the first request's head, the TLS handshake included. */
  readonly headMs: number;
  /** From the end of a request's head to the end of its body. */
  readonly bodyMs: number;
  /** From an answer to the end of the next request's head. Longer than the API server keeps idle connections (90 s), so that it never sends a request into a connection that is being closed. */
  readonly idleMs: number;
}

/** What fits API servers: they send one small request at a time on each of few connections. */
export const DEFAULT_LIMITS: ServerLimits = {
  bodyBytes: 3 * 1024 * 1024,
  allBodiesBytes: 24 * 1024 * 1024,
  connections: 256,
  headMs: 10_000,
  bodyMs: 10_000,
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
  readonly answer: (body: Uint8Array) => HttpAnswer;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A client's connection. */
interface Connection {
  readonly socket: Socket;
  /** Whether a request is being received or answered. */
  busy: boolean;
  /** How many requests were answered. */
  answered: number;
  /** Ends the present time limit. */
  cancel: CancelTimer;
}

/** A body that is being received. */
interface Reception {
  bytes: number;
  readonly giveUp: () => void;
}

/**
 * An HTTPS server for small JSON requests whose certificate can be replaced at any time, and that stays within its limits
 * whatever clients do: who is slow, big or idle too long is put off, and if there are too many, the least useful ones.
 * (`node:https`, because `Deno.serve` cannot replace a certificate.)
 */
export class TlsServer {
  readonly #options: TlsServerOptions;
  readonly #server: https.Server;
  /** By the client's address and port, oldest first. */
  readonly #connections = new Map<string, Connection>();
  /** Oldest first. */
  readonly #receptions = new Set<Reception>();
  #receiving = 0;

  private constructor(options: TlsServerOptions, createServer: typeof https.createServer) {
    this.#options = options;
    this.#server = createServer({ minVersion: options.minVersion }, (request, response) => {
      this.#serve(request, response);
    });
    // The limits below take their place.
    Object.assign(this.#server, { headersTimeout: 0, requestTimeout: 0, keepAliveTimeout: 0, timeout: 0 });
    this.#server.on("connection", (socket: Socket) => this.#accept(socket));
    this.#server.on("tlsClientError", (error: Error) => {
      this.#options.log.info("TLS handshake failed", { cause: error.message }, 4);
    });
    this.#server.on("clientError", (error: Error, socket: Socket) => {
      this.#options.log.info("Client sent no valid HTTP", { cause: error.message }, 4);
      socket.destroy();
    });
  }

  /**
   * Starts to listen. Until {@linkcode use} is called for the first time, TLS handshakes fail.
   *
   * @throws {ListenError}
   */
  static async listen(options: TlsServerOptions): Promise<TlsServer> {
    // Here and not at the top, because a bundle would load it at its start, which costs 13 MB.
    const { createServer } = await import("node:https");
    const server = new TlsServer(options, createServer);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.#server.once("error", reject);
    server.#server.listen(options.port, options.host, resolve);
    try {
      await promise;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ListenError(
        `Cannot serve the webhook on ${options.host}, port ${options.port}: ${reason}`,
        { cause: error },
      );
    }
    server.#server.off("error", reject);
    server.#server.on("error", (error: Error) => options.log.error("Webhook server failed", error));
    return server;
  }

  /** The port it listens on; differs from the wanted one only if that was 0. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : this.#options.port;
  }

  /** How many clients are connected. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Serves new connections with this pair; open ones go on with theirs. */
  use({ certificate, privateKey }: KeyPair): void {
    // The minimum version is lost if it is not said again.
    const context = { cert: certificate, key: privateKey, minVersion: this.#options.minVersion };
    this.#server.setSecureContext(context);
  }

  /** Takes no more requests, answers those that are being received within `graceMs` milliseconds, and ends. */
  async close(graceMs: number): Promise<void> {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    for (const connection of this.#connections.values()) {
      if (!connection.busy) connection.socket.destroy();
    }
    const cancel = this.#options.clock.setTimer(graceMs, () => {
      for (const { socket } of this.#connections.values()) socket.destroy();
    });
    await closed;
    cancel();
  }

  #accept(socket: Socket): void {
    const { limits, clock } = this.#options;
    const key = connectionKey(socket);
    if (this.#connections.size >= limits.connections && !this.#makeRoom()) {
      socket.destroy();
      return;
    }
    const connection: Connection = { socket, busy: false, answered: 0, cancel: () => {} };
    connection.cancel = clock.setTimer(limits.headMs, () => socket.destroy());
    this.#connections.set(key, connection);
    socket.on("error", () => {});
    socket.on("close", () => {
      connection.cancel();
      if (this.#connections.get(key) === connection) this.#connections.delete(key);
    });
  }

  /** Ends the oldest connection that has brought no request yet, else the oldest idle one. */
  #makeRoom(): boolean {
    const idle = [...this.#connections].filter(([, { busy }]) => !busy);
    const [key, victim] = idle.find(([, { answered }]) => answered === 0) ?? idle[0] ?? [];
    if (key === undefined || victim === undefined) return false;
    this.#connections.delete(key);
    victim.socket.destroy();
    return true;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(connectionKey(request.socket));
    if (connection === undefined) {
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
    const { limits, clock } = this.#options;
    connection.busy = true;
    connection.cancel();
    connection.cancel = clock.setTimer(limits.bodyMs, () => connection.socket.destroy());
    const refused = this.#options.refuse(head) ?? tooLarge(request, limits.bodyBytes);
    if (refused !== undefined) this.#refuse(refused, connection, request, response);
    else this.#receive(connection, request, response);
  }

  #receive(connection: Connection, request: IncomingMessage, response: ServerResponse): void {
    const { limits, answer } = this.#options;
    const chunks: Uint8Array[] = [];
    let open = true;
    const reception: Reception = {
      bytes: 0,
      giveUp: () => {
        end();
        this.#refuse(
          refusal(503, "Too busy: too many large requests at once"),
          connection,
          request,
          response,
        );
      },
    };
    const end = () => {
      if (!open) return;
      open = false;
      chunks.length = 0;
      this.#receptions.delete(reception);
      this.#receiving -= reception.bytes;
    };
    this.#receptions.add(reception);
    request.on("close", end);
    request.on("data", (chunk: Uint8Array) => {
      if (!open) return;
      reception.bytes += chunk.length;
      this.#receiving += chunk.length;
      if (reception.bytes > limits.bodyBytes) {
        end();
        this.#refuse(bodyTooLarge(limits.bodyBytes), connection, request, response);
        return;
      }
      chunks.push(chunk);
      while (this.#receiving > limits.allBodiesBytes) {
        const [oldest] = this.#receptions;
        if (oldest === undefined) break;
        oldest.giveUp();
      }
    });
    request.on("end", () => {
      if (!open) return;
      const body = concat(chunks, reception.bytes);
      end();
      this.#send(this.#answered(answer, body), response, () => this.#becomeIdle(connection));
    });
  }

  #answered(answer: (body: Uint8Array) => HttpAnswer, body: Uint8Array): HttpAnswer {
    try {
      return answer(body);
    } catch (error) {
      // A defect. The client learns nothing of it; what the body was is not logged either.
      this.#options.log.error("Failed to answer an admission request", error);
      return refusal(500, "Internal error");
    }
  }

  /**
   * Answers before the request has ended. What is still sent is dropped; the connection goes on if that ends soon. (It is not
   * closed at once, which would be a reset to a client that still sends, and lose the answer.)
   */
  #refuse(
    answer: HttpAnswer,
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    connection.cancel();
    connection.cancel = this.#options.clock.setTimer(LINGER_MS, () => connection.socket.destroy());
    this.#send(answer, response, () => {
      if (request.complete) this.#becomeIdle(connection);
      else request.once("end", () => this.#becomeIdle(connection));
    });
    let dropped = 0;
    request.on("data", (chunk: Uint8Array) => {
      dropped += chunk.length;
      if (dropped > LINGER_BYTES) connection.socket.destroy();
    });
    request.resume();
  }

  #becomeIdle(connection: Connection): void {
    const { limits, clock } = this.#options;
    connection.busy = false;
    connection.answered++;
    connection.cancel();
    connection.cancel = clock.setTimer(limits.idleMs, () => connection.socket.destroy());
  }

  #send({ status, headers, body }: HttpAnswer, response: ServerResponse, sent: () => void): void {
    const bytes = new TextEncoder().encode(body);
    response.writeHead(status, { ...headers, "content-length": bytes.length });
    response.end(bytes, sent);
  }
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

function connectionKey({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}

/** Refuses what says itself that it is too large. */
function tooLarge(request: IncomingMessage, limit: number): HttpAnswer | undefined {
  return Number(request.headers["content-length"] ?? 0) > limit ? bodyTooLarge(limit) : undefined;
}

function bodyTooLarge(limit: number): HttpAnswer {
  return refusal(413, `The body is larger than ${limit} bytes`);
}
