import type { Certificate } from "./certificate.ts";

/**
 * Canonical PEM of certificates, in the given order: base64 in lines of 64 columns, blocks joined by one newline, none after the
 * last. Targets and their hash are made of it, so not one byte of it may change.
 */
export function pemOf(certificates: readonly Certificate[]): string {
  return certificates.map(({ der }) => {
    const lines = der.toBase64().match(/.{1,64}/g) ?? [];
    return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----"].join("\n");
  }).join("\n");
}
