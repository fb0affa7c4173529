import assert from "node:assert/strict";
import { type Appearance, APPEARANCES } from "./appearance.ts";
import { pemBlocks } from "./pem_blocks.ts";
import { readPem } from "./pem.ts";

const file = (name: string) => Deno.readTextFileSync(new URL(`testdata/${name}.pem`, import.meta.url));
const bytes = (text: string) => new TextEncoder().encode(text);
const plain = file("plain");
const other = file("ed25519");

function der(pem: string): Uint8Array<ArrayBuffer> {
  const [block] = pemBlocks(bytes(pem));
  assert.ok(block !== undefined);
  return block.content;
}

function utf16(text: string, littleEndian: boolean, mark: boolean): Uint8Array<ArrayBuffer> {
  const units = mark ? `\ufeff${text}` : text;
  const view = new DataView(new ArrayBuffer(units.length * 2));
  for (let i = 0; i < units.length; i++) view.setUint16(i * 2, units.charCodeAt(i), littleEndian);
  return new Uint8Array(view.buffer);
}

const base64 = (value: Uint8Array) => value.toBase64();
const wrapped = (text: string) => text.replaceAll(/.{76}/g, "$&\n");
const hex = (digits: string) => Uint8Array.fromHex(digits.replaceAll(" ", ""));
const signedData = "06092a864886f70d010702";

const table: [string, Uint8Array<ArrayBuffer> | string, Appearance | undefined, number?][] = [
  ["a certificate", plain, undefined, 1],
  [
    "certificates with text around",
    `# BEGIN CERTIFICATEs\n${plain}\n--- BEGIN of more\n${other}`,
    undefined,
    2,
  ],
  ["EC-ACC alone, which is told otherwise", file("ec_acc"), undefined],
  ["nothing", "", "empty"],
  ["blanks", " \n\t\r\n", "empty"],
  ["DER", der(plain), "der"],
  ["DER of two certificates", new Uint8Array([...der(plain), ...der(other)]), "der"],
  ["DER and a newline", new Uint8Array([...der(plain), 10]), "der"],
  ["DER of a certificate with a negative serial number", der(file("negative_serial")), "der"],
  ["PKCS#7", hex(`3081 80 ${signedData} a0${"00".repeat(120)}`), "pkcs7"],
  ["PKCS#7 of indefinite length", hex(`3080 ${signedData} a080 3080 020101`), "pkcs7"],
  ["PKCS#12", hex("300e 020103 3005 0603 2a0304 04020000"), "pkcs12"],
  ["PKCS#12 of indefinite length", hex("3080 020103 3080 0609 2a864886f70d010701"), "pkcs12"],
  ["a Java key store", hex("feedfeed 00000002 00000001"), "jks"],
  ["an RSA key in DER", hex("3009 020100 02020101 0201 03"), "privateKey"],
  ["a PKCS#8 key in DER", hex("300a 020100 3003 0601 2a 0400"), "privateKey"],
  ["an encrypted key in DER", hex("3009 3003 0601 2a 0402 0000"), "privateKey"],
  ["a SEQUENCE of something else", hex("3006 3000 3000 0500"), "otherDer"],
  ["text that begins like a SEQUENCE", "0 is a number", "text"],
  ["UTF-16, little-endian", utf16(plain, true, true), "utf16"],
  ["UTF-16, big-endian", utf16(plain, false, true), "utf16"],
  ["UTF-16 without a mark", utf16(plain, true, false), "utf16"],
  ["UTF-16, big-endian, without a mark", utf16(plain, false, false), "utf16"],
  ["a byte order mark", `\ufeff${plain}`, "byteOrderMark"],
  ["a byte order mark before the first of two", `\ufeff${plain}${other}`, "byteOrderMark", 1],
  ["base64 of PEM", base64(bytes(plain)), "base64"],
  ["base64 of PEM in lines", wrapped(base64(bytes(plain + other))), "base64"],
  ["base64 of base64 of PEM", base64(bytes(base64(bytes(plain)))), "base64Twice"],
  ["base64 of base64 of PEM in lines", wrapped(base64(bytes(wrapped(base64(bytes(plain)))))), "base64Twice"],
  ["base64 of DER", base64(der(plain)), "base64Der"],
  ["base64 of DER in lines", wrapped(base64(der(plain))), "base64Der"],
  ["any word", "Password1", "text"],
  ["a long random token", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5eg==", "text"],
  ["em dashes", plain.replaceAll("-----", "——"), "typographicDashes"],
  ["en dashes", plain.replaceAll("-----", "–––––"), "typographicDashes"],
  ["a dash and hyphens", plain.replaceAll("-----", "—--"), "typographicDashes"],
  ["minus signs", plain.replaceAll("-----", "−−−−−"), "typographicDashes"],
  ["non-breaking hyphens", plain.replaceAll("-", "\u2011"), "typographicDashes"],
  [
    "typographic dashes in one of two",
    `${other}${plain.replaceAll("-----", "–––––")}`,
    "typographicDashes",
    1,
  ],
  ["four hyphens", plain.replaceAll("-----", "----"), "otherDashes"],
  ["six hyphens", plain.replaceAll("-----", "------"), "otherDashes"],
  ["two glued together", plain.trimEnd() + other, "glued"],
  ["two of three glued together", plain + plain.trimEnd() + other, "glued", 1],
  ["two glued with a blank", `${plain.trimEnd()} ${other}`, "glued"],
  ["escaped newlines", plain.replaceAll("\n", "\\n"), "escapedNewlines"],
  ["escaped newlines after a good one", `${other}${plain.replaceAll("\n", "\\n")}`, "escapedNewlines", 1],
  ["CR alone", plain.replaceAll("\n", "\r"), "carriageReturns"],
  ["blanks for newlines", plain.replaceAll("\n", " "), "oneLine"],
  ["nothing for newlines", plain.replaceAll("\n", ""), "oneLine"],
  ["indented", plain.replaceAll(/^(?=.)/gm, "  "), "indented"],
  ["indented by a tab, one of two", plain.replaceAll(/^(?=.)/gm, "\t") + other, "indented", 1],
  ["an END line that is indented", plain.replace("-----END", "  -----END"), "indented"],
  ["in quotes", `"${plain}"`, "withinLine"],
  ["in YAML", `ca: ${plain}`, "withinLine"],
  ["no END line", plain.replace(/-----END.*\n/, ""), "noEnd"],
  ["no END line of the second", plain + other.replace(/-----END.*\n/, ""), "damaged", 1],
  ["broken base64", plain.replace("MII", "M!I"), "damaged"],
  ["the END line of something else", plain.replace("END C", "END X"), "damaged"],
  ["gzip", hex("1f8b0800 00000000"), "archive"],
  ["zip", hex("504b0304 14000000"), "archive"],
  ["octets", hex("01020304 05060708 ff"), "binary"],
  ["text", "no PEM at all\n", "text"],
  ["a certificate in words", "Certificate:\n    Data:\n        Version: 3 (0x2)\n", "text"],
];

for (const [name, value, appearance, certificates = 0] of table) {
  Deno.test(`what a value looks like that gives less than is in it: ${name}`, () => {
    const reading = readPem(typeof value === "string" ? bytes(value) : value);
    assert.ok(reading.ok, reading.ok ? "" : reading.error);
    assert.equal(reading.certificates.length, certificates);
    assert.equal(reading.skipped.appearance, appearance);
  });
}

Deno.test("each appearance is one that some value has", () => {
  const seen = new Set(table.map(([, , appearance]) => appearance));
  assert.deepEqual(Object.keys(APPEARANCES).filter((key) => !seen.has(key as Appearance)), []);
});

Deno.test("a private key is refused whatever else the value looks like", () => {
  const key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
  for (
    const before of [
      "\ufeff",
      plain.replaceAll("-----", "–––––"),
      `${plain.trimEnd()}${other}`,
      "MIIB\n",
      "\\n\n",
    ]
  ) {
    assert.equal(readPem(bytes(before + key)).ok, before === "\ufeff");
    assert.equal(readPem(bytes(`${before}\n${key}`)).ok, false);
  }
});

const hostile: Record<string, string> = {
  "BEGIN": "BEGIN CERTIFICATE",
  "hyphens": "-",
  "glued lines": "-----END CERTIFICATE----------BEGIN CERTIFICATE-----",
  "B": "B",
  "base64": "LS0t",
  "blanks": " ",
  "SEQUENCEs": "0\x80",
  "typographic dashes": "–BEGIN CERTIFICATX",
};

for (const [name, unit] of Object.entries(hostile)) {
  Deno.test(`what 10 MB of ${name} look like is known in time in proportion to their length`, () => {
    const value = bytes(unit.repeat(1e7 / unit.length));
    const start = performance.now();
    readPem(value);
    // Quadratic time would take hours; the bound leaves room for a slow machine.
    assert.ok(performance.now() - start < 20_000);
  });
}
