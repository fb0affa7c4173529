import { OPERATOR_FLAGS } from "../../build.ts";
import { signalChild } from "../cluster/signal_child.ts";
import { OperatorProcess } from "./operator_process.ts";
import { TRUST_NAMESPACE } from "./test_cluster.ts";
import { WebhookCluster } from "./webhook_cluster.ts";

const LEASE =
  `/apis/coordination.k8s.io/v1/namespaces/${TRUST_NAMESPACE}/leases/trust-manager-leader-election`;

/** What strangers send to which port, and from how many connections at the same time. */
export interface Attack {
  readonly what: string;
  readonly port: "webhook" | "probes" | "metrics";
  readonly clients: number;
}

/** The attacks that were seen to stop an operator, others like them, and all together, by name. */
export const ATTACKS: Readonly<Record<string, readonly Attack[]>> = {
  "nothing": [],
  "costly requests": [{ what: "costly requests", port: "webhook", clients: 10 }],
  "small requests": [{ what: "small requests", port: "webhook", clients: 50 }],
  "a head and one byte": [{ what: "a head and one byte", port: "webhook", clients: 320 }],
  "half-open connections": [
    { what: "half-open connections", port: "webhook", clients: 1_700 },
    { what: "half-open connections", port: "probes", clients: 1_700 },
    { what: "half-open connections", port: "metrics", clients: 1_700 },
  ],
  "TLS handshakes": [{ what: "TLS handshakes", port: "webhook", clients: 20 }],
  "GET requests": [
    { what: "GET requests", port: "metrics", clients: 20 },
    { what: "GET requests", port: "probes", clients: 20 },
  ],
  "all together": [
    { what: "costly requests", port: "webhook", clients: 5 },
    { what: "small requests", port: "webhook", clients: 10 },
    { what: "a head and one byte", port: "webhook", clients: 320 },
    { what: "TLS handshakes", port: "webhook", clients: 5 },
    { what: "half-open connections", port: "webhook", clients: 500 },
    { what: "half-open connections", port: "probes", clients: 1_000 },
    { what: "half-open connections", port: "metrics", clients: 1_000 },
    { what: "GET requests", port: "metrics", clients: 5 },
  ],
};

/** What was seen under an attack. */
export interface Observation {
  readonly attack: string;
  /** Whether the process still runs, and holds the lease without a break. */
  readonly led: boolean;
  /** The longest time in which the lease was not renewed, in milliseconds. */
  readonly unrenewedMs: number;
  /** How long each Bundle took to be admitted by the API server, in milliseconds, in ascending order. */
  readonly admissionsMs: readonly number[];
  /** Why others were not admitted. */
  readonly failures: readonly string[];
  /** Probes as the kubelet does them, with a timeout of one second. */
  readonly probes: number;
  readonly failedProbes: number;
  /** The most resident memory, in MiB. */
  readonly peakMiB: number;
}

/** The value that so much of a sorted list is not above. */
export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
}

/** A leading operator with its webhook, which an API server asks, in a cluster of some size. */
export class Besieged implements AsyncDisposable {
  readonly webhook: WebhookCluster;
  operator: OperatorProcess;
  readonly #start: () => Promise<OperatorProcess>;

  private constructor(
    webhook: WebhookCluster,
    operator: OperatorProcess,
    start: () => Promise<OperatorProcess>,
  ) {
    this.webhook = webhook;
    this.operator = operator;
    this.#start = start;
  }

  /** @param script the operator's; another one for a comparison. */
  static async start(
    { namespaces, configMaps, script }: { namespaces: number; configMaps: number; script: string },
  ): Promise<Besieged> {
    const webhook = await WebhookCluster.start();
    try {
      const { cluster } = webhook;
      const inLots = async (count: number, create: (i: number) => Promise<unknown>) => {
        for (let i = 0; i < count; i += 20) {
          await Promise.all(Array.from({ length: Math.min(20, count - i) }, (_, j) => create(i + j)));
        }
      };
      await inLots(namespaces, (i) => cluster.createNamespace(`team-${i}`, { team: `${i}` }));
      await inLots(
        configMaps,
        (i) =>
          cluster.admin.create(`/api/v1/namespaces/${TRUST_NAMESPACE}/configmaps`, {
            metadata: { name: `source-${i}`, labels: { source: `${i}` } },
            data: { "ca.crt": "" },
          }),
      );
      const start = async () => {
        const operator = OperatorProcess.start(OPERATOR_FLAGS, script, [
          `--kubeconfig=${cluster.operatorKubeconfig}`,
          `--trust-namespace=${TRUST_NAMESPACE}`,
          ...webhook.flags,
          "--webhook-certificate-source=self",
        ]);
        await operator.ready();
        await operator.prints("Became leader", 30_000);
        await webhook.admits();
        return operator;
      };
      return new Besieged(webhook, await start(), start);
    } catch (error) {
      await webhook[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Attacks for some time, and then sees whether all is as before. A process that has ended is started again for the next attack. */
  async under(name: string, attacks: readonly Attack[], seconds: number): Promise<Observation> {
    const holder = await this.#holder();
    // The peak begins anew (proc(5), clear_refs).
    await Deno.writeTextFile(`/proc/${this.operator.pid}/clear_refs`, "5");
    const strangers = attacks.map((attack) => this.#stranger(attack));
    let gone = 0;
    for (const stranger of strangers) void stranger.status.then(() => gone++);
    const until = performance.now() + 1000 * seconds;
    const lease = this.#watchLease(until);
    const admissions = this.#admit(until);
    const probes = this.#probe(until);
    const observed = {
      unrenewedMs: await lease,
      ...await admissions,
      ...await probes,
      peakMiB: await this.#peakMiB(),
    };
    // Whoever does not attack would be withstood, too.
    if (gone > 0) throw new Error(`${gone} strangers have ended by themselves`);
    for (const stranger of strangers) {
      signalChild(stranger, "SIGKILL");
      await stranger.status;
    }
    const led = observed.peakMiB > 0 && !this.operator.output.includes("Lost the lease") &&
      await this.#holder() === holder;
    if (!led) {
      await this.operator[Symbol.asyncDispose]();
      this.operator = await this.#start();
    }
    return { attack: name, led, ...observed };
  }

  #stranger({ what, port, clients }: Attack): Deno.ChildProcess {
    const ports = {
      webhook: this.webhook.port,
      probes: this.operator.probePort,
      metrics: this.operator.metricsPort,
    };
    const host = port === "webhook" ? this.webhook.host : "127.0.0.1";
    const script = new URL("stranger_process.ts", import.meta.url).pathname;
    // Strangers have machines of their own; here they must leave the processor to who is watched, and to the API server.
    return new Deno.Command("nice", {
      args: [
        "-n",
        "19",
        Deno.execPath(),
        "run",
        "-A",
        "--no-check",
        script,
        what,
        host,
        `${ports[port]}`,
        `${clients}`,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
  }

  async #holder(): Promise<string | undefined> {
    return (await this.#lease())?.spec.holderIdentity;
  }

  #lease() {
    return this.webhook.admin.get<
      { metadata: { name: string }; spec: { holderIdentity: string; renewTime: string } }
    >(
      LEASE,
    );
  }

  /** The longest time in which the lease was not renewed. */
  async #watchLease(until: number): Promise<number> {
    let longest = 0;
    let renewed = { time: "", at: performance.now() };
    while (performance.now() < until) {
      const time = (await this.#lease())?.spec.renewTime ?? "";
      const at = performance.now();
      longest = Math.max(longest, at - renewed.at);
      if (time !== renewed.time) renewed = { time, at };
      await pause(100);
    }
    return longest;
  }

  /** Has Bundles admitted one after the other. */
  async #admit(until: number): Promise<{ admissionsMs: number[]; failures: string[] }> {
    const admissionsMs: number[] = [];
    const failures: string[] = [];
    while (performance.now() < until) {
      const began = performance.now();
      const refusal = await this.webhook.refusal({
        sources: [{ inLine: "pem" }],
        target: { configMap: { key: "ca.crt" } },
      });
      if (refusal === undefined) admissionsMs.push(performance.now() - began);
      else failures.push(refusal.message);
      await pause(20);
    }
    return { admissionsMs: admissionsMs.sort((a, b) => a - b), failures };
  }

  /** Asks both probes, each time on a new connection. */
  async #probe(until: number): Promise<{ probes: number; failedProbes: number }> {
    let probes = 0;
    let failedProbes = 0;
    while (performance.now() < until) {
      for (const path of ["/healthz", "/readyz"]) {
        probes++;
        const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
        try {
          const response = await fetch(`http://127.0.0.1:${this.operator.probePort}${path}`, {
            client,
            signal: AbortSignal.timeout(1_000),
          });
          if (!response.ok) failedProbes++;
          await response.body?.cancel();
        } catch {
          failedProbes++;
        } finally {
          client.close();
        }
      }
      await pause(200);
    }
    return { probes, failedProbes };
  }

  /** 0 if the process has ended. */
  async #peakMiB(): Promise<number> {
    const status = await Deno.readTextFile(`/proc/${this.operator.pid}/status`).catch(() => "");
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.operator[Symbol.asyncDispose]();
    await this.webhook[Symbol.asyncDispose]();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
