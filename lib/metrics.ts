import { Counter, Gauge, Histogram, Registry } from "./prometheus.ts";

/** How a pass or a write ended, in the words of controller-runtime. */
export type ReconcileResult = "success" | "error" | "requeue_after";

/** What a {@linkcode Metrics} tells of a queue; the same shape as the queue's observer. */
export interface QueueMetrics {
  depth(keys: number): void;
  added(): void;
  started(waitedSeconds: number): void;
  finished(workedSeconds: number): void;
  retried(): void;
}

/** State of one Bundle, as it is exposed. */
export interface BundleFigures {
  readonly certificates: number;
  /** How many of them have expired. */
  readonly expired: number;
  /** Sources, or keys of them, that give no certificate, or less than seems to be in them. */
  readonly emptySources: number;
  /** Bundles in the cycle of sources that it is in; 0 if it is in none. */
  readonly cycleSize: number;
  /** Of those that have not expired. Milliseconds since the Unix epoch; undefined if there is none. */
  readonly earliestExpiry: number | undefined;
  readonly inSync: number;
  readonly failed: number;
  /** Targets that are still to be written. */
  readonly pending: number;
  /** When all targets were last found right, in milliseconds since the Unix epoch. */
  readonly lastSuccess: number | undefined;
}

const SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/**
 * Everything on `/metrics`. Names are the usual ones where the field has them (controller-runtime, client-go, the Prometheus
 * process metrics), and `trust_manager_…` for our own.
 */
export class Metrics {
  readonly registry: Registry = new Registry();
  readonly #reconciles: Counter<"controller" | "result">;
  readonly #reconcileErrors: Counter<"controller">;
  readonly #reconcileSeconds: Histogram<"controller">;
  readonly #queueDepth: Gauge<"name">;
  readonly #queueAdds: Counter<"name">;
  readonly #queueWait: Histogram<"name">;
  readonly #queueWork: Histogram<"name">;
  readonly #queueRetries: Counter<"name">;
  readonly #requests: Counter<"code" | "host" | "method">;
  readonly #leading: Gauge<"name">;
  readonly #certificates: Gauge<"bundle">;
  readonly #expired: Gauge<"bundle">;
  readonly #emptySources: Gauge<"bundle">;
  readonly #sourceCycle: Gauge<"bundle">;
  readonly #expiry: Gauge<"bundle">;
  readonly #targets: Gauge<"bundle" | "state">;
  readonly #lastSuccess: Gauge<"bundle">;
  readonly #removed: Counter<"bundle">;
  readonly #writes: Counter<"kind" | "operation" | "result">;

  /** @param start when the process started, in milliseconds since the Unix epoch. */
  constructor(start: number, version: string) {
    const registers = [this.registry];
    const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
      new Counter<L>({ name, help, labelNames, registers });
    const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
      new Gauge<L>({ name, help, labelNames, registers });
    const seconds = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
      new Histogram<L>({ name, help, labelNames, registers, buckets: SECONDS });

    this.#reconciles = counter(
      "controller_runtime_reconcile_total",
      "Passes, by result",
      "controller",
      "result",
    );
    this.#reconcileErrors = counter(
      "controller_runtime_reconcile_errors_total",
      "Failed passes",
      "controller",
    );
    this.#reconcileSeconds = seconds(
      "controller_runtime_reconcile_time_seconds",
      "Time a pass takes",
      "controller",
    );
    this.#queueDepth = gauge("workqueue_depth", "Keys that wait in a queue", "name");
    this.#queueAdds = counter("workqueue_adds_total", "Keys added to a queue", "name");
    this.#queueWait = seconds("workqueue_queue_duration_seconds", "Time a key waits in a queue", "name");
    this.#queueWork = seconds("workqueue_work_duration_seconds", "Time the work of a key takes", "name");
    this.#queueRetries = counter("workqueue_retries_total", "Keys tried again after a failure", "name");
    this.#requests = counter(
      "rest_client_requests_total",
      "Requests to the API server, by HTTP status code",
      "code",
      "host",
      "method",
    );
    this.#leading = gauge("leader_election_master_status", "Whether this replica leads: 1 or 0", "name");
    this.#certificates = gauge(
      "trust_manager_bundle_certificates",
      "Certificates in the pool of a Bundle",
      "bundle",
    );
    this.#expired = gauge(
      "trust_manager_bundle_certificates_expired",
      "Certificates in the pool of a Bundle that have expired",
      "bundle",
    );
    this.#emptySources = gauge(
      "trust_manager_bundle_empty_sources",
      "Sources of a Bundle, or keys of them, that give no certificate, or less than seems to be in them",
      "bundle",
    );
    this.#sourceCycle = gauge(
      "trust_manager_bundle_source_cycle",
      "Bundles in the cycle of sources that a Bundle is in: 1 if it reads its own target, 0 if in none",
      "bundle",
    );
    this.#expiry = gauge(
      "trust_manager_bundle_earliest_expiry_timestamp_seconds",
      "When the first certificate of a Bundle expires that has not yet, in seconds since the Unix epoch",
      "bundle",
    );
    this.#targets = gauge(
      "trust_manager_bundle_targets",
      "Targets of a Bundle: in_sync, failed or pending",
      "bundle",
      "state",
    );
    this.#lastSuccess = gauge(
      "trust_manager_bundle_last_success_timestamp_seconds",
      "When all targets of a Bundle were last found right, in seconds since the Unix epoch",
      "bundle",
    );
    this.#removed = counter(
      "trust_manager_bundle_certificates_removed_total",
      "Certificates that a Bundle has lost while this process ran",
      "bundle",
    );
    this.#writes = counter(
      "trust_manager_target_writes_total",
      "Writes of targets: apply or clean, success or error",
      "kind",
      "operation",
      "result",
    );
    gauge("trust_manager_build_info", "1, with the version as a label", "version").set({ version }, 1);
    gauge("process_start_time_seconds", "When the process started, in seconds since the Unix epoch").set(
      start / 1000,
    );
    new Gauge({
      name: "process_resident_memory_bytes",
      help: "Resident memory",
      registers,
      collect() {
        this.set(Deno.memoryUsage().rss);
      },
    });
  }

  /** The metrics of one queue. `name` is both its name and the controller's. */
  queue(name: string): QueueMetrics {
    this.#queueDepth.set({ name }, 0);
    return {
      depth: (keys) => this.#queueDepth.set({ name }, keys),
      added: () => this.#queueAdds.inc({ name }),
      started: (waited) => this.#queueWait.observe({ name }, waited),
      finished: (worked) => this.#queueWork.observe({ name }, worked),
      retried: () => this.#queueRetries.inc({ name }),
    };
  }

  /** A pass of `controller` has ended after `seconds`. */
  reconciled(controller: string, result: ReconcileResult, seconds: number): void {
    this.#reconciles.inc({ controller, result });
    this.#reconcileSeconds.observe({ controller }, seconds);
    if (result === "error") this.#reconcileErrors.inc({ controller });
  }

  /** The API server has answered a request; `code` is `<error>` if it has not. */
  requested(request: { readonly code: string; readonly host: string; readonly method: string }): void {
    this.#requests.inc({ code: request.code, host: request.host, method: request.method });
  }

  /** Whether this replica leads. */
  leading(lease: string, leads: boolean): void {
    this.#leading.set({ name: lease }, leads ? 1 : 0);
  }

  /** A target was written, or was not. */
  wrote(kind: string, operation: "apply" | "clean", result: "success" | "error"): void {
    this.#writes.inc({ kind, operation, result });
  }

  /** State of all Bundles, taken right before it is read. Bundles that are not among them have no series any more. */
  bundles(figures: Iterable<readonly [bundle: string, figures: BundleFigures]>): void {
    const all = [
      this.#certificates,
      this.#expired,
      this.#emptySources,
      this.#sourceCycle,
      this.#expiry,
      this.#targets,
      this.#lastSuccess,
    ];
    for (const gauge of all) gauge.reset();
    for (const [bundle, figure] of figures) {
      const { certificates, expired, earliestExpiry, inSync, failed, pending, lastSuccess } = figure;
      this.#certificates.set({ bundle }, certificates);
      this.#expired.set({ bundle }, expired);
      this.#emptySources.set({ bundle }, figure.emptySources);
      this.#sourceCycle.set({ bundle }, figure.cycleSize);
      if (earliestExpiry !== undefined) this.#expiry.set({ bundle }, earliestExpiry / 1000);
      this.#targets.set({ bundle, state: "in_sync" }, inSync);
      this.#targets.set({ bundle, state: "failed" }, failed);
      this.#targets.set({ bundle, state: "pending" }, pending);
      if (lastSuccess !== undefined) this.#lastSuccess.set({ bundle }, lastSuccess / 1000);
    }
  }

  /** `count` certificates are in the pool of a Bundle no more. */
  certificatesRemoved(bundle: string, count: number): void {
    this.#removed.inc({ bundle }, count);
  }

  /** A Bundle is gone, and so are its series. */
  forgetBundle(bundle: string): void {
    this.#removed.remove({ bundle });
  }

  /** The media type of {@linkcode text}. */
  get contentType(): string {
    return this.registry.contentType;
  }

  /** All of it, in the Prometheus text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }
}
