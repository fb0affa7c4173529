import type { RestObject } from "./rest_client.ts";

/** A Service as a manifest has it. */
interface ServicePort {
  readonly name?: string;
  readonly port: number;
}

/** How a webhook configuration says whom to ask. */
interface Webhook {
  readonly clientConfig: { readonly service?: { readonly name: string; readonly namespace: string } };
}

/**
 * Changes manifests so that a process of this machine can be the Service that webhooks of them are asked at: it listens on the Service's
 * address (see `startControlPlane`), which needs no rights only on a port that is not 443. All else stays as it is. Pure.
 *
 * @param service name of the Service that has the port 443, in any namespace.
 * @param port to have instead.
 */
export function withServicePort(
  manifests: readonly RestObject[],
  service: string,
  port: number,
): RestObject[] {
  return manifests.map((object) => {
    if (object.kind === "Service" && object.metadata.name === service) {
      const spec: { ports: readonly ServicePort[] } = Object(object["spec"]);
      const ports = spec.ports.map((it) => it.port === 443 ? { ...it, port, targetPort: port } : it);
      return { ...object, spec: { ...spec, ports } };
    }
    if (!/^(Validating|Mutating)WebhookConfiguration$/.test(object.kind)) return object;
    const webhooks: readonly Webhook[] = Object(object["webhooks"]);
    return {
      ...object,
      webhooks: webhooks.map((webhook) => {
        const { clientConfig } = webhook;
        return clientConfig.service?.name === service
          ? { ...webhook, clientConfig: { ...clientConfig, service: { ...clientConfig.service, port } } }
          : webhook;
      }),
    };
  });
}
