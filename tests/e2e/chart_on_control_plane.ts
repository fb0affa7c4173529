import { withServicePort } from "../cluster/local_service.ts";
import { Helm } from "../helm/helm.ts";
import { freePort } from "../cluster/free_ports.ts";
import type { OperatorProcess } from "./operator_process.ts";
import type { TestCluster } from "./test_cluster.ts";

/** Secret that the chart's Certificate is issued into. */
export const WEBHOOK_SECRET = "trust-manager-tls";

/**
 * The chart of this project, on a control plane without nodes: a process of this machine is what the Deployment would run, at the
 * address of the chart's Service.
 */
export class ChartOnControlPlane {
  /** Address of the chart's Service. */
  readonly host: string;
  /** Port of the chart's Service. Not 443, which takes rights to listen on. */
  readonly port: number;
  readonly #cluster: TestCluster;

  private constructor(cluster: TestCluster, host: string, port: number) {
    this.#cluster = cluster;
    this.host = host;
    this.port = port;
  }

  /** Applies what the chart renders to, except the Deployment. */
  static async install(
    cluster: TestCluster,
    values: Readonly<Record<string, unknown>> = {},
  ): Promise<ChartOnControlPlane> {
    const port = freePort();
    const helm = await Helm.find();
    const manifests = (await helm.render({ values })).filter(({ kind }) => kind !== "Deployment");
    const applied = await cluster.admin.apply(withServicePort(manifests, "trust-manager", port));
    const service = applied.find(({ kind, metadata }) =>
      kind === "Service" && metadata.name === "trust-manager"
    );
    return new ChartOnControlPlane(cluster, String(Object(service?.["spec"]).clusterIP), port);
  }

  /** Starts the operator with the rights of the chart, and does not wait. */
  operator(certificateDir: string, ...flags: string[]): Promise<OperatorProcess> {
    return this.#cluster.operatorWith({
      flags: [
        "--webhook-enabled=true",
        `--webhook-host=${this.host}`,
        `--webhook-port=${this.port}`,
        `--webhook-certificate-dir=${certificateDir}`,
        ...flags,
      ],
      wait: false,
    });
  }
}
