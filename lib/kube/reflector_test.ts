import assert from "node:assert/strict";
import { getHeapSnapshot } from "node:v8";
import { FakeApiServer, status } from "../../tests/fake_api_server.ts";
import { FakeClock, settled } from "../../tests/fake_clock.ts";
import { createLogger } from "../log.ts";
import { KubeConnectionError } from "./errors.ts";
import type { KubeObject } from "./objects.ts";
import { Reflector, type ReflectorOptions } from "./reflector.ts";
import { SharedConnection } from "./shared_connection.ts";
import { type Change, Store } from "./store.ts";

interface Thing extends KubeObject {
  value?: number;
}

interface Item {
  readonly name: string;
  readonly value: number | undefined;
}

const PATH = "/apis/example.com/v1/things";

const thing = (name: string, value: number, labels?: Record<string, string>): Thing => ({
  metadata: { name, ...(labels ? { labels } : {}) },
  value,
});

/** A server, a store and a reflector that runs between them until the world is disposed of. */
class World implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly server = new FakeApiServer(this.clock);
  readonly connection = new SharedConnection(this.server);
  readonly changes: Change<Item>[] = [];
  readonly lines: string[] = [];
  readonly store: Store<Item> = new Store<Item>({
    keyOf: (item) => item.name,
    same: (a, b) => a.value === b.value,
    onChange: (change) => this.changes.push(change),
  });
  readonly #abort = new AbortController();
  readonly #runs: Promise<void>[] = [];

  async start(options: Partial<ReflectorOptions<Item, Thing>> = {}): Promise<void> {
    const reflector = new Reflector<Item, Thing>({
      connection: this.connection,
      path: PATH,
      metadataOnly: false,
      convert: ({ metadata, value }) => ({ name: metadata.name, value }),
      writer: this.store.writer(),
      clock: this.clock,
      random: () => 0.5,
      log: createLogger({
        format: "text",
        level: 1,
        write: (line) => this.lines.push(line),
        clock: this.clock,
      }),
      name: "things",
      ...options,
    });
    this.#runs.push(reflector.run(this.#abort.signal));
    await settled();
  }

  put(...things: Thing[]): void {
    for (const thing of things) this.server.put(PATH, thing);
  }

  get content(): Record<string, number | undefined> {
    return Object.fromEntries([...this.store.values()].map(({ name, value }) => [name, value]));
  }

  /** What the server holds, in the same form. */
  get truth(): Record<string, number | undefined> {
    return Object.fromEntries(this.server.objects(PATH).map((o: Thing) => [o.metadata.name, o.value]));
  }

  assertEqual(): void {
    assert.deepEqual(this.content, this.truth);
    assert.equal(this.store.synced, true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error("The test is over"));
    await Promise.all(this.#runs);
    assert.equal(this.clock.timers, 0, "timers are left");
    await settled();
    assert.equal(this.server.watches, 0, "watches are left");
  }
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => thing(`thing-${i}`, i));

Deno.test("a store follows its collection", async () => {
  await using world = new World();
  world.put(thing("a", 1), thing("b", 2));
  await world.start();
  world.assertEqual();
  assert.equal(world.changes.length, 2);

  world.put(thing("b", 3), thing("c", 4));
  world.server.remove(PATH, "a");
  await settled();
  assert.deepEqual(world.content, { b: 3, c: 4 });
  world.assertEqual();
});

Deno.test("an empty collection is a list, too", async () => {
  await using world = new World();
  await world.start();
  assert.equal(world.store.synced, true);
  assert.equal(world.store.size, 0);
});

Deno.test("only what the selector selects is seen, also when it ceases to match", async () => {
  await using world = new World();
  world.put(thing("a", 1, { team: "x" }), thing("b", 2));
  await world.start({ labelSelector: "team=x" });
  assert.deepEqual(world.content, { a: 1 });
  world.put(thing("b", 2, { team: "x" }), thing("a", 1));
  await settled();
  assert.deepEqual(world.content, { b: 2 });
});

Deno.test("metadata only, streamed and listed", async () => {
  for (const initialEvents of ["streamed", "refused"] as const) {
    await using world = new World();
    world.server.initialEvents = initialEvents;
    world.put(thing("a", 1));
    const seen: string[] = [];
    await world.start({
      metadataOnly: true,
      convert: (raw) => {
        seen.push(Object.keys(raw).filter((key) => key !== "kind" && key !== "apiVersion").join());
        return { name: raw.metadata.name, value: 0 };
      },
    });
    world.put(thing("b", 1));
    await settled();
    assert.deepEqual(world.content, { a: 0, b: 0 });
    assert.deepEqual(seen, ["metadata", "metadata"]);
  }
});

Deno.test("500 and more objects arrive, streamed and listed", async () => {
  for (const initialEvents of ["streamed", "refused"] as const) {
    for (const count of [499, 500, 501, 1250]) {
      await using world = new World();
      world.server.initialEvents = initialEvents;
      world.put(...numbered(count));
      await world.start();
      world.assertEqual();
      assert.equal(world.store.size, count);
    }
  }
});

Deno.test("an initial stream that is cut anywhere shows nothing, and is made again", async () => {
  const [first, second] = [thing("first", 1), thing("second", 2)];
  const setUp = () => {
    const world = new World();
    world.put(first, second);
    return world;
  };
  const length = await (async () => {
    await using world = setUp();
    const abort = new AbortController();
    const stream = await world.server.stream({
      path: PATH,
      query: { sendInitialEvents: true },
      signal: abort.signal,
    });
    world.server.endWatches();
    return (await new Response(stream).bytes()).length;
  })();
  for (const by of ["end", "error"] as const) {
    for (let cut = 0; cut < length; cut += 1) {
      await using world = setUp();
      world.server.cutNextStream(cut, by);
      await world.start();
      assert.equal(world.store.synced, false, `cut at ${cut}`);
      assert.deepEqual(world.changes, []);
      world.server.remove(PATH, "first"); // may have been collected already
      await world.clock.advance(2000);
      world.assertEqual();
    }
  }
});

Deno.test("a watch that is cut anywhere goes on where it was", async () => {
  const first = thing("ä€😀", 1); // characters of several bytes are cut, too
  const length = new TextEncoder().encode(JSON.stringify({ type: "ADDED", object: first }) + "\n").length +
    100;
  for (let cut = 0; cut < length; cut += 1) {
    await using world = new World();
    world.server.chunkBytes = 7;
    await world.start();
    world.server.cutNextStream(cut);
    world.server.endWatches(); // the next stream is the one to be cut
    await settled();
    world.put(first);
    world.put(thing("second", 2));
    world.server.remove(PATH, "second");
    world.put(thing("third", 3));
    await world.clock.advance(5000);
    world.assertEqual();
    assert.deepEqual(
      world.changes.map((change) => [change.key, change.after !== undefined]),
      [["ä€😀", true], ["second", true], ["second", false], ["third", true]],
      `cut at ${cut}: each change is seen once`,
    );
  }
});

Deno.test("what happens between two watches is not missed", async () => {
  await using world = new World();
  world.put(thing("a", 1));
  await world.start();
  world.server.intercept = () => new KubeConnectionError("Connection refused", { timedOut: false });
  world.server.endWatches();
  await settled();
  world.put(thing("b", 2));
  world.server.remove(PATH, "a");
  world.server.intercept = () => undefined;
  await world.clock.advance(60_000);
  assert.deepEqual(world.content, { b: 2 });
});

Deno.test("a bookmark moves the place from which a watch goes on", async () => {
  await using world = new World();
  await world.start();
  for (let i = 0; i < 5; i++) world.server.put("/apis/example.com/v1/others", thing("other", i));
  world.server.compact();
  world.server.bookmark();
  await settled();
  let requests: unknown[] = [];
  world.server.intercept = ({ query }) => {
    requests = [...requests, query?.resourceVersion];
    return undefined;
  };
  world.server.endWatches();
  await settled();
  assert.deepEqual(requests, [String(world.server.revision)]); // resumed, not listed
  world.assertEqual();
});

Deno.test("410 Gone leads to a new list that replaces the old in one step", async (t) => {
  for (const goneBy of ["status", "event"] as const) {
    for (const initialEvents of ["streamed", "refused"] as const) {
      await t.step(`told by ${goneBy}, initial events ${initialEvents}`, async () => {
        await using world = new World();
        world.server.goneBy = goneBy;
        world.server.initialEvents = initialEvents;
        world.put(thing("gone", 1), thing("changed", 1), thing("same", 1));
        await world.start();
        world.changes.length = 0;
        world.server.freeze();
        world.server.remove(PATH, "gone");
        world.put(thing("changed", 2), thing("new", 3));
        world.server.compact();
        await world.clock.advance(200_000);
        world.assertEqual();
        assert.deepEqual(
          world.changes.map(({ key, before, after }) => [key, before?.value, after?.value]),
          [["changed", 1, 2], ["new", undefined, 3], ["gone", 1, undefined]],
        );
      });
    }
  }
});

Deno.test("410 for the rest of a paged list: it is made again", async () => {
  await using world = new World();
  world.server.initialEvents = "refused";
  world.put(...numbered(700));
  let pages = 0;
  world.server.intercept = ({ query }) => {
    if (query?.limit !== undefined && ++pages === 2) {
      world.server.remove(PATH, "thing-0"); // was on the first page
      world.server.compact();
    }
    return undefined;
  };
  await world.start();
  world.assertEqual();
  assert.equal(world.store.size, 699);
});

Deno.test("a server that does not know initial events is listed", async (t) => {
  const table: { name: string; reveal: (world: World) => void | Promise<void> }[] = [
    { name: "its first bookmark shows it", reveal: (world) => world.server.bookmark() },
    {
      name: "or that its streams never come to the end of the initial events",
      reveal: async (world) => {
        for (let i = 0; i < 3; i++) {
          world.server.endWatches();
          await world.clock.advance(10_000);
        }
      },
    },
    { name: "or its silence", reveal: (world) => world.clock.advance(4 * 90_000) },
  ];
  for (const { name, reveal } of table) {
    await t.step(name, async () => {
      await using world = new World();
      world.server.initialEvents = "unknown";
      world.put(thing("a", 1));
      await world.start();
      assert.equal(world.store.synced, false);
      await reveal(world);
      await world.clock.advance(0);
      world.assertEqual();
      world.put(thing("b", 2));
      await settled();
      world.assertEqual();
    });
  }
});

Deno.test("an error event pauses the watch, and nothing is missed", async () => {
  for (const code of [429, 500, 504]) {
    await using world = new World();
    world.put(thing("a", 1));
    await world.start();
    world.server.failWatches(code);
    world.put(thing("b", 2));
    await settled();
    assert.deepEqual(world.content, { a: 1 });
    await world.clock.advance(2000);
    world.assertEqual();
    assert.equal(world.changes.length, 2);
  }
});

Deno.test("what cannot be understood leads to a new list", async (t) => {
  const table = [
    "this is no JSON\n",
    "[]\n",
    '{"type":"ADDED"}\n',
    '{"type":"ADDED","object":{"metadata":{}}}\n',
    '{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n',
    '{"type":"SURPRISE","object":{"metadata":{"name":"x","resourceVersion":"5"}}}\n',
  ];
  for (const garbage of table) {
    await t.step(garbage.trim(), async () => {
      await using world = new World();
      world.put(thing("a", 1));
      await world.start();
      let lists = 0;
      world.server.intercept = ({ query }) => (lists += query?.sendInitialEvents === true ? 1 : 0, undefined);
      world.server.sendGarbage(garbage);
      world.put(thing("b", 2)); // comes behind the garbage
      await world.clock.advance(2000);
      world.assertEqual();
      assert.equal(lists, 1);
    });
  }
});

Deno.test("404 and other refusals of a list are no empty list", async (t) => {
  for (const code of [401, 403, 404, 500, 503]) {
    await t.step(`${code} before the first list`, async () => {
      await using world = new World();
      world.server.intercept = () => status(code, "Test", `refused with ${code}`);
      await world.start();
      await world.clock.advance(600_000);
      assert.equal(world.store.synced, false);
      world.server.intercept = () => undefined;
      world.put(thing("a", 1));
      await world.clock.advance(60_000);
      world.assertEqual();
    });
    await t.step(`${code} later`, async () => {
      await using world = new World();
      world.put(thing("a", 1));
      await world.start();
      world.server.intercept = () => status(code, "Test", `refused with ${code}`);
      world.server.endWatches();
      await world.clock.advance(600_000);
      assert.deepEqual(world.content, { a: 1 });
      assert.equal(world.changes.length, 1);
      world.server.compact();
      world.server.intercept = () => undefined;
      world.server.remove(PATH, "a");
      await world.clock.advance(120_000);
      assert.deepEqual(world.content, {});
    });
  }
});

Deno.test("what a refusal means is told in its place, where it is known", async () => {
  await using world = new World();
  world.server.intercept = () => status(404, "", "404 page not found");
  await world.start({ explain: (code) => code === 404 ? "the definition is missing" : undefined });
  await world.clock.advance(10_000);
  assert.match(
    world.lines.join("\n"),
    /^\S+ level=ERROR .* err="the definition is missing" failing=things failedMs=1000$/,
  );
});

Deno.test("requests become rarer while they fail, and a problem is logged when it begins, each minute, and when it ends", async () => {
  await using world = new World();
  let requests = 0;
  world.server.intercept =
    () => (requests++, status(404, "NotFound", "the server could not find the requested resource"));
  await world.start();
  await world.clock.advance(3600_000);
  assert(requests > 60 && requests < 100, `${requests} requests in an hour`);
  assert.equal(world.lines.length, 60);
  for (const line of world.lines) {
    assert.match(
      line,
      /level=ERROR msg="Requests to the API server fail; .* err="the server could not find the requested resource" failing=things /,
    );
  }

  world.server.intercept = () => undefined;
  await world.clock.advance(60_000);
  const [last, ...others] = world.lines.slice(60).toReversed();
  assert.ok(others.length <= 1, "until then");
  assert.match(
    last ?? "",
    /level=INFO msg="Requests to the API server work again" cause="the server could not find/,
  );
  await world.clock.advance(3600_000);
  assert.equal(world.lines.length, 61 + others.length);
});

Deno.test("Retry-After is waited for", async () => {
  await using world = new World();
  let requests = 0;
  world.server.intercept = () => (requests++, status(429, "TooManyRequests", "slow down", 20));
  await world.start();
  await world.clock.advance(19_999);
  assert.equal(requests, 1);
  await world.clock.advance(1000);
  assert.equal(requests, 2);
});

Deno.test("watches end at different times", async () => {
  const seconds = new Set<unknown>();
  for (const random of [0, 0.25, 0.999]) {
    await using world = new World();
    world.server.intercept = ({ query }) => (seconds.add(query?.timeoutSeconds), undefined);
    await world.start({ random: () => random });
  }
  assert.deepEqual([...seconds], [290, 365, 590]);
});

Deno.test("a frozen stream is replaced, and nothing is missed", async () => {
  await using world = new World();
  world.put(thing("a", 1));
  await world.start();
  world.server.freeze();
  world.put(thing("b", 2));
  world.server.remove(PATH, "a");
  await world.clock.advance(80_000);
  assert.deepEqual(world.content, { a: 1 }); // could not be known
  await world.clock.advance(15_000);
  assert.deepEqual(world.content, { b: 2 });
  assert.equal(world.server.connections, 2);
  assert.deepEqual(world.lines, []); // it may have been a quiet one
});

Deno.test("a frozen initial stream is replaced", async () => {
  await using world = new World();
  world.put(thing("a", 1));
  world.server.intercept = () => (world.server.freeze(), undefined);
  await world.start();
  world.server.intercept = () => undefined;
  await world.clock.advance(89_000);
  assert.equal(world.store.synced, false);
  await world.clock.advance(5000);
  world.assertEqual();
});

Deno.test("streams that bookmarks come on are not silent", async () => {
  await using world = new World();
  await world.start();
  for (let i = 0; i < 20; i++) {
    await world.clock.advance(60_000);
    world.server.bookmark();
    await settled();
  }
  assert.equal(world.server.connections, 1);
  assert.deepEqual(world.lines, []);
});

Deno.test("one dead connection of many streams is replaced once", async () => {
  await using world = new World();
  for (let i = 0; i < 5; i++) {
    await world.start({ path: `${PATH}-${i}` });
    await world.clock.advance(10_000); // so that each finds out at another time
  }
  world.server.freeze();
  for (let i = 0; i < 20; i++) {
    await world.clock.advance(10_000);
    world.server.bookmark();
  }
  assert.equal(world.server.watches, 5);
  assert.equal(world.server.connections, 2);
});

Deno.test("an object that cannot be read is skipped; what was known of it stays", async () => {
  await using world = new World();
  const secret = "hunter2";
  const convert = ({ metadata, value = 0 }: Thing): Item => {
    if (value < 0) throw new RangeError(`Negative: ${secret}`);
    return { name: metadata.name, value };
  };
  world.put(thing("good", 1), thing("bad", -1), thing("worse", 2));
  await world.start({ convert });
  assert.equal(world.store.synced, true);
  assert.deepEqual(world.content, { good: 1, worse: 2 });

  world.put(thing("worse", -2), thing("good", 3));
  await settled();
  assert.deepEqual(world.content, { good: 3, worse: 2 });

  // A new list does not lose it.
  world.server.freeze();
  world.server.compact();
  world.server.remove(PATH, "bad");
  await world.clock.advance(200_000);
  assert.deepEqual(world.content, { good: 3, worse: 2 });

  world.put(thing("bad", 4));
  world.server.remove(PATH, "worse");
  await settled();
  assert.deepEqual(world.content, { good: 3, bad: 4 });
  const told = world.lines.filter((line) => line.includes("cannot be read"));
  assert.match(told[0] ?? "", /err=RangeError.*object=bad/);
  assert(!world.lines.join().includes(secret));
});

Deno.test("a change between the initial events and their bookmark counts", async () => {
  await using world = new World();
  world.server.initialEvents = "unknown"; // so that the test sends the bookmark
  world.put(thing("a", 1), thing("b", 2));
  await world.start();
  world.server.remove(PATH, "a");
  world.put(thing("b", 3));
  await settled();
  assert.equal(world.store.synced, false);
  world.server.sendGarbage(
    JSON.stringify({
      type: "BOOKMARK",
      object: {
        metadata: {
          resourceVersion: String(world.server.revision),
          annotations: { "k8s.io/initial-events-end": "true" },
        },
      },
    }) + "\n",
  );
  await settled();
  assert.deepEqual(world.content, { b: 3 });
  assert.deepEqual(world.changes.map(({ key, after }) => [key, after?.value]), [["b", 3]]);
  world.assertEqual();
});

Deno.test("an error of the store ends the run", async () => {
  const clock = new FakeClock();
  const server = new FakeApiServer(clock);
  server.put(PATH, thing("a", 1));
  for (const initialEvents of ["streamed", "refused"] as const) {
    server.initialEvents = initialEvents;
    const broken = () => {
      throw new TypeError("Store is broken");
    };
    const reflector = new Reflector<Item, Thing>({
      connection: new SharedConnection(server),
      path: PATH,
      metadataOnly: false,
      convert: ({ metadata, value }) => ({ name: metadata.name, value }),
      writer: { replace: broken, upsert: broken, remove: broken },
      clock,
      random: () => 0.5,
      log: createLogger({ format: "text", level: 1, write: () => {}, clock }),
      name: "things",
    });
    await assert.rejects(reflector.run(new AbortController().signal), /Store is broken/);
    assert.equal(clock.timers, 0);
    assert.equal(server.watches, 0);
  }
});

Deno.test("nothing of an object stays in memory but what is kept of it", async () => {
  await using world = new World();
  // The needle is nowhere in memory as a string but where the server and the reflector put it: the test holds it inverted.
  const inverted = crypto.getRandomValues(new Uint8Array(24)).map((byte) => 0x61 + byte % 26).map((byte) =>
    ~byte
  );
  const needle = () => new TextDecoder().decode(inverted.map((byte) => ~byte));
  const kept: { length: number }[] = [];
  await world.start({
    convert: ({ metadata, ...rest }) => {
      const { data } = rest as { data?: string };
      kept.push({ length: data?.length ?? 0 });
      return { name: metadata.name, value: data?.length };
    },
  });
  const send = (cut: boolean) => {
    const object = { metadata: { name: "x", resourceVersion: "9" }, data: needle() };
    const line = JSON.stringify({ type: "ADDED", object }) + "\n";
    world.server.sendGarbage(cut ? line.slice(0, -10) : line);
    return cut ? line.slice(-10) : "";
  };
  send(false);
  await settled();
  const rest = send(true);
  await settled();
  world.server.sendGarbage(rest);
  await settled();
  await settled();
  assert.deepEqual(kept, [{ length: 24 }, { length: 24 }]);
  assert(!(await heapContains(needle)), "a piece of the object is still there");
});

/** Whether a string with `needle` is reachable. */
async function heapContains(needle: () => string): Promise<boolean> {
  let text = "";
  for await (const chunk of getHeapSnapshot()) text += new TextDecoder().decode(chunk as Uint8Array);
  return text.includes(needle());
}
