import type { BenchCluster } from "./bench_cluster.ts";
import type { Contender, RunningContender } from "./contender.ts";
import type { Measurement, Scenario } from "./measurement.ts";
import { Meter } from "./meter.ts";
import type { Content, TrustContent } from "./trust_content.ts";

/** Where scenarios run, and who is told what came out. */
export interface Stage {
  readonly cluster: BenchCluster;
  readonly trust: TrustContent;
  readonly content: Content;
  readonly record: (measurement: Measurement) => void;
}

/** Milliseconds that all targets may take, whoever writes them: the peer writes five a second. */
export function timeLimit(targets: number): number {
  return 60_000 + targets * 500;
}

/**
 * One contender on a cluster, from its start until all is removed that it has written. Before it, the namespaces have no targets, and
 * after it neither.
 */
export class Session implements AsyncDisposable {
  readonly stage: Stage;
  /** Names of its Bundles; all have the same source. */
  readonly bundles: readonly string[];
  readonly #contender: Contender;
  readonly #size: number;
  #running: RunningContender;
  #certificates: number;

  private constructor(
    stage: Stage,
    contender: Contender,
    bundles: readonly string[],
    running: RunningContender,
    certificates: number,
  ) {
    this.stage = stage;
    this.bundles = bundles;
    this.#contender = contender;
    this.#running = running;
    this.#certificates = certificates;
    this.#size = stage.cluster.namespaces.length;
  }

  /** Puts the source, and starts the contender while there are no Bundles. */
  static async start(
    stage: Stage,
    contender: Contender,
    options: { bundles?: number; certificates?: number } = {},
  ): Promise<Session> {
    const { bundles = 1, certificates = stage.trust.size } = options;
    await stage.cluster.putSource(stage.trust.pem(certificates));
    const meter = await Meter.start(stage.cluster);
    const running = await contender.start(stage.cluster.kubeconfig, stage.cluster.dir);
    const names = Array.from({ length: bundles }, (_, index) => `${contender.name}-${index}`);
    const session = new Session(stage, contender, names, running, certificates);
    try {
      await session.#record("start", 0, meter, running.readyMs / 1000);
      return session;
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The first of its Bundles. */
  get bundle(): string {
    return this.bundles[0] ?? "";
  }

  /** How many targets there have to be. */
  get targets(): number {
    return this.bundles.length * this.stage.cluster.namespaces.length;
  }

  /** Creates the Bundles, all at once. */
  async createBundles(): Promise<void> {
    const { cluster, content } = this.stage;
    await Promise.all(this.bundles.map((name) => cluster.createBundle(name, content)));
  }

  /** Changes the source: by default one certificate more or less than before. */
  async changeSource(certificates?: number): Promise<void> {
    const { cluster, trust } = this.stage;
    this.#certificates = certificates ??
      (this.#certificates === trust.size ? trust.size - 1 : trust.size);
    await cluster.putSource(trust.pem(this.#certificates));
  }

  /** Waits until all targets hold what the source says now. */
  async inSync(): Promise<void> {
    const { cluster, trust, content } = this.stage;
    const { hash } = trust.target(this.#certificates, content);
    await cluster.watch.until(
      `${this.targets} targets of the ${this.#contender.name} are right`,
      timeLimit(this.targets),
      () => this.bundles.every((bundle) => cluster.watch.count(bundle, hash) === cluster.namespaces.length),
    );
  }

  /**
   * Measures what happens until `work` is done.
   *
   * @param targets how many have to be written.
   * @param work may return the time of each of its parts, in milliseconds.
   */
  async measure(scenario: Scenario, targets: number, work: () => Promise<number[] | void>): Promise<void> {
    const meter = await Meter.start(this.stage.cluster, this.#running.pid);
    const latenciesMs = await work();
    await this.#record(scenario, targets, meter, meter.seconds, latenciesMs ?? undefined);
  }

  /** Stops the contender and starts it again; with another one if `by` is given. */
  async restart(scenario: Scenario = "restart", by: Contender = this.#contender): Promise<void> {
    const { cluster } = this.stage;
    await this.#running.stop();
    const meter = await Meter.start(cluster);
    this.#running = await by.start(cluster.kubeconfig, cluster.dir);
    await this.#record(scenario, 0, meter, this.#running.readyMs / 1000, undefined, by);
  }

  /** Stops the contender, deletes its Bundles with their targets, and takes away namespaces that were created meanwhile. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.stop();
    await this.stage.cluster.deleteBundles(...this.bundles);
    await this.stage.cluster.shrink(this.#size);
  }

  async #record(
    scenario: Scenario,
    targets: number,
    meter: Meter,
    seconds: number,
    latenciesMs?: readonly number[],
    by = this.#contender,
  ): Promise<void> {
    const reading = await meter.read(this.#running.pid, seconds, latenciesMs);
    const { content, record } = this.stage;
    record({ scenario, contender: by.name, content, namespaces: this.#size, targets, ...reading });
  }
}
