import type { OperatorProcess } from "../e2e/operator_process.ts";

/** How a process ended that should not have. */
export class UnexpectedEndError extends Error {
  override readonly name = "UnexpectedEndError";
}

/** The memory of one process over its life. */
export interface MemoryCurve {
  readonly replica: string;
  readonly pid: number;
  /** Seconds since its start, and kB of resident memory. */
  readonly samples: (readonly [seconds: number, kilobytes: number])[];
}

/** What {@linkcode Replica} is told. */
export interface ReplicaOptions {
  readonly name: string;
  /** Starts a process, and does not wait until it is ready. */
  readonly start: () => Promise<OperatorProcess>;
  /** Is given all that a process has printed, after its end. */
  readonly onOutput: (output: string) => void;
  /** How long an ended process stays so, in milliseconds. */
  readonly restartMs: number;
}

/** One replica of the operator, started again whenever it ends, as the kubelet does. */
export class Replica implements AsyncDisposable {
  /** How often it was started. */
  starts = 0;
  /** How often it ended by itself because it had lost the lease. */
  leasesLost = 0;
  readonly memory: MemoryCurve[] = [];
  readonly #options: ReplicaOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #process: OperatorProcess | undefined;
  #startedAt = 0;
  #frozen = false;
  /** Signals that the present process was sent, which end it. */
  #deadly = new Set<Deno.Signal>();
  #failure: unknown;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#running = this.#run().catch((error) => {
      this.#failure = error;
    });
  }

  get name(): string {
    return this.#options.name;
  }

  /** The running process; undefined between two. */
  get process(): OperatorProcess | undefined {
    return this.#process;
  }

  /** Whether it was stopped by SIGSTOP. */
  get frozen(): boolean {
    return this.#frozen;
  }

  /** Sends a signal to the process, if there is one. Returns whether there was. */
  signal(signal: Deno.Signal): boolean {
    const process = this.#process;
    if (process === undefined) return false;
    if (signal === "SIGKILL" || signal === "SIGTERM") this.#deadly.add(signal);
    if (signal === "SIGSTOP" || signal === "SIGCONT") this.#frozen = signal === "SIGSTOP";
    process.kill(signal);
    return true;
  }

  /** Notes how much memory the process has now. */
  async sampleMemory(): Promise<void> {
    const process = this.#process;
    const curve = this.memory.at(-1);
    if (process === undefined || curve === undefined || curve.pid !== process.pid) return;
    const status = await Deno.readTextFile(`/proc/${process.pid}/status`).catch(() => "");
    const kilobytes = Number(status.match(/^VmRSS:\s+(\d+) kB$/m)?.[1]);
    if (!Number.isNaN(kilobytes)) {
      curve.samples.push([(performance.now() - this.#startedAt) / 1000, kilobytes]);
    }
  }

  /** @throws {UnexpectedEndError} if a process ended for no reason. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#process?.kill("SIGCONT");
    this.#process?.kill("SIGKILL");
    await this.#running;
  }

  async #run(): Promise<void> {
    const { start, restartMs, onOutput, name } = this.#options;
    while (!this.#stop.signal.aborted) {
      await using process = await start();
      this.starts++;
      this.#startedAt = performance.now();
      this.#deadly.clear();
      this.#frozen = false;
      this.memory.push({ replica: name, pid: process.pid, samples: [] });
      this.#process = process;
      if (this.#stop.signal.aborted) process.kill("SIGKILL");
      const code = await process.exited(2 ** 31 - 1);
      this.#process = undefined;
      this.#frozen = false;
      onOutput(process.output);
      if (this.#stop.signal.aborted) return;
      this.#judgeEnd(code, process.output);
      await pause(restartMs, this.#stop.signal);
    }
  }

  #judgeEnd(code: number, output: string): void {
    const lostLease = code === 1 && output.includes("lost the lease");
    if (lostLease) this.leasesLost++;
    const signals = [...this.#deadly];
    // Its ports were free when they were chosen.
    const portTaken = code === 1 && output.includes("Address already in use");
    const expected = lostLease || portTaken || signals.includes("SIGKILL") && code === 137 ||
      // 143: before it listens to the signal.
      signals.includes("SIGTERM") && (code === 0 || code === 143);
    if (expected) return;
    const after = signals.length === 0 ? "by itself" : `after ${signals.join(", ")}`;
    throw new UnexpectedEndError(
      `Replica ${this.#options.name} ended ${after} with exit code ${code}. It printed:\n${
        output.slice(-6_000)
      }`,
    );
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
