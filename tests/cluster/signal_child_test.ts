import assert from "node:assert/strict";
import { signalChild } from "./signal_child.ts";

Deno.test("a child gets signals until it has ended, and none afterwards", async () => {
  const child = new Deno.Command("sleep", { args: ["600"], stdin: "null" }).spawn();
  signalChild(child, "SIGKILL");
  assert.equal((await child.status).signal, "SIGKILL");
  assert.throws(() => child.kill("SIGKILL"), TypeError);
  signalChild(child, "SIGKILL");
});
