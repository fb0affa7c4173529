import assert from "node:assert/strict";
import { ClusterConfigError } from "./config.ts";
import { KubeConnectionError, KubeStatusError } from "./errors.ts";
import { parseRetryAfter, retryDelay } from "./retry.ts";

const refused = (code: number, retryAfterSeconds?: number) =>
  new KubeStatusError({
    code,
    reason: "",
    message: "",
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
const broken = (timedOut: boolean, cause?: unknown) => new KubeConnectionError("", { timedOut, cause });

const delays: [string, unknown, attempt: number, random: number, ms: number | undefined][] = [
  ["first retry, longest", broken(false), 1, 1, 100],
  ["first retry, shortest", broken(false), 1, 0, 50],
  ["second retry", broken(false), 2, 1, 200],
  ["third retry", broken(false), 3, 1, 400],
  ["many retries are capped", broken(false), 30, 1, 60_000],
  ["time-out", broken(true), 1, 1, 100],
  ["no credentials", broken(false, new ClusterConfigError("x")), 1, 1, undefined],
  ["429", refused(429), 1, 1, 100],
  ["500", refused(500), 1, 1, 100],
  ["502", refused(502), 1, 1, 100],
  ["503", refused(503), 1, 1, 100],
  ["504", refused(504), 1, 1, 100],
  ["Retry-After comes on top, so that not all come back at once", refused(429, 2), 1, 0, 2050],
  ["Retry-After is capped", refused(503, 3600), 1, 1, 60_000],
  ["Retry-After of another status", refused(409, 1), 1, 1, undefined],
  ["400", refused(400), 1, 1, undefined],
  ["401", refused(401), 1, 1, undefined],
  ["404", refused(404), 1, 1, undefined],
  ["501", refused(501), 1, 1, undefined],
  ["the caller's reason", new DOMException("x", "AbortError"), 1, 1, undefined],
];
for (const [name, error, attempt, random, ms] of delays) {
  Deno.test(`retryDelay: ${name}`, () => assert.equal(retryDelay(error, attempt, random), ms));
}

const now = Date.parse("2030-01-01T00:00:00Z");
const headers: [string | null, seconds: number | undefined][] = [
  [null, undefined],
  ["", undefined],
  ["soon", undefined],
  ["-1", undefined],
  ["0", 0],
  ["7", 7],
  [" 7 ", 7],
  ["Tue, 01 Jan 2030 00:00:05 GMT", 5],
  ["Tue, 01 Jan 2029 00:00:05 GMT", 0],
];
for (const [header, seconds] of headers) {
  Deno.test(`parseRetryAfter: ${JSON.stringify(header)}`, () =>
    assert.equal(parseRetryAfter(header, now), seconds));
}
