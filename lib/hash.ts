import { sha256 } from "./sha256.ts";
import type { AdditionalFormats, TargetMetadata } from "./api/bundle.ts";
import { jksPassword, pkcs12Password } from "./api/defaults.ts";

/**
 * What the hash annotation of a target must say: SHA-256, 64 lower-case hex digits, over all that decides its content. It
 * equals the Go project's, so that targets which that project wrote are left alone.
 *
 * @param pem the PEM bundle.
 */
export function targetHash(
  pem: string,
  formats: AdditionalFormats | undefined,
  metadata: TargetMetadata | undefined,
): string {
  const parts = [pem];
  const add = (text: string) => void parts.push(text);
  if (formats?.jks !== undefined) add(jksPassword(formats.jks));
  if (formats?.pkcs12 !== undefined) {
    add(pkcs12Password(formats.pkcs12));
    add(formats.pkcs12.profile ?? "");
  }
  for (const map of [metadata?.annotations, metadata?.labels]) {
    for (const [key, value] of sortedEntries(map ?? {})) add(key + value);
  }
  return sha256(parts.join(""));
}

/** Entries in the order of Go's string comparison, which is that of the UTF-8 bytes. Keys here are ASCII. */
function sortedEntries(map: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(map).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
}
