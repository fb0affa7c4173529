import { freePorts } from "../cluster/free_ports.ts";
import { signalChild } from "../cluster/signal_child.ts";
import { OPERATOR_ENVIRONMENT } from "../../build.ts";
import { assertNoSecrets } from "./no_secrets.ts";

/** The operator as a process of its own, as users run it. */
export class OperatorProcess implements AsyncDisposable {
  readonly pid: number;
  /** Port of the probes. */
  readonly probePort: number;
  /** Port of the metrics. */
  readonly metricsPort: number;
  readonly #process: Deno.ChildProcess;
  readonly #output: string[] = [];
  readonly #reading: Promise<unknown>;
  #ended = false;

  private constructor(process: Deno.ChildProcess, probePort: number, metricsPort: number) {
    this.#process = process;
    this.pid = process.pid;
    this.probePort = probePort;
    this.metricsPort = metricsPort;
    this.#reading = Promise.all([this.#read(process.stdout), this.#read(process.stderr)]);
    process.status.then(() => {
      this.#ended = true;
    });
  }

  /** Starts `script` with exactly `flagsOfDeno`, and free ports. `env` goes beside the environment that the image sets. */
  static start(
    flagsOfDeno: readonly string[],
    script: string,
    flags: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): OperatorProcess {
    const [probePort = 0, metricsPort = 0] = freePorts(2);
    const process = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        ...flagsOfDeno,
        script,
        `--readiness-probe-port=${probePort}`,
        `--metrics-port=${metricsPort}`,
        "--log-level=3",
        ...flags,
      ],
      env: { ...OPERATOR_ENVIRONMENT, ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new OperatorProcess(process, probePort, metricsPort);
  }

  /** All that it has printed so far. */
  get output(): string {
    return this.#output.join("");
  }

  /** Waits until the readiness probe succeeds. */
  async ready(timeoutMs = 20_000): Promise<void> {
    await this.#until(async () => (await this.probe("/readyz")) === 200, timeoutMs, "it is not ready");
  }

  /** Waits until it has printed `text`. */
  async prints(text: string | RegExp, timeoutMs = 20_000): Promise<void> {
    const found = () => typeof text === "string" ? this.output.includes(text) : text.test(this.output);
    await this.#until(() => Promise.resolve(found()), timeoutMs, `it did not print ${text}`);
  }

  /** Status code of a probe; undefined while nothing listens. */
  async probe(path: string): Promise<number | undefined> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.probePort}${path}`);
      await response.body?.cancel();
      return response.status;
    } catch {
      return undefined;
    }
  }

  /** The metrics, in the Prometheus text format. */
  async metrics(): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.metricsPort}/metrics`);
    return await response.text();
  }

  /** Sends a signal, if it has not ended. */
  kill(signal: Deno.Signal): void {
    signalChild(this.#process, signal);
  }

  /** Waits until it ends, and returns its exit code. */
  async exited(timeoutMs = 20_000): Promise<number> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(this.#failure(`Waited ${timeoutMs} ms in vain for its end`)),
      timeoutMs,
    );
    try {
      const { code } = await Promise.race([this.#process.status, late]);
      await this.#reading;
      return code;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it as Kubernetes ends a pod, and returns its exit code. */
  async stop(): Promise<number> {
    this.kill("SIGTERM");
    return await this.exited();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGCONT");
    this.kill("SIGKILL");
    await this.#process.status;
    await this.#reading;
    assertNoSecrets("the log", this.output);
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      this.#output.push(text);
    }
  }

  async #until(condition: () => Promise<boolean>, timeoutMs: number, what: string): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!await condition()) {
      if (this.#ended) throw this.#failure(`The operator ended, and ${what}`);
      if (performance.now() > deadline) throw this.#failure(`Waited ${timeoutMs} ms in vain: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  #failure(what: string): Error {
    return new Error(`${what}. It printed:\n${this.output.slice(-8_000)}`);
  }
}
