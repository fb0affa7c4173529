import { BUNDLE_LABEL, type TargetKind } from "../../lib/api/bundle.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import type { RestClient } from "../cluster/rest_client.ts";

interface List {
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly ConfigMap[];
}

type WatchEvent =
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; readonly object: ConfigMap }
  | { readonly type: "ERROR"; readonly object: { readonly message?: string } };

/** Shows every state of every object of a kind that carries the bundle label, straight from the API server. */
export class TargetWatch implements AsyncDisposable {
  readonly #admin: RestClient;
  readonly #path: string;
  readonly #onState: (object: ConfigMap) => void;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #resourceVersion: string;
  #failure: unknown;

  private constructor(
    admin: RestClient,
    path: string,
    resourceVersion: string,
    onState: (object: ConfigMap) => void,
  ) {
    this.#admin = admin;
    this.#path = path;
    this.#resourceVersion = resourceVersion;
    this.#onState = onState;
    this.#running = this.#run().catch((error) => {
      this.#failure = error;
    });
  }

  /** Starts it. `onState` is not told of those that are there already, nor of those that go. */
  static async start(
    admin: RestClient,
    kind: TargetKind,
    onState: (object: ConfigMap) => void,
  ): Promise<TargetWatch> {
    const path = `/api/v1/${kind === "ConfigMap" ? "configmaps" : "secrets"}?labelSelector=${
      encodeURIComponent(BUNDLE_LABEL)
    }`;
    const { metadata } = await admin.request<List>("GET", path);
    return new TargetWatch(admin, path, metadata.resourceVersion, onState);
  }

  /** @throws {unknown} why it sees nothing any more. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { config, httpClient: client } = this.#admin;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const query = `&watch=true&allowWatchBookmarks=true&resourceVersion=${this.#resourceVersion}`;
        const response = await fetch(`${config.server}${this.#path}${query}`, {
          headers: {
            accept: "application/json",
            "accept-encoding": "identity",
            ...(config.token === undefined ? {} : { authorization: `Bearer ${config.token}` }),
          },
          client,
          signal,
        });
        if (!response.ok || response.body === null) {
          throw new Error(`A watch was answered with ${response.status}: ${await response.text()}`);
        }
        await this.#read(response.body.pipeThrough(new TextDecoderStream()));
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }

  /** Reads to the end of the stream; the API server ends one after some time. */
  async #read(stream: ReadableStream<string>): Promise<void> {
    let rest = "";
    for await (const text of stream) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#take(JSON.parse(line));
    }
  }

  #take(event: WatchEvent): void {
    if (event.type === "ERROR") throw new Error(`A watch failed: ${event.object.message}`);
    this.#resourceVersion = event.object.metadata.resourceVersion ?? this.#resourceVersion;
    if (event.type === "ADDED" || event.type === "MODIFIED") this.#onState(event.object);
  }
}
