import { ROOT_1 } from "./builders.ts";

/**
 * PEM of `count` different certificates of about 680 bytes each: {@linkcode ROOT_1} with other serial numbers (and so with a
 * signature that is wrong, which nobody who builds bundles looks at). The same for the same numbers.
 *
 * @param first number of the first one: calls with other ranges give other certificates.
 */
export function manyCertificates(count: number, first = 0): string {
  const der = Uint8Array.fromBase64(ROOT_1.pem.replaceAll(/-----[A-Z ]+-----|\n/g, ""));
  // INTEGER of 20 bytes, the first of its kind in a certificate.
  const serial = der.findIndex((byte, index) => byte === 0x02 && der[index + 1] === 0x14) + 2;
  const view = new DataView(der.buffer);
  let text = "";
  for (let number = first; number < first + count; number++) {
    view.setUint32(serial + 8, number);
    const lines = der.toBase64().match(/.{1,64}/g) ?? [];
    text += `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  }
  return text;
}
