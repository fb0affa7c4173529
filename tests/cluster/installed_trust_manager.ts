import type { RestClient, RestObject } from "./rest_client.ts";

interface List {
  readonly items: readonly RestObject[];
}

const DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/bundles.trust.cert-manager.io";

/** Something that shows that trust-manager is installed. */
export interface Trace {
  readonly kind: string;
  /** For people, as a sentence without its full stop. */
  readonly text: string;
}

/** What of trust-manager there is in a cluster, the Go project's or this one's; empty if it is not installed there. Looks only. */
export async function findTrustManager(admin: RestClient): Promise<Trace[]> {
  const found: Trace[] = [];
  const add = (kind: string, text: string) => found.push({ kind, text: `the ${kind} ${text}` });
  if (await admin.get(DEFINITION) !== undefined) {
    add("CustomResourceDefinition", "bundles.trust.cert-manager.io exists");
  }
  const deployments = await admin.get<List>(
    "/apis/apps/v1/deployments?fieldSelector=metadata.name=trust-manager",
  );
  for (const { metadata } of deployments?.items ?? []) {
    add("Deployment", `trust-manager exists in namespace ${metadata.namespace}`);
  }
  const webhooks = await admin.get<List>(
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
  );
  for (const configuration of webhooks?.items ?? []) {
    const asked: readonly { rules?: readonly { apiGroups?: readonly string[] }[] }[] = Object(
      configuration["webhooks"] ?? [],
    );
    const isOurs = asked.some(({ rules = [] }) =>
      rules.some(({ apiGroups = [] }) => apiGroups.includes("trust.cert-manager.io"))
    );
    if (isOurs) {
      add("ValidatingWebhookConfiguration", `${configuration.metadata.name} is about Bundles`);
    }
  }
  const leases = await admin.get<List>(
    "/apis/coordination.k8s.io/v1/leases?fieldSelector=metadata.name=trust-manager-leader-election",
  );
  for (const lease of leases?.items ?? []) {
    // One that was released has no holder, and stays behind.
    const { holderIdentity } = Object(lease["spec"]);
    if (holderIdentity) {
      add(
        "Lease",
        `trust-manager-leader-election in namespace ${lease.metadata.namespace} is held by ${holderIdentity}`,
      );
    }
  }
  return found;
}
