import type { Certificate } from "../lib/certs/certificate.ts";
import { pemOf } from "../lib/certs/pem_of.ts";
import { subjectOf } from "../lib/certs/subject.ts";
import type { CancelTimer, Clock } from "../lib/clock.ts";
import { APPLY_PATCH, type KubeClient } from "../lib/kube/client.ts";
import { isStatus, KubeConnectionError } from "../lib/kube/errors.ts";
import { failureCause, FailureLog } from "../lib/kube/failure_log.ts";
import type { KubeObject, Secret } from "../lib/kube/objects.ts";
import { Reflector } from "../lib/kube/reflector.ts";
import { SharedConnection } from "../lib/kube/shared_connection.ts";
import type { Logger } from "../lib/log.ts";
import type { CertificateSource } from "./certificate_source.ts";
import type { KeyPair } from "./key_pair.ts";
import {
  CA_NAME,
  carryOut,
  DEFAULT_TIMES,
  nextStep,
  nextStepInMs,
  readStored,
  type SecretValues,
  type SelfTimes,
  type Step,
  type StoredCertificates,
  trustedCas,
} from "./self_certificates_plan.ts";

/** Label that a webhook configuration must carry, so that no CA of somebody else is overwritten. */
export const SELF_CA_LABEL = "trust.cert-manager.io/webhook-ca";

/** Its value. */
export const SELF_CA_LABEL_VALUE = "self";

const CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/** How often all is looked at even if nothing has changed, in milliseconds. */
const CHECK_MS = 600_000;

/** What the requests for the certificate are called in the log. */
const REQUESTS = "webhook certificate";

/** After a failure, and at most, in milliseconds. */
const RETRY_MS = { first: 500, most: 30_000 };

/** Changes are waited for so long before they are looked at, as several come together. */
const SETTLE_MS = 50;

/** What is kept where, and how. */
export interface SelfCertificatesOptions {
  /** Makes a client with a connection of its own. */
  readonly connect: () => KubeClient;
  /** Namespace of the Secret and the Service. */
  readonly namespace: string;
  readonly secretName: string;
  readonly serviceName: string;
  /** The ValidatingWebhookConfiguration; it must carry {@linkcode SELF_CA_LABEL}. */
  readonly configurationName: string;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** Tells what fails; shared by all whose common cause shall be told once. One of its own by default. */
  readonly failures?: FailureLog;
  readonly times?: SelfTimes;
  /** How long API servers may take to notice a changed configuration, in milliseconds. Default 5,000. */
  readonly noticeMs?: number;
}

/** A ValidatingWebhookConfiguration, as far as it is read. */
interface WebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly {
    readonly name: string;
    readonly clientConfig: { readonly caBundle?: string };
  }[];
}

/**
 * Makes the webhook's CA and serving certificate, keeps them in a Secret that all replicas share, and tells the API server of the
 * CA by the webhook's configuration. Every replica does the same, leader or not: whoever writes first wins (the Secret's
 * resourceVersion decides), and the others adopt. What is deleted or edited is repaired.
 *
 * A pair is served only when the API server knows its CA for some time, unless nothing is served yet.
 */
export class SelfCertificates implements CertificateSource {
  readonly #options: SelfCertificatesOptions;
  readonly #times: SelfTimes;
  readonly #dnsNames: readonly string[];
  readonly #requests: FailureLog;
  #problem: string | undefined = "The webhook's certificate has not been made yet";
  #inUse: { readonly pair: KeyPair; readonly issuer: Certificate } | undefined;
  /** The bundle that the configuration holds, and since when we know that (monotonic). */
  #announced: { readonly bundle: string; readonly since: number } | undefined;
  #failures = 0;
  #wake = () => {};

  constructor(options: SelfCertificatesOptions) {
    this.#options = options;
    this.#times = options.times ?? DEFAULT_TIMES;
    this.#requests = options.failures ?? new FailureLog(options);
    const host = `${options.serviceName}.${options.namespace}.svc`;
    this.#dnsNames = [host, `${host}.cluster.local`];
  }

  problem(): string | undefined {
    return this.#problem;
  }

  async run(use: (pair: KeyPair) => void, signal: AbortSignal): Promise<void> {
    const client = this.#options.connect();
    const watching = this.#options.connect();
    const watches = this.#watch(watching, signal);
    while (!signal.aborted) {
      const changed = Promise.withResolvers<void>();
      this.#wake = changed.resolve;
      const again = await this.#pass(client, use, signal);
      await this.#sleep(again, changed.promise, signal);
    }
    this.#requests.forget(REQUESTS);
    await watches;
    client.close();
    watching.close();
  }

  /** Looks at everything once. Returns when to do so again, in milliseconds. */
  async #pass(client: KubeClient, use: (pair: KeyPair) => void, signal: AbortSignal): Promise<number> {
    const { log, random, secretName, namespace } = this.#options;
    try {
      const again = await this.#maintain(client, use, signal);
      this.#failures = 0;
      this.#requests.recovered(REQUESTS);
      return again;
    } catch (error) {
      if (signal.aborted) return 0;
      // Another replica was faster: what it wrote is there to be read.
      if (isStatus(error, 409)) return RETRY_MS.first * random();
      const message = error instanceof Error ? error.message : String(error);
      this.#problem =
        `Cannot maintain the webhook's certificate in Secret ${namespace}/${secretName}: ${message}`;
      if (error instanceof KubeConnectionError) {
        // The watches and the lease fail for the same cause: one line for all of them.
        this.#requests.failing(REQUESTS, failureCause(error, message));
      } else {
        this.#requests.recovered(REQUESTS);
        log.error("Cannot maintain the webhook's certificate; trying again", error, {
          namespace,
          secret: secretName,
        });
      }
      const delay = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** this.#failures++);
      return delay * (0.5 + random() / 2);
    }
  }

  async #maintain(client: KubeClient, use: (pair: KeyPair) => void, signal: AbortSignal): Promise<number> {
    const { clock, log } = this.#options;
    const configuration = await this.#readConfiguration(client, signal);
    const stored = await this.#maintainSecret(client, configuration, signal);
    const { announced, problem } = await this.#announce(client, configuration, stored, signal);
    const noticeMs = this.#serve(stored, announced, use);
    if (problem !== undefined && problem !== this.#problem) {
      log.error("The API server cannot be told of the webhook's CA", problem);
    }
    this.#problem = problem;
    return Math.min(CHECK_MS, noticeMs, nextStepInMs(stored, this.#times, clock.now()) + 1);
  }

  /** Brings the Secret to where nothing is to be done now, and returns what it holds then. */
  async #maintainSecret(
    client: KubeClient,
    configuration: WebhookConfiguration | undefined,
    signal: AbortSignal,
  ): Promise<StoredCertificates> {
    const { clock, log } = this.#options;
    const secret = await this.#readSecret(client, signal) ?? await this.#createSecret(client, signal);
    const now = clock.now();
    const stored = await readStored(decoded(secret), this.#dnsNames, now);
    const step = nextStep(stored, this.#times, now);
    if (step === "keep") return stored;
    const known = [...this.#inUse === undefined ? [] : [this.#inUse.issuer], ...ownCas(configuration, now)];
    const values = await carryOut(step, stored, known, this.#dnsNames, this.#times, now);
    await client.request({
      method: "PUT",
      path: this.#secretPath(),
      body: { ...secret, data: encoded(values) },
      signal,
    });
    log.info(MESSAGES[step], { secret: secret.metadata.name, namespace: secret.metadata.namespace });
    return await readStored(values, this.#dnsNames, now);
  }

  /** Writes the CAs into every webhook of the configuration that lacks them. */
  async #announce(
    client: KubeClient,
    configuration: WebhookConfiguration | undefined,
    { cas }: StoredCertificates,
    signal: AbortSignal,
  ): Promise<{ announced: boolean; problem: string | undefined }> {
    const { clock, log, configurationName: name } = this.#options;
    if (configuration === undefined) {
      return { announced: false, problem: `There is no ValidatingWebhookConfiguration ${name}: create it` };
    }
    if (configuration.metadata.labels?.[SELF_CA_LABEL] !== SELF_CA_LABEL_VALUE) {
      const label = `${SELF_CA_LABEL}=${SELF_CA_LABEL_VALUE}`;
      return {
        announced: false,
        problem: `ValidatingWebhookConfiguration ${name} does not carry the label ${label}: add it`,
      };
    }
    const bundle = new TextEncoder().encode(`${pemOf(cas)}\n`).toBase64();
    const wrong = (configuration.webhooks ?? []).filter(({ clientConfig }) =>
      clientConfig.caBundle !== bundle
    );
    if (wrong.length > 0) {
      await client.request({
        method: "PATCH",
        path: this.#configurationPath(),
        contentType: "application/strategic-merge-patch+json",
        body: {
          metadata: { resourceVersion: configuration.metadata.resourceVersion },
          webhooks: wrong.map(({ name }) => ({ name, clientConfig: { caBundle: bundle } })),
        },
        signal,
      });
      log.info("Wrote the CA of the webhook into its configuration", {
        configuration: name,
        cas: cas.length,
      });
    }
    if (wrong.length > 0 || this.#announced?.bundle !== bundle) {
      this.#announced = { bundle, since: clock.monotonic() };
    }
    return { announced: true, problem: undefined };
  }

  /** Takes the stored pair into use if that is safe now. Returns how long to wait if it is not yet. */
  #serve({ serving }: StoredCertificates, announced: boolean, use: (pair: KeyPair) => void): number {
    const { clock, noticeMs = 5_000 } = this.#options;
    if (serving === undefined || serving.pair.serialNumber === this.#inUse?.pair.serialNumber) {
      return Infinity;
    }
    const isSameCa = this.#inUse?.issuer.sha256 === serving.issuer.sha256;
    if (this.#inUse !== undefined && !isSameCa && announced) {
      const left = (this.#announced?.since ?? 0) + noticeMs - clock.monotonic();
      if (left > 0) return left;
    }
    use(serving.pair);
    this.#inUse = serving;
    return Infinity;
  }

  #readSecret(client: KubeClient, signal: AbortSignal): Promise<Secret | undefined> {
    return client.request<Secret>({ path: this.#secretPath(), signal }).catch(undefinedIfNotFound);
  }

  /** Creates the Secret, empty. An apply, because that can be allowed for one name, as a plain create cannot; it is the same whoever is first. */
  #createSecret(client: KubeClient, signal: AbortSignal): Promise<Secret> {
    const { namespace, secretName } = this.#options;
    return client.request<Secret>({
      method: "PATCH",
      path: this.#secretPath(),
      query: { fieldManager: "trust-manager-webhook", force: true },
      contentType: APPLY_PATCH,
      body: {
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: secretName, namespace, labels: { "app.kubernetes.io/name": "trust-manager" } },
        type: "Opaque",
      },
      signal,
    });
  }

  #readConfiguration(client: KubeClient, signal: AbortSignal): Promise<WebhookConfiguration | undefined> {
    return client.request<WebhookConfiguration>({ path: this.#configurationPath(), signal })
      .catch(undefinedIfNotFound);
  }

  /** Has a look as soon as the Secret or the configuration changes. Only metadata is sent. */
  async #watch(client: KubeClient, signal: AbortSignal): Promise<void> {
    const { namespace, secretName, configurationName, clock, random, log } = this.#options;
    const failures = this.#requests;
    const connection = new SharedConnection(client);
    const wake = () => this.#wake();
    const watch = (name: string, path: string, object: string) =>
      new Reflector({
        connection,
        name,
        path,
        fieldSelector: `metadata.name=${object}`,
        metadataOnly: true,
        convert: () => undefined,
        writer: { replace: wake, upsert: wake, remove: wake },
        clock,
        random,
        log,
        failures,
      }).run(signal);
    const secrets = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`;
    await Promise.all([
      watch("webhook secret", secrets, secretName),
      watch("webhook configuration", CONFIGURATIONS, configurationName),
    ]);
  }

  /** Waits for `ms` milliseconds or a change, not less than what lets several changes settle. */
  async #sleep(ms: number, changed: Promise<void>, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const { clock } = this.#options;
    const timers: CancelTimer[] = [];
    const after = (ms: number) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      timers.push(clock.setTimer(ms, resolve));
      return promise;
    };
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    signal.addEventListener("abort", onAbort, { once: true });
    await Promise.race([after(ms), changed.then(() => after(SETTLE_MS)), aborted.promise]);
    signal.removeEventListener("abort", onAbort);
    for (const cancel of timers) cancel();
  }

  #secretPath(): string {
    const { namespace, secretName } = this.#options;
    return `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets/${encodeURIComponent(secretName)}`;
  }

  #configurationPath(): string {
    return `${CONFIGURATIONS}/${encodeURIComponent(this.#options.configurationName)}`;
  }
}

const MESSAGES: Readonly<Record<Exclude<Step, "keep">, string>> = {
  "new CA": "Made a new CA of the webhook",
  "new serving certificate": "Made a new serving certificate of the webhook",
  "drop old CAs": "Dropped the former CA of the webhook",
};

/** CAs that we made, as the configuration holds them. */
function ownCas(configuration: WebhookConfiguration | undefined, now: number): Certificate[] {
  const bundles = (configuration?.webhooks ?? []).map(({ clientConfig }) => clientConfig.caBundle ?? "");
  return [...new Set(bundles)].flatMap((bundle) =>
    trustedCas(new TextDecoder().decode(fromBase64(bundle)), now)
      .filter((ca) => subjectOf(ca).startsWith(`CN=${CA_NAME}`))
  );
}

/** Values that are no UTF-8 or no base64 are broken in any case. */
function decoded(secret: Secret): SecretValues {
  return Object.fromEntries(
    Object.entries(secret.data ?? {}).map((
      [key, value],
    ) => [key, new TextDecoder().decode(fromBase64(value))]),
  );
}

function encoded(values: SecretValues): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, new TextEncoder().encode(value).toBase64()]),
  );
}

function fromBase64(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return new Uint8Array();
  }
}

function undefinedIfNotFound(error: unknown): undefined {
  if (isStatus(error, 404)) return undefined;
  throw error;
}
