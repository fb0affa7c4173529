import type { DecodedBundle } from "../lib/api/decode_bundle.ts";
import type { Work } from "./admission_queue.ts";
import { BadReviewError, reviewInStages } from "./review.ts";

/** Path of the webhook, fixed by contract: users' webhook configurations name it. */
export const WEBHOOK_PATH = "/validate-trust-cert-manager-io-v1alpha1-bundle";

/** What is known of an HTTP request before its body arrives. */
export interface RequestHead {
  readonly method: string;
  /** With the query. */
  readonly url: string;
  readonly contentType: string | undefined;
}

/** An HTTP answer. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A refusal of the request as such, in plain text. */
export function refusal(status: number, message: string, headers: Record<string, string> = {}): HttpAnswer {
  return {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", ...headers },
    body: `${message}\n`,
  };
}

/** Why a request is refused whatever its body is; undefined if it is not. */
export function refuseHead({ method, url, contentType }: RequestHead): HttpAnswer | undefined {
  const path = url.split("?", 1)[0];
  if (path !== WEBHOOK_PATH) return refusal(404, `Not found: the webhook is at ${WEBHOOK_PATH}`);
  if (method !== "POST") return refusal(405, "Method not allowed: use POST", { allow: "POST" });
  const mediaType = contentType?.split(";", 1)[0]?.trim().toLowerCase();
  if (mediaType !== "application/json") {
    return refusal(415, "Unsupported content type: send application/json", { accept: "application/json" });
  }
  return undefined;
}

/**
 * So many values a body may have, about. A million of them, all empty objects, fit into 3 MB, and take half a second to read; the largest
 * Bundle that etcd stores, one that is nothing but short labels, has less than 300,000.
 */
const MOST_VALUES = 600_000;

/** Answers the body of a request that {@linkcode refuseHead} let through. Never throws for anything that is in the body. */
export function answerBody(
  body: Uint8Array,
  warningsOf: (bundle: DecodedBundle) => readonly string[],
): HttpAnswer {
  const work = answerInStages(body, warningsOf);
  while (true) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** The same in stages, none of which takes long. */
export function* answerInStages(
  body: Uint8Array,
  warningsOf: (bundle: DecodedBundle) => readonly string[],
): Work<HttpAnswer> {
  if (hasMoreValues(body, MOST_VALUES)) {
    return refusal(400, `The body has more than ${MOST_VALUES} values`);
  }
  let review: unknown;
  try {
    review = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    // The cause would quote the body.
    return refusal(400, "The body is not valid JSON in UTF-8");
  }
  yield;
  try {
    const answer = JSON.stringify(yield* reviewInStages(review, warningsOf));
    return { status: 200, headers: { "content-type": "application/json" }, body: answer };
  } catch (error) {
    if (error instanceof BadReviewError) return refusal(400, error.message);
    throw error;
  }
}

/** By the characters that each value has beside it, in texts too: a look that costs next to nothing. */
function hasMoreValues(body: Uint8Array, most: number): boolean {
  if (body.length <= most) return false;
  let found = 0;
  for (const character of ",[{") {
    const code = character.charCodeAt(0);
    for (let at = body.indexOf(code); at >= 0; at = body.indexOf(code, at + 1)) {
      if (++found > most) return true;
    }
  }
  return false;
}
