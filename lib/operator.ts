import { Writer } from "./apply.ts";
import {
  checkDefaultPackagePath,
  DefaultPackageError,
  parseDefaultPackage,
} from "./certs/default_package.ts";
import type { PemOptions } from "./certs/pem.ts";
import type { Clock } from "./clock.ts";
import { ClusterView } from "./cluster_view.ts";
import { Controller } from "./controller.ts";
import { type HttpServer, type Route, serveHttp } from "./http_server.ts";
import type { KubeClient } from "./kube/client.ts";
import type { ClusterConfig } from "./kube/config.ts";
import { EventRecorder } from "./kube/event_recorder.ts";
import { FailureLog } from "./kube/failure_log.ts";
import { readFailure } from "./kube/host.ts";
import { createKubeClient } from "./kube/http_client.ts";
import { LeaderElection, LeaseLostError } from "./kube/lease.ts";
import type { KeyStoreEncoder } from "./key_stores.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Options } from "./options.ts";
import type { DefaultCas } from "./sources.ts";
import type { Webhook } from "../webhook/server.ts";
import type { KnownObjects } from "../webhook/warnings.ts";

/** Name of the lease of leader election, and of its metric. */
const LEASE = "trust-manager-leader-election";

/** How often the lease is renewed, in milliseconds. */
const LEASE_RETRY_MS = 2_000;

/** How long work that is under way may take after the signal to end, in milliseconds. */
const GRACE_MS = 5_000;

/** Namespace of events about cluster-scoped objects: the API server takes them nowhere else. */
const EVENT_NAMESPACE = "default";

/** What the operator runs with. */
export interface OperatorContext {
  readonly options: Options;
  readonly cluster: ClusterConfig;
  /** Name of this machine or pod. */
  readonly hostname: string;
  /** The namespace this process runs in; undefined outside of a pod. The lease lies there, or in the trust namespace. */
  readonly podNamespace: string | undefined;
  readonly userAgent: string;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** For tests: how long a watch may be silent, in milliseconds. */
  readonly watchIdleTimeoutMs?: number;
}

/** A start that cannot succeed until the user changes something. The message is one line. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/** How the operator ended. */
export type Ending = "stopped" | "lost the lease";

/**
 * Runs the operator until `signal` aborts, or until it must not write any more because its lease could not be renewed.
 *
 * @throws {StartError} {ListenError} if it cannot start.
 */
export async function runOperator(context: OperatorContext, signal: AbortSignal): Promise<Ending> {
  const { options, log, clock, random, metrics } = context;
  const pem: PemOptions = { allowNegativeSerialNumbers: options.allowNegativeSerialNumbers };
  const defaultCas = await loadDefaultCas(options.defaultPackageLocation, pem, log);
  const connect = (): KubeClient =>
    createKubeClient(context.cluster, {
      clock,
      random,
      log,
      userAgent: context.userAgent,
      onResponse: (response) => metrics.requested(response),
    });
  // Connections of their own: watches and the lease must not wait behind a bulk of writes.
  const writing = connect();
  const leasing = connect();

  const failures = new FailureLog({ clock, log });
  const view: ClusterView = new ClusterView({
    connect,
    trustNamespace: options.trustNamespace,
    targetNamespaces: options.targetNamespaces,
    secretTargetsEnabled: options.secretTargetsEnabled,
    secretTargetNames: options.secretTargetNames,
    pem,
    listener: {
      onBundle: (change) => controller.onBundle(change),
      onNamespace: (change) => controller.onNamespace(change),
      onSource: (kind, change) => controller.onSource(kind, change),
      onTarget: (kind, change) => controller.onTarget(kind, change),
      onListFailure: (kind, cause) => controller.onListFailure(kind, cause),
    },
    clock,
    random,
    log,
    failures,
    ...(context.watchIdleTimeoutMs === undefined ? {} : { idleTimeoutMs: context.watchIdleTimeoutMs }),
  });
  const election = options.leaderElect ? electLeader(context, leasing, failures, () => start()) : undefined;
  const events = new EventRecorder({
    client: writing,
    namespace: EVENT_NAMESPACE,
    reportingController: "bundles",
    reportingInstance: `bundles-${context.hostname}`,
    clock,
    random,
    log,
  });
  const controller: Controller = new Controller({
    view,
    writer: new Writer({ client: writing, mayWrite: () => election?.isLeader() ?? true }),
    recordEvent: (event) => events.record(event),
    defaultCas,
    filters: { expired: options.filterExpired, nonCa: options.filterNonCa },
    secretTargetsEnabled: options.secretTargetsEnabled,
    trustNamespace: options.trustNamespace,
    targetNamespaces: options.targetNamespaces,
    loadKeyStoreEncoder,
    clock,
    random,
    log,
    metrics,
  });
  const start = () => {
    metrics.leading(LEASE, true);
    void view.synced.then(() => {
      if (!signal.aborted && (election?.isLeader() ?? true)) controller.start();
    });
  };

  let webhook: Webhook | undefined;
  const servers = await serve(context, controller, () => {
    if (view.notSynced !== undefined) return view.notSynced;
    if (!options.webhookEnabled) return undefined;
    return webhook === undefined ? "The webhook does not listen yet" : webhook.problem();
  });
  const watches = new AbortController();
  const watched = view.run(watches.signal);
  const lease = new AbortController();
  try {
    if (options.webhookEnabled) webhook = await serveWebhook(context, view, failures, connect);
    void view.synced.then(() => log.info("All stores have synced", { bundles: view.bundles.size }));
    metrics.leading(LEASE, false);
    if (election === undefined) start();
    const leads = election?.run(lease.signal);
    const ending = await endOf(signal, leads);
    // While the lease is held still: nobody else writes before this process has stopped to.
    await controller.stop(ending === "stopped" ? GRACE_MS : 0);
    await events.flush(ending === "stopped" ? GRACE_MS : 0);
    lease.abort(signal.reason);
    await leads?.catch(() => {}); // endOf has told it
    return ending;
  } finally {
    watches.abort(signal.reason);
    await watched;
    await Promise.all([webhook, ...servers].map((server) => server?.close()));
    writing.close();
    leasing.close();
  }
}

/** Resolves when `signal` aborts or the lease is lost, whichever comes first. */
async function endOf(signal: AbortSignal, leads: Promise<void> | undefined): Promise<Ending> {
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const onAbort = () => resolve();
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) resolve();
  try {
    await (leads === undefined ? aborted : Promise.race([aborted, leads]));
    return "stopped";
  } catch (error) {
    if (error instanceof LeaseLostError) return "lost the lease";
    throw error;
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function electLeader(
  context: OperatorContext,
  client: KubeClient,
  failures: FailureLog,
  onStartedLeading: () => void,
): LeaderElection {
  const { options, podNamespace, hostname, clock, random, log } = context;
  return new LeaderElection({
    client,
    namespace: podNamespace ?? options.trustNamespace,
    name: LEASE,
    identity: `${hostname}_${crypto.randomUUID()}`,
    leaseDurationMs: options.leaseDurationMs,
    renewDeadlineMs: options.renewDeadlineMs,
    retryPeriodMs: LEASE_RETRY_MS,
    clock,
    random,
    log,
    failures,
    onStartedLeading,
  });
}

/** The admission webhook. Served by every replica, leader or not. What it needs is loaded only now. */
async function serveWebhook(
  { options, podNamespace, clock, random, log, metrics }: OperatorContext,
  view: ClusterView,
  failures: FailureLog,
  connect: () => KubeClient,
): Promise<Webhook> {
  const { startWebhook } = await import("../webhook/server.ts");
  return await startWebhook({
    host: options.webhookHost,
    port: options.webhookPort,
    minVersion: options.tlsMinVersion,
    certificates: options.webhookCertificateSource === "files"
      ? { source: "files", dir: options.webhookCertificateDir }
      : {
        source: "self",
        connect,
        failures,
        namespace: podNamespace ?? options.trustNamespace,
        secretName: options.webhookSecretName,
        serviceName: options.webhookServiceName,
        configurationName: options.webhookConfigurationName,
      },
    known: knownObjects(view, options),
    clock,
    random,
    log,
    registry: metrics.registry,
  });
}

/** What the webhook's warnings are made of. */
function knownObjects(
  view: ClusterView,
  { trustNamespace, targetNamespaces, allowNegativeSerialNumbers }: Options,
): KnownObjects {
  return {
    trustNamespace,
    pem: { allowNegativeSerialNumbers },
    get synced() {
      return view.isSynced;
    },
    sources: (kind) => view.sources[kind].values(),
    source: (kind, name) => view.sources[kind].get(name),
    namespaces: () =>
      [...view.namespaces.values()].filter(({ name, terminating }) =>
        !terminating && (targetNamespaces.length === 0 || targetNamespaces.includes(name))
      ),
  };
}

/**
 * Probes and metrics. Served by every replica, leader or not.
 *
 * @param notReady why this replica is not ready; undefined if it is.
 */
async function serve(
  { options, metrics, clock, log }: OperatorContext,
  controller: Controller,
  notReady: () => string | undefined,
): Promise<HttpServer[]> {
  const probes = new Map<string, Route>([
    [
      "/healthz",
      () => controller.live ? new Response("ok") : new Response("Work is stuck\n", { status: 503 }),
    ],
    [
      options.readinessProbePath,
      () => {
        const reason = notReady();
        return reason === undefined ? new Response("ok") : new Response(`${reason}\n`, { status: 503 });
      },
    ],
  ]);
  const probe = await serveHttp({
    what: "probes",
    port: options.readinessProbePort,
    routes: probes,
    clock,
    log,
  });
  if (options.metricsPort === 0) return [probe];
  // Their cost grows with the number of Bundles, and anybody may ask for them.
  const text = seldom(clock, async () => {
    metrics.bundles(controller.figures());
    return await metrics.text();
  });
  const route = async () => new Response(await text(), { headers: { "content-type": metrics.contentType } });
  try {
    const routes = new Map([["/metrics", route]]);
    return [probe, await serveHttp({ what: "metrics", port: options.metricsPort, routes, clock, log })];
  } catch (error) {
    await probe.close();
    throw error;
  }
}

/** Does `make` when asked, once for all who ask meanwhile, and so that it takes a tenth of the time at most: whoever asks in between gets the same. */
function seldom<T>(clock: Clock, make: () => Promise<T>): () => Promise<T> {
  let made: { readonly value: Promise<T>; until: number } | undefined;
  return () => {
    const begin = clock.monotonic();
    if (made !== undefined && begin < made.until) return made.value;
    const making = { value: make(), until: Infinity };
    made = making;
    const done = () => making.until = clock.monotonic() + 9 * (clock.monotonic() - begin);
    making.value.then(done, done);
    return making.value;
  };
}

/** Reads the default CA package, once: an image update restarts the pod. */
async function loadDefaultCas(
  path: string | undefined,
  pem: PemOptions,
  log: Logger,
): Promise<DefaultCas | undefined> {
  if (path === undefined) return undefined;
  let json: string;
  try {
    checkDefaultPackagePath(path);
    json = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof DefaultPackageError) throw new StartError(error.message);
    throw new StartError(`Default package cannot be read from ${path}: ${readFailure(error)}`);
  }
  try {
    const { id, certificates, warnings } = parseDefaultPackage(json, pem);
    for (const warning of warnings) log.info(warning, { path });
    log.info("Loaded default package", { id, path, certificates: certificates.length });
    return { id, reading: { ok: true, certificates, skipped: { brokenBlocks: 0, certificates: [] } } };
  } catch (error) {
    if (error instanceof DefaultPackageError) throw new StartError(`${error.message} (${path})`);
    throw error;
  }
}

/** Loads what encodes key stores, which costs memory, when the first Bundle asks for one. */
async function loadKeyStoreEncoder(): Promise<KeyStoreEncoder> {
  const { encodeKeyStore } = await import("./formats/encode_key_store.ts");
  return encodeKeyStore;
}
