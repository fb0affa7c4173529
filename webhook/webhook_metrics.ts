import { Counter, Gauge, Histogram, type Registry } from "../lib/prometheus.ts";
import { WEBHOOK_PATH as webhook } from "./admission_handler.ts";

/** Metrics of the webhook, under the names that controller-runtime uses where it has them. */
export class WebhookMetrics {
  readonly #requests: Counter<"webhook" | "code">;
  readonly #seconds: Histogram<"webhook">;
  readonly #reads: Counter;
  readonly #readErrors: Counter;
  readonly #expiry: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#requests = new Counter({
      name: "controller_runtime_webhook_requests_total",
      help: "Requests to the webhook, by HTTP status code",
      labelNames: ["webhook", "code"],
      registers,
    });
    this.#seconds = new Histogram({
      name: "controller_runtime_webhook_latency_seconds",
      help: "Time that answering an admission request takes, once it has been received",
      labelNames: ["webhook"],
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    });
    this.#reads = new Counter({
      name: "certwatcher_read_certificate_total",
      help: "Certificates of the webhook that were taken into use",
      registers,
    });
    this.#readErrors = new Counter({
      name: "certwatcher_read_certificate_errors_total",
      help: "Certificates of the webhook that could not be used",
      registers,
    });
    this.#expiry = new Gauge({
      name: "trust_manager_webhook_certificate_expiry_timestamp_seconds",
      help: "When the certificate of the webhook expires, in seconds since the Unix epoch",
      registers,
    });
  }

  /** A request was answered. */
  answered(status: number, seconds: number): void {
    this.#requests.inc({ webhook, code: String(status) });
    this.#seconds.observe({ webhook }, seconds);
  }

  /** A request was refused by its head. */
  turnedAway(status: number): void {
    this.#requests.inc({ webhook, code: String(status) });
  }

  /** A certificate was taken into use; it expires at `notAfter`, in milliseconds since the Unix epoch. */
  certificateInUse(notAfter: number): void {
    this.#reads.inc();
    this.#expiry.set(notAfter / 1000);
  }

  /** A certificate could not be used. */
  certificateBroken(): void {
    this.#readErrors.inc();
  }
}
