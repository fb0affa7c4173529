import { CertificateError, required } from "./certificate_error.ts";
import { DerReader, dotted, Tag } from "./der.ts";

/** An AlgorithmIdentifier (RFC 5280, section 4.1.1.2). */
export interface AlgorithmIdentifier {
  /** Dotted object identifier. */
  readonly algorithm: string;
  /** Parameters as encoded; empty if there are none. */
  readonly parameters: Uint8Array<ArrayBuffer>;
}

/**
 * Reads what an AlgorithmIdentifier SEQUENCE holds.
 *
 * @throws {CertificateError}
 */
export function readAlgorithm(content: DerReader): AlgorithmIdentifier {
  const algorithm = dotted(required(content.readObjectIdentifier(), "x509: malformed OID"));
  const parameters = content.empty
    ? new Uint8Array()
    : required(content.readEncoded(), "x509: malformed parameters");
  return { algorithm, parameters };
}

/**
 * Checks the SubjectPublicKeyInfo of a certificate as Go does when it parses one: RSA, DSA, ECDSA and Ed25519 keys must be
 * well-formed (an EC point on its curve); keys of other algorithms are not looked at.
 *
 * @param info the content of the SEQUENCE.
 * @throws {CertificateError}
 */
export function checkPublicKey(info: DerReader): void {
  const identifier = required(info.read(Tag.sequence), "x509: malformed public key algorithm identifier");
  const { algorithm, parameters } = readAlgorithm(identifier);
  const key = rightAligned(required(info.readBitString(), "x509: malformed subjectPublicKey"));
  switch (algorithm) {
    case "1.2.840.113549.1.1.1":
      return checkRsa(parameters, key);
    case "1.2.840.10040.4.1":
      return checkDsa(parameters, key);
    case "1.2.840.10045.2.1":
      return checkEcdsa(parameters, key);
    case "1.3.101.112": // Ed25519: RFC 8410, section 3
      if (parameters.length !== 0) {
        throw new CertificateError("x509: Ed25519 key encoded with illegal parameters");
      }
      if (key.length !== 32) throw new CertificateError("x509: wrong Ed25519 public key size");
  }
}

function checkRsa(parameters: Uint8Array, key: Uint8Array<ArrayBuffer>): void {
  if (parameters.length !== 2 || parameters[0] !== 5 || parameters[1] !== 0) {
    throw new CertificateError("x509: RSA key missing NULL parameters");
  }
  const sequence = required(new DerReader(key).read(Tag.sequence), "x509: invalid RSA public key");
  const modulus = required(sequence.readInteger(), "x509: invalid RSA modulus");
  const exponent = sequence.readInteger();
  if (exponent === undefined || exponent.length > 8) {
    throw new CertificateError("x509: invalid RSA public exponent");
  }
  if (!isPositive(modulus)) throw new CertificateError("x509: RSA modulus is not a positive number");
  if (!isPositive(exponent)) throw new CertificateError("x509: RSA public exponent is not a positive number");
}

function checkDsa(parameters: Uint8Array<ArrayBuffer>, key: Uint8Array<ArrayBuffer>): void {
  const numbers = [required(new DerReader(key).readInteger(), "x509: invalid DSA public key")];
  const sequence = required(new DerReader(parameters).read(Tag.sequence), "x509: invalid DSA parameters");
  for (let i = 0; i < 3; i++) {
    numbers.push(required(sequence.readInteger(), "x509: invalid DSA parameters"));
  }
  if (!numbers.every(isPositive)) throw new CertificateError("x509: zero or negative DSA parameter");
}

function checkEcdsa(parameters: Uint8Array<ArrayBuffer>, key: Uint8Array): void {
  const curve = required(
    new DerReader(parameters).readObjectIdentifier(),
    "x509: invalid ECDSA parameters",
  );
  const { name, size, p, b, reduced } = required(
    namedCurve(dotted(curve)),
    "x509: unsupported elliptic curve",
  );
  if (key[0] !== 4) throw new CertificateError("ecdsa: invalid uncompressed public key");
  if (key.length !== 1 + 2 * size) throw new CertificateError(`invalid ${name} point encoding`);
  const x = BigInt(`0x${key.subarray(1, 1 + size).toHex()}`);
  const y = BigInt(`0x${key.subarray(1 + size).toHex()}`);
  if (x >= p || y >= p) throw new CertificateError(reduced);
  if ((y * y - x * x * x + 3n * x - b) % p !== 0n) throw new CertificateError(`${name} point not on curve`);
}

/** The NIST curves (FIPS 186-5; SP 800-186, section 3.2.1): y² = x³ - 3x + b modulo p. Go takes no others. */
function namedCurve(
  objectIdentifier: string,
): { name: string; size: number; p: bigint; b: bigint; reduced: string } | undefined {
  switch (objectIdentifier) {
    case "1.3.132.0.33":
      return {
        name: "P224",
        size: 28,
        p: 2n ** 224n - 2n ** 96n + 1n,
        b: 0xb4050a850c04b3abf54132565044b0b7d7bfd8ba270b39432355ffb4n,
        reduced: "invalid P224Element encoding",
      };
    case "1.2.840.10045.3.1.7":
      return {
        name: "P256",
        size: 32,
        p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
        b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
        reduced: "invalid P256 element encoding",
      };
    case "1.3.132.0.34":
      return {
        name: "P384",
        size: 48,
        p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
        b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
        reduced: "invalid P384Element encoding",
      };
    case "1.3.132.0.35":
      return {
        name: "P521",
        size: 66,
        p: 2n ** 521n - 1n,
        b: 0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
        reduced: "invalid P521Element encoding",
      };
    default:
      return undefined;
  }
}

function isPositive(integer: Uint8Array): boolean {
  return (integer[0] ?? 0) < 0x80 && integer.some((octet) => octet !== 0);
}

/** The bits of a BIT STRING, moved so that the unused ones come first. */
function rightAligned(bits: { bytes: Uint8Array<ArrayBuffer>; unusedBits: number }): Uint8Array<ArrayBuffer> {
  const { bytes, unusedBits } = bits;
  if (unusedBits === 0) return bytes;
  return bytes.map((octet, i) => (octet >> unusedBits) | ((bytes[i - 1] ?? 0) << (8 - unusedBits)));
}
