/** `metav1.Status` of a refused request, as far as it is used. */
export interface KubeStatus {
  /** HTTP status code. */
  readonly code: number;
  /** Machine-readable reason such as `NotFound`, `Conflict`, `Forbidden`, `Expired`; empty if the server gave none. */
  readonly reason: string;
  /** The API server's message. */
  readonly message: string;
  /** Seconds to wait, of `Retry-After` or of the status' details. */
  readonly retryAfterSeconds?: number;
}

/** The API server answered, and refused. Its message is the API server's own, unchanged: conditions quote it. */
export class KubeStatusError extends Error {
  override readonly name = "KubeStatusError";
  readonly status: KubeStatus;

  constructor(status: KubeStatus) {
    super(status.message);
    this.status = status;
  }
}

/** No answer came: the server is not reachable, the connection broke, or the deadline passed. */
export class KubeConnectionError extends Error {
  override readonly name = "KubeConnectionError";
  /** Whether the client's own deadline passed (the request may still have been carried out). */
  readonly timedOut: boolean;

  constructor(message: string, options: { timedOut: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.timedOut = options.timedOut;
  }
}

/** Whether `error` is the API server's refusal with HTTP status `code`. */
export function isStatus(error: unknown, code: number): error is KubeStatusError {
  return error instanceof KubeStatusError && error.status.code === code;
}
