import assert from "node:assert/strict";
import { systemHost } from "../../lib/kube/host.ts";
import { loadClusterConfig } from "../../lib/kube/load_config.ts";
import { createLogger } from "../../lib/log.ts";
import { Metrics } from "../../lib/metrics.ts";
import { type Ending, runOperator } from "../../lib/operator.ts";
import { parseCommandLine } from "../../lib/options.ts";
import { MovableClock } from "../movable_clock.ts";
import { freePort } from "../cluster/free_ports.ts";

/** The operator inside of the test's process, so that the test holds its clock. */
export class OperatorInside implements AsyncDisposable {
  readonly clock = new MovableClock();
  readonly log: string[] = [];
  readonly #stop = new AbortController();
  readonly #ended: Promise<Ending>;

  private constructor(ended: (inside: OperatorInside, signal: AbortSignal) => Promise<Ending>) {
    this.#ended = ended(this, this.#stop.signal);
  }

  /** @param watchIdleTimeoutMs how long a watch may be silent, in milliseconds. */
  static start(kubeconfig: string, flags: readonly string[], watchIdleTimeoutMs?: number): OperatorInside {
    const command = parseCommandLine([
      `--kubeconfig=${kubeconfig}`,
      `--readiness-probe-port=${freePort()}`,
      "--metrics-port=0",
      "--leader-elect=false",
      "--webhook-enabled=false",
      ...flags,
    ]);
    assert.ok(command.run === "operator");
    const { options } = command;
    return new OperatorInside(async ({ clock, log: lines }, signal) => {
      const log = createLogger({ format: "text", level: 3, write: (line) => lines.push(line), clock });
      return await runOperator({
        options,
        cluster: await loadClusterConfig(options.client, { host: systemHost, clock, log }),
        hostname: "inside",
        podNamespace: undefined,
        userAgent: "trust-manager/inside",
        clock,
        random: Math.random,
        log,
        metrics: new Metrics(clock.now(), "test"),
        ...(watchIdleTimeoutMs === undefined ? {} : { watchIdleTimeoutMs }),
      }, signal);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }
}
