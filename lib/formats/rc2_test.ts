import assert from "node:assert/strict";
import { piTable, rc2CbcEncrypt } from "./rc2.ts";

/** RFC 2268, section 5: key, effective bits, plaintext, ciphertext. */
const vectors: [string, number, string, string][] = [
  ["0000000000000000", 63, "0000000000000000", "ebb773f993278eff"],
  ["ffffffffffffffff", 64, "ffffffffffffffff", "278b27e42e2f0d49"],
  ["3000000000000000", 64, "1000000000000001", "30649edf9be7d2c2"],
  ["88", 64, "0000000000000000", "61a8a244adacccf0"],
  ["88bca90e90875a", 64, "0000000000000000", "6ccf4308974c267f"],
  ["88bca90e90875a7f0f79c384627bafb2", 64, "0000000000000000", "1a807d272bbe5db1"],
  ["88bca90e90875a7f0f79c384627bafb2", 128, "0000000000000000", "2269552ab0f85ca6"],
  [
    "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e",
    129,
    "0000000000000000",
    "5b78d3a43dfff1f1",
  ],
];

const bytes = (hex: string) => Uint8Array.fromHex(hex);

for (const [key, bits, plaintext, ciphertext] of vectors) {
  Deno.test(`RC2 with key ${key} of ${bits} effective bits`, () => {
    // With an IV of zeros the first block of CBC is the block cipher itself.
    const encrypted = rc2CbcEncrypt(bytes(key), bits, new Uint8Array(8), bytes(plaintext));
    assert.equal(encrypted.subarray(0, 8).toHex(), ciphertext);
  });
}

Deno.test("RC2's table holds each byte once", () => {
  assert.deepEqual(piTable().toSorted(), Uint8Array.from({ length: 256 }, (_, i) => i));
});

Deno.test("blocks are chained, and the last one is padded", () => {
  const key = bytes("88bca90e90875a7f0f79c384627bafb2");
  const iv = bytes("0102030405060708");
  const encrypt = (text: string, iv: Uint8Array) => rc2CbcEncrypt(key, 128, iv, bytes(text)).toHex();
  const [first, second] = [
    encrypt("00".repeat(8), iv).slice(0, 16),
    encrypt("00".repeat(16), iv).slice(16, 32),
  ];
  assert.equal(encrypt("00".repeat(8), bytes(first)).slice(0, 16), second);
  // CBC of nothing is a block of padding; the same as an encrypted block of eights, without its own padding.
  assert.equal(encrypt("", iv), encrypt("08".repeat(8), iv).slice(0, 16));
  assert.equal(encrypt("ab".repeat(7), iv), encrypt("ab".repeat(7) + "01", iv).slice(0, 16));
});
