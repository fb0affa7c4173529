import { type KeyStoreFormat, passwordProblem } from "../api/password_problem.ts";
import type { Certificate } from "../certs/certificate.ts";
import { encodeJks } from "./jks.ts";
import { encodePkcs12, type Pkcs12Profile } from "./pkcs12.ts";

/** Which key store to make. */
export interface KeyStoreOptions {
  readonly format: KeyStoreFormat;
  /** A PKCS#12 store with an empty one is neither encrypted nor protected. */
  readonly password: string;
  /** Of PKCS#12. Default `LegacyRC2`. */
  readonly profile?: Pkcs12Profile;
}

/** A key store that cannot be made. The message is for the user; it never holds the password. */
export class KeyStoreError extends Error {
  override readonly name = "KeyStoreError";
}

/**
 * A key store that trusts `certificates`, for Java. The same input gives the same bytes, always.
 *
 * Import this module only when a key store is asked for: it brings `node:crypto` along, which costs memory.
 *
 * @param certificates in the order of a pool, ascending by SHA-256.
 * @throws {KeyStoreError} if the store cannot have this password.
 */
export function encodeKeyStore(
  certificates: readonly Certificate[],
  options: KeyStoreOptions,
): Uint8Array<ArrayBuffer> {
  const { format, password, profile = "LegacyRC2" } = options;
  const problem = passwordProblem(format, password);
  if (problem !== undefined) throw new KeyStoreError(`${format === "jks" ? "JKS" : "PKCS#12"} ${problem}`);
  return format === "jks" ? encodeJks(certificates, password) : encodePkcs12(certificates, password, profile);
}
