import type { Certificate } from "./certificate.ts";

/** Which certificates a pool leaves out. */
export interface PoolOptions {
  /** Leaves out certificates whose `notAfter` is before this time (milliseconds since the Unix epoch). */
  readonly filterExpiredAt?: number;
  /** Leaves out certificates that are not of a CA. */
  readonly filterNonCa?: boolean;
}

/** A certificate that a pool left out. */
export interface DroppedCertificate {
  readonly certificate: Certificate;
  readonly reason: "expired" | "not a CA";
}

/** A set of certificates. */
export interface CertificatePool {
  /** Each once, ascending by SHA-256. */
  readonly certificates: readonly Certificate[];
  /** Each once, ascending by SHA-256. */
  readonly dropped: readonly DroppedCertificate[];
}

/**
 * Puts the certificates of several sources into one pool, in one order whatever that of the sources.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(poolOf([[], []], { filterNonCa: true }), { certificates: [], dropped: [] });
 * ```
 */
export function poolOf(sources: Iterable<Iterable<Certificate>>, options: PoolOptions): CertificatePool {
  const bySha256 = new Map<string, Certificate>();
  for (const source of sources) {
    for (const certificate of source) {
      if (!bySha256.has(certificate.sha256)) bySha256.set(certificate.sha256, certificate);
    }
  }
  const certificates: Certificate[] = [];
  const dropped: DroppedCertificate[] = [];
  for (const certificate of [...bySha256.values()].sort(bySha256Ascending)) {
    const reason = dropReason(certificate, options);
    if (reason === undefined) certificates.push(certificate);
    else dropped.push({ certificate, reason });
  }
  return { certificates, dropped };
}

function dropReason(
  certificate: Certificate,
  options: PoolOptions,
): DroppedCertificate["reason"] | undefined {
  const { filterExpiredAt, filterNonCa } = options;
  if (filterExpiredAt !== undefined && certificate.notAfter < filterExpiredAt) return "expired";
  return filterNonCa === true && !certificate.isCa ? "not a CA" : undefined;
}

/** Lower-case hex digits compare as the bytes do. */
function bySha256Ascending(a: Certificate, b: Certificate): number {
  return a.sha256 < b.sha256 ? -1 : a.sha256 > b.sha256 ? 1 : 0;
}

/** What is to come of validities, and what is past. */
export interface Expiries {
  /** When the first expires of those that have not yet, in milliseconds since the Unix epoch; undefined if there is none. */
  readonly next: number | undefined;
  /** How many have expired. */
  readonly expired: number;
}

/** Looks at certificates at a point in time, in milliseconds since the Unix epoch. They are expired after their notAfter, not at it. */
export function expiriesAt(now: number, certificates: Iterable<Certificate>): Expiries {
  let expired = 0;
  let next: number | undefined;
  for (const { notAfter } of certificates) {
    if (notAfter < now) expired++;
    else if (next === undefined || notAfter < next) next = notAfter;
  }
  return { next, expired };
}

/** When the first of them expires, in milliseconds since the Unix epoch; undefined if there are none. */
export function earliestNotAfter(certificates: Iterable<Certificate>): number | undefined {
  let earliest: number | undefined;
  for (const { notAfter } of certificates) {
    if (earliest === undefined || notAfter < earliest) earliest = notAfter;
  }
  return earliest;
}
