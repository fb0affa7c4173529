import assert from "node:assert/strict";
import { withServicePort } from "./local_service.ts";

Deno.test("withServicePort() changes that Service and the webhooks that name it, and nothing else", () => {
  const metadata = { name: "a", namespace: "x" };
  const service = (name: string, ports: object[]) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { ...metadata, name },
    spec: { type: "ClusterIP", ports },
  });
  const configuration = (...webhooks: object[]) => ({
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata,
    webhooks,
  });
  const asks = (name: string, more = {}) => ({
    name: "w",
    clientConfig: { caBundle: "x", service: { name, namespace: "x", path: "/p", ...more } },
  });
  const url = { name: "w", clientConfig: { url: "https://localhost:1" } };
  const other = service("b", [{ port: 443, targetPort: 6443 }]);
  const secret = { apiVersion: "v1", kind: "Secret", metadata };

  assert.deepEqual(
    withServicePort(
      [
        service("a", [{ name: "https", port: 443, targetPort: 6443 }, { port: 9402 }]),
        other,
        configuration(asks("a"), asks("b"), url),
        secret,
      ],
      "a",
      1234,
    ),
    [
      service("a", [{ name: "https", port: 1234, targetPort: 1234 }, { port: 9402 }]),
      other,
      configuration(asks("a", { port: 1234 }), asks("b"), url),
      secret,
    ],
  );
});
