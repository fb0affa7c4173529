import type { KeyStoreFormat } from "../api/password_problem.ts";
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

/**
 * A key store that trusts `certificates`, for Java. The same input gives the same bytes, always. There is no password that a store
 * cannot be made with; with which of them Java opens it is another matter (`javaPasswordProblem`).
 *
 * Import this module only when a key store is asked for: it brings `node:crypto` along, which costs memory.
 *
 * @param certificates in the order of a pool, ascending by SHA-256.
 */
export function encodeKeyStore(
  certificates: readonly Certificate[],
  options: KeyStoreOptions,
): Uint8Array<ArrayBuffer> {
  const { format, password, profile = "LegacyRC2" } = options;
  return format === "jks" ? encodeJks(certificates, password) : encodePkcs12(certificates, password, profile);
}
