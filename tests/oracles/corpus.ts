import { DerReader, encodeElement, Tag } from "../../lib/certs/der.ts";
import { parseCertificate } from "../../lib/certs/parse_certificate.ts";
import { pemOf } from "../../lib/certs/pem_of.ts";

/** A certificate of the corpus. */
export interface Sample {
  readonly name: string;
  readonly der: Uint8Array<ArrayBuffer>;
}

/** The PEM bundle of this machine's CA certificates. */
export const SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt";

/** Random numbers that are the same in each run (mulberry32): `next(n)` is one of 0 to n - 1. */
export function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * below);
  };
}

/** DER of one element. */
export function tlv(tag: number, ...content: (Uint8Array | readonly number[])[]): Uint8Array<ArrayBuffer> {
  return encodeElement(tag, concat(content));
}

/** The parts one after the other. */
export function concat(parts: readonly (Uint8Array | readonly number[])[]): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

/** The same certificate with other parts of its TBSCertificate (in order: version, serial, …); its signature does not fit. */
export function patched(
  der: Uint8Array<ArrayBuffer>,
  change: (parts: Uint8Array[]) => (Uint8Array | readonly number[])[],
): Uint8Array<ArrayBuffer> {
  const [body, ...rest] = elements(der);
  if (body === undefined) throw new Error("Certificate has no body");
  return tlv(Tag.sequence, tlv(Tag.sequence, ...change(elements(body))), ...rest);
}

function elements(encoded: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const content = new DerReader(encoded).readAny()?.content;
  const result: Uint8Array<ArrayBuffer>[] = [];
  while (content !== undefined && !content.empty) {
    const element = content.readEncoded();
    if (element === undefined) throw new Error("Certificate is not DER");
    result.push(element);
  }
  return result;
}

/**
 * Certificates that are odd in their subject, key, version or extensions, made by openssl. Keys are new in each run, so hashes
 * differ too; what must hold does not depend on them.
 *
 * @throws if openssl is not installed or fails.
 */
export async function oddCertificates(): Promise<Sample[]> {
  const folder = await Deno.makeTempDir();
  try {
    const samples: Sample[] = [];
    for (const [name, recipe] of Object.entries(RECIPES)) {
      samples.push({ name, der: await makeCertificate(folder, recipe) });
    }
    const [plain] = samples;
    if (plain === undefined) throw new Error("No recipes");
    return [...samples, ...patchedCertificates(plain.der)];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** How openssl is to make a certificate. */
export interface Recipe {
  /** Lines of `[dn]` in the configuration. */
  readonly subject?: string;
  /** Lines of `[ext]`. */
  readonly extensions?: string;
  /** Arguments of `openssl req` for the key; default P-256. */
  readonly key?: readonly string[];
  /** More arguments. */
  readonly arguments?: readonly string[];
  /** Lines of `[req]`. */
  readonly settings?: string;
}

const P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const SUBJECT = "O = Example\nCN = Example Root";
const CA =
  "basicConstraints = critical, CA:true\nsubjectKeyIdentifier = hash\nkeyUsage = critical, keyCertSign, cRLSign";

const RECIPES: Readonly<Record<string, Recipe>> = {
  "plain": {},
  "Latin-1 subject": { subject: "C = DE\nO = Müller & Söhne\nCN = Größe", settings: "string_mask = MASK:4" },
  "BMP subject": { subject: "O = Ünïcode\nCN = Ωmega", settings: "string_mask = MASK:2048" },
  "UTF-8 subject": { subject: "O = 日本\nCN = 😀 root", settings: "string_mask = utf8only" },
  "letters with odd cases": { subject: "O = İΑΣ ẞǅ\nCN = ΣΑΣ", settings: "string_mask = utf8only" },
  "multi-valued subject": {
    subject: "C = DE\nO = One\n+OU = Two\n1.OU = Three\n2.OU = Four\nCN = First\n1.CN = Last",
  },
  "all known attributes": {
    subject:
      "CN = Name\nserialNumber = 12-34\nstreet = Long Street 1\npostalCode = 12345\nL = Town\nST = Land\nC = DE\nO = Firm\nOU = Part",
  },
  "unknown attributes": {
    subject:
      "CN = Name\n0.1.3.6.1.4.1.99999.7 = odd\n0.1.2.3.4.5 = Süß\ndomainComponent = example\nemailAddress = a@b.example\n0.1.2.3.4 = star*",
  },
  "long unknown attribute": { subject: `CN = Name\n0.1.2.3.4.5 = ${"x".repeat(300)}` },
  "characters to escape": {
    subject: 'O = \\ a\\, b+c<d>e\\;f\\\\g\\"h \nOU = \\#hash\nCN = \\#hash\nL = a=b',
  },
  "empty subject": { subject: "", arguments: ["-subj", "/"] },
  "Ed25519": { key: ["-newkey", "ed25519"] },
  "Ed448": { key: ["-newkey", "ed448"] },
  "P-224": { key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-224"] },
  "P-384": { key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"] },
  "P-521": { key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"] },
  "secp256k1": { key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"] },
  "explicit curve": { key: [...P256, "-pkeyopt", "ec_param_enc:explicit"] },
  "RSA": { key: ["-newkey", "rsa:2048"] },
  "RSA-PSS": { key: ["-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"] },
  "not a CA": { extensions: "basicConstraints = CA:false" },
  "no basic constraints": { extensions: "keyUsage = digitalSignature" },
  "path length": { extensions: "basicConstraints = critical, CA:true, pathlen:3" },
  "huge extension": { extensions: `${CA}\n1.2.3.4.5 = ASN1:UTF8String:${"y".repeat(60_000)}` },
  "unknown critical extension": { extensions: `${CA}\n1.2.3.4.5 = critical, DER:0500` },
  "name constraints": {
    extensions:
      `${CA}\nnameConstraints = critical, permitted;DNS:.example.com, permitted;email:user@example.com, ` +
      "permitted;email:.example.com, permitted;IP:10.0.0.0/255.0.0.0, excluded;URI:.example.net, excluded;DNS:a.example",
  },
  "alternative names": {
    extensions:
      `${CA}\nsubjectAltName = DNS:example.com, email:a@b.example, IP:127.0.0.1, IP:::1, URI:https://example.com/a%20b`,
  },
  "odd URIs": {
    extensions: `${CA}\nsubjectAltName = URI:urn:a:b, URI:http://user@host:80/x?y#z, URI:ldap://[\\:\\:1]/x`,
  },
  "many extensions": {
    extensions: `${CA}\nauthorityKeyIdentifier = keyid, issuer\nextendedKeyUsage = serverAuth, 1.2.3.4\n` +
      "certificatePolicies = 1.2.3.4, 2.5.29.32.0\ncrlDistributionPoints = URI:http://example.com/crl\n" +
      "authorityInfoAccess = OCSP;URI:http://example.com, caIssuers;URI:http://example.com/ca\n" +
      "policyConstraints = requireExplicitPolicy:3, inhibitPolicyMapping:1\ninhibitAnyPolicy = 2\npolicyMappings = 1.2.3:1.2.4",
  },
};

/**
 * Makes a self-signed certificate; its key stays in `folder`, in the file `key`.
 *
 * @throws if openssl is not installed or fails.
 */
export async function makeCertificate(folder: string, recipe: Recipe = {}): Promise<Uint8Array<ArrayBuffer>> {
  await Deno.writeTextFile(
    `${folder}/openssl.cnf`,
    `[req]\ndistinguished_name = dn\nx509_extensions = ext\nprompt = no\nutf8 = yes\n${
      recipe.settings ?? ""
    }\n` +
      `[dn]\n${recipe.subject ?? SUBJECT}\n[ext]\n${recipe.extensions ?? CA}\n`,
  );
  const { code, stderr } = await run("openssl", [
    ...["req", "-x509", "-config", `${folder}/openssl.cnf`, "-nodes", "-keyout", `${folder}/key`],
    ...["-outform", "DER", "-out", `${folder}/certificate`, "-utf8"],
    ...(recipe.key ?? P256),
    ...(recipe.arguments ?? []),
  ]);
  if (code !== 0) throw new Error(`openssl cannot make a certificate: ${stderr}`);
  return await Deno.readFile(`${folder}/certificate`);
}

/** A certificate for `localhost` (PEM), its key (PEM), and the root that issued it (DER). */
export async function makeServerCertificate(
  folder: string,
): Promise<{ root: Uint8Array<ArrayBuffer>; certificate: string; key: string }> {
  const root = await makeCertificate(folder, { subject: "CN = Root of the test server" });
  await Deno.rename(`${folder}/key`, `${folder}/root-key`);
  await Deno.rename(`${folder}/certificate`, `${folder}/root`);
  const leaf = await makeCertificate(folder, {
    subject: "CN = localhost",
    extensions:
      "basicConstraints = CA:false\nsubjectAltName = DNS:localhost, IP:127.0.0.1\nextendedKeyUsage = serverAuth",
    arguments: ["-CA", `${folder}/root`, "-CAkey", `${folder}/root-key`],
  });
  return {
    root,
    certificate: pemOf([parseCertificate(leaf)]),
    key: await Deno.readTextFile(`${folder}/key`),
  };
}

/**
 * Runs a program to its end.
 *
 * @throws if it is not installed.
 */
export async function run(
  program: string,
  args: readonly string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args] }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

/** Certificates that openssl does not make: DER changed by hand. */
function patchedCertificates(plain: Uint8Array<ArrayBuffer>): Sample[] {
  const ascii = (text: string) => new TextEncoder().encode(text);
  const validity = (tag: number, notBefore: string, notAfter: string) =>
    patched(
      plain,
      (parts) =>
        parts.map((part, i) =>
          i === 4 ? tlv(Tag.sequence, tlv(tag, ascii(notBefore)), tlv(tag, ascii(notAfter))) : part
        ),
    );
  const serial = (...octets: number[]) =>
    patched(plain, (parts) => parts.map((part, i) => i === 1 ? tlv(Tag.integer, octets) : part));
  const version = (...octets: number[]) =>
    patched(plain, (parts) => parts.map((part, i) => i === 0 ? tlv(0xa0, tlv(Tag.integer, octets)) : part));
  const subject = (tag: number, ...octets: number[]) =>
    patched(
      plain,
      (parts) =>
        parts.map((part, i) =>
          i === 5
            ? tlv(Tag.sequence, tlv(Tag.set, tlv(Tag.sequence, [6, 3, 0x55, 4, 3], tlv(tag, octets))))
            : part
        ),
    );
  const extensions = (...items: Uint8Array[]) =>
    patched(plain, (parts) => [...parts.slice(0, 7), tlv(0xa3, tlv(Tag.sequence, ...items))]);
  const extension = (id: number[], value: Uint8Array | number[], critical?: number[]) =>
    tlv(Tag.sequence, tlv(Tag.objectIdentifier, id), critical ?? [], tlv(Tag.octetString, value));
  const names = (tag: number, value: string) =>
    extension([0x55, 29, 17], tlv(Tag.sequence, tlv(tag, ascii(value))));
  const constraints = (tag: number, value: string | number[]) =>
    extension(
      [0x55, 29, 30],
      tlv(
        Tag.sequence,
        tlv(0xa0, tlv(Tag.sequence, tlv(tag, typeof value === "string" ? ascii(value) : value))),
      ),
    );
  return [
    { name: "v1", der: patched(plain, (parts) => parts.slice(1, 7)) },
    { name: "v1 with extensions", der: patched(plain, (parts) => parts.slice(1)) },
    { name: "v2", der: version(1) },
    {
      name: "v2 with unique ids",
      der: patched(plain, (p) => [[0xa0, 3, 2, 1, 1], ...p.slice(1, 7), [0x81, 2, 0, 1], [0x82, 2, 0, 1]]),
    },
    { name: "v3 without extensions", der: patched(plain, (parts) => parts.slice(0, 7)) },
    ...[[3], [0xff], [0, 2], [1, 0, 0, 0, 0, 0, 0, 0, 0]].map((v) => ({
      name: `version ${v}`,
      der: version(...v),
    })),
    ...[[0xff], [0x80], [0], [0, 0x80], [0, 1], [0xff, 0x80], []].map((s) => ({
      name: `serial ${s}`,
      der: serial(...s),
    })),
    ...UTC_TIMES.map((time) => ({
      name: `UTCTime ${time}`,
      der: validity(Tag.utcTime, "700101000000Z", time),
    })),
    ...GENERALIZED_TIMES.map((time) => ({
      name: `GeneralizedTime ${time}`,
      der: validity(Tag.generalizedTime, time, "20500101000000Z"),
    })),
    { name: "other time type", der: validity(Tag.printableString, "700101000000Z", "700101000000Z") },
    ...[
      [Tag.bmpString, 0, 0x41, 0, 0x42, 0, 0],
      [Tag.bmpString, 0, 0x41, 0],
      [Tag.bmpString, 0xd8, 0x3d, 0xde, 0],
      [Tag.bmpString, 0xff, 0xfe],
      [Tag.bmpString, 0xfe, 0xff, 0, 0x41],
      [Tag.bmpString, 0, 0, 0, 0],
      [Tag.t61String, 0x41, 0xe4, 0x80],
      [Tag.utf8String, 0xc3, 0x28],
      [Tag.utf8String, 0xef, 0xbb, 0xbf, 0x41],
      [Tag.utf8String, 0xed, 0xa0, 0x80],
      [Tag.utf8String, 0x41, 0, 0x0a],
      [Tag.utf8String],
      [Tag.printableString, 0x40],
      [Tag.printableString, 0x2a, 0x26],
      [Tag.printableString, 0x20],
      [Tag.printableString, 0x23, 0x20, 0x20],
      [Tag.ia5String, 0x40, 0x7f],
      [Tag.ia5String, 0x80],
      [Tag.numericString, 0x31, 0x20],
      [Tag.numericString, 0x41],
      [0x1c, 0, 0, 0, 0x41],
      [0x1a, 0x41],
    ].map(([tag = 0, ...octets]) => ({ name: `subject of ${tag}: ${octets}`, der: subject(tag, ...octets) })),
    { name: "trailing data", der: concat([plain, [0]]) },
    { name: "in a longer SEQUENCE", der: tlv(Tag.sequence, plain) },
    { name: "empty", der: new Uint8Array([0x30, 0]) },
    { name: "twice the same extension", der: extensions(extension([42], [5, 0]), extension([42], [])) },
    { name: "critical AKI", der: extensions(extension([0x55, 29, 35], [0x30, 0], [1, 1, 0xff])) },
    { name: "critical SKI", der: extensions(extension([0x55, 29, 14], [4, 0], [1, 1, 0xff])) },
    {
      name: "critical AIA",
      der: extensions(extension([0x2b, 6, 1, 5, 5, 7, 1, 1], [0x30, 0], [1, 1, 0xff])),
    },
    { name: "odd boolean", der: extensions(extension([42], [], [1, 1, 1])) },
    { name: "boolean false", der: extensions(extension([42], [], [1, 1, 0])) },
    { name: "no extensions at all", der: extensions() },
    ...[14, 15, 17, 19, 30, 31, 32, 33, 35, 36, 37, 54].flatMap((id) =>
      ODD_VALUES.map((value) => ({
        name: `extension ${id}: ${value}`,
        der: extensions(extension([0x55, 29, id], value)),
      }))
    ),
    ...ODD_VALUES.map((value) => ({
      name: `AIA: ${value}`,
      der: extensions(extension([0x2b, 6, 1, 5, 5, 7, 1, 1], value)),
    })),
    ...URIS.map((uri) => ({ name: `URI ${uri}`, der: extensions(names(0x86, uri)) })),
    ...["ä", "a.example", "..", ""].flatMap((text) => [
      { name: `email ${text}`, der: extensions(names(0x81, text)) },
      { name: `DNS ${text}`, der: extensions(names(0x82, text)) },
      { name: `IP ${text}`, der: extensions(names(0x87, text)) },
      { name: `other name ${text}`, der: extensions(names(0xa0, text)) },
    ]),
    ...DOMAINS.flatMap((text) =>
      [0x81, 0x82, 0x86].map((tag) => ({
        name: `constraint ${tag} ${text}`,
        der: extensions(constraints(tag, text)),
      }))
    ),
    ...[
      [1, 2, 3, 4, 255, 255, 0, 0],
      [1, 2, 3, 4, 255, 0, 255, 0],
      [1, 2, 3, 4, 254, 0, 0, 0],
      [1, 2, 3, 4, 253, 0, 0, 0],
      [
        1,
        2,
        3,
      ],
      [1, 2, 3, 4, 0, 0, 0, 0],
      [1, 2, 3, 4, 255, 255, 255, 255],
    ]
      .map((octets) => ({ name: `IP constraint ${octets}`, der: extensions(constraints(0x87, octets)) })),
  ];
}

const UTC_TIMES = [
  "490101000000Z",
  "500101000000Z",
  "680229000000Z",
  "690228235959Z",
  "990101000000+0100",
  "990101000000-2400",
  "990101000000+2401",
  "990101000000+2500",
  "990101000000+0060",
  "990101000000+0000",
  "990101000000-0000",
  "990101000000",
  "9901010000Z",
  "9901010000+0100",
  "990101000060Z",
  "990101240000Z",
  "990101006000Z",
  "990229000000Z",
  "000229000000Z",
  "520229000000Z",
  "991301000000Z",
  "990001000000Z",
  "990100000000Z",
  "990132000000Z",
  "990101000000.5Z",
  "990101000000z",
  " 90101000000Z",
  "99010100000Z",
  "",
];

const GENERALIZED_TIMES = [
  "00000101000000Z",
  "00500101000000Z",
  "19991231235959Z",
  "19000229000000Z",
  "20000229000000Z",
  "99991231235959Z",
  "99991231235959-2400",
  "20000101000000+0530",
  "20000101000000.1Z",
  "200001010000Z",
  "20000101000000",
  "-0000101000000Z",
  "",
];

const ODD_VALUES = [
  [],
  [0x30, 0],
  [0x04, 0],
  [0x03, 2, 1, 6],
  [0x03, 2, 1, 7],
  [0x03, 1, 0],
  [0x03, 1, 1],
  [0x03, 0],
  [0x03, 2, 8, 0],
  [0x02, 1, 1],
  [0x02, 1, 0xff],
  [0x02, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
  [0x30, 3, 1, 1, 0xff],
  [0x30, 3, 1, 1, 1],
  [0x30, 3, 2, 1, 0xff],
  [0x30, 3, 2, 1, 5],
  [0x30, 6, 1, 1, 0xff, 2, 1, 0],
  [0x30, 11, 2, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
  [0x30, 0, 0],
  [0x30, 0x80, 0, 0],
  [0x30, 0x81, 0],
  [0x30, 2, 0x30, 0],
  [0x30, 3, 0x80, 1, 1],
  [0x30, 3, 0x81, 1, 0xff],
  [0x30, 4, 0x80, 2, 0, 1],
  [0x30, 2, 0xa0, 0],
  [0x30, 4, 0x30, 2, 6, 0],
  [0x30, 5, 0x30, 3, 6, 1, 42],
  [0x30, 10, 0x30, 3, 6, 1, 42, 0x30, 3, 6, 1, 42],
  [0x30, 5, 0x30, 3, 6, 1, 0x80],
  [0x30, 8, 0x30, 6, 6, 1, 42, 6, 1, 43],
  [0x30, 3, 6, 1, 42],
  [0x30, 8, 6, 6, 42, 0x88, 0x80, 0x80, 0x80, 0],
  [0x30, 8, 6, 6, 42, 0x87, 0xff, 0xff, 0xff, 0x7f],
  [0x30, 4, 0x30, 2, 0xa0, 0],
  [0x30, 6, 0x30, 4, 0xa0, 2, 0xa0, 0],
  [0x30, 8, 0x30, 6, 0xa0, 4, 0xa0, 2, 0x86, 0],
  [0x30, 8, 0x30, 6, 0xa0, 4, 0xa0, 2, 0x86, 1],
  [0x30, 7, 0x30, 5, 6, 1, 42, 0x86, 0],
  [0x30, 7, 0x30, 5, 6, 1, 42, 0x86, 1],
  [0x30, 4, 0xa0, 2, 0x30, 0],
  [0x30, 4, 0xa1, 2, 0x30, 0],
  [0x30, 6, 0xa0, 4, 0x30, 2, 0x82, 0],
  [0x30, 6, 0xa0, 4, 0x30, 2, 0x88, 0],
  [0x30, 2, 0x1f, 0],
];

const URIS = [
  "",
  "*",
  ":",
  "a",
  "a:b",
  "a/b:c",
  "1a:b",
  "é",
  "http://",
  "http://host",
  "http://host.",
  "http://.host",
  "http://a..b",
  "http://host:80",
  "http://host:8a",
  "http://host:",
  "http://a:1:2",
  "ldap://a:1:2",
  "ldap://a:1:x",
  "http://user:pass@host/",
  "http://us er@host/",
  "http://a@b@host/",
  "http://a%zz@host/",
  "http://a:%z@host/",
  "http://ho st/",
  "http://ho%20st/",
  "http://ho%25st/",
  "http://ho%c3%a9st/",
  "http://host/%zz",
  "http://host/%4",
  "http://host/a b",
  "http://host/?%zz",
  "http://host/#%zz",
  "http://host/#%41",
  "http://host?x",
  "http://[::1]",
  "http://[::1]:80",
  "http://[::1]:x",
  "http://[::1",
  "http://[::1%25en0]/",
  "http://[::1%25]/",
  "http://[::1%25%20]/",
  "http://[1.2.3.4]/",
  "http://[::ffff:1.2.3.4]/",
  "http://[x]/",
  "http://a[::1]/",
  "///path",
  "//host./x",
  "a\tb",
  "mailto:a@b",
  "http:///x",
  "HTTP://host/",
  "http://ho`st/",
  "http://ho<st/",
  "?:a",
];

const DOMAINS = [
  "",
  ".",
  "..",
  ".a",
  "a.",
  "a..b",
  "a b",
  "ä",
  "a.example",
  "1.2.3.4",
  "01.2.3.4",
  "::1",
  "1::2:3.4.5.6",
  "::1%lo",
  ":::",
  "1:2:3:4:5:6:7:8",
  "1:2:3:4:5:6:7::",
  "a@b",
  "a@",
  "@b",
  "@",
  "a@b.",
  "a@.b",
  ".a@b",
  "a.@b",
  "a..b@c",
  "a@b@c",
  '"a b"@c',
  '"a\\"b"@c',
  '"a@c',
  '""@c',
  "a\\ b@c",
  "a\\@b",
  "a(b)@c",
];
