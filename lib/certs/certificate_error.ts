import { goQuote } from "../go_quote.ts";

/** Bytes that are no certificate which Go's `crypto/x509` (1.26) takes. The message equals Go's, where Go has one. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}

/**
 * `value`, which must be there.
 *
 * @throws {CertificateError} with `message` if it is undefined.
 */
export function required<T>(value: T | undefined, message: string): T {
  if (value === undefined) throw new CertificateError(message);
  return value;
}

/**
 * Quotes for a message as Go does. Of what is long only the beginning, for `readPem` shows no more of a message. To quote takes
 * time: without the bound, a certificate of 1 MB could hold up the process for so long that it loses its lease.
 */
export function quoted(value: string | Uint8Array): string {
  const longest = 1024;
  return goQuote(value.length > longest ? value.slice(0, longest) : value);
}
