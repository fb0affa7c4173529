import assert from "node:assert/strict";
import { targetRecord } from "../tests/builders.ts";
import { FakeClock } from "../tests/fake_clock.ts";
import { OwnWrites } from "./own_writes.ts";

function setUp() {
  const clock = new FakeClock();
  const writes = new OwnWrites(clock);
  /** Writes `key`; `during` happens between request and answer. */
  const write = (key: string, resourceVersion: string, during: () => void = () => {}) => {
    writes.begin(key);
    during();
    writes.end(key, targetRecord({ resourceVersion }));
  };
  return { clock, writes, write };
}

Deno.test("what was written counts until the watch shows it", () => {
  const { writes, write } = setUp();
  write("a", "5");
  assert.equal(writes.get("a")?.resourceVersion, "5");
  writes.shown("a", "4"); // a state from before the write
  assert.equal(writes.get("a")?.resourceVersion, "5");
  writes.shown("b", "5"); // another object
  assert.equal(writes.get("a")?.resourceVersion, "5");
  writes.shown("a", "5");
  assert.equal(writes.get("a"), undefined);
});

Deno.test("a watch that is faster than the answer is not forgotten", () => {
  const { writes, write } = setUp();
  write("a", "5", () => {
    writes.shown("a", "4");
    writes.shown("a", "5");
    writes.shown("a", "6"); // and somebody else has changed it since
  });
  assert.equal(writes.get("a"), undefined);
});

Deno.test("what the watch showed before the write began is another matter", () => {
  const { writes, write } = setUp();
  write("a", "5", () => writes.shown("a", "5"));
  write("a", "6");
  assert.equal(writes.get("a")?.resourceVersion, "6");
});

Deno.test("a deletion from before the write does not undo it", () => {
  const { writes, write } = setUp();
  write("a", "5", () => writes.shown("a", undefined));
  writes.shown("a", undefined);
  assert.equal(writes.get("a")?.resourceVersion, "5");
});

Deno.test("a later write takes the place of an earlier one", () => {
  const { writes, write } = setUp();
  write("a", "5");
  write("a", "6");
  writes.shown("a", "5");
  assert.equal(writes.get("a")?.resourceVersion, "6");
  writes.shown("a", "6");
  assert.equal(writes.get("a"), undefined);
});

Deno.test("a write that failed leaves nothing: what is there now is not known", () => {
  const { writes, write } = setUp();
  write("a", "5");
  writes.begin("a");
  assert.equal(writes.get("a")?.resourceVersion, "5");
  writes.end("a", undefined);
  assert.equal(writes.get("a"), undefined);
});

Deno.test("what the watch never shows is forgotten after ten seconds", async () => {
  const { clock, writes, write } = setUp();
  assert.equal(writes.expiresInMs, undefined);
  write("a", "5");
  await clock.advance(4_000);
  write("b", "6");
  assert.equal(writes.expiresInMs, 10_000); // the last of them
  await clock.advance(5_999);
  assert.equal(writes.get("a")?.resourceVersion, "5");
  await clock.advance(1);
  assert.equal(writes.get("a"), undefined);
  assert.equal(writes.get("b")?.resourceVersion, "6");
  assert.equal(writes.expiresInMs, 4_000);
  await clock.advance(4_000);
  assert.equal(writes.expiresInMs, undefined);
  assert.equal(writes.get("b"), undefined);
});

Deno.test("a target that is written again lives on from the last time", async () => {
  const { clock, writes, write } = setUp();
  write("a", "5");
  await clock.advance(1_000);
  write("b", "6");
  await clock.advance(1_000);
  write("a", "7");
  assert.equal(writes.expiresInMs, 10_000);
  await clock.advance(9_000);
  assert.equal(writes.get("b"), undefined);
  assert.equal(writes.get("a")?.resourceVersion, "7");
});
