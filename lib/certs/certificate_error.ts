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
