import assert from "node:assert/strict";
import { admissionReview, bundleOf } from "../tests/admission_review.ts";
import { answerBody, refuseHead, type RequestHead, WEBHOOK_PATH } from "./admission_handler.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const head: RequestHead = {
  method: "POST",
  url: `${WEBHOOK_PATH}?timeout=5s`,
  contentType: "application/json",
};

const heads: Record<string, { head: Partial<RequestHead>; status: number | undefined }> = {
  "as the API server sends it": { head: {}, status: undefined },
  "a parameter of the content type": {
    head: { contentType: "Application/JSON; charset=utf-8" },
    status: undefined,
  },
  "another path": { head: { url: "/" }, status: 404 },
  "a path below": { head: { url: `${WEBHOOK_PATH}/x` }, status: 404 },
  "GET": { head: { method: "GET" }, status: 405 },
  "no content type": { head: { contentType: undefined }, status: 415 },
  "another content type": { head: { contentType: "application/yaml" }, status: 415 },
};

for (const [name, { head: change, status }] of Object.entries(heads)) {
  Deno.test(`head of a request: ${name}`, () => {
    assert.equal(refuseHead({ ...head, ...change })?.status, status);
  });
}

Deno.test("a refusal says what to do", () => {
  assert.equal(refuseHead({ ...head, method: "PUT" })?.headers["allow"], "POST");
  assert.match(refuseHead({ ...head, url: "/x" })?.body ?? "", /validate-trust/);
});

const good = JSON.stringify(admissionReview(bundleOf({ spec: { sources: [{ inLine: "pem" }] } })));
const bodies: Record<string, { body: Uint8Array; status: number; text?: string }> = {
  "a review": { body: bytes(good), status: 200 },
  "nothing": { body: bytes(""), status: 400 },
  "half a review": { body: bytes(good.slice(0, 50)), status: 400 },
  "something after the review": { body: bytes(`${good}{}`), status: 400 },
  "a byte order mark": { body: bytes(`\ufeff${good}`), status: 400 },
  "invalid UTF-8": { body: new Uint8Array([...bytes('{"a":"'), 0xff, ...bytes('"}')]), status: 400 },
  "UTF-16": {
    body: new Uint8Array(new Uint16Array([...good].map((it) => it.charCodeAt(0))).buffer),
    status: 400,
  },
  "no review": {
    body: bytes("{}"),
    status: 400,
    text: "The body is not an AdmissionReview of admission.k8s.io/v1\n",
  },
  "lists in lists": { body: bytes("[".repeat(1_000_000) + "]".repeat(1_000_000)), status: 400 },
  "lists without end": { body: bytes("[".repeat(3_000_000)), status: 400 },
  "too many values": {
    body: bytes(good.replace('"pem"', `[${"{},".repeat(500_000)}{}]`)),
    status: 400,
    text: "The body has more than 600000 values\n",
  },
  "objects in objects": { body: bytes('{"a":'.repeat(500_000) + "1" + "}".repeat(500_000)), status: 400 },
  "deep inside a Bundle": {
    body: bytes(good.replace('"pem"', "[".repeat(500_000) + "]".repeat(500_000))),
    status: 200,
    text:
      '"status":{"code":400,"message":"spec.sources[0].inLine: Invalid value: \\"array\\": must be a string"}',
  },
};

for (const [name, { body, status, text }] of Object.entries(bodies)) {
  Deno.test(`body of a request: ${name}`, () => {
    const answer = answerBody(body, () => []);
    assert.equal(answer.status, status);
    assert.ok(answer.body.includes(text ?? ""), answer.body);
    assert.doesNotMatch(answer.body, /\bat .*\.ts|Unexpected|position/);
    assert.ok(answer.body.length < 500);
  });
}

Deno.test("a defect is not taken for a bad request", () => {
  const defect = () => {
    throw new TypeError("defect");
  };
  assert.throws(() => answerBody(bytes(good), defect), TypeError);
});
