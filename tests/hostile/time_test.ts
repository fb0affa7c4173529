import assert from "node:assert/strict";
import process from "node:process";
import { readPem } from "../../lib/certs/pem.ts";
import { CertificateError } from "../../lib/certs/certificate_error.ts";
import { parseDefaultPackage } from "../../lib/certs/default_package.ts";
import { parseCertificate } from "../../lib/certs/parse_certificate.ts";
import { pemBlocks } from "../../lib/certs/pem_blocks.ts";
import { poolOf } from "../../lib/certs/pool.ts";
import { subjectOf } from "../../lib/certs/subject.ts";
import { LabelSelectorError, parseLabelSelector } from "../../lib/api/label_selector.ts";
import { ClusterConfigError } from "../../lib/kube/config.ts";
import { parseKubeconfig } from "../../lib/kube/kubeconfig.ts";
import { readNamespace } from "../../lib/records/namespace_record.ts";
import { readConfigMapSource } from "../../lib/records/source_record.ts";
import { answerBody, answerInStages } from "../../webhook/admission_handler.ts";
import { DEFAULT_LIMITS } from "../../webhook/tls_server.ts";
import { admissionWarnings, type KnownObjects } from "../../webhook/warnings.ts";
import { admissionReview } from "../admission_review.ts";
import { configMap, ROOT_1 } from "../builders.ts";
import { concat, patched, tlv } from "../oracles/corpus.ts";
import { certificateFile } from "./inputs.ts";
import { isProportional } from "./scaling.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const MEGABYTES_10 = 1e7;

/** Size bytes of `unit` again and again. */
const text = (unit: string) => (size: number) => unit.repeat(Math.ceil(size / unit.length));

const inBlock = (content: string) => `-----BEGIN CERTIFICATE-----\n${content}\n-----END CERTIFICATE-----\n`;

const pem: Record<string, (size: number) => string> = {
  "BEGINs in one line": text("-----BEGIN "),
  "BEGIN lines": text("-----BEGIN CERTIFICATE-----\n"),
  "END lines": text("\n-----END "),
  "beginnings of END lines": text("\n-----END"),
  "BEGIN and END lines that differ": text("-----BEGIN X-----\n-----END Y-----\n"),
  "long labels that differ at their end": text(
    `-----BEGIN ${"A".repeat(999)}-----\n-----END ${"A".repeat(998)}-----\n`,
  ),
  "dashes": text("-"),
  "newlines": text("\n"),
  "carriage returns": text("\r"),
  "blanks": text(" "),
  "blanks after END lines": text(`-----BEGIN X-----\nA\n-----END X-----${" ".repeat(1000)}\n`),
  "headers": (size) => `-----BEGIN X-----\n${text("a:b\n")(size)}`,
  "headers that run past END lines": text("-----BEGIN X:-----\nA:\n-----END X:-----\n"),
  "broken blocks": text(inBlock("A")),
  "tiny blocks": text(inBlock("")),
  "blocks with blanks": text(inBlock("A A A A")),
  "certificates": text(`${ROOT_1.pem}\n`),
  "one block of base64": (size) => inBlock(text("AAAA")(size)),
  "one block of short lines": (size) => inBlock(text("A\n")(size)),
  "one block of padding": (size) => inBlock(text("=")(size)),
  "one block of another alphabet": (size) => inBlock(text("-_")(size)),
  "one block with form feeds": (size) => inBlock(text("AAAA\f")(size)),
  "one block of dashes": (size) => inBlock(text("-")(size)),
  "one block without its END": (size) => `-----BEGIN CERTIFICATE-----\n${text("AAAA")(size)}`,
};

for (const [name, input] of Object.entries(pem)) {
  Deno.test(`PEM of up to 10 MB in proportional time: ${name}`, async () => {
    await isProportional((size) => bytes(input(size)), readPem, MEGABYTES_10);
  });
}

Deno.test("PEM of up to 10 MB in proportional time: each of 100,000 tiny blocks", async () => {
  const input = (size: number) => bytes(text(inBlock("MAA="))(size));
  await isProportional(input, (value) => [...pemBlocks(value)].length, MEGABYTES_10);
});

/** Octets of `unit` again and again. */
const octets = (unit: readonly number[] | string) => (size: number) => {
  const pattern = typeof unit === "string" ? bytes(unit) : unit;
  const result = new Uint8Array(Math.ceil(size / pattern.length) * pattern.length);
  for (let at = 0; at < result.length; at += pattern.length) result.set(pattern, at);
  return result;
};

const plain = certificateFile("plain");
const withPart = (index: number, part: Uint8Array) =>
  patched(plain, (parts) => parts.map((old, i) => i === index ? part : old));
const withExtensions = (...items: Uint8Array[]) =>
  patched(plain, (parts) => [...parts.slice(0, 7), tlv(0xa3, tlv(0x30, ...items))]);
const extension = (last: number, value: Uint8Array) =>
  withExtensions(tlv(0x30, tlv(6, [0x55, 29, last]), tlv(4, value)));
const subject = (tag: number, value: Uint8Array) =>
  withPart(5, tlv(0x30, tlv(0x31, tlv(0x30, [6, 3, 0x55, 4, 3], tlv(tag, value)))));
const alternativeName = (tag: number, value: Uint8Array) => extension(17, tlv(0x30, tlv(tag, value)));
const constraint = (tag: number, value: Uint8Array) =>
  extension(30, tlv(0x30, tlv(0xa0, tlv(0x30, tlv(tag, value)))));

/** SEQUENCEs in SEQUENCEs. */
function nested(size: number): Uint8Array<ArrayBuffer> {
  const depth = Math.floor(size / 6);
  const result = new Uint8Array(6 * depth);
  const view = new DataView(result.buffer);
  for (let i = 0; i < depth; i++) {
    view.setUint16(6 * i, 0x3084);
    view.setUint32(6 * i + 2, 6 * (depth - i - 1));
  }
  return result;
}

/** Object identifiers, each another one, of 6 octets. */
function identifiers(size: number, around: (id: number[]) => number[]): Uint8Array {
  const all: number[][] = [];
  for (let i = 0; i < size / 12; i++) {
    all.push(around([6, 4, 42, 0x81 + (i >> 14 & 0x7e), 0x80 | (i >> 7 & 0x7f), i & 0x7f]));
  }
  return concat(all);
}

const certificates: Record<string, (size: number) => Uint8Array<ArrayBuffer>> = {
  "SEQUENCEs in SEQUENCEs": nested,
  "SEQUENCEs in an extension": (size) => withExtensions(tlv(0x30, tlv(6, [42]), tlv(4, nested(size)))),
  "indefinite lengths": octets([0x30, 0x80]),
  "a PrintableString": (size) => subject(0x13, octets("A")(size)),
  "a Latin-1 string": (size) => subject(0x14, octets([0xe4])(size)),
  "a UTF-8 string": (size) => subject(0x0c, octets("ä")(size)),
  "a BMP string": (size) => subject(0x1e, octets([1, 0x41])(size)),
  "commas to escape": (size) => subject(0x0c, octets(",")(size)),
  "attributes": (size) =>
    withPart(5, tlv(0x30, tlv(0x31, octets([0x30, 8, 6, 3, 0x55, 4, 11, 0x13, 1, 65])(size)))),
  "unknown attributes": (size) =>
    withPart(5, tlv(0x30, tlv(0x31, octets([0x30, 6, 6, 1, 42, 0x13, 1, 65])(size)))),
  "extensions": (size) => withExtensions(identifiers(size, (id) => [0x30, 8, ...id, 4, 0])),
  "a long object identifier": (size) => withExtensions(tlv(0x30, tlv(6, octets([1])(size)), [4, 0])),
  "a long extension twice": (size) => {
    const one = tlv(0x30, tlv(6, octets([1])(size / 2)), [4, 0]);
    return withExtensions(one, one);
  },
  "policies": (size) => extension(32, tlv(0x30, identifiers(size, (id) => [0x30, 6, ...id]))),
  "names": (size) => extension(17, tlv(0x30, octets([0x82, 1, 65])(size))),
  "a URI": (size) => alternativeName(0x86, octets("http://a/")(size)),
  "a URI's host": (size) => alternativeName(0x86, concat([bytes("x://"), octets("a.")(size)])),
  "a URI's colons": (size) => alternativeName(0x86, concat([bytes("x://"), octets(":")(size)])),
  "a URI's address": (size) =>
    alternativeName(0x86, concat([bytes("x://["), octets(":1")(size), bytes("]")])),
  "a URI's users": (size) => alternativeName(0x86, concat([bytes("x://"), octets("a@")(size)])),
  "a URI's escapes": (size) => alternativeName(0x86, concat([bytes("x://"), octets("%ff")(size)])),
  "a URI's broken escapes": (size) => alternativeName(0x86, concat([bytes("x:///"), octets("%4")(size)])),
  "a constraint that is no ASCII": (size) => constraint(0x82, octets([0xe4])(size)),
  "a constraint of dots": (size) => constraint(0x82, octets(".")(size)),
  "a constraint of labels": (size) => constraint(0x82, octets("a.")(size)),
  "a constraint of colons": (size) => constraint(0x86, octets(":")(size)),
  "a mailbox": (size) => constraint(0x81, concat([octets("a.")(size), bytes("a@b")])),
  "a mailbox of escapes": (size) => constraint(0x81, concat([octets("\\a")(size), bytes("@b")])),
  "a mailbox in quotes": (size) => constraint(0x81, concat([bytes('"'), octets("a\\b")(size), bytes('"@b')])),
  "a mailbox whose quotes do not end": (size) =>
    constraint(0x81, concat([bytes('"'), octets("\\b")(size), bytes("@b")])),
  "bits out of line": (size) => withPart(6, tlv(0x30, tlv(0x30, [6, 1, 42]), tlv(3, [1], octets([2])(size)))),
  "an RSA modulus": (size) =>
    withPart(
      6,
      tlv(
        0x30,
        tlv(0x30, [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0]),
        tlv(3, [0], tlv(0x30, tlv(2, octets([3])(size)), [2, 1, 3])),
      ),
    ),
};

for (const [name, input] of Object.entries(certificates)) {
  Deno.test(`A certificate of up to 10 MB in proportional time: ${name}`, async () => {
    await isProportional(input, (der) => {
      try {
        subjectOf(parseCertificate(der));
      } catch (error) {
        if (!(error instanceof CertificateError)) throw error;
      }
    }, MEGABYTES_10);
  });
}

Deno.test("A pool of up to 100,000 certificates in proportional time", async () => {
  const random = (i: number) => (i * 2654435761 % 2 ** 32).toString(16).padStart(64, "0");
  const [der, notBefore, notAfter, isCa] = [new Uint8Array(), 0, 0, true];
  const pool = (size: number) =>
    Array.from({ length: size }, (_, i) => ({ der, notBefore, notAfter, isCa, sha256: random(i) }));
  await isProportional(pool, (all) => poolOf([all, all], {}), 1e5);
});

/** A cluster as large as any: what a request costs must not be the product of its size and this. */
const many = Array.from({ length: 1000 }, (_, i) => `object-${i}`);
const objects = many.map((name) =>
  readConfigMapSource(configMap(name, {}, { metadata: { labels: { name } } }))
);
const namespaces = many.map((name) => readNamespace({ metadata: { name, labels: { name } } }));
const known: KnownObjects = {
  synced: true,
  sources: () => objects,
  source: (_, name) => objects.find((object) => object.name === name),
  namespaces: () => namespaces,
};

/** Items of a list or map, as JSON, of about `size` bytes in all. */
const items = (size: number, item: (i: number) => string) =>
  Array.from({ length: Math.ceil(size / item(0).length) }, (_, i) => item(i)).join(",");
const spec = (json: string) =>
  JSON.stringify(admissionReview({ metadata: { name: "example" }, spec: "@" })).replace('"@"', json);
const target = (json: string) =>
  spec(`{"sources":[{"inLine":"x"}],"target":{"configMap":{"key":"k"},${json}}}`);

const bodies: Record<string, (size: number) => string> = {
  "lists in lists": (size) => spec("[".repeat(size / 2) + "]".repeat(size / 2)),
  "maps in maps": (size) => spec(`${'{"a":'.repeat(size / 6)}1${"}".repeat(size / 6)}`),
  "a list that does not end": text("["),
  "keys": (size) => `{${items(size, (i) => `"key ${i}":1`)}}`,
  "keys that are numbers": (size) => `{${items(size, (i) => `"${1000 * i}":1`)}}`,
  "the same key": (size) => `{${items(size, () => `"a":1`)}}`,
  "a number": text("1"),
  "sources": (size) => spec(`{"sources":[${items(size, () => "{}")}]}`),
  "sources that are the target": (size) =>
    spec(
      `{"sources":[${
        items(size, () => `{"configMap":{"name":"","key":"k"}}`)
      }],"target":{"configMap":{"key":"k"}}}`,
    ),
  "labels": (size) => target(`"namespaceSelector":{"matchLabels":{${items(size, (i) => `"key${i}":"v"`)}}}`),
  "bad labels": (size) =>
    target(`"namespaceSelector":{"matchLabels":{${items(size, (i) => `"!${i}":"!"`)}}}`),
  "a label that is all prefix": (size) =>
    target(`"namespaceSelector":{"matchLabels":{"${text("a.")(size)}!/b":"v"}}`),
  "a label without prefix": (size) =>
    target(`"namespaceSelector":{"matchLabels":{"${text("a")(size)}!":"v"}}`),
  "a label of odd characters": (size) =>
    target(`"namespaceSelector":{"matchLabels":{"${text("ä")(size)}":"v"}}`),
  "requirements": (size) =>
    target(
      `"namespaceSelector":{"matchExpressions":[${
        items(size, (i) => `{"key":"k${i}","operator":"Exists"}`)
      }]}`,
    ),
  "values": (size) =>
    target(
      `"namespaceSelector":{"matchExpressions":[{"key":"k","operator":"In","values":[${
        items(size, (i) => `"v${i}"`)
      }]}]}`,
    ),
  "sources that select": (size) =>
    spec(
      `{"sources":[${
        items(size, (i) => `{"configMap":{"selector":{"matchLabels":{"a${i}":"b"}},"key":"k"}}`)
      }],"target":{"configMap":{"key":"t"}}}`,
    ),
  "requirements of a source": (size) =>
    spec(
      `{"sources":[{"configMap":{"selector":{"matchExpressions":[${
        items(size, (i) => `{"key":"k${i}","operator":"DoesNotExist"}`)
      }]},"key":"k"}}],"target":{"configMap":{"key":"t"}}}`,
    ),
  "an inline source of blocks": (size) =>
    spec(`{"sources":[{"inLine":${JSON.stringify(text(inBlock("A"))(size))}}]}`),
  "an inline source of certificates": (size) =>
    spec(`{"sources":[{"inLine":${JSON.stringify(text(`${ROOT_1.pem}\n`)(size))}}]}`),
};

for (const [name, input] of Object.entries(bodies)) {
  // No larger body is read.
  Deno.test(`An admission request of up to 4 MB in proportional time: ${name}`, async () => {
    await isProportional(
      (size) => bytes(input(size)),
      (body) => answerBody(body, (it) => admissionWarnings(it, known, 0)),
      DEFAULT_LIMITS.bodyBytes,
    );
  });

  // What takes the processor in one go: the lease, and the requests of others, wait for the end of a stage.
  Deno.test(`An admission request of up to 4 MB in stages that are short: ${name}`, () => {
    // Items grow with their number.
    const sizes = [4e6, 3.5e6, 3e6, 2e6].map((size) => bytes(input(size)));
    const body = sizes.find(({ length }) => length <= DEFAULT_LIMITS.bodyBytes) ?? bytes(input(1e6));
    let shortest = Infinity;
    for (let attempt = 0; attempt < 5 && shortest > LONGEST_STAGE_MS; attempt++) {
      shortest = Math.min(shortest, longestStage(body));
    }
    assert.ok(shortest <= LONGEST_STAGE_MS, `${shortest} ms of processor time`);
  });
}

/** No stage takes more processor time, in milliseconds, though the machine be slow. Before there were stages, 5.7 s were seen. */
const LONGEST_STAGE_MS = 1_000;

function longestStage(body: Uint8Array): number {
  const work = answerInStages(body, (it) => admissionWarnings(it, known, 0));
  let longest = 0;
  for (let done: boolean | undefined = false; !done;) {
    const before = process.cpuUsage();
    ({ done } = work.next());
    const { user, system } = process.cpuUsage(before);
    longest = Math.max(longest, (user + system) / 1000);
  }
  return longest;
}

const numbers = <T>(size: number, item: (i: number) => T): T[] =>
  Array.from({ length: size }, (_, i) => item(i));
const selectors: Record<string, (size: number) => Parameters<typeof parseLabelSelector>[0]> = {
  "values": (size) => ({
    matchExpressions: [{ key: "a", operator: "In", values: numbers(size, (i) => `v${i}`) }],
  }),
  "bad values": (size) => ({
    matchExpressions: [{ key: "a", operator: "In", values: numbers(size, (i) => `!${i}`) }],
  }),
  "requirements": (size) => ({
    matchExpressions: numbers(size, (i) => ({ key: `k${i}`, operator: "Exists" })),
  }),
  "requirements of one key": (size) => ({
    matchExpressions: numbers(size, () => ({ key: "k", operator: "Exists" })),
  }),
  "labels": (size) => ({ matchLabels: Object.fromEntries(numbers(size, (i) => [`k${i}`, "v"])) }),
};

for (const [name, input] of Object.entries(selectors)) {
  Deno.test(`A selector of up to 100,000 in proportional time: ${name}`, async () => {
    await isProportional(input, (spec) => {
      try {
        const selector = parseLabelSelector(spec);
        selector.toString();
        selector.matches({ a: "b", k: "v" });
      } catch (error) {
        if (!(error instanceof LabelSelectorError)) throw error;
      }
    }, 1e5);
  });
}

const kubeconfigs: Record<string, (size: number) => string> = {
  "keys": (size) => items(size, (i) => `key${i}: 1\n`).replaceAll(",", ""),
  "users": (size) => `users:\n${items(size, (i) => `- {name: u${i}}\n`).replaceAll(",", "")}`,
  "anchors": (size) => `a: [${items(size, (i) => `&a${i} x`)}]`,
  "anchors and aliases": (size) => `a: [${items(size, (i) => `&a${i} x, *a${i}`)}]`,
  "aliases": (size) => `a: &a x\nb: [${items(size, () => "*a")}]`,
  "lists in lists": (size) => "[".repeat(size / 2) + "]".repeat(size / 2),
  "lines in quotes": (size) => `a: '${text("x\n")(size)}'`,
  "comments": text("#\n"),
  "documents": text("---\n"),
};

for (const [name, input] of Object.entries(kubeconfigs)) {
  // The parser of YAML takes a second for a megabyte, so that only inputs near the longest tell the kinds of growth apart.
  Deno.test(`A kubeconfig in proportional time: ${name}`, async () => {
    await isProportional(
      input,
      async (yaml) => {
        try {
          await parseKubeconfig(yaml, "/kubeconfig");
        } catch (error) {
          if (!(error instanceof ClusterConfigError)) throw error;
        }
      },
      4e5,
      Infinity,
    );
  });
}

Deno.test("A default package of up to 10 MB in proportional time", async () => {
  const input = (size: number) =>
    JSON.stringify({ name: "n", version: "v", bundle: text(`${ROOT_1.pem}\n`)(size) });
  await isProportional(input, parseDefaultPackage, MEGABYTES_10);
});
