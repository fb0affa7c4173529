import fc from "fast-check";
import { pemBlocks } from "../../lib/certs/pem_blocks.ts";
import { EXPIRED, LEAF, ROOT_1, ROOT_2 } from "../builders.ts";

/** What must never come out: the content of each private key block of {@linkcode pemTexts}, in base64. */
export const SECRET = btoa("a-private-key-that-must-stay-where-it-is");

/** Names of the certificates in `lib/certs/testdata`. */
export const CERTIFICATE_FILES: readonly string[] = [
  "all_known",
  "bmp",
  "ed25519",
  "empty_subject",
  "escaped",
  "expired",
  "latin1",
  "multi_valued",
  "negative_serial",
  "not_ca",
  "p521",
  "plain",
  "unknown_attributes",
  "v1",
];

/** DER of a certificate in `lib/certs/testdata`. */
export function certificateFile(name: string): Uint8Array<ArrayBuffer> {
  const path = new URL(`../../lib/certs/testdata/${name}.pem`, import.meta.url);
  const [block] = pemBlocks(Deno.readFileSync(path));
  if (block === undefined) throw new Error(`${name}.pem holds no PEM block`);
  return block.content;
}

const certificate = fc.constantFrom(ROOT_1, ROOT_2, LEAF, EXPIRED).map(({ pem }) => pem);

const label = fc.oneof(
  { weight: 6, arbitrary: fc.constant("CERTIFICATE") },
  {
    weight: 2,
    arbitrary: fc.constantFrom("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "TRUSTED CERTIFICATE"),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "",
      "X509 CERTIFICATE",
      "certificate",
      "A:B",
      "-----",
      "CERTIFICATE-----",
      " CERTIFICATE",
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 12, unit: "binary" }) },
);

/** Lines, and parts of lines, that mean something in PEM or nearly do. */
const line = fc.oneof(
  { weight: 4, arbitrary: label.map((name) => `-----BEGIN ${name}-----`) },
  { weight: 4, arbitrary: label.map((name) => `-----END ${name}-----`) },
  { weight: 3, arbitrary: fc.base64String({ maxLength: 72 }) },
  { weight: 3, arbitrary: certificate },
  { weight: 2, arbitrary: certificate.map((pem) => pem.split("\n").slice(1, -1).join("\n")) },
  { weight: 1, arbitrary: fc.constantFrom("Proc-Type: 4,ENCRYPTED", "a:", ":", "x:y:z", "# a comment") },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----`,
      `-----BEGIN CERTIFICATE-----\n${SECRET}\n-----END CERTIFICATE-----`,
      SECRET,
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("-----BEGIN ", "-----END ", "-----", "----", "\ufeff", "\0", "=", "===="),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 20, unit: "binary" }) },
);

const separator = fc.oneof(
  { weight: 8, arbitrary: fc.constant("\n") },
  { weight: 2, arbitrary: fc.constantFrom("\r\n", " \n", "\t\r\n", "\n\n", "\n \n") },
  { weight: 1, arbitrary: fc.constantFrom("", " ", "\r", "\f", "\v", "\u2028") },
);

/** Texts that are PEM, nearly PEM, or made of its parts in some order. */
export const pemTexts: fc.Arbitrary<string> = fc.array(fc.tuple(line, separator), { maxLength: 14 })
  .map((lines) => lines.flat().join(""));

/** A place in something, from 0 to 1. Without a bias to the ends, where damage is noticed at once. */
const anywhere = fc.noBias(fc.nat(99_999)).map((place) => place / 100_000);

/** Certificates with some bits flipped, octets replaced, inserted or removed, or the end cut off. */
export const damagedCertificates: fc.Arbitrary<Uint8Array<ArrayBuffer>> = fc.tuple(
  fc.constantFrom(...CERTIFICATE_FILES),
  fc.array(
    fc.record({
      kind: fc.constantFrom("flip", "flip", "replace", "insert", "remove", "cut", "repeat"),
      at: anywhere,
      octet: fc.oneof(
        fc.nat(255),
        fc.constantFrom(0, 1, 0x30, 0x31, 0x7f, 0x80, 0x81, 0x82, 0xa0, 0xa3, 0xff),
      ),
    }),
    { minLength: 1, maxLength: 3 },
  ),
).map(([name, damages]) => {
  let octets = [...certificateFile(name)];
  for (const { kind, at, octet } of damages) {
    const index = Math.floor(at * octets.length);
    const old = octets[index] ?? 0;
    switch (kind) {
      case "flip":
        octets[index] = old ^ (1 << (octet % 8));
        break;
      case "replace":
        octets[index] = octet;
        break;
      case "insert":
        octets.splice(index, 0, octet);
        break;
      case "remove":
        octets.splice(index, 1);
        break;
      case "cut":
        octets = octets.slice(0, index);
        break;
      case "repeat":
        octets.splice(index, 0, ...octets.slice(index, index + octet));
    }
  }
  return new Uint8Array(octets);
});
