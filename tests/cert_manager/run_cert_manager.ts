import type { ControlPlane } from "../cluster/control_plane.ts";
import { freePorts } from "../cluster/free_ports.ts";
import { goModuleDirectory } from "../cluster/go_module.ts";
import { isReady } from "../cluster/is_ready.ts";
import { serviceAccountKubeconfig } from "../cluster/kubectl.ts";
import { parseManifests, type RestObject } from "../cluster/rest_client.ts";
import { ServerProcess } from "../cluster/server_process.ts";
import { Helm, VALUES_FILE } from "../helm/helm.ts";
import { buildCertManager } from "./build_cert_manager.ts";

/** Namespace that cert-manager is in. */
const NAMESPACE = "cert-manager";

/** How to start cert-manager. */
export interface CertManagerOptions {
  /** Leaves the approval of requests to others, as `disableAutoApproval` of its chart does. Default false. */
  readonly disableAutoApproval?: boolean;
}

/** The real cert-manager, beside a control plane without nodes. */
export interface CertManager extends AsyncDisposable {
  /** The end of the logs. */
  log(lines?: number): Promise<string>;
  /** Ends its processes. A second call does nothing. What it has put into the cluster stays. */
  stop(): Promise<void>;
}

/** Folder of cert-manager's own chart. */
export async function certManagerChart(): Promise<string> {
  const module = await goModuleDirectory(import.meta.dirname ?? ".", "github.com/cert-manager/cert-manager");
  return `${module}/deploy/charts/cert-manager`;
}

/**
 * Installs cert-manager as its chart does, in the namespace `cert-manager`, and runs its controllers, CA injector and webhook as
 * processes of this machine, each with the rights of its own service account. Returns when the webhook is asked and answers.
 *
 * @throws {Error} with the end of the log of what did not start.
 * @throws {GoToolchainError} {GoBuildError} if it cannot be built.
 */
export async function startCertManager(
  controlPlane: Pick<ControlPlane, "admin" | "dir">,
  options: CertManagerOptions = {},
): Promise<CertManager> {
  const { admin, dir } = controlPlane;
  const program = await buildCertManager();
  const [webhookPort = 0, probePort = 0] = freePorts(2);
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } };
  await admin.apply([namespace, ...await manifests({ webhookPort, ...options })]);

  const processes: ServerProcess[] = [];
  const start = async (name: string, serviceAccount: string, args: readonly string[]) => {
    const kubeconfig = await serviceAccountKubeconfig(controlPlane, NAMESPACE, serviceAccount);
    const process = ServerProcess.start({
      name: `cert-manager ${name}`,
      program,
      logFile: `${dir}/cert-manager-${name}.log`,
      args: [name, `--kubeconfig=${kubeconfig}`, ...args],
    });
    processes.push(process);
    return process;
  };
  const stop = async () => {
    await Promise.all(processes.splice(0).map((process) => process.end("SIGKILL")));
  };
  try {
    const webhook = await start("webhook", "cert-manager-webhook", [
      `--secure-port=${webhookPort}`,
      `--healthz-port=${probePort}`,
      "--metrics-listen-address=0",
      `--dynamic-serving-ca-secret-namespace=${NAMESPACE}`,
      "--dynamic-serving-ca-secret-name=cert-manager-webhook-ca",
      "--dynamic-serving-dns-names=localhost",
    ]);
    const injector = await start("cainjector", "cert-manager-cainjector", []);
    const controller = await start("controller", "cert-manager", [
      `--cluster-resource-namespace=${NAMESPACE}`,
      ...options.disableAutoApproval ? ["--controllers=-certificaterequests-approver"] : [],
    ]);
    await webhook.waitUntil("it is healthy", () => isReady(`http://127.0.0.1:${probePort}/healthz`));
    await injector.waitUntil("the API server trusts the webhook", () => admits(admin));
    const log = async (lines?: number) =>
      (await Promise.all([webhook, injector, controller].map((process) => process.logTail(lines)))).join(
        "\n",
      );
    return { log, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What the chart renders to, but for what only a node could run. */
async function manifests(
  { webhookPort, disableAutoApproval = false }: { webhookPort: number } & CertManagerOptions,
): Promise<RestObject[]> {
  const helm = await Helm.find();
  const yaml = await helm.run([
    "template",
    "cert-manager",
    await certManagerChart(),
    `--namespace=${NAMESPACE}`,
    "--no-hooks",
    "--values",
    VALUES_FILE,
  ], {
    crds: { enabled: true },
    startupapicheck: { enabled: false },
    webhook: { url: { host: `localhost:${webhookPort}` } },
    disableAutoApproval,
  });
  return parseManifests(yaml).filter(({ kind }) => kind !== "Deployment");
}

/** Whether cert-manager's objects can be created. Creates none. */
async function admits(admin: ControlPlane["admin"]): Promise<boolean> {
  const path = `/apis/cert-manager.io/v1/namespaces/${NAMESPACE}/issuers?dryRun=All`;
  const issuer = {
    apiVersion: "cert-manager.io/v1",
    kind: "Issuer",
    metadata: { name: "probe" },
    spec: { selfSigned: {} },
  };
  return await admin.create(path, issuer).then(() => true, () => false);
}
