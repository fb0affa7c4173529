import assert from "node:assert/strict";
import { answerReview } from "../../../webhook/review.ts";
import { ADMISSION_CASES } from "../../admission_cases.ts";
import { admissionReview, bundleOf } from "../../admission_review.ts";
import { type AdmissionAnswer, askAdmissionOracle } from "./oracle.ts";

/** The decision, without what the two may differ in: order of errors (the Go project's is random), success' empty status. */
function decision({ response }: Pick<AdmissionAnswer["body"], "response">) {
  const { code, reason, message } = response.status ?? {};
  return {
    uid: response.uid,
    allowed: response.allowed,
    ...(response.allowed ? {} : { code, reason, errors: errorsOf(message ?? "").sort() }),
  };
}

/** Of `[first, second]`; splits only where the next field begins. */
function errorsOf(message: string): string[] {
  return message.replace(/^\[(.*)\]$/s, "$1").split(/, (?=spec\.)/);
}

Deno.test("the Go trust-manager's webhook decides and says the same", async () => {
  const reviews = ADMISSION_CASES.flatMap((it) => {
    const object = bundleOf(it);
    return [admissionReview(object), admissionReview(object, { operation: "UPDATE", oldObject: object })];
  });
  const answers = await askAdmissionOracle(reviews);
  reviews.forEach((review, i) => {
    const theirs = answers[i];
    assert.ok(theirs !== undefined);
    assert.deepEqual(decision(answerReview(review, () => [])), decision(theirs.body), JSON.stringify(review));
  });
});

Deno.test("the Go trust-manager's webhook judges odd labels and annotations the same", async () => {
  const keys = [
    ...'aA0-_./ \u0130\u212aé🙂\\"\u0000<&\u2028\u00ad\u200b\ufffd',
    "a/b",
    "/",
    "a/",
    "/a",
    "a//b",
    "a.b/c",
    "a..b/c",
    "-a/b",
    "A/b",
    "a_b/c",
    "a/b/c",
    "trust.cert-manager.io/",
    "trust.cert-manager.io",
    "Trust.cert-manager.io/x",
    "trust-manager.io/ x",
    "k".repeat(63),
    "k".repeat(64),
    `${"p".repeat(253)}/a`,
    `${"p".repeat(254)}/a`,
    "é".repeat(32),
    "__proto__",
    "constructor",
    "a\n",
    "\na",
    "a\r",
    "aİb",
    "Σ",
    "ΑΣ",
    "ß/x",
    "x/ß",
    "\ud800",
  ];
  const reviews = keys.flatMap((key) => [
    { configMap: { key: "k", metadata: { annotations: Object.fromEntries([[key, "v"]]) } } },
    { secret: { key: "k", metadata: { labels: Object.fromEntries([[key, "v"]]) } } },
    { secret: { key: "k", metadata: { labels: { a: key } } } },
    {
      configMap: { key: "k" },
      namespaceSelector: { matchExpressions: [{ key, operator: key, values: [key] }] },
    },
  ]).map((target) => admissionReview(bundleOf({ spec: { sources: [{ inLine: "x" }], target } })));
  const answers = await askAdmissionOracle(reviews);
  reviews.forEach((review, i) => {
    const theirs = answers[i];
    assert.ok(theirs !== undefined);
    const text = JSON.stringify(review);
    // As it comes from the wire.
    assert.deepEqual(decision(answerReview(JSON.parse(text), () => [])), decision(theirs.body), text);
  });
});

Deno.test("the Go trust-manager's webhook decodes as leniently, and refuses what is no Bundle", async () => {
  const spec = { sources: [{ inLine: "x" }] };
  const objects: unknown[] = [
    { metadata: { name: "a" }, spec },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, spec },
    { apiVersion: "trust.cert-manager.io/v1alpha2", kind: "Bundle", metadata: { name: "a" }, spec },
    undefined,
    null,
    "x",
    { ...bundleOf({ spec }), spec: { sources: [null] } },
    { ...bundleOf({ spec }), spec: { sources: [{ configMap: "x" }] } },
    {
      ...bundleOf({ spec }),
      spec: { sources: [{ configMap: null, inLine: "x", useDefaultCAs: null }], target: null },
    },
    { ...bundleOf({ spec }), spec: { sources: [{ useDefaultCAs: "true" }] } },
    { ...bundleOf({ spec }), spec: { sources: {} } },
    { ...bundleOf({ spec }), spec: { ...spec, target: { namespaceSelector: { matchLabels: { a: null } } } } },
    { ...bundleOf({ spec }), spec: { ...spec, target: { namespaceSelector: { matchExpressions: [null] } } } },
    { ...bundleOf({ spec }), spec: { ...spec, target: { configMap: { metadata: { labels: { a: 1 } } } } } },
    { ...bundleOf({ spec }), spec: { Sources: [{ inLine: "x" }] } },
  ];
  const reviews = objects.map((object) => admissionReview(object));
  const answers = await askAdmissionOracle(reviews);
  reviews.forEach((review, i) => {
    const theirs = answers[i]?.body.response;
    assert.ok(theirs !== undefined);
    const { response } = answerReview(JSON.parse(JSON.stringify(review)), () => []);
    const text = `${JSON.stringify(review.request.object)}: ${JSON.stringify(response)}, ${
      JSON.stringify(theirs)
    }`;
    // What cannot be decoded is told in Go's words there.
    assert.deepEqual(
      [response.allowed, response.status?.code ?? 200],
      [theirs.allowed, theirs.status?.code],
      text,
    );
  });
});
