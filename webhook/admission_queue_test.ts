import assert from "node:assert/strict";
import { FakeClock } from "../tests/fake_clock.ts";
import { AdmissionQueue } from "./admission_queue.ts";

const SMALL = 1_000;
const LARGE = 1_000_000;

/** A queue whose turns come when the test says so, and in which work takes time of the fake clock. */
class Fixture {
  readonly clock = new FakeClock();
  readonly turns: (() => void)[] = [];
  readonly queue = new AdmissionQueue<string>(this.clock, (run) => this.turns.push(run));
  /** What was answered, and each stage of it. */
  readonly log: string[] = [];

  add(name: string, source: string, bytes: number, stagesMs: readonly number[] = [1]): () => void {
    return this.queue.add({
      source,
      bytes,
      work: this.#work(name, stagesMs),
      done: (outcome) => this.log.push("value" in outcome ? outcome.value : `${name}: ${outcome.error}`),
    });
  }

  *#work(name: string, stagesMs: readonly number[]): Generator<undefined, string, undefined> {
    for (const [i, ms] of stagesMs.entries()) {
      this.clock.freeze(ms);
      if (i === stagesMs.length - 1) return name;
      this.log.push(`${name} stage ${i}`);
      yield;
    }
    return name;
  }

  /** The next turn, or timer if there is none. */
  async turn(): Promise<void> {
    const run = this.turns.shift();
    if (run !== undefined) run();
    else await this.clock.advance(this.clock.nextTimerMs ?? 0);
  }

  async turnsUntilEmpty(): Promise<void> {
    for (let i = 0; this.queue.size > 0; i++) {
      assert.ok(i < 1_000, "it never ends");
      await this.turn();
    }
  }
}

Deno.test("admission queue: at once, if there is nothing to do", () => {
  const fixture = new Fixture();
  fixture.add("a", "api", SMALL);
  assert.deepEqual(fixture.log, ["a"]);
});

Deno.test("admission queue: no more than a slice in one turn", async () => {
  const fixture = new Fixture();
  for (let i = 0; i < 100; i++) fixture.add(`${i}`, "a", SMALL, [4]);
  assert.equal(fixture.log.length, 1);
  await fixture.turn();
  assert.equal(fixture.log.length, 4);
});

Deno.test("admission queue: of one source the smallest first", async () => {
  const fixture = new Fixture();
  fixture.add("first", "a", SMALL);
  for (const bytes of [900, 100, 500]) fixture.add(`${bytes}`, "a", bytes);
  await fixture.turnsUntilEmpty();
  assert.deepEqual(fixture.log, ["first", "100", "500", "900"]);
});

Deno.test("admission queue: who has used less comes first", async () => {
  const fixture = new Fixture();
  for (let i = 0; i < 50; i++) fixture.add(`a${i}`, "a", SMALL, [20]);
  fixture.add("b", "b", 10 * SMALL, [20]);
  await fixture.turn();
  assert.deepEqual(fixture.log, ["a0", "b"]);
});

Deno.test("admission queue: small ones wait for one stage of a large one at most", async () => {
  const fixture = new Fixture();
  fixture.add("large", "a", LARGE, [100, 100, 100]);
  fixture.add("small", "b", SMALL);
  await fixture.turnsUntilEmpty();
  assert.deepEqual(fixture.log, ["large stage 0", "small", "large stage 1", "large"]);
});

Deno.test("admission queue: large ones come one after the other, and rest as long as they take", async () => {
  const fixture = new Fixture();
  fixture.add("one", "a", LARGE, [100, 100]);
  fixture.add("two", "b", LARGE, [100, 100]);
  const began = fixture.clock.monotonic();
  await fixture.turnsUntilEmpty();
  assert.deepEqual(fixture.log, ["one stage 0", "one", "two stage 0", "two"]);
  // The first stage had its turn before, and the last one needs no rest.
  assert.equal(fixture.clock.monotonic() - began, 600);
});

Deno.test("admission queue: a large one has its turn, however many small ones come", async () => {
  const fixture = new Fixture();
  fixture.add("small", "a", SMALL, [20]);
  fixture.add("large", "a", LARGE, [100]);
  for (let i = 0; i < 10 && !fixture.log.includes("large"); i++) {
    fixture.add(`small ${i}`, "a", SMALL, [20]);
    await fixture.turn();
  }
  assert.ok(fixture.log.includes("large"), fixture.log.join());
});

Deno.test("admission queue: a small one does not wait while a large one rests", async () => {
  const fixture = new Fixture();
  fixture.add("large", "a", LARGE, [1_000, 1_000]);
  await fixture.turn();
  assert.equal(fixture.clock.nextTimerMs, 1_000);
  fixture.add("small", "a", SMALL);
  assert.deepEqual(fixture.log, ["large stage 0", "small"]);
  await fixture.turnsUntilEmpty();
  assert.deepEqual(fixture.log, ["large stage 0", "small", "large"]);
});

Deno.test("admission queue: what is given up is not answered, also when it is under way", async () => {
  const fixture = new Fixture();
  const giveUp = fixture.add("large", "a", LARGE, [100, 100]);
  const giveUpWaiting = fixture.add("waiting", "a", LARGE, [100]);
  fixture.add("last", "a", LARGE, [100]);
  giveUp();
  giveUpWaiting();
  await fixture.turnsUntilEmpty();
  assert.deepEqual(fixture.log, ["large stage 0", "last"]);
});

Deno.test("admission queue: an error is an outcome, and others go on", async () => {
  const fixture = new Fixture();
  fixture.queue.add({
    source: "a",
    bytes: SMALL,
    // deno-lint-ignore require-yield
    work: (function* (): Generator<undefined, string, undefined> {
      throw new TypeError("defect");
    })(),
    done: (outcome) => fixture.log.push("error" in outcome ? String(outcome.error) : outcome.value),
  });
  fixture.add("b", "a", SMALL);
  await fixture.turnsUntilEmpty();
  assert.deepEqual(fixture.log, ["TypeError: defect", "b"]);
});
