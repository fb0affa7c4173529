import type { ControlPlane } from "../cluster/control_plane.ts";
import { freePorts } from "../cluster/free_ports.ts";
import { goModuleDirectory } from "../cluster/go_module.ts";
import { isReady } from "../cluster/is_ready.ts";
import { serviceAccountKubeconfig } from "../cluster/kubectl.ts";
import { withServicePort } from "../cluster/local_service.ts";
import { parseManifests } from "../cluster/rest_client.ts";
import { ServerProcess } from "../cluster/server_process.ts";
import { Helm } from "../helm/helm.ts";
import { buildApproverPolicy } from "./build_approver_policy.ts";

/** Namespace that approver-policy is in. */
const NAMESPACE = "cert-manager";

/** Name of all its objects. */
const NAME = "cert-manager-approver-policy";

/** The real approver-policy, beside a control plane without nodes. */
export interface ApproverPolicy extends AsyncDisposable {
  /** The end of its log. */
  log(lines?: number): Promise<string>;
  /** Ends it. A second call does nothing. What it has put into the cluster stays. */
  stop(): Promise<void>;
}

/** Folder of approver-policy's own chart. */
export async function approverPolicyChart(): Promise<string> {
  const path = "github.com/cert-manager/approver-policy";
  return `${await goModuleDirectory(import.meta.dirname ?? ".", path)}/deploy/charts/approver-policy`;
}

/**
 * Installs approver-policy as its chart does, in the namespace `cert-manager`, and runs it as a process of this machine with the
 * rights of its service account. cert-manager must be there, for its CA injector. Returns when its webhook is asked and answers.
 *
 * @throws {Error} with the end of its log, if it does not start.
 * @throws {GoToolchainError} {GoBuildError} if it cannot be built.
 */
export async function startApproverPolicy(
  controlPlane: Pick<ControlPlane, "admin" | "dir">,
): Promise<ApproverPolicy> {
  const { admin, dir } = controlPlane;
  const program = await buildApproverPolicy();
  const [webhookPort = 0, probePort = 0] = freePorts(2);
  const helm = await Helm.find();
  const yaml = await helm.run(["template", NAME, await approverPolicyChart(), `--namespace=${NAMESPACE}`]);
  const manifests = parseManifests(yaml).filter(({ kind }) => kind !== "Deployment");
  const applied = await admin.apply(withServicePort(manifests, NAME, webhookPort));
  const service = applied.find(({ kind, metadata }) => kind === "Service" && metadata.name === NAME);

  const process = ServerProcess.start({
    name: NAME,
    program,
    logFile: `${dir}/approver-policy.log`,
    args: [
      `--kubeconfig=${await serviceAccountKubeconfig(controlPlane, NAMESPACE, NAME)}`,
      `--leader-election-namespace=${NAMESPACE}`,
      "--metrics-bind-address=0",
      `--readiness-probe-bind-address=127.0.0.1:${probePort}`,
      `--webhook-host=${Object(service?.["spec"]).clusterIP}`,
      `--webhook-port=${webhookPort}`,
      `--webhook-service-name=${NAME}`,
      `--webhook-ca-secret-namespace=${NAMESPACE}`,
      `--webhook-ca-secret-name=${NAME}-tls`,
    ],
  });
  const stop = () => process.end("SIGKILL");
  try {
    await process.waitUntil("it is ready", () => isReady(`http://127.0.0.1:${probePort}/readyz`));
    await process.waitUntil("the API server trusts its webhook", () => admits(admin));
    return { log: (lines) => process.logTail(lines), stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Whether its objects can be created. Creates none. */
async function admits(admin: ControlPlane["admin"]): Promise<boolean> {
  const path = "/apis/policy.cert-manager.io/v1alpha1/certificaterequestpolicies?dryRun=All";
  const policy = {
    apiVersion: "policy.cert-manager.io/v1alpha1",
    kind: "CertificateRequestPolicy",
    metadata: { name: "probe" },
    spec: { selector: { issuerRef: {} } },
  };
  return await admin.create(path, policy).then(() => true, () => false);
}
