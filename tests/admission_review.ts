import type { AdmissionCase } from "./admission_cases.ts";

/** A Bundle of an admission case, as users write it. */
export function bundleOf({ bundleName = "example", spec }: Pick<AdmissionCase, "bundleName" | "spec">) {
  return {
    apiVersion: "trust.cert-manager.io/v1alpha1",
    kind: "Bundle",
    metadata: { name: bundleName },
    spec,
  };
}

/** An AdmissionReview as the API server sends it. */
export function admissionReview(object: unknown, request: Readonly<Record<string, unknown>> = {}) {
  const group = "trust.cert-manager.io";
  return {
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    request: {
      uid: "8a1d0c4e-0000-4000-8000-000000000001",
      kind: { group, version: "v1alpha1", kind: "Bundle" },
      resource: { group, version: "v1alpha1", resource: "bundles" },
      name: "example",
      operation: "CREATE",
      userInfo: { username: "somebody" },
      object,
      oldObject: null,
      dryRun: false,
      ...request,
    },
  };
}
