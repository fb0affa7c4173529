import { ClusterConfigError } from "./config.ts";
import { type Host, readFailure } from "./host.ts";
import type { ClusterEntry, UserEntry } from "./kubeconfig.ts";

const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** What a pod is told about its cluster, in the terms of a kubeconfig. */
export interface InClusterEntries {
  readonly cluster: ClusterEntry;
  readonly user: UserEntry;
  readonly namespace?: string;
}

/** Whether this process is told of an API server as processes in pods are. */
export function isInCluster(host: Host): boolean {
  return Boolean(host.env("KUBERNETES_SERVICE_HOST")) && Boolean(host.env("KUBERNETES_SERVICE_PORT"));
}

/**
 * The API server as a pod reaches it, as its service account. Only for {@linkcode isInCluster}.
 *
 * @throws {ClusterConfigError} if the service account's token is not mounted, or a file cannot be read.
 */
export async function readInCluster(host: Host): Promise<InClusterEntries> {
  const name = host.env("KUBERNETES_SERVICE_HOST") ?? "";
  const server = `https://${name.includes(":") ? `[${name}]` : name}:${
    host.env("KUBERNETES_SERVICE_PORT") ?? ""
  }`;
  const token = await readMounted(host, "token");
  if (token === undefined) {
    throw new ClusterConfigError(
      `${SERVICE_ACCOUNT}/token does not exist although KUBERNETES_SERVICE_HOST is set: let the pod mount its service account's token (automountServiceAccountToken)`,
    );
  }
  const namespace = await podNamespace(host);
  return {
    cluster: {
      server,
      // Without it the system's roots count, as in the Go client.
      ...(await readMounted(host, "ca.crt") === undefined
        ? {}
        : { certificateAuthority: `${SERVICE_ACCOUNT}/ca.crt` }),
    },
    user: { tokenFile: `${SERVICE_ACCOUNT}/token` },
    ...(namespace ? { namespace } : {}),
  };
}

/**
 * The namespace this process runs in; undefined outside of a pod.
 *
 * @throws {ClusterConfigError} if the file with its name cannot be read.
 */
export async function podNamespace(host: Host): Promise<string | undefined> {
  return (await readMounted(host, "namespace"))?.trim();
}

/** The text of a file of the service account; undefined if there is none. */
async function readMounted(host: Host, name: string): Promise<string | undefined> {
  const path = `${SERVICE_ACCOUNT}/${name}`;
  try {
    return await host.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new ClusterConfigError(`Cannot read ${path}: ${readFailure(error)}`);
  }
}
