import assert from "node:assert/strict";
import { FakeClock } from "../tests/fake_clock.ts";
import { RepairLimiter } from "./repair_limiter.ts";

const MINUTE = 60_000;

Deno.test("five repairs are free, then pauses double up to five minutes", () => {
  const limiter = new RepairLimiter(new FakeClock());
  const pauses = Array.from({ length: 16 }, () => limiter.take("a"));
  assert.deepEqual(
    pauses.map((ms) => ms / 1_000),
    [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300],
  );
});

Deno.test("a pause stays at its maximum however often a target is repaired", () => {
  const limiter = new RepairLimiter(new FakeClock());
  let last = 0;
  for (let i = 0; i < 2_000; i++) last = limiter.take("a");
  assert.equal(last, 300_000);
});

Deno.test("targets are counted apart", () => {
  const limiter = new RepairLimiter(new FakeClock());
  for (let i = 0; i < 5; i++) limiter.take("a");
  assert.equal(limiter.take("b"), 0);
  assert.equal(limiter.take("a"), 1_000);
});

Deno.test("a target that was calm for ten minutes starts anew, and only that one", async () => {
  const clock = new FakeClock();
  const limiter = new RepairLimiter(clock);
  for (let i = 0; i < 7; i++) {
    limiter.take("fought over");
    limiter.take("calm");
  }
  await clock.advance(10 * MINUTE - 1);
  assert.equal(limiter.take("fought over"), 4_000);
  await clock.advance(1);
  assert.equal(limiter.take("calm"), 0);
  assert.equal(limiter.take("fought over"), 8_000);
});

Deno.test("the longest pause does not count as calm", async () => {
  const clock = new FakeClock();
  const limiter = new RepairLimiter(clock);
  for (let i = 0; i < 20; i++) limiter.take("a");
  for (let i = 0; i < 3; i++) {
    await clock.advance(limiter.take("a"));
    assert.equal(limiter.take("a"), 300_000);
  }
});
