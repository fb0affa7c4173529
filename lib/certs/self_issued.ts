import type { Certificate } from "./certificate.ts";
import { toBeSigned } from "./to_be_signed.ts";

/**
 * Whether issuer and subject of a certificate are the same name (RFC 5280, section 3.2), byte by byte, as they are in roots. Other
 * CA certificates are intermediates, or cross-signed roots.
 *
 * @throws {CertificateError} if `certificate` was not made by {@linkcode parseCertificate}.
 */
export function isSelfIssued(certificate: Certificate): boolean {
  const { issuer, subject } = toBeSigned(certificate);
  return issuer.length === subject.length && issuer.every((octet, i) => octet === subject[i]);
}
