/**
 * One X.509 certificate, as far as the operator looks at it. Public data only. `der` owns its bytes: it is no view into a
 * larger buffer, which might hold a private key beside it.
 */
export interface Certificate {
  /** The certificate itself (DER). */
  readonly der: Uint8Array<ArrayBuffer>;
  /** SHA-256 of `der`, 64 lower-case hex digits. */
  readonly sha256: string;
  /** Milliseconds since the Unix epoch. */
  readonly notBefore: number;
  /** Milliseconds since the Unix epoch. */
  readonly notAfter: number;
  /** Whether basic constraints are present and say CA (RFC 5280, section 4.2.1.9). */
  readonly isCa: boolean;
}
