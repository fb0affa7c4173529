import assert from "node:assert/strict";
import { FakeClock } from "../../tests/fake_clock.ts";
import { createLogger } from "../log.ts";
import { KubeConnectionError } from "./errors.ts";
import { failureCause, FailureLog } from "./failure_log.ts";

const SIX = ["bundles", "lease", "namespaces", "source configmaps", "source secrets", "target configmaps"];
const MINUTE = 60_000;

class World implements Disposable {
  readonly clock = new FakeClock();
  readonly #lines: string[] = [];
  readonly failures = new FailureLog({
    clock: this.clock,
    log: createLogger({
      format: "text",
      level: 1,
      clock: this.clock,
      write: (line) => this.#lines.push(line),
    }),
  });

  /** What was logged since the last call, without time. */
  take(): string[] {
    return this.#lines.splice(0).map((line) => line.replace(/^time=\S+ /, ""));
  }

  [Symbol.dispose](): void {
    for (const what of [...SIX, "a", "b"]) this.failures.forget(what);
    for (let i = 0; i < 100; i++) this.failures.forget(name(i));
    assert.equal(this.clock.timers, 0, "timers are left");
  }
}

const name = (i: number) => `n-${String(i).padStart(2, "0")}`;

const told = (cause: string, failing: string, failedMs: number) =>
  'level=ERROR msg="Requests to the API server fail; they are sent again until they work" ' +
  `err="${cause}" failing=${
    /[ ,]/.test(failing) && failing.includes(" ") ? `"${failing}"` : failing
  } failedMs=${failedMs}`;
const over = (cause: string, failedMs: number) =>
  `level=INFO msg="Requests to the API server work again" cause="${cause}" failedMs=${failedMs}`;

Deno.test("one cause is one line that names all it hits, again each minute, and one when it is over", async () => {
  using world = new World();
  const { failures, clock } = world;
  for (const what of SIX) {
    failures.failing(what, "connection refused");
    await clock.advance(100);
  }
  assert.deepEqual(world.take(), []);
  await clock.advance(400);
  assert.deepEqual(world.take(), [told("connection refused", SIX.join(", "), 1_000)]);
  for (let minute = 1; minute <= 5; minute++) {
    for (const what of SIX) failures.failing(what, "connection refused"); // each attempt
    await clock.advance(MINUTE);
    assert.deepEqual(world.take(), [told("connection refused", SIX.join(", "), 1_000 + minute * MINUTE)]);
  }
  for (const what of SIX.slice(1)) failures.recovered(what);
  assert.deepEqual(world.take(), []);
  failures.recovered("bundles");
  assert.deepEqual(world.take(), [over("connection refused", 1_000 + 5 * MINUTE)]);
  assert.equal(failures.causeOf("bundles"), undefined);
  await clock.advance(10 * MINUTE);
  assert.deepEqual(world.take(), []);
});

Deno.test("other causes are lines of their own, and a change of the cause is no recovery", async () => {
  using world = new World();
  const { failures, clock } = world;
  failures.failing("a", "no right to a");
  failures.failing("b", "no right to b");
  await clock.advance(1_000);
  assert.deepEqual(world.take(), [told("no right to a", "a", 1_000), told("no right to b", "b", 1_000)]);
  failures.failing("a", "status 503");
  failures.failing("b", "status 503");
  assert.equal(failures.causeOf("a"), "status 503");
  assert.deepEqual(world.take(), []);
  await clock.advance(1_000);
  assert.deepEqual(world.take(), [told("status 503", "a, b", 1_000)]);
  await clock.advance(2 * MINUTE);
  assert.equal(world.take().length, 2);
});

Deno.test("what comes and goes is told once a minute at most, and what is over at once is not told", async () => {
  using world = new World();
  const { failures, clock } = world;
  failures.failing("a", "it broke");
  failures.recovered("a");
  await clock.advance(MINUTE);
  assert.deepEqual(world.take(), []);
  for (let second = 0; second < 600; second += 5) {
    failures.failing("a", "it broke");
    await clock.advance(2_500);
    failures.recovered("a");
    await clock.advance(2_500);
  }
  const lines = world.take();
  assert.ok(lines.length >= 10 && lines.length <= 22, `${lines.length} lines`);
});

Deno.test("causes that never come again are forgotten, and of many that fail some are named", async () => {
  using world = new World();
  const { failures, clock } = world;
  for (let i = 0; i < 1_000; i++) {
    failures.failing("a", `cause ${i}`);
    await clock.advance(2 * MINUTE);
  }
  world.take();
  for (let i = 0; i < 100; i++) failures.failing(name(i), "all");
  failures.recovered("a");
  await clock.advance(1_000);
  const last = world.take().at(-1) ?? "";
  assert.match(last, /failing="n-00, .*, n-09 and 90 more"/);
});

Deno.test("one cause has one text, whichever request met it", () => {
  const late = (ms: number, request: string) =>
    new KubeConnectionError(`https://api did not answer within ${ms} ms for ${request}`, { timedOut: true });
  assert.equal(failureCause(late(5_000, "PUT /apis/x/leases/y"), ""), "https://api did not answer in time");
  assert.equal(
    failureCause(late(30_000, "GET /api/v1/namespaces"), ""),
    "https://api did not answer in time",
  );
  assert.equal(failureCause(new Error("it broke within 5 ms"), ""), "it broke within 5 ms");
  assert.equal(failureCause(undefined, "stream ended early"), "stream ended early");
});
