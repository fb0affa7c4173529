import tls from "node:tls";
import { parseAllDocuments } from "yaml";
import type { BundleSpec } from "../../lib/api/bundle.ts";
import { RestError, type RestObject } from "../cluster/rest_client.ts";
import { freePort } from "../cluster/free_ports.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const BUNDLES = "/apis/trust.cert-manager.io/v1alpha1/bundles";

/** Path of the webhook configuration of `deploy/webhook.yaml`. */
export const CONFIGURATION =
  "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/trust-manager";

/** Path of the Secret of `deploy/rbac_self_certificate.yaml`. */
export const SELF_SECRET = `/api/v1/namespaces/${TRUST_NAMESPACE}/secrets/trust-manager-webhook`;

/** Names of the webhook's Service. */
export const SERVICE_HOST = `trust-manager.${TRUST_NAMESPACE}.svc`;

/** A ValidatingWebhookConfiguration, as far as tests read it. */
export interface Configuration extends RestObject {
  readonly webhooks: readonly {
    readonly name: string;
    readonly clientConfig: { readonly caBundle?: string };
  }[];
}

/**
 * A cluster with the webhook of `deploy/`: its Service has an address of this machine, so that who listens there is what the
 * API server asks.
 */
export class WebhookCluster implements AsyncDisposable {
  readonly cluster: TestCluster;
  /** Address of the Service. */
  readonly host: string;
  /** Port of the Service. Not 443, which takes rights to listen on. */
  readonly port: number;

  private constructor(cluster: TestCluster, host: string, port: number) {
    this.cluster = cluster;
    this.host = host;
    this.port = port;
  }

  static async start(): Promise<WebhookCluster> {
    const cluster = await TestCluster.start();
    try {
      const read = (file: string) => Deno.readTextFile(new URL(`../../deploy/${file}`, import.meta.url));
      await cluster.admin.apply(await read("rbac_self_certificate.yaml"));
      const port = freePort();
      let host = "";
      for (const document of parseAllDocuments(await read("webhook.yaml"))) {
        const object = withPort(document.toJS(), port);
        const [applied] = await cluster.admin.apply([object]);
        if (object.kind === "Service") host = String(Object(applied?.["spec"])["clusterIP"]);
      }
      return new WebhookCluster(cluster, host, port);
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get admin(): TestCluster["admin"] {
    return this.cluster.admin;
  }

  /** Flags that make an operator the one that the API server asks. */
  get flags(): string[] {
    return ["--webhook-enabled=true", `--webhook-host=${this.host}`, `--webhook-port=${this.port}`];
  }

  /** Asks the API server to create a Bundle without storing it. Returns why it refuses; undefined if it does not. */
  async refusal(
    spec: BundleSpec,
    name = "example",
  ): Promise<{ status: number; message: string } | undefined> {
    const bundle = { apiVersion: "trust.cert-manager.io/v1alpha1", kind: "Bundle", metadata: { name }, spec };
    try {
      await this.admin.create(`${BUNDLES}?dryRun=All`, bundle);
      return undefined;
    } catch (error) {
      if (error instanceof RestError) return { status: error.status, message: error.statusMessage };
      throw error;
    }
  }

  /** Waits until Bundles are admitted. */
  async admits(spec: BundleSpec = { sources: [{ inLine: "pem" }] }, timeoutMs = 30_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (true) {
      const refusal = await this.refusal(spec);
      if (refusal === undefined) return;
      if (performance.now() > deadline) throw new Error(`Waited ${timeoutMs} ms in vain: ${refusal.message}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The CA certificates that the API server checks the webhook with, PEM. */
  async caBundle(): Promise<string> {
    const configuration = await this.admin.get<Configuration>(CONFIGURATION);
    const bundle = configuration?.webhooks[0]?.clientConfig.caBundle ?? "";
    return new TextDecoder().decode(Uint8Array.fromBase64(bundle));
  }

  /** Sets those, as cert-manager's injector would; takes away the label that asks the operator to. */
  async injectCa(pem: string): Promise<void> {
    const caBundle = new TextEncoder().encode(pem).toBase64();
    await this.admin.request("PATCH", CONFIGURATION, {
      contentType: "application/strategic-merge-patch+json",
      body: {
        metadata: { labels: { "trust.cert-manager.io/webhook-ca": null } },
        webhooks: [{ name: "trust.cert-manager.io", clientConfig: { caBundle } }],
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
  }
}

function withPort(object: RestObject, port: number): RestObject {
  if (object.kind === "Service") {
    return {
      ...object,
      spec: { ...Object(object["spec"]), ports: [{ name: "webhook", port, targetPort: port }] },
    };
  }
  const webhooks: { clientConfig: { service: object } }[] = Object(object["webhooks"]);
  return {
    ...object,
    webhooks: webhooks.map((webhook) => ({
      ...webhook,
      clientConfig: { service: { ...webhook.clientConfig.service, port } },
    })),
  };
}

/**
 * Opens a TLS connection of its own as the API server would, and returns the serial number that is served.
 *
 * @throws if the certificate is not one of that CA for the Service.
 */
export function servedSerial(host: string, port: number, ca: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = tls.connect({ host, port, servername: SERVICE_HOST, ca }, () => {
    resolve(socket.getPeerCertificate().serialNumber);
    socket.destroy();
  });
  socket.on("error", (error) => {
    reject(error);
    socket.destroy();
  });
  return promise;
}
