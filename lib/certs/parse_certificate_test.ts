import assert from "node:assert/strict";
import { patched, tlv } from "../../tests/oracles/corpus.ts";
import { CertificateError } from "./certificate_error.ts";
import { contextTag, Tag } from "./der.ts";
import { parseCertificate } from "./parse_certificate.ts";
import { pemBlocks } from "./pem_blocks.ts";
import { subjectOf } from "./subject.ts";

/** The DER in a file of testdata. */
function der(name: string): Uint8Array<ArrayBuffer> {
  const [block] = pemBlocks(Deno.readFileSync(new URL(`testdata/${name}.pem`, import.meta.url)));
  assert.ok(block !== undefined);
  return block.content;
}

const from2020 = { notBefore: Date.UTC(2020, 0, 1), notAfter: Date.UTC(2050, 0, 1) };
const plain = { ...from2020, isCa: true, subject: "CN=Example Root,O=Example" };

// Go 1.26 gives the same; tests/oracles asks it about these kinds of certificates in each run.
const certificates: Record<string, { notBefore: number; notAfter: number; isCa: boolean; subject: string }> =
  {
    plain,
    v1: { ...plain, isCa: false },
    not_ca: { ...plain, isCa: false },
    expired: { ...plain, notBefore: Date.UTC(2000, 0, 1), notAfter: Date.UTC(2001, 0, 1) },
    ed25519: plain,
    p521: plain,
    empty_subject: { ...plain, subject: "" },
    latin1: { ...plain, subject: "CN=Größe,O=Müller & Söhne,C=DE" },
    bmp: { ...plain, subject: "CN=Ωmega,O=Ünïcode" },
    multi_valued: { ...plain, subject: "CN=Last,OU=Two+OU=Three+OU=Four,O=One,C=DE" },
    all_known: {
      ...plain,
      subject:
        "SERIALNUMBER=12-34,CN=Name,OU=Part,O=Firm,POSTALCODE=12345,STREET=Long Street 1,L=Town,ST=Land,C=DE",
    },
    unknown_attributes: {
      ...plain,
      subject: "CN=Name,1.2.3.4=#0c05737461722a,1.2.840.113549.1.9.1=#0c0b6140622e6578616d706c65," +
        "0.9.2342.19200300.100.1.25=#13076578616d706c65,1.2.3.4.5=#0c0553c3bcc39f,1.3.6.1.4.1.99999.7=#13036f6464",
    },
    escaped: { ...plain, subject: String.raw`CN=\#hash,OU=\#hash,O=\ a\, b\+c\<d\>e\;f\\g\"h,L=a=b` },
  };

for (const [name, expected] of Object.entries(certificates)) {
  Deno.test(`certificate: ${name}`, () => {
    const encoded = der(name);
    const certificate = parseCertificate(encoded);
    const { notBefore, notAfter, isCa } = certificate;
    assert.deepEqual({ notBefore, notAfter, isCa, subject: subjectOf(certificate) }, expected);
    assert.deepEqual(certificate.der, encoded);
    assert.notEqual(certificate.der.buffer, encoded.buffer);
    assert.match(certificate.sha256, /^[0-9a-f]{64}$/);
  });
}

const whole = der("plain");

/** The certificate with some of its bytes replaced where `search` (hex) first stands. */
function replaced(search: string, replacement: string): Uint8Array<ArrayBuffer> {
  const hex = whole.toHex();
  assert.ok(hex.includes(search));
  return Uint8Array.fromHex(hex.replace(search, replacement));
}

/** The public key, a BIT STRING. */
const point = /03420004.{128}/.exec(whole.toHex())?.[0] ?? "";

/** The certificate with another version: the content octets of its INTEGER, in hexadecimal. */
function ofVersion(octets: string): Uint8Array<ArrayBuffer> {
  return patched(
    whole,
    (parts) => parts.with(0, tlv(contextTag(0, true), tlv(Tag.integer, Uint8Array.fromHex(octets)))),
  );
}

Deno.test("the largest version wraps around in Go, which then takes it for one before extensions", () => {
  const { isCa } = parseCertificate(ofVersion("7fffffffffffffff"));
  assert.equal(isCa, false);
  assert.equal(parseCertificate(ofVersion("02")).isCa, true);
});

const refused: Record<string, { der: Uint8Array<ArrayBuffer>; error: string }> = {
  "nothing": { der: new Uint8Array(), error: "x509: malformed certificate" },
  "text": { der: new TextEncoder().encode("hello"), error: "x509: malformed certificate" },
  "cut short": { der: whole.slice(0, -1), error: "x509: malformed certificate" },
  "trailing data": { der: new Uint8Array([...whole, 0]), error: "x509: trailing data" },
  "version 4": { der: replaced("a003020102", "a003020103"), error: "x509: invalid version" },
  "the largest version but one": {
    der: ofVersion("7ffffffffffffffe"),
    error: "x509: invalid version",
  },
  "a version of nine octets": { der: ofVersion("010000000000000000"), error: "x509: malformed version" },
  "negative version": { der: replaced("a003020102", "a0030201ff"), error: "x509: malformed version" },
  "negative serial number": { der: der("negative_serial"), error: "x509: negative serial number" },
  "other inner signature algorithm": {
    der: replaced("06082a8648ce3d040302", "06082a8648ce3d040303"),
    error: "x509: inner and outer signature algorithm identifiers don't match",
  },
  "bad time": {
    der: replaced("32303230303130313030303030305a", "32303230303130313030303036305a"),
    error: "x509: malformed GeneralizedTime",
  },
  "point not on the curve": {
    der: replaced(point, "03420004" + "01".repeat(64)),
    error: "P256 point not on curve",
  },
  "unknown curve": {
    der: replaced("06082a8648ce3d030107", "06082a8648ce3d030108"),
    error: "x509: unsupported elliptic curve",
  },
  "basic constraints are a NULL": {
    der: replaced("04053003", "04050503"),
    error: "x509: invalid basic constraints",
  },
};

for (const [name, { der, error }] of Object.entries(refused)) {
  Deno.test(`refused as a certificate: ${name}`, () => {
    assert.throws(() => parseCertificate(der), new CertificateError(error));
  });
}

Deno.test("deeply nested and endless lengths end at once", () => {
  const nested = new Uint8Array(1e6);
  for (let i = 0; i < nested.length; i += 2) nested.set([0x30, 0x80], i);
  assert.throws(() => parseCertificate(nested), CertificateError);
  assert.throws(
    () => parseCertificate(new Uint8Array([0x30, 0x84, 0xff, 0xff, 0xff, 0xff])),
    CertificateError,
  );
});
