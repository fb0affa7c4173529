import { dirname } from "node:path";
import { parse, stringify } from "yaml";
import { makeTestCertificates } from "../../lib/kube/test_certificates.ts";
import type { RestConfig } from "../cluster/rest_client.ts";
import {
  type AnswerFault,
  cutAfter,
  duplicateLines,
  garbageAfter,
  gzipMembers,
  recorded,
  slowedDown,
} from "./answer_faults.ts";
import { FreezableConnections } from "./freezable_connections.ts";

/** One request of the operator, as the proxy sees it. */
export interface ProxiedRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  /** Whether it is a watch, with or without the initial state. */
  readonly watch: boolean;
  /** Empty for the core group. */
  readonly group: string;
  /** Plural, such as `configmaps`; empty if the request is for no resource. */
  readonly resource: string;
  /** Such as `status`. */
  readonly subresource: string | undefined;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  /** Bearer token that it came with. */
  readonly token: string | undefined;
  /** Counts the requests of a proxy, from 1. */
  readonly number: number;
}

/** What is done instead of, or to, the answer of the API server. */
export type Fault =
  /** Answered without the API server. The body is a Kubernetes `Status` unless another is given. */
  | {
    readonly kind: "answer";
    readonly status: number;
    /** Sent as the header `Retry-After`. */
    readonly retryAfterSeconds?: number;
    readonly reason?: string;
    readonly body?: string;
  }
  /** The connection breaks before the request is passed on, with all that is under way on it. */
  | { readonly kind: "reset" }
  /** The request is passed on and carried out, but its answer is lost with the connection. */
  | { readonly kind: "reset-after" }
  /** The request is passed on that much later. */
  | { readonly kind: "delay"; readonly milliseconds: number }
  /**
   * The request is passed on when `until` resolves, also if nobody waits for its answer any more: as one that has been under way for
   * long.
   */
  | { readonly kind: "late"; readonly until: Promise<unknown> }
  /** The request is passed on, and each piece of its answer arrives that much later. */
  | { readonly kind: "slow"; readonly milliseconds: number }
  /** Its connection stays open, but nothing passes on it any more: until `thaw`, or the end of the proxy. */
  | { readonly kind: "freeze" }
  /** There never is an answer; other requests on the same connection go on. */
  | { readonly kind: "hang" }
  /** The answer's body ends after so many bytes: as if it were complete (`end`), or with an error of the stream (`reset`). */
  | { readonly kind: "cut"; readonly afterBytes: number; readonly how: "reset" | "end" }
  /** After so many bytes of the body come some that are no JSON, and the end. */
  | { readonly kind: "garbage"; readonly afterBytes: number }
  /** Each event of a watch arrives twice. */
  | { readonly kind: "duplicate-events" }
  /** A watch begins, and ends with an ERROR event of status 410. */
  | { readonly kind: "expire" }
  /**
   * A list, or a watch with the initial state, is answered as it was the last time (the watch then ends). Passed on if there was no such
   * time.
   */
  | { readonly kind: "stale-list" }
  /** The answer is compressed though nobody asked for it, each piece as a gzip member of its own, as the API server does. */
  | { readonly kind: "compress" };

/** Which fault a request meets; undefined to leave it alone. */
export type FaultRule = (request: ProxiedRequest) => Fault | undefined;

/** How an API server is reached; a `ControlPlane` says so. */
export interface ProxiedServer {
  readonly admin: { readonly config: Pick<RestConfig, "server" | "caCertificates"> };
}

/** Longest answer that is kept to be given again, in bytes. */
const LONGEST_RECORD = 32 * 1024 * 1024;

/** Headers that are about one connection, or are set anew. */
const NOT_PASSED_ON = [
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "te",
  "transfer-encoding",
  "upgrade",
];

/**
 * An HTTPS proxy on 127.0.0.1 between an operator and an API server that does faults. It speaks HTTP/2 and HTTP/1.1 as the API server does,
 * passes streams on as they come, and authentication by token as it is. Requests are passed on uncompressed.
 */
export class FaultProxy implements AsyncDisposable {
  /** Base URL. */
  readonly url: string;
  readonly #ca: string;
  readonly #upstream: ProxiedServer["admin"]["config"];
  readonly #http: Deno.HttpClient;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #connections: FreezableConnections;
  readonly #userAgent: string | undefined;
  readonly #closing = new AbortController();
  readonly #rules: { readonly rule: FaultRule }[] = [];
  readonly #faults = new Map<Fault["kind"], number>();
  readonly #answers = new Map<string, Uint8Array<ArrayBuffer>>();
  readonly #kubeconfigs: string[] = [];
  #requests = 0;

  private constructor(
    { config }: ProxiedServer["admin"],
    certificates: {
      readonly ca: string;
      readonly server: { readonly certificate: string; readonly key: string };
    },
    userAgent: string | undefined,
  ) {
    const { caCertificates } = config;
    this.#upstream = config;
    this.#ca = certificates.ca;
    this.#userAgent = userAgent;
    this.#http = Deno.createHttpClient(caCertificates === undefined ? {} : { caCerts: [caCertificates] });
    this.#server = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      cert: certificates.server.certificate,
      key: certificates.server.key,
      onListen: () => {},
      onError: () => new Response(null, { status: 502 }),
    }, (request, { remoteAddr, completed }) => this.#answer(request, remoteAddr.port, completed));
    this.#connections = new FreezableConnections(this.#server.addr.port);
    this.url = `https://127.0.0.1:${this.#connections.port}`;
  }

  /**
   * Starts a proxy before the API server of a control plane.
   *
   * @param options.userAgent is put after the `User-Agent` of each request, so that the audit log tells who came this way.
   */
  static async start(apiServer: ProxiedServer, options: { userAgent?: string } = {}): Promise<FaultProxy> {
    return new FaultProxy(apiServer.admin, await makeTestCertificates(), options.userAgent);
  }

  /**
   * Writes a kubeconfig file beside `original`, and like it, but with the address of this proxy and its CA. It is removed with the proxy.
   *
   * @returns its path.
   */
  async kubeconfig(original: string): Promise<string> {
    const config = parse(await Deno.readTextFile(original));
    for (const { cluster } of config.clusters) {
      for (const field of ["certificate-authority", "tls-server-name", "insecure-skip-tls-verify"]) {
        delete cluster[field];
      }
      cluster.server = this.url;
      cluster["certificate-authority-data"] = new TextEncoder().encode(this.#ca).toBase64();
    }
    const path = `${dirname(original)}/through-proxy.${crypto.randomUUID()}.kubeconfig.yaml`;
    await Deno.writeTextFile(path, stringify(config), { mode: 0o600 });
    this.#kubeconfigs.push(path);
    return path;
  }

  /** From now on `rule` says what happens to new requests, unless a newer one does. To dispose of the result takes it away. */
  use(rule: FaultRule): Disposable {
    const entry = { rule };
    this.#rules.unshift(entry);
    return {
      [Symbol.dispose]: () => {
        const index = this.#rules.indexOf(entry);
        if (index !== -1) this.#rules.splice(index, 1);
      },
    };
  }

  /**
   * Until the result is disposed of, no byte passes, and new connections get no answer. What was sent meanwhile arrives then, as in a
   * network.
   */
  partition(): Disposable {
    return this.#connections.partition();
  }

  /** Breaks all connections with all that is under way on them. */
  breakConnections(): void {
    this.#connections.breakAll();
  }

  /** Lets all connections go on that a fault `freeze` has stopped. */
  thaw(): void {
    this.#connections.thaw();
  }

  /** How often each fault was done so far. */
  get faults(): ReadonlyMap<Fault["kind"], number> {
    return this.#faults;
  }

  /** How many requests have come so far. */
  get requests(): number {
    return this.#requests;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("The proxy is closed"));
    this.#connections[Symbol.dispose]();
    await this.#server.shutdown();
    this.#http.close();
    for (const path of this.#kubeconfigs) await Deno.remove(path).catch(ignoreMissing);
  }

  /**
   * @param connection the port that tells which one it came over.
   * @param completed settles when the answer has been delivered, or cannot be any more.
   */
  async #answer(incoming: Request, connection: number, completed: Promise<void>): Promise<Response> {
    const request = describe(incoming, ++this.#requests);
    const undelivered = new AbortController();
    completed.catch(() => undelivered.abort());
    const body = incoming.body === null ? null : await incoming.bytes();
    const fault = this.#faultFor(request);
    const closing = this.#closing.signal;
    const gone = fault?.kind === "late" ? closing : AbortSignal.any([undelivered.signal, closing]);
    const done = () => this.#count(fault);
    switch (fault?.kind) {
      case "answer":
        done();
        return answerOf(fault);
      case "expire":
        done();
        return new Response(EXPIRED, { headers: { "content-type": "application/json" } });
      case "reset":
        done();
        this.#connections.break(connection);
        return new Response(null, { status: 502 });
      case "freeze":
        done();
        this.#connections.freeze(connection);
        break;
      case "hang":
        done();
        await aborted(gone);
        return new Response(null, { status: 504 });
      case "delay":
        done();
        await Promise.race([
          new Promise((resolve) => setTimeout(resolve, fault.milliseconds)),
          aborted(gone),
        ]);
        break;
      case "late":
        done();
        await Promise.race([fault.until, aborted(gone)]);
        break;
      case "stale-list": {
        const stale = this.#answers.get(recordKey(incoming, request));
        if (stale === undefined) break;
        done();
        return new Response(stale.slice(), { headers: { "content-type": "application/json" } });
      }
    }
    try {
      const answer = await this.#passOn(incoming, body, gone);
      if (fault?.kind === "reset-after") {
        await answer.bytes();
        done();
        this.#connections.break(connection);
        return new Response(null, { status: 502 });
      }
      return this.#returned(incoming, request, answer, fault);
    } catch {
      // The API server is not to be reached: to its clients that is a connection that breaks.
      this.#connections.break(connection);
      return new Response(null, { status: 502 });
    }
  }

  #faultFor(request: ProxiedRequest): Fault | undefined {
    for (const { rule } of this.#rules) {
      const fault = rule(request);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  async #passOn(
    incoming: Request,
    body: Uint8Array<ArrayBuffer> | null,
    signal: AbortSignal,
  ): Promise<Response> {
    const { pathname, search } = new URL(incoming.url);
    const headers = passedOn(incoming.headers);
    // The body is decoded on the way otherwise.
    headers.set("accept-encoding", "identity");
    if (this.#userAgent !== undefined) {
      headers.set("user-agent", `${headers.get("user-agent") ?? ""} ${this.#userAgent}`.trim());
    }
    return await fetch(`${this.#upstream.server}${pathname}${search}`, {
      method: incoming.method,
      headers,
      body,
      redirect: "manual",
      client: this.#http,
      signal,
    });
  }

  /** The answer of the API server, as it goes on to the client. */
  #returned(
    incoming: Request,
    request: ProxiedRequest,
    answer: Response,
    fault: Fault | undefined,
  ): Response {
    const headers = passedOn(answer.headers);
    headers.append("cache-control", "no-transform"); // else Deno may compress it
    const init = { status: answer.status, headers };
    if (answer.body === null) return new Response(null, init);
    let body = answer.body;
    if (answer.ok) {
      if (isInitial(request)) {
        const key = recordKey(incoming, request);
        const isLast = request.watch
          ? (line: string) => line.includes(`"k8s.io/initial-events-end":"true"`)
          : undefined;
        body = body.pipeThrough(recorded(isLast, LONGEST_RECORD, (bytes) => this.#answers.set(key, bytes)));
      }
      for (const transform of this.#transforms(request, fault)) body = body.pipeThrough(transform);
      if (fault?.kind === "compress") headers.set("content-encoding", "gzip");
    }
    return new Response(body, init);
  }

  /** What happens to the body of an answer. */
  #transforms(request: ProxiedRequest, fault: Fault | undefined): AnswerFault[] {
    const done = once(() => this.#count(fault));
    switch (fault?.kind) {
      case "cut":
        return [cutAfter(fault.afterBytes, fault.how, done)];
      case "garbage":
        return [garbageAfter(fault.afterBytes, done)];
      case "slow":
        return [slowedDown(fault.milliseconds, done)];
      case "duplicate-events":
        return request.watch ? [duplicateLines(done)] : [];
      case "compress":
        return [gzipMembers(done)];
      default:
        return [];
    }
  }

  #count(fault: Fault | undefined): void {
    if (fault !== undefined) this.#faults.set(fault.kind, (this.#faults.get(fault.kind) ?? 0) + 1);
  }
}

const EXPIRED = JSON.stringify({
  type: "ERROR",
  object: {
    apiVersion: "v1",
    kind: "Status",
    status: "Failure",
    message: "The resourceVersion for the provided watch is too old.",
    reason: "Expired",
    code: 410,
  },
}) + "\n";

function describe(request: Request, number: number): ProxiedRequest {
  const { pathname: path, searchParams: query } = new URL(request.url);
  const watch = request.method === "GET" && ["true", "1"].includes(query.get("watch") ?? "");
  const token = request.headers.get("authorization")?.replace(/^Bearer /, "");
  return { method: request.method, path, query, watch, token, number, ...resourceOf(path) };
}

/** What a path of the Kubernetes API is about. */
function resourceOf(
  path: string,
): Pick<ProxiedRequest, "group" | "resource" | "subresource" | "namespace" | "name"> {
  const segments = path.split("/").slice(1).map(decodeURIComponent);
  const group = segments[0] === "apis" ? segments[1] ?? "" : "";
  let rest = segments.slice(segments[0] === "apis" ? 3 : segments[0] === "api" ? 2 : segments.length);
  let namespace: string | undefined;
  // `/api/v1/namespaces/x` is about a namespace; with more segments it is about something in it.
  if (rest[0] === "namespaces" && rest.length > 2 && !["status", "finalize"].includes(rest[2] ?? "")) {
    namespace = rest[1];
    rest = rest.slice(2);
  }
  const [resource = "", name, subresource] = rest;
  return { group, resource, subresource, namespace, name };
}

/** Whether it patches a ConfigMap, as who writes targets does. */
export function isTargetWrite({ method, resource, namespace }: ProxiedRequest): boolean {
  return method === "PATCH" && resource === "configmaps" && namespace !== undefined;
}

/** Whether the answer is all of a collection. */
function isInitial({ method, watch, resource, name, query }: ProxiedRequest): boolean {
  if (method !== "GET" || resource === "" || name !== undefined || query.has("continue")) return false;
  return !watch || query.get("sendInitialEvents") === "true";
}

/** Same for requests that have the same answer, if nothing changes. */
function recordKey(request: Request, { method, path, query, watch }: ProxiedRequest): string {
  const asked = ["labelSelector", "fieldSelector", "limit", "continue"].map((name) => query.get(name));
  return JSON.stringify([method, path, watch, asked, request.headers.get("accept")]);
}

function answerOf({ status, retryAfterSeconds, reason, body }: Fault & { kind: "answer" }): Response {
  const seconds = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  return new Response(
    body ?? JSON.stringify({
      apiVersion: "v1",
      kind: "Status",
      status: "Failure",
      message: `The fault proxy answers with ${status}`,
      reason: reason ?? "",
      details: seconds,
      code: status,
    }),
    {
      status,
      headers: {
        "content-type": body === undefined ? "application/json" : "text/plain",
        ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) }),
      },
    },
  );
}

function passedOn(headers: Headers): Headers {
  const copy = new Headers(headers);
  for (const name of NOT_PASSED_ON) copy.delete(name);
  return copy;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

function once(act: () => void): () => void {
  let acted = false;
  return () => {
    if (!acted) act();
    acted = true;
  };
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
