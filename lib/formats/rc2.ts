/** Block size in bytes. */
const BLOCK = 8;

/**
 * Encrypts with RC2 (RFC 2268) in CBC mode, padded as PKCS#7 says. Weak and obsolete; key stores for old Java versions need it, and
 * neither Node nor Deno has it.
 *
 * @param effectiveBits of the key, which may be fewer than it has (RFC 2268, section 2).
 */
export function rc2CbcEncrypt(
  key: Uint8Array,
  effectiveBits: number,
  iv: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const padding = BLOCK - plaintext.length % BLOCK;
  const data = new Uint8Array(plaintext.length + padding);
  data.set(plaintext);
  data.fill(padding, plaintext.length);
  const expanded = expandKey(key, effectiveBits);
  const view = new DataView(data.buffer);
  const ivView = new DataView(iv.buffer, iv.byteOffset, BLOCK);
  const chain = Uint16Array.from({ length: 4 }, (_, i) => ivView.getUint16(2 * i, true));
  for (let at = 0; at < data.length; at += BLOCK) {
    for (let i = 0; i < 4; i++) chain[i] = (chain[i] ?? 0) ^ view.getUint16(at + 2 * i, true);
    encryptBlock(expanded, chain);
    for (let i = 0; i < 4; i++) view.setUint16(at + 2 * i, chain[i] ?? 0, true);
  }
  return data;
}

/** RFC 2268, section 2. */
function expandKey(key: Uint8Array, effectiveBits: number): Uint16Array {
  const table = piTable();
  const bytes = new Uint8Array(128);
  bytes.set(key);
  const at = (i: number) => bytes[i] ?? 0;
  const pi = (i: number) => table[i & 0xff] ?? 0;
  const effectiveBytes = Math.ceil(effectiveBits / 8);
  const mask = 0xff >> (8 * effectiveBytes - effectiveBits);
  for (let i = key.length; i < 128; i++) bytes[i] = pi(at(i - 1) + at(i - key.length));
  bytes[128 - effectiveBytes] = pi(at(128 - effectiveBytes) & mask);
  for (let i = 127 - effectiveBytes; i >= 0; i--) bytes[i] = pi(at(i + 1) ^ at(i + effectiveBytes));
  return Uint16Array.from({ length: 64 }, (_, i) => at(2 * i) | (at(2 * i + 1) << 8));
}

/** RFC 2268, section 3. Encrypts the four words in place. */
function encryptBlock(key: Uint16Array, r: Uint16Array): void {
  // Plain variables, because a store has tens of thousands of blocks.
  let r0 = r[0] ?? 0;
  let r1 = r[1] ?? 0;
  let r2 = r[2] ?? 0;
  let r3 = r[3] ?? 0;
  let j = 0;
  for (let round = 1; round <= 16; round++) {
    r0 = rotated(r0 + (key[j++] ?? 0) + (r3 & r2) + (~r3 & r1), 1);
    r1 = rotated(r1 + (key[j++] ?? 0) + (r0 & r3) + (~r0 & r2), 2);
    r2 = rotated(r2 + (key[j++] ?? 0) + (r1 & r0) + (~r1 & r3), 3);
    r3 = rotated(r3 + (key[j++] ?? 0) + (r2 & r1) + (~r2 & r0), 5);
    if (round !== 5 && round !== 11) continue;
    r0 = (r0 + (key[r3 & 63] ?? 0)) & 0xffff;
    r1 = (r1 + (key[r0 & 63] ?? 0)) & 0xffff;
    r2 = (r2 + (key[r1 & 63] ?? 0)) & 0xffff;
    r3 = (r3 + (key[r2 & 63] ?? 0)) & 0xffff;
  }
  r[0] = r0;
  r[1] = r1;
  r[2] = r2;
  r[3] = r3;
}

/** The low 16 bits, rotated left. */
function rotated(value: number, by: number): number {
  const word = value & 0xffff;
  return ((word << by) | (word >> (16 - by))) & 0xffff;
}

/** PITABLE of RFC 2268: a permutation of 0 to 255 made from the digits of pi. */
export function piTable(): Uint8Array {
  return Uint8Array.fromHex(
    "d978f9c419ddb5ed28e9fd794aa0d89dc67e37832b76538e624c6488448bfba2" +
      "179a59f587b34f1361456d8d09817d32bd8f40eb86b77b0bf09521225c6b4e82" +
      "54d66593ce60b21c7356c014a78cf1dc1275ca1f3bbee4d1423dd430a33cb626" +
      "6fbf0eda4669075727f21d9bbc944303f811c7f690ef3ee706c3d52fc8661ed7" +
      "08e8eade8052eef784aa72ac354d6a2a961ad2715a1549744b9fd05e0418a4ec" +
      "c2e0416e0f51cbcc2491af50a1f47039997c3a8523b8b47afc02365b25559731" +
      "2d5dfa98e38a92ae05df2910676cbac9d300e6cfe19ea82c6316013f58e289a9" +
      "0d38341bab33ffb0bb480c5fb9b1cd2ec5f3db47e5a59c770aa62068fe7fc1ad",
  );
}
