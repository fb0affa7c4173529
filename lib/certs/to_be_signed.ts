import type { Certificate } from "./certificate.ts";
import { required } from "./certificate_error.ts";
import { contextTag, DerReader, Tag } from "./der.ts";

/** Parts of a certificate that are looked at later than when it is read (RFC 5280, section 4.1). DER; views, not copies. */
export interface ToBeSigned {
  /** 1, 2 or 3; 0 of a version that there is not, which Go takes for one without extensions. */
  readonly version: number;
  readonly issuer: Uint8Array<ArrayBuffer>;
  readonly validity: Uint8Array<ArrayBuffer>;
  readonly subject: Uint8Array<ArrayBuffer>;
  /** All that comes after the public key: unique identifiers and extensions. */
  readonly optional: Uint8Array<ArrayBuffer>;
}

/**
 * Takes a certificate apart.
 *
 * @throws {CertificateError} if it was not made by {@linkcode parseCertificate}.
 */
export function toBeSigned({ der }: Certificate): ToBeSigned {
  const message = "Certificate is incomplete";
  const certificate = required(new DerReader(der).read(Tag.sequence), message);
  const body = required(certificate.read(Tag.sequence), message);
  const explicit = contextTag(0, true);
  const encoded = body.nextIs(explicit) ? body.read(explicit)?.readInteger() : undefined;
  const version = (encoded?.length ?? 1) > 1 ? 0 : (encoded?.[0] ?? 0) + 1;
  required(body.readInteger(), message); // serial number
  required(body.read(Tag.sequence), message); // signature algorithm
  const issuer = required(body.readEncoded(), message);
  const validity = required(body.readEncoded(), message);
  const subject = required(body.readEncoded(), message);
  required(body.read(Tag.sequence), message); // public key
  return { version, issuer, validity, subject, optional: body.rest };
}
