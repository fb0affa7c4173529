import assert from "node:assert/strict";
import type { KubeClient, KubeRequest } from "../../lib/kube/client.ts";
import { KubeConnectionError, KubeStatusError } from "../../lib/kube/errors.ts";
import { systemHost } from "../../lib/kube/host.ts";
import { createKubeClient } from "../../lib/kube/http_client.ts";
import { loadClusterConfig } from "../../lib/kube/load_config.ts";
import { createLogger } from "../../lib/log.ts";
import { FakeClock } from "../fake_clock.ts";
import { sleep, until } from "../until.ts";
import { type Fault, FaultProxy, type ProxiedRequest } from "./fault_proxy.ts";

/** What the API server of these tests answers: `/list` whole, a watch line by line as long as it is read. */
const LINES = ['{"type":"ADDED","object":{"a":1}}\n', '{"type":"ADDED","object":{"b":"ä€"}}\n'];
const LIST = `{"kind":"List","items":["x"],"metadata":{"resourceVersion":"1"}}`;
const LIST_PATH = "/api/v1/configmaps";

/** Deadline of the client's requests, by its clock. */
const DEADLINE_MS = 1_000;

/** How long is waited for what must not come, in milliseconds. */
const SILENCE_MS = 200;

/** A proxy before a small server, and the operator's own client behind it, whose deadlines pass when a test says so. */
class World implements AsyncDisposable {
  /** What arrived at the server: method, path with query, `Authorization`, `User-Agent`, body. */
  readonly arrived: string[][] = [];
  list = LIST;
  readonly #clock = new FakeClock();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #dir: string;
  #proxy!: FaultProxy;
  #client!: KubeClient;

  private constructor(dir: string) {
    this.#dir = dir;
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      const { pathname, search } = new URL(request.url);
      const { headers } = request;
      this.arrived.push([
        request.method,
        pathname + search,
        headers.get("authorization") ?? "",
        headers.get("user-agent") ?? "",
        await request.text(),
      ]);
      if (!search.includes("watch=true")) return new Response(this.list, { headers: { "audit-id": "17" } });
      return new Response(
        new ReadableStream({
          start: (controller) => LINES.forEach((line) => controller.enqueue(new TextEncoder().encode(line))),
        }),
      );
    });
  }

  static async start(): Promise<World> {
    const world = new World(await Deno.makeTempDir());
    const clock = world.#clock;
    const server = `http://127.0.0.1:${world.#server.addr.port}`;
    world.#proxy = await FaultProxy.start({ admin: { config: { server } } }, { userAgent: "(by proxy)" });
    const original = `${world.#dir}/kubeconfig`;
    await Deno.writeTextFile(
      original,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "x",
        contexts: [{ name: "x", context: { cluster: "x", user: "x" } }],
        clusters: [{ name: "x", cluster: { server, "insecure-skip-tls-verify": true } }],
        users: [{ name: "x", user: { token: "the-token" } }],
      }),
    );
    const kubeconfig = await world.proxy.kubeconfig(original);
    const config = await loadClusterConfig({ kubeconfig }, { host: systemHost, clock });
    world.#client = createKubeClient(config, {
      clock,
      random: Math.random,
      log: createLogger({ format: "text", level: 1, write: () => {}, clock }),
      userAgent: "test/1",
    });
    return world;
  }

  get proxy(): FaultProxy {
    return this.#proxy;
  }

  get client(): KubeClient {
    return this.#client;
  }

  /** What the client gets for a list, as {@linkcode ask} tells it. */
  async read(isLost?: () => boolean): Promise<string> {
    return await this.ask({ path: LIST_PATH }, isLost);
  }

  /** What the client gets: the JSON, or what went wrong. Once `isLost` holds, its deadline passes without an answer. */
  async ask(request: KubeRequest, isLost = () => false): Promise<string> {
    const answer = this.#client.request<unknown>({ ...request, attempts: 1, timeoutMs: DEADLINE_MS }).then(
      (json) => JSON.stringify(json) ?? "nothing",
      told,
    );
    return await unlessSilent(answer, isLost, () => this.#clock.advance(DEADLINE_MS));
  }

  /** What a watch gets until it ends, or is silent once `isAll` holds for what it has got; and how it ended. */
  async watch(isAll = (_text: string) => false): Promise<{ text: string; end: string }> {
    const abort = new AbortController();
    const decoder = new TextDecoder();
    let text = "";
    const read = async () => {
      const query = { watch: true };
      const stream = await this.#client.stream({ path: LIST_PATH, query, signal: abort.signal });
      for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
      return "closed";
    };
    const giveUp = () => abort.abort(new Error("silent"));
    const end = await unlessSilent(read().catch(told), () => isAll(text), giveUp);
    return { text, end };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await this.#proxy[Symbol.asyncDispose]();
    await this.#server.shutdown();
    const left = [...Deno.readDirSync(this.#dir)].map(({ name }) => name);
    assert.deepEqual(left, ["kubeconfig"], "the proxy has removed its own");
    await Deno.remove(this.#dir, { recursive: true });
  }
}

/** What `outcome` comes to; through `giveUp` if it comes to nothing, not even a while after `isSilent` holds. */
async function unlessSilent(
  outcome: Promise<string>,
  isSilent: () => boolean,
  giveUp: () => void | Promise<void>,
): Promise<string> {
  let over = false;
  void outcome.finally(() => over = true);
  await until(() => over || isSilent(), "a request ends, or has got as far as it can");
  if (!over) {
    await sleep(SILENCE_MS);
    await giveUp();
    await until(() => over, "a request ends that is given up");
  }
  return await outcome;
}

/** What went wrong, without what differs from run to run. */
function told(error: unknown): string {
  if (error instanceof KubeStatusError) {
    const { code, reason, retryAfterSeconds } = error.status;
    return `status ${code} ${reason} ${retryAfterSeconds ?? ""}`.trim();
  }
  if (!(error instanceof KubeConnectionError)) return error instanceof Error ? error.message : String(error);
  if (error.timedOut) return "timed out";
  return error.message.includes("did not answer in JSON") ? "no JSON" : "broken";
}

Deno.test("without a fault, all passes as it is", async () => {
  await using world = await World.start();
  assert.equal(await world.read(), LIST);
  const body = new Uint8Array(100_000).fill(0x61);
  const path = "/api/v1/namespaces/a/configmaps/b";
  assert.equal(await world.ask({ method: "PATCH", path, query: { x: "1 2" }, body }), LIST);
  const text = LINES.join("");
  assert.deepEqual(await world.watch(({ length }) => length >= text.length), { text, end: "silent" });
  assert.deepEqual(world.arrived.map((parts) => parts.slice(0, 4)), [
    ["GET", LIST_PATH, "Bearer the-token", "test/1 (by proxy)"],
    ["PATCH", "/api/v1/namespaces/a/configmaps/b?x=1+2", "Bearer the-token", "test/1 (by proxy)"],
    ["GET", `${LIST_PATH}?watch=true`, "Bearer the-token", "test/1 (by proxy)"],
  ]);
  assert.equal(world.arrived[1]?.[4]?.length, 100_000);
  assert.equal(world.proxy.requests, 3);
  assert.deepEqual([...world.proxy.faults], []);
});

Deno.test("what a request is about", async (t) => {
  await using world = await World.start();
  const cases: [path: string, [group: string, string, ...(string | undefined)[]]][] = [
    ["/api/v1/namespaces", ["", "namespaces", undefined, undefined, undefined]],
    ["/api/v1/namespaces/a", ["", "namespaces", undefined, "a", undefined]],
    ["/api/v1/namespaces/a/status", ["", "namespaces", undefined, "a", "status"]],
    ["/api/v1/namespaces/a/secrets", ["", "secrets", "a", undefined, undefined]],
    ["/api/v1/secrets", ["", "secrets", undefined, undefined, undefined]],
    ["/apis/g.io/v1/bundles/b/status", ["g.io", "bundles", undefined, "b", "status"]],
    ["/apis/g.io/v1/namespaces/a/leases/b", ["g.io", "leases", "a", "b", undefined]],
    ["/version", ["", "", undefined, undefined, undefined]],
  ];
  for (const [path, expected] of cases) {
    await t.step(path, async () => {
      let seen: ProxiedRequest | undefined;
      using _rule = world.proxy.use((request) => (seen = request, undefined));
      assert.equal(await world.ask({ path }), LIST);
      assert.ok(seen !== undefined);
      const { group, resource, namespace, name, subresource } = seen;
      assert.deepEqual([group, resource, namespace, name, subresource], expected);
    });
  }
});

Deno.test("each fault, as the operator's client meets it", async (t) => {
  const whole = LINES.join("");
  const cases: {
    fault: Fault;
    list: string;
    watch: { text: string; end: string };
    /** How often the API server was asked, by both. */
    arrived?: number;
  }[] = [
    {
      fault: { kind: "answer", status: 429, retryAfterSeconds: 7, reason: "TooManyRequests" },
      list: "status 429 TooManyRequests 7",
      watch: { text: "", end: "status 429 TooManyRequests 7" },
      arrived: 0,
    },
    {
      fault: { kind: "answer", status: 502, body: "<html>" },
      list: "status 502",
      watch: { text: "", end: "status 502" },
      arrived: 0,
    },
    { fault: { kind: "reset" }, list: "broken", watch: { text: "", end: "broken" }, arrived: 0 },
    { fault: { kind: "reset-after" }, list: "broken", watch: { text: "", end: "silent" }, arrived: 2 },
    { fault: { kind: "delay", milliseconds: 50 }, list: LIST, watch: { text: whole, end: "silent" } },
    { fault: { kind: "slow", milliseconds: 50 }, list: LIST, watch: { text: whole, end: "silent" } },
    { fault: { kind: "freeze" }, list: "timed out", watch: { text: "", end: "silent" } },
    { fault: { kind: "hang" }, list: "timed out", watch: { text: "", end: "silent" }, arrived: 0 },
    {
      fault: { kind: "cut", afterBytes: 10, how: "end" },
      list: "no JSON",
      watch: { text: whole.slice(0, 10), end: "closed" },
    },
    {
      fault: { kind: "cut", afterBytes: 40, how: "reset" },
      list: "broken",
      watch: { text: whole.slice(0, 40), end: "broken" },
    },
    {
      fault: { kind: "cut", afterBytes: 0, how: "end" },
      list: "nothing",
      watch: { text: "", end: "closed" },
    },
    {
      fault: { kind: "garbage", afterBytes: 10 },
      list: "no JSON",
      watch: { text: `${whole.slice(0, 10)}{\ufffd\ufffd\0]"\n`, end: "closed" },
    },
    {
      fault: { kind: "duplicate-events" },
      list: LIST,
      watch: { text: LINES.map((line) => line + line).join(""), end: "silent" },
    },
    {
      fault: { kind: "expire" },
      list: '"a watch only"',
      watch: {
        text: '{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status","status":"Failure",' +
          '"message":"The resourceVersion for the provided watch is too old.","reason":"Expired","code":410}}\n',
        end: "closed",
      },
      arrived: 0,
    },
    { fault: { kind: "compress" }, list: "no JSON", watch: { text: "gzip", end: "silent" } },
  ];
  for (const { fault, list, watch, arrived = 2 } of cases) {
    await t.step(JSON.stringify(fault), async () => {
      await using world = await World.start();
      using rule = world.proxy.use((request) => fault.kind !== "expire" || request.watch ? fault : undefined);
      if (fault.kind !== "expire") {
        const isLost = () => list === "timed out" && world.proxy.faults.has(fault.kind);
        assert.equal(await world.read(isLost), list);
      }
      const hasArrived = () => world.proxy.requests === 2 && world.arrived.length >= arrived;
      const seen = await world.watch(({ length }) =>
        watch.end === "silent" && length >= watch.text.length && hasArrived()
      );
      if (seen.text.startsWith("\x1f\ufffd")) seen.text = "gzip";
      assert.deepEqual(seen, watch);
      assert.ok((world.proxy.faults.get(fault.kind) ?? 0) >= 1);
      if (fault.kind !== "expire") assert.equal(world.arrived.length, arrived);
      rule[Symbol.dispose]();
      world.client.reconnect();
      assert.equal(await world.read(), LIST, "it goes on afterwards");
    });
  }
});

Deno.test("a list can be given again that has become stale", async () => {
  await using world = await World.start();
  const stale = () => world.proxy.use(() => ({ kind: "stale-list" }));
  {
    using _rule = stale();
    assert.equal(await world.read(), LIST, "there is none yet");
  }
  world.list = LIST.replace("x", "y");
  {
    using _rule = stale();
    assert.equal(await world.read(), LIST);
  }
  assert.equal(await world.read(), LIST.replace("x", "y"));
});

Deno.test("the newest rule that answers decides", async () => {
  await using world = await World.start();
  using _first = world.proxy.use(() => ({ kind: "answer", status: 500 }));
  using second = world.proxy.use(() => ({ kind: "answer", status: 503 }));
  using _third = world.proxy.use(() => undefined);
  assert.equal(await world.read(), "status 503");
  second[Symbol.dispose]();
  assert.equal(await world.read(), "status 500");
});

Deno.test("a partition: nothing passes, and what was sent arrives at its end", async () => {
  await using world = await World.start();
  assert.equal(await world.read(), LIST);
  {
    using _partition = world.proxy.partition();
    assert.equal(await world.read(() => true), "timed out", "on the connection that is open");
    assert.equal(await world.read(() => true), "timed out", "on a new one");
    assert.equal(world.arrived.length, 1);
  }
  assert.equal(await world.read(), LIST);
});

Deno.test("frozen connections go on when they are thawed", async () => {
  await using world = await World.start();
  const frozen = world.proxy.use(() => ({ kind: "freeze" }));
  const answer = world.read();
  await until(() => world.arrived.length === 1, "the request arrives");
  frozen[Symbol.dispose]();
  world.proxy.thaw();
  assert.equal(await answer, LIST);
});

Deno.test("connections that are broken end what is under way", async () => {
  await using world = await World.start();
  const watch = world.watch();
  await until(() => world.arrived.length === 1, "the request arrives");
  world.proxy.breakConnections();
  assert.equal((await watch).end, "broken");
  assert.equal(await world.read(), LIST);
});

Deno.test("a late request arrives, though nobody waits for its answer any more", async () => {
  await using world = await World.start();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  {
    using _rule = world.proxy.use(() => ({ kind: "late", until: released }));
    assert.equal(await world.read(() => world.proxy.faults.has("late")), "timed out");
  }
  assert.deepEqual(world.arrived, []);
  release();
  await until(() => world.arrived.length === 1, "the request arrives");
  assert.equal(await world.read(), LIST);
});
