import assert from "node:assert/strict";
import { isStatus, type KubeStatus, KubeStatusError, readStatus } from "./errors.ts";

const message = 'configmaps "a" is forbidden: User "u" cannot create resource "configmaps" in API group ""';
const status = (fields: Record<string, unknown>) =>
  JSON.stringify({ kind: "Status", apiVersion: "v1", ...fields });

const cases: [string, code: number, body: string, retryAfter: number | undefined, expected: KubeStatus][] = [
  [
    "the API server's message, unchanged",
    403,
    status({ message, reason: "Forbidden", code: 403, details: { name: "a" } }),
    undefined,
    { code: 403, reason: "Forbidden", message },
  ],
  [
    "seconds of the details",
    429,
    status({ message: "slow down", reason: "TooManyRequests", details: { retryAfterSeconds: 3 } }),
    undefined,
    { code: 429, reason: "TooManyRequests", message: "slow down", retryAfterSeconds: 3 },
  ],
  [
    "the header comes first",
    429,
    status({ message: "slow down", details: { retryAfterSeconds: 3 } }),
    1,
    { code: 429, reason: "", message: "slow down", retryAfterSeconds: 1 },
  ],
  [
    "a Status without message",
    500,
    status({ details: null }),
    undefined,
    { code: 500, reason: "", message: "The API server answered with HTTP status 500" },
  ],
  [
    "HTML",
    502,
    "<html>\r\n  <b>Bad\u0007 Gateway</b>\n</html>\n",
    undefined,
    {
      code: 502,
      reason: "",
      message: "The server answered with HTTP status 502: <html> <b>Bad Gateway</b> </html>",
    },
  ],
  [
    "a long text",
    503,
    "x".repeat(10_000),
    5,
    {
      code: 503,
      reason: "",
      message: `The server answered with HTTP status 503: ${"x".repeat(200)}`,
      retryAfterSeconds: 5,
    },
  ],
  ["nothing", 404, "", undefined, {
    code: 404,
    reason: "",
    message: "The server answered with HTTP status 404",
  }],
  [
    "other JSON",
    400,
    '["no"]',
    undefined,
    { code: 400, reason: "", message: 'The server answered with HTTP status 400: ["no"]' },
  ],
];
for (const [name, code, body, retryAfter, expected] of cases) {
  Deno.test(`readStatus: ${name}`, () => assert.deepEqual(readStatus(code, body, retryAfter), expected));
}

Deno.test("isStatus tells one code from another, and from other errors", () => {
  const error = new KubeStatusError({ code: 409, reason: "Conflict", message: "m" });
  assert.equal(isStatus(error, 409), true);
  assert.equal(isStatus(error, 404), false);
  assert.equal(isStatus(new Error("m"), 409), false);
  assert.equal(error.message, "m");
});
