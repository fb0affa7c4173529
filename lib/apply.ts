import {
  BUNDLE_API_VERSION,
  BUNDLE_LABEL,
  BUNDLES_PATH,
  FIELD_MANAGER,
  type TargetKind,
} from "./api/bundle.ts";
import { APPLY_PATCH, type KubeClient, METADATA_ONLY } from "./kube/client.ts";
import { isStatus, KubeConnectionError, KubeStatusError } from "./kube/errors.ts";
import type { ConfigMap, KubeObject, Secret } from "./kube/objects.ts";
import { readTarget, type TargetRecord } from "./records/target_record.ts";
import { ownerReference, type TargetContent } from "./resolve.ts";

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

/** The writes of the operator. Decides nothing. */
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
   * @returns what the API server now has.
   * @throws {WriteError} if it refuses or does not answer.
   */
  async applyTarget(
    content: TargetContent,
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<TargetRecord> {
    const { kind, body } = content;
    return readTarget(
      kind,
      await this.#patch<KubeObject>(kind, namespace, name, body, METADATA_ONLY, signal),
    );
  }

  /**
   * Takes what is ours out of a target that is not wanted any more, and deletes it if nothing is left in it.
   *
   * @returns what the API server now has; without a resourceVersion if that is nothing, or another object.
   * @throws {WriteError} if the API server refuses or does not answer.
   */
  async cleanTarget(
    stale: TargetRecord,
    bundle: { name: string; uid: string },
    signal: AbortSignal,
  ): Promise<TargetRecord> {
    const { kind, namespace, name } = stale;
    const nothing = { hash: undefined, ownsHash: false, ownedKeys: "", hasData: false };
    const gone: TargetRecord = { ...stale, ...nothing, deleting: true, resourceVersion: "" };
    const body = {
      apiVersion: "v1",
      kind,
      metadata: {
        name,
        // With the UID, an object that is gone by now is not made anew, and a successor of that name is not touched.
        uid: stale.uid,
        labels: { [BUNDLE_LABEL]: bundle.name },
        ownerReferences: [ownerReference(bundle)],
      },
    };
    let left: ConfigMap & Secret;
    try {
      left = await this.#patch(kind, namespace, name, body, "application/json", signal);
    } catch (error) {
      if (error instanceof WriteError && (isStatus(error.cause, 404) || isStatus(error.cause, 409))) {
        return gone;
      }
      throw error;
    }
    const keys = { ...left.data, ...left.binaryData };
    if (Object.keys(keys).length > 0) return readTarget(kind, left);
    const { uid, resourceVersion } = left.metadata;
    await this.#send(`delete ${kind} ${namespace}/${name}`, () =>
      this.#client.request({
        method: "DELETE",
        path: targetPath(kind, namespace, name),
        // Whoever put data into it meanwhile has changed its resourceVersion, and keeps it.
        body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid, resourceVersion } },
        timeoutMs: WRITE_TIMEOUT_MS,
        attempts: 1,
        signal,
      })).catch((error) => {
        if (!isStatus(error.cause, 404) && !isStatus(error.cause, 409)) throw error;
      });
    return gone;
  }

  /**
   * Applies the status of a Bundle.
   *
   * @param status the whole status that is ours.
   * @throws {WriteError} if the API server refuses or does not answer.
   */
  async applyStatus(
    bundle: { name: string; uid: string },
    status: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<void> {
    const { name, uid } = bundle;
    await this.#send(`patch status of Bundle ${name}`, () =>
      this.#client.request({
        method: "PATCH",
        path: `${BUNDLES_PATH}/${encodeURIComponent(name)}/status`,
        query: { fieldManager: FIELD_MANAGER, force: true },
        contentType: APPLY_PATCH,
        accept: METADATA_ONLY,
        // With the UID, a Bundle that was deleted and made anew does not get its predecessor's status.
        body: { apiVersion: BUNDLE_API_VERSION, kind: "Bundle", metadata: { name, uid }, status },
        timeoutMs: WRITE_TIMEOUT_MS,
        attempts: 1,
        signal,
      }));
  }

  #patch<T extends KubeObject>(
    kind: TargetKind,
    namespace: string,
    name: string,
    body: Uint8Array<ArrayBuffer> | Readonly<Record<string, unknown>>,
    accept: string,
    signal: AbortSignal,
  ): Promise<T> {
    return this.#send(`patch ${kind} ${namespace}/${name}`, async () => {
      const answer = await this.#client.request<T | undefined>({
        method: "PATCH",
        path: targetPath(kind, namespace, name),
        query: { fieldManager: FIELD_MANAGER, force: true },
        contentType: APPLY_PATCH,
        accept,
        body,
        timeoutMs: WRITE_TIMEOUT_MS,
        // The queue tries again: with a pause of its own for each target, and with what is the latest version then.
        attempts: 1,
        signal,
      });
      // Of a proxy, say, or cut off.
      if (typeof answer?.metadata !== "object") {
        throw new KubeConnectionError("the answer holds no object", { timedOut: false });
      }
      return answer;
    });
  }

  async #send<T>(what: string, send: () => Promise<T>): Promise<T> {
    if (!this.#mayWrite()) throw new NotLeadingError(`Did not ${what}: this replica does not lead`);
    try {
      return await send();
    } catch (error) {
      throw new WriteError(`failed to ${what}`, error);
    }
  }
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
