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

/** Characters of an answer that is no `Status` that its message quotes. */
const QUOTED_BODY = 200;

/**
 * The `Status` in the body of a refusal. Proxies and load balancers refuse too, in HTML or plain text: that gets a message
 * that quotes how it starts. Pure.
 *
 * @param retryAfterSeconds of the `Retry-After` header; it comes before the one in the body.
 */
export function readStatus(code: number, body: string, retryAfterSeconds?: number): KubeStatus {
  let status: unknown;
  try {
    status = JSON.parse(body);
  } catch {
    // Not JSON.
  }
  if (!isStatusObject(status)) {
    const text = body.slice(0, 4 * QUOTED_BODY).replace(/[\s\p{C}]+/gu, " ").trim().slice(0, QUOTED_BODY);
    return {
      code,
      reason: "",
      message: `The server answered with HTTP status ${code}${text === "" ? "" : `: ${text}`}`,
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    };
  }
  const seconds = retryAfterSeconds ?? status.details?.retryAfterSeconds;
  return {
    code,
    reason: typeof status.reason === "string" ? status.reason : "",
    message: typeof status.message === "string" && status.message !== ""
      ? status.message
      : `The API server answered with HTTP status ${code}`,
    ...(typeof seconds === "number" ? { retryAfterSeconds: seconds } : {}),
  };
}

/** What is read of a `metav1.Status`. */
interface StatusObject {
  readonly message?: unknown;
  readonly reason?: unknown;
  readonly details?: { readonly retryAfterSeconds?: unknown } | null;
}

function isStatusObject(value: unknown): value is StatusObject {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "Status";
}
