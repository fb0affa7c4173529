import assert from "node:assert/strict";
import { whyNoNode } from "./why_no_node.ts";

Deno.test("whether a node can be had depends on the machine, and leaves nothing on it", async () => {
  const mounts = () => Deno.build.os === "linux" ? Deno.readTextFileSync("/proc/self/mounts") : "";
  const before = mounts();
  const why = await whyNoNode();
  if (Deno.build.os !== "linux") assert.equal(why, "it takes Linux");
  else if (Deno.uid() !== 0) assert.equal(why, "it takes root");
  else assert.match(why ?? "", /^$|^root may not/);
  assert.equal(mounts(), before);
});
