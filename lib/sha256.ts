import { nodeCrypto } from "./node_crypto.ts";

/**
 * SHA-256, 64 lower-case hex digits.
 *
 * By `node:crypto`: WebCrypto has it only asynchronously, and in JavaScript it takes ten times as long as all the rest of reading a
 * certificate.
 */
export function sha256(data: Uint8Array | string): string {
  return nodeCrypto().hash("sha256", data, "hex");
}
