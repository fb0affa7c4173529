import type { KeyStoreFormat } from "../../lib/api/password_problem.ts";
import { run } from "./corpus.ts";

/** What a program said. */
export type Reading = Awaited<ReturnType<typeof run>>;

/** Lists a key store with Java's keytool. */
export function readWithKeytool(
  store: Uint8Array,
  format: KeyStoreFormat,
  password: string,
): Promise<Reading> {
  const type = format === "jks" ? "JKS" : "PKCS12";
  return withFile(
    store,
    (file) => run("keytool", ["-list", "-keystore", file, "-storetype", type, "-storepass", password]),
  );
}

/**
 * Lists a PKCS#12 store with openssl: certificates as PEM on standard output, algorithms on standard error.
 *
 * @param flags such as `-legacy`, without which it refuses RC2.
 */
export function readWithOpenssl(
  store: Uint8Array,
  password: string,
  ...flags: readonly string[]
): Promise<Reading> {
  const pass = `pass:${password}`;
  return withFile(
    store,
    (file) => run("openssl", ["pkcs12", "-in", file, "-passin", pass, "-nokeys", "-info", ...flags]),
  );
}

async function withFile(bytes: Uint8Array, read: (file: string) => Promise<Reading>): Promise<Reading> {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeFile(file, bytes);
    return await read(file);
  } finally {
    await Deno.remove(file);
  }
}
