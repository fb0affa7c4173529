import { BUNDLE_API_VERSION } from "../lib/api/bundle.ts";
import { BundleDecodeError, decodeBundle, type DecodedBundle } from "../lib/api/decode_bundle.ts";
import { type FieldError, printFieldErrors } from "../lib/api/field_error.ts";
import { schemaLimitError, sourcesLimitError } from "../lib/api/schema_limits.ts";
import { validateBundle } from "../lib/api/validate.ts";
import type { Work } from "./admission_queue.ts";

/** `AdmissionReview` (admission.k8s.io/v1) with an answer. */
export interface AdmissionReview {
  readonly apiVersion: "admission.k8s.io/v1";
  readonly kind: "AdmissionReview";
  readonly response: AdmissionResponse;
}

/** The answer. `status` says why it was refused. */
export interface AdmissionResponse {
  readonly uid: string;
  readonly allowed: boolean;
  readonly status?: { readonly code: number; readonly reason?: string; readonly message: string };
  readonly warnings?: readonly string[];
}

/** What is no AdmissionReview that could be answered. The message is for the client. */
export class BadReviewError extends Error {
  override readonly name = "BadReviewError";
}

/** Answers an AdmissionReview of a Bundle, see {@linkcode reviewInStages}. @throws {BadReviewError} */
export function answerReview(
  review: unknown,
  warningsOf: (bundle: DecodedBundle) => readonly string[],
): AdmissionReview {
  const work = reviewInStages(review, warningsOf);
  while (true) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/**
 * Answers an AdmissionReview of a Bundle, in stages. Pure.
 *
 * Creates and updates are validated, deletes are always allowed; so is any update of a Bundle that is being deleted, or one
 * that was stored before it would be refused could never lose its finalizers. What the schema of the CRD would not let through is
 * refused before anything else is looked at: whoever sends it is no API server.
 *
 * @param review decoded JSON that need not be an AdmissionReview.
 * @param warningsOf what to tell about a Bundle that is allowed.
 * @throws {BadReviewError}
 */
export function* reviewInStages(
  review: unknown,
  warningsOf: (bundle: DecodedBundle) => readonly string[],
): Work<AdmissionReview> {
  const { apiVersion, kind, request } = members(review, "The body");
  if (apiVersion !== "admission.k8s.io/v1" || kind !== "AdmissionReview") {
    throw new BadReviewError("The body is not an AdmissionReview of admission.k8s.io/v1");
  }
  const { uid, operation, object, oldObject } = members(request, "request");
  if (typeof uid !== "string" || uid === "") throw new BadReviewError("request.uid is not a string");
  return {
    apiVersion,
    kind,
    response: { uid, ...(yield* decide(operation, object, oldObject, warningsOf)) },
  };
}

type Decision = Omit<AdmissionResponse, "uid">;

function* decide(
  operation: unknown,
  object: unknown,
  oldObject: unknown,
  warningsOf: (bundle: DecodedBundle) => readonly string[],
): Work<Decision> {
  switch (operation) {
    case "DELETE":
    case "CONNECT":
      return { allowed: true };
    case "CREATE":
      return yield* decideOn(object, undefined, warningsOf);
    case "UPDATE":
      return yield* decideOn(object, oldObject, warningsOf);
    default:
      throw new BadReviewError("request.operation is none of CREATE, UPDATE, DELETE, CONNECT");
  }
}

function* decideOn(
  object: unknown,
  oldObject: unknown,
  warningsOf: (bundle: DecodedBundle) => readonly string[],
): Work<Decision> {
  let bundle: DecodedBundle;
  try {
    const { apiVersion = BUNDLE_API_VERSION, kind = "Bundle" } = members(object, "request.object");
    if (apiVersion !== BUNDLE_API_VERSION || kind !== "Bundle") {
      throw new BadReviewError(`request.object is not a Bundle of ${BUNDLE_API_VERSION}`);
    }
    const stored = sourcesLimitError(oldObject, false) !== undefined;
    const error = sourcesLimitError(object, stored);
    if (error !== undefined) return forbidden([error]);
    bundle = decodeBundle(object);
    yield;
  } catch (error) {
    if (!(error instanceof BundleDecodeError) && !(error instanceof BadReviewError)) throw error;
    return { allowed: false, status: { code: 400, message: error.message } };
  }
  if (bundle.metadata.deletionTimestamp !== undefined) return { allowed: true };
  const error = schemaLimitError(bundle);
  if (error !== undefined && !isBeyondLimits(oldObject)) return forbidden([error]);
  const errors = validateBundle(bundle);
  if (errors.length > 0) return forbidden(errors);
  yield;
  const warnings = warningsOf(bundle);
  return { allowed: true, ...(warnings.length === 0 ? {} : { warnings }) };
}

function forbidden(errors: readonly FieldError[]): Decision {
  return { allowed: false, status: { code: 403, reason: "Forbidden", message: printFieldErrors(errors) } };
}

/** Whether a Bundle is stored that an older schema allowed: API servers let it be updated, and so does this. */
function isBeyondLimits(oldObject: unknown): boolean {
  try {
    return oldObject !== undefined && schemaLimitError(decodeBundle(oldObject)) !== undefined;
  } catch (error) {
    if (error instanceof BundleDecodeError) return false;
    throw error;
  }
}

function members(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new BadReviewError(`${what} is not an object`);
  }
  return { ...value };
}
