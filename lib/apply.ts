import {
  BUNDLE_API_VERSION,
  BUNDLE_LABEL,
  BUNDLE_UID_ANNOTATION,
  BUNDLES_PATH,
  FIELD_MANAGER,
  type TargetKind,
} from "./api/bundle.ts";
import { APPLY_PATCH, JSON_PATCH, type KubeClient, type KubeRequest, METADATA_ONLY } from "./kube/client.ts";
import { isStatus, KubeConnectionError, KubeStatusError } from "./kube/errors.ts";
import { takeOverUpdates } from "./kube/managed_fields.ts";
import type { ConfigMap, KubeObject, ManagedFieldsEntry, Secret } from "./kube/objects.ts";
import { readTarget, type TargetRecord } from "./records/target_record.ts";
import { ownerReference, sharedBody, type TargetContent } from "./resolve.ts";

/** Deadline of one write, in milliseconds. A namespace whose admission webhook hangs fails after this. */
const WRITE_TIMEOUT_MS = 15_000;

/** A write that did not happen, or of which it is not known. Its message is the `<cause>` of conditions and events. */
export class WriteError extends Error {
  override readonly name = "WriteError";
  /** Whether it may well pass by itself: overload, a conflict, a namespace that is just going away, a lost connection. */
  readonly transient: boolean;
  /** How long the API server asked to wait, in milliseconds. */
  readonly retryAfterMs: number;

  constructor(what: string, cause: unknown) {
    super(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.transient = isTransient(cause);
    this.retryAfterMs = cause instanceof KubeStatusError ? (cause.status.retryAfterSeconds ?? 0) * 1000 : 0;
  }
}

/** Thrown instead of writing when this process is not, or not any more, the leader. */
export class NotLeadingError extends Error {
  override readonly name = "NotLeadingError";
}

/** Where and as what the operator writes. */
export interface WriterOptions {
  readonly client: KubeClient;
  /** Asked right before each request; once it says no, nothing is written. */
  readonly mayWrite: () => boolean;
}

/** What the API server has of a target after a write. */
export interface WrittenTarget {
  readonly record: TargetRecord;
  /** As the API server returned them. */
  readonly managedFields: readonly ManagedFieldsEntry[];
  /** Whether the object holds no data; absent if the answer had metadata only. */
  readonly isEmpty?: boolean;
}

/** The writes of the operator, and what is asked right before one. Decides nothing. */
export class Writer {
  readonly #client: KubeClient;
  readonly #mayWrite: () => boolean;

  constructor({ client, mayWrite }: WriterOptions) {
    this.#client = client;
    this.#mayWrite = mayWrite;
  }

  /**
   * Makes the target in `namespace` hold `content`, by server-side apply with force.
   *
   * @param sharedBy UID of the Bundle if others own data in the same object: then it gets no owner reference.
   * @throws {WriteError} if the API server refuses or does not answer.
   */
  async applyTarget(
    content: TargetContent,
    namespace: string,
    name: string,
    signal: AbortSignal,
    sharedBy?: string,
  ): Promise<WrittenTarget> {
    const { kind } = content;
    const body = sharedBy === undefined ? content.body : sharedBody(content, sharedBy);
    return written(kind, await this.#patchTarget(kind, namespace, name, body, METADATA_ONLY, signal));
  }

  /**
   * Takes the content out of a target that is not wanted any more. Label and owner reference stay, so that it can be found again.
   *
   * @returns what is left; without a resourceVersion if the object is gone, or another.
   * @throws {WriteError} if the API server refuses or does not answer.
   */
  cleanTarget(
    stale: TargetRecord,
    bundle: { readonly name: string; readonly uid: string },
    signal: AbortSignal,
  ): Promise<WrittenTarget> {
    const owner = stale.bundleUid === undefined
      ? { ownerReferences: [ownerReference(bundle)] }
      : { annotations: { [BUNDLE_UID_ANNOTATION]: stale.bundleUid } };
    return this.#strip(stale, { labels: { [BUNDLE_LABEL]: bundle.name }, ...owner }, signal);
  }

  /**
   * Takes all that is ours out of an object in which others own data: content, label and owner reference.
   *
   * @returns as {@linkcode cleanTarget}.
   * @throws {WriteError} if the API server refuses or does not answer.
   */
  releaseTarget(stale: TargetRecord, signal: AbortSignal): Promise<WrittenTarget> {
    return this.#strip(stale, {}, signal);
  }

  /**
   * Deletes a target, if it is still in the state of `record`: whoever put data into it meanwhile keeps it.
   *
   * @throws {WriteError} if the API server refuses or does not answer.
   */
  async deleteTarget(record: TargetRecord, signal: AbortSignal): Promise<WrittenTarget> {
    const { kind, namespace, name, uid, resourceVersion } = record;
    try {
      await this.#send(`delete ${kind} ${namespace}/${name}`, {
        method: "DELETE",
        path: targetPath(kind, namespace, name),
        body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid, resourceVersion } },
        signal,
      });
    } catch (error) {
      if (!(error instanceof WriteError) || !isStatus(error.cause, 404)) throw error;
    }
    return gone(record);
  }

  /**
   * Makes what updates under our name own in a target something that our applies own: see {@linkcode takeOverUpdates}. Its content
   * stays as it is.
   *
   * @throws {WriteError} if the API server refuses or does not answer, as it does if the object is not in the state of `record`.
   */
  async takeOverTarget(
    record: TargetRecord,
    managedFields: readonly ManagedFieldsEntry[],
    signal: AbortSignal,
  ): Promise<WrittenTarget> {
    const { kind, namespace, name, resourceVersion } = record;
    const path = targetPath(kind, namespace, name);
    const what = `patch ${kind} ${namespace}/${name}`;
    return written(kind, await this.#takeOver(what, path, managedFields, "", resourceVersion, signal));
  }

  /**
   * Applies the status of a Bundle.
   *
   * @param status the whole status that is ours.
   * @returns the Bundle's resourceVersion.
   * @throws {WriteError} if the API server refuses or does not answer.
   */
  async applyStatus(
    bundle: { name: string; uid: string },
    status: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<string> {
    const { name, uid } = bundle;
    const path = `${BUNDLES_PATH}/${encodeURIComponent(name)}/status`;
    const what = `patch status of Bundle ${name}`;
    // With the UID, a Bundle that was deleted and made anew does not get its predecessor's status.
    const body = { apiVersion: BUNDLE_API_VERSION, kind: "Bundle", metadata: { name, uid }, status };
    const apply = () => this.#apply(what, path, body, METADATA_ONLY, signal);
    let { metadata } = await apply();
    const { managedFields = [], resourceVersion = "" } = metadata;
    // Old versions of the Go project wrote the status by updates: what these alone own would stay for ever.
    if (takeOverUpdates(managedFields, FIELD_MANAGER, "status") !== undefined) {
      await this.#takeOver(what, path, managedFields, "status", resourceVersion, signal);
      ({ metadata } = await apply());
    }
    return metadata.resourceVersion ?? "";
  }

  /**
   * Asks the API server for the UID of a Bundle, as the garbage collector does before it deletes: what a watch shows may lag behind.
   *
   * @returns undefined if there is no such Bundle.
   * @throws {WriteError} if the API server does not tell.
   */
  async bundleUid(name: string, signal: AbortSignal): Promise<string | undefined> {
    try {
      const path = `${BUNDLES_PATH}/${encodeURIComponent(name)}`;
      const request = { path, accept: METADATA_ONLY, signal };
      return (await this.#send<KubeObject>(`get Bundle ${name}`, request)).metadata.uid;
    } catch (error) {
      if (error instanceof WriteError && isStatus(error.cause, 404)) return undefined;
      throw error;
    }
  }

  /** Applies nothing but `metadata` to a target, so that all else that is ours goes out of it. */
  async #strip(
    stale: TargetRecord,
    metadata: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<WrittenTarget> {
    const { kind, namespace, name, uid } = stale;
    // With the UID, an object that is gone by now is not made anew, and a successor of that name is not touched.
    const body = { apiVersion: "v1", kind, metadata: { name, uid, ...metadata } };
    let left: ConfigMap & Secret;
    try {
      left = await this.#patchTarget(kind, namespace, name, body, "application/json", signal);
    } catch (error) {
      if (error instanceof WriteError && (isStatus(error.cause, 404) || isStatus(error.cause, 409))) {
        return gone(stale);
      }
      throw error;
    }
    return {
      ...written(kind, left),
      isEmpty: Object.keys({ ...left.data, ...left.binaryData }).length === 0,
    };
  }

  #patchTarget(
    kind: TargetKind,
    namespace: string,
    name: string,
    body: NonNullable<KubeRequest["body"]>,
    accept: string,
    signal: AbortSignal,
  ): Promise<KubeObject> {
    const path = targetPath(kind, namespace, name);
    return this.#apply(`patch ${kind} ${namespace}/${name}`, path, body, accept, signal);
  }

  #apply(
    what: string,
    path: string,
    body: NonNullable<KubeRequest["body"]>,
    accept: string,
    signal: AbortSignal,
  ): Promise<KubeObject> {
    return this.#patch(what, {
      path,
      query: { fieldManager: FIELD_MANAGER, force: true },
      contentType: APPLY_PATCH,
      accept,
      body,
      signal,
    });
  }

  #takeOver(
    what: string,
    path: string,
    managedFields: readonly ManagedFieldsEntry[],
    subresource: string,
    resourceVersion: string,
    signal: AbortSignal,
  ): Promise<KubeObject> {
    const value = takeOverUpdates(managedFields, FIELD_MANAGER, subresource) ?? managedFields;
    const patch = [
      { op: "replace", path: "/metadata/managedFields", value },
      // The API server refuses it if the object has changed.
      { op: "replace", path: "/metadata/resourceVersion", value: resourceVersion },
    ];
    return this.#patch(what, {
      path,
      query: { fieldManager: FIELD_MANAGER },
      contentType: JSON_PATCH,
      accept: METADATA_ONLY,
      body: new TextEncoder().encode(JSON.stringify(patch)),
      signal,
    });
  }

  async #patch(what: string, request: KubeRequest): Promise<KubeObject> {
    const answer = await this.#send<KubeObject | undefined>(what, { ...request, method: "PATCH" });
    if (typeof answer?.metadata === "object") return answer;
    // Of a proxy, say, or cut off.
    const cause = new KubeConnectionError("the answer holds no object", { timedOut: false });
    throw new WriteError(`failed to ${what}`, cause);
  }

  async #send<T>(what: string, request: KubeRequest): Promise<T> {
    if (!this.#mayWrite()) throw new NotLeadingError(`Did not ${what}: this replica does not lead`);
    try {
      // The queue tries again: with a pause of its own for each target, and with what is the latest version then.
      return await this.#client.request<T>({ timeoutMs: WRITE_TIMEOUT_MS, attempts: 1, ...request });
    } catch (error) {
      throw new WriteError(`failed to ${what}`, error);
    }
  }
}

function written(kind: TargetKind, { metadata }: KubeObject): WrittenTarget {
  return { record: readTarget(kind, { metadata }), managedFields: metadata.managedFields ?? [] };
}

/** A target that is not there any more. */
function gone(record: TargetRecord): WrittenTarget {
  const nothing = {
    hash: undefined,
    layout: undefined,
    bundleUid: undefined,
    owned: "",
    ownsOwner: false,
    hasUpdates: false,
    foreignKeys: [],
    hasData: false,
    immutable: false,
  };
  return { record: { ...record, ...nothing, deleting: true, resourceVersion: "" }, managedFields: [] };
}

/** API path of a ConfigMap or Secret. */
export function targetPath(kind: TargetKind, namespace: string, name: string): string {
  const resource = kind === "ConfigMap" ? "configmaps" : "secrets";
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/${resource}/${encodeURIComponent(name)}`;
}

function isTransient(cause: unknown): boolean {
  if (cause instanceof KubeConnectionError) return !cause.timedOut;
  if (!(cause instanceof KubeStatusError)) return false;
  const { code, message } = cause.status;
  // 403 and 404 of a namespace that is going away: its own event follows, and then nobody wants that target.
  if (code === 403) return message.includes("because it is being terminated");
  return [404, 409, 429].includes(code) || code >= 500;
}
