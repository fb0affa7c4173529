import assert from "node:assert/strict";
import type { Certificate } from "./certificate.ts";
import { earliestNotAfter, expiriesAt, poolOf } from "./pool.ts";

function certificate(sha256: string, fields: Partial<Certificate> = {}): Certificate {
  return { der: new Uint8Array(), sha256, notBefore: 0, notAfter: 1000, isCa: true, ...fields };
}

const a = certificate("0a");
const b = certificate("9b");
const c = certificate("c0");
const expired = certificate("77", { notAfter: 499 });
const leaf = certificate("88", { isCa: false });
const expiredLeaf = certificate("99", { notAfter: 1, isCa: false });

Deno.test("a pool holds each certificate once, ascending by SHA-256, whatever the order of sources", () => {
  const pool = { certificates: [a, b, c], dropped: [] };
  assert.deepEqual(poolOf([[c, a], [], [b, a]], {}), pool);
  assert.deepEqual(poolOf([[b], [c, c], [a]], {}), pool);
  assert.deepEqual(poolOf([], {}), { certificates: [], dropped: [] });
});

Deno.test("filters are off unless asked for", () => {
  assert.deepEqual(poolOf([[expired, leaf]], {}).certificates, [expired, leaf]);
  assert.deepEqual(poolOf([[leaf]], { filterNonCa: false }).certificates, [leaf]);
});

Deno.test("each certificate that a filter drops is told once, with the first reason", () => {
  assert.deepEqual(
    poolOf([[expiredLeaf, leaf, a], [expired, leaf]], { filterExpiredAt: 500, filterNonCa: true }),
    {
      certificates: [a],
      dropped: [
        { certificate: expired, reason: "expired" },
        { certificate: leaf, reason: "not a CA" },
        { certificate: expiredLeaf, reason: "expired" },
      ],
    },
  );
});

Deno.test("a certificate is good up to its last millisecond", () => {
  assert.deepEqual(poolOf([[a]], { filterExpiredAt: 1000 }).certificates, [a]);
  assert.deepEqual(poolOf([[a]], { filterExpiredAt: 1001 }).certificates, []);
});

Deno.test("the earliest end of validity", () => {
  assert.equal(earliestNotAfter([a, expired, leaf]), 499);
  assert.equal(earliestNotAfter([]), undefined);
});

Deno.test("what has expired does not count as what expires next", () => {
  assert.deepEqual(expiriesAt(500, [a, expired, leaf, expiredLeaf]), { next: 1000, expired: 2 });
  assert.deepEqual(expiriesAt(499, [a, expired, expiredLeaf]), { next: 499, expired: 1 });
  assert.deepEqual(expiriesAt(2000, [a]), { next: undefined, expired: 1 });
  assert.deepEqual(expiriesAt(0, []), { next: undefined, expired: 0 });
});
