/**
 * The ciphers and digests of `node:crypto`, which WebCrypto lacks or has only asynchronously. Imported dynamically: a static import would
 * be hoisted to the top of the bundled script, and cost its 5 MB at every start, certificates or not (as in `sha256.ts`).
 */
export const { createCipheriv, createHash, createHmac, pbkdf2Sync } = await import("node:crypto");
