import process from "node:process";

/**
 * SHA-256, 64 lower-case hex digits.
 *
 * By `node:crypto`: WebCrypto has it only asynchronously, and in JavaScript it takes ten times as long as all the rest of reading a
 * certificate. The module is taken when it is first needed, and not imported, because a bundle would load it at its start.
 */
export function sha256(data: Uint8Array | string): string {
  return process.getBuiltinModule("node:crypto").hash("sha256", data, "hex");
}
