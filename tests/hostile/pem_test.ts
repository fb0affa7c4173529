import assert from "node:assert/strict";
import fc from "fast-check";
import { readPem } from "../../lib/certs/pem.ts";
import { countPemBegins, pemBlocks } from "../../lib/certs/pem_blocks.ts";
import { pemOf } from "../../lib/certs/pem_of.ts";
import { poolOf } from "../../lib/certs/pool.ts";
import { parseCertificate } from "../../lib/certs/parse_certificate.ts";
import { askOracle, type OracleAnswer } from "../oracles/oracle.ts";
import { pemTexts, SECRET } from "./inputs.ts";
import { forAll, samples } from "./property.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function outcome(text: string): Partial<OracleAnswer> {
  const result = readPem(bytes(text));
  return result.ok
    ? { text: pemOf(poolOf([result.certificates], {}).certificates) }
    : { error: result.error };
}

Deno.test("whatever text is taken, refused and skipped as by the Go project", async () => {
  const { values, hint } = samples(pemTexts, 6000);
  const answers = await askOracle(values.map((text) => ({ pem: bytes(text) })));
  let taken = 0;
  values.forEach((text, i) => {
    const { error, text: pem = "" } = answers[i] ?? {};
    if (error === undefined && pem !== "") taken++;
    // Go shows an overlong or broken label whole.
    if (error?.includes("are permitted but found")) assert.equal(readPem(bytes(text)).ok, false);
    else {assert.deepEqual(
        outcome(text),
        error === undefined ? { text: pem } : { error },
        `${hint}: ${JSON.stringify(text)}`,
      );}
  });
  assert.ok(taken > values.length / 20, `only ${taken} of ${values.length} held a certificate`);
});

Deno.test("whatever the text, only certificates come out, each owning its bytes, and they read back the same", async () => {
  await forAll(pemTexts, 3000, (text) => {
    const result = readPem(bytes(text));
    if (!result.ok) {
      assert.ok(!result.error.includes(SECRET));
      return;
    }
    const { certificates, skipped } = result;
    for (const certificate of certificates) {
      assert.deepEqual(parseCertificate(certificate.der), certificate);
      assert.equal(certificate.der.buffer.byteLength, certificate.der.length);
    }
    assert.ok(skipped.brokenBlocks >= 0);
    const pem = pemOf(certificates);
    assert.ok(!pem.includes(SECRET) && !pem.includes("PRIVATE KEY"));
    assert.match(
      pem,
      /^(?:-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END CERTIFICATE-----(?:\n(?=-)|$))*$/,
    );
    assert.deepEqual(readPem(bytes(pem)), {
      ok: true,
      certificates,
      skipped: {
        brokenBlocks: 0,
        certificates: [],
        ...(certificates.length === 0 ? { appearance: "empty" } : {}),
      },
    });
  });
});

Deno.test("base64 in a block says what it says by the book, and is refused where it says nothing", async () => {
  const alphabet = "ABCabc019+/".split("");
  const characters = fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...alphabet) },
    { weight: 2, arbitrary: fc.constantFrom("\n", " ", "\t", "\r\n") },
    {
      weight: 1,
      arbitrary: fc.constantFrom("=", "=", "-", "_", "\f", "\v", "\0", ".", "ä", "\u00a0", "A-----"),
    },
  );
  await forAll(fc.array(characters, { maxLength: 40 }).map((all) => all.join("")), 3000, (base64) => {
    const text = bytes(`-----BEGIN X-----\n\n${base64}\n-----END X-----\n`);
    const [block] = pemBlocks(text);
    const digits = base64.replaceAll(/[ \t\r\n]/g, "");
    const valid = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(digits);
    assert.equal(block !== undefined, valid);
    if (block !== undefined) assert.equal(String.fromCharCode(...block.content), atob(digits));
  });
});

Deno.test("any bytes are read without a crash, and no more blocks are found than begin", async () => {
  await forAll(fc.uint8Array({ maxLength: 400 }), 1000, (octets) => {
    assert.equal(readPem(new Uint8Array(octets)).ok, true);
  });
  await forAll(pemTexts, 2000, (text) => {
    const value = bytes(text);
    assert.ok([...pemBlocks(value)].length <= countPemBegins(value));
  });
});
