import type { Clock } from "../lib/clock.ts";
import type { KubeClient } from "../lib/kube/client.ts";
import type { FailureLog } from "../lib/kube/failure_log.ts";
import type { Logger } from "../lib/log.ts";
import type { Registry } from "../lib/prometheus.ts";
import { answerInStages, refuseHead } from "./admission_handler.ts";
import type { CertificateSource } from "./certificate_source.ts";
import { FileCertificates } from "./file_certificates.ts";
import type { KeyPair } from "./key_pair.ts";
import { SelfCertificates } from "./self_certificates.ts";
import type { SelfTimes } from "./self_certificates_plan.ts";
import { DEFAULT_LIMITS, TlsServer } from "./tls_server.ts";
import { admissionWarnings, type KnownObjects } from "./warnings.ts";
import { WebhookMetrics } from "./webhook_metrics.ts";

/** How the webhook is served. */
export interface WebhookOptions {
  readonly host: string;
  readonly port: number;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  readonly certificates:
    | { readonly source: "files"; readonly dir: string }
    | {
      readonly source: "self";
      /** Makes a client with a connection of its own. */
      readonly connect: () => KubeClient;
      /** Tells what fails. */
      readonly failures?: FailureLog;
      /** Namespace of the Secret and the Service. */
      readonly namespace: string;
      readonly secretName: string;
      readonly serviceName: string;
      readonly configurationName: string;
      /** For tests. */
      readonly times?: SelfTimes;
      /** For tests: how long API servers may take to notice a changed configuration, in milliseconds. */
      readonly noticeMs?: number;
    };
  /** What warnings are made of. */
  readonly known: KnownObjects;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly registry: Registry;
}

/** The webhook, being served. */
export interface Webhook {
  /** The port it listens on. */
  readonly port: number;
  /** Why it cannot serve now; undefined if it can. For the readiness probe. */
  problem(): string | undefined;
  /** Answers what is being received, and ends. */
  close(): Promise<void>;
}

/** How long requests that are being received may take once the webhook is closed, in milliseconds. */
const GRACE_MS = 3_000;

/**
 * Serves the webhook, whoever leads. It listens at once, and answers as soon as it has a certificate.
 *
 * @throws {ListenError} if the port cannot be listened on.
 */
export async function startWebhook(options: WebhookOptions): Promise<Webhook> {
  const { clock, known } = options;
  const log = options.log.with({ component: "webhook" });
  const metrics = new WebhookMetrics(options.registry);
  const server = await TlsServer.listen({
    host: options.host,
    port: options.port,
    minVersion: options.minVersion,
    limits: DEFAULT_LIMITS,
    refuse: (head) => {
      const refusal = refuseHead(head);
      if (refusal !== undefined) metrics.turnedAway(refusal.status);
      return refusal;
    },
    answer: (body) => {
      const received = clock.monotonic();
      const work = answerInStages(body, (bundle) => admissionWarnings(bundle, known, clock.now()));
      return (function* () {
        const answer = yield* work;
        metrics.answered(answer.status, (clock.monotonic() - received) / 1000);
        return answer;
      })();
    },
    clock,
    log,
  });

  const source = certificateSource(options, log, metrics);
  let serving = false;
  const use = (pair: KeyPair) => {
    server.use(pair);
    metrics.certificateInUse(pair.notAfter);
    log.info("Serving the webhook with a certificate", {
      source: options.certificates.source,
      serial: pair.serialNumber,
      notAfter: new Date(pair.notAfter).toISOString(),
    });
    serving = true;
  };
  const stop = new AbortController();
  const running = source.run(use, stop.signal);
  return {
    port: server.port,
    problem: () => serving ? undefined : source.problem() ?? "There is no certificate yet",
    async close() {
      stop.abort(new Error("The webhook is closed"));
      await Promise.all([server.close(GRACE_MS), running]);
    },
  };
}

function certificateSource(options: WebhookOptions, log: Logger, metrics: WebhookMetrics): CertificateSource {
  const { certificates, clock, random } = options;
  return certificates.source === "files"
    ? new FileCertificates({ dir: certificates.dir, clock, log, onBroken: () => metrics.certificateBroken() })
    : new SelfCertificates({ ...certificates, clock, random, log });
}
