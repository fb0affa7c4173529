import assert from "node:assert/strict";
import { FakeClock, settled } from "../tests/fake_clock.ts";
import { KeyedQueue, type QueueObserver, type QueueOptions, type RunResult } from "./queue.ts";

/** A queue whose work ends when the test says so. */
function setUp(options: Partial<QueueOptions> = {}) {
  const clock = new FakeClock();
  /** Keys in the order in which their work began. */
  const runs: string[] = [];
  const running = new Map<string, { end: PromiseWithResolvers<RunResult>; signal: AbortSignal }>();
  const errors: { key: string; error: unknown; retryInMs: number }[] = [];
  const queue = new KeyedQueue({
    run: (key, signal) => {
      assert.ok(!running.has(key), `${key} runs twice at once`);
      runs.push(key);
      const end = Promise.withResolvers<RunResult>();
      running.set(key, { end, signal });
      return end.promise;
    },
    onError: (key, error, retryInMs) => errors.push({ key, error, retryInMs }),
    concurrency: 1,
    slowAfterMs: 1_000,
    maxInFlight: 3,
    baseBackoffMs: 100,
    maxBackoffMs: 500,
    clock,
    random: () => 0,
    ...options,
  });
  const take = (key: string) => {
    const run = running.get(key);
    assert.ok(run, `${key} does not run`);
    running.delete(key);
    return run.end;
  };
  return {
    clock,
    queue,
    errors,
    /** Keys whose work has begun since the last call. */
    begun: () => runs.splice(0),
    running: () => [...running.keys()],
    signal: (key: string) => running.get(key)?.signal,
    succeed: async (key: string, result?: RunResult) => {
      take(key).resolve(result);
      await settled();
    },
    fail: async (key: string, error: unknown = new Error("no")) => {
      take(key).reject(error);
      await settled();
    },
  };
}

Deno.test("a key that is added many times before its turn runs once", async () => {
  const { queue, begun, succeed } = setUp();
  queue.add("first");
  for (let i = 0; i < 3; i++) queue.add("a");
  queue.add("a", "urgent");
  queue.add("a");
  assert.equal(queue.depth, 1);
  await succeed("first");
  await succeed("a");
  assert.deepEqual(begun(), ["first", "a"]);
  assert.equal(queue.depth, 0);
});

Deno.test("a key that is added while it runs runs once more, and not at the same time", async () => {
  const { queue, begun, running, succeed } = setUp({ concurrency: 2 });
  queue.add("a");
  queue.add("a");
  queue.add("a", "urgent");
  queue.add("a");
  assert.deepEqual(begun(), ["a"]);
  await succeed("a");
  assert.deepEqual(begun(), ["a"]);
  await succeed("a");
  assert.deepEqual(running(), []);
});

Deno.test("keys run in the order of adding, urgent ones before bulk", async (t) => {
  const table: { name: string; adds: [key: string, priority?: "bulk" | "urgent"][]; order: string }[] = [
    { name: "bulk", adds: [["a"], ["b"], ["c"]], order: "abc" },
    { name: "urgent", adds: [["a", "urgent"], ["b", "urgent"]], order: "ab" },
    { name: "both", adds: [["a"], ["b"], ["c", "urgent"], ["d", "urgent"]], order: "cdab" },
    { name: "a bulk key that becomes urgent", adds: [["a"], ["b"], ["b", "urgent"]], order: "ba" },
    { name: "an urgent key stays urgent", adds: [["a"], ["b", "urgent"], ["b"]], order: "ba" },
    { name: "a bulk key keeps its place", adds: [["a"], ["b"], ["a"]], order: "ab" },
    {
      name: "a running key that is urgent again goes before those that wait",
      adds: [["a"], ["first", "urgent"], ["first"]],
      order: "first,a",
    },
    { name: "a running key that is bulk again goes to the end", adds: [["a"], ["first"]], order: "a,first" },
  ];
  for (const { name, adds, order } of table) {
    await t.step(name, async () => {
      const { queue, begun, running, succeed } = setUp();
      queue.add("first");
      for (const [key, priority] of adds) queue.add(key, priority);
      for (let key; (key = running()[0]) !== undefined;) await succeed(key);
      assert.deepEqual(begun().slice(1), order.split(order.includes(",") ? "," : ""));
    });
  }
});

Deno.test("as many keys run at once as allowed", async () => {
  const { queue, running, succeed } = setUp({ concurrency: 2 });
  ["a", "b", "c", "d"].forEach((key) => queue.add(key));
  assert.deepEqual(running(), ["a", "b"]);
  await succeed("b");
  assert.deepEqual(running(), ["a", "c"]);
});

Deno.test("beside urgent work, less of the bulk runs", async () => {
  const { clock, queue, begun, succeed } = setUp({
    concurrency: 3,
    concurrencyBesideUrgent: 2,
    maxInFlight: 9,
  });
  for (const key of ["a", "b", "c", "d", "e", "f"]) queue.add(key);
  queue.add("u", "urgent");
  assert.deepEqual(begun(), ["a", "b", "c"]);
  await succeed("a");
  assert.deepEqual(begun(), ["u"]);
  await succeed("b");
  assert.deepEqual(begun(), []);
  await succeed("c");
  assert.deepEqual(begun(), ["d"]);
  // Urgent work that hangs holds nothing up.
  await clock.advance(1_000);
  assert.deepEqual(begun(), ["e", "f"]);
  queue.add("v", "urgent");
  queue.add("w", "urgent");
  assert.deepEqual(begun(), ["v"]);
});

Deno.test("slow work leaves its place to others, up to a limit", async () => {
  const { clock, queue, running, succeed } = setUp({ concurrency: 1, maxInFlight: 3 });
  ["a", "b", "c", "d", "e"].forEach((key) => queue.add(key));
  await clock.advance(999);
  assert.deepEqual(running(), ["a"]);
  await clock.advance(1);
  assert.deepEqual(running(), ["a", "b"]);
  await clock.advance(1_000);
  assert.deepEqual(running(), ["a", "b", "c"]);
  await clock.advance(60_000); // three in flight is the limit
  assert.deepEqual(running(), ["a", "b", "c"]);
  await succeed("b");
  assert.deepEqual(running(), ["a", "c", "d"]);
  await clock.advance(1_000);
  await succeed("a"); // d has become slow as well
  assert.deepEqual(running(), ["c", "d", "e"]);
  await succeed("c");
  await succeed("d");
  await succeed("e");
  assert.equal(clock.timers, 0);
});

Deno.test("slow work that ends does not free a place twice", async () => {
  const { clock, queue, running, succeed } = setUp({ concurrency: 1, maxInFlight: 9 });
  ["slow", "a", "b"].forEach((key) => queue.add(key));
  await clock.advance(1_000);
  assert.deepEqual(running(), ["slow", "a"]);
  await succeed("slow");
  assert.deepEqual(running(), ["a"]);
  await succeed("a");
  assert.deepEqual(running(), ["b"]);
});

Deno.test("pauses double with each failure up to the maximum, and start anew after a success", async () => {
  const { clock, queue, errors, running, succeed, fail } = setUp();
  queue.add("a");
  for (const [count, pause] of [100, 200, 400, 500, 500].entries()) {
    await fail("a", `failure ${count}`);
    assert.equal(queue.failures("a"), count + 1);
    assert.deepEqual(errors.pop(), { key: "a", error: `failure ${count}`, retryInMs: pause });
    assert.equal(queue.depth, 0); // a pause is no waiting
    await clock.advance(pause - 1);
    assert.deepEqual(running(), []);
    await clock.advance(1);
    assert.deepEqual(running(), ["a"]);
  }
  await succeed("a");
  assert.equal(queue.failures("a"), 0);
  queue.add("a");
  await fail("a");
  assert.equal(errors.pop()?.retryInMs, 100);
});

Deno.test("a thousand failures in a row still pause for the maximum", async () => {
  const { clock, queue, errors, fail } = setUp();
  queue.add("a");
  for (let i = 0; i < 1_100; i++) {
    await fail("a");
    await clock.advance(500);
  }
  assert.equal(errors.at(-1)?.retryInMs, 500);
});

Deno.test("jitter adds up to a tenth, also to the longest pause", async () => {
  const { clock, queue, errors, fail } = setUp({ random: () => 0.5 });
  queue.add("a");
  for (let i = 0; i < 5; i++) {
    await fail("a");
    await clock.advance(1_000);
  }
  assert.deepEqual(errors.map(({ retryInMs }) => retryInMs), [105, 210, 420, 525, 525]);
});

Deno.test("an error can ask for a longer pause, not for a shorter one", async (t) => {
  for (const [minimum, pause] of [[30_000, 30_000], [50, 100], [0, 100]] as const) {
    await t.step(`${minimum} ms`, async () => {
      const { clock, queue, errors, running, fail } = setUp({
        minimumPauseMs: (error) => error instanceof RangeError ? minimum : 0,
      });
      queue.add("a");
      await fail("a", new RangeError());
      assert.equal(errors[0]?.retryInMs, pause);
      await clock.advance(pause - 1);
      assert.deepEqual(running(), []);
      await clock.advance(1);
      assert.deepEqual(running(), ["a"]);
    });
  }
});

Deno.test("adding cuts a pause short, and its length is remembered", async () => {
  const { clock, queue, errors, begun, fail } = setUp();
  queue.add("a");
  await fail("a");
  queue.add("a");
  await fail("a");
  assert.equal(errors.at(-1)?.retryInMs, 200);
  await clock.advance(199); // the pause of the first failure would be over
  assert.deepEqual(begun(), ["a", "a"]);
  await clock.advance(1);
  assert.deepEqual(begun(), ["a"]);
});

Deno.test("work that fails after its key was added again is repeated at once, and once", async () => {
  const { clock, queue, begun, fail, succeed } = setUp();
  queue.add("a");
  queue.add("a");
  await fail("a");
  assert.deepEqual(begun(), ["a", "a"]);
  assert.equal(queue.failures("a"), 1);
  await succeed("a");
  await clock.advance(10_000);
  assert.deepEqual(begun(), []);
});

Deno.test("a failing key holds nobody up", async () => {
  const { queue, errors, begun, fail } = setUp();
  queue.add("bad");
  queue.add("good");
  await fail("bad");
  assert.deepEqual(begun(), ["bad", "good"]);
  await fail("good");
  assert.deepEqual(errors.map(({ retryInMs }) => retryInMs), [100, 100]);
});

Deno.test("a delayed key runs when its time comes", async () => {
  const { clock, queue, running } = setUp();
  queue.addAfter("a", 5_000);
  assert.equal(queue.depth, 0);
  await clock.advance(4_999);
  assert.deepEqual(running(), []);
  await clock.advance(1);
  assert.deepEqual(running(), ["a"]);
});

Deno.test("a delay does not change what is planned already", async (t) => {
  await t.step("waiting", async () => {
    const { clock, queue, begun, succeed } = setUp();
    queue.add("first");
    queue.add("a");
    queue.addAfter("a", 50);
    await succeed("first");
    await succeed("a");
    await clock.advance(100);
    assert.deepEqual(begun(), ["first", "a"]);
  });
  await t.step("running", async () => {
    const { clock, queue, begun, succeed } = setUp();
    queue.add("a");
    queue.addAfter("a", 50);
    queue.add("a");
    await succeed("a");
    await succeed("a");
    await clock.advance(100);
    assert.deepEqual(begun(), ["a", "a"]);
  });
  await t.step("pausing after a failure", async () => {
    const { clock, queue, begun, fail } = setUp();
    queue.add("a");
    await fail("a");
    queue.addAfter("a", 50);
    await clock.advance(99);
    assert.deepEqual(begun(), ["a"]);
  });
  await t.step("delayed", async () => {
    const { clock, queue, begun, succeed } = setUp();
    queue.addAfter("a", 100);
    queue.addAfter("a", 50);
    await clock.advance(99);
    assert.deepEqual(begun(), []);
    await clock.advance(1);
    await succeed("a");
    await clock.advance(1_000);
    assert.deepEqual(begun(), ["a"]);
  });
});

Deno.test("a running key that is delayed runs once more, so long after its end", async (t) => {
  for (const ends of ["well", "badly, and forgotten"] as const) {
    await t.step(ends, async () => {
      const { clock, queue, begun, succeed, fail } = setUp();
      queue.add("a");
      if (ends !== "well") queue.forget("a");
      queue.addAfter("a", 50);
      await (ends === "well" ? succeed("a") : fail("a"));
      await clock.advance(49);
      assert.deepEqual(begun(), ["a"]);
      await clock.advance(1);
      assert.deepEqual(begun(), ["a"]);
    });
  }
});

Deno.test("work says when it is due again", async (t) => {
  const again = () => {
    const runs: string[] = [];
    const run = (key: string) => Promise.resolve(void runs.push(key)).then(() => 100);
    return { ...setUp({ run }), begun: () => runs.splice(0) };
  };
  await t.step("and runs then", async () => {
    const { clock, queue, begun } = again();
    queue.add("a");
    await clock.advance(99);
    assert.deepEqual(begun(), ["a"]);
    await clock.advance(1);
    assert.deepEqual(begun(), ["a"]);
  });
  await t.step("or when it is added", async () => {
    const { clock, queue, begun } = again();
    queue.add("a");
    await clock.advance(50);
    queue.add("a");
    await clock.advance(99);
    assert.deepEqual(begun(), ["a", "a"]);
  });
  await t.step("unless it is forgotten", async () => {
    const { clock, queue, begun } = again();
    queue.add("a");
    queue.forget("a");
    await clock.advance(0);
    queue.add("b");
    await clock.advance(0);
    queue.forget("b");
    await clock.advance(1_000);
    assert.deepEqual(begun(), ["a", "b"]);
    assert.equal(clock.timers, 0);
  });
});

Deno.test("a failure that is the same as the last in a row is told as repeated", async () => {
  const repeats: boolean[] = [];
  const { clock, queue, succeed, fail } = setUp({
    onError: (_key, _error, _ms, repeated) => void repeats.push(repeated),
  });
  queue.add("a");
  for (const message of ["x", "x", "y", "x"]) {
    await fail("a", new Error(message));
    await clock.advance(1_000);
  }
  await succeed("a");
  queue.add("a");
  await fail("a", new Error("x"));
  assert.deepEqual(repeats, [false, true, false, false, false]);
});

Deno.test("adding cuts a delay short", async () => {
  const { clock, queue, begun, succeed } = setUp();
  queue.addAfter("a", 5_000);
  queue.add("a");
  await succeed("a");
  await clock.advance(10_000);
  assert.deepEqual(begun(), ["a"]);
});

Deno.test("a write that changed nothing is repeated after growing pauses only, however often its key is added", async () => {
  const { clock, queue, begun, succeed, errors } = setUp();
  const starts: number[] = [];
  queue.add("a");
  for (let i = 0; i < 5; i++) {
    assert.deepEqual(begun(), ["a"]);
    starts.push(clock.monotonic());
    queue.add("a", "urgent");
    await succeed("a", "unchanged");
    assert.deepEqual(begun(), [], "not at once");
    await clock.advance(i < 2 ? 100 * 2 ** i : 500);
  }
  assert.deepEqual(starts.map((start, i) => start - (starts[i - 1] ?? start)), [0, 100, 200, 500, 500]);
  assert.deepEqual(errors, []);
  assert.deepEqual(begun(), ["a"]);
  queue.add("a");
  await succeed("a");
  assert.deepEqual(begun(), ["a"], "a write that changed something is not held back");
  await succeed("a", "unchanged");
  await clock.advance(10_000);
  assert.deepEqual(begun(), [], "nobody asked for more");
});

Deno.test("a forgotten key does not run", async (t) => {
  await t.step("unknown", () => setUp().queue.forget("a"));
  for (const priority of ["bulk", "urgent"] as const) {
    await t.step(`waiting, ${priority}`, async () => {
      const { queue, begun, succeed } = setUp();
      queue.add("first");
      queue.add("a", priority);
      queue.forget("a");
      assert.equal(queue.depth, 0);
      await succeed("first");
      assert.deepEqual(begun(), ["first"]);
    });
  }
  await t.step("pausing after a failure", async () => {
    const { clock, queue, begun, fail } = setUp();
    queue.add("a");
    await fail("a");
    queue.forget("a");
    assert.equal(queue.failures("a"), 0);
    assert.equal(clock.timers, 0);
    await clock.advance(10_000);
    assert.deepEqual(begun(), ["a"]);
  });
  await t.step("delayed, and delayed again after that", async () => {
    const { clock, queue, begun } = setUp();
    queue.addAfter("a", 100);
    queue.forget("a");
    assert.equal(clock.timers, 0);
    queue.addAfter("a", 200);
    await clock.advance(199);
    assert.deepEqual(begun(), []);
    await clock.advance(1);
    assert.deepEqual(begun(), ["a"]);
  });
  await t.step("running, added again and failing: neither repeated nor retried", async () => {
    const { clock, queue, errors, begun, fail } = setUp();
    queue.add("a");
    queue.add("a");
    queue.forget("a");
    await fail("a");
    await clock.advance(10_000);
    assert.deepEqual(begun(), ["a"]);
    assert.deepEqual(errors, []);
    assert.equal(queue.failures("a"), 0);
  });
  await t.step("running, and added after that: runs again as if new", async () => {
    const { queue, errors, begun, fail } = setUp();
    queue.add("a");
    await fail("a");
    queue.add("a");
    queue.forget("a");
    queue.add("a");
    await fail("a");
    assert.deepEqual(begun(), ["a", "a", "a"]);
    assert.equal(errors.at(-1)?.retryInMs, 100);
  });
});

Deno.test("the longest run is known", async () => {
  const { clock, queue, succeed, fail } = setUp({ concurrency: 2 });
  assert.equal(queue.oldestRunMs(), 0);
  queue.addAfter("c", 100_000); // does not run, however long it is there
  queue.add("a");
  assert.equal(queue.oldestRunMs(), 0);
  await clock.advance(300);
  queue.add("b");
  await clock.advance(200);
  assert.equal(queue.oldestRunMs(), 500);
  await succeed("a");
  assert.equal(queue.oldestRunMs(), 200);
  await fail("b");
  await clock.advance(50);
  assert.equal(queue.oldestRunMs(), 0);
});

Deno.test("a queue with nothing to do stops at once", async () => {
  const { clock, queue, begun } = setUp();
  await queue.stop(1_000);
  queue.add("a", "urgent");
  queue.addAfter("b", 10);
  assert.equal(queue.depth, 0);
  assert.equal(clock.timers, 0);
  assert.deepEqual(begun(), []);
});

Deno.test("stopping gives up what waits and lets finish what runs", async () => {
  const { clock, queue, begun, signal, fail, succeed } = setUp({ concurrency: 2 });
  queue.add("failed");
  await fail("failed");
  queue.addAfter("delayed", 10);
  ["a", "b", "waiting"].forEach((key) => queue.add(key));
  queue.add("urgent", "urgent");
  begun();

  let stopped = false;
  const stop = queue.stop(1_000).then(() => stopped = true);
  queue.add("a"); // none of these is taken any more
  queue.add("new");
  queue.addAfter("later", 20_000);
  await clock.advance(900);
  assert.equal(signal("a")?.aborted, false);
  assert.equal(queue.oldestRunMs(), 900);
  await succeed("a");
  assert.equal(stopped, false);
  await fail("b");
  assert.equal(stopped, true);
  await stop;
  assert.equal(queue.depth, 0);
  assert.equal(clock.timers, 0);
  assert.deepEqual(begun(), []);
});

Deno.test("work that does not end in time is told so", async () => {
  const { clock, queue, errors, signal, fail } = setUp();
  queue.add("a");
  const stop = queue.stop(1_000);
  await clock.advance(999);
  assert.equal(signal("a")?.aborted, false);
  await clock.advance(1);
  assert.equal(signal("a")?.aborted, true);
  await fail("a", signal("a")?.reason);
  await stop;
  assert.deepEqual(errors, []); // given up, not failed
  assert.equal(clock.timers, 0);
});

Deno.test("a queue tells what it does", async () => {
  const told: string[] = [];
  const observer: QueueObserver = {
    depth: (keys) => told.push(`depth ${keys}`),
    added: () => told.push("added"),
    started: (waited) => told.push(`started after ${waited} s`),
    finished: (worked) => told.push(`finished after ${worked} s`),
    retried: () => told.push("retried"),
  };
  const { clock, queue, succeed, fail } = setUp({ observer, slowAfterMs: 60_000 });
  queue.add("a");
  assert.deepEqual(told.splice(0), ["added", "depth 1", "depth 0", "started after 0 s"]);
  queue.add("b");
  await clock.advance(1_000);
  queue.add("b", "urgent"); // has been waiting all the same
  await clock.advance(500);
  assert.deepEqual(told.splice(0), ["added", "depth 1", "added", "depth 1"]);
  await succeed("a");
  assert.deepEqual(told.splice(0), ["finished after 1.5 s", "depth 0", "started after 1.5 s"]);
  await fail("b");
  assert.deepEqual(told.splice(0), ["finished after 0 s", "retried"]);
  queue.add("c");
  queue.add("d");
  told.splice(0);
  queue.forget("d");
  assert.deepEqual(told.splice(0), ["depth 0"]);
});

Deno.test("whatever happens in whatever order, no key runs twice at once, and none is lost", async () => {
  // A fixed sequence of pseudo-random numbers (xorshift), so that a failure can be repeated.
  let state = 0x2545f491;
  const random = (below: number) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  const { clock, queue, running, begun, succeed, fail } = setUp({ concurrency: 2, maxInFlight: 4 });
  const keys = ["a", "b", "c", "d", "e", "f"];
  /** Keys that were added, and whose work has not begun since. */
  const due = new Set<string>();
  let forgotten = 0;
  for (let step = 0; step < 3_000; step++) {
    const key = keys[random(keys.length)] ?? "a";
    const [busy] = running();
    switch (random(7)) {
      case 0:
      case 1:
        due.add(key); // before, since the work may begin at once
        queue.add(key, random(2) === 0 ? "bulk" : "urgent");
        break;
      case 2:
        queue.forget(key);
        due.delete(key);
        forgotten++;
        break;
      case 3:
        await clock.advance(random(700));
        break;
      case 4:
        if (busy !== undefined) await fail(busy);
        break;
      default:
        if (busy !== undefined) await succeed(busy);
    }
    begun().forEach((begunKey) => due.delete(begunKey));
    assert.ok(running().length <= 4);
  }
  assert.ok(forgotten > 100);
  for (let key; (key = running()[0]) !== undefined;) await succeed(key);
  begun().forEach((key) => due.delete(key));
  assert.deepEqual([...due], []);
  assert.equal(queue.depth, 0);
});
