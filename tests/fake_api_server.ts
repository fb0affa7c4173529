import { type Clock, delay } from "../lib/clock.ts";
import {
  APPLY_PATCH,
  JSON_PATCH,
  type KubeClient,
  type KubeRequest,
  type KubeStreamRequest,
} from "../lib/kube/client.ts";
import { KubeConnectionError, KubeStatusError } from "../lib/kube/errors.ts";
import type { KubeObject, ManagedFieldsEntry } from "../lib/kube/objects.ts";
import { serverSideApply, update } from "./fake_apply.ts";

type StreamController = ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;

/** An open watch. */
interface Watcher {
  /** As asked for: a collection, or all of that resource in all namespaces. */
  readonly path: string;
  readonly selector: string;
  readonly metadataOnly: boolean;
  readonly connection: number;
  readonly controller: StreamController;
  /** Bytes that may still be sent before the stream is cut. */
  left: number;
  readonly cutBy: "end" | "error";
}

interface HistoryEntry {
  readonly revision: number;
  readonly collection: string;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: KubeObject;
  readonly before: KubeObject | undefined;
}

/**
 * As much of an API server, seen through a client, as lists, watches, leases, events and applies need: optimistic concurrency,
 * history, paging, bookmarks, field ownership. In memory and without time of its own: what it sends arrives at once, unless a
 * test holds, freezes, cuts or refuses it. Objects are in one collection each (the path of a namespaced or cluster-scoped list).
 */
export class FakeApiServer implements KubeClient {
  /** Answers a request (of any kind) with an error, if it returns one. */
  intercept: (request: KubeRequest | KubeStreamRequest) => Error | undefined = () => undefined;
  /** As `intercept`, but after the request was carried out: its answer is lost. */
  interceptAnswer: (request: KubeRequest) => Error | undefined = () => undefined;
  /** Changes an object that is about to be stored, as a mutating admission webhook does; who owns its fields stays as it is. */
  mutate: (object: KubeObject) => void = () => {};
  /** How long a request takes to arrive, in milliseconds. */
  latencyMs: (request: KubeRequest) => number = () => 0;
  /** How long an answer takes to arrive, in milliseconds. */
  answerLatencyMs: (request: KubeRequest) => number = () => 0;
  /** How initial events are answered: as they should be; refused; not known, as by a server older than KEP-3157. */
  initialEvents: "streamed" | "refused" | "unknown" = "streamed";
  /** How a watch that starts in forgotten history is told so. */
  goneBy: "status" | "event" = "status";
  /** Size of the chunks in which streams arrive, in bytes. */
  chunkBytes = Number.POSITIVE_INFINITY;
  readonly #clock: Clock;
  readonly #collections = new Map<string, Map<string, KubeObject>>();
  readonly #watchers = new Set<Watcher>();
  readonly #pages = new Map<string, { items: KubeObject[]; revision: number }>();
  #history: HistoryEntry[] = [];
  #forgottenUpTo = 0;
  #revision = 1;
  #connection = 0;
  #frozen = -1;
  #cut: { bytes: number; by: "end" | "error" } | undefined;
  #held: { readonly path: RegExp; readonly watcher: Watcher; readonly bytes: Uint8Array<ArrayBuffer> }[] = [];
  readonly #holding = new Set<RegExp>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  // What a test does to the world:

  /** How many writes there have been, as all of them change the revision. */
  get revision(): number {
    return this.#revision;
  }

  /** How many watches are open on connections that are alive. */
  get watches(): number {
    return [...this.#watchers].filter((watcher) => watcher.connection > this.#frozen).length;
  }

  /** How many connections there have been. */
  get connections(): number {
    return this.#connection + 1;
  }

  objects(collection: string): KubeObject[] {
    return structuredClone([...this.#collections.get(collection)?.values() ?? []]);
  }

  /** Creates or replaces an object. */
  put(collection: string, object: KubeObject): KubeObject {
    const objects = this.#collections.getOrInsertComputed(collection, () => new Map<string, KubeObject>());
    const before = objects.get(object.metadata.name);
    const revision = ++this.#revision;
    const stored = structuredClone(object);
    stored.metadata.uid ??= before?.metadata.uid ?? crypto.randomUUID();
    stored.metadata.resourceVersion = String(revision);
    objects.set(stored.metadata.name, stored);
    this.#record({ revision, collection, type: before ? "MODIFIED" : "ADDED", object: stored, before });
    return structuredClone(stored);
  }

  /** Changes an object as `kubectl edit` by `manager` does. */
  edit(collection: string, name: string, manager: string, change: (object: KubeObject) => void): void {
    const held = this.#collections.get(collection)?.get(name);
    if (held !== undefined) this.put(collection, update(held, manager, change));
  }

  /** What is in all collections that a watch of `path` covers. */
  all(path: string): KubeObject[] {
    return [...this.#collections.keys()].filter((collection) => covers(path, collection))
      .flatMap((collection) => this.objects(collection));
  }

  /** From now on, watches of paths like `path` are late: events come when they are released, in order. */
  hold(path: RegExp): void {
    this.#holding.add(path);
  }

  /** Lets all that is held go, and holds nothing more. */
  release(): void {
    this.#holding.clear();
    for (const { watcher, bytes } of this.#held.splice(0)) this.#sendBytes(watcher, bytes);
  }

  remove(collection: string, name: string): void {
    const before = this.#collections.get(collection)?.get(name);
    if (before === undefined) return;
    this.#collections.get(collection)?.delete(name);
    const revision = ++this.#revision;
    const object = { ...before, metadata: { ...before.metadata, resourceVersion: String(revision) } };
    this.#record({ revision, collection, type: "DELETED", object, before });
  }

  /** Forgets history: watches cannot start before now, and lists cannot be continued. */
  compact(): void {
    this.#forgottenUpTo = ++this.#revision;
    this.#history = [];
    this.#pages.clear();
  }

  /** Sends a bookmark to all watches. */
  bookmark(): void {
    for (const watcher of this.#watchers) this.#send(watcher, "BOOKMARK", bookmarkOf(this.#revision));
  }

  /** Sends an ERROR event to all watches, and ends them. */
  failWatches(code: number): void {
    for (const watcher of this.#watchers) {
      this.#send(watcher, "ERROR", { kind: "Status", code, reason: "Test", message: `failed with ${code}` });
    }
    this.endWatches();
  }

  /** Ends all watches in good order. */
  endWatches(): void {
    for (const watcher of this.#watchers) this.#close(watcher, "end");
  }

  /** Sends bytes that mean nothing to all watches. */
  sendGarbage(text: string): void {
    for (const watcher of this.#watchers) this.#sendBytes(watcher, new TextEncoder().encode(text));
  }

  /** The next stream ends (or breaks) after so many bytes. */
  cutNextStream(bytes: number, by: "end" | "error" = "end"): void {
    this.#cut = { bytes, by };
  }

  /** The present connection goes dead without being closed: nothing arrives on it any more, in either direction. */
  freeze(): void {
    this.#frozen = this.#connection;
  }

  // The client's side:

  async request<T>(request: KubeRequest): Promise<T> {
    request.signal?.throwIfAborted();
    const ms = this.latencyMs(request);
    if (ms > 0) await this.#travel(ms, request);
    if (this.#connection <= this.#frozen) await this.#hang(request.timeoutMs, request.signal);
    const error = this.intercept(request);
    if (error !== undefined) throw error;
    await Promise.resolve();
    const answer = structuredClone(this.#answer(request)) as T;
    const answerMs = this.answerLatencyMs(request);
    if (answerMs > 0) await this.#travel(answerMs, request);
    const lost = this.interceptAnswer(request);
    if (lost !== undefined) throw lost;
    return answer;
  }

  async stream(request: KubeStreamRequest): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    request.signal.throwIfAborted();
    if (this.#connection <= this.#frozen) await this.#hang(request.timeoutMs, request.signal);
    const error = this.intercept(request);
    if (error !== undefined) throw error;
    const { path, query = {} } = request;
    const start = this.#startOf(query);
    const { bytes, by } = this.#cut ?? { bytes: Number.POSITIVE_INFINITY, by: "end" as const };
    this.#cut = undefined;
    let watcher: Watcher | undefined;
    return new ReadableStream({
      start: (controller) => {
        watcher = {
          path,
          selector: String(query.labelSelector ?? ""),
          metadataOnly: request.accept?.includes("as=PartialObjectMetadata") ?? false,
          connection: this.#connection,
          controller,
          left: bytes,
          cutBy: by,
        };
        this.#watchers.add(watcher);
        const opened = watcher;
        request.signal.addEventListener("abort", () => {
          if (this.#watchers.delete(opened)) controller.error(request.signal.reason);
        }, { once: true });
        if (start === "gone") {
          this.#send(opened, "ERROR", gone().status);
          return this.#close(opened, "end");
        }
        if (start === "state") {
          for (const object of this.all(path)) this.#send(opened, "ADDED", object);
          if (query.sendInitialEvents === true && this.initialEvents === "streamed") {
            this.#send(
              opened,
              "BOOKMARK",
              bookmarkOf(this.#revision, { "k8s.io/initial-events-end": "true" }),
            );
          }
          return;
        }
        for (const entry of this.#history) if (entry.revision > start) this.#deliver(opened, entry);
      },
      cancel: () => void (watcher !== undefined && this.#watchers.delete(watcher)),
    });
  }

  reconnect(): void {
    this.#connection++;
  }

  close(): void {
    this.endWatches();
  }

  // Inside:

  #record(entry: HistoryEntry): void {
    this.#history.push(entry);
    for (const watcher of this.#watchers) this.#deliver(watcher, entry);
  }

  /** As the API server does: an object that begins or ceases to match the selector is added or deleted. */
  #deliver(watcher: Watcher, { collection, type, object, before }: HistoryEntry): void {
    if (!covers(watcher.path, collection)) return;
    const now = type !== "DELETED" && matches(object, watcher.selector);
    const then = before !== undefined && matches(before, watcher.selector);
    if (now || then) this.#send(watcher, now ? (then ? "MODIFIED" : "ADDED") : "DELETED", object);
  }

  #send(watcher: Watcher, type: string, object: object): void {
    if (type === "ADDED" && !matches(object as KubeObject, watcher.selector)) return;
    const shown = watcher.metadataOnly && "metadata" in object && type !== "BOOKMARK"
      ? { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata }
      : object;
    this.#sendBytes(watcher, new TextEncoder().encode(JSON.stringify({ type, object: shown }) + "\n"));
  }

  #sendBytes(watcher: Watcher, bytes: Uint8Array<ArrayBuffer>): void {
    if (!this.#watchers.has(watcher) || watcher.connection <= this.#frozen) return;
    const held = [...this.#holding].find((path) => path.test(watcher.path));
    if (held !== undefined) return void this.#held.push({ path: held, watcher, bytes });
    const sent = bytes.slice(0, Math.min(bytes.length, watcher.left));
    for (let at = 0; at < sent.length; at += this.chunkBytes) {
      watcher.controller.enqueue(sent.slice(at, Math.min(at + this.chunkBytes, sent.length)));
    }
    watcher.left -= sent.length;
    if (watcher.left === 0) this.#close(watcher, watcher.cutBy);
  }

  #close(watcher: Watcher, by: "end" | "error"): void {
    if (watcher.connection <= this.#frozen || !this.#watchers.delete(watcher)) return;
    if (by === "end") watcher.controller.close();
    else watcher.controller.error(new TypeError("connection reset"));
  }

  /** Where a watch starts: with the present state, after a revision, or where there is no history any more. */
  #startOf(query: NonNullable<KubeStreamRequest["query"]>): "state" | "gone" | number {
    if (query.sendInitialEvents === true && this.initialEvents === "refused") {
      throw status(422, "Invalid", "sendInitialEvents is forbidden for watch");
    }
    if (query.resourceVersion === undefined) return "state";
    const revision = Number(query.resourceVersion);
    if (revision >= this.#forgottenUpTo) return revision;
    if (this.goneBy === "status") throw gone();
    return "gone";
  }

  #answer(request: KubeRequest): unknown {
    const { method = "GET", path, query = {}, body, accept, contentType } = request;
    const value = (body instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(body)) : body) as
      | KubeObject
      | undefined;
    if (contentType === APPLY_PATCH && value !== undefined) {
      const applied = this.#apply(path, value, String(query.fieldManager));
      return accept?.includes("as=PartialObjectMetadata") ? { metadata: applied.metadata } : applied;
    }
    if (contentType === JSON_PATCH && Array.isArray(value)) return this.#patchFields(path, value);
    const cut = path.lastIndexOf("/");
    const [collection, name] = [path.slice(0, cut), path.slice(cut + 1)];
    if (method === "POST" && value !== undefined) {
      if (this.#collections.get(path)?.has(value.metadata.name)) {
        throw status(409, "AlreadyExists", `"${value.metadata.name}" already exists`);
      }
      return this.put(path, value);
    }
    if (method === "GET" && !this.#collections.get(collection)?.has(name)) {
      if (query.limit !== undefined) return this.#page(path, query, accept);
      throw status(404, "NotFound", `"${name}" not found`);
    }
    const held = this.#collections.get(collection)?.get(name);
    if (held === undefined) throw status(404, "NotFound", `"${name}" not found`);
    if (method === "GET") return held;
    if (method === "DELETE") {
      const { preconditions } = (value ?? {}) as { preconditions?: Record<string, string | undefined> };
      const { uid, resourceVersion } = held.metadata;
      const isOther = (preconditions?.uid ?? uid) !== uid ||
        (preconditions?.resourceVersion ?? resourceVersion) !== resourceVersion;
      if (isOther) throw status(409, "Conflict", `"${name}": the precondition does not hold`);
      return this.remove(collection, name);
    }
    if (method === "PATCH") return this.put(collection, merged(held, value ?? {}) as KubeObject);
    if (method === "PUT" && value !== undefined) {
      const { resourceVersion } = value.metadata;
      if (resourceVersion !== undefined && resourceVersion !== held.metadata.resourceVersion) {
        throw status(409, "Conflict", `"${name}": the object has been modified`);
      }
      return this.put(collection, value);
    }
    throw status(405, "MethodNotAllowed", method);
  }

  /** As the API server does: an apply creates what is not there, unless it says which one it means; no change is no write. */
  #apply(path: string, patch: KubeObject, manager: string): KubeObject {
    const subresource = path.endsWith("/status") ? "status" : "";
    const [, collection = "", namespace, name = ""] =
      /^((?:.*\/namespaces\/([^/]+)\/)?.*?[^/]+)\/([^/]+?)(?:\/status)?$/.exec(path) ?? [];
    const held = this.#collections.get(collection)?.get(name);
    const { uid } = patch.metadata;
    if (uid !== undefined && uid !== held?.metadata.uid) {
      throw status(409, "Conflict", `"${name}": the UID in the precondition is not that of the object`);
    }
    if (held === undefined) {
      if (subresource !== "") throw status(404, "NotFound", `"${name}" not found`);
      if (namespace !== undefined) this.#checkNamespace(namespace, name);
    }
    const metadata = { ...patch.metadata, name, ...(namespace === undefined ? {} : { namespace }) };
    const applied = serverSideApply(held, { ...patch, metadata }, manager, subresource);
    this.mutate(applied);
    if (held !== undefined && JSON.stringify(held) === JSON.stringify(applied)) return held;
    return this.put(collection, applied);
  }

  /** A JSON patch (RFC 6902) of the only form that is used here: it replaces `managedFields` of one state of an object. */
  #patchFields(path: string, patch: readonly { path: string; value: unknown }[]): KubeObject {
    const [, collection = "", name = ""] = /^(.*)\/([^/]+?)(?:\/status)?$/.exec(path) ?? [];
    const held = this.#collections.get(collection)?.get(name);
    if (held === undefined) throw status(404, "NotFound", `"${name}" not found`);
    const valueAt = (path: string) => patch.find((operation) => operation.path === path)?.value;
    if (valueAt("/metadata/resourceVersion") !== held.metadata.resourceVersion) {
      throw status(409, "Conflict", `"${name}": the object has been modified`);
    }
    const managedFields = valueAt("/metadata/managedFields") as ManagedFieldsEntry[];
    return this.put(collection, { ...held, metadata: { ...held.metadata, managedFields } });
  }

  /** Nothing can be created where there is no namespace, or one that is going away. */
  #checkNamespace(namespace: string, name: string): void {
    const held = this.#collections.get("/api/v1/namespaces")?.get(namespace);
    if (held === undefined) throw status(404, "NotFound", `namespaces "${namespace}" not found`);
    if (held.metadata.deletionTimestamp !== undefined) {
      throw status(
        403,
        "Forbidden",
        `"${name}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
      );
    }
  }

  /** On its way; ends by its deadline or its signal. */
  async #travel(ms: number, { timeoutMs = 30_000, signal }: KubeRequest): Promise<void> {
    await delay(this.#clock, Math.min(ms, timeoutMs), signal);
    if (ms >= timeoutMs) throw new KubeConnectionError("No answer in time", { timedOut: true });
  }

  #page(
    path: string,
    { limit, continue: token, labelSelector }: NonNullable<KubeRequest["query"]>,
    accept = "",
  ) {
    const snapshot = token === undefined
      ? {
        items: this.all(path).filter((o) => matches(o, String(labelSelector ?? ""))),
        revision: this.#revision,
      }
      : this.#pages.get(String(token));
    if (snapshot === undefined) throw gone();
    const items = snapshot.items.slice(0, Number(limit));
    const rest = snapshot.items.slice(Number(limit));
    const next = rest.length > 0 ? crypto.randomUUID() : "";
    if (next !== "") this.#pages.set(next, { items: rest, revision: snapshot.revision });
    return {
      kind: "List",
      metadata: { resourceVersion: String(snapshot.revision), continue: next },
      items: accept.includes("as=PartialObjectMetadataList")
        ? items.map(({ metadata }) => ({ metadata }))
        : items,
    };
  }

  /** A request on a dead connection: ends by its deadline (which replaces the connection) or its signal. */
  #hang(timeoutMs = 30_000, signal: AbortSignal | undefined): Promise<never> {
    return new Promise((_, reject) => {
      const onAbort = () => {
        cancel();
        reject(signal?.reason);
      };
      const connection = this.#connection;
      const cancel = this.#clock.setTimer(timeoutMs, () => {
        signal?.removeEventListener("abort", onAbort);
        if (this.#connection === connection) this.reconnect();
        reject(new KubeConnectionError("No answer in time", { timedOut: true }));
      });
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}

/** A refusal of the API server. */
export function status(
  code: number,
  reason: string,
  message: string,
  retryAfterSeconds?: number,
): KubeStatusError {
  return new KubeStatusError({
    code,
    reason,
    message,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

/** Whether a list or watch of `path` has the objects of `collection`: the same, or the same resource in all namespaces. */
function covers(path: string, collection: string): boolean {
  const [, group, resource] = /^(.*)\/namespaces\/[^/]+\/([^/]+)$/.exec(collection) ?? [];
  return path === collection || (group !== undefined && path === `${group}/${resource}`);
}

function gone(): KubeStatusError {
  return status(410, "Expired", "too old resource version");
}

function bookmarkOf(revision: number, annotations?: Record<string, string>) {
  return { metadata: { resourceVersion: String(revision), ...(annotations ? { annotations } : {}) } };
}

/** Label selectors of the forms `a`, `a=b` and `a,c=d`. */
function matches({ metadata: { labels = {} } }: KubeObject, selector: string): boolean {
  return selector.split(",").every((term) => {
    const [key = "", value] = term.split("=");
    return key === "" || (value === undefined ? key in labels : labels[key] === value);
  });
}

/** JSON merge patch (RFC 7386). */
function merged(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch;
  const result: Record<string, unknown> = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
