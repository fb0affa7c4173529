import assert from "node:assert/strict";
import { parsed, ROOT_1 } from "../../tests/builders.ts";
import { patched, tlv } from "../../tests/oracles/corpus.ts";
import type { Certificate } from "../certs/certificate.ts";
import { Tag } from "../certs/der.ts";
import { parseCertificate } from "../certs/parse_certificate.ts";
import { javaProblem } from "./java_problem.ts";

/** A certificate with other parts: 0 is the version, 3 the issuer, 4 the validity, 7 what comes after the public key. */
function changed(change: Parameters<typeof patched>[1]): Certificate {
  const [root] = parsed(ROOT_1);
  assert.ok(root !== undefined);
  return parseCertificate(patched(root.der, change));
}

const version2 = tlv(0xa0, tlv(Tag.integer, [1]));
const uniqueIds = [tlv(0x81, [0, 1]), tlv(0x82, [0, 1])];

function validity(notAfter: string, tag: number = Tag.utcTime): Certificate {
  const time = (text: string, tag: number) => tlv(tag, new TextEncoder().encode(text));
  const times = tlv(Tag.sequence, time("200101000000Z", Tag.utcTime), time(notAfter, tag));
  return changed((parts) => parts.with(4, times));
}

const problems: [string, Certificate, RegExp | undefined][] = [
  ["version 3", changed((parts) => parts), undefined],
  ["version 1", changed((parts) => parts.slice(1, 7)), undefined],
  ["version 1 with extensions", changed((parts) => parts.slice(1)), /certificates of version 1 have none/],
  ["version 2", changed((parts) => [version2, ...parts.slice(1, 7)]), undefined],
  [
    "version 2 with unique ids",
    changed((parts) => [version2, ...parts.slice(1, 7), ...uniqueIds]),
    undefined,
  ],
  [
    "version 2 with extensions",
    changed((parts) => [version2, ...parts.slice(1, 7), ...uniqueIds, ...parts.slice(7)]),
    /certificates of version 2 have none/,
  ],
  [
    "the version that wraps around in Go",
    changed((parts) => parts.with(0, tlv(0xa0, tlv(Tag.integer, [0x7f, ...Array(7).fill(0xff)])))),
    /its version is none/,
  ],
  ["no issuer", changed((parts) => parts.with(3, tlv(Tag.sequence))), /no issuer/],
  ["no subject", changed((parts) => parts.with(5, tlv(Tag.sequence))), undefined],
  ["UTCTime", validity("300101000000Z"), undefined],
  ["UTCTime without seconds", validity("3001010000Z"), undefined],
  ["an offset", validity("300101000000+0100"), undefined],
  ["an offset without seconds", validity("3001010000-0100"), /odd time zone/],
  ["an offset of a day", validity("300101000000+2400"), /odd time zone/],
  ["GeneralizedTime", validity("20300101000000Z", Tag.generalizedTime), undefined],
  ["GeneralizedTime, an offset", validity("20300101000000+0100", Tag.generalizedTime), undefined],
  [
    "GeneralizedTime, an offset of a day",
    validity("20300101000000-2400", Tag.generalizedTime),
    /odd time zone/,
  ],
];

for (const [name, certificate, expected] of problems) {
  Deno.test(`Java and a certificate with ${name}`, () => {
    const problem = javaProblem(certificate);
    if (expected === undefined) assert.equal(problem, undefined);
    else assert.match(problem ?? "", expected);
  });
}
