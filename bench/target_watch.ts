import { BUNDLE_LABEL, HASH_ANNOTATION } from "../lib/api/bundle.ts";
import type { KubeObject } from "../lib/kube/objects.ts";
import type { RestConfig } from "../tests/cluster/rest_client.ts";
import { TextLineStream } from "./text_line_stream.ts";

const METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const TARGETS = `/api/v1/configmaps?labelSelector=${encodeURIComponent(BUNDLE_LABEL)}`;

/** Longer than a benchmark takes. */
const WATCH_SECONDS = 6 * 3600;

/** What the watch has shown of a target. */
interface Target {
  readonly bundle: string;
  readonly hash: string;
  readonly uid: string;
}

/**
 * The targets of a cluster, as a watch of their metadata shows them: whoever waits knows of a write as soon as any client of the
 * API server can. A client of its own, so that it does not wait behind other requests of the benchmark.
 */
export class TargetWatch implements AsyncDisposable {
  readonly #client: Deno.HttpClient;
  readonly #config: RestConfig;
  readonly #abort = new AbortController();
  readonly #targets = new Map<string, Target>();
  /** Number of targets by Bundle and hash. */
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #waiting = new Set<() => void>();
  #reading: Promise<void> = Promise.resolve();
  #failure: unknown;

  private constructor(config: RestConfig) {
    this.#config = config;
    this.#client = Deno.createHttpClient(
      config.caCertificates === undefined ? {} : { caCerts: [config.caCertificates] },
    );
  }

  /** Opens it, and returns once the API server sends changes. */
  static async open(config: RestConfig): Promise<TargetWatch> {
    const watch = new TargetWatch(config);
    try {
      await watch.#start();
      return watch;
    } catch (error) {
      watch.#client.close();
      throw error;
    }
  }

  /** How many targets a Bundle has; with `hash`, only those that hold that. */
  count(bundle: string, hash?: string): number {
    const counts = this.#counts.get(bundle);
    if (hash !== undefined) return counts?.get(hash) ?? 0;
    let sum = 0;
    for (const count of counts?.values() ?? []) sum += count;
    return sum;
  }

  /** UID of the target of a Bundle in a namespace; undefined if there is none. */
  uid(namespace: string, bundle: string): string | undefined {
    return this.#targets.get(`${namespace}/${bundle}`)?.uid;
  }

  /**
   * Resolves as soon as `accept` does, which is asked after each change.
   *
   * @throws {Error} after `timeoutMs`, or if the watch breaks.
   */
  async until(what: string, timeoutMs: number, accept: () => boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const check = () => {
      if (this.#failure !== undefined) reject(this.#failure);
      else if (accept()) resolve();
    };
    const timer = setTimeout(
      () => reject(new Error(`Waited ${timeoutMs / 1000} s in vain until ${what}`)),
      timeoutMs,
    );
    this.#waiting.add(check);
    try {
      check();
      await promise;
    } finally {
      this.#waiting.delete(check);
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#reading;
    this.#client.close();
  }

  async #start(): Promise<void> {
    const first = await this.#list();
    this.#reading = this.#readOn(first).catch((error) => this.#fail(error));
  }

  /** Lists all targets, and returns the watch of what comes after. */
  async #list(): Promise<Response> {
    const list: { metadata: { resourceVersion: string }; items?: KubeObject[] } =
      await (await this.#get(TARGETS, METADATA_LIST)).json();
    const gone = new Set(this.#targets.keys());
    for (const object of list.items ?? []) gone.delete(this.#apply("ADDED", object));
    for (const key of gone) this.#remove(key);
    for (const check of this.#waiting) check();
    const from =
      `&watch=true&timeoutSeconds=${WATCH_SECONDS}&resourceVersion=${list.metadata.resourceVersion}`;
    return await this.#get(TARGETS + from, METADATA);
  }

  /** Reads watches for ever. API servers end those that are too slow for a burst of events, such as the deletion of all targets. */
  async #readOn(response: Response): Promise<never> {
    for (;;) {
      await this.#read(response);
      response = await this.#list();
    }
  }

  async #get(path: string, accept: string): Promise<Response> {
    const response = await fetch(this.#config.server + path, {
      client: this.#client,
      signal: this.#abort.signal,
      headers: {
        accept,
        // Deno reads gzip to the end of its first member only, and the API server writes several into a watch.
        "accept-encoding": "identity",
        authorization: `Bearer ${this.#config.token}`,
      },
    });
    if (!response.ok) {
      throw new Error(
        `The watch of the benchmark was answered with ${response.status}: ${await response.text()}`,
      );
    }
    return response;
  }

  async #read(response: Response): Promise<void> {
    const text = (response.body ?? new Blob().stream()).pipeThrough(new TextDecoderStream());
    for await (const line of text.pipeThrough(new TextLineStream())) {
      const { type, object } = JSON.parse(line);
      if (type === "ERROR") throw new Error(`The watch of the benchmark broke: ${line}`);
      this.#apply(type, object);
      for (const check of this.#waiting) check();
    }
  }

  /** Returns the target's key. */
  #apply(type: string, { metadata }: KubeObject): string {
    const key = `${metadata.namespace}/${metadata.name}`;
    this.#remove(key);
    if (type === "DELETED") return key;
    const after = {
      bundle: metadata.labels?.[BUNDLE_LABEL] ?? "",
      hash: metadata.annotations?.[HASH_ANNOTATION] ?? "",
      uid: metadata.uid ?? "",
    };
    this.#targets.set(key, after);
    this.#add(after, 1);
    return key;
  }

  #remove(key: string): void {
    const before = this.#targets.get(key);
    if (before !== undefined) this.#add(before, -1);
    this.#targets.delete(key);
  }

  #add({ bundle, hash }: Target, count: number): void {
    const counts = this.#counts.get(bundle) ?? new Map<string, number>();
    this.#counts.set(bundle, counts);
    counts.set(hash, (counts.get(hash) ?? 0) + count);
  }

  #fail(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    this.#failure = error;
    for (const check of this.#waiting) check();
  }
}
