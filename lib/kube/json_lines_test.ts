import assert from "node:assert/strict";
import { JsonLines, JsonLinesError } from "./json_lines.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** All values of `text`, fed as the pieces between `cuts`. */
function read(text: string, cuts: number[], options = {}): unknown[] {
  const bytes = encode(text);
  const lines = new JsonLines(options);
  const values: unknown[] = [];
  let start = 0;
  for (const cut of [...cuts, bytes.length]) {
    lines.push(bytes.subarray(start, cut), (value) => values.push(value));
    start = cut;
  }
  return values;
}

Deno.test("values of a stream", async (t) => {
  const table: { name: string; text: string; values: unknown[] }[] = [
    { name: "nothing", text: "", values: [] },
    { name: "one line", text: '{"a":1}\n', values: [{ a: 1 }] },
    { name: "several lines", text: '{"a":1}\n[2]\n"three"\nnull\n', values: [{ a: 1 }, [2], "three", null] },
    { name: "blank lines", text: '\n\n{"a":1}\n \r\n{"a":2}\r\n', values: [{ a: 1 }, { a: 2 }] },
    { name: "a last line that is not complete", text: '{"a":1}\n{"a":2', values: [{ a: 1 }] },
    { name: "a last line that lacks its newline only", text: '{"a":1}\n12', values: [{ a: 1 }] },
    { name: "UTF-8 of two, three and four bytes", text: '{"ä€😀":"ä€😀"}\n', values: [{ "ä€😀": "ä€😀" }] },
    { name: "an escaped newline", text: '{"a":"x\\ny"}\n', values: [{ a: "x\ny" }] },
  ];
  for (const { name, text, values } of table) {
    await t.step(name, () => {
      assert.deepEqual(read(text, []), values);
      const length = encode(text).length;
      for (let cut = 0; cut <= length; cut++) assert.deepEqual(read(text, [cut]), values, `cut at ${cut}`);
      assert.deepEqual(read(text, Array.from({ length }, (_, i) => i)), values, "byte by byte");
    });
  }
});

Deno.test("what is no line of JSON is refused without being quoted", async (t) => {
  const table: { name: string; bytes: Uint8Array }[] = [
    { name: "no JSON", bytes: encode('{"data":"c2VjcmV0"]\n') },
    { name: "a truncated value", bytes: encode('{"data":"c2VjcmV0\n') },
    { name: "two values in a line", bytes: encode('{"data":"c2VjcmV0"}{}\n') },
    { name: "no UTF-8", bytes: new Uint8Array([0x22, 0xff, 0x22, 0x0a]) },
    { name: "half a character of UTF-8", bytes: new Uint8Array([0x22, 0xc3, 0x22, 0x0a]) },
  ];
  for (const { name, bytes } of table) {
    await t.step(name, () => {
      const lines = new JsonLines();
      const read = () => lines.push(bytes, () => assert.fail("took a value"));
      assert.throws(read, (error) => {
        assert(error instanceof JsonLinesError);
        assert.doesNotMatch(error.message, /c2VjcmV0/);
        assert.equal(error.cause, undefined);
        return true;
      });
    });
  }
});

Deno.test("a line may be as long as the limit and no longer", () => {
  const line = JSON.stringify("x".repeat(98)); // 100 bytes
  for (const cuts of [[], [1], [50, 99], [100]]) {
    assert.deepEqual(read(line + "\n", cuts, { maxLineBytes: 100 }).length, 1);
    assert.throws(() => read(line + "\n", cuts, { maxLineBytes: 99 }), /more than the allowed 99 bytes/);
  }
  assert.throws(() => read("x".repeat(200), [], { maxLineBytes: 99 }), /more than the allowed 99 bytes/);
});

Deno.test("a long line in small chunks takes time in proportion to its length", () => {
  const bytes = encode(JSON.stringify({ data: "x".repeat(16 * 1024 * 1024) }) + "\n");
  const lines = new JsonLines();
  const values: unknown[] = [];
  const started = performance.now();
  for (let at = 0; at < bytes.length; at += 1024) {
    lines.push(bytes.subarray(at, at + 1024), (value) => values.push(value));
  }
  assert.equal(values.length, 1);
  assert.equal(lines.pending, 0);
  // Copying the whole line for each of the 16,384 chunks would move 128 GiB.
  assert(performance.now() - started < 5000);
});

Deno.test("an unfinished line is copied, so that its chunk can go and may change", () => {
  const lines = new JsonLines();
  const chunk = encode('{"a":');
  const values: unknown[] = [];
  lines.push(chunk, (value) => values.push(value));
  chunk.fill(0);
  assert.equal(lines.pending, 5);
  lines.push(encode("1}\n"), (value) => values.push(value));
  assert.deepEqual(values, [{ a: 1 }]);
});

Deno.test("an error of the receiver goes through, and the unfinished line is forgotten", () => {
  const lines = new JsonLines();
  lines.push(encode('{"a"'), () => {});
  const push = () =>
    lines.push(encode(":1}\n"), () => {
      throw new RangeError("Receiver failed");
    });
  assert.throws(push, RangeError);
  assert.equal(lines.pending, 0);
});
