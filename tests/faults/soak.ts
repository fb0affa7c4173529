/**
 * A randomized run against a real API server: sources, Bundles, namespaces and targets change, connections fail and replicas are killed,
 * all from one seed. Every state of every target must be one that somebody asked for, and from time to time all is left alone and must
 * come to what the model says. See README.md beside this file.
 */
import { parseArgs } from "node:util";
import { createHash } from "node:crypto";
import { BUNDLE_LABEL, BUNDLES_PATH, type TargetKind } from "../../lib/api/bundle.ts";
import type { ConfigMap, KubeObject } from "../../lib/kube/objects.ts";
import { EXPIRED, LEAF, ROOT_1, ROOT_2, type TestCertificate } from "../builders.ts";
import { type AuditEntry, type AuditMark, WRITES } from "../cluster/audit.ts";
import { seededRandom } from "../controller_world.ts";
import { TestCluster, TRUST_NAMESPACE } from "../e2e/test_cluster.ts";
import { readWithOpenssl } from "../oracles/read_key_store.ts";
import { sleep } from "../until.ts";
import { type Action, ActionSource, actionText, BUNDLES, concerns, PLANTED_MARKS } from "./actions.ts";
import { Actor } from "./actor.ts";
import { FaultProxy, type FaultRule } from "./fault_proxy.ts";
import { type ClusterState, type Difference, idText, KINDS, SoakModel } from "./model.ts";
import { randomFaults } from "./random_faults.ts";
import { type MemoryCurve, Replica } from "./replica.ts";
import { TargetWatch } from "./target_watch.ts";

const OPERATOR = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;
const NAMESPACES = "/api/v1/namespaces";

/** How long it may take at most until all is right once all is left alone: longer than any pause of the operator's after so few faults. */
const SETTLE_MS = 150_000;
/** How long nothing must be written then. */
const QUIET_MS = 2_000;
/** The token of the operator's kubeconfig is valid for an hour. */
const MAX_MINUTES = 55;

/** What to run. */
export interface SoakOptions {
  readonly seed: number;
  /** No round begins after so many. */
  readonly minutes: number;
  /** Whether replicas are left alone, to see what memory they take in the long run. Default false. */
  readonly steady?: boolean;
  /** Is given lines of progress. */
  readonly report: (line: string) => void;
}

/** Something was not as it must be. The message tells what, and what had been done there. */
export class SoakError extends Error {
  override readonly name = "SoakError";
}

interface Done {
  readonly second: number;
  readonly action: Action;
  readonly result: string;
}

/** Runs it. @throws {SoakError} with all that helps to understand it. */
export async function soak(options: SoakOptions): Promise<void> {
  const { seed, report } = options;
  report(`Soak: seed ${seed}`);
  await using run = await SoakRun.start(options);
  try {
    await run.run();
  } catch (error) {
    report(`FAILED with seed ${seed}`);
    throw error;
  } finally {
    run.summary().forEach(report);
  }
}

class SoakRun implements AsyncDisposable {
  readonly #options: SoakOptions;
  readonly #stack: AsyncDisposableStack;
  readonly #cluster: TestCluster;
  readonly #proxy: FaultProxy;
  readonly #model: SoakModel;
  readonly #actions: ActionSource;
  readonly #actor: Actor;
  readonly #packagePath: string;
  readonly #replicas: Replica[] = [];
  readonly #watches: TargetWatch[] = [];
  /** Of the default package, when a replica's present process was started. */
  readonly #packageOf = new Map<string, string>();
  readonly #startedAt = performance.now();
  #startMark: AuditMark = { offset: 0 };

  /** States of targets that were seen and not yet judged. */
  #seen: { readonly kind: TargetKind; readonly object: ConfigMap; readonly second: number }[] = [];
  readonly #done: Done[] = [];
  #faultSeed: number;
  /**
   * Whether lists may be answered as they were at any time before, so that what was asked for long ago may come back for a moment. The other
   * runs forget what is settled, and judge the more strictly.
   */
  readonly #staleLists: boolean;
  /** Whether connections fail in this round, and whether that may cost a replica the lease. */
  #connectionsFail = false;
  #mayLoseLease = false;
  /** Key stores that openssl has read, with what they were to hold. */
  readonly #readStores = new Set<string>();

  // Counts
  readonly #actionCounts = new Map<string, number>();
  #judged = 0;
  #compared = 0;
  #checks = 0;
  #storesRead = 0;
  readonly #settleSeconds: number[] = [];
  /** What was the last to become right; empty if all was right at once. */
  #rightLast = "";
  #noisy = 0;
  #writes = new Map<string, number>();

  private constructor(
    options: SoakOptions,
    parts: {
      stack: AsyncDisposableStack;
      cluster: TestCluster;
      proxy: FaultProxy;
      model: SoakModel;
      packagePath: string;
    },
  ) {
    this.#options = options;
    this.#stack = parts.stack;
    this.#cluster = parts.cluster;
    this.#proxy = parts.proxy;
    this.#model = parts.model;
    this.#packagePath = parts.packagePath;
    // The faults depend on timing, so that they have random numbers of their own.
    this.#actions = new ActionSource(seededRandom(options.seed), parts.model);
    this.#actor = new Actor({
      ...parts,
      faultRule: (rate) => this.#faultRule(rate),
      signal: (replica, signal) => this.#replicas[replica]?.signal(signal) ?? false,
    });
    this.#faultSeed = options.seed ^ 0x5eed;
    this.#staleLists = this.#actions.chance(0.4);
  }

  static async start(options: SoakOptions): Promise<SoakRun> {
    await using stack = new AsyncDisposableStack();
    const [certificates, cluster] = await Promise.all([
      makeCertificates(8),
      TestCluster.start({ secretTargets: true }),
    ]);
    stack.use(cluster);
    const proxy = stack.use(await FaultProxy.start(cluster.controlPlane));
    const filterExpired = seededRandom(options.seed)() < 0.5;
    const model = new SoakModel({
      trustNamespace: TRUST_NAMESPACE,
      certificates: [ROOT_1, LEAF, ROOT_2, EXPIRED, ...certificates],
      filtered: filterExpired ? [EXPIRED] : [],
      defaultPackage: { version: "0", certificates: 0b110 },
    });
    const { items } = await cluster.admin.request<{ items: KubeObject[] }>("GET", NAMESPACES);
    for (const { metadata: { name, labels = {} } } of items) {
      model.namespaces.set(name, { labels, terminating: false });
    }
    const packagePath = `${cluster.controlPlane.dir}/package.json`;
    await Deno.writeTextFile(packagePath, model.packageFile(model.defaultPackage));
    const run = new SoakRun(options, { stack: stack.move(), cluster, proxy, model, packagePath });
    try {
      await run.#startReplicas(filterExpired);
      return run;
    } catch (error) {
      await run[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #startReplicas(filterExpired: boolean): Promise<void> {
    const kubeconfig = await this.#proxy.kubeconfig(this.#cluster.operatorKubeconfig);
    const flags = [
      "--secret-targets-enabled",
      `--filter-expired-certificates=${filterExpired}`,
      `--default-package-location=${this.#packagePath}`,
      ...(this.#options.steady
        ? []
        : ["--leader-election-lease-duration=5s", "--leader-election-renew-deadline=4s"]),
    ];
    for (const name of ["0", "1"]) {
      const replica = new Replica({
        name,
        restartMs: 500,
        onOutput: (output) => this.#checkPlanted(`the log of replica ${name}`, output),
        start: () => {
          this.#packageOf.set(name, this.#model.defaultPackage.version);
          return this.#cluster.operatorWith({ flags, kubeconfig, wait: false });
        },
      });
      this.#replicas.push(this.#stack.use(replica));
    }
    for (const kind of KINDS) {
      this.#watches.push(
        this.#stack.use(
          await TargetWatch.start(
            this.#cluster.admin,
            kind,
            (object) => this.#seen.push({ kind, object, second: this.#second() }),
          ),
        ),
      );
    }
  }

  /** All rounds. */
  async run(): Promise<void> {
    const { minutes } = this.#options;
    this.#startMark = await this.#cluster.audit.mark();
    const sampling = setInterval(() => this.#replicas.forEach((it) => void it.sampleMemory()), 5_000);
    try {
      for (const action of this.#actions.beginning()) await this.#act(action);
      await this.#settle();
      while (performance.now() - this.#startedAt < minutes * 60_000) {
        const { kind, actions } = this.#actions.beginRound(this.#options.steady);
        this.#connectionsFail = kind === "all" || kind === "connections" || kind === "few and faults";
        this.#mayLoseLease = kind === "all";
        for (let i = 0; i < actions; i++) {
          await this.#act(this.#actions.next());
          await sleep(this.#actions.pauseMs());
        }
        await this.#settle();
        this.#reportRound(kind, actions);
      }
      await this.#countWrites();
    } finally {
      clearInterval(sampling);
    }
  }

  #reportRound(kind: string, actions: number): void {
    const now = Math.round(this.#second());
    const took = this.#settleSeconds.at(-1) ?? 0;
    const last = took < 3 ? "" : `; the last was: ${this.#rightLast.slice(0, 160)}`;
    this.#options.report(
      `${now} s: round of ${kind}, all was right ${took.toFixed(1)} s after ${actions} actions${last}`,
    );
  }

  // What happens

  async #act(action: Action): Promise<void> {
    this.#actionCounts.set(action.type, (this.#actionCounts.get(action.type) ?? 0) + 1);
    const done = { second: this.#second(), action, result: "under way" };
    this.#done.push(done);
    done.result = await this.#actor.perform(action);
    this.#check();
  }

  #faultRule(rate: number): FaultRule {
    const rule = randomFaults(seededRandom(this.#faultSeed++), rate);
    return (request) => {
      const fault = rule(request);
      if (request.resource === "leases" && !this.#mayLoseLease) return undefined;
      return fault?.kind === "stale-list" && !this.#staleLists ? undefined : fault;
    };
  }

  // What must hold

  /** To be called when no action is under way: only then is it known which states others made. */
  #check(): void {
    for (const replica of this.#replicas) replica.check();
    for (const watch of this.#watches) watch.check();
    const seen = this.#seen;
    this.#seen = [];
    for (const { kind, object, second } of seen) {
      if (this.#actor.hasMade(kind, object)) continue;
      this.#judged++;
      const problem = this.#model.judge(kind, object);
      if (problem === undefined) continue;
      const { namespace = "", name } = object.metadata;
      this.#fail([{
        bundle: name,
        namespace,
        text:
          `${idText({ kind, namespace, name })} was seen at ${
            second.toFixed(1)
          } s in a wrong state: it ${problem}\n` +
          JSON.stringify(object),
      }]);
    }
  }

  /** Leaves all alone until it is right, and then checks that it stays so. */
  async #settle(): Promise<void> {
    this.#actor.endFaults();
    this.#actor.endPartition();
    // Else it takes up to 90 s until a silent connection counts as dead: also tried, but not each time.
    const mayBeSilent = this.#connectionsFail && !this.#actions.chance(0.85);
    if (this.#connectionsFail && !mayBeSilent) this.#proxy.breakConnections();
    this.#actions.thaw();
    for (const replica of this.#replicas) {
      if (replica.frozen) replica.signal("SIGCONT");
    }
    const start = performance.now();
    this.#rightLast = "";
    for (;;) {
      await this.#untilRight(start);
      await this.#staysQuiet(mayBeSilent ? 40 : 5);
      await this.#checkEverythingForPlanted();
      this.#check();
      const differences = this.#model.compare(await this.#readState());
      if (differences.length === 0) break;
      // A replica that has yet to hear something over a silent connection may have been right by chance.
      if (!mayBeSilent || performance.now() - start > SETTLE_MS) {
        this.#fail(differences, "after all had been right");
      }
      this.#noisy++;
    }
    this.#settleSeconds.push((performance.now() - start) / 1000);
    if (!this.#staleLists) this.#model.settled();
    this.#actor.forget();
    this.#checks++;
  }

  /** Waits until everything is as the model says, at most so long after `start`. */
  async #untilRight(start: number): Promise<void> {
    while (true) {
      this.#restartOutdated();
      this.#check();
      const state = await this.#readState();
      const differences = this.#model.compare(state);
      this.#check();
      if (differences.length === 0 && this.#replicasRun()) {
        return await this.#checkKeyStores(state);
      }
      if (performance.now() - start > SETTLE_MS) {
        if (differences.length === 0) throw new SoakError("The replicas do not run");
        this.#fail(differences, `after ${SETTLE_MS / 1000} s without a fault`);
      }
      this.#rightLast = differences[0]?.text ?? "A replica was not running";
      await sleep(500);
    }
  }

  /** A package is read at the start only: as in a cluster, a new one takes new processes. */
  #restartOutdated(): void {
    for (const replica of this.#replicas) {
      const { version } = this.#model.defaultPackage;
      if (replica.process === undefined || this.#packageOf.get(replica.name) === version) continue;
      this.#packageOf.set(replica.name, version); // asked once
      replica.signal("SIGTERM");
    }
  }

  #replicasRun(): boolean {
    return this.#replicas.every(({ process }) => process !== undefined);
  }

  /** A steady state costs no write. Some windows may be spoilt by what was still under way. */
  async #staysQuiet(windows: number): Promise<void> {
    let writes: AuditEntry[] = [];
    for (let attempt = 0; attempt < windows; attempt++) {
      const mark = await this.#cluster.audit.mark();
      await sleep(QUIET_MS);
      writes = (await this.#cluster.audit.since(mark, { user: OPERATOR, verb: WRITES }))
        .filter(({ resource }) => resource !== "leases" && resource !== "events");
      if (writes.length === 0) return;
      this.#noisy++;
      this.#options.report(
        `  Not done yet: ${
          writes.map(({ verb, requestURI, code }) => `${verb} ${requestURI} ${code}`).join("; ")
        }`,
      );
    }
    const lines = writes.map(({ verb, requestURI, code }) => `${verb} ${requestURI}: ${code}`);
    throw new SoakError(`All is right, and yet it goes on to write:\n${lines.join("\n")}`);
  }

  async #readState(): Promise<ClusterState> {
    const { admin } = this.#cluster;
    const list = async <T>(path: string) => (await admin.request<{ items: T[] }>("GET", path)).items;
    const targets = async (kind: TargetKind) => {
      const items = await list<ConfigMap>(`/api/v1/${kind === "ConfigMap" ? "configmaps" : "secrets"}`);
      return items.filter(({ metadata }) =>
        metadata.labels?.[BUNDLE_LABEL] !== undefined || BUNDLES.includes(metadata.name)
      );
    };
    const [bundles, namespaces, configMaps, secrets] = await Promise.all([
      list<ClusterState["bundles"][number]>(BUNDLES_PATH),
      list<KubeObject>(NAMESPACES),
      targets("ConfigMap"),
      targets("Secret"),
    ]);
    this.#compared += configMaps.length + secrets.length;
    return { bundles, namespaces, targets: { ConfigMap: configMaps, Secret: secrets } };
  }

  /** Has openssl read each PKCS#12 store that it has not read yet. */
  async #checkKeyStores({ targets }: ClusterState): Promise<void> {
    for (const id of this.#model.wantedTargets()) {
      const outcome = this.#model.outcome(id.name);
      const pkcs12 = this.#model.bundle(id.name)?.target?.additionalFormats?.pkcs12;
      if (pkcs12 === undefined || "reason" in outcome) continue;
      const object = targets[id.kind].find(({ metadata }) =>
        metadata.namespace === id.namespace && metadata.name === id.name
      );
      const store = (id.kind === "Secret" ? object?.data : object?.binaryData)?.[pkcs12.key] ?? "";
      const digest = createHash("sha256").update(`${store} ${pkcs12.password} ${outcome.pool}`).digest("hex");
      if (this.#readStores.has(digest)) continue;
      this.#readStores.add(digest);
      this.#storesRead++;
      const { stdout, stderr } = await readWithOpenssl(
        Uint8Array.fromBase64(store),
        pkcs12.password ?? "",
        "-legacy",
      );
      const held = this.#model.certificates.filter(({ pem }) => stdout.includes(pem));
      if (this.#model.setOf(held) !== outcome.pool) {
        this.#fail([{
          bundle: id.name,
          namespace: id.namespace,
          text: `${
            idText(id)
          } has in ${pkcs12.key} other certificates than it should: openssl says ${stdout}${stderr}`,
        }]);
      }
    }
  }

  /** No private key is anywhere but where a user put it. */
  async #checkEverythingForPlanted(): Promise<void> {
    const { admin } = this.#cluster;
    const { bundles, targets } = await this.#readState();
    for (const kind of KINDS) {
      for (const { metadata, data = {}, binaryData = {} } of targets[kind]) {
        const where = `${kind} ${metadata.namespace}/${metadata.name}`;
        this.#checkPlanted(where, JSON.stringify([metadata, data]));
        const encoded = [...Object.values(binaryData), ...(kind === "Secret" ? Object.values(data) : [])];
        for (const text of encoded) this.#checkPlanted(where, atob(text));
      }
    }
    for (const { metadata, status } of bundles) {
      this.#checkPlanted(`the status of Bundle ${metadata.name}`, JSON.stringify(status));
    }
    for (const path of ["/apis/events.k8s.io/v1/events"]) this.#checkPlanted(path, await admin.text(path));
    for (const [index, { process }] of this.#replicas.entries()) {
      if (process === undefined) continue;
      this.#checkPlanted(`the log of replica ${index}`, process.output);
      const metrics = await process.metrics().catch(() => ""); // it may be starting
      this.#checkPlanted(`the metrics of replica ${index}`, metrics);
    }
  }

  #checkPlanted(where: string, text: string): void {
    const mark = PLANTED_MARKS.find((it) => text.includes(it));
    if (mark === undefined) return;
    const at = text.indexOf(mark);
    throw new SoakError(`A private key is in ${where}: ${text.slice(Math.max(0, at - 500), at + 100)}`);
  }

  async #countWrites(): Promise<void> {
    const entries = await this.#cluster.audit.since(this.#startMark, { user: OPERATOR, verb: WRITES });
    for (const { verb, resource, subresource, code } of entries) {
      const key = `${verb} ${resource}${subresource === "" ? "" : `/${subresource}`} ${
        code < 400 ? "done" : code
      }`;
      this.#writes.set(key, (this.#writes.get(key) ?? 0) + 1);
    }
  }

  /** Throws with the differences and with what was done last where the first one is. */
  #fail(differences: readonly Difference[], when = ""): never {
    const [first] = differences;
    const where = {
      ...(first === undefined ? {} : { bundle: first.bundle }),
      ...(first?.namespace === undefined ? {} : { namespace: first.namespace }),
    };
    const actions = this.#done.filter(({ action }) => concerns(action, where)).slice(-30)
      .map(({ second, action, result }) => `  ${second.toFixed(1)} s: ${actionText(action)} (${result})`);
    const logs = this.#replicas.flatMap(({ process }, index) => {
      if (process === undefined) return [`Replica ${index} is not running`];
      const lines = process.output.split("\n").filter((line) => line.includes(first?.bundle ?? ""));
      return [
        `Last of replica ${index} about ${first?.bundle}:`,
        ...lines.slice(-30).map((line) => `  ${line}`),
      ];
    });
    throw new SoakError([
      `Seed ${this.#options.seed}, ${this.#second().toFixed(1)} s: ${differences.length} differences ${when}`,
      ...differences.slice(0, 20).map(({ text }) => `- ${text}`),
      `The last actions on it:`,
      ...actions,
      ...logs,
    ].join("\n"));
  }

  #second(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }

  // What came of it

  /** What to print at the end. */
  summary(): string[] {
    const counts = (map: ReadonlyMap<string, number>) =>
      [...map].sort(([a], [b]) => a < b ? -1 : 1).map(([name, count]) => `${name} ${count}`).join(", ");
    const missed = this.#done.filter(({ result }) => result.startsWith("missed")).length;
    const settle = this.#settleSeconds.map((seconds) => Math.round(seconds));
    return [
      `Seed ${this.#options.seed}, ${Math.round(this.#second())} s`,
      `Actions: ${this.#done.length} (${missed} found nothing): ${counts(this.#actionCounts)}`,
      `Faults: ${counts(this.#proxy.faults)}`,
      `Checks: ${this.#checks} times everything, ${this.#compared} targets compared, ${this.#judged} states of targets judged, ` +
      `${this.#storesRead} PKCS#12 stores read, ${this.#actions.planted} private keys planted`,
      `Seconds until all was right: ${settle.join(", ")}; ${this.#noisy} windows of ${
        QUIET_MS / 1000
      } s with a late write`,
      `Writes: ${counts(this.#writes)}`,
      `Replicas: ${
        this.#replicas.map(({ starts, leasesLost }) => `${starts} starts, ${leasesLost} leases lost`).join(
          "; ",
        )
      }`,
      ...this.#replicas.flatMap(({ memory }) => memory).filter(({ samples }) => samples.length > 5)
        .map(memoryText),
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** The memory of a process over its life, in MB. */
function memoryText({ replica, pid, samples }: MemoryCurve): string {
  const step = Math.max(1, Math.floor(samples.length / 12));
  const shown = samples.filter((_, index) => index % step === 0 || index === samples.length - 1);
  const most = Math.max(...samples.map(([, kilobytes]) => kilobytes));
  return `Memory of replica ${replica}, process ${pid}: most ${Math.round(most / 1024)} MB; ${
    shown.map(([seconds, kilobytes]) => `${Math.round(seconds)} s ${Math.round(kilobytes / 1024)}`).join(", ")
  }`;
}

/** New CA certificates, whose private keys are dropped at once. */
async function makeCertificates(count: number): Promise<TestCertificate[]> {
  return await Promise.all(Array.from({ length: count }, async (_, index) => {
    const subject = `Soak Root ${index}`;
    const { success, stdout, stderr } = await new Deno.Command("openssl", {
      args: [
        ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -keyout /dev/null".split(
          " ",
        ),
        "-subj",
        `/CN=${subject}`,
      ],
    }).output();
    if (!success) throw new Error(`Failed to make a certificate: ${new TextDecoder().decode(stderr)}`);
    const pem = new TextDecoder().decode(stdout).trim();
    const der = Uint8Array.fromBase64(pem.replace(/-----[^-]*-----|\n/g, ""));
    const sha256 = createHash("sha256").update(der).digest("hex");
    return { pem, sha256, subject: `CN=${subject}`, notAfter: "" };
  }));
}

/** A seed that nobody has chosen. */
export function anySeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 1;
}

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string", default: "10" },
      seed: { type: "string" },
      steady: { type: "boolean", default: false },
    },
  });
  const minutes = Number(values.minutes);
  const seed = values.seed === undefined ? anySeed() : Number(values.seed);
  if (!(minutes > 0 && minutes <= MAX_MINUTES) || !Number.isInteger(seed)) {
    console.error(`Usage: deno task soak [--minutes=<up to ${MAX_MINUTES}>] [--seed=<integer>] [--steady]`);
    return 2;
  }
  try {
    await soak({ seed, minutes, steady: values.steady, report: (line) => console.log(line) });
    console.log("All was as the model says");
    return 0;
  } catch (error) {
    console.error(error instanceof SoakError ? error.message : error);
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
