import { parse, parseAllDocuments } from "yaml";

/** Where an API server is and how to be let in. */
export interface RestConfig {
  readonly server: string;
  /** PEM. */
  readonly caCertificates?: string;
  readonly token?: string;
  /** PEM. */
  readonly clientCertificate?: { readonly certificate: string; readonly key: string };
}

/** Any object of the API, as tests handle it. */
export interface RestObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; [field: string]: unknown };
  [field: string]: unknown;
}

/** What may go with a request. */
export interface RestRequest {
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Default `application/json`. */
  readonly contentType?: string;
  /** Default `application/json`. */
  readonly accept?: string;
  readonly userAgent?: string;
}

/** The API server refused a request. */
export class RestError extends Error {
  override readonly name = "RestError";
  /** HTTP status. */
  readonly status: number;
  /** Reason of the `Status` object, such as `Forbidden`; empty if the answer was none. */
  readonly reason: string;
  /** Message of the `Status` object, such as the text of a CEL rule. */
  readonly statusMessage: string;

  constructor(request: string, status: number, body: string) {
    const parsed = parseStatus(body);
    super(`${request} was answered with ${status}: ${parsed.message ?? body}`);
    this.status = status;
    this.reason = parsed.reason ?? "";
    this.statusMessage = parsed.message ?? body;
  }
}

/**
 * A small client of the Kubernetes API for tests and the demo. On purpose not the operator's own client: what judges the
 * operator must not share its faults.
 */
export class RestClient implements Disposable {
  #config: RestConfig;
  readonly #userAgent: string;
  readonly #plurals = new Map<string, { name: string; namespaced: boolean }>();
  #http: Deno.HttpClient;

  constructor(config: RestConfig, userAgent = "trust-manager-tests") {
    this.#config = config;
    this.#userAgent = userAgent;
    this.#http = openHttpClient(config);
  }

  /**
   * A client for the current context of a kubeconfig file; knows tokens and client certificates, inline or in files.
   *
   * @throws {Error} if it asks for another way to log in.
   */
  static async fromKubeconfig(path: string, userAgent?: string): Promise<RestClient> {
    return new RestClient(await readKubeconfig(path), userAgent);
  }

  /**
   * Sends one request.
   *
   * @param path such as `/api/v1/namespaces/default/configmaps?limit=1`.
   * @returns the decoded JSON of the answer.
   * @throws {RestError} on any status other than 2xx.
   */
  async request<T = RestObject>(method: string, path: string, options: RestRequest = {}): Promise<T> {
    return JSON.parse(await this.#send(method, path, options));
  }

  /**
   * Reads what is not JSON, such as `/readyz` or `/metrics`.
   *
   * @throws {RestError} as {@linkcode request}.
   */
  async text(path: string): Promise<string> {
    return await this.#send("GET", path, {});
  }

  /** Reads an object or a list; undefined if it does not exist. */
  get<T = RestObject>(path: string): Promise<T | undefined> {
    return this.request<T>("GET", path).catch(undefinedIfNotFound);
  }

  /** Creates an object in the collection at `path`. */
  create<T = RestObject>(path: string, object: unknown): Promise<T> {
    return this.request<T>("POST", path, { body: object });
  }

  /** Applies a JSON merge patch (RFC 7386). */
  mergePatch<T = RestObject>(path: string, patch: unknown): Promise<T> {
    return this.request<T>("PATCH", path, { body: patch, contentType: "application/merge-patch+json" });
  }

  /** Deletes an object; one that does not exist is fine. */
  async delete(path: string): Promise<void> {
    await this.request("DELETE", path).catch(undefinedIfNotFound);
  }

  /**
   * Applies objects one after the other, server-side and with force, and returns what the API server made of them. After a
   * CustomResourceDefinition it waits until the new kind is served.
   *
   * @param manifests objects, or YAML with any number of documents.
   */
  async apply(
    manifests: string | readonly RestObject[],
    options: { fieldManager?: string } = {},
  ): Promise<RestObject[]> {
    const objects = typeof manifests === "string" ? parseManifests(manifests) : manifests;
    const query = `fieldManager=${encodeURIComponent(options.fieldManager ?? "tests")}&force=true`;
    const applied: RestObject[] = [];
    for (const object of objects) {
      const path = await this.pathOf(object);
      const contentType = "application/apply-patch+yaml";
      applied.push(await this.request("PATCH", `${path}?${query}`, { body: object, contentType }));
      if (object.kind === "CustomResourceDefinition") await this.#waitUntilServed(path);
    }
    return applied;
  }

  /** The path of an object in the API; namespaced ones without a namespace are in `default`. */
  async pathOf(object: Pick<RestObject, "apiVersion" | "kind" | "metadata">): Promise<string> {
    const { apiVersion, kind, metadata } = object;
    const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const resource = await this.#resourceOf(group, kind);
    const namespace = resource.namespaced ? `/namespaces/${metadata.namespace ?? "default"}` : "";
    return `${group}${namespace}/${resource.name}/${metadata.name}`;
  }

  /**
   * Reads `path` until `accept` likes what it sees (undefined while the object does not exist) and returns that.
   *
   * @throws {Error} after `timeoutMs`, with the last state seen.
   */
  async waitFor<T = RestObject>(
    path: string,
    what: string,
    accept: (object: T | undefined) => boolean,
    timeoutMs = 30_000,
  ): Promise<T | undefined> {
    const deadline = performance.now() + timeoutMs;
    while (true) {
      const object = await this.get<T>(path);
      if (accept(object)) return object;
      if (performance.now() > deadline) {
        const seen = JSON.stringify(object, null, 1)?.slice(0, 4000) ?? "nothing";
        throw new Error(`Waited ${timeoutMs} ms in vain for ${path}: ${what}. Last seen: ${seen}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  /** Waits until the object at `path` does not exist. */
  async waitUntilGone(path: string, timeoutMs?: number): Promise<void> {
    await this.waitFor(path, "is gone", (object) => object === undefined, timeoutMs);
  }

  /** For requests that this class has no method for. Closed by {@linkcode reconnect}. */
  get httpClient(): Deno.HttpClient {
    return this.#http;
  }

  get config(): RestConfig {
    return this.#config;
  }

  /**
   * Drops the open connections, for instance because the server was restarted.
   *
   * @param change what of the configuration is different from now on.
   */
  reconnect(change: Partial<RestConfig> = {}): void {
    this.#config = { ...this.#config, ...change };
    this.#http.close();
    this.#http = openHttpClient(this.#config);
  }

  [Symbol.dispose](): void {
    this.#http.close();
  }

  async #send(method: string, path: string, options: RestRequest): Promise<string> {
    const headers: Record<string, string> = {
      "accept": options.accept ?? "application/json",
      "user-agent": options.userAgent ?? this.#userAgent,
    };
    if (this.config.token !== undefined) headers["authorization"] = `Bearer ${this.config.token}`;
    if (options.body !== undefined) headers["content-type"] = options.contentType ?? "application/json";
    const response = await fetch(`${this.config.server}${path}`, {
      method,
      headers,
      client: this.#http,
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new RestError(`${method} ${path}`, response.status, text);
    return text;
  }

  async #waitUntilServed(path: string): Promise<void> {
    type Definition = {
      spec: { group: string; names: { kind: string }; versions: { name: string; served: boolean }[] };
      status?: { conditions?: { type: string; status: string }[] };
    };
    const definition = await this.waitFor<Definition>(
      path,
      "is established",
      (crd) =>
        crd?.status?.conditions?.some(({ type, status }) => type === "Established" && status === "True") ??
          false,
    );
    if (definition === undefined) return;
    const { group, names, versions } = definition.spec;
    for (const { name } of versions.filter(({ served }) => served)) {
      // Known of a definition that is gone, it would say nothing about this one.
      this.#plurals.delete(`/apis/${group}/${name} ${names.kind}`);
      await this.#resourceOf(`/apis/${group}/${name}`, names.kind);
    }
  }

  async #resourceOf(group: string, kind: string): Promise<{ name: string; namespaced: boolean }> {
    const known = this.#plurals.get(`${group} ${kind}`);
    if (known !== undefined) return known;
    type Resources = { resources: { name: string; kind: string; namespaced: boolean }[] };
    const isOfKind = (resource: { name: string; kind: string }) =>
      resource.kind === kind && !resource.name.includes("/");
    const list = await this.waitFor<Resources>(
      group,
      `has kind ${kind}`,
      (answer) => answer?.resources.some(isOfKind) ?? false,
      30_000,
    );
    const resource = list?.resources.find(isOfKind);
    if (resource === undefined) throw new Error(`Found no kind ${kind} in ${group}`);
    this.#plurals.set(`${group} ${kind}`, resource);
    return resource;
  }
}

/** Reads YAML with any number of documents; empty ones are left out. */
export function parseManifests(yaml: string): RestObject[] {
  return parseAllDocuments(yaml).map((document) => {
    const error = document.errors[0];
    if (error !== undefined) throw error;
    return document.toJS();
  }).filter((object) => object !== null);
}

function undefinedIfNotFound(error: unknown): undefined {
  if (error instanceof RestError && error.status === 404) return undefined;
  throw error;
}

function parseStatus(body: string): { reason?: string; message?: string } {
  try {
    const status: unknown = JSON.parse(body);
    return typeof status === "object" && status !== null ? status : {};
  } catch {
    return {};
  }
}

function openHttpClient(config: RestConfig): Deno.HttpClient {
  return Deno.createHttpClient({
    ...(config.caCertificates === undefined ? {} : { caCerts: [config.caCertificates] }),
    ...(config.clientCertificate === undefined
      ? {}
      : { cert: config.clientCertificate.certificate, key: config.clientCertificate.key }),
  });
}

interface Kubeconfig {
  "current-context"?: string;
  contexts?: { name: string; context: { cluster: string; user: string } }[];
  clusters?: { name: string; cluster: Record<string, string> }[];
  users?: { name: string; user: Record<string, string> }[];
}

async function readKubeconfig(path: string): Promise<RestConfig> {
  const kubeconfig: Kubeconfig = parse(await Deno.readTextFile(path)) ?? {};
  const context = kubeconfig.contexts?.find((it) => it.name === kubeconfig["current-context"])?.context;
  const cluster = kubeconfig.clusters?.find((it) => it.name === context?.cluster)?.cluster ?? {};
  const user = kubeconfig.users?.find((it) => it.name === context?.user)?.user ?? {};
  const content = async (fields: Record<string, string>, name: string) => {
    const inline = fields[`${name}-data`];
    if (inline !== undefined) return new TextDecoder().decode(Uint8Array.fromBase64(inline));
    const file = fields[name];
    return file === undefined
      ? undefined
      : await Deno.readTextFile(new URL(file, `file://${await Deno.realPath(path)}`));
  };
  const server = cluster["server"];
  if (server === undefined) throw new Error(`Found no cluster for the current context in ${path}`);
  const caCertificates = await content(cluster, "certificate-authority");
  const certificate = await content(user, "client-certificate");
  const key = await content(user, "client-key");
  const token = user["token"];
  if (token === undefined && certificate === undefined) {
    throw new Error(`Found neither a token nor a client certificate for the current context in ${path}`);
  }
  return {
    server: server.replace(/\/$/, ""),
    ...(caCertificates === undefined ? {} : { caCertificates }),
    ...(token === undefined ? {} : { token }),
    ...(certificate === undefined || key === undefined ? {} : { clientCertificate: { certificate, key } }),
  };
}
