import assert from "node:assert/strict";
import { FakeClock } from "../tests/fake_clock.ts";
import { Connections, type ConnectionState, sourceOf } from "./connections.ts";

/** Such as `a unfinished 3000`: the source, the state, and for how many milliseconds it has been in it. */
const parsed = (text: string) => {
  const [source = "", state, ms] = text.split(" ");
  return { text, source, state: state as ConnectionState, ms: Number(ms) };
};

const cases: Record<string, { open: string[]; newcomer: string; victim: string | undefined }> = {
  "slow ones go before all others, and of them the oldest": {
    open: [
      "api idle 9000",
      "api unfinished 10",
      "a unfinished 1001",
      "a unfinished 3000",
      "a unfinished 2000",
    ],
    newcomer: "api",
    victim: "a unfinished 3000",
  },
  "the source with the most slow ones pays": {
    open: ["b unfinished 3000", "a unfinished 1001", "a unfinished 2000"],
    newcomer: "c",
    victim: "a unfinished 2000",
  },
  "also if newcomer and slow ones are of one source": {
    open: ["a idle 9000", "a unfinished 2000", "a answering 9000", "a unfinished 10"],
    newcomer: "a",
    victim: "a unfinished 2000",
  },
  "the source with the most connections pays": {
    open: ["api idle 9000", "api unfinished 900", "a unfinished 10", "a idle 10", "a idle 20"],
    newcomer: "b",
    victim: "a unfinished 10",
  },
  "the newcomer counts": {
    open: ["api idle 9000", "api idle 8000", "a idle 20", "a idle 10"],
    newcomer: "a",
    victim: "a idle 20",
  },
  "of one source, what is idle stays while something is unfinished": {
    open: ["a idle 9000", "a unfinished 10", "a unfinished 20"],
    newcomer: "a",
    victim: "a unfinished 20",
  },
  "all have one: the oldest that is unfinished": {
    open: ["api idle 9000", "a unfinished 20", "b unfinished 30", "c unfinished 10"],
    newcomer: "d",
    victim: "b unfinished 30",
  },
  "all are idle: the longest": {
    open: ["a idle 20", "b idle 30", "c idle 10"],
    newcomer: "d",
    victim: "b idle 30",
  },
  "what is answered stays, for the same source": {
    open: ["a answering 20", "a answering 30"],
    newcomer: "a",
    victim: undefined,
  },
  "what is answered goes if its source has more than others": {
    open: ["a answering 20", "a answering 30", "b answering 90"],
    newcomer: "c",
    victim: "a answering 30",
  },
};

for (const [name, { open, newcomer, victim }] of Object.entries(cases)) {
  Deno.test(`who has to go: ${name}`, () => {
    const clock = new FakeClock();
    const connections = new Connections(open.length, clock);
    let went: string | undefined;
    const all = open.map(parsed).sort((a, b) => b.ms - a.ms);
    for (const [i, { text, source, state, ms }] of all.entries()) {
      connections.open(source, () => went = text)?.become(state);
      clock.freeze(ms - (all[i + 1]?.ms ?? 0));
    }
    const came = connections.open(newcomer, () => {});
    assert.equal(went, victim);
    assert.equal(came === undefined, victim === undefined);
    assert.equal(connections.size, open.length);
  });
}

Deno.test("there are never more connections than the limit, and the victims are ended", async () => {
  const clock = new FakeClock();
  const connections = new Connections(3, clock);
  const ended: string[] = [];
  const open = (address: string, name: string) => connections.open(address, () => ended.push(name));
  const first = open("10.0.0.1", "first");
  first?.become("idle");
  open("10.0.0.2", "second");
  await clock.advance(1);
  open("10.0.0.2", "third");
  open("10.0.0.2", "fourth");
  assert.deepEqual(ended, ["second"]);
  assert.equal(connections.size, 3);
  first?.forget();
  open("10.0.0.1", "fifth");
  assert.deepEqual(ended, ["second"]);
  assert.equal(connections.size, 3);
});

Deno.test("a connection that is turned away costs no other", () => {
  const connections = new Connections(1, new FakeClock());
  let ended = 0;
  connections.open("10.0.0.1", () => ended++)?.become("answering");
  assert.equal(connections.open("10.0.0.1", () => ended++), undefined);
  assert.equal(ended, 0);
  assert.equal(connections.size, 1);
});

const sources: Record<string, string> = {
  "10.0.0.1": "10.0.0.1",
  "::ffff:10.0.0.1": "10.0.0.1",
  "::1": "0:0:0:0",
  "2001:db8:1:2:3:4:5:6": "2001:db8:1:2",
  "2001:db8:1:2::": "2001:db8:1:2",
  "2001:0DB8:1::7": "2001:db8:1:0",
  "2001:db8::7": "2001:db8:0:0",
  "fe80::1%eth0": "fe80:0:0:0",
};

for (const [address, source] of Object.entries(sources)) {
  Deno.test(`whom a connection counts for: ${address}`, () => assert.equal(sourceOf(address), source));
}
