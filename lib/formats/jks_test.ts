import assert from "node:assert/strict";
import type { Certificate } from "../certs/certificate.ts";
import { encodeElement, Tag } from "../certs/der.ts";
import { encodeJks } from "./jks.ts";

/** A certificate as far as a key store looks at it: with a common name. */
function named(name: string, sha256 = "ABCDEF0123".padEnd(64, "0").toLowerCase()): Certificate {
  const sequence = (...parts: Uint8Array[]) => encodeElement(Tag.sequence, ...parts);
  const value = encodeElement(Tag.utf8String, new TextEncoder().encode(name));
  const type = encodeElement(Tag.objectIdentifier, new Uint8Array([0x55, 4, 3]));
  const subject = sequence(encodeElement(Tag.set, sequence(type, value)));
  const serial = encodeElement(Tag.integer, new Uint8Array([1]));
  const der = sequence(sequence(serial, sequence(), sequence(), sequence(), subject, sequence()));
  return { der, sha256, notBefore: -1, notAfter: 0, isCa: true };
}

/** Aliases in a JKS, as bytes. */
function aliases(store: Uint8Array): Uint8Array[] {
  const view = new DataView(store.buffer, store.byteOffset);
  const found: Uint8Array[] = [];
  for (let at = 12, count = view.getUint32(8); count > 0; count--) {
    const length = view.getUint16(at + 4);
    found.push(store.subarray(at + 6, at + 6 + length));
    at += 6 + length + 8 + 2 + 4; // tag, alias, time, "X509"
    at += 4 + view.getUint32(at);
  }
  return found;
}

const names: [string, string, string][] = [
  ["lower case", "ÄÖ X", "äö x"],
  ["no final sigma", "ΑΣ", "ασ"],
  ["İ as Go has it", "İ", "i"],
  ["ß stays", "ẞß", "ßß"],
];

for (const [what, name, alias] of names) {
  Deno.test(`alias: ${what}`, () => {
    const [written] = aliases(encodeJks([named(name)], "changeit"));
    assert.equal(new TextDecoder().decode(written), `abcdef01|cn=${alias}`);
  });
}

Deno.test("characters beyond the BMP are two surrogates, as Java reads them", () => {
  const [written] = aliases(encodeJks([named("\u{1f600}")], "changeit"));
  assert.equal(written?.subarray(-6).toHex(), "eda0bdedb880");
});

Deno.test("an alias that is too long for the format is cut between characters", () => {
  const [written] = aliases(encodeJks([named("日".repeat(30_000))], "changeit"));
  assert.equal(written?.length, 12 + 3 * Math.floor((0xffff - 12) / 3));
});

Deno.test("entries are sorted by their alias's bytes", () => {
  const store = encodeJks([
    named("b", "22".repeat(32)),
    named("\u{ffee}", "11".repeat(32)),
    named("a", "11".repeat(32)),
  ], "x");
  assert.deepEqual(aliases(store).map((alias) => new TextDecoder().decode(alias)), [
    "11111111|cn=a",
    "11111111|cn=\u{ffee}",
    "22222222|cn=b",
  ]);
});

Deno.test("an entry holds what it should", () => {
  const certificate = named("a");
  const store = encodeJks([certificate], "").toHex();
  const alias = new TextEncoder().encode("abcdef01|cn=a").toHex();
  const size = certificate.der.length.toString(16).padStart(8, "0");
  assert.ok(store.startsWith(
    "feedfeed" + "00000002" + "00000001" + "00000002" + "000d" + alias + "ffffffffffffffff" + "000458353039" +
      size +
      certificate.der.toHex(),
  ));
  assert.equal(encodeJks([], "").toHex().slice(0, 24), "feedfeed0000000200000000");
});
