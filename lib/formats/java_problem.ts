import type { Certificate } from "../certs/certificate.ts";
import { toBeSigned } from "../certs/to_be_signed.ts";

/**
 * Why Java cannot read a certificate that Go, and so this project, can; undefined if it can. Java refuses a key store as a whole for
 * one such certificate. These are all reasons that are known; tests/oracles asks Java.
 */
export function javaProblem(certificate: Certificate): string | undefined {
  const { version, issuer, validity, optional } = toBeSigned(certificate);
  if (issuer.length === EMPTY_SEQUENCE) return "it has no issuer";
  if (version < 3 && optional.length > 0) return `it has extensions, and version ${version} has none`;
  if (ODD_TIME.test(new TextDecoder("latin1").decode(validity))) return "its validity has an odd time zone";
  return undefined;
}

/** Size in bytes of a name without parts. */
const EMPTY_SEQUENCE = 2;

/** An offset of 24 hours, or any offset after a time without seconds. */
const ODD_TIME = /[+-]24\d\d|\x17\x0f\d{10}[+-]/;
