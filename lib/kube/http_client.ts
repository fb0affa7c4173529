import { type Clock, delay } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { KubeClient, KubeRequest, KubeStreamRequest } from "./client.ts";
import {
  type ClientCertificate,
  type ClusterConfig,
  ClusterConfigError,
  type Credentials,
} from "./config.ts";
import { isStatus, KubeConnectionError, KubeStatusError, readStatus } from "./errors.ts";
import { createFetchTransport } from "./fetch_transport.ts";
import { parseRetryAfter, retryDelay } from "./retry.ts";
import type { Transport } from "./transport.ts";

/** What a client needs besides its configuration. */
export interface KubeClientOptions {
  readonly clock: Clock;
  /** From 0 to 1, as `Math.random`. */
  readonly random: () => number;
  readonly log: Logger;
  /** Value of the `User-Agent` header; the API server's audit log shows it. */
  readonly userAgent: string;
  /** Called once for each time that a request was sent. Must not throw. */
  readonly onResponse?: (info: ResponseInfo) => void;
}

/** What came of sending a request once. */
export interface ResponseInfo {
  readonly method: string;
  /** HTTP status code; `<error>` if no answer came (the Go client's word in its metrics). */
  readonly code: string;
  /** Host and port of the server. */
  readonly host: string;
  readonly path: string;
}

/** Milliseconds for a request that says nothing else. */
const DEFAULT_TIMEOUT = 30_000;

/** A client of the API server that `config` describes. Connects at its first request. */
export function createKubeClient(config: ClusterConfig, options: KubeClientOptions): KubeClient {
  return new HttpClient(config, options);
}

/** A request in the form in which each attempt sends it. */
interface Prepared {
  readonly method: string;
  readonly path: string;
  readonly url: string;
  readonly headers: readonly [string, string][];
  readonly body?: Uint8Array<ArrayBuffer>;
  readonly timeoutMs: number;
}

/** A transport and those who use it. One that is retired takes no new requests, and closes after its last one. */
interface Connection {
  readonly transport: Promise<Transport>;
  readonly certificate: ClientCertificate | undefined;
  /** PEM of the CA certificates that it trusts. */
  readonly ca: string | undefined;
  users: number;
  retired: boolean;
}

class HttpClient implements KubeClient {
  readonly #config: ClusterConfig;
  readonly #options: KubeClientOptions;
  readonly #host: string;
  readonly #closing = new AbortController();
  #connection: Connection | undefined;
  /** The credentials that were given last. */
  #credentials: Credentials | undefined;
  #renewing: Promise<Credentials> | undefined;
  /** Whether the server could not be reached since the CA certificates were asked for. */
  #unreached = false;
  /** Whether the log says that the server's certificate is not trusted. */
  #distrusted = false;

  constructor(config: ClusterConfig, options: KubeClientOptions) {
    this.#config = config;
    this.#options = options;
    this.#host = new URL(config.server).host;
  }

  async request<T>(request: KubeRequest): Promise<T> {
    const { clock, random, log } = this.#options;
    const prepared = this.#prepare(request);
    const attempts = request.attempts ?? 4;
    const call = new Span([request.signal, this.#closing.signal]);
    try {
      for (let attempt = 1;; attempt++) {
        try {
          return await this.#send(prepared, call, (response) => this.#readJson<T>(response));
        } catch (error) {
          const ms = attempt < attempts && !call.signal.aborted
            ? retryDelay(error, attempt, random())
            : undefined;
          if (ms === undefined) throw error;
          log.info("Request failed, will be sent again", {
            method: prepared.method,
            path: prepared.path,
            error: error instanceof Error ? error.message : String(error),
            attempt,
            waitMs: Math.round(ms),
          }, 3);
          await delay(clock, ms, call.signal);
        }
      }
    } finally {
      call.end();
    }
  }

  async stream(request: KubeStreamRequest): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const call = new Span([request.signal, this.#closing.signal]);
    try {
      return await this.#send(this.#prepare(request), call, (response, connection) => {
        connection.users++;
        const onEnd = () => {
          call.end();
          this.#release(connection);
        };
        return watched(response, call.signal, onEnd, (error) => this.#connectionError(error));
      });
    } catch (error) {
      call.end();
      throw error;
    }
  }

  reconnect(): void {
    if (this.#connection !== undefined) this.#retire(this.#connection);
  }

  close(): void {
    this.#closing.abort(new KubeConnectionError("The client has been closed", { timedOut: false }));
    this.reconnect();
  }

  #prepare(request: KubeRequest): Prepared {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) query.append(name, String(value));
    }
    const body = request.body === undefined || request.body instanceof Uint8Array
      ? request.body
      : new TextEncoder().encode(JSON.stringify(request.body));
    const headers: [string, string][] = [
      ["Accept", request.accept ?? "application/json"],
      // Deno reads gzip to the end of its first member only, and the API server writes several into a watch. Elsewhere
      // compression costs more than it saves, inside a cluster.
      ["Accept-Encoding", "identity"],
      ["User-Agent", this.#options.userAgent],
    ];
    if (body !== undefined) headers.push(["Content-Type", request.contentType ?? "application/json"]);
    for (const [name, value] of this.#config.impersonate ?? []) headers.push([name, value]);
    return {
      method: request.method ?? "GET",
      path: request.path,
      url: `${this.#config.server}${request.path}${query.size === 0 ? "" : `?${query}`}`,
      headers,
      ...(body === undefined ? {} : { body }),
      timeoutMs: request.timeoutMs ?? this.#config.requestTimeoutMs ?? DEFAULT_TIMEOUT,
    };
  }

  /**
   * Sends a request once, and once more with new credentials if it is refused with 401. The deadline holds for each of the
   * two, and until `read` is done.
   *
   * @param refused the credentials that were refused, the second time.
   */
  async #send<T>(
    request: Prepared,
    call: Span,
    read: (response: Response, connection: Connection) => T | Promise<T>,
    refused?: Credentials,
  ): Promise<T> {
    const { clock } = this.#options;
    const sending = new Span([call.signal]);
    let credentials: Credentials | undefined;
    let connection: Connection | undefined;
    const cancelTimer = clock.setTimer(request.timeoutMs, () => {
      // A connection that lets a deadline pass may be dead without anybody saying so; fetch would use it for ever.
      if (connection !== undefined) this.#retire(connection);
      const waitedFor = connection === undefined
        ? "There were no credentials"
        : `${this.#config.server} did not answer`;
      sending.abort(
        new KubeConnectionError(
          `${waitedFor} within ${request.timeoutMs} ms for ${request.method} ${request.path}`,
          { timedOut: true },
        ),
      );
    });
    try {
      credentials = await sending.race(this.#currentCredentials(refused));
      const ca = await sending.race(this.#currentCa());
      connection = this.#acquire(credentials.clientCertificate ?? this.#config.clientCertificate, ca);
      const response = await this.#exchange(request, credentials, connection, sending);
      if (!response.ok) throw await this.#refusal(response);
      return await read(response, connection);
    } catch (error) {
      if (sending.signal.aborted) throw sending.signal.reason;
      if (!isStatus(error, 401) || this.#config.credentials === undefined || refused !== undefined) {
        throw this.#connectionError(error);
      }
    } finally {
      cancelTimer();
      sending.end();
      if (connection !== undefined) this.#release(connection);
    }
    return await this.#send(request, call, read, credentials);
  }

  /** Sends a request and tells how that went. */
  async #exchange(
    { method, path, url, headers, body }: Prepared,
    { authorization }: Credentials,
    connection: Connection,
    sending: Span,
  ): Promise<Response> {
    let code = "<error>";
    try {
      const transport = await sending.race(connection.transport);
      const response = await transport.send({
        method,
        url,
        headers: authorization === undefined ? [...headers] : [...headers, ["Authorization", authorization]],
        ...(body === undefined ? {} : { body }),
        signal: sending.signal,
      });
      code = String(response.status);
      this.#distrusted = false;
      return response;
    } catch (error) {
      // It may be that the server has a certificate of another CA by now. A file is read faster than that is found out.
      this.#unreached = true;
      this.#reportDistrust(error);
      throw error;
    } finally {
      this.#options.onResponse?.({ method, code, host: this.#host, path });
    }
  }

  /**
   * Says once what does not pass by itself. Whoever sends a request may have been told of a lost connection before, and take this
   * for the same.
   */
  #reportDistrust(error: unknown): void {
    const text = explain(error);
    if (this.#distrusted || !/certificate/i.test(text)) return;
    this.#distrusted = true;
    this.#options.log.error(
      "The certificate of the API server is not trusted: see to it that the CA file, or the kubeconfig, names its CA",
      text,
      { server: this.#config.server },
    );
  }

  /** The credentials of the moment. Those that were refused are renewed, once for all that were refused with them. */
  #currentCredentials(refused: Credentials | undefined): Promise<Credentials> {
    if (refused === undefined || refused !== this.#credentials) return this.#askCredentials(false);
    return this.#renewing ??= this.#askCredentials(true).finally(() => this.#renewing = undefined);
  }

  async #askCredentials(force: boolean): Promise<Credentials> {
    return this.#credentials = await this.#config.credentials?.({ force }) ?? {};
  }

  /** The CA certificates to trust at the moment. */
  async #currentCa(): Promise<string | undefined> {
    const { caSource, caCertificates } = this.#config;
    const force = this.#unreached;
    this.#unreached = false;
    return caSource === undefined ? caCertificates : await caSource({ force });
  }

  async #readJson<T>(response: Response): Promise<T> {
    const text = await response.text();
    if (text === "") return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      // Without the parser's message: it quotes the text, which may be a Secret.
      throw new KubeConnectionError(
        `${this.#config.server} did not answer in JSON: is it a Kubernetes API server? (${text.length} characters)`,
        { timedOut: false },
      );
    }
  }

  async #refusal(response: Response): Promise<KubeStatusError> {
    const retryAfter = parseRetryAfter(response.headers.get("retry-after"), this.#options.clock.now());
    return new KubeStatusError(readStatus(response.status, await response.text(), retryAfter));
  }

  /** The connection to use now, with one more user. Other certificates, of the client or of CAs, need another connection. */
  #acquire(certificate: ClientCertificate | undefined, ca: string | undefined): Connection {
    const last = this.#connection;
    if (
      last !== undefined && (last.certificate?.certificate !== certificate?.certificate ||
        last.certificate?.key !== certificate?.key || last.ca !== ca)
    ) this.#retire(last);
    const connection = this.#connection ??= {
      transport: openTransport(this.#config, certificate, ca),
      certificate,
      ca,
      users: 0,
      retired: false,
    };
    connection.users++;
    return connection;
  }

  #release(connection: Connection): void {
    connection.users--;
    if (connection.retired && connection.users === 0) closeTransport(connection);
  }

  #retire(connection: Connection): void {
    if (connection.retired) return;
    connection.retired = true;
    if (this.#connection === connection) this.#connection = undefined;
    if (connection.users === 0) closeTransport(connection);
  }

  /** `error` as callers know it. */
  #connectionError(error: unknown): KubeStatusError | KubeConnectionError {
    if (error instanceof KubeStatusError || error instanceof KubeConnectionError) return error;
    if (error instanceof ClusterConfigError) {
      return new KubeConnectionError(error.message, { timedOut: false, cause: error });
    }
    return new KubeConnectionError(`Cannot reach ${this.#config.server}: ${explain(error)}`, {
      timedOut: false,
      cause: error,
    });
  }
}

/** A piece of work that one signal ends: when one of its parents does, or by itself. */
class Span {
  readonly #controller = new AbortController();
  readonly #parents: readonly AbortSignal[];
  // Not AbortSignal.any: parents live as long as the process, and must not remember each request.
  readonly #follow = (event: Event) => this.#controller.abort((event.target as AbortSignal).reason);

  constructor(parents: readonly (AbortSignal | undefined)[]) {
    this.#parents = parents.filter((parent) => parent !== undefined);
    for (const parent of this.#parents) {
      if (parent.aborted) this.#controller.abort(parent.reason);
      parent.addEventListener("abort", this.#follow, { once: true });
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /** Stops following its parents. */
  end(): void {
    for (const parent of this.#parents) parent.removeEventListener("abort", this.#follow);
  }

  /** What `promise` comes to, or the signal's reason as soon as it aborts. */
  race<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const { signal } = this;
      if (signal.aborted) reject(signal.reason);
      else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      promise.then(resolve, reject);
    });
  }
}

async function openTransport(
  config: ClusterConfig,
  certificate: ClientCertificate | undefined,
  ca: string | undefined,
): Promise<Transport> {
  const options = {
    ...config,
    ...(certificate === undefined ? {} : { clientCertificate: certificate }),
    ...(ca === undefined ? {} : { caCertificates: ca }),
  };
  const overNodeHttps = config.tlsServerName !== undefined || config.insecureSkipTlsVerify === true ||
    config.givenCaOnly === true;
  if (!overNodeHttps || config.server.startsWith("http:")) return createFetchTransport(options);
  const { createNodeTransport } = await import("./node_transport.ts");
  return await createNodeTransport(options);
}

function closeTransport({ transport }: Connection): void {
  transport.then((opened) => opened.close(), () => {});
}

/**
 * The body of `response` as a stream that fails with the reason of `signal`.
 *
 * @param onEnd called once, when the stream has ended, failed or was given up.
 * @param asError what its reader gets for an error of the platform.
 */
function watched(
  response: Response,
  signal: AbortSignal,
  onEnd: () => void,
  asError: (error: unknown) => Error,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = (response.body ?? new Blob().stream()).getReader();
  let ended = false;
  let stop = () => {};
  const end = () => {
    ended = true;
    signal.removeEventListener("abort", stop);
    onEnd();
  };
  return new ReadableStream({
    start(controller) {
      // Also when nobody reads: the connection must not stay in use.
      stop = () => {
        end();
        controller.error(signal.reason);
        reader.cancel(signal.reason).catch(() => {});
      };
      signal.addEventListener("abort", stop, { once: true });
    },
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (ended) return;
        if (!done) return controller.enqueue(value);
        end();
        controller.close();
      } catch (error) {
        if (ended) return;
        end();
        controller.error(asError(error));
      }
    },
    async cancel(reason) {
      end();
      await reader.cancel(reason);
    },
  }, { highWaterMark: 0 });
}

/** What failed, in the words of the platform: fetch puts them into the cause, after the whole URL. */
function explain(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const text = cause instanceof Error ? cause.message : String(cause);
  return text.replace(/^error sending request for url \(\S*\): /, "").replace(/^client error \(\w+\): /, "");
}
