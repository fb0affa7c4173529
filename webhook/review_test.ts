import assert from "node:assert/strict";
import { ADMISSION_CASES } from "../tests/admission_cases.ts";
import { admissionReview, bundleOf } from "../tests/admission_review.ts";
import { answerReview } from "./review.ts";

const good = bundleOf({ spec: { sources: [{ inLine: "pem" }] } });
const bad = bundleOf({ spec: { sources: [{ useDefaultCAs: false }] } });
const uid = admissionReview(good).request.uid;

Deno.test("every bad Bundle is refused with its text, every good one is allowed", () => {
  for (const { refusal, ...it } of ADMISSION_CASES) {
    for (const operation of ["CREATE", "UPDATE"]) {
      const { apiVersion, kind, response } = answerReview(
        admissionReview(bundleOf(it), { operation }),
        () => [],
      );
      assert.deepEqual({ apiVersion, kind }, { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" });
      assert.deepEqual(
        response,
        refusal === undefined
          ? { uid, allowed: true }
          : { uid, allowed: false, status: { code: 403, reason: "Forbidden", message: refusal } },
      );
    }
  }
});

const decisions: Record<string, { review: unknown; response: unknown }> = {
  "a delete": {
    review: admissionReview(null, { operation: "DELETE", oldObject: bad }),
    response: { uid, allowed: true },
  },
  "a bad Bundle that is being deleted": {
    review: admissionReview(
      { ...bad, metadata: { name: "example", deletionTimestamp: "2030-01-01T00:00:00Z" } },
      { operation: "UPDATE" },
    ),
    response: { uid, allowed: true },
  },
  "a field of the wrong type": {
    review: admissionReview({ ...good, spec: { sources: [{ configMap: "x" }] } }),
    response: {
      uid,
      allowed: false,
      status: { code: 400, message: 'spec.sources[0].configMap: Invalid value: "string": must be an object' },
    },
  },
  "no object": {
    review: admissionReview(null),
    response: { uid, allowed: false, status: { code: 400, message: "request.object is not an object" } },
  },
  "another kind": {
    review: admissionReview({ apiVersion: "v1", kind: "Secret", metadata: { name: "x" } }),
    response: {
      uid,
      allowed: false,
      status: { code: 400, message: "request.object is not a Bundle of trust.cert-manager.io/v1alpha1" },
    },
  },
};

const many = bundleOf({
  spec: { sources: Array(101).fill({ inLine: "pem" }), target: { configMap: { key: "k" } } },
});
const tooMany = {
  uid,
  allowed: false,
  status: {
    code: 403,
    reason: "Forbidden",
    message: "spec.sources: Too many: 101: must have at most 100 items",
  },
};
Object.assign(decisions, {
  "more sources than the schema allows": { review: admissionReview(many), response: tooMany },
  "the same beside a former Bundle that cannot be told from a lie": {
    review: admissionReview(many, { operation: "CREATE", oldObject: many }),
    response: tooMany,
  },
  "the same in an update": {
    review: admissionReview(many, { operation: "UPDATE", oldObject: good }),
    response: tooMany,
  },
  "the same in an update of a Bundle that has them already": {
    review: admissionReview(many, { operation: "UPDATE", oldObject: many }),
    response: { uid, allowed: true, warnings: ["w"] },
  },
  "the same in an update of what is no Bundle": {
    review: admissionReview(many, { operation: "UPDATE", oldObject: [] }),
    response: tooMany,
  },
});

for (const [name, { review, response }] of Object.entries(decisions)) {
  Deno.test(`review: ${name}`, () => assert.deepEqual(answerReview(review, () => ["w"]).response, response));
}

Deno.test("warnings go with what is allowed, and only with that", () => {
  assert.deepEqual(answerReview(admissionReview(good), () => ["w"]).response.warnings, ["w"]);
  assert.equal(answerReview(admissionReview(bad), () => ["w"]).response.warnings, undefined);
});

const unanswerable: Record<string, { review: unknown; message: string }> = {
  "null": { review: null, message: "The body is not an object" },
  "a list": { review: [], message: "The body is not an object" },
  "another version": {
    review: { ...admissionReview(good), apiVersion: "admission.k8s.io/v1beta1" },
    message: "The body is not an AdmissionReview of admission.k8s.io/v1",
  },
  "another kind": { review: good, message: "The body is not an AdmissionReview of admission.k8s.io/v1" },
  "no request": {
    review: { ...admissionReview(good), request: undefined },
    message: "request is not an object",
  },
  "no uid": { review: admissionReview(good, { uid: "" }), message: "request.uid is not a string" },
  "an unknown operation": {
    review: admissionReview(good, { operation: "PATCH" }),
    message: "request.operation is none of CREATE, UPDATE, DELETE, CONNECT",
  },
};

for (const [name, { review, message }] of Object.entries(unanswerable)) {
  Deno.test(`no review: ${name}`, () => {
    assert.throws(() => answerReview(review, () => []), { name: "BadReviewError", message });
  });
}
