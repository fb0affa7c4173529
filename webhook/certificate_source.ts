import type { KeyPair } from "./key_pair.ts";

/** Where a server's certificate comes from. */
export interface CertificateSource {
  /**
   * Calls `use` with the first pair, and with each one that takes its place, until `signal` aborts; then resolves. It never
   * rejects: what goes wrong is tried again, and a pair that is in use stays in use.
   */
  run(use: (pair: KeyPair) => void, signal: AbortSignal): Promise<void>;
  /** What is wrong at present, for people; undefined if all is well. */
  problem(): string | undefined;
}
