import { createHash } from "node:crypto";

/**
 * The certificates (DER) in a Java key store of version 2 that holds nothing but trusted certificates, read anew here as a second
 * opinion.
 *
 * @throws {Error} if it is no such store, or was made with another password.
 */
export function readJks(store: Uint8Array<ArrayBuffer>, password: string): Uint8Array[] {
  const digest = createHash("sha1");
  for (const byte of new TextEncoder().encode(password)) digest.update(Uint8Array.of(0, byte));
  const body = store.subarray(0, -20);
  if (digest.update("Mighty Aphrodite").update(body).digest("hex") !== store.subarray(-20).toHex()) {
    throw new Error("the digest is wrong");
  }
  const view = new DataView(store.buffer, store.byteOffset, body.length);
  if (view.getUint32(0) !== 0xfeedfeed || view.getUint32(4) !== 2) throw new Error("the header is wrong");
  const certificates: Uint8Array[] = [];
  let at = 12;
  const text = () => {
    const length = view.getUint16(at);
    at += 2 + length;
  };
  for (let left = view.getUint32(8); left > 0; left--) {
    if (view.getUint32(at) !== 2) throw new Error("an entry is no trusted certificate");
    at += 4;
    text(); // alias
    at += 8; // date
    text(); // type
    const length = view.getUint32(at);
    certificates.push(body.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  if (at !== body.length) throw new Error("something follows the last entry");
  return certificates;
}
