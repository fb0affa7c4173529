import { ClusterConfigError } from "./config.ts";
import { KubeConnectionError, KubeStatusError } from "./errors.ts";

/** Statuses that say that the same request may succeed a little later. */
const PASSING = new Set([429, 500, 502, 503, 504]);

/**
 * Milliseconds before the first retry; each further one waits twice as long. Enough for a connection that was dropped or
 * an API server that is replaced behind its load balancer. What lasts longer is left to the caller's own backoff.
 */
const FIRST_DELAY = 100;

/** Milliseconds that one retry waits at most, whatever the server says. */
const LONGEST_DELAY = 60_000;

/**
 * Milliseconds to wait before a request that failed with `error` is sent again; undefined if that is of no use. Pure.
 *
 * @param attempt how often it has been sent, from 1.
 * @param random from 0 to 1: spreads those that failed together, over half of the delay.
 */
export function retryDelay(error: unknown, attempt: number, random: number): number | undefined {
  const backoff = FIRST_DELAY * 2 ** (attempt - 1) * (0.5 + random / 2);
  if (error instanceof KubeStatusError) {
    if (!PASSING.has(error.status.code)) return undefined;
    return Math.min((error.status.retryAfterSeconds ?? 0) * 1000 + backoff, LONGEST_DELAY);
  }
  // Credentials that are not to be had do not come back within a second; a plugin is not run over and over.
  const passing = error instanceof KubeConnectionError && !(error.cause instanceof ClusterConfigError);
  return passing ? Math.min(backoff, LONGEST_DELAY) : undefined;
}

/**
 * Seconds that `Retry-After` asks for (RFC 9110, 10.2.3: seconds or a date); undefined if it is absent or neither.
 *
 * @param now milliseconds since the Unix epoch.
 */
export function parseRetryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\s*\d+\s*$/.test(header)) return Number(header);
  // Date.parse takes much more for a date than HTTP does, such as "-1".
  const date = header.trimEnd().endsWith(" GMT") ? Date.parse(header) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, (date - now) / 1000);
}
