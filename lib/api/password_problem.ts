/** Kinds of key stores. */
export type KeyStoreFormat = "jks" | "pkcs12";

/**
 * Why a Bundle cannot ask for a key store with this password, in words for the user; undefined if it can. The message never holds
 * the password. The lengths are those of the API; a store can be made with any.
 */
export function passwordProblem(format: KeyStoreFormat, password: string): string | undefined {
  const { length } = [...password];
  if (length > 128) return `password must have at most 128 characters, but has ${length}`;
  return format === "jks" && password === "" ? "password must not be empty" : undefined;
}

/**
 * Why Java cannot open a key store with this password, in words for the user; undefined if it can. The message never holds the
 * password.
 *
 * Java takes only printable ASCII for encrypted PKCS#12 stores; OpenSSL, Go and Python take the others. Of a JKS, Java takes the
 * characters of the password, where the Go project, and so this one, takes the bytes of its UTF-8: with one beyond ASCII, Java
 * opens the store only if it is given none.
 */
export function javaPasswordProblem(format: KeyStoreFormat, password: string): string | undefined {
  const allowed = format === "jks" ? /^[\0-\x7f]$/ : /^[ -~]$/;
  const position = [...password].findIndex((character) => !allowed.test(character));
  if (position < 0) return undefined;
  const which = format === "jks" ? "ASCII" : "printable ASCII";
  return `its password has a character other than ${which} at position ${position + 1}`;
}
