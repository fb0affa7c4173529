/**
 * Measures what this product, Go and OpenSSL make of certificates that are odd or broken, as the table of docs/certificates.md.
 * Run by itself, it writes the table there.
 */
import { Tag } from "../../lib/certs/der.ts";
import { parseCertificate } from "../../lib/certs/parse_certificate.ts";
import { readPem } from "../../lib/certs/pem.ts";
import { ROOT } from "../project_files.ts";
import { concat, makeCertificate, patched, type Recipe, run, type Sample, tlv } from "./corpus.ts";
import { askOracle } from "./oracle.ts";

/** A text of PEM, or of what should be. */
interface Text {
  readonly name: string;
  readonly pem: Uint8Array<ArrayBuffer>;
}

const DOCUMENT = `${ROOT}/docs/certificates.md`;
const [BEGIN, END] = ["<!-- measured -->", "<!-- end of what is measured -->"];

/** The part of the document that is measured. */
export async function documentedTable(): Promise<string> {
  const document = await Deno.readTextFile(DOCUMENT);
  return document.slice(document.indexOf(BEGIN) + BEGIN.length, document.indexOf(END)).trim();
}

/**
 * Measures.
 *
 * @throws if openssl or Go are not installed.
 */
export async function measuredTable(): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    const { certificates, texts } = await samples(folder);
    const answers = await askOracle(certificates.map(({ der }) => ({ certificate: der })));
    const { stdout } = await run("openssl", ["version"]);
    const [version = ""] = /OpenSSL \d+\.\d+/.exec(stdout) ?? [];
    const rows = [
      `Measured with Go 1.26 and ${version}.`,
      "",
      "## Single certificates",
      "",
      "| Certificate | This product | Go | OpenSSL |",
      "| --- | --- | --- | --- |",
    ];
    for (const [i, { name, der }] of certificates.entries()) {
      const openssl = await opensslReads(folder, der, ["x509", "-inform", "DER", "-noout", "-in"]);
      rows.push(
        row(name, verdict(ours(der)), verdict(answers[i]?.error), openssl.code === 0 ? "taken" : "refused"),
      );
    }
    rows.push(
      "",
      "## Texts",
      "",
      "| Text | This product | The Go project | OpenSSL |",
      "| --- | --- | --- | --- |",
    );
    const readings = await askOracle(texts);
    for (const [i, { name, pem }] of texts.entries()) {
      const { error, text = "" } = readings[i] ?? {};
      const openssl = await opensslReads(folder, pem, ["storeutl", "-noout", "-certs"]);
      const found = /Total found: (\d+)/.exec(openssl.stdout)?.[1] ?? "0";
      rows.push(
        row(
          name,
          oursOfText(pem),
          error === undefined ? count(text.split("BEGIN").length - 1) : verdict(error),
          count(Number(found)),
        ),
      );
    }
    return rows.join("\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function row(...cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function verdict(error: string | undefined): string {
  return error === undefined ? "taken" : `refused: ${error}`;
}

function count(certificates: number): string {
  return certificates === 0 ? "none found" : `${certificates} taken`;
}

function ours(der: Uint8Array<ArrayBuffer>): string | undefined {
  try {
    parseCertificate(der);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function oursOfText(pem: Uint8Array<ArrayBuffer>): string {
  const result = readPem(pem);
  if (!result.ok) return verdict(result.error);
  const { brokenBlocks, certificates: known } = result.skipped;
  const different = new Set(result.certificates.map(({ sha256 }) => sha256)).size;
  const skipped = brokenBlocks + known.length;
  return count(different) + (skipped === 0 ? "" : `, ${skipped} skipped with a warning`);
}

async function opensslReads(folder: string, input: Uint8Array, args: readonly string[]) {
  await Deno.writeFile(`${folder}/input`, input);
  return await run("openssl", [...args, `${folder}/input`]);
}

const ascii = (text: string) => new TextEncoder().encode(text);

async function samples(folder: string): Promise<{ certificates: Sample[]; texts: Text[] }> {
  const made = (recipe: Recipe = {}) => makeCertificate(folder, recipe);
  const plain = await made();
  const part = (index: number, value: Uint8Array | readonly number[]) =>
    patched(plain, (parts) => parts.map((old, i) => i === index ? value : old));
  const serial = (...octets: number[]) => part(1, tlv(Tag.integer, octets));
  const validity = (tag: number, from: string, to: string) =>
    part(4, tlv(Tag.sequence, tlv(tag, ascii(from)), tlv(tag, ascii(to))));
  const subject = (tag: number, value: Uint8Array | readonly number[]) =>
    part(5, tlv(Tag.sequence, tlv(Tag.set, tlv(Tag.sequence, [6, 3, 0x55, 4, 3], tlv(tag, value)))));
  const extensions = (...items: Uint8Array[]) =>
    patched(plain, (parts) => [...parts.slice(0, 7), tlv(0xa3, tlv(Tag.sequence, ...items))]);
  const extension = (
    id: readonly number[],
    value: readonly number[] | Uint8Array,
    critical: readonly number[] = [],
  ) => tlv(Tag.sequence, tlv(Tag.objectIdentifier, id), critical, tlv(Tag.octetString, value));
  const rsaKey = (bits: number) => {
    const modulus = new Uint8Array(bits / 8 + 1).fill(0xa5, 1);
    const key = tlv(Tag.sequence, tlv(Tag.integer, modulus), [2, 3, 1, 0, 1]);
    const rsa = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
    return part(6, tlv(Tag.sequence, rsa, tlv(Tag.bitString, [0], key)));
  };
  /** The signature algorithm is changed inside and outside; the signature does not fit. */
  const signedWith = (last: number) => {
    const algorithm = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, last, 5, 0];
    const [body = plain, , signature = plain] = partsOf(part(2, algorithm));
    return tlv(Tag.sequence, body, algorithm, signature);
  };
  const [body = plain, algorithm = plain, signature = plain] = partsOf(plain);
  const content = concat([body, algorithm, signature]);

  const certificates: Sample[] = [
    { name: "an ordinary root", der: plain },
    { name: "serial number negative", der: serial(0xff) },
    { name: "serial number zero", der: serial(0) },
    { name: "serial number of 20 octets", der: serial(0x7f, ...Array(19).fill(1)) },
    { name: "serial number of 21 octets", der: serial(0x7f, ...Array(20).fill(1)) },
    { name: "serial number of 1,000 octets", der: serial(0x7f, ...Array(999).fill(1)) },
    { name: "serial number with a needless zero", der: serial(0, 1) },
    { name: "version 1", der: patched(plain, (parts) => parts.slice(1, 7)) },
    { name: "version 1 with extensions", der: patched(plain, (parts) => parts.slice(1)) },
    { name: "version 2", der: part(0, [0xa0, 3, 2, 1, 1]) },
    { name: "version 4", der: part(0, [0xa0, 3, 2, 1, 3]) },
    { name: "version 2^63", der: part(0, [0xa0, 10, 2, 8, 0x7f, ...Array(7).fill(0xff)]) },
    {
      name: "subject in Latin-1 (TeletexString)",
      der: await made({ subject: "O = Müller\nCN = Größe", settings: "string_mask = MASK:4" }),
    },
    {
      name: "subject in T.61, with an octet that is no Latin-1 letter",
      der: subject(Tag.t61String, [0x41, 0xe4, 0x80]),
    },
    {
      name: "subject in UCS-2 (BMPString)",
      der: await made({ subject: "CN = Ωmega", settings: "string_mask = MASK:2048" }),
    },
    { name: "subject in UCS-2, half a character", der: subject(Tag.bmpString, [0, 0x41, 0]) },
    { name: "subject in UCS-4 (UniversalString)", der: subject(0x1c, [0, 0, 0, 0x41]) },
    {
      name: "subject in UTF-8",
      der: await made({ subject: "CN = 日本", settings: "string_mask = utf8only" }),
    },
    { name: "subject in UTF-8 that is broken", der: subject(Tag.utf8String, [0xc3, 0x28]) },
    { name: "subject with an @ in a PrintableString", der: subject(Tag.printableString, ascii("a@b")) },
    {
      name: "subject with an asterisk in a PrintableString",
      der: subject(Tag.printableString, ascii("*.example")),
    },
    { name: "subject empty", der: await made({ subject: "", arguments: ["-subj", "/"] }) },
    { name: "subject of 60,000 characters", der: subject(Tag.utf8String, new Uint8Array(60_000).fill(0x78)) },
    { name: "expired", der: validity(Tag.utcTime, "700101000000Z", "710101000000Z") },
    { name: "not valid yet", der: validity(Tag.generalizedTime, "20900101000000Z", "20910101000000Z") },
    { name: "ends before it begins", der: validity(Tag.utcTime, "200101000000Z", "190101000000Z") },
    {
      name: "valid for ever (99991231235959Z)",
      der: validity(Tag.generalizedTime, "20200101000000Z", "99991231235959Z"),
    },
    { name: "time without seconds", der: validity(Tag.utcTime, "2001010000Z", "4001010000Z") },
    { name: "time with an offset", der: validity(Tag.utcTime, "200101000000+0100", "400101000000+0100") },
    {
      name: "time with fractions",
      der: validity(Tag.generalizedTime, "20200101000000.5Z", "20400101000000.5Z"),
    },
    { name: "30 February", der: validity(Tag.utcTime, "200230000000Z", "400101000000Z") },
    { name: "time that is none", der: validity(Tag.utcTime, "yesterday", "tomorrow") },
    { name: "signed with SHA-1", der: signedWith(5) },
    { name: "signed with MD5", der: signedWith(4) },
    { name: "signed with MD2", der: signedWith(2) },
    { name: "signature algorithm unknown", der: signedWith(99) },
    {
      name: "signature algorithm differs inside and outside",
      der: tlv(Tag.sequence, body, tlv(Tag.sequence, [6, 1, 42]), signature),
    },
    { name: "signature that does not fit", der: serial(5) },
    { name: "Ed25519", der: await made({ key: ["-newkey", "ed25519"] }) },
    { name: "Ed448", der: await made({ key: ["-newkey", "ed448"] }) },
    { name: "EC, P-521", der: await made({ key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"] }) },
    {
      name: "EC, secp256k1",
      der: await made({ key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"] }),
    },
    {
      name: "EC with explicit parameters",
      der: await made({
        key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"],
      }),
    },
    { name: "EC, a point that is not on the curve", der: part(6, ecKey(new Uint8Array(64).fill(1))) },
    { name: "RSA, 512 bits", der: rsaKey(512) },
    { name: "RSA, 16,384 bits", der: rsaKey(16_384) },
    { name: "RSA-PSS", der: await made({ key: ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"] }) },
    {
      name: "key of an unknown algorithm",
      der: part(6, tlv(Tag.sequence, tlv(Tag.sequence, [6, 1, 42]), tlv(Tag.bitString, [0, 1, 2]))),
    },
    { name: "no CA", der: await made({ extensions: "basicConstraints = CA:false" }) },
    { name: "no basic constraints", der: await made({ extensions: "keyUsage = digitalSignature" }) },
    {
      name: "path length negative",
      der: extensions(extension([0x55, 29, 19], [0x30, 6, 1, 1, 0xff, 2, 1, 0xff])),
    },
    { name: "extension of 60,000 octets", der: extensions(extension([42, 3], new Uint8Array(60_000))) },
    {
      name: "the same extension twice",
      der: extensions(extension([42, 3], [5, 0]), extension([42, 3], [5, 0])),
    },
    {
      name: "critical extension that nobody knows",
      der: extensions(extension([42, 3], [5, 0], [1, 1, 0xff])),
    },
    {
      name: "authority key identifier critical",
      der: extensions(extension([0x55, 29, 35], [0x30, 0], [1, 1, 0xff])),
    },
    { name: "Boolean that is neither 00 nor FF", der: extensions(extension([42, 3], [5, 0], [1, 1, 1])) },
    { name: "Boolean that says the default", der: extensions(extension([42, 3], [5, 0], [1, 1, 0])) },
    { name: "no extensions in the list of extensions", der: extensions() },
    {
      name: "name constraint with a torn IP mask",
      der: extensions(
        extension([0x55, 29, 30], [0x30, 14, 0xa0, 12, 0x30, 10, 0x87, 8, 10, 0, 0, 0, 255, 0, 255, 0]),
      ),
    },
    {
      name: "alternative name with a URI that is none",
      der: extensions(extension([0x55, 29, 17], [0x30, 5, 0x86, 3, 0x3a, 0x2f, 0x2f])),
    },
    {
      name: "alternative name with an address of 5 octets",
      der: extensions(extension([0x55, 29, 17], [0x30, 7, 0x87, 5, 1, 2, 3, 4, 5])),
    },
    { name: "one octet after the certificate", der: concat([plain, [0]]) },
    { name: "one element more inside the certificate", der: tlv(Tag.sequence, content, [5, 0]) },
    { name: "one element more inside the signed part", der: patched(plain, (parts) => [...parts, [5, 0]]) },
    { name: "two certificates, one after the other", der: concat([plain, plain]) },
    { name: "indefinite length (BER)", der: concat([[0x30, 0x80], content, [0, 0]]) },
    {
      name: "length in a longer form than needed (BER)",
      der: concat([[0x30, 0x83, 0, content.length >> 8, content.length & 0xff], content]),
    },
    { name: "cut off", der: plain.slice(0, -1) },
    { name: "nothing", der: new Uint8Array() },
  ];

  const pem = (der: Uint8Array, label = "CERTIFICATE") =>
    `-----BEGIN ${label}-----\n${
      (der.toBase64().match(/.{1,64}/g) ?? []).join("\n")
    }\n-----END ${label}-----\n`;
  const one = pem(plain);
  const other = pem(serial(7));
  const key = await Deno.readTextFile(`${folder}/key`);
  const utf16 = new Uint8Array(2 * one.length + 2);
  utf16.set([0xff, 0xfe]);
  for (let i = 0; i < one.length; i++) utf16[2 * i + 2] = one.charCodeAt(i);
  const file = (name: string) => Deno.readTextFile(`${ROOT}/lib/certs/testdata/${name}.pem`);
  const texts: Record<string, string> = {
    "two certificates": one + other,
    "the same certificate twice": one + one,
    "text around and between": `# one\n${one}# two\n${other}# end\n`,
    "a private key beside": one + key,
    "a certificate in OpenSSL's trusted form": one + pem(plain, "TRUSTED CERTIFICATE"),
    "a certificate labelled X509 CERTIFICATE": pem(plain, "X509 CERTIFICATE"),
    "a label in lower case": pem(plain, "certificate"),
    "a request for a certificate": pem(plain, "CERTIFICATE REQUEST"),
    "a bag of PKCS #7": pem(plain, "PKCS7"),
    "PEM headers": one.replace("-----\n", "-----\nComment: mine\n\n"),
    "CR LF": one.replaceAll("\n", "\r\n"),
    "CR only": one.replaceAll("\n", "\r"),
    "a byte order mark": `\ufeff${one}`,
    "indented": one.replaceAll(/^/gm, "  "),
    "blanks at the ends of lines": one.replaceAll("\n", " \n"),
    "base64 in one long line": one.replaceAll(/([^-])\n(?!-)/g, "$1"),
    "base64 in lines of 76": one.replaceAll(/([^-])\n(?!-)/g, "$1").replace(/^(?!-).{76}/m, "$&\n"),
    "an empty line in the base64": one.replace("-----\n", "-----\n\n"),
    "base64 with a character that is none": `${one.replace("MII", "M!I")}${other}`,
    "no newline at the end": one.trimEnd(),
    "the END line missing": `${one.replace(/-----END.*\n/, "")}${other}`,
    "the END line of something else": `${one.replace("END C", "END X")}${other}`,
    "four dashes": one.replaceAll("-----", "----"),
    "an octet more in the base64": pem(concat([plain, [0]])),
    "an empty block": pem(new Uint8Array()),
    "one bad certificate among good ones": one + pem(serial(0xff)) + other,
    "EC-ACC, a former root with a negative serial number": `${await file("ec_acc")}${one}`,
    "nothing": "",
  };
  return {
    certificates,
    texts: [
      ...Object.entries(texts).map(([name, text]) => ({ name, pem: ascii(text) })),
      { name: "UTF-16 with a byte order mark", pem: utf16 },
      { name: "DER instead of PEM", pem: plain },
    ],
  };
}

/** The elements that a SEQUENCE holds. */
function partsOf(sequence: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const lengthAt = (at: number) => {
    const first = sequence[at + 1] ?? 0;
    if (first < 0x80) return { header: 2, length: first };
    let length = 0;
    for (let i = 0; i < (first & 0x7f); i++) length = length * 256 + (sequence[at + 2 + i] ?? 0);
    return { header: 2 + (first & 0x7f), length };
  };
  for (let at = lengthAt(0).header; at < sequence.length;) {
    const { header, length } = lengthAt(at);
    parts.push(sequence.slice(at, at + header + length));
    at += header + length;
  }
  return parts;
}

/** A public key on P-256 with that point. */
function ecKey(point: Uint8Array): Uint8Array<ArrayBuffer> {
  const algorithm = [
    0x30,
    0x13,
    6,
    7,
    0x2a,
    0x86,
    0x48,
    0xce,
    0x3d,
    2,
    1,
    6,
    8,
    0x2a,
    0x86,
    0x48,
    0xce,
    0x3d,
    3,
    1,
    7,
  ];
  return tlv(Tag.sequence, algorithm, tlv(Tag.bitString, [0, 4], point));
}

if (import.meta.main) {
  const document = await Deno.readTextFile(DOCUMENT);
  const [before, after] = [document.indexOf(BEGIN) + BEGIN.length, document.indexOf(END)];
  const table = await measuredTable();
  await Deno.writeTextFile(DOCUMENT, `${document.slice(0, before)}\n\n${table}\n\n${document.slice(after)}`);
  // The tables of documents are laid out by the formatter.
  await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", DOCUMENT] }).output();
}
