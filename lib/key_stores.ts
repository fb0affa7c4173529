import type { AdditionalFormats } from "./api/bundle.ts";
import { jksPassword, pkcs12Password } from "./api/defaults.ts";
import { javaPasswordProblem, type KeyStoreFormat } from "./api/password_problem.ts";
import type { Certificate } from "./certs/certificate.ts";
import { subjectOf } from "./certs/subject.ts";
import type { KeyStoreOptions } from "./formats/encode_key_store.ts";
import { javaProblem } from "./formats/java_problem.ts";

/** Encodes one key store, byte-stable. What it throws has a message for the user. */
export type KeyStoreEncoder = (
  pool: readonly Certificate[],
  options: KeyStoreOptions,
) => Uint8Array<ArrayBuffer>;

/** A key store, as all targets of a Bundle hold it. */
export interface KeyStore {
  /** Its data key. */
  readonly key: string;
  readonly options: KeyStoreOptions;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The key stores that a Bundle asks for. */
export interface EncodedKeyStores {
  readonly keyStores: readonly KeyStore[];
  /** Of those that could not be encoded, why. */
  readonly failures: Readonly<Partial<Record<KeyStoreFormat, string>>>;
}

/**
 * The key stores that a Bundle asks for. Encoding is dear, so one is made anew only if the pool, its password or its profile has changed.
 * What `encode` throws is told of that one key store; the other does not suffer from it.
 *
 * @param former key stores of the same pool.
 */
export function encodeKeyStores(
  pool: readonly Certificate[],
  formats: AdditionalFormats,
  encode: KeyStoreEncoder,
  former: readonly KeyStore[],
): EncodedKeyStores {
  const keyStores: KeyStore[] = [];
  const failures: Partial<Record<KeyStoreFormat, string>> = {};
  for (const { key, options } of wantedKeyStores(formats)) {
    const same = former.find((store) => sameOptions(store.options, options));
    try {
      keyStores.push({ key, options, bytes: same?.bytes ?? encode(pool, options) });
    } catch (error) {
      const cause = error instanceof Error ? error.message : String(error);
      failures[options.format] =
        `spec.target.additionalFormats.${options.format}: failed to encode: ${cause}`;
    }
  }
  return { keyStores, failures };
}

/**
 * What an administrator should know of key stores, though it is no error: which certificates make them useless for Java. They stay in,
 * as in the Go project: to leave one out would be to distrust it.
 */
export function keyStoreNotices(pool: readonly Certificate[]): {
  readonly message: string;
  readonly fields: Readonly<Record<string, string>>;
}[] {
  return pool.flatMap((certificate) => {
    const cause = javaProblem(certificate);
    if (cause === undefined) return [];
    const fields = { certificate: subjectOf(certificate), sha256: certificate.sha256, cause };
    return [{ message: "Java cannot read this certificate, nor any key store that holds it", fields }];
  });
}

/** A key store that Java cannot open with its password, though it is what the Go project writes, and other programs open it. */
export interface PasswordNotice {
  readonly format: KeyStoreFormat;
  /** Its data key. */
  readonly key: string;
  /** Without the password. */
  readonly cause: string;
}

/** Which of the key stores that a Bundle asks for Java cannot open, because of their passwords. */
export function passwordNotices(formats: AdditionalFormats): PasswordNotice[] {
  return wantedKeyStores(formats).flatMap(({ key, options: { format, password } }) => {
    const cause = javaPasswordProblem(format, password);
    return cause === undefined ? [] : [{ format, key, cause }];
  });
}

function wantedKeyStores({ jks, pkcs12 }: AdditionalFormats): Omit<KeyStore, "bytes">[] {
  const wanted: Omit<KeyStore, "bytes">[] = [];
  if (jks !== undefined) {
    wanted.push({ key: jks.key, options: { format: "jks", password: jksPassword(jks) } });
  }
  if (pkcs12 !== undefined) {
    const options = { format: "pkcs12", password: pkcs12Password(pkcs12) } as const;
    wanted.push({
      key: pkcs12.key,
      options: pkcs12.profile === undefined ? options : { ...options, profile: pkcs12.profile },
    });
  }
  return wanted;
}

function sameOptions(a: KeyStoreOptions, b: KeyStoreOptions): boolean {
  return a.format === b.format && a.password === b.password && a.profile === b.profile;
}
