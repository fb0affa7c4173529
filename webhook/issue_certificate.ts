import { encodeElement, Tag } from "../lib/certs/der.ts";
import { der } from "../lib/formats/der_writer.ts";

/** What a new certificate says. */
export interface CertificateTemplate {
  /** The subject's only attribute, its common name: up to 64 characters (RFC 5280, appendix A.1). */
  readonly commonName: string;
  /** Milliseconds since the Unix epoch; whole seconds count. */
  readonly notBefore: number;
  /** Milliseconds since the Unix epoch; whole seconds count. */
  readonly notAfter: number;
  /** A CA that issues only certificates of servers, or a TLS server of these names. */
  readonly use: { readonly type: "ca" } | { readonly type: "server"; readonly dnsNames: readonly string[] };
}

/** Who signs. */
export interface Issuer {
  readonly commonName: string;
  readonly keys: CryptoKeyPair;
}

/** A certificate that was issued. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly privateKeyPem: string;
  readonly keys: CryptoKeyPair;
}

const OID = {
  commonName: "2.5.4.3",
  ecPublicKeySha256: "1.2.840.10045.4.3.2",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
} as const;

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/**
 * Makes an ECDSA P-256 key and a certificate for it (RFC 5280), signed by `issuer`, or by itself.
 */
export async function issueCertificate(
  template: CertificateTemplate,
  issuer?: Issuer,
): Promise<IssuedCertificate> {
  const keys = await crypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]);
  const signer = issuer ?? { commonName: template.commonName, keys };
  const algorithm = der.sequence(der.objectIdentifier(OID.ecPublicKeySha256));
  const body = der.sequence(
    der.explicit(0, der.integer(2)), // version 3
    encodeElement(Tag.integer, randomSerial()),
    algorithm,
    name(signer.commonName),
    der.sequence(time(template.notBefore), time(template.notAfter)),
    name(template.commonName),
    await publicKeyInfo(keys),
    der.explicit(3, der.sequence(...await extensions(template, keys, signer))),
  );
  const signature = await crypto.subtle.sign(ECDSA, signer.keys.privateKey, body);
  const certificate = der.sequence(body, algorithm, bitString(derSignature(new Uint8Array(signature))));
  const pkcs8 = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  return { certificatePem: pem("CERTIFICATE", certificate), privateKeyPem: pem("PRIVATE KEY", pkcs8), keys };
}

/**
 * Reads the private key of a certificate that {@linkcode issueCertificate} made.
 *
 * @throws {DOMException} if it is none.
 */
export async function readIssuerKeys(privateKeyPem: string): Promise<CryptoKeyPair> {
  const base64 = privateKeyPem.replaceAll(/-----[^-]+-----|\s/g, "");
  const pkcs8 = Uint8Array.fromBase64(base64);
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, ECDSA, true, ["sign"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", privateKey);
  const jwk = { kty, crv, x, y } as JsonWebKey;
  return { privateKey, publicKey: await crypto.subtle.importKey("jwk", jwk, ECDSA, true, ["verify"]) };
}

async function extensions(
  { use }: CertificateTemplate,
  keys: CryptoKeyPair,
  signer: Issuer,
): Promise<Uint8Array[]> {
  const subjectKey = extension(OID.subjectKeyIdentifier, false, der.octetString(await keyIdentifier(keys)));
  const authorityKey = extension(
    OID.authorityKeyIdentifier,
    false,
    der.sequence(der.implicit(0, await keyIdentifier(signer.keys))),
  );
  if (use.type === "ca") {
    const pathLength = der.integer(0); // it issues no further CA
    return [
      extension(OID.basicConstraints, true, der.sequence(TRUE, pathLength)),
      extension(OID.keyUsage, true, encodeElement(Tag.bitString, new Uint8Array([1, 0b0000_0110]))), // keyCertSign, cRLSign
      subjectKey,
      authorityKey,
    ];
  }
  const dnsNames = use.dnsNames.map((dnsName) => der.implicit(2, new TextEncoder().encode(dnsName)));
  return [
    extension(OID.basicConstraints, true, der.sequence()),
    extension(OID.keyUsage, true, encodeElement(Tag.bitString, new Uint8Array([7, 0b1000_0000]))), // digitalSignature
    extension(OID.extendedKeyUsage, false, der.sequence(der.objectIdentifier(OID.serverAuth))),
    extension(OID.subjectAltName, false, der.sequence(...dnsNames)),
    subjectKey,
    authorityKey,
  ];
}

const TRUE: Uint8Array = encodeElement(Tag.boolean, new Uint8Array([0xff]));

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  return der.sequence(der.objectIdentifier(id), ...(critical ? [TRUE] : []), der.octetString(value));
}

function name(commonName: string): Uint8Array {
  const value = encodeElement(Tag.utf8String, new TextEncoder().encode(commonName));
  return der.sequence(der.set(der.sequence(der.objectIdentifier(OID.commonName), value)));
}

/** UTCTime until 2049, then GeneralizedTime (RFC 5280, section 4.1.2.5). */
function time(ms: number): Uint8Array {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  const isUtc = digits < "2050";
  const text = isUtc ? digits.slice(2) : digits;
  return encodeElement(isUtc ? Tag.utcTime : Tag.generalizedTime, new TextEncoder().encode(text));
}

/** 127 random bits: positive, in the shortest form, never zero. */
function randomSerial(): Uint8Array {
  const serial = crypto.getRandomValues(new Uint8Array(16));
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

async function publicKeyInfo({ publicKey }: CryptoKeyPair): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.exportKey("spki", publicKey));
}

/** The first 160 bits of the SHA-256 of the public key (RFC 7093, section 2, method 1). */
async function keyIdentifier({ publicKey }: CryptoKeyPair): Promise<Uint8Array> {
  const point = await crypto.subtle.exportKey("raw", publicKey);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", point)).slice(0, 20);
}

/** WebCrypto gives r and s one after the other; certificates hold a SEQUENCE of both (RFC 5480, appendix A). */
function derSignature(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  return der.sequence(unsigned(raw.subarray(0, half)), unsigned(raw.subarray(half)));
}

function unsigned(octets: Uint8Array): Uint8Array {
  const first = octets.findIndex((octet) => octet !== 0);
  const shortest = octets.subarray(first < 0 ? octets.length - 1 : first);
  const sign = (shortest[0] ?? 0) >= 0x80 ? new Uint8Array(1) : new Uint8Array();
  return encodeElement(Tag.integer, sign, shortest);
}

function bitString(content: Uint8Array): Uint8Array {
  return encodeElement(Tag.bitString, new Uint8Array(1), content);
}

function pem(label: string, content: Uint8Array): string {
  const lines = content.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
