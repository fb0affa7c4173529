import assert from "node:assert/strict";
import { der } from "./der_writer.ts";

const written: [string, Uint8Array, string][] = [
  ["integer 0", der.integer(0), "020100"],
  ["integer 127", der.integer(127), "02017f"],
  ["integer 128 is not negative", der.integer(128), "02020080"],
  ["integer 2048", der.integer(2048), "02020800"],
  ["object identifier", der.objectIdentifier("1.2.840.113549.1.7.1"), "06092a864886f70d010701"],
  [
    "object identifier of Java",
    der.objectIdentifier("2.16.840.1.113894.746875.1.1"),
    "060c6086480186f966adca7b0101",
  ],
  ["object identifier with zero", der.objectIdentifier("2.5.29.37.0"), "0604551d2500"],
  ["octet string", der.octetString(new Uint8Array([1, 2])), "04020102"],
  ["octet string of 128", der.octetString(new Uint8Array(128)), "048180" + "00".repeat(128)],
  ["octet string of 256", der.octetString(new Uint8Array(256)), "04820100" + "00".repeat(256)],
  ["sequence", der.sequence(der.integer(1), der.integer(2)), "3006020101020102"],
  ["set", der.set(der.integer(1)), "3103020101"],
  ["nothing", der.sequence(), "3000"],
  ["explicit", der.explicit(0, der.integer(1)), "a003020101"],
  ["implicit", der.implicit(0, new Uint8Array([1])), "800101"],
  ["BMP string", der.bmpString("aΩ\u{1f600}"), "1e08006103a9d83dde00"],
];

for (const [name, bytes, hex] of written) {
  Deno.test(`DER: ${name}`, () => assert.equal(bytes.toHex(), hex));
}
