import assert from "node:assert/strict";
import { FakeApiServer, status } from "../../tests/fake_api_server.ts";
import { FakeClock, settled } from "../../tests/fake_clock.ts";
import { createLogger } from "../log.ts";
import { KubeConnectionError } from "./errors.ts";
import { cutNote, type EventInput, eventName, EventRecorder } from "./event_recorder.ts";
import type { KubeObject } from "./objects.ts";

const EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events";

interface Event extends KubeObject {
  note?: string;
  series?: { count: number; lastObservedTime: string };
}

const failed = (note: string, name = "my-bundle"): EventInput => ({
  type: "Warning",
  reason: "SourceNotFound",
  action: "SyncFailed",
  note,
  regarding: { apiVersion: "trust.cert-manager.io/v1alpha1", kind: "Bundle", name, uid: `uid-of-${name}` },
});

class World implements AsyncDisposable {
  readonly clock = new FakeClock("2030-01-01T00:00:00Z");
  readonly server = new FakeApiServer(this.clock);
  readonly lines: string[] = [];
  readonly recorder = new EventRecorder({
    client: this.server,
    clock: this.clock,
    random: Math.random,
    log: createLogger({
      format: "text",
      level: 1,
      write: (line) => this.lines.push(line),
      clock: this.clock,
    }),
    reportingController: "bundles",
    reportingInstance: "trust-manager-0",
    namespace: "default",
  });

  get events(): Event[] {
    return this.server.objects(EVENTS);
  }

  /** `note: count` of all events. */
  get counts(): Record<string, number> {
    return Object.fromEntries(this.events.map(({ note = "", series }) => [note, series?.count ?? 1]));
  }

  async record(...events: EventInput[]): Promise<void> {
    for (const event of events) this.recorder.record(event);
    await settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const flushed = this.recorder.flush(1000);
    await this.clock.advance(1000);
    await flushed;
    assert.equal(this.clock.timers, 0, "timers are left");
  }
}

Deno.test("an event as the API server gets it", async () => {
  await using world = new World();
  await world.record(failed("Secret not found"));
  const [event] = world.events;
  const { name, namespace } = event?.metadata ?? {};
  assert.match(name ?? "", /^my-bundle\.[0-9a-f]{16}$/);
  assert.deepEqual({ ...event, metadata: { namespace } }, {
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: { namespace: "default" },
    eventTime: "2030-01-01T00:00:00.000000Z",
    reportingController: "bundles",
    reportingInstance: "trust-manager-0",
    type: "Warning",
    reason: "SourceNotFound",
    action: "SyncFailed",
    note: "Secret not found",
    regarding: {
      apiVersion: "trust.cert-manager.io/v1alpha1",
      kind: "Bundle",
      name: "my-bundle",
      uid: "uid-of-my-bundle",
    },
  });
});

Deno.test("events of namespaced objects go into their namespace", async () => {
  await using world = new World();
  const regarding = { apiVersion: "v1", kind: "ConfigMap", namespace: "team", name: "x", uid: "1" };
  await world.record({ ...failed("note"), regarding });
  assert.equal(world.server.objects("/apis/events.k8s.io/v1/namespaces/team/events").length, 1);
});

Deno.test("what makes events equal", async (t) => {
  const event = failed("note");
  const table: { name: string; other: EventInput; events: number }[] = [
    { name: "all the same", other: failed("note"), events: 1 },
    {
      name: "another resourceVersion",
      other: { ...event, regarding: { ...event.regarding, resourceVersion: "7" } },
      events: 1,
    },
    { name: "another note", other: failed("other note"), events: 2 },
    { name: "another object", other: failed("note", "other"), events: 2 },
    {
      name: "an object created again",
      other: { ...event, regarding: { ...event.regarding, uid: "other" } },
      events: 2,
    },
    { name: "another reason", other: { ...event, reason: "Other" }, events: 2 },
    { name: "another action", other: { ...event, action: "Other" }, events: 2 },
    { name: "another type", other: { ...event, type: "Normal" }, events: 2 },
  ];
  for (const { name, other, events } of table) {
    await t.step(name, async () => {
      await using world = new World();
      await world.record(event);
      await world.record(other);
      assert.equal(world.events.length, events);
    });
  }
});

Deno.test("repeats become a series whose count is written now and then", async () => {
  await using world = new World();
  await world.record(failed("note"));
  await world.clock.advance(1000);
  await world.record(failed("note"));
  assert.deepEqual(world.events[0]?.series, { count: 2, lastObservedTime: "2030-01-01T00:00:01.000000Z" });

  const before = world.server.revision;
  for (let minute = 0; minute < 60; minute++) {
    await world.clock.advance(60_000);
    await world.record(failed("note"), failed("note"));
  }
  assert.equal(world.events.length, 1);
  const writes = world.server.revision - before;
  assert(writes >= 8 && writes <= 10, `${writes} writes in an hour`);

  // When it does not come any more, the last count is written.
  await world.clock.advance(10 * 60_000);
  assert.deepEqual(world.events[0]?.series, { count: 122, lastObservedTime: "2030-01-01T01:00:01.000000Z" });
  assert.equal(world.clock.timers, 0, "all is forgotten after a while");
});

Deno.test("what comes again after the series is over is a new event", async () => {
  await using world = new World();
  await world.record(failed("note"));
  await world.clock.advance(6 * 60_000 - 1);
  await world.record(failed("note"));
  assert.equal(world.events.length, 1);
  await world.clock.advance(6 * 60_000);
  await world.record(failed("note"));
  assert.deepEqual(world.events.map((event) => event.series?.count), [2, undefined]);
});

Deno.test("the last count of a series is written also when the next begins", async () => {
  await using world = new World();
  await world.record(failed("note"));
  await world.clock.advance(1000);
  await world.record(failed("note"));
  await world.record(failed("note"));
  await world.clock.advance(6 * 60_000); // over, and not looked through yet
  await world.record(failed("note"));
  assert.deepEqual(world.events.map((event) => event.series?.count), [3, undefined]);
});

Deno.test("repeats before the event is written, and while it is", async () => {
  await using world = new World();
  await world.record(failed("a"), failed("a"), failed("a"));
  assert.deepEqual(world.counts, { a: 3 });
  let once = false;
  world.server.intercept = () => {
    if (!once) world.recorder.record(failed("b"));
    once = true;
    return undefined;
  };
  await world.record(failed("b"));
  assert.deepEqual(world.counts, { a: 3, b: 2 });
});

Deno.test("a series whose event is gone begins again", async () => {
  await using world = new World();
  await world.record(failed("note"));
  world.server.remove(EVENTS, world.events[0]?.metadata.name ?? "");
  await world.record(failed("note"));
  assert.deepEqual(world.counts, { note: 2 });
});

Deno.test("one object cannot flood, and does not use up what others may have", async () => {
  await using world = new World();
  for (let i = 0; i < 100; i++) await world.record(failed(`note ${i}`));
  assert.equal(world.events.length, 25);
  await world.record(failed("note", "other"));
  assert.equal(world.events.length, 26);
  await world.clock.advance(5 * 60_000);
  await world.record(failed("note 100"), failed("note 101"));
  assert.equal(world.events.length, 27);
  await world.clock.advance(24 * 3600_000);
  assert.equal(world.clock.timers, 0, "all is forgotten after a while");
});

Deno.test("many broken objects cause few writes", async () => {
  await using world = new World();
  const before = world.server.revision;
  for (let second = 0; second < 3600; second += 30) {
    await world.record(...Array.from({ length: 100 }, (_, i) => failed("note", `bundle-${i}`)));
    await world.clock.advance(30_000);
  }
  const writes = world.server.revision - before;
  assert(writes <= 100 * 12, `${writes} writes in an hour`); // created, first repeat, one per six minutes
  assert.equal(world.events.length, 100);
});

Deno.test("a server that does not answer holds nobody up, and no more than so many events wait", async () => {
  await using world = new World();
  world.server.freeze();
  for (let i = 0; i < 3000; i++) world.recorder.record(failed("note", `bundle-${i}`));
  await settled();
  await world.clock.advance(30_000);
  await world.clock.advance(0);
  assert(world.events.length >= 999 && world.events.length <= 1000, `${world.events.length} events`);
});

Deno.test("failures are logged, but not each of them, and another occurrence is another chance", async () => {
  await using world = new World();
  world.server.intercept = () => status(403, "Forbidden", "events is forbidden");
  for (let i = 0; i < 10; i++) await world.record(failed(`note ${i}`));
  assert.equal(world.lines.length, 1);
  assert.match(
    world.lines[0] ?? "",
    /level=ERROR msg="Event could not be written" err="events is forbidden" reason=SourceNotFound object=my-bundle/,
  );
  world.server.intercept = () => undefined;
  await world.record(failed("note 0"));
  assert.deepEqual(world.counts, { "note 0": 1 });
});

Deno.test("an update that is refused, or does not get through, is tried as often as the count would be written", async (t) => {
  const failures: Record<string, Error> = {
    "no right to patch": status(403, "Forbidden", "events is forbidden"),
    "an admission webhook": status(400, "BadRequest", "admission webhook denied the request"),
    "not valid": status(422, "Invalid", "series is invalid"),
    "a conflict": status(409, "Conflict", "the object has been modified"),
    "overload": status(429, "TooManyRequests", "slow down"),
    "an error of the server": status(500, "InternalError", "etcd is away"),
    "no connection": new KubeConnectionError("connection refused", { timedOut: false }),
  };
  for (const [name, failure] of Object.entries(failures)) {
    await t.step(name, async () => {
      await using world = new World();
      await world.record(failed("note"));
      const requests: string[] = [];
      world.server.intercept = (request) => {
        requests.push("method" in request ? request.method ?? "GET" : "GET");
        return requests.length < 1000 ? failure : undefined; // so that a loop ends
      };
      const start = world.clock.monotonic();
      for (let i = 0; i < 100; i++) await world.record(failed("note"));
      assert.deepEqual(requests, ["PATCH"], "the first repeat");
      for (let second = 0; second < 3600; second += 10) {
        await world.clock.advance(10_000);
        await world.record(failed("note"));
      }
      const hours = (world.clock.monotonic() - start) / 3_600_000;
      assert.ok(requests.length >= 9 && requests.length <= 12 * hours, `${requests.length} requests`);
      // Once they are taken again, so is the count.
      world.server.intercept = () => undefined;
      await world.clock.advance(10 * 60_000);
      assert.deepEqual(world.counts, { note: 461 });
      assert.equal(world.clock.timers, 0, "all is forgotten after a while");
    });
  }
});

Deno.test("an event that is gone and may not be made anew is tried now and then, too", async () => {
  await using world = new World();
  await world.record(failed("note"));
  world.server.remove(EVENTS, world.events[0]?.metadata.name ?? "");
  let requests = 0;
  world.server.intercept = (request) => {
    return "body" in request && request.method === "POST" && ++requests < 1000
      ? status(403, "Forbidden", "events is forbidden")
      : undefined;
  };
  for (let i = 0; i < 100; i++) await world.record(failed("note"));
  assert.equal(requests, 1, "attempts to make it anew");
});

Deno.test("an event that may not be created is tried as often as new events are allowed", async () => {
  await using world = new World();
  let requests = 0;
  world.server.intercept = () => {
    return ++requests > 1000 ? undefined : status(403, "Forbidden", "events is forbidden");
  };
  for (let second = 0; second < 3600; second += 10) {
    await world.record(failed("note"));
    await world.clock.advance(10_000);
  }
  assert.ok(requests <= 25 + 12, `${requests} requests in an hour`);
});

Deno.test("an event that is there already is our own: the answer was lost", async () => {
  await using world = new World();
  world.server.intercept = (request) => {
    if ("body" in request) world.server.put(EVENTS, request.body as unknown as Event);
    world.server.intercept = () => undefined;
    return undefined;
  };
  await world.record(failed("note"));
  await world.record(failed("note"));
  assert.deepEqual(world.counts, { note: 2 });
  assert.deepEqual(world.lines, []);
});

Deno.test("flush writes what waits and the last counts, and ends the recorder", async () => {
  const world = new World();
  await world.record(failed("a"));
  await world.record(failed("a"));
  await world.record(failed("a"), failed("a"));
  assert.deepEqual(world.counts, { a: 2 });
  world.recorder.record(failed("b"));
  await world.recorder.flush(1000);
  assert.deepEqual(world.counts, { a: 4, b: 1 });
  await world.record(failed("c"));
  assert.deepEqual(world.counts, { a: 4, b: 1 });
  assert.equal(world.clock.timers, 0);
});

Deno.test("flush ends in time", async () => {
  const world = new World();
  world.server.freeze();
  await world.record(failed("a"), failed("b"));
  let done = false;
  const flushed = world.recorder.flush(1000).then(() => done = true);
  await world.clock.advance(999);
  assert.equal(done, false);
  await world.clock.advance(1);
  await flushed;
  assert.equal(world.clock.timers, 0);
});

Deno.test("notes are cut between characters, at 1,024 bytes", async (t) => {
  const bytes = (text: string) => new TextEncoder().encode(text).length;
  const table: { name: string; note: string; cut: string }[] = [
    { name: "short", note: "note", cut: "note" },
    { name: "empty", note: "", cut: "" },
    { name: "just fits", note: "x".repeat(1024), cut: "x".repeat(1024) },
    { name: "a byte too long", note: "x".repeat(1025), cut: "x".repeat(1021) + "…" },
    { name: "characters of two bytes", note: "ä".repeat(513), cut: "ä".repeat(510) + "…" },
    { name: "characters of four bytes fit", note: "😀".repeat(256), cut: "😀".repeat(256) },
    { name: "characters of four bytes", note: "😀".repeat(257), cut: "😀".repeat(255) + "…" },
    { name: "half a character", note: "a\ud800b", cut: "a\ufffdb" },
  ];
  for (const { name, note, cut } of table) {
    await t.step(name, () => {
      assert.equal(cutNote(note), cut);
      assert(bytes(cutNote(note)) <= 1024);
    });
  }
});

Deno.test("names of events are DNS subdomains", async (t) => {
  const suffix = "0123456789abcdef";
  const table: { name: string; object: string; wanted: string }[] = [
    { name: "short", object: "my.bundle", wanted: `my.bundle.${suffix}` },
    { name: "the longest that fits", object: "x".repeat(236), wanted: `${"x".repeat(236)}.${suffix}` },
    { name: "the longest of a Bundle", object: "x".repeat(253), wanted: `${"x".repeat(236)}.${suffix}` },
    { name: "cut behind a dot", object: "x".repeat(235) + ".yz", wanted: `${"x".repeat(235)}.${suffix}` },
    { name: "cut behind a dash", object: "x".repeat(234) + "--yz", wanted: `${"x".repeat(234)}.${suffix}` },
  ];
  for (const { name, object, wanted } of table) {
    await t.step(name, () => {
      assert.equal(eventName(object, suffix), wanted);
      assert(wanted.length <= 253);
    });
  }
});
