import process from "node:process";

/**
 * `node:crypto`, for what WebCrypto lacks or has only asynchronously. It is taken at the first call, and not imported: all that a bundled
 * script imports is loaded at its start, and this costs 5 MB (ADR 11).
 */
export function nodeCrypto(): typeof import("node:crypto") {
  return process.getBuiltinModule("node:crypto");
}
