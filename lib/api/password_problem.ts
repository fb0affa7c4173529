/** Kinds of key stores. */
export type KeyStoreFormat = "jks" | "pkcs12";

/**
 * Why a key store cannot have this password, in words for the user; undefined if it can. The message never holds the password.
 *
 * Java takes only printable ASCII for encrypted PKCS#12 stores ("Password is not ASCII"): with any other character nobody could open
 * them. A JKS may have any: Java can open it without. The lengths are those of the API.
 */
export function passwordProblem(format: KeyStoreFormat, password: string): string | undefined {
  const characters = [...password];
  if (characters.length > 128) {
    return `password must have at most 128 characters, but has ${characters.length}`;
  }
  if (format === "jks") return password === "" ? "password must not be empty" : undefined;
  const position = characters.findIndex((character) => !/^[ -~]$/.test(character));
  if (position < 0) return undefined;
  return "password must have only printable ASCII characters, because Java cannot open PKCS#12 stores with others, " +
    `but has another at position ${position + 1}`;
}
