import { issueCertificate } from "./issue_certificate.ts";
import { type KeyPair, readKeyPair } from "./key_pair.ts";

/** A server's pair for tests, and the CA that clients check it with. */
export interface TestKeyPair {
  readonly pair: KeyPair;
  /** PEM. */
  readonly ca: string;
}

/** A pair of localhost and of these names, valid for an hour. For tests. */
export async function testKeyPair(...dnsNames: readonly string[]): Promise<TestKeyPair> {
  const now = Date.now();
  const validity = { notBefore: now - 60_000, notAfter: now + 3_600_000 };
  const root = await issueCertificate({ commonName: "test CA", ...validity, use: { type: "ca" } });
  const use = { type: "server" as const, dnsNames: ["localhost", ...dnsNames] };
  const issuer = { commonName: "test CA", keys: root.keys };
  const leaf = await issueCertificate({ commonName: "test", ...validity, use }, issuer);
  return { pair: readKeyPair(leaf.certificatePem, leaf.privateKeyPem), ca: root.certificatePem };
}
