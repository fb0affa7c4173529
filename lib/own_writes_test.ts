import assert from "node:assert/strict";
import { targetRecord } from "../tests/builders.ts";
import { FakeClock } from "../tests/fake_clock.ts";
import { OwnWrites } from "./own_writes.ts";

function setUp() {
  const clock = new FakeClock();
  const forgotten: string[] = [];
  const writes = new OwnWrites(clock, ({ resourceVersion }) => forgotten.push(resourceVersion));
  /** Writes `key`; `during` happens between request and answer. */
  const write = (key: string, resourceVersion: string, during: () => void = () => {}, shown?: string) => {
    writes.begin(key, shown);
    during();
    writes.end(key, targetRecord({ resourceVersion }));
  };
  return { clock, writes, write, forgotten };
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

Deno.test("a write that changed nothing is shown already", () => {
  const { writes, write } = setUp();
  write("a", "5", () => {}, "5");
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

Deno.test("a deletion of our own counts until the watch shows that the object is gone", () => {
  const { writes, write } = setUp();
  write("a", "", () => writes.shown("a", "5")); // as it was before it was deleted
  assert.equal(writes.get("a")?.resourceVersion, "");
  writes.shown("a", undefined);
  assert.equal(writes.get("a"), undefined);
  write("a", "", () => writes.shown("a", undefined));
  assert.equal(writes.get("a"), undefined);
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
  writes.begin("a", undefined);
  assert.equal(writes.get("a")?.resourceVersion, "5");
  writes.end("a", undefined);
  assert.equal(writes.get("a"), undefined);
});

Deno.test("what the watch does not show is forgotten after ten seconds, and that is told", async () => {
  const { clock, writes, write, forgotten } = setUp();
  write("a", "5");
  await clock.advance(4_000);
  write("b", "6");
  write("c", "7");
  writes.shown("c", "7");
  await clock.advance(5_999);
  assert.equal(writes.get("a")?.resourceVersion, "5");
  await clock.advance(1);
  assert.equal(writes.get("a"), undefined);
  assert.equal(writes.get("b")?.resourceVersion, "6");
  assert.deepEqual(forgotten, ["5"]);
  await clock.advance(4_000);
  assert.equal(writes.get("b"), undefined);
  assert.deepEqual(forgotten, ["5", "6"]);
  assert.equal(clock.timers, 0);
});

Deno.test("a target that is written again lives on from the last time", async () => {
  const { clock, writes, write, forgotten } = setUp();
  write("a", "5");
  await clock.advance(2_000);
  write("a", "7");
  await clock.advance(9_999);
  assert.equal(writes.get("a")?.resourceVersion, "7");
  await clock.advance(1);
  assert.deepEqual(forgotten, ["7"]);
});

Deno.test("at the end all of it is forgotten, and no timer is left", async () => {
  const { clock, writes, write, forgotten } = setUp();
  write("a", "5");
  writes.clear();
  assert.equal(writes.get("a"), undefined);
  assert.equal(clock.timers, 0);
  await clock.advance(10_000);
  assert.deepEqual(forgotten, []);
});
