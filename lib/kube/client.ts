/** Asks for `PartialObjectMetadata` instead of whole objects; one object, a list or a watch alike. */
export const METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/** As {@linkcode METADATA_ONLY}, for paged lists. */
export const METADATA_ONLY_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/** Content type of a server-side apply (KEP-555). JSON is YAML, so the body may be JSON. */
export const APPLY_PATCH = "application/apply-patch+yaml";

/** Content type of a JSON patch (RFC 6902). */
export const JSON_PATCH = "application/json-patch+json";

/** One request to the API server. */
export interface KubeRequest {
  /** Default `GET`. */
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Absolute path such as `/api/v1/namespaces/default/configmaps/x`; segments already percent-encoded. */
  readonly path: string;
  /** Query parameters; undefined ones are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Encoded body, sent as it is (never copied per request), or a value that is sent as JSON. */
  readonly body?: Uint8Array<ArrayBuffer> | Readonly<Record<string, unknown>>;
  /** Default `application/json`. */
  readonly contentType?: string;
  /** Default `application/json`. */
  readonly accept?: string;
  /** Deadline in milliseconds for each attempt, answer read to its end. Default: that of the configuration, or 30,000. */
  readonly timeoutMs?: number;
  /** How often the request is sent at most: 429, 500, 502, 503, 504 and connection errors are tried again. Default 4. */
  readonly attempts?: number;
  /** Gives the request up; the promise then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A watch or another answer that is read while it arrives. */
export interface KubeStreamRequest {
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly accept?: string;
  /** Deadline in milliseconds until the answer's headers are there. Default as of {@linkcode KubeRequest}. */
  readonly timeoutMs?: number;
  /** Ends the stream. */
  readonly signal: AbortSignal;
}

/**
 * A connection to one API server as one user. Several clients of one cluster do not share a TCP connection, so that the
 * lease never waits behind a bulk of writes.
 */
export interface KubeClient {
  /**
   * Sends `request` and returns the decoded JSON of the answer (undefined if that is empty). A retry may find that an
   * earlier attempt was carried out although its answer was lost: a `POST` may then meet its own object as 409.
   *
   * @throws {KubeStatusError} if the API server refuses it (after the allowed attempts).
   * @throws {KubeConnectionError} if no answer came: refused, reset, timed out (after the allowed attempts).
   */
  request<T>(request: KubeRequest): Promise<T>;
  /**
   * Opens a stream of bytes. Sent once (twice if the first is refused with 401), always with `Accept-Encoding: identity`.
   * The stream ends as the server ends it, and fails with the signal's reason or with a {@linkcode KubeConnectionError}.
   *
   * @throws {KubeStatusError} {KubeConnectionError} as {@linkcode request}.
   */
  stream(request: KubeStreamRequest): Promise<ReadableStream<Uint8Array<ArrayBuffer>>>;
  /**
   * Drops the TCP connection: later requests open a new one. For a caller that found a stream silent for too long.
   * (A time-out of {@linkcode request} does this by itself.)
   */
  reconnect(): void;
  /** Ends all that is open. The client cannot be used any more. */
  close(): void;
}
