import type { KeyObject } from "node:crypto";
import { readPem } from "../lib/certs/pem.ts";
import { nodeCrypto } from "../lib/node_crypto.ts";

/** What a TLS server serves with. */
export interface KeyPair {
  /** PEM: the certificate of the server, then those of intermediates. */
  readonly certificate: string;
  /** PEM. Never logged. */
  readonly privateKey: string;
  /** Serial number of the certificate, hexadecimal. */
  readonly serialNumber: string;
  /** Milliseconds since the Unix epoch. */
  readonly notAfter: number;
}

/** A certificate and a key that cannot be served. The message tells why, and nothing of the key. */
export class KeyPairError extends Error {
  override readonly name = "KeyPairError";
}

/**
 * Reads a certificate and its private key, PEM both, and checks that they belong together and that the runtime can serve
 * them. (It must be checked here: the runtime takes any pair, and then refuses every client.)
 *
 * @throws {KeyPairError}
 */
export function readKeyPair(certificate: string, privateKey: string): KeyPair {
  const reading = readPem(new TextEncoder().encode(certificate));
  if (!reading.ok) throw new KeyPairError(`Certificate cannot be read: ${reading.error}`);
  const [leaf] = reading.certificates;
  if (leaf === undefined || reading.skipped.brokenBlocks > 0) {
    throw new KeyPairError("Certificate cannot be read: it holds no PEM certificate, or an incomplete one");
  }
  const parsed = new (nodeCrypto().X509Certificate)(leaf.der);
  const key = readPrivateKey(privateKey);
  if (!parsed.checkPrivateKey(key)) throw new KeyPairError("Private key is not that of the certificate");
  return { certificate, privateKey, serialNumber: parsed.serialNumber, notAfter: leaf.notAfter };
}

const CURVES: readonly (string | undefined)[] = ["prime256v1", "secp384r1", "secp521r1"];

function readPrivateKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = nodeCrypto().createPrivateKey(pem);
  } catch {
    throw new KeyPairError("Private key cannot be read: it is not PEM, or encrypted");
  }
  const { asymmetricKeyType: type, asymmetricKeyDetails: details = {} } = key;
  const served = type === "ed25519" || (type === "ec" && CURVES.includes(details.namedCurve)) ||
    (type === "rsa" && (details.modulusLength ?? 0) >= 2048);
  if (!served) {
    throw new KeyPairError(
      "Private key cannot be served: use RSA of 2048 bits or more, ECDSA with P-256, P-384 or P-521, or Ed25519",
    );
  }
  return key;
}
