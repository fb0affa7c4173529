import assert from "node:assert/strict";
import { contextTag, DerReader, dotted, Tag } from "./der.ts";

const reader = (...octets: number[]) => new DerReader(new Uint8Array(octets));

const lengths: Record<string, { octets: number[]; content?: number }> = {
  "short form": { octets: [4, 2, 1, 2], content: 2 },
  "nothing inside": { octets: [4, 0], content: 0 },
  "long form": { octets: [4, 0x81, 0x80, ...new Array<number>(0x80).fill(0)], content: 0x80 },
  "two octets": { octets: [4, 0x82, 1, 0, ...new Array<number>(0x100).fill(0)], content: 0x100 },
  "long form where short would do": { octets: [4, 0x81, 1, 0] },
  "leading zero": { octets: [4, 0x82, 0, 0x80, ...new Array<number>(0x80).fill(0)] },
  "indefinite": { octets: [4, 0x80, 0, 0] },
  "five octets": { octets: [4, 0x85, 1, 0, 0, 0, 0] },
  "more than there is": { octets: [4, 3, 1, 2] },
  "length itself cut off": { octets: [4, 0x82, 1] },
  "only a tag": { octets: [4] },
  "nothing": { octets: [] },
  "tag of more than one octet": { octets: [0x1f, 1, 0] },
};

for (const [name, { octets, content }] of Object.entries(lengths)) {
  Deno.test(`DER length: ${name}`, () => {
    assert.equal(reader(...octets).readAny()?.content.rest.length, content);
  });
}

Deno.test("elements are read one after the other", () => {
  const outer = reader(0x30, 5, 1, 1, 0xff, 5, 0, 4, 0).read(Tag.sequence);
  assert.equal(outer?.readBoolean(), true);
  assert.equal(outer?.nextIs(5), true);
  assert.deepEqual(outer?.readEncoded(), new Uint8Array([5, 0]));
  assert.equal(outer?.empty, true);
  assert.equal(reader(0x30, 0).read(Tag.set), undefined);
  assert.equal(contextTag(3, true), 0xa3);
});

const objectIdentifiers: [string, number[], string | undefined][] = [
  ["common name", [0x55, 4, 3], "2.5.4.3"],
  ["RSA", [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1], "1.2.840.113549.1.1.1"],
  ["second component above 39", [0x88, 0x37], "2.999"],
  ["largest component", [0x2a, 0x87, 0xff, 0xff, 0xff, 0x7f], "1.2.2147483647"],
  ["component too large", [0x2a, 0x88, 0x80, 0x80, 0x80, 0], undefined],
  ["not the shortest form", [0x2a, 0x80, 1], undefined],
  ["cut off", [0x2a, 0x86], undefined],
  ["nothing", [], undefined],
];

for (const [name, octets, expected] of objectIdentifiers) {
  Deno.test(`object identifier: ${name}`, () => {
    const components = reader(6, octets.length, ...octets).readObjectIdentifier();
    assert.equal(components && dotted(components), expected);
  });
}

const integers: [number[], boolean][] = [
  [[0], true],
  [[0x7f], true],
  [[0xff], true],
  [[0, 0x80], true],
  [[0xff, 0x7f], true],
  [
    [0, 1],
    false,
  ],
  [[0xff, 0x80], false],
  [[], false],
];

for (const [octets, valid] of integers) {
  Deno.test(`integer [${octets}] is ${valid ? "valid" : "refused"}`, () => {
    const expected = valid ? new Uint8Array(octets) : undefined;
    assert.deepEqual(reader(2, octets.length, ...octets).readInteger(), expected);
  });
}

const bitStrings: [number[], boolean][] = [
  [[0], true],
  [[1, 2], true],
  [[0, 1], true],
  [[1, 1], false],
  [[1], false],
  [[8, 0], false],
  [[], false],
];

for (const [octets, valid] of bitStrings) {
  Deno.test(`bit string [${octets}] is ${valid ? "valid" : "refused"}`, () => {
    assert.equal(reader(3, octets.length, ...octets).readBitString() !== undefined, valid);
  });
}
