import assert from "node:assert/strict";
import { delay } from "../lib/clock.ts";
import { FakeClock } from "./fake_clock.ts";

Deno.test("timers fire in the order of their time, each at its time", async () => {
  const clock = new FakeClock("2030-01-01T00:00:00Z");
  const start = clock.monotonic();
  const fired: [string, number][] = [];
  const note = (name: string) => () => fired.push([name, clock.monotonic() - start]);
  clock.setTimer(30, note("c"));
  clock.setTimer(10, note("a"));
  clock.setTimer(10, note("b"));
  clock.setTimer(20, note("cancelled"))();
  clock.setTimer(100, note("later"));
  await clock.advance(50);
  assert.deepEqual(fired, [["a", 10], ["b", 10], ["c", 30]]);
  assert.equal(clock.now(), Date.parse("2030-01-01T00:00:00.050Z"));
  assert.equal(clock.nextTimerMs, 50);
  await clock.advance(50);
  assert.deepEqual(fired.at(-1), ["later", 100]);
  assert.equal(clock.timers, 0);
});

Deno.test("what a timer leads to happens before the next timer", async () => {
  const clock = new FakeClock();
  const start = clock.monotonic();
  const seen: number[] = [];
  const loop = async () => {
    for (let i = 0; i < 4; i++) {
      await delay(clock, 10);
      await Promise.resolve();
      seen.push(clock.monotonic() - start);
    }
  };
  const done = loop();
  await clock.advance(35);
  assert.deepEqual(seen, [10, 20, 30]);
  await clock.advance(5);
  await done;
});

Deno.test("the wall clock can jump, and the process can be stopped", async () => {
  const clock = new FakeClock(0);
  const start = clock.monotonic();
  let fired = 0;
  clock.setTimer(10, () => fired++);
  clock.jumpWall(5000);
  assert.deepEqual([clock.now(), clock.monotonic() - start], [5000, 0]);
  clock.freeze(1000);
  assert.deepEqual([clock.now(), clock.monotonic() - start, fired], [6000, 1000, 0]);
  await clock.advance(0);
  assert.deepEqual([clock.now(), clock.monotonic() - start, fired], [6000, 1000, 1]);
});
