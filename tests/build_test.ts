import assert from "node:assert/strict";
import { inAscii } from "../build.ts";

Deno.test("a script in ASCII means the same", () => {
  const script = '["µs", `a μ…`, "🔑", /^[μ🔑]$/u.test("🔑"), /μs/y.test("μs")] // …';
  const ascii = inAscii(script);
  assert.match(ascii, /^[\x20-\x7e]+$/);
  assert.deepEqual((0, eval)(ascii), ["µs", "a μ…", "🔑", true, true]);
});
