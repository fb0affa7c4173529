import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { startApproverPolicy } from "../approver_policy/run_approver_policy.ts";
import { certificatePath, hasCondition, issued, secretPath } from "../cert_manager/certificate.ts";
import { startCertManager } from "../cert_manager/run_cert_manager.ts";
import type { RestObject } from "../cluster/rest_client.ts";
import { ChartOnControlPlane, WEBHOOK_SECRET } from "./chart_on_control_plane.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const REQUESTS = `/apis/cert-manager.io/v1/namespaces/${TRUST_NAMESPACE}/certificaterequests`;

/** A certificate that the chart's policy is not for: same issuer, another name. */
const FOREIGN = {
  apiVersion: "cert-manager.io/v1",
  kind: "Certificate",
  metadata: { name: "foreign", namespace: TRUST_NAMESPACE },
  spec: {
    commonName: "foreign.example.com",
    dnsNames: ["foreign.example.com"],
    secretName: "foreign",
    issuerRef: { name: "trust-manager", kind: "Issuer", group: "cert-manager.io" },
  },
};

/** An event about a CertificateRequest. */
interface RequestEvent {
  readonly reason: string;
  readonly regarding: { readonly kind: string; readonly name: string };
}

Deno.test("with the real approver-policy", async (t) => {
  await using cluster = await TestCluster.start();
  const { admin, controlPlane } = cluster;
  await using _certManager = await startCertManager(controlPlane, {});
  await using _approverPolicy = await startApproverPolicy(controlPlane);

  /** Waits for the request that cert-manager makes for a Certificate. */
  const requestOf = async (certificate: string, what: string, accept: (request: RestObject) => boolean) => {
    const isWanted = (request: RestObject) =>
      Object(request.metadata["annotations"])["cert-manager.io/certificate-name"] === certificate &&
      accept(request);
    const list = await admin.waitFor<{ items: RestObject[] }>(
      REQUESTS,
      `has one of ${certificate} that ${what}`,
      (list) => list?.items.some(isWanted) ?? false,
    );
    const request = list?.items.find(isWanted);
    assert.ok(request);
    return request;
  };
  /** Waits until approver-policy has said that about a request. */
  const judged = (request: RestObject, reason: string) =>
    admin.waitFor<{ items: RequestEvent[] }>(
      `/apis/events.k8s.io/v1/namespaces/${TRUST_NAMESPACE}/events`,
      `has ${reason} of ${request.metadata.name}`,
      (list) =>
        list?.items.some((event) =>
          event.reason === reason && event.regarding.name === request.metadata.name
        ) ??
          false,
    );

  await t.step("without a policy, the request for the webhook's certificate waits", async () => {
    await ChartOnControlPlane.install(cluster);
    const request = await requestOf("trust-manager", "is there", () => true);
    assert.equal(Object(request["spec"]).username, "system:serviceaccount:cert-manager:cert-manager");
    await judged(request, "Unprocessed");
    const { conditions } = Object((await admin.get(`${REQUESTS}/${request.metadata.name}`))?.["status"]);
    assert.deepEqual(
      conditions?.filter(({ type }: { type: string }) => type === "Approved" || type === "Denied") ?? [],
      [],
    );
    assert.equal(await admin.get(secretPath(TRUST_NAMESPACE, WEBHOOK_SECRET)), undefined);
  });

  await t.step("with approverPolicy.enabled it is approved, and the certificate issued", async () => {
    await ChartOnControlPlane.install(cluster, {
      app: { webhook: { tls: { approverPolicy: { enabled: true } } } },
    });
    const request = await requestOf(
      "trust-manager",
      "is approved",
      (request) => hasCondition(request, "Approved"),
    );
    await judged(request, "Approved");
    const conditions: { type: string; message: string }[] = Object(request["status"]).conditions;
    assert.match(
      conditions.find(({ type }) => type === "Approved")?.message ?? "",
      /"trust-manager-policy"/,
    );
    const secret = await issued(admin, TRUST_NAMESPACE, WEBHOOK_SECRET);
    assert.equal(
      new X509Certificate(secret["tls.crt"]).subjectAltName,
      "DNS:trust-manager.cert-manager.svc",
    );
    await admin.waitFor(
      certificatePath(TRUST_NAMESPACE, "trust-manager"),
      "is ready",
      (certificate) => hasCondition(certificate, "Ready"),
    );
  });

  await t.step("the policy approves nothing else of that issuer", async () => {
    await admin.apply([FOREIGN]);
    const request = await requestOf("foreign", "is denied", (request) => hasCondition(request, "Denied"));
    await judged(request, "Denied");
    assert.ok(!hasCondition(request, "Approved"));
    assert.equal(await admin.get(secretPath(TRUST_NAMESPACE, "foreign")), undefined);
  });
});
