import { nodeCrypto } from "../node_crypto.ts";
import type { Certificate } from "../certs/certificate.ts";
import { goLowerCase } from "../go_lower_case.ts";
import { aliasOf } from "./alias.ts";

/**
 * A Java key store of type JKS that holds each certificate as a trusted one, created when its validity began. Equals byte for
 * byte what the Go project writes, but for aliases that Java could not read from there (see {@linkcode modifiedUtf8}).
 *
 * The format is Sun's own and is described only by the JDK's source (`sun.security.provider.JavaKeyStore`): magic number,
 * version 2, entries, and a SHA-1 digest over the password and all that.
 *
 * @param password its UTF-8 bytes count, as in the Go project, where Java takes UTF-16: the same for ASCII only.
 */
export function encodeJks(certificates: readonly Certificate[], password: string): Uint8Array<ArrayBuffer> {
  const entries = certificates.map((certificate) => ({
    certificate,
    alias: modifiedUtf8(goLowerCase(aliasOf(certificate))),
  }));
  entries.sort((a, b) => compareBytes(a.alias, b.alias));
  const size = entries.reduce(
    (sum, { certificate, alias }) => sum + ENTRY_SIZE + alias.length + certificate.der.length,
    12,
  );
  const writer = new Writer(size + DIGEST_SIZE);
  writer.uint32(0xfeedfeed);
  writer.uint32(2); // version
  writer.uint32(entries.length);
  for (const { certificate, alias } of entries) {
    writer.uint32(2); // trusted certificate
    writer.uint16(alias.length);
    writer.bytes(alias);
    writer.int64(certificate.notBefore);
    writer.uint16(TYPE.length);
    writer.bytes(TYPE);
    writer.uint32(certificate.der.length);
    writer.bytes(certificate.der);
  }
  const digest = nodeCrypto().createHash("sha1")
    .update(widened(new TextEncoder().encode(password)))
    .update("Mighty Aphrodite")
    .update(writer.written)
    .digest();
  writer.bytes(digest);
  return writer.written;
}

const TYPE = new TextEncoder().encode("X509");
const DIGEST_SIZE = 20;
/** Size of an entry without its alias and certificate. */
const ENTRY_SIZE = 4 + 2 + 8 + 2 + TYPE.length + 4;

/** Each byte with a zero before it. */
function widened(bytes: Uint8Array): Uint8Array {
  const wide = new Uint8Array(2 * bytes.length);
  bytes.forEach((byte, i) => wide[2 * i + 1] = byte);
  return wide;
}

/**
 * UTF-8 as Java's `DataInput.readUTF` reads it: characters beyond the BMP are written as two surrogates of three bytes each. In
 * plain UTF-8, as Go writes them, they make Java refuse the whole store. Longer text than the format allows is cut.
 */
function modifiedUtf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const encoded = unit < 0x80
      ? [unit]
      : unit < 0x800
      ? [0xc0 | (unit >> 6), 0x80 | (unit & 0x3f)]
      : [0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f)];
    if (bytes.length + encoded.length > 0xffff) break;
    bytes.push(...encoded);
  }
  return new Uint8Array(bytes);
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Writes big-endian numbers and bytes one after the other. */
class Writer {
  readonly #buffer: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  constructor(size: number) {
    this.#buffer = new Uint8Array(size);
    this.#view = new DataView(this.#buffer.buffer);
  }

  /** A view of what was written so far. */
  get written(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#at);
  }

  uint16(value: number): void {
    this.#view.setUint16(this.#at, value);
    this.#at += 2;
  }

  uint32(value: number): void {
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }

  int64(value: number): void {
    this.#view.setBigInt64(this.#at, BigInt(value));
    this.#at += 8;
  }

  bytes(value: Uint8Array): void {
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }
}
