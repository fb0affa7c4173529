import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import type { LabelSelectorSpec } from "../../lib/api/bundle.ts";
import { parseLabelSelector } from "../../lib/api/label_selector.ts";
import { parseCertificate } from "../../lib/certs/parse_certificate.ts";
import { readPem } from "../../lib/certs/pem.ts";
import { pemBlocks } from "../../lib/certs/pem_blocks.ts";
import { pemOf } from "../../lib/certs/pem_of.ts";
import { poolOf } from "../../lib/certs/pool.ts";
import { subjectOf } from "../../lib/certs/subject.ts";
import { goQuote } from "../../lib/go_quote.ts";
import { concat, oddCertificates, type Sample, seeded, SYSTEM_BUNDLE } from "./corpus.ts";
import { askOracle, type OracleAnswer } from "./oracle.ts";

/** What our code answers where the oracle is asked for a certificate. */
function ourCertificate(der: Uint8Array<ArrayBuffer>): Partial<OracleAnswer> {
  try {
    const certificate = parseCertificate(der);
    const { sha256, notBefore, notAfter, isCa } = certificate;
    return { certificate: { sha256, notBefore, notAfter, isCa, subject: subjectOf(certificate) } };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

function ourPem(pem: Uint8Array<ArrayBuffer>): Partial<OracleAnswer> {
  const result = readPem(pem);
  return result.ok
    ? { text: pemOf(poolOf([result.certificates], {}).certificates) }
    : { error: result.error };
}

/** Fails with what differs, and under which name. */
async function compareCertificates(
  samples: readonly Sample[],
): Promise<{ accepted: number; refused: number }> {
  const answers = await askOracle(samples.map(({ der }) => ({ certificate: der })));
  const comparable = (name: string, answer: Partial<OracleAnswer> | undefined) => ({
    name,
    // Go has more words for what is wrong with an address in a URL.
    error: answer?.error?.replace(/(invalid host: ParseAddr\().*/s, "$1…"),
    certificate: answer?.certificate,
  });
  const differing = samples.flatMap(({ name, der }, i) => {
    const wanted = comparable(name, answers[i]);
    const actual = comparable(name, ourCertificate(der));
    return isDeepStrictEqual(wanted, actual) ? [] : [{ wanted, actual, der: der.toHex() }];
  });
  assert.deepEqual(differing, []);
  const refused = answers.filter(({ error }) => error !== undefined).length;
  return { accepted: answers.length - refused, refused };
}

/** Of what stands in the place of a label, Go shows all, and we only what of its beginning is words: it may be of a private key. */
function withoutOddLabel(error: string): string {
  const [, before = "", label = ""] = /^(.* but found ')(.*)'$/s.exec(error) ?? [];
  if (before === "" || /^(?:[A-Za-z0-9#.]+(?: [A-Za-z0-9#.]+)*)?$/.test(label)) return error;
  const [words = ""] = /^(?:[A-Z0-9]+(?:[ -](?=[A-Z0-9])|(?=[ -])))*/.exec(label) ?? [];
  return `${before}${words.trimEnd()}…'`;
}

async function comparePem(
  samples: readonly { readonly name: string; readonly pem: Uint8Array<ArrayBuffer> }[],
) {
  const answers = await askOracle(samples);
  for (const [i, { name, pem }] of samples.entries()) {
    const { error, text } = answers[i] ?? { text: "" };
    const wanted = error === undefined ? { text } : { error: withoutOddLabel(error) };
    assert.deepEqual(ourPem(pem), wanted, `${name}: ${JSON.stringify(new TextDecoder().decode(pem))}`);
  }
  return answers;
}

async function systemCertificates(): Promise<Sample[]> {
  const blocks = [...pemBlocks(await Deno.readFile(SYSTEM_BUNDLE))];
  return blocks.map(({ content }, i) => ({ name: `system certificate ${i}`, der: content }));
}

const bytes = (text: string) => new TextEncoder().encode(text);

Deno.test("each CA certificate of the system is read as Go reads it", async () => {
  const samples = await systemCertificates();
  assert.ok(samples.length > 100);
  assert.deepEqual(await compareCertificates(samples), { accepted: samples.length, refused: 0 });
});

Deno.test("odd certificates are taken, refused and printed as Go does", async () => {
  const { accepted, refused } = await compareCertificates(await oddCertificates());
  assert.ok(accepted > 150 && refused > 150, `${accepted} accepted, ${refused} refused`);
});

Deno.test("damaged certificates are taken and refused as Go does", async () => {
  const random = seeded(1);
  const whole = [...await systemCertificates(), ...await oddCertificates()].filter(({ der }) =>
    der.length < 3000
  );
  const damaged: Sample[] = [];
  for (let i = 0; i < 6000; i++) {
    const der = whole[random(whole.length)]?.der.slice() ?? new Uint8Array();
    for (let changes = 1 + random(2); changes > 0; changes--) der[random(der.length)] = random(256);
    damaged.push({ name: `damaged ${i}`, der });
  }
  for (let i = 0; i < 300; i++) {
    const der = whole[random(whole.length)]?.der ?? new Uint8Array();
    const cut = random(der.length);
    damaged.push({ name: `shortened ${i}`, der: der.slice(0, cut) });
    damaged.push({ name: `without a byte ${i}`, der: concat([der.slice(0, cut), der.slice(cut + 1)]) });
  }
  const { accepted, refused } = await compareCertificates(damaged);
  assert.ok(accepted > 500 && refused > 500, `${accepted} accepted, ${refused} refused`);
});

Deno.test("the system's bundle comes out as from the Go project, byte for byte", async () => {
  const [answer] = await comparePem([{ name: "system bundle", pem: await Deno.readFile(SYSTEM_BUNDLE) }]);
  assert.ok((answer?.text.length ?? 0) > 100_000);
});

Deno.test("odd PEM is taken, skipped and refused as by the Go project", async () => {
  const random = seeded(2);
  const system = await systemCertificates();
  const [one = "", two = ""] = system.map(({ der }) => pemOf([parseCertificate(der)]));
  const key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----";
  const pieces = [
    one,
    two,
    key,
    one.replaceAll("\n", "\r\n"),
    one.replaceAll("\n", " \n\t"),
    one.replace("-----END CERTIFICATE-----", ""),
    one.replace("-----BEGIN CERTIFICATE-----\n", ""),
    one.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE-----\nA: b\n"),
    one.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE----- "),
    one.replace("BEGIN CERTIFICATE", "BEGIN TRUSTED CERTIFICATE").replace(
      "END CERTIFICATE",
      "END TRUSTED CERTIFICATE",
    ),
    one.replace("END CERTIFICATE", "END X509 CERTIFICATE"),
    one.slice(0, 500) + "!" + one.slice(500),
    one.slice(0, 500) + "\n" + one.slice(500),
    one.slice(0, 500) + "=" + one.slice(500),
    one.split("\n").join(""),
    "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
    "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----",
    "-----BEGIN -----\n-----END -----",
    "-----BEGIN \xff\x00-----\nAAAA\n-----END \xff\x00-----",
    "-----BEGIN A:B-----\nAAAA\n-----END A:B-----",
    "-----BEGIN A:B-----\n-----END A:B-----",
    "-----BEGIN X-----\na:b\nAAA=\n-----END X-----",
    "-----BEGIN X-----\na:b\n-----END X-----",
    "-----BEGIN X-----\na:b\n-----END X:-----",
    "-----BEGIN X-----\nAA==\nAA==\n-----END X-----",
    "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----",
    "-----BEGIN CERTIFICATE-----\nMAA\n-----END CERTIFICATE-----",
    "-----BEGIN CERTIFICATE-----\nMAB=\n-----END CERTIFICATE-----",
    "# text: with a colon",
    "-----BEGIN ",
    "-----END ",
    "\n-----END -----BEGIN X-----\nAAAA\n-----END X-----",
    "-----END CERTIFICATE-----",
    "-----BEGIN CERTIFICATE-----",
    "-----",
    "-----BEGIN CERTIFICATE-----" + "\0".repeat(3),
    " ",
    "\r",
    "",
  ];
  const separators = ["\n", "\n", "\n", "", " ", "\r\n", "\n\n", "\t\n", "x"];
  const samples = pieces.map((piece) => ({ name: "piece", pem: bytes(piece) }));
  for (let i = 0; i < 3000; i++) {
    let text = "";
    for (let count = 1 + random(5); count > 0; count--) {
      text += (pieces[random(pieces.length)] ?? "") + (separators[random(separators.length)] ?? "");
    }
    samples.push({ name: `sample ${i}`, pem: bytes(text) });
  }
  const whole = bytes(`${one}\n${two}\n`);
  for (let i = 0; i < 1000; i++) {
    const pem = whole.slice(0, random(3) === 0 ? random(whole.length) : whole.length);
    for (let changes = random(3); changes > 0; changes--) {
      pem[random(pem.length)] = "-\n\r :=AZ\0"[random(9)]?.charCodeAt(0) ?? 0;
    }
    samples.push({ name: `damaged ${i}`, pem });
  }
  const answers = await comparePem(samples.map(({ name, pem }) => ({ name, pem })));
  const refused = answers.filter(({ error }) => error !== undefined).length;
  assert.ok(
    refused > 500 && answers.length - refused > 500,
    `${answers.length - refused} taken, ${refused} refused`,
  );
});

Deno.test("label selectors match, print and fail as in Kubernetes", async () => {
  const random = seeded(3);
  const keys = [
    "a",
    "b",
    "c.d/e",
    "x_y",
    "A-1",
    "constructor",
    "",
    "/",
    "a/",
    "/a",
    "A.b/c",
    "a/b/c",
    "-a",
    "ä",
    "a".repeat(64),
  ];
  keys.push(`${"a".repeat(254)}/x`, `${"a.".repeat(50)}b/${"c".repeat(63)}`, "a b", 'q"uote', "a\n");
  const values = [
    "",
    "a",
    "b",
    "1.2",
    "a_b",
    "-",
    "a-",
    "ä",
    "x y",
    "<&>",
    "a".repeat(63),
    "a".repeat(64),
    "\u0007",
    "\u{1f600}",
  ];
  const operators = ["In", "NotIn", "Exists", "DoesNotExist", "In", "NotIn", "in", "", "Gt", 'O"p'];
  const pick = <T>(from: readonly T[], first: number): T => {
    const item = from[random(random(3) > 0 ? first : from.length)];
    assert.ok(item !== undefined);
    return item;
  };
  const labels: Record<string, string>[] = [
    {},
    { a: "a" },
    { a: "", b: "b" },
    { "c.d/e": "1.2", x_y: "a_b" },
    {
      constructor: "a",
      "A-1": "b",
    },
  ];
  const selectors: (LabelSelectorSpec | undefined)[] = [undefined, {}, { matchLabels: {} }, {
    matchExpressions: [],
  }];
  for (let i = 0; i < 3000; i++) {
    selectors.push({
      // One label at most: Kubernetes reports any one of several bad ones.
      ...(random(2) === 0 ? { matchLabels: { [pick(keys, 6)]: pick(values, 5) } } : {}),
      matchExpressions: Array.from({ length: random(4) }, () => ({
        key: pick(keys, 6),
        operator: pick(operators, 4),
        ...(random(3) > 0 ? { values: Array.from({ length: random(4) }, () => pick(values, 5)) } : {}),
      })),
    });
  }
  const answers = await askOracle(
    selectors.map((selector) => ({ selector: { ...(selector === undefined ? {} : { selector }), labels } })),
  );
  let parsed = 0;
  for (const [i, selector] of selectors.entries()) {
    const { error, text, matches } = answers[i] ?? { text: "" };
    const message = JSON.stringify(selector);
    if (error !== undefined) {
      assert.throws(
        () => parseLabelSelector(selector),
        { name: "LabelSelectorError", message: error },
        message,
      );
      continue;
    }
    parsed++;
    const ours = parseLabelSelector(selector);
    assert.equal(ours.toString(), text, message);
    assert.deepEqual(labels.map((set) => ours.matches(set)), matches, message);
  }
  assert.ok(parsed > 200 && selectors.length - parsed > 200, `${parsed} parsed of ${selectors.length}`);
});

Deno.test("text is quoted as Go quotes it", async () => {
  const texts = [
    "",
    "a b",
    '"',
    "\\",
    "\u0000\u0007\b\f\n\r\t\v\u001b\u007f",
    "ä\u00a0\u00ad",
    "日本",
    "\u200b\u2028",
    "\u{1f600}\u{e0001}",
    "\ufeff",
    "\ufffd",
  ];
  const answers = await askOracle(texts.map((quote) => ({ quote })));
  assert.deepEqual(texts.map(goQuote), answers.map(({ text }) => text));
});
