import assert from "node:assert/strict";
import { countPemBegins, pemBlocks } from "./pem_blocks.ts";
import { pemOf } from "./pem_of.ts";
import { readPem } from "./pem.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const file = (name: string) => Deno.readTextFileSync(new URL(`testdata/${name}.pem`, import.meta.url));

const plain = file("plain");
const other = file("ed25519");
const key = "-----BEGIN RSA PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END RSA PRIVATE KEY-----\n";

const taken: Record<string, { text: string; certificates: number; brokenBlocks?: number }> = {
  "one certificate": { text: plain, certificates: 1 },
  "nothing": { text: "", certificates: 0 },
  "no PEM at all": { text: "hello: world\n", certificates: 0 },
  "text around and between blocks": { text: `# one\n${plain}# two\n${other}# end`, certificates: 2 },
  "the same one twice": { text: plain + plain, certificates: 2 },
  "no newline at the end": { text: plain.trimEnd(), certificates: 1 },
  "CR LF": { text: plain.replaceAll("\n", "\r\n"), certificates: 1 },
  "blanks at the ends of lines": { text: plain.replaceAll("\n", " \t\n"), certificates: 1 },
  "one long line of base64": { text: plain.replaceAll(/([^-])\n(?!-)/g, "$1"), certificates: 1 },
  "END line missing": { text: plain.replace(/-----END.*\n/, "") + other, certificates: 1, brokenBlocks: 1 },
  "END line of another type": {
    text: plain.replace("END C", "END X") + other,
    certificates: 1,
    brokenBlocks: 1,
  },
  "base64 broken": { text: plain.replace("MII", "M!I") + other, certificates: 1, brokenBlocks: 1 },
  "base64 without padding": {
    text: other + "-----BEGIN A-----\nAAA\n-----END A-----\n",
    certificates: 1,
    brokenBlocks: 1,
  },
  "indented": { text: plain.replaceAll(/^(?=.)/gm, "  ") + other, certificates: 1, brokenBlocks: 1 },
  "a key that has no END line": {
    text: key.replace(/-----END.*\n/, "") + plain,
    certificates: 1,
    brokenBlocks: 1,
  },
  "EC-ACC": { text: file("ec_acc") + plain, certificates: 1 },
};

for (const [name, { text, certificates, brokenBlocks = 0 }] of Object.entries(taken)) {
  Deno.test(`PEM that is taken: ${name}`, () => {
    const result = readPem(bytes(text));
    assert.ok(result.ok);
    assert.equal(result.certificates.length, certificates);
    assert.equal(result.skipped.brokenBlocks, brokenBlocks);
  });
}

const prefix = "invalid PEM block in bundle";
const refused: Record<string, { text: string; error: string }> = {
  "a private key": {
    text: key,
    error: `${prefix}: only CERTIFICATE blocks are permitted but found 'RSA PRIVATE KEY'`,
  },
  "a private key after a certificate": {
    text: plain + key,
    error: `${prefix}: only CERTIFICATE blocks are permitted but found 'RSA PRIVATE KEY'`,
  },
  "the first error counts": {
    text: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + key,
    error: `${prefix}; invalid PEM certificate: x509: malformed certificate`,
  },
  "OpenSSL's trusted certificates": {
    text: plain.replaceAll("CERTIFICATE", "TRUSTED CERTIFICATE"),
    error: `${prefix}: only CERTIFICATE blocks are permitted but found 'TRUSTED CERTIFICATE'`,
  },
  "headers": {
    text: plain.replace("-----\n", "-----\nComment: mine\n\n"),
    error: `${prefix}; blocks are not permitted to have PEM headers`,
  },
  "an empty block": {
    text: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
    error: `${prefix}; invalid PEM certificate: x509: malformed certificate`,
  },
  "a negative serial number": {
    text: file("negative_serial"),
    error: `${prefix}; invalid PEM certificate: x509: negative serial number`,
  },
};

for (const [name, { text, error }] of Object.entries(refused)) {
  Deno.test(`PEM that is refused: ${name}`, () => {
    assert.deepEqual(readPem(bytes(text)), { ok: false, error });
  });
}

// What stands in the place of a label may be anything, base64 of a key say: only what looks like a label is shown.
const labels: Record<string, string> = {
  "RSA PRIVATE KEY": "RSA PRIVATE KEY",
  "OPENSSH PRIVATE KEY": "OPENSSH PRIVATE KEY",
  "PKCS7": "PKCS7",
  "PKCS #7 SIGNED DATA": "PKCS #7 SIGNED DATA",
  "X9.42 DH PARAMETERS": "X9.42 DH PARAMETERS",
  "OpenVPN Static key V1": "OpenVPN Static key V1",
  "certificate": "certificate",
  "Certificate-Request": "Certificate-Request",
  "ENCRYPTED SIGSTORE PRIVATE KEY": "ENCRYPTED SIGSTORE PRIVATE KEY",
  "A:B": "…",
  "": "",
  " CERTIFICATE": "…",
  "PRIVATE KEY-----MIIEvgIBADANBgkqhkiG9w0BAQEFAASC-----END PRIVATE KEY": "PRIVATE KEY…",
  "PRIVATE KEY----- MIIEvgIBADANBgkqhkiG9w0BAQEFAASC -----END PRIVATE KEY": "PRIVATE KEY…",
  "PRIVATE KEY MIIEvgIBADANBgkqhkiG9w0BAQEFAASC": "PRIVATE KEY…",
  "MIIEvgIBADANBgkqhkiG9w0BAQEFAASC": "…",
  "c2VjcmV0": "…",
  "PRIVATE c2VjcmV0 KEY": "PRIVATE…",
  "hunter2 is my pass": "…",
  [`KEY ${"A".repeat(100)}`]: "KEY…",
  ["KEY ".repeat(30).trim()]: `${"KEY ".repeat(16).trim()}…`,
  "Schlüssel": "…",
};

for (const [label, shown] of Object.entries(labels)) {
  Deno.test(`of a label is shown what looks like one: ${label}`, () => {
    assert.deepEqual(readPem(bytes(`-----BEGIN ${label}-----\nAAAA\n-----END ${label}-----\n`)), {
      ok: false,
      error: `${prefix}: only CERTIFICATE blocks are permitted but found '${shown}'`,
    });
  });
}

Deno.test("EC-ACC is skipped by its fingerprint and reported", () => {
  const result = readPem(bytes(file("ec_acc")));
  assert.ok(result.ok);
  assert.deepEqual(result.skipped.certificates, [
    "88497f01602f3154246ae28c4d5aef10f1d87ebb76626f4ae0b7f95ba7968799",
  ]);
});

Deno.test("negative serial numbers are taken if the user says so, EC-ACC's too, as by Go then", () => {
  const text = file("negative_serial") + file("ec_acc") + plain;
  const result = readPem(bytes(text), { allowNegativeSerialNumbers: true });
  assert.ok(result.ok);
  assert.equal(result.certificates.length, 3);
  assert.deepEqual(result.skipped.certificates, []);
  // Nothing else is read less strictly.
  const refused = readPem(bytes(text + key), { allowNegativeSerialNumbers: true });
  assert.match(refused.ok ? "" : refused.error, /found 'RSA PRIVATE KEY'$/);
});

Deno.test("a certificate owns its bytes", () => {
  const value = bytes(`${key.replace("END RSA", "END")}${plain}`);
  const result = readPem(value);
  assert.ok(result.ok);
  const [certificate] = result.certificates;
  assert.ok(certificate !== undefined);
  assert.equal(certificate.der.buffer.byteLength, certificate.der.length);
});

Deno.test("canonical PEM comes back as it was", () => {
  const result = readPem(bytes(`${plain}\n\n${other}`));
  assert.ok(result.ok);
  assert.equal(pemOf(result.certificates), (plain + other).trimEnd());
  assert.equal(pemOf([]), "");
});

Deno.test("blocks hold what their base64 says", () => {
  const [block, ...more] = pemBlocks(bytes("-----BEGIN X Y-----\nAQID BAUG\nBw==\n-----END X Y-----\n"));
  assert.deepEqual(more, []);
  assert.deepEqual(block?.content, new Uint8Array([1, 2, 3, 4, 5, 6, 7]));
  assert.equal(new TextDecoder().decode(block?.label), "X Y");
  assert.equal(block?.hasHeaders, false);
});

Deno.test("after headers that run past the END line nothing more is looked for, as in Go", () => {
  const text = `-----BEGIN A-----\nx:y\n-----END A:-----\nx:y\n${plain}`;
  assert.deepEqual([...pemBlocks(bytes(text))], []);
  assert.equal(countPemBegins(bytes(text)), 2);
});

const hostile: Record<string, string> = {
  "BEGIN lines": "-----BEGIN CERTIFICATE-----\n",
  "END lines": "\n-----END ",
  "BEGIN and END lines that do not match": "-----BEGIN X-----\n-----END Y-----\n",
  "dashes": "-",
  "newlines": "\n",
  "header lines": "a:b\n",
  "broken blocks": "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n",
};

for (const [name, unit] of Object.entries(hostile)) {
  Deno.test(`10 MB of ${name} take time in proportion to their length`, () => {
    const seconds = (length: number) => {
      const value = bytes("-----BEGIN A-----\n" + unit.repeat(length / unit.length));
      const start = performance.now();
      readPem(value);
      return (performance.now() - start) / 1000;
    };
    seconds(1e5); // compiles the code
    // Quadratic time would take hours; the bound leaves room for a slow machine.
    assert.ok(seconds(1e7) < 20);
  });
}
