import { type Clock, delay } from "../clock.ts";
import type { Logger } from "../log.ts";
import { METADATA_ONLY, METADATA_ONLY_LIST } from "./client.ts";
import { KubeConnectionError, KubeStatusError } from "./errors.ts";
import { failureCause, FailureLog } from "./failure_log.ts";
import { JsonLines, JsonLinesError } from "./json_lines.ts";
import type { KubeObject, ObjectMeta } from "./objects.ts";
import type { SharedConnection } from "./shared_connection.ts";
import type { StoreWriter } from "./store.ts";
import { INITIAL_WATCH_STATE, step, type WatchEnd, type WatchInput, type WatchStep } from "./watch_state.ts";

/** What a {@linkcode Reflector} watches and where it puts it. */
export interface ReflectorOptions<T, R extends KubeObject = KubeObject> {
  /** The connection to the API server, shared by all reflectors that use its client. */
  readonly connection: SharedConnection;
  /** Path of the collection, such as `/api/v1/namespaces` or `/api/v1/namespaces/cert-manager/secrets`. */
  readonly path: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Whether `PartialObjectMetadata` is enough: `convert` then sees `metadata` only. */
  readonly metadataOnly: boolean;
  /**
   * Makes what is kept of an object. The object itself is dropped: the result must not refer to any part of it that is not
   * meant to stay in memory. `kind` and `apiVersion` may be missing. If it throws, what the store held of the object stays
   * (of the error only its name is logged, as its message may quote the object).
   */
  readonly convert: (raw: R) => T;
  /** The key of an object, as the store of `writer` forms it. Default `namespace/name`, or `name`. */
  readonly keyOf?: (metadata: ObjectMeta) => string;
  readonly writer: StoreWriter<T>;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Tells what fails; shared by all whose common cause shall be told once. One of its own by default. */
  readonly failures?: FailureLog;
  /** What the log calls it, such as `namespaces`. No other that shares `failures` has this name. */
  readonly name: string;
  /** What a refusal with this HTTP status means and what to do about it, where that is known; else it is told as it came. */
  readonly explain?: (code: number) => string | undefined;
  /**
   * A stream that is silent for so many milliseconds may be dead, and is replaced together with its connection. The API server
   * sends a bookmark about once a minute, so the default of 90,000 lets one be half a minute late. The first one after the
   * initial state may be left out (seen with 1.37 and an etcd that does not notify of progress): to replace a live stream
   * costs one request, and loses nothing.
   */
  readonly idleTimeoutMs?: number;
  /** Told when the API server begins to refuse, with its status code and message; not again until it refuses otherwise. */
  readonly onRefused?: (code: number, message: string) => void;
}

const DEFAULT_IDLE_TIMEOUT_MS = 90_000;

/** Objects per page, as Kubernetes' own clients ask for. */
const PAGE_SIZE = 500;

/**
 * The API server ends a watch after a random time in this range, in seconds, so that watches that began together do not all
 * come back together.
 */
const WATCH_SECONDS = { min: 290, max: 590 };

/** When the next request is sent: after a time within this range, in milliseconds. */
type Pause = NonNullable<WatchStep["pause"]>;

const NO_PAUSE: Pause = { minMs: 0, maxMs: 0 };

/**
 * List and watch: keeps one part of a store equal to a collection of the API server. {@linkcode step} decides; this does
 * what it says. At no time does it hold more raw objects than the one it reads (or, without streamed lists, one page).
 */
export class Reflector<T, R extends KubeObject = KubeObject> {
  readonly #options: ReflectorOptions<T, R>;
  readonly #log: Logger;
  readonly #failures: FailureLog;
  readonly #keyOf: (metadata: ObjectMeta) => string;
  #state = INITIAL_WATCH_STATE;
  /** The initial state, as far as it has arrived. */
  #collected = new Map<string, T>();
  /** Keys that belong to it, but could not be read. */
  #unreadable = new Set<string>();

  constructor(options: ReflectorOptions<T, R>) {
    this.#options = options;
    this.#log = options.log.with({ watch: options.name });
    this.#failures = options.failures ?? new FailureLog(options);
    this.#keyOf = options.keyOf ?? objectKey;
  }

  /**
   * Keeps the store right until `signal` aborts, and resolves then. What fails is tried again for ever; meanwhile the store
   * keeps what it has, and is not synced if it never was. To be called once.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    try {
      while (!signal.aborted) {
        const { minMs, maxMs } = this.#state.phase.kind === "pages"
          ? await this.#readPage(signal)
          : await this.#readStream(signal);
        const ms = minMs + random() * (maxMs - minMs);
        if (ms > 0) await delay(clock, ms, signal).catch(() => {}); // aborted: the loop ends
      }
    } finally {
      this.#failures.forget(this.#options.name);
    }
    this.#startCollecting();
  }

  /** One watch, with or without the initial state. Returns the pause that follows. */
  async #readStream(signal: AbortSignal): Promise<Pause> {
    const { connection, clock, path, metadataOnly, idleTimeoutMs = DEFAULT_IDLE_TIMEOUT_MS } = this.#options;
    if (this.#state.phase.kind === "stream") this.#startCollecting();
    const generation = connection.generation;
    const abort = new AbortController();
    const onAbort = () => abort.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    let cancelTimer = () => {};
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    let over: Pause | undefined;
    try {
      const stream = await connection.client.stream({
        path,
        query: this.#watchQuery(),
        ...(metadataOnly ? { accept: METADATA_ONLY } : {}),
        signal: abort.signal,
      });
      reader = stream.getReader();
      const opened = clock.monotonic();
      const lived = () => clock.monotonic() - opened;

      // One timer that is set again when it fires, not one per chunk.
      let lastByte = opened;
      const watchdog = (ms: number) => {
        cancelTimer = clock.setTimer(ms, () => {
          const left = lastByte + idleTimeoutMs - clock.monotonic();
          if (left > 0) return watchdog(left);
          over ??= this.#end({ kind: "idle" }, lived());
          this.#log.info("Watch was silent; its connection is replaced", { silentMs: idleTimeoutMs }, 2);
          connection.renew(generation);
          abort.abort(new Error("The stream was silent for too long"));
          reader?.cancel().catch(() => {}); // ends a read that the client does not end
        });
      };
      watchdog(idleTimeoutMs);

      const lines = new JsonLines();
      const take = (value: unknown) => {
        over ??= signal.aborted ? NO_PAUSE : this.#takeEvent(value, lived());
      };
      const takeChunk = (chunk: Uint8Array) => {
        lastByte = clock.monotonic();
        try {
          lines.push(chunk, take);
        } catch (error) {
          if (!(error instanceof JsonLinesError)) throw new ReceiverError(error);
          over ??= this.#end({ kind: "malformed" }, lived(), error);
        }
      };
      try {
        while (over === undefined && await readChunk(reader, takeChunk));
      } catch (error) {
        if (error instanceof ReceiverError) throw error.cause;
        over ??= signal.aborted ? NO_PAUSE : this.#end({ kind: "broken" }, lived(), error);
      } finally {
        lines.clear();
      }
      return over ?? (signal.aborted ? NO_PAUSE : this.#end({ kind: "closed" }, lived()));
    } catch (error) {
      if (reader !== undefined) throw error;
      if (signal.aborted) return NO_PAUSE;
      if (error instanceof KubeConnectionError && error.timedOut) connection.renew(generation);
      return this.#end(asEnd(error), undefined, error);
    } finally {
      cancelTimer();
      signal.removeEventListener("abort", onAbort);
      abort.abort(new Error("The stream is not needed any more"));
      reader?.cancel().catch(() => {});
    }
  }

  /** One page of a list. Returns the pause that follows. */
  async #readPage(signal: AbortSignal): Promise<Pause> {
    const { connection, path, labelSelector, fieldSelector, metadataOnly } = this.#options;
    const { phase } = this.#state;
    const continueToken = phase.kind === "pages" ? phase.continueToken : undefined;
    if (continueToken === undefined) this.#startCollecting();
    // Not awaited before it is taken: a page held by a suspended function would stay in memory.
    return await connection.client.request<unknown>({
      path,
      query: { labelSelector, fieldSelector, limit: PAGE_SIZE, continue: continueToken },
      ...(metadataOnly ? { accept: METADATA_ONLY_LIST } : {}),
      attempts: 1, // the pauses are made here
      signal,
    }).then(
      (page) => signal.aborted ? NO_PAUSE : this.#takePage(page),
      (error) => signal.aborted ? NO_PAUSE : this.#end(asEnd(error), undefined, error),
    );
  }

  #watchQuery(): Record<string, string | number | boolean | undefined> {
    const { labelSelector, fieldSelector, random } = this.#options;
    const { phase } = this.#state;
    return {
      labelSelector,
      fieldSelector,
      watch: true,
      allowWatchBookmarks: true,
      timeoutSeconds: Math.round(WATCH_SECONDS.min + random() * (WATCH_SECONDS.max - WATCH_SECONDS.min)),
      ...(phase.kind === "watch"
        ? { resourceVersion: phase.resourceVersion }
        // No resourceVersion: the state is at least as new as this request, so a store never goes back in time.
        : { sendInitialEvents: true, resourceVersionMatch: "NotOlderThan" }),
    };
  }

  /** Takes one event. Returns the pause that follows if the request is over with it. */
  #takeEvent(value: unknown, livedMs: number): Pause | undefined {
    const event = asEvent(value);
    if (event === undefined) return this.#end({ kind: "malformed" }, livedMs);
    if (event.type === "ERROR") {
      const end = asRefusal(event.object);
      return this.#end(end, livedMs, new Error(end.message));
    }
    const { metadata } = event.object;
    const resourceVersion = metadata.resourceVersion;
    if (resourceVersion === undefined) return this.#end({ kind: "malformed" }, livedMs);
    if (event.type === "BOOKMARK") {
      const next = this.#step({
        kind: "bookmark",
        resourceVersion,
        endsInitialEvents: metadata.annotations?.["k8s.io/initial-events-end"] === "true",
      });
      if (next.effect === "show") this.#show();
      return next.pause;
    }
    const next = this.#step({ kind: "object", type: event.type, resourceVersion });
    const key = this.#keyOf(metadata);
    switch (next.effect) {
      case "collect":
        this.#collect(key, event.object);
        break;
      case "discard":
        this.#collected.delete(key);
        this.#unreadable.delete(key);
        break;
      case "upsert": {
        const read = this.#convert(key, event.object);
        if (read !== undefined) this.#options.writer.upsert(read.item);
        break;
      }
      case "remove":
        this.#options.writer.remove(key);
        break;
    }
    return next.pause;
  }

  #takePage(value: unknown): Pause {
    const page = asPage(value);
    if (page === undefined) return this.#end({ kind: "malformed" }, undefined);
    for (const object of page.items) this.#collect(this.#keyOf(object.metadata), object);
    const { resourceVersion, continueToken } = page;
    const next = this.#step({
      kind: "page",
      resourceVersion,
      ...(continueToken === undefined ? {} : { continueToken }),
    });
    if (next.effect === "show") this.#show();
    return next.pause ?? NO_PAUSE;
  }

  #collect(key: string, object: KubeObject): void {
    const read = this.#convert(key, object);
    if (read === undefined) {
      this.#collected.delete(key);
      this.#unreadable.add(key);
    } else {
      this.#collected.set(key, read.item);
      this.#unreadable.delete(key);
    }
  }

  #convert(key: string, object: KubeObject): { readonly item: T } | undefined {
    try {
      return { item: this.#options.convert(object as R) };
    } catch (error) {
      const cause = error instanceof Error ? error.name : "Error";
      this.#log.error("Object cannot be read; what was known of it is kept", cause, { object: key });
      return undefined;
    }
  }

  #show(): void {
    const { writer, clock } = this.#options;
    const started = clock.monotonic();
    const objects = this.#collected.size;
    writer.replace([...this.#collected.values()], this.#unreadable);
    this.#startCollecting();
    this.#log.info("Listed", { objects, replaceMs: Math.round(clock.monotonic() - started) }, 2);
  }

  #startCollecting(): void {
    this.#collected = new Map();
    this.#unreadable = new Set();
  }

  #end(end: WatchEnd, livedMs: number | undefined, error?: unknown): Pause {
    const next = this.#step({ kind: "end", end, livedMs }, error);
    this.#log.info("Request of the watch is over", { end: end.kind, livedMs }, 4);
    return next.pause ?? NO_PAUSE;
  }

  #step(input: WatchInput, error?: unknown): WatchStep {
    const next = step(this.#state, input);
    this.#state = next.state;
    const { name, explain, onRefused } = this.#options;
    const refusal = input.kind === "end" && input.end.kind === "refused" ? input.end : undefined;
    if (input.kind === "end" && next.state.problem !== undefined) {
      const known = refusal === undefined ? undefined : explain?.(refusal.code);
      this.#failures.failing(name, known ?? failureCause(error, next.state.problem));
    }
    if (next.report?.kind === "recovered") this.#failures.recovered(name);
    if (next.report?.kind === "failing" && refusal !== undefined) {
      onRefused?.(refusal.code, error instanceof Error ? error.message : next.report.problem);
    }
    return next;
  }
}

/** An error of who receives the events (not of the stream), on its way out of `run`. */
class ReceiverError extends Error {
  constructor(cause: unknown) {
    super("The receiver of a watch failed", { cause });
  }
}

/**
 * Hands the next chunk to `take`; false at the end. A function of its own: while it waits it holds no chunk, whereas a loop
 * with a local variable would keep the last one in memory until the next comes, for hours perhaps.
 */
async function readChunk(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  take: (chunk: Uint8Array) => void,
): Promise<boolean> {
  const { done, value } = await reader.read();
  if (value !== undefined) take(value);
  return !done;
}

function objectKey({ namespace, name }: ObjectMeta): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function asEnd(error: unknown): WatchEnd {
  if (!(error instanceof KubeStatusError)) return { kind: "broken" };
  const { code, retryAfterSeconds } = error.status;
  return { kind: "refused", code, ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
}

/** The `metav1.Status` of an ERROR event; without a code it counts as an internal error. */
function asRefusal(status: unknown): WatchEnd & { readonly kind: "refused"; readonly message: string } {
  const { code, message, details } = isRecord(status) ? status : {};
  const seconds = isRecord(details) ? details.retryAfterSeconds : undefined;
  return {
    kind: "refused",
    code: typeof code === "number" ? code : 500,
    message: typeof message === "string" ? message : "The API server sent an error without a message",
    ...(typeof seconds === "number" ? { retryAfterSeconds: seconds } : {}),
  };
}

/** An event of a watch; undefined if `value` is none. */
function asEvent(value: unknown):
  | { readonly type: "ERROR"; readonly object: unknown }
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; readonly object: KubeObject }
  | undefined {
  if (!isRecord(value)) return undefined;
  const { type, object } = value;
  switch (type) {
    case "ERROR":
      return { type, object };
    case "BOOKMARK":
      return hasMetadata(object) ? { type, object } : undefined;
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      return isObject(object) ? { type, object } : undefined;
    default:
      return undefined;
  }
}

/** A page of a list; undefined if `value` is none. */
function asPage(value: unknown):
  | {
    readonly items: readonly KubeObject[];
    readonly resourceVersion: string;
    readonly continueToken?: string;
  }
  | undefined {
  if (!isRecord(value) || !isRecord(value.metadata)) return undefined;
  const items = value.items ?? [];
  const { resourceVersion, continue: token } = value.metadata;
  if (!Array.isArray(items) || !items.every(isObject) || typeof resourceVersion !== "string") {
    return undefined;
  }
  return {
    items,
    resourceVersion,
    ...(typeof token === "string" && token !== "" ? { continueToken: token } : {}),
  };
}

function isObject(value: unknown): value is KubeObject {
  return hasMetadata(value) && typeof value.metadata.name === "string";
}

function hasMetadata(value: unknown): value is KubeObject {
  return isRecord(value) && isRecord(value.metadata);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
