import assert from "node:assert/strict";
import fc from "fast-check";
import { validateBundle } from "../../lib/api/validate.ts";
import { readBundle } from "../../lib/records/bundle_record.ts";
import { answerBody, refuseHead, WEBHOOK_PATH } from "../../webhook/admission_handler.ts";
import { admissionWarnings, type KnownObjects } from "../../webhook/warnings.ts";
import { ADMISSION_CASES } from "../admission_cases.ts";
import { admissionReview, bundleOf } from "../admission_review.ts";
import { bundle as bundleWith } from "../builders.ts";
import { pemTexts, SECRET } from "./inputs.ts";
import { forAll } from "./property.ts";

const known: KnownObjects = {
  synced: true,
  sources: () => [],
  source: () => undefined,
  namespaces: () => [],
};
const NOW = Date.parse("2030-01-01T00:00:00Z");

/** Answers a body as the webhook does, and checks that the answer is one that an API server can use, or a refusal. */
function answered(body: Uint8Array | string): { status: number; allowed?: boolean; text: string } {
  const octets = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const { status, headers, body: text } = answerBody(octets, (it) => admissionWarnings(it, known, NOW));
  if (status === 400) {
    assert.match(headers["content-type"] ?? "", /^text\/plain/);
    assert.ok(text.length < 300, text);
    return { status, text };
  }
  assert.equal(status, 200);
  const review = JSON.parse(text);
  assert.deepEqual(Object.keys(review).sort(), ["apiVersion", "kind", "response"]);
  const { uid, allowed, status: refusal, warnings = [] } = review.response;
  assert.equal(typeof uid, "string");
  assert.equal(typeof allowed, "boolean");
  assert.equal(allowed, refusal === undefined);
  if (!allowed) assert.ok([400, 403].includes(refusal.code) && typeof refusal.message === "string");
  for (const warning of warnings) assert.ok(typeof warning === "string" && warning.length <= 256);
  return { status, allowed, text };
}

const review = (object: unknown) => JSON.stringify(admissionReview(object));

/** Values of any type where a field should be; keys that mean something, or something else in JavaScript. */
const value = fc.jsonValue({ maxDepth: 3 });
const key = fc.oneof(
  fc.constantFrom("__proto__", "constructor", "toString", "", "a", "0", "\u0000"),
  fc.string(),
);

/** A Bundle as admission cases have it, with some of its fields replaced by what they should not be. */
const oddBundles = fc.tuple(
  fc.constantFrom(
    ...ADMISSION_CASES.map((it) => JSON.stringify(bundleOf(it))).filter((text) => text.length < 10_000),
  ),
  fc.array(fc.tuple(fc.nat(200), value, key), { maxLength: 4 }),
).map(([text, changes]) => {
  const root: unknown = JSON.parse(text);
  for (const [position, replacement, name] of changes) {
    const parents = objectsIn(root);
    const parent = parents[position % parents.length] ?? {};
    const keys = Object.keys(parent);
    const at = position % 3 === 0 ? name : keys[position % Math.max(keys.length, 1)] ?? name;
    // Not by assignment, which `__proto__` would turn into something else.
    Object.defineProperty(parent, at, {
      value: replacement,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return root;
});

function objectsIn(root: unknown): object[] {
  if (typeof root !== "object" || root === null) return [];
  return [root, ...Object.values(root).flatMap(objectsIn)];
}

Deno.test("whatever a Bundle is, the answer is one that the API server understands", async () => {
  let allowed = 0;
  await forAll(oddBundles, 3000, (object) => {
    if (answered(review(object)).allowed === true) allowed++;
  });
  assert.ok(allowed > 50, `only ${allowed} were allowed`);
});

Deno.test("whatever a review is, it is answered or refused as a whole", async () => {
  const reviews = fc.oneof(
    value,
    fc.record({
      apiVersion: fc.constant("admission.k8s.io/v1"),
      kind: fc.constant("AdmissionReview"),
      request: value,
    }),
    fc.record({
      operation: fc.constantFrom("CREATE", "UPDATE", "DELETE", "CONNECT", "create", 1, null),
      uid: value,
      object: value,
    })
      .map((request) => ({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request })),
  );
  await forAll(reviews, 2000, (it) => {
    answered(JSON.stringify(it));
  });
});

Deno.test("bytes that are no JSON, or a review with some bytes changed, are refused or answered", async () => {
  const whole = new TextEncoder().encode(review(bundleOf({ spec: bundleWith().spec })));
  await forAll(fc.uint8Array({ maxLength: 100 }), 1000, (octets) => {
    assert.equal(answered(octets).status, 400);
  });
  await forAll(
    fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 3 }),
    3000,
    (changes) => {
      const octets = whole.slice();
      for (const [at, octet] of changes) octets[at] = octet;
      answered(octets);
    },
  );
});

const bodies: Record<string, { body: string; status: number }> = {
  "lists a million deep": { body: "[".repeat(1e6) + "]".repeat(1e6), status: 400 },
  "lists a million deep, not closed": { body: "[".repeat(1e6), status: 400 },
  "a review a million deep": {
    body: review({}).replace('"object":{}', `"object":${'{"a":'.repeat(5e5)}1${"}".repeat(5e5)}`),
    status: 200,
  },
  "a number of a million digits": { body: "1".repeat(1e6), status: 400 },
  "a number beyond all": { body: review(1e308).replace("1e+308", "1e999999999"), status: 200 },
  "keys that are there twice: the last one counts, as in Go": {
    body: review({}).replace('"operation":"CREATE"', '"operation":"CREATE","operation":"DELETE"'),
    status: 200,
  },
  "a byte order mark": { body: `\ufeff${review({})}`, status: 400 },
  "two reviews": { body: review({}) + review({}), status: 400 },
  "nothing": { body: "", status: 400 },
  "a prototype": { body: '{"__proto__": {"apiVersion": "admission.k8s.io/v1"}}', status: 400 },
};

for (const [name, { body, status }] of Object.entries(bodies)) {
  Deno.test(`admission of ${name}`, () => {
    assert.equal(answered(body).status, status);
  });
}

Deno.test("UTF-16 is refused", () => {
  const text = review({});
  const octets = new Uint8Array(2 * text.length);
  for (let i = 0; i < text.length; i++) octets[2 * i] = text.charCodeAt(i);
  assert.equal(answered(octets).status, 400);
});

Deno.test("other methods, paths and content types are refused before the body is read", async () => {
  const heads = fc.record({
    method: fc.oneof(fc.constantFrom("POST", "GET", "PUT", "post"), fc.string()),
    url: fc.oneof(fc.constantFrom(WEBHOOK_PATH, `${WEBHOOK_PATH}?timeout=10s`, "/", "//", "*"), fc.string()),
    contentType: fc.oneof(
      fc.constantFrom(
        undefined,
        "application/json",
        "Application/JSON; charset=utf-8",
        "text/plain",
        "application/jsonx",
      ),
      fc.string(),
    ),
  });
  await forAll(heads, 1000, (head) => {
    const good = head.method === "POST" && head.url.split("?")[0] === WEBHOOK_PATH &&
      /^\s*application\/json\s*(;|$)/i.test(head.contentType ?? "");
    assert.equal(refuseHead(head) === undefined, good);
  });
});

Deno.test("a private key in an inline source is in no answer", async () => {
  await forAll(pemTexts, 2000, (text) => {
    const { text: answer } = answered(
      review(bundleOf({ spec: { ...bundleWith().spec, sources: [{ inLine: text }] } })),
    );
    assert.ok(!answer.includes(SECRET));
  });
});

/** Bundles that the schema lets through and that have very many errors. */
const entries = <T>(count: number, entry: (i: number) => [string, T]) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => entry(i)));
const manyErrors: Record<string, { sources?: object[]; target?: object }> = {
  "labels": {
    target: { configMap: { key: "k", metadata: { labels: entries(125_000, (i) => [`${i}!`, "!"]) } } },
  },
  "annotations": {
    target: { configMap: { key: "k", metadata: { annotations: entries(125_000, (i) => [`${i}!`, "!"]) } } },
  },
  "requirements": {
    target: {
      configMap: { key: "k" },
      namespaceSelector: { matchExpressions: Array(100_000).fill({ key: "!", operator: "X" }) },
    },
  },
  "values": {
    sources: [{
      configMap: {
        key: "k",
        selector: { matchExpressions: [{ key: "a", operator: "In", values: Array(200_000).fill("!") }] },
      },
    }],
  },
  "sources": { sources: Array(200_000).fill({}) },
  "a long key": {
    target: { configMap: { key: "k", metadata: { labels: { ["ä".repeat(1e6)]: "ü".repeat(5e5) } } } },
  },
};

for (
  const [name, { sources = [{ inLine: "x" }], target = { configMap: { key: "k" } } }] of Object.entries(
    manyErrors,
  )
) {
  Deno.test(`however many errors a Bundle has, the answer is short: ${name}`, () => {
    const object = { ...bundleWith(), spec: { sources, target } };
    const { allowed, text } = answered(review(object));
    assert.equal(allowed, false);
    assert.ok(text.length < 1e5, `${text.length} characters`);
    // The same Bundle in a cluster without the webhook.
    assert.ok((readBundle(object).refusal?.length ?? 0) < 1e5);
    const errors = validateBundle(object);
    assert.ok(errors.length <= 101);
  });
}
