import type { Certificate } from "./certificate.ts";
import { required } from "./certificate_error.ts";
import { contextTag, DerReader, Tag } from "./der.ts";

/**
 * Whether issuer and subject of a certificate are the same name (RFC 5280, section 3.2), byte by byte, as they are in roots. Other
 * CA certificates are intermediates, or cross-signed roots.
 *
 * @throws {CertificateError} if `certificate` was not made by {@linkcode parseCertificate}.
 */
export function isSelfIssued(certificate: Certificate): boolean {
  const message = "Certificate has no issuer";
  const outer = required(new DerReader(certificate.der).read(Tag.sequence), message);
  const body = required(outer.read(Tag.sequence), message);
  const version = contextTag(0, true);
  if (body.nextIs(version)) body.read(version);
  required(body.readInteger(), message);
  required(body.read(Tag.sequence), message); // signature algorithm
  const issuer = required(body.readEncoded(), message);
  required(body.read(Tag.sequence), message); // validity
  const subject = required(body.readEncoded(), message);
  return issuer.length === subject.length && issuer.every((octet, i) => octet === subject[i]);
}
