import { sha256 } from "../sha256.ts";
import type { Certificate } from "./certificate.ts";
import { CertificateError, required } from "./certificate_error.ts";
import { readTime } from "./certificate_time.ts";
import { contextTag, DerReader, Tag } from "./der.ts";
import { checkExtensions, readExtensions } from "./extensions.ts";
import { readName } from "./name.ts";
import { checkPublicKey, readAlgorithm } from "./public_key.ts";

/**
 * Reads one X.509 certificate (RFC 5280, section 4.1). What is refused, and with which message, is what Go 1.26 refuses, because
 * users of the Go project know it so; negative serial numbers too. Nothing is verified: no signature, no chain, no date.
 *
 * @param der the certificate, nothing after it. It is copied, so that the result does not hold what lies around it.
 * @param options.allowNegativeSerialNumbers whether they are taken all the same.
 * @throws {CertificateError}
 */
export function parseCertificate(
  der: Uint8Array<ArrayBuffer>,
  options: { readonly allowNegativeSerialNumbers?: boolean } = {},
): Certificate {
  const input = new DerReader(der);
  const certificate = required(input.read(Tag.sequence), "x509: malformed certificate");
  const facts = readToBeSigned(certificate, options.allowNegativeSerialNumbers ?? false);
  required(certificate.readBitString(), "x509: malformed signature");
  if (!input.empty) throw new CertificateError("x509: trailing data");
  return { der: der.slice(), sha256: sha256(der), ...facts };
}

/** Reads the TBSCertificate and the outer signature algorithm, which must equal the inner one. */
function readToBeSigned(
  certificate: DerReader,
  allowNegativeSerialNumbers: boolean,
): Pick<Certificate, "notBefore" | "notAfter" | "isCa"> {
  const body = required(certificate.read(Tag.sequence), "x509: malformed tbs certificate");
  const version = readVersion(body);

  const serial = required(body.readInteger(), "x509: malformed serial number");
  if ((serial[0] ?? 0) >= 0x80 && !allowNegativeSerialNumbers) {
    throw new CertificateError("x509: negative serial number");
  }

  const inner = required(body.read(Tag.sequence), "x509: malformed signature algorithm identifier");
  const outer = required(certificate.read(Tag.sequence), "x509: malformed algorithm identifier");
  if (!equal(inner.rest, outer.rest)) {
    throw new CertificateError("x509: inner and outer signature algorithm identifiers don't match");
  }
  readAlgorithm(inner);

  requireSequence(body, "x509: malformed issuer");
  readName(body);
  const validity = required(body.read(Tag.sequence), "x509: malformed validity");
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  requireSequence(body, "x509: malformed issuer"); // Go says issuer here too
  readName(body);
  checkPublicKey(required(body.read(Tag.sequence), "x509: malformed spki"));

  if (version >= 2) {
    skipOptional(body, contextTag(1, false), "x509: malformed issuerUniqueID");
    skipOptional(body, contextTag(2, false), "x509: malformed subjectUniqueID");
  }
  const tag = contextTag(3, true);
  if (version !== 3 || !body.nextIs(tag)) return { notBefore, notAfter, isCa: false };
  const extensions = readExtensions(required(body.read(tag), "x509: malformed extensions"));
  return { notBefore, notAfter, ...checkExtensions(extensions) };
}

/** 1, 2 or 3; or, of one certificate that Go takes and nobody else does, a negative number. */
function readVersion(body: DerReader): number {
  const message = "x509: malformed version";
  const tag = contextTag(0, true);
  if (!body.nextIs(tag)) return 1;
  const content = required(body.read(tag), message);
  const encoded = required(content.readInteger(), message);
  if (!content.empty || encoded.length > 8 || (encoded[0] ?? 0) >= 0x80) throw new CertificateError(message);
  // Go adds one to 64 bits: the largest of them wraps around, and is then less than 3.
  const version = Number(BigInt.asIntN(64, BigInt(`0x${encoded.toHex()}`) + 1n));
  if (version > 3) throw new CertificateError("x509: invalid version");
  return version;
}

/** Whether a whole SEQUENCE comes next; reads nothing. */
function requireSequence(reader: DerReader, message: string): void {
  const ahead = new DerReader(reader.rest);
  required(ahead.read(Tag.sequence), message);
}

function skipOptional(reader: DerReader, tag: number, message: string): void {
  if (reader.nextIs(tag)) required(reader.read(tag), message);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((octet, i) => octet === b[i]);
}
