import assert from "node:assert/strict";
import type { Clock } from "../lib/clock.ts";
import { tokenFile } from "../lib/kube/credentials.ts";
import { KubeConnectionError } from "../lib/kube/errors.ts";
import { LeaderElection, LeaseLostError } from "../lib/kube/lease.ts";
import type { ConfigMap } from "../lib/kube/objects.ts";
import { TestHost } from "../lib/kube/test_host.ts";
import { createLogger } from "../lib/log.ts";
import { canonicalPem, pemText, ROOT_1, ROOT_2 } from "./builders.ts";
import { ControllerWorld } from "./controller_world.ts";
import { FakeApiServer } from "./fake_api_server.ts";
import { FakeClock, settled } from "./fake_clock.ts";

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const YEAR = 365 * 24 * HOUR;

/** What the wall clock does while no time passes. */
const JUMPS: readonly (readonly [name: string, ms: number])[] = [
  ["a minute forward", 60 * SECOND],
  ["a minute back", -60 * SECOND],
  ["a day forward", 24 * HOUR],
  ["a day back", -24 * HOUR],
  ["ten years forward", 10 * YEAR],
  ["twenty years forward", 20 * YEAR],
  ["ten years back", -10 * YEAR],
  ["to 1970", Date.parse("1970-01-01T00:00:00Z") - Date.parse("2030-01-01T00:00:00Z")],
];

for (const [name, jump] of JUMPS) {
  Deno.test(`the clock jumps ${name}: expired certificates are filtered by what it says then`, async () => {
    await using world = new ControllerWorld();
    world.putNamespace("app");
    world.putBundle("example", {
      sources: [{ inLine: pemText(ROOT_1, ROOT_2) }],
      target: { configMap: { key: "ca.crt" } },
    });
    await world.start({ filters: { expired: true, nonCa: false } });
    const holds = () => (world.target("app", "example") as ConfigMap).data?.["ca.crt"];
    assert.equal(holds(), canonicalPem(ROOT_1, ROOT_2));

    const wanted = () =>
      canonicalPem(...[ROOT_1, ROOT_2].filter(({ notAfter }) => Date.parse(notAfter) >= world.clock.now()));
    for (const ms of [jump, -jump]) {
      const before = holds();
      const writes = await world.writesOf(async () => {
        world.clock.jumpWall(ms);
        // No event tells a process that its clock was set: within the hour it looks again.
        await world.clock.advance(HOUR + 60 * SECOND);
      });
      // Both have expired in twenty years: a Bundle that would be empty keeps what it has.
      const next = wanted() === "" ? before : wanted();
      assert.equal(holds(), next);
      const targets = writes.filter((write) => write.includes("/configmaps/")).length;
      assert.equal(targets, before === next ? 0 : world.namespaces().length, writes.join("\n"));
      assert.ok(writes.length <= targets + 1, writes.join("\n"));
    }
    assert.equal(world.condition("example")?.status, "True");
  });

  Deno.test(`the clock jumps ${name}: what failed is tried again as if it had not`, async () => {
    await using world = new ControllerWorld();
    world.putNamespace("app");
    world.putBundle("example", {
      sources: [{ inLine: pemText(ROOT_1) }],
      target: { configMap: { key: "ca.crt" } },
    });
    let tries = 0;
    world.server.intercept = ({ path }) => {
      if (!path.includes("/namespaces/app/configmaps/")) return undefined;
      tries++;
      return new KubeConnectionError("down", { timedOut: false });
    };
    await world.start();
    world.clock.jumpWall(jump);
    tries = 0;
    await world.clock.advance(60 * SECOND);
    assert.ok(tries >= 4 && tries <= 8, `${tries} tries in a minute`);
    assert.equal(world.condition("example")?.status, "False");
    world.server.intercept = () => undefined;
    await world.clock.advance(65 * SECOND);
    assert.equal(world.target("app", "example")?.data?.["ca.crt"], canonicalPem(ROOT_1));
    assert.equal(world.condition("example")?.status, "True");
  });

  Deno.test(`the clock jumps ${name}: of two replicas at most one leads, and one does`, async () => {
    for (const who of ["leader", "candidate", "both"]) {
      const clock = new FakeClock();
      const server = new FakeApiServer(clock);
      const offsets = { leader: 0, candidate: 0 };
      const stop = new AbortController();
      const contend = async (identity: keyof typeof offsets) => {
        const own: Clock = {
          now: () => clock.now() + offsets[identity],
          monotonic: () => clock.monotonic(),
          setTimer: (ms, fire) => clock.setTimer(ms, fire),
        };
        const election = new LeaderElection({
          client: server,
          namespace: "operator",
          name: "lock",
          identity,
          leaseDurationMs: 15_000,
          renewDeadlineMs: 10_000,
          retryPeriodMs: 2_000,
          clock: own,
          random: () => 0.5,
          log: createLogger({ format: "text", level: 1, write: () => {}, clock }),
          onStartedLeading: () => {},
        });
        const outcome = election.run(stop.signal).then(() => "stopped", (error) => error);
        await settled();
        return { election, outcome };
      };
      const leader = await contend("leader");
      const candidate = await contend("candidate");
      assert.deepEqual([leader.election.isLeader(), candidate.election.isLeader()], [true, false]);
      if (who !== "candidate") offsets.leader += jump;
      if (who !== "leader") offsets.candidate += jump;
      // Forward, the leader cannot tell a jump from a machine that slept: it stops, and the other takes over in time.
      const yields = who !== "candidate" && jump > 10_000;
      for (let second = 0; second < 60; second++) {
        const leading = [leader, candidate].filter(({ election }) => election.isLeader()).length;
        assert.ok(leading <= 1, `${leading} lead after ${second} s: ${who}`);
        await clock.advance(SECOND);
      }
      assert.equal(leader.election.isLeader(), !yields, who);
      assert.equal(candidate.election.isLeader(), yields, who);
      if (yields) assert.ok(await leader.outcome instanceof LeaseLostError);
      stop.abort(new Error("The test is over"));
      await clock.advance(10 * SECOND);
      await Promise.all([leader.outcome, candidate.outcome]);
    }
  });

  Deno.test(`the clock jumps ${name}: files are read again each minute all the same`, async () => {
    const clock = new FakeClock();
    const host = new TestHost({ "/token": "one" });
    const source = tokenFile("/token", { host, clock });
    assert.deepEqual(await source({ force: false }), { authorization: "Bearer one" });
    host.files["/token"] = "two";
    clock.jumpWall(jump);
    await clock.advance(59 * SECOND);
    assert.deepEqual(await source({ force: false }), { authorization: "Bearer one" });
    await clock.advance(SECOND);
    assert.deepEqual(await source({ force: false }), { authorization: "Bearer two" });
  });
}
