import type { Certificate } from "../certs/certificate.ts";
import { contextTag, DerReader } from "../certs/der.ts";
import { type ToBeSigned, toBeSigned } from "../certs/to_be_signed.ts";

/**
 * Why Java cannot read a certificate that Go, and so this project, can; undefined if it can. Java refuses a key store as a whole for
 * one such certificate. These are all reasons that are known; tests/oracles asks Java.
 */
export function javaProblem(certificate: Certificate): string | undefined {
  const parts = toBeSigned(certificate);
  if (parts.issuer.length === EMPTY_SEQUENCE) return "it has no issuer";
  if (parts.version === 0) return "its version is none that there is";
  if (hasTooMuch(parts)) return `it has extensions, and certificates of version ${parts.version} have none`;
  if (ODD_TIME.test(new TextDecoder("latin1").decode(parts.validity))) {
    return "its validity has an odd time zone";
  }
  return undefined;
}

/** Size in bytes of a name without parts. */
const EMPTY_SEQUENCE = 2;

/** An offset of 24 hours, or any offset after a time without seconds. */
const ODD_TIME = /[+-]24\d\d|(?<!\d)\d{10}[+-]/;

/** Version 1 has nothing after the public key, version 2 unique identifiers (RFC 5280, section 4.1). */
function hasTooMuch({ version, optional }: ToBeSigned): boolean {
  if (version === 3) return false;
  const reader = new DerReader(optional);
  for (const number of version === 2 ? [1, 2] : []) {
    const tag = contextTag(number, false);
    if (reader.nextIs(tag)) reader.read(tag);
  }
  return !reader.empty;
}
