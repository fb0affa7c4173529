import assert from "node:assert/strict";
import { countTests } from "./run_all.ts";

const cases: { what: string; output: string; code: number; passed: number; failed: number }[] = [
  {
    what: "all passed",
    output: "ok | 12 passed (34 steps) | 0 failed (1m)\n",
    code: 0,
    passed: 12,
    failed: 0,
  },
  {
    what: "with colours and ignored tests",
    output: "\x1b[0m\x1b[32mok\x1b[0m | 1 passed | 0 failed | 1 ignored \x1b[38;5;245m(66ms)\x1b[0m\n",
    code: 0,
    passed: 1,
    failed: 0,
  },
  { what: "some failed", output: "FAILED | 3 passed | 2 failed (1s)\n", code: 1, passed: 3, failed: 2 },
  {
    what: "failed without a failed test",
    output: "ok | 3 passed | 0 failed (1s)\n",
    code: 1,
    passed: 3,
    failed: 1,
  },
  { what: "crashed before the end", output: "a ... ok (1ms)\n", code: 0, passed: 0, failed: 1 },
  {
    what: "a test prints such a line",
    output: "ok | 9 passed | 9 failed\nok | 1 passed | 0 failed (1s)\n",
    code: 0,
    passed: 1,
    failed: 0,
  },
];

for (const { what, output, code, passed, failed } of cases) {
  Deno.test(`tests are counted: ${what}`, () => {
    assert.deepEqual(countTests(output, code), { passed, failed });
  });
}
