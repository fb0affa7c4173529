import { nodeCrypto } from "../node_crypto.ts";
import { utf16 } from "./der_writer.ts";

/** What derived bytes are for (RFC 7292, appendix B.3). */
export const Purpose = { key: 1, iv: 2, mac: 3 } as const;

/** How to derive bytes from a password. */
export interface KdfOptions {
  readonly hash: "sha1" | "sha256";
  readonly password: string;
  readonly salt: Uint8Array;
  readonly iterations: number;
  /** One of {@linkcode Purpose}. */
  readonly purpose: number;
  /** How many bytes are wanted. */
  readonly length: number;
}

/** Block size in bytes of both hash functions (v of the RFC). */
const BLOCK = 64;

/** The key derivation of PKCS#12 (RFC 7292, appendix B.2). */
export function pkcs12Kdf(options: KdfOptions): Uint8Array<ArrayBuffer> {
  const { hash, password, salt, iterations, purpose, length } = options;
  const { createHash } = nodeCrypto();
  const diversifier = new Uint8Array(BLOCK).fill(purpose);
  const input = new Uint8Array([...repeated(salt), ...repeated(utf16(`${password}\0`))]);
  const derived = new Uint8Array(length);
  for (let at = 0; at < length;) {
    let block = createHash(hash).update(diversifier).update(input).digest();
    for (let i = 1; i < iterations; i++) block = createHash(hash).update(block).digest();
    derived.set(block.subarray(0, length - at), at);
    at += block.length;
    for (let start = 0; start < input.length; start += BLOCK) {
      addPlusOne(input.subarray(start, start + BLOCK), block);
    }
  }
  return derived;
}

/** `pattern` again and again, up to a whole number of blocks. */
function repeated(pattern: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.ceil(pattern.length / BLOCK) * BLOCK);
  return result.map((_, i) => pattern[i % pattern.length] ?? 0);
}

/** Adds 1 and `addend`, repeated to the same length, to a big-endian number of one block; what is carried out is lost. */
function addPlusOne(number: Uint8Array, addend: Uint8Array): void {
  let carry = 1;
  for (let i = number.length - 1; i >= 0; i--) {
    carry += (number[i] ?? 0) + (addend[i % addend.length] ?? 0);
    number[i] = carry & 0xff;
    carry >>= 8;
  }
}
