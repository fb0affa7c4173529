import type { AuditMark } from "../tests/cluster/audit.ts";
import { type BenchCluster, CONTENDER_USER } from "./bench_cluster.ts";
import type { Measurement } from "./measurement.ts";
import { usageOf } from "./process_usage.ts";
import { type SocketBytes, socketBytesOf } from "./socket_bytes.ts";

const NO_BYTES: SocketBytes = { sent: 0, received: 0 };

/** How long after the last write what belongs to it, such as the status, is still counted, in milliseconds. */
const SETTLE_MS = 1_000;

/** What a {@linkcode Meter} has counted. */
export type Reading = Omit<Measurement, "scenario" | "contender" | "content" | "namespaces" | "targets">;

/** Counts what a contender and the API server spend from one moment on. */
export class Meter {
  readonly #cluster: BenchCluster;
  readonly #mark: AuditMark;
  readonly #bytes: SocketBytes;
  readonly #cpuBefore: number;
  readonly #apiServerCpuBefore: number;
  readonly #start: number;

  private constructor(cluster: BenchCluster, pid: number | undefined, mark: AuditMark, bytes: SocketBytes) {
    this.#cluster = cluster;
    this.#mark = mark;
    this.#bytes = bytes;
    this.#cpuBefore = pid === undefined ? 0 : usageOf(pid).cpuSeconds;
    this.#apiServerCpuBefore = usageOf(cluster.apiServerPid).cpuSeconds;
    this.#start = performance.now();
  }

  /**
   * Starts to count.
   *
   * @param pid of the contender; undefined if it has yet to be started.
   */
  static async start(cluster: BenchCluster, pid?: number): Promise<Meter> {
    await cluster.compact();
    const bytes = pid === undefined ? NO_BYTES : await socketBytesOf(pid);
    return new Meter(cluster, pid, await cluster.audit.mark(), bytes);
  }

  /** Seconds since the start. */
  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  /**
   * Waits until all has settled, and tells what was counted.
   *
   * @param pid of the contender.
   * @param seconds what the work took.
   */
  async read(pid: number, seconds: number, latenciesMs?: readonly number[]): Promise<Reading> {
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const { cpuSeconds, rssMib, peakMib } = usageOf(pid);
    const apiServerCpuSeconds = usageOf(this.#cluster.apiServerPid).cpuSeconds;
    const requests = await requestsSince(this.#cluster, this.#mark);
    const bytes = await socketBytesOf(pid);
    return {
      seconds,
      ...(latenciesMs === undefined ? {} : { latenciesMs }),
      cpuSeconds: cpuSeconds - this.#cpuBefore,
      apiServerCpuSeconds: apiServerCpuSeconds - this.#apiServerCpuBefore,
      rssMib,
      peakMib,
      requests,
      sentMb: (bytes.sent - this.#bytes.sent) / 1e6,
      receivedMb: (bytes.received - this.#bytes.received) / 1e6,
    };
  }
}

/** The requests of contenders since `mark`, by verb and resource. */
export async function requestsSince(
  cluster: BenchCluster,
  mark: AuditMark,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { verb, resource, subresource } of await cluster.audit.since(mark, { user: CONTENDER_USER })) {
    const what = `${verb} ${resource || "other"}${subresource === "" ? "" : `/${subresource}`}`;
    counts[what] = (counts[what] ?? 0) + 1;
  }
  return counts;
}
