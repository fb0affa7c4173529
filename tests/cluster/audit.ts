import type { ControlPlane } from "./control_plane.ts";

/** One request as the API server saw it. */
export interface AuditEntry {
  /** When it came, RFC 3339 with microseconds. */
  readonly time: string;
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`. */
  readonly verb: string;
  /** Such as `system:serviceaccount:cert-manager:trust-manager`. */
  readonly user: string;
  readonly userAgent: string;
  /** Group of the resource; empty for the core group. */
  readonly group: string;
  /** Plural, such as `configmaps`; empty if the request was for no resource. */
  readonly resource: string;
  /** Such as `status`; else empty. */
  readonly subresource: string;
  /** Empty if there was none. */
  readonly namespace: string;
  /** Empty if there was none. */
  readonly name: string;
  /** HTTP status. */
  readonly code: number;
  readonly requestURI: string;
}

/** A place in the log: all that was answered before it is before it. */
export interface AuditMark {
  /** Bytes. */
  readonly offset: number;
}

/** Which entries are asked for: each field that is given must be equal; `verb` may be several, `userAgent` is a part. */
export type AuditFilter =
  & Partial<
    Pick<
      AuditEntry,
      "user" | "userAgent" | "group" | "resource" | "subresource" | "namespace" | "name" | "code"
    >
  >
  & { readonly verb?: string | readonly string[] };

/** The verbs that change something. */
export const WRITES: readonly string[] = ["create", "update", "patch", "delete", "deletecollection"];

/**
 * The requests that a control plane has answered, from its audit log. A watch counts as soon as it has begun. Requests of the
 * controllers and of the API server itself are not recorded.
 */
export class AuditLog {
  readonly #controlPlane: Pick<ControlPlane, "admin" | "own">;

  constructor(controlPlane: Pick<ControlPlane, "admin" | "own">) {
    this.#controlPlane = controlPlane;
  }

  /** Waits until the log has caught up and returns its end. */
  async mark(): Promise<AuditMark> {
    return (await this.#catchUp({ offset: await this.#size() })).end;
  }

  /**
   * Waits until the log has caught up and returns the requests that were answered since `mark`, in that order.
   *
   * @throws {Error} if the log does not catch up within 10 s.
   */
  async since(mark: AuditMark, filter: AuditFilter = {}): Promise<AuditEntry[]> {
    const { entries } = await this.#catchUp(mark);
    return entries.filter((entry) => !entry.userAgent.startsWith(MARKER) && matches(entry, filter));
  }

  /** Makes a request and reads from `start` until that request is there. */
  async #catchUp(start: AuditMark): Promise<{ entries: AuditEntry[]; end: AuditMark }> {
    // Twice, because two requests that end at the same moment may be recorded in either order.
    await this.#sendMarker();
    const userAgent = await this.#sendMarker();
    const deadline = performance.now() + 10_000;
    while (true) {
      const { text, end } = await this.#read(start);
      const entries = text.split("\n").filter((line) => line !== "").map(toEntry);
      if (entries.some((entry) => entry.userAgent === userAgent)) return { entries, end };
      if (performance.now() > deadline) {
        throw new Error(`Waited 10 s in vain for a request in ${this.#path()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async #sendMarker(): Promise<string> {
    const userAgent = `${MARKER}${crypto.randomUUID()}`;
    await this.#controlPlane.admin.request("GET", "/api/v1/namespaces/default", { userAgent });
    return userAgent;
  }

  /** All complete lines from `start` on. */
  async #read(start: AuditMark): Promise<{ text: string; end: AuditMark }> {
    using file = await Deno.open(this.#path());
    const size = (await file.stat()).size;
    await file.seek(start.offset, Deno.SeekMode.Start);
    const bytes = new Uint8Array(size - start.offset);
    let length = 0;
    while (length < bytes.length) length += await file.read(bytes.subarray(length)) ?? bytes.length;
    const complete = bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
    return { text: new TextDecoder().decode(complete), end: { offset: start.offset + complete.length } };
  }

  async #size(): Promise<number> {
    return (await Deno.stat(this.#path())).size;
  }

  #path(): string {
    const path = this.#controlPlane.own?.auditLog;
    if (path === undefined) throw new Error("A cluster of the user's own has no audit log to read");
    return path;
  }
}

const MARKER = "audit-marker/";

function matches(entry: AuditEntry, filter: AuditFilter): boolean {
  return Object.entries(filter).every(([field, wanted]) => {
    if (wanted === undefined) return true;
    if (field === "userAgent") return entry.userAgent.includes(String(wanted));
    const actual = entry[field as keyof AuditEntry];
    return Array.isArray(wanted) ? wanted.includes(actual) : actual === wanted;
  });
}

function toEntry(line: string): AuditEntry {
  const event = JSON.parse(line);
  const object = event.objectRef ?? {};
  return {
    time: event.requestReceivedTimestamp,
    verb: event.verb,
    user: event.user?.username ?? "",
    userAgent: event.userAgent ?? "",
    group: object.apiGroup ?? "",
    resource: object.resource ?? "",
    subresource: object.subresource ?? "",
    namespace: object.namespace ?? "",
    name: object.name ?? "",
    code: event.responseStatus?.code ?? 0,
    requestURI: event.requestURI,
  };
}
