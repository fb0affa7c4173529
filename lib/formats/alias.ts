import type { Certificate } from "../certs/certificate.ts";
import { subjectOf } from "../certs/subject.ts";

/**
 * The name of a certificate in a key store: the first 8 hex digits of its SHA-256, which tell it from others, and its subject,
 * for people who look at the store.
 */
export function aliasOf(certificate: Certificate): string {
  return `${certificate.sha256.slice(0, 8)}|${subjectOf(certificate)}`;
}
