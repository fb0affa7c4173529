import assert from "node:assert/strict";
import { listenOn } from "./listen.ts";

const inUse = new Deno.errors.AddrInUse("in use");
const inUseOfNode = Object.assign(new Error("in use"), { code: "EADDRINUSE" });
const noFamily = new Error("Address family not supported by protocol");

/** What an attempt on an address fails with, if it does; what is listened on in the end. */
const cases: Record<
  string,
  { host: string; fails: Record<string, Error>; listens?: string[]; error?: Error }
> = {
  "one socket for both families": {
    host: "0.0.0.0",
    fails: { "0.0.0.0:7": inUse },
    listens: [":::0"],
  },
  "the same of Node": { host: "0.0.0.0", fails: { "0.0.0.0:7": inUseOfNode }, listens: [":::0"] },
  "a socket for each": { host: "0.0.0.0", fails: {}, listens: [":::0", "0.0.0.0:7"] },
  "the wildcard of IPv6": { host: "::", fails: {}, listens: [":::0", "0.0.0.0:7"] },
  "no IPv6": { host: "0.0.0.0", fails: { ":::0": noFamily }, listens: ["0.0.0.0:0"] },
  "no IPv4": { host: "0.0.0.0", fails: { "0.0.0.0:7": noFamily }, listens: [":::0"] },
  "neither": { host: "0.0.0.0", fails: { ":::0": new Error("x"), "0.0.0.0:0": noFamily }, error: noFamily },
  "in use": { host: "0.0.0.0", fails: { ":::0": inUse }, error: inUse },
  "in use, told by Node": { host: "0.0.0.0", fails: { ":::0": inUseOfNode }, error: inUseOfNode },
  "one address of IPv4": { host: "127.0.0.1", fails: {}, listens: ["127.0.0.1:0"] },
  "one address of IPv6": { host: "::1", fails: {}, listens: ["::1:0"] },
  "one address, in use": { host: "127.0.0.1", fails: { "127.0.0.1:0": inUse }, error: inUse },
};

for (const [name, { host, fails, listens, error }] of Object.entries(cases)) {
  Deno.test(`listening: ${name}`, async () => {
    const listen = (address: string, port: number) => {
      const failure = fails[`${address}:${port}`];
      if (failure !== undefined) throw failure;
      return `${address}:${port}`;
    };
    const listening = listenOn(host, 0, listen, () => 7);
    if (error === undefined) assert.deepEqual(await listening, listens);
    else await assert.rejects(listening, error);
  });
}
