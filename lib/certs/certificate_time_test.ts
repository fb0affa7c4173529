import assert from "node:assert/strict";
import { CertificateError } from "./certificate_error.ts";
import { readTime } from "./certificate_time.ts";
import { DerReader, Tag } from "./der.ts";

function read(tag: number, text: string): number {
  const content = new TextEncoder().encode(text);
  return readTime(new DerReader(new Uint8Array([tag, content.length, ...content])));
}

const times: [number, string, string | undefined][] = [
  [Tag.utcTime, "491231235959Z", "2049-12-31T23:59:59.000Z"],
  [Tag.utcTime, "500101000000Z", "1950-01-01T00:00:00.000Z"],
  [Tag.utcTime, "9901010000Z", "1999-01-01T00:00:00.000Z"],
  [Tag.utcTime, "990101000000+0130", "1998-12-31T22:30:00.000Z"],
  [Tag.utcTime, "990101000000-0130", "1999-01-01T01:30:00.000Z"],
  [Tag.utcTime, "000229000000Z", "2000-02-29T00:00:00.000Z"],
  [Tag.utcTime, "990229000000Z", undefined],
  [Tag.utcTime, "990101000060Z", undefined],
  [Tag.utcTime, "990101000000+0000", undefined],
  [Tag.utcTime, "990101000000", undefined],
  [Tag.utcTime, "", undefined],
  [Tag.generalizedTime, "99991231235959Z", "9999-12-31T23:59:59.000Z"],
  [Tag.generalizedTime, "00500101000000Z", "0050-01-01T00:00:00.000Z"],
  [Tag.generalizedTime, "20500101000000.5Z", undefined],
  [Tag.generalizedTime, "200001010000Z", undefined],
];

for (const [tag, text, expected] of times) {
  const type = tag === Tag.utcTime ? "UTCTime" : "GeneralizedTime";
  Deno.test(`${type} ${text}`, () => {
    if (expected === undefined) {
      assert.throws(() => read(tag, text), new CertificateError(`x509: malformed ${type}`));
    } else {
      assert.equal(new Date(read(tag, text)).toISOString(), expected);
    }
  });
}

Deno.test("no other type is a time", () => {
  assert.throws(
    () => read(Tag.printableString, "990101000000Z"),
    new CertificateError("x509: unsupported time format"),
  );
});
