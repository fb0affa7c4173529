import assert from "node:assert/strict";
import { seededRandom } from "../controller_world.ts";
import type { Fault, ProxiedRequest } from "./fault_proxy.ts";
import { randomFaults } from "./random_faults.ts";

function request(parts: Partial<ProxiedRequest>): ProxiedRequest {
  return {
    method: "GET",
    path: "/",
    query: new URLSearchParams(),
    watch: false,
    group: "",
    resource: "configmaps",
    subresource: undefined,
    namespace: undefined,
    name: undefined,
    token: undefined,
    number: 1,
    ...parts,
  };
}

const WATCH = request({ watch: true, query: new URLSearchParams("watch=true&resourceVersion=1") });
const INITIAL = request({ watch: true, query: new URLSearchParams("watch=true&sendInitialEvents=true") });
const LIST = request({});
const WRITE = request({ method: "PATCH" });
const LEASE = request({ method: "PUT", resource: "leases" });

/** What 5,000 requests meet. */
function met(about: ProxiedRequest, rate: number, seed = 1): (Fault | undefined)[] {
  const rule = randomFaults(seededRandom(seed), rate);
  return Array.from({ length: 5_000 }, () => rule(about));
}

Deno.test("the same seed gives the same faults, another gives others", () => {
  assert.deepEqual(met(WATCH, 0.5), met(WATCH, 0.5));
  assert.notDeepEqual(met(WATCH, 0.5), met(WATCH, 0.5, 2));
});

Deno.test("as many requests meet a fault as was asked for", () => {
  for (const [rate, least, most] of [[0, 0, 0], [0.1, 400, 600], [1, 5_000, 5_000]] as const) {
    const hits = met(WRITE, rate).filter((fault) => fault !== undefined).length;
    assert.ok(hits >= least && hits <= most, `${hits} at ${rate}`);
  }
});

Deno.test("which faults fit which requests", async (t) => {
  const any = ["answer", "delay", "reset"];
  const cases: [name: string, ProxiedRequest, kinds: string[]][] = [
    ["watch", WATCH, [
      ...["compress", "cut", "duplicate-events", "expire", "garbage", "slow", "stale-list"],
      ...any,
    ]],
    ["list", LIST, ["compress", "cut", "freeze", "garbage", "hang", "reset-after", "stale-list", ...any]],
    ["write", WRITE, ["freeze", "hang", "reset-after", ...any]],
    ["lease", LEASE, ["freeze", "reset-after", ...any]],
  ];
  for (const [name, about, kinds] of cases) {
    await t.step(name, () => {
      const seen = new Set(met(about, 1).map((fault) => fault?.kind));
      assert.deepEqual([...seen].sort(), kinds.sort());
    });
  }
});

Deno.test("only a watch with the initial state is refused as the wrong kind of request", () => {
  const refused = (about: ProxiedRequest) =>
    met(about, 1).some((fault) => fault?.kind === "answer" && fault.status === 422);
  assert.deepEqual([INITIAL, WATCH, LIST, WRITE].map(refused), [true, false, false, false]);
});
