/** A block of a private key with something in it, or a token of a service account; newlines may be escaped, as in JSON. */
const SECRET =
  /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?:\s|\\n)*[A-Za-z0-9+/=]{8}|\beyJ[\w-]{16,}\.eyJ[\w-]{16,}/;

/**
 * Fails if there is a private key or token in what everybody may read. Every end-to-end scenario asks it of all that the operator has
 * printed and written.
 *
 * @param where says whose text it is.
 * @throws {Error} which does not hold the text.
 */
export function assertNoSecrets(where: string, text: string): void {
  const found = SECRET.exec(text);
  if (found === null) return;
  const what = found[0].startsWith("eyJ") ? "a token" : "a private key";
  throw new Error(`There is ${what} in ${where}, at character ${found.index} of ${text.length}`);
}
