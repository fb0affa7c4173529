import assert from "node:assert/strict";
import { pkcs12Kdf, Purpose } from "./pkcs12_kdf.ts";

// Test vectors that Stephen Henson published for PKCS#12; many implementations are tested with them.
const vectors: [string, string, number, number, number, string][] = [
  ["smeg", "0a58cf64530d823f", 1, Purpose.key, 24, "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3"],
  ["smeg", "0a58cf64530d823f", 1, Purpose.iv, 8, "79993dfe048d3b76"],
  ["smeg", "642b99ab44fb4b1f", 1, Purpose.key, 24, "f3a95fec48d7711e985cfe67908c5ab79fa3d7c5caa5d966"],
  ["smeg", "642b99ab44fb4b1f", 1, Purpose.iv, 8, "c0a38d64a79bea1d"],
  ["smeg", "3d83c0e4546ac140", 1, Purpose.mac, 20, "8d967d88f6caa9d714800ab3d48051d63f73a312"],
  ["queeg", "05dec959acff72f7", 1000, Purpose.key, 24, "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4"],
  ["queeg", "05dec959acff72f7", 1000, Purpose.iv, 8, "11dedad7758d4860"],
  ["queeg", "1682c0fc5b3f7ec5", 1000, Purpose.key, 24, "483dd6e919d7de2e8e648ba8f862f3fbfbdc2bcb2c02957f"],
  ["queeg", "1682c0fc5b3f7ec5", 1000, Purpose.iv, 8, "9d461d1b00355c50"],
  ["queeg", "263216fcc2fab31c", 1000, Purpose.mac, 20, "5ec4c7a80df652294c3925b6489a7ab857c83476"],
];

for (const [password, salt, iterations, purpose, length, derived] of vectors) {
  Deno.test(`derived from ${password}, salt ${salt}, for purpose ${purpose}`, () => {
    const options = {
      hash: "sha1",
      password,
      salt: Uint8Array.fromHex(salt),
      iterations,
      purpose,
      length,
    } as const;
    assert.equal(pkcs12Kdf(options).toHex(), derived);
  });
}
