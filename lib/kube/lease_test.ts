import assert from "node:assert/strict";
import { FakeApiServer, status } from "../../tests/fake_api_server.ts";
import { FakeClock, settled } from "../../tests/fake_clock.ts";
import type { Clock } from "../clock.ts";
import { createLogger } from "../log.ts";
import { claimLease, LeaderElection, LeaseLostError, type LeaseSpec } from "./lease.ts";
import type { KubeObject } from "./objects.ts";

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/operator/leases";

/** One process that takes part in an election. */
class Contender {
  readonly election: LeaderElection;
  readonly #abort = new AbortController();
  /** Aborts when leadership ends; undefined before it begins. */
  leading: AbortSignal | undefined;
  /** How `run` ended. */
  outcome: "runs" | "stopped" | unknown = "runs";
  readonly done: Promise<void>;

  constructor(world: World, identity: string, client: FakeApiServer, clock: Clock) {
    this.election = new LeaderElection({
      client,
      namespace: "operator",
      name: "lock",
      identity,
      leaseDurationMs: 15_000,
      renewDeadlineMs: 10_000,
      retryPeriodMs: 2000,
      clock,
      random: () => 0.5,
      log: createLogger({ format: "text", level: 1, write: (line) => world.lines.push(line), clock }),
      onStartedLeading: (leading) => this.leading = leading,
    });
    this.done = this.election.run(this.#abort.signal).then(
      () => void (this.outcome = "stopped"),
      (error) => void (this.outcome = error),
    );
  }

  async stop(): Promise<void> {
    this.#abort.abort(new Error("The process is stopping"));
    await settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.done;
  }
}

class World implements AsyncDisposable {
  readonly clock = new FakeClock("2030-01-01T00:00:00Z");
  readonly server = new FakeApiServer(this.clock);
  readonly lines: string[] = [];
  readonly #contenders: Contender[] = [];

  async enter(identity: string, client = this.server, clock: Clock = this.clock): Promise<Contender> {
    const contender = new Contender(this, identity, client, clock);
    this.#contenders.push(contender);
    await settled();
    return contender;
  }

  get spec(): LeaseSpec | undefined {
    const [lease]: (KubeObject & { spec?: LeaseSpec })[] = this.server.objects(LEASES);
    return lease?.spec;
  }

  /** Puts a lease in place, as another process would. */
  hold(spec: LeaseSpec): void {
    const lease: KubeObject & { spec: LeaseSpec } = {
      metadata: { name: "lock", labels: { kept: "yes" } },
      spec,
    };
    this.server.put(LEASES, lease);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const contender of this.#contenders) void contender.stop();
    await this.clock.advance(10_000); // for releases that get no answer
    for (const contender of this.#contenders) await contender.done;
    assert.equal(this.clock.timers, 0, "timers are left");
  }
}

const fourth = (now: string): LeaseSpec => ({
  holderIdentity: "a",
  leaseDurationSeconds: 15,
  acquireTime: "2030-01-01T00:00:00.000000Z",
  renewTime: now,
  leaseTransitions: 4,
});

Deno.test("what is written into a lease", async (t) => {
  const held = fourth("2030-01-01T00:00:00.000000Z");
  const time = "2030-01-01T01:00:00.123000Z";
  const taken = { holderIdentity: "me", leaseDurationSeconds: 15, acquireTime: time, renewTime: time };
  const table: {
    name: string;
    held: LeaseSpec | undefined;
    unchangedMs?: number;
    wanted: LeaseSpec | undefined;
  }[] = [
    { name: "there is none", held: undefined, wanted: { ...taken, leaseTransitions: 0 } },
    { name: "an empty one", held: {}, wanted: { ...taken, leaseTransitions: 1 } },
    {
      name: "a released one",
      held: { ...held, holderIdentity: "" },
      wanted: { ...taken, leaseTransitions: 5 },
    },
    {
      name: "one's own",
      held: { ...held, holderIdentity: "me" },
      wanted: { ...held, ...taken, acquireTime: held.acquireTime ?? "" },
    },
    { name: "another's", held, unchangedMs: 14_999, wanted: undefined },
    { name: "an abandoned one", held, unchangedMs: 15_000, wanted: { ...taken, leaseTransitions: 5 } },
    {
      name: "another's that says that it lasts longer",
      held: { ...held, leaseDurationSeconds: 60 },
      unchangedMs: 59_999,
      wanted: undefined,
    },
    {
      name: "one that does not say how long it lasts",
      held: { holderIdentity: "a" },
      unchangedMs: 14_999,
      wanted: undefined,
    },
  ];
  for (const { name, held, unchangedMs = 0, wanted } of table) {
    await t.step(name, () => {
      const now = Date.parse("2030-01-01T01:00:00.123Z");
      assert.deepEqual(
        claimLease(held, { identity: "me", leaseDurationMs: 15_000, now, unchangedMs }),
        wanted,
      );
    });
  }
  const claim = { identity: "a", leaseDurationMs: 14_001, now: 0, unchangedMs: 0 };
  assert.equal(claimLease(undefined, claim)?.leaseDurationSeconds, 15, "rounded up");
  const other = { ...held, strategy: "OldestEmulationVersion" };
  assert.equal(
    (claimLease(other, claim) as typeof other)
      .strategy,
    "OldestEmulationVersion",
  );
});

Deno.test("durations that leave no time are refused", async () => {
  await using world = new World();
  const table: [number, number, number, RegExp][] = [
    [10_000, 10_000, 2000, /Lease duration of 10000 ms must be longer/],
    [15_000, 2400, 2000, /Renew deadline of 2400 ms must be longer/],
    [15_000, 10_000, 0, /Retry period of 0 ms/],
    [NaN, 10_000, 2000, /Lease duration/],
  ];
  for (const [leaseDurationMs, renewDeadlineMs, retryPeriodMs, message] of table) {
    assert.throws(() =>
      new LeaderElection({
        client: world.server,
        namespace: "operator",
        name: "lock",
        identity: "a",
        leaseDurationMs,
        renewDeadlineMs,
        retryPeriodMs,
        clock: world.clock,
        random: () => 0,
        log: createLogger({ format: "text", level: 1, write: () => {}, clock: world.clock }),
        onStartedLeading: () => {},
      }), (error) => error instanceof RangeError && message.test(error.message));
  }
});

Deno.test("the first to come leads, and renews", async () => {
  await using world = new World();
  const a = await world.enter("a");
  assert.equal(a.election.isLeader(), true);
  assert.equal(a.leading?.aborted, false);
  const created = {
    holderIdentity: "a",
    leaseDurationSeconds: 15,
    acquireTime: "2030-01-01T00:00:00.000000Z",
    renewTime: "2030-01-01T00:00:00.000000Z",
    leaseTransitions: 0,
  };
  assert.deepEqual(world.spec, created);
  await world.clock.advance(60_000);
  assert.deepEqual(world.spec, { ...created, renewTime: "2030-01-01T00:01:00.000000Z" });
  assert.equal(a.election.isLeader(), true);
});

Deno.test("of two contenders one leads; the other follows when the lease is released, at once", async () => {
  await using world = new World();
  const [a, b] = await Promise.all([world.enter("a"), world.enter("b")]);
  await world.clock.advance(120_000);
  const [leader, other] = a.election.isLeader() ? [a, b] : [b, a];
  assert.equal(leader.election.isLeader(), true);
  assert.equal(other.election.isLeader(), false);
  assert.equal(other.leading, undefined);

  await leader.stop();
  assert.equal(leader.outcome, "stopped");
  assert.equal(leader.election.isLeader(), false);
  assert.equal(leader.leading?.aborted, true);
  assert.deepEqual(
    [world.spec?.holderIdentity, world.spec?.leaseDurationSeconds, world.spec?.leaseTransitions],
    ["", 1, 0],
  );
  await world.clock.advance(4400); // 2 s and up to 1.2 times as much
  assert.equal(other.election.isLeader(), true);
  assert.equal(world.spec?.leaseTransitions, 1);
});

Deno.test("who is not leader releases nothing", async () => {
  await using world = new World();
  const a = await world.enter("a");
  const b = await world.enter("b");
  await b.stop();
  assert.equal(b.outcome, "stopped");
  assert.equal(a.election.isLeader(), true);
  assert.equal(world.spec?.holderIdentity, "a");
});

Deno.test("an abandoned lease is taken when it has not changed for its duration, whatever the clocks say", async (t) => {
  for (const renewTime of ["2020-01-01T00:00:00.000000Z", "2040-01-01T00:00:00.000000Z"]) {
    await t.step(`last renewed at ${renewTime}`, async () => {
      await using world = new World();
      world.hold({ ...fourth(renewTime), holderIdentity: "dead" });
      const a = await world.enter("a");
      world.clock.jumpWall(3_600_000);
      await world.clock.advance(14_900);
      assert.equal(a.election.isLeader(), false);
      await world.clock.advance(4000);
      assert.equal(a.election.isLeader(), true);
      assert.equal(world.spec?.leaseTransitions, 5);
      const [lease] = world.server.objects(LEASES);
      assert.deepEqual(lease?.metadata.labels, { kept: "yes" });
    });
  }
});

Deno.test("a lease that changes is not taken, even if its holder's clock stands still", async () => {
  await using world = new World();
  world.hold(fourth("2020-01-01T00:00:00.000000Z"));
  const b = await world.enter("b");
  for (let i = 0; i < 20; i++) {
    await world.clock.advance(10_000);
    world.hold({ ...fourth("2020-01-01T00:00:00.000000Z"), leaseTransitions: i });
  }
  assert.equal(b.election.isLeader(), false);
});

Deno.test("a leader that cannot renew stops in time, and says so", async (t) => {
  const table: { name: string; fail: (world: World) => void }[] = [
    {
      name: "refused",
      fail: (world) => world.server.intercept = () => status(503, "ServiceUnavailable", "not now"),
    },
    { name: "forbidden", fail: (world) => world.server.intercept = () => status(403, "Forbidden", "no") },
    {
      name: "no answer, on any connection",
      fail: (world) => {
        world.server.freeze();
        world.server.intercept = () => (world.server.freeze(), status(503, "ServiceUnavailable", "not now"));
      },
    },
  ];
  for (const { name, fail } of table) {
    await t.step(name, async () => {
      await using world = new World();
      const a = await world.enter("a");
      await world.clock.advance(60_000);
      fail(world);
      await world.clock.advance(7900);
      assert.equal(a.election.isLeader(), true);
      await world.clock.advance(2101); // ten seconds after the last renewal
      assert.equal(a.leading?.aborted, true);
      assert.equal(a.election.isLeader(), false);
      assert(a.outcome instanceof LeaseLostError);
      assert.match(a.outcome.message, /not renewed within 10000 ms/);
      world.server.intercept = () => undefined;
      await world.clock.advance(60_000);
      assert.equal(a.election.isLeader(), false);
      assert.equal(world.spec?.holderIdentity, "a"); // not given up: its writes may still be on their way
    });
  }
});

Deno.test("a leader survives failures that end in time", async (t) => {
  const table: { name: string; fail: (world: World) => void; lasts?: true }[] = [
    { name: "refused", fail: (world) => world.server.intercept = () => status(500, "InternalError", "oops") },
    { name: "a dead connection", fail: (world) => world.server.freeze() },
    { name: "the lease deleted", fail: (world) => world.server.remove(LEASES, "lock") },
    {
      name: "a renewal whose answer was lost",
      fail: (world) => {
        world.server.intercept = (request) => {
          if (!("method" in request) || request.method !== "PUT") return undefined;
          world.hold((request.body as unknown as { spec: LeaseSpec }).spec);
          return status(504, "Timeout", "too late");
        };
      },
    },
    {
      name: "the lease deleted, where an update of what is not there is invalid",
      lasts: true,
      fail: (world) => {
        world.server.remove(LEASES, "lock");
        world.server.intercept = (request) =>
          "method" in request && request.method === "PUT" && world.spec === undefined
            ? status(422, "Invalid", "resourceVersion must not be set on create")
            : undefined;
      },
    },
    { name: "the lease edited", fail: (world) => world.hold({ holderIdentity: "a" }) },
  ];
  for (const { name, fail, lasts } of table) {
    await t.step(name, async () => {
      await using world = new World();
      const a = await world.enter("a");
      await world.clock.advance(60_000);
      fail(world);
      await world.clock.advance(7000);
      if (!lasts) world.server.intercept = () => undefined;
      await world.clock.advance(30_000);
      assert.equal(a.election.isLeader(), true);
      assert.equal(a.outcome, "runs");
      assert.equal(world.spec?.holderIdentity, "a");
    });
  }
});

Deno.test("a lease that another holds is not released", async () => {
  await using world = new World();
  const a = await world.enter("a");
  world.hold({ ...fourth("2030-01-01T00:00:00.000000Z"), holderIdentity: "thief" });
  await a.stop();
  assert.equal(a.outcome, "stopped");
  assert.equal(world.spec?.holderIdentity, "thief");
});

Deno.test("who acquires the lease too late to act on it starts when it has renewed it", async () => {
  await using world = new World();
  world.server.intercept = ({ path }) => {
    if (path.endsWith("/leases")) world.clock.freeze(10_001); // the answer to the creation takes so long
    return undefined;
  };
  const a = await world.enter("a");
  assert.equal(world.spec?.holderIdentity, "a");
  assert.equal(a.leading === undefined, true);
  await world.clock.advance(5000);
  assert.equal(a.election.isLeader(), true);
  assert.equal(a.leading?.aborted, false);
});

Deno.test("a lease that was taken away is lost at once", async () => {
  await using world = new World();
  const a = await world.enter("a");
  world.hold({ ...fourth("2030-01-01T00:00:00.000000Z"), holderIdentity: "thief" });
  await world.clock.advance(2000);
  assert.equal(a.election.isLeader(), false);
  assert(a.outcome instanceof LeaseLostError);
  assert.match(a.outcome.message, /taken by "thief"/);
  assert.equal(world.spec?.holderIdentity, "thief");
});

Deno.test("a leader that was stopped or suspended knows it before any timer runs", async (t) => {
  const table: { name: string; pass: (clock: FakeClock, ms: number) => void }[] = [
    { name: "a stopped process: both clocks went on", pass: (clock, ms) => clock.freeze(ms) },
    { name: "a suspended machine: the wall clock went on", pass: (clock, ms) => clock.jumpWall(ms) },
    {
      name: "a wall clock that was set back meanwhile",
      pass: (clock, ms) => {
        clock.freeze(ms);
        clock.jumpWall(-3_600_000);
      },
    },
  ];
  for (const { name, pass } of table) {
    await t.step(name, async () => {
      await using world = new World();
      const a = await world.enter("a");
      pass(world.clock, 9999);
      assert.equal(a.election.isLeader(), true);
      pass(world.clock, 1);
      assert.equal(a.election.isLeader(), false);
      assert.equal(a.leading?.aborted, true);
      // Also when the lease is still there to be renewed: who has been told to stop has stopped.
      await world.clock.advance(60_000);
      assert.equal(a.election.isLeader(), false);
      assert(a.outcome instanceof LeaseLostError);
    });
    await t.step(`${name}, and nobody asked`, async () => {
      await using world = new World();
      const a = await world.enter("a");
      pass(world.clock, 20_000);
      await world.clock.advance(2000);
      assert(a.outcome instanceof LeaseLostError);
      assert.equal(a.leading?.aborted, true);
    });
  }
});

Deno.test("a renewal that is answered after the deadline does not count", async () => {
  await using world = new World();
  const a = await world.enter("a");
  world.server.intercept = () => (world.clock.freeze(10_001), undefined); // the answer takes so long
  await world.clock.advance(2000);
  assert.equal(world.spec?.renewTime, "2030-01-01T00:00:02.000000Z"); // it did arrive
  assert.equal(a.election.isLeader(), false);
  assert(a.outcome instanceof LeaseLostError);
});

Deno.test("the deadline counts from when a renewal was sent, not from its answer", async () => {
  await using world = new World();
  const a = await world.enter("a");
  world.server.intercept = () => (world.clock.freeze(4000), undefined);
  await world.clock.advance(2000); // sent at 2 s, answered at 6 s
  assert.equal(a.election.isLeader(), true);
  world.clock.freeze(5999);
  assert.equal(a.election.isLeader(), true);
  world.clock.freeze(1);
  assert.equal(a.election.isLeader(), false);
});

Deno.test("at most one leads at any time, though connections die and processes stop", async () => {
  let seed = 7;
  const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
  await using world = new World();
  // Each process has a connection of its own to the one API server.
  const connect = () => {
    const own = new FakeApiServer(world.clock);
    const request = own.request.bind(own);
    own.intercept = (r) => world.server.intercept(r);
    own.request = async <T>(r: Parameters<typeof request>[0]) => {
      if (frozen.has(own)) await request<T>(r); // hangs
      return await world.server.request<T>(r);
    };
    return own;
  };
  const frozen = new Set<FakeApiServer>();
  let processes: { contender: Contender; client: FakeApiServer }[] = [];
  const terms: number[] = [];
  for (let round = 0; round < 400; round++) {
    while (processes.length < 3) {
      const client = connect();
      processes.push({ contender: await world.enter(crypto.randomUUID(), client), client });
    }
    const victim = processes[Math.floor(random() * processes.length)];
    if (victim !== undefined) {
      const fate = random();
      if (fate < 0.1) {
        victim.client.freeze();
        frozen.add(victim.client);
      } else if (fate < 0.2) {
        frozen.delete(victim.client);
        victim.client.reconnect();
      } else if (fate < 0.25) await victim.contender.stop();
    }
    await world.clock.advance(Math.floor(random() * 3000));
    const leaders = processes.filter(({ contender }) => contender.election.isLeader());
    assert(leaders.length <= 1, `${leaders.length} leaders in round ${round}`);
    terms.push(world.spec?.leaseTransitions ?? 0);
    processes = processes.filter(({ contender }) => contender.outcome === "runs");
  }
  assert((terms.at(-1) ?? 0) >= 5, "leadership did not change often enough for this test to mean anything");
});

Deno.test("a lease acquired while being stopped is released", async () => {
  await using world = new World();
  const stopping = new Error("stopping");
  const abort = new AbortController();
  world.server.intercept = (request) => {
    // The API server carries it out, the answer comes too late.
    if ("method" in request && request.method === "POST") {
      world.hold((request.body as unknown as { spec: LeaseSpec }).spec);
      abort.abort(stopping);
      return stopping;
    }
    return undefined;
  };
  const election = new LeaderElection({
    client: world.server,
    namespace: "operator",
    name: "lock",
    identity: "a",
    leaseDurationMs: 15_000,
    renewDeadlineMs: 10_000,
    retryPeriodMs: 2000,
    clock: world.clock,
    random: () => 0,
    log: createLogger({ format: "text", level: 1, write: () => {}, clock: world.clock }),
    onStartedLeading: () => assert.fail("led"),
  });
  await election.run(abort.signal);
  assert.equal(world.spec?.holderIdentity, "");
});

Deno.test("a release that gets no answer does not hold the process up", async () => {
  await using world = new World();
  const a = await world.enter("a");
  world.server.freeze();
  await a.stop();
  assert.equal(a.election.isLeader(), false);
  assert.equal(a.outcome, "runs");
  await world.clock.advance(5000);
  assert.equal(a.outcome, "stopped");
});

Deno.test("a candidate logs the same problem once a minute", async () => {
  await using world = new World();
  world.server.intercept = () => status(403, "Forbidden", "leases is forbidden");
  const a = await world.enter("a");
  await world.clock.advance(600_000);
  assert.equal(world.lines.length, 10);
  for (const line of world.lines) {
    assert.match(
      line,
      /level=ERROR msg="Requests to the API server fail; .* err="leases is forbidden" failing=lease /,
    );
  }
  world.server.intercept = () => undefined;
  await world.clock.advance(5000);
  assert.equal(a.election.isLeader(), true);
});
