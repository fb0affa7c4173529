import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { CertificateError } from "../../lib/certs/certificate_error.ts";
import { parseCertificate } from "../../lib/certs/parse_certificate.ts";
import { subjectOf } from "../../lib/certs/subject.ts";
import { patched, tlv } from "../oracles/corpus.ts";
import { askOracle, type OracleAnswer } from "../oracles/oracle.ts";
import { CERTIFICATE_FILES, certificateFile, damagedCertificates } from "./inputs.ts";
import { forAll, samples } from "./property.ts";

/** What our code answers where the oracle is asked for a certificate. */
function ours(der: Uint8Array<ArrayBuffer>): Pick<OracleAnswer, "error" | "certificate"> {
  try {
    const certificate = parseCertificate(der);
    const { sha256, notBefore, notAfter, isCa } = certificate;
    return { certificate: { sha256, notBefore, notAfter, isCa, subject: subjectOf(certificate) } };
  } catch (error) {
    // Anything else is a crash.
    if (!(error instanceof CertificateError)) throw error;
    return { error: error.message };
  }
}

/**
 * Go has more words for what is wrong with an address in a URL, and an older Unicode, in which fewer characters can be printed (seed
 * 1813348928: U+2ED81 is printed here, and escaped by Go).
 */
function comparable(error: string): string {
  return error.replace(/(invalid host: ParseAddr\().*/s, "$1…").replaceAll(/[^\0-\x7f…]/gu, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

async function compare(
  certificates: readonly Uint8Array<ArrayBuffer>[],
  hint: string,
): Promise<{ accepted: number; refused: number }> {
  const answers = await askOracle(certificates.map((certificate) => ({ certificate })));
  let accepted = 0;
  certificates.forEach((der, i) => {
    const { error, certificate } = answers[i] ?? {};
    if (error === undefined) accepted++;
    const wanted = error === undefined ? { certificate } : { error: comparable(error) };
    const answer = ours(der);
    const actual = answer.error === undefined ? answer : { error: comparable(answer.error) };
    if (!isDeepStrictEqual(actual, wanted)) {
      assert.deepEqual(actual, wanted, `${hint}: ${der.toHex()}`);
    }
  });
  return { accepted, refused: certificates.length - accepted };
}

Deno.test("each certificate with any one bit flipped is taken and refused as by Go", async () => {
  const flipped: Uint8Array<ArrayBuffer>[] = [];
  for (const name of CERTIFICATE_FILES) {
    const der = certificateFile(name);
    // The last octets are the signature, which nobody looks at.
    for (let bit = 0; bit < (der.length - 60) * 8; bit++) {
      const copy = der.slice();
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (0x80 >> (bit & 7));
      flipped.push(copy);
    }
  }
  const { accepted, refused } = await compare(flipped, "one bit flipped");
  assert.ok(accepted > 5000 && refused > 5000, `${accepted} accepted, ${refused} refused`);
});

Deno.test("damaged certificates are taken and refused as by Go", async () => {
  const { values, hint } = samples(damagedCertificates, 6000);
  const { accepted, refused } = await compare(values, hint);
  assert.ok(accepted > 100 && refused > 100, `${accepted} accepted, ${refused} refused`);
});

Deno.test("names of any bytes are taken, refused and quoted as by Go", async () => {
  const plain = certificateFile("plain");
  const withExtension = (id: number, value: Uint8Array) =>
    patched(
      plain,
      (
        parts,
      ) => [...parts.slice(0, 7), tlv(0xa3, tlv(0x30, tlv(0x30, tlv(6, [0x55, 29, id]), tlv(4, value))))],
    );
  const text = fc.string({
    unit: fc.constantFrom(
      ...'aZ09.-_:/@%[]#?"\\ ~é日\u0000\n\u{1f600}\u2028',
      "%41",
      "%ff",
      "%25",
      "//",
      "[::1]",
      "x://",
      "..",
      "1.2.3.4",
    ),
    maxLength: 10,
  });
  const value = fc.oneof(fc.uint8Array({ maxLength: 12 }), text.map((it) => new TextEncoder().encode(it)));
  const certificates = fc.oneof(
    fc.tuple(fc.constantFrom(0x81, 0x82, 0x86, 0x87), value).map(([tag, name]) =>
      withExtension(17, tlv(0x30, tlv(tag, name)))
    ),
    fc.tuple(fc.constantFrom(0x81, 0x82, 0x86, 0x87), value)
      .map(([tag, name]) => withExtension(30, tlv(0x30, tlv(0xa0, tlv(0x30, tlv(tag, name)))))),
    fc.tuple(fc.constantFrom(0x0c, 0x12, 0x13, 0x14, 0x16, 0x1e), value).map(([tag, name]) =>
      patched(
        plain,
        (parts) =>
          parts.map((part, i) =>
            i === 5 ? tlv(0x30, tlv(0x31, tlv(0x30, [6, 3, 0x55, 4, 3], tlv(tag, name)))) : part
          ),
      )
    ),
  );
  const { values, hint } = samples(certificates, 6000);
  const { accepted, refused } = await compare(values, hint);
  assert.ok(accepted > 500 && refused > 500, `${accepted} accepted, ${refused} refused`);
});

Deno.test("what is wrong with a certificate is said shortly, however long it is", () => {
  for (const tag of [0x81, 0x82, 0x86]) {
    for (const octet of [0xe4, 0x25, 0x2e]) {
      const constraint = tlv(tag, new Uint8Array(1e6).fill(octet));
      const lists: [number, Uint8Array][] = [[17, constraint], [30, tlv(0xa0, tlv(0x30, constraint))]];
      for (const [id, list] of lists) {
        const extension = tlv(0x30, tlv(6, [0x55, 29, id]), tlv(4, tlv(0x30, list)));
        const der = patched(
          certificateFile("plain"),
          (parts) => [...parts.slice(0, 7), tlv(0xa3, tlv(0x30, extension))],
        );
        assert.ok((ours(der).error ?? "").length < 10_000);
      }
    }
  }
});

Deno.test("any bytes are a certificate or a CertificateError", async () => {
  const element = fc.tuple(
    fc.constantFrom(0x30, 0x31, 2, 3, 4, 6, 0xa0, 0xa3, 0x17),
    fc.uint8Array({ maxLength: 8 }),
  )
    .map(([tag, content]) => [tag, content.length, ...content]);
  const octets = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.array(element).map((all) => new Uint8Array(all.flat())),
  );
  await forAll(octets, 5000, (value) => {
    ours(new Uint8Array(value));
  });
});
