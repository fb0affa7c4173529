import { nodeCrypto } from "../node_crypto.ts";
import type { Certificate } from "../certs/certificate.ts";
import { aliasOf } from "./alias.ts";
import { der } from "./der_writer.ts";
import { pkcs12Kdf, Purpose } from "./pkcs12_kdf.ts";
import { rc2CbcEncrypt } from "./rc2.ts";

/** How a PKCS#12 store with a password is encrypted and protected. */
export type Pkcs12Profile = "LegacyRC2" | "LegacyDES" | "Modern2023";

/** What PKCS#12 wants to be random. Public: the store tells them. */
export interface Pkcs12Salts {
  /** For the key; 8 bytes, Modern2023 16. */
  readonly encryption: Uint8Array;
  /** 16 bytes; only Modern2023 has it, the others derive it from the password. */
  readonly iv: Uint8Array;
  /** As long as `encryption`. */
  readonly mac: Uint8Array;
}

/**
 * A PKCS#12 trust store (RFC 7292) that holds each certificate as Java wants a trusted one: with a name, and marked as trusted for
 * every use. The order of certificates is kept. With the same salts it equals byte for byte what the Go project writes.
 *
 * @param password without one nothing is encrypted nor protected, whatever the profile.
 * @param salts derived from the content if left out, so that the same input gives the same bytes, always.
 */
export function encodePkcs12(
  certificates: readonly Certificate[],
  password: string,
  profile: Pkcs12Profile,
  salts?: Pkcs12Salts,
): Uint8Array<ArrayBuffer> {
  const safeContents = der.sequence(...certificates.map(certificateBag));
  if (password === "") return pfx(der.sequence(dataInfo(safeContents)));
  const { encrypt, macHash, macIterations } = PROFILES[profile];
  const { encryption, iv, mac } = salts ?? saltsOf(safeContents, profile);
  const encrypted = encrypt({ plaintext: safeContents, password, salt: encryption, iv });
  const authenticatedSafe = der.sequence(encryptedInfo(encrypted));
  return pfx(
    authenticatedSafe,
    macData({ hash: macHash, iterations: macIterations, password, salt: mac, content: authenticatedSafe }),
  );
}

/**
 * Salts for a content that is public anyway. They come from a keyed hash instead of a random source: a store then changes only when
 * its content, password or profile does, and so does the target that holds it.
 */
function saltsOf(content: Uint8Array, profile: Pkcs12Profile): Pkcs12Salts {
  const length = PROFILES[profile].saltLength;
  const salt = (name: string, length: number) =>
    hmac("sha256", `trust-manager PKCS#12 ${profile} ${name}`, content).subarray(0, length);
  return { encryption: salt("encryption salt", length), iv: salt("iv", 16), mac: salt("MAC salt", length) };
}

interface Encrypted {
  /** AlgorithmIdentifier with all that a reader needs besides the password. */
  readonly algorithm: Uint8Array;
  readonly ciphertext: Uint8Array;
}

interface Encryption {
  readonly plaintext: Uint8Array;
  readonly password: string;
  readonly salt: Uint8Array;
  readonly iv: Uint8Array;
}

interface Profile {
  readonly saltLength: number;
  readonly encrypt: (encryption: Encryption) => Encrypted;
  readonly macHash: "sha1" | "sha256";
  readonly macIterations: number;
}

const ITERATIONS = 2048;

const PROFILES: Readonly<Record<Pkcs12Profile, Profile>> = {
  LegacyRC2: {
    saltLength: 8,
    encrypt: (encryption) =>
      pbeSha1(
        "1.2.840.113549.1.12.1.6",
        5,
        encryption,
        (key, iv) => rc2CbcEncrypt(key, 40, iv, encryption.plaintext),
      ),
    macHash: "sha1",
    macIterations: 1,
  },
  LegacyDES: {
    saltLength: 8,
    encrypt: (encryption) =>
      pbeSha1(
        "1.2.840.113549.1.12.1.3",
        24,
        encryption,
        (key, iv) => cbc("des-ede3-cbc", key, iv, encryption.plaintext),
      ),
    macHash: "sha1",
    macIterations: 1,
  },
  Modern2023: { saltLength: 16, encrypt: pbes2, macHash: "sha256", macIterations: ITERATIONS },
};

/** Password-based encryption of PKCS#12 itself (RFC 7292, appendix C). */
function pbeSha1(
  algorithm: string,
  keyLength: number,
  { password, salt }: Encryption,
  encrypt: (key: Uint8Array, iv: Uint8Array) => Uint8Array,
): Encrypted {
  const options = { hash: "sha1", password, salt, iterations: ITERATIONS } as const;
  const key = pkcs12Kdf({ ...options, purpose: Purpose.key, length: keyLength });
  const iv = pkcs12Kdf({ ...options, purpose: Purpose.iv, length: 8 });
  const parameters = der.sequence(der.octetString(salt), der.integer(ITERATIONS));
  return {
    algorithm: der.sequence(der.objectIdentifier(algorithm), parameters),
    ciphertext: encrypt(key, iv),
  };
}

/** PBES2 (RFC 8018, section 6.2) with PBKDF2-HMAC-SHA-256 and AES-256-CBC. It takes the password as UTF-8. */
function pbes2({ plaintext, password, salt, iv }: Encryption): Encrypted {
  const key = nodeCrypto().pbkdf2Sync(password, salt, ITERATIONS, 32, "sha256");
  const derivation = der.sequence(
    der.objectIdentifier("1.2.840.113549.1.5.12"),
    der.sequence(
      der.octetString(salt),
      der.integer(ITERATIONS),
      der.sequence(der.objectIdentifier("1.2.840.113549.2.9")),
    ),
  );
  const cipher = der.sequence(der.objectIdentifier("2.16.840.1.101.3.4.1.42"), der.octetString(iv));
  return {
    algorithm: der.sequence(der.objectIdentifier("1.2.840.113549.1.5.13"), der.sequence(derivation, cipher)),
    ciphertext: cbc("aes-256-cbc", key, iv, plaintext),
  };
}

function cbc(algorithm: string, key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = nodeCrypto().createCipheriv(algorithm, key, iv);
  const [start, end] = [cipher.update(plaintext), cipher.final()];
  const ciphertext = new Uint8Array(start.length + end.length);
  ciphertext.set(start);
  ciphertext.set(end, start.length);
  return ciphertext;
}

/** RFC 2104. */
function hmac(hash: "sha1" | "sha256", key: string | Uint8Array, content: Uint8Array): Uint8Array {
  return nodeCrypto().createHmac(hash, key).update(content).digest();
}

/** Section 4.2.3, with the attributes that Java looks for. */
function certificateBag(certificate: Certificate): Uint8Array {
  const value = der.sequence(
    der.objectIdentifier("1.2.840.113549.1.9.22.1"), // X.509
    der.explicit(0, der.octetString(certificate.der)),
  );
  // In this order: DER wants the set's elements ascending, and the first one is always the shorter.
  const attributes = der.set(
    attribute("2.16.840.1.113894.746875.1.1", der.objectIdentifier("2.5.29.37.0")), // trusted for any key usage
    attribute("1.2.840.113549.1.9.20", der.bmpString(aliasOf(certificate))), // friendly name
  );
  return der.sequence(der.objectIdentifier("1.2.840.113549.1.12.10.1.3"), der.explicit(0, value), attributes);
}

function attribute(type: string, value: Uint8Array): Uint8Array {
  return der.sequence(der.objectIdentifier(type), der.set(value));
}

const DATA = "1.2.840.113549.1.7.1";

/** ContentInfo of type data (RFC 5652). */
function dataInfo(content: Uint8Array): Uint8Array {
  return der.sequence(der.objectIdentifier(DATA), der.explicit(0, der.octetString(content)));
}

/** ContentInfo of type encryptedData. */
function encryptedInfo({ algorithm, ciphertext }: Encrypted): Uint8Array {
  const content = der.sequence(der.objectIdentifier(DATA), algorithm, der.implicit(0, ciphertext));
  return der.sequence(
    der.objectIdentifier("1.2.840.113549.1.7.6"),
    der.explicit(0, der.sequence(der.integer(0), content)),
  );
}

/** Appendix A. */
function macData(options: {
  readonly hash: "sha1" | "sha256";
  readonly iterations: number;
  readonly password: string;
  readonly salt: Uint8Array;
  readonly content: Uint8Array;
}): Uint8Array {
  const { hash, iterations, salt, content } = options;
  const key = pkcs12Kdf({ ...options, purpose: Purpose.mac, length: hash === "sha1" ? 20 : 32 });
  const digest = hmac(hash, key, content);
  const algorithm = hash === "sha1" ? "1.3.14.3.2.26" : "2.16.840.1.101.3.4.2.1";
  return der.sequence(
    der.sequence(der.sequence(der.objectIdentifier(algorithm)), der.octetString(digest)),
    der.octetString(salt),
    ...(iterations === 1 ? [] : [der.integer(iterations)]), // 1 is the default
  );
}

/** Section 4. */
function pfx(authenticatedSafe: Uint8Array, ...mac: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return der.sequence(der.integer(3), dataInfo(authenticatedSafe), ...mac);
}
