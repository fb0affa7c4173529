import assert from "node:assert/strict";
import { parse, stringify } from "yaml";
import type { BundleSpec } from "../../lib/api/bundle.ts";
import type { ConfigMap } from "../../lib/kube/objects.ts";
import { canonicalPem, pemText, ROOT_1, ROOT_2, type TestCertificate } from "../builders.ts";
import type { AuditEntry, AuditMark } from "../cluster/audit.ts";
import {
  type Fault,
  FaultProxy,
  type FaultRule,
  isTargetWrite,
  type ProxiedRequest,
} from "../faults/fault_proxy.ts";
import { OperatorInside } from "./operator_inside.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";
import { sleep, until } from "../until.ts";

const SERVICE_ACCOUNT = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;

/** Namespaces with targets. The last one gets its label while faults are done. */
const NAMESPACES = ["n-0", "n-1", "n-2", "n-late"];
/** Milliseconds; longer than all that is skipped of time. */
const NEVER = 0x7fffffff;
const BUNDLES = ["by-source", "by-spec", "by-others"];

/** Collections that the operator watches: Bundles, namespaces, sources of two kinds, targets. */
const WATCHES = 5;
/** All but that of Secrets: there are none here. */
const WATCHES_WITH_EVENTS = 4;

/** So many errors may be logged in one scenario: each target and each watch tells its problem once, some another one later. */
const MOST_ERRORS = 25;

/** So many targets change while faults are done. */
const WANTED_WRITES = 4 + 4 + 3;

/** How often something may happen; it may depend on the milliseconds between the first time and the last. */
type Times = number | ((milliseconds: number) => number);

interface Scenario {
  readonly name: string;
  /** Called anew for each scenario, so that a rule can count. */
  readonly rule: () => FaultRule;
  /** Whether connections are broken at first, so that watches meet the faults and not only writes. Default true. */
  readonly breaks?: boolean;
  /** So many faults must have been done before they end. Default 1. */
  readonly faults?: number;
  /** For so long they go on from then on, in seconds. Default 0. */
  readonly seconds?: number;
  /** Whether changes are followed before faults begin, not during them. */
  readonly changesFirst?: boolean;
  /** How often the API server may be sent what one target is to hold. Default 1. */
  readonly times?: Times;
  /** How often of these it may refuse one, if that is to be counted apart. */
  readonly refusals?: number;
  /** Within so many seconds from their end all is right. Default 30. */
  readonly recovers?: number;
  /** What is looked at before the faults end. */
  readonly meanwhile?: (world: World, log: readonly Timed[]) => Promise<void> | void;
}

interface Timed extends ProxiedRequest {
  /** Milliseconds since an arbitrary start. */
  readonly at: number;
}

const isWatch = ({ watch }: ProxiedRequest) => watch;
const isInitialStream = ({ query }: ProxiedRequest) => query.get("sendInitialEvents") === "true";
const isLease = ({ resource }: ProxiedRequest) => resource === "leases";
const isWrite = ({ method }: ProxiedRequest) => method !== "GET";

/** A rule that does `fault` to all that `chosen` says. */
const each =
  (fault: Fault, chosen: (request: ProxiedRequest) => boolean = () => true) => (): FaultRule => (request) =>
    chosen(request) ? fault : undefined;

/** As {@linkcode each}, but to the first request of each kind only. */
const firstOfEach =
  (fault: Fault | (() => Fault | undefined), chosen: (request: ProxiedRequest) => boolean) =>
  (): FaultRule => {
    const met = new Set<string>();
    return (request) => {
      const key = requestKey(request);
      if (!chosen(request) || met.has(key)) return undefined;
      met.add(key);
      return typeof fault === "function" ? fault() : fault;
    };
  };

const PAGES_ONLY: Fault = { kind: "answer", status: 422, reason: "Invalid" };
const LOST_ANSWER: Fault = { kind: "cut", afterBytes: 0, how: "reset" };

const SCENARIOS: readonly Scenario[] = [
  {
    name: "410 for every resource, as an event of the watch",
    rule: firstOfEach({ kind: "expire" }, (request) => isWatch(request) && !isInitialStream(request)),
    faults: WATCHES,
    meanwhile: (_world, log) => listedAgain(log),
  },
  {
    name: "410 for every resource, as an answer",
    rule: firstOfEach(
      { kind: "answer", status: 410, reason: "Expired" },
      (request) => isWatch(request) && !isInitialStream(request),
    ),
    faults: WATCHES,
    meanwhile: (_world, log) => listedAgain(log),
  },
  {
    name: "429 with Retry-After for a minute, for all but leases",
    rule: each({ kind: "answer", status: 429, retryAfterSeconds: 15 }, (request) => !isLease(request)),
    faults: WATCHES,
    seconds: 60,
    // A watch that was refused for a minute pauses for up to 51 s.
    recovers: 90,
    // The watch of sources may be back while that of targets pauses. What it does not show within 10 s is written again.
    times: (milliseconds) => 1 + Math.floor(milliseconds / 10_000),
    meanwhile: (_world, log) => assertPauses(log.filter((request) => !isLease(request)), 15),
  },
  {
    name: "429 with Retry-After for writes",
    rule: each({ kind: "answer", status: 429, retryAfterSeconds: 3 }, isTargetWrite),
    breaks: false,
    faults: WANTED_WRITES,
    seconds: 4,
    // At first, each 3 s, and once more for the namespace that came late, of which more was known then.
    meanwhile: (_world, log) =>
      assertAtMost(log.filter(isTargetWrite), (milliseconds) => 2 + Math.floor(milliseconds / 3000)),
  },
  {
    name: "500, 503 and 504 for everything",
    rule: () => {
      let turn = 0;
      return () => ({ kind: "answer", status: [500, 503, 504][turn++ % 3] ?? 500 });
    },
    faults: 6,
    seconds: 1,
    meanwhile: (_world, log) => assertAtMost(log, 5),
  },
  {
    name: "502 in HTML for all writes",
    rule: each({ kind: "answer", status: 502, body: "<html>Bad gateway</html>" }, isWrite),
    breaks: false,
    faults: WANTED_WRITES,
    seconds: 2,
    meanwhile: (_world, log) => assertAtMost(log, 5),
  },
  {
    name: "401 for everything",
    rule: each({ kind: "answer", status: 401, reason: "Unauthorized" }),
    faults: 8,
    seconds: 1,
    // Each request that is refused is sent once more, with what the credentials are then.
    meanwhile: (_world, log) => assertAtMost(log, 8),
  },
  {
    name: "403 for the targets in one namespace",
    rule: each(
      { kind: "answer", status: 403, reason: "Forbidden" },
      (request) => isTargetWrite(request) && request.namespace === "n-1",
    ),
    breaks: false,
    faults: 3,
    meanwhile: async ({ cluster, holds, source, spec }) => {
      for (const namespace of ["n-0", "n-2", "n-late"]) {
        await holds(namespace, "by-source", source);
        await holds(namespace, "by-spec", spec);
      }
      const { message } = await cluster.condition("by-source", "False");
      assert.match(message, /^Failed to sync bundle ConfigMap to namespace "n-1": /);
    },
  },
  {
    name: "Connections that break before a write arrives",
    rule: firstOfEach({ kind: "reset" }, isWrite),
    breaks: false,
    faults: 3,
    // Others that are under way on the same connection may have arrived.
    times: 2,
  },
  {
    name: "Writes whose answer is lost",
    rule: firstOfEach(LOST_ANSWER, isWrite),
    breaks: false,
    faults: WANTED_WRITES,
    times: 2,
  },
  {
    name: "Writes whose answer is empty or cut in good order",
    rule: () => {
      let turn = 0;
      const cut = (): Fault => ({ kind: "cut", afterBytes: turn++ % 2 === 0 ? 0 : 100, how: "end" });
      return firstOfEach(cut, isWrite)();
    },
    breaks: false,
    faults: WANTED_WRITES,
    times: 2,
  },
  {
    name: "Writes whose answer is lost with the connection",
    rule: firstOfEach({ kind: "reset-after" }, isWrite),
    breaks: false,
    faults: WANTED_WRITES,
    // What is sent again may be lost again, with the connection of another write.
    times: 3,
  },
  {
    name: "Watches that are cut within an event, in good order and not",
    rule: () => {
      let turn = 0;
      return (request) =>
        isWatch(request)
          ? { kind: "cut", afterBytes: 300, how: turn++ % 2 === 0 ? "end" : "reset" }
          : undefined;
    },
    faults: WATCHES_WITH_EVENTS,
    meanwhile: (_world, log) => assertAtMost(log.filter(isWatch), 4),
  },
  {
    name: "Garbage in watches",
    rule: each({ kind: "garbage", afterBytes: 300 }, isWatch),
    faults: WATCHES_WITH_EVENTS,
  },
  {
    name:
      "Lists that are cut, with garbage, and compressed though nobody asked for it, where they are not streamed",
    rule: () => {
      const faults: readonly Fault[] = [
        { kind: "cut", afterBytes: 40, how: "end" },
        { kind: "garbage", afterBytes: 40 },
        { kind: "compress" },
        { kind: "cut", afterBytes: 40, how: "reset" },
      ];
      let turn = 0;
      const isList = (request: ProxiedRequest) =>
        request.method === "GET" && !isWatch(request) && !isLease(request);
      const rules = [
        firstOfEach({ kind: "expire" }, (request) => isWatch(request) && !isInitialStream(request))(),
        each(PAGES_ONLY, isInitialStream)(),
        firstOfEach(() => faults[turn++ % faults.length], isList)(),
      ];
      return (request) => rules.map((rule) => rule(request)).find((fault) => fault !== undefined);
    },
    faults: 3 * WATCHES,
  },
  {
    name: "Lists that are older than what the watches have told",
    rule: () => {
      const expires = firstOfEach(
        { kind: "expire" },
        (request) => isWatch(request) && !isInitialStream(request),
      )();
      const stale = firstOfEach({ kind: "stale-list" }, isInitialStream)();
      return (request) => expires(request) ?? stale(request);
    },
    changesFirst: true,
    faults: 2 * WATCHES,
    seconds: 1,
    // At first; the stale source and the right one; the stale target, and again when it is not stale any more; two to delete it where
    // the namespace is stale, and one when it is right again.
    times: 8,
    // By state that is stale: by another UID or resourceVersion, after 0.5 s, 1 s, 2 s and so on while the others are not back.
    refusals: 5,
  },
  {
    name: "Each event twice",
    rule: each({ kind: "duplicate-events" }, isWatch),
    faults: WATCHES_WITH_EVENTS,
  },
  ...[["namespaces", "configmaps", "bundles"], ["bundles", "configmaps", "namespaces"]].map((
    order,
  ): Scenario => ({
    name: `Events in another order: those of ${order.join(", then ")}`,
    rule: () => (request) => {
      const milliseconds = 800 * order.indexOf(request.resource);
      return isWatch(request) && milliseconds > 0 ? { kind: "slow", milliseconds } : undefined;
    },
    faults: 3,
    seconds: 3,
    // A target may be written as it is to be by what is known, and again when the next thing is known.
    times: 2,
  })),
];

/** One request in comparison with itself, sent another time. */
function requestKey({ method, path, query }: ProxiedRequest): string {
  return `${method} ${path} ${query.get("labelSelector") ?? ""} ${query.get("fieldSelector") ?? ""}`.trim();
}

/** Each collection is asked for as a whole: what was missed cannot be had otherwise. */
async function listedAgain(log: readonly Timed[]): Promise<void> {
  const listed = () => new Set(log.filter(isInitialStream).map(requestKey)).size;
  await until(() => listed() === WATCHES, () => `collections are listed again; ${listed()} were`);
}

/** Nobody asks again before the API server wants to be asked. */
function assertPauses(log: readonly Timed[], seconds: number): void {
  // Events are different requests to the same path.
  const byKey = Map.groupBy(log.filter(({ method }) => method !== "POST"), requestKey);
  for (const [key, requests] of byKey) {
    requests.slice(1).forEach(({ at }, i) => {
      const pause = at - (requests[i]?.at ?? at);
      assert.ok(pause >= seconds * 1000 - 20, `${key} came again after ${Math.round(pause)} ms`);
    });
  }
}

function timesIn(times: Times, milliseconds: number): number {
  return typeof times === "number" ? times : times(milliseconds);
}

/** No request is sent more often than that, all time of the fault together; of events there are several of each Bundle. */
function assertAtMost(log: readonly Timed[], times: Times): void {
  for (const [key, requests] of Map.groupBy(log, requestKey)) {
    const [first, last = first] = [requests[0], requests.at(-1)];
    const most = timesIn(times, (last?.at ?? 0) - (first?.at ?? 0)) *
      (first?.method === "POST" ? BUNDLES.length : 1);
    assert.ok(requests.length <= most, `${key} came ${requests.length} times`);
  }
}

/** The log tells problems, not each attempt, and knows what they are. */
function assertQuiet(output: string): void {
  const errors = output.split("\n").filter((line) => line.includes(" level=ERROR "));
  assert.ok(errors.length <= MOST_ERRORS, `${errors.length} errors were logged:\n${errors.join("\n")}`);
  assert.doesNotMatch(output, /TypeError|Cannot (read|destructure)|is not a function|is not iterable/);
}

/** The cluster, what is in it, and what the targets are to hold. */
class World {
  readonly cluster: TestCluster;
  source: TestCertificate = ROOT_1;
  spec: TestCertificate = ROOT_1;

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  async setUp(): Promise<void> {
    for (const name of NAMESPACES) await this.cluster.createNamespace(name);
    for (const name of NAMESPACES.slice(0, -1)) await this.label(name, "yes");
    await this.#putSource();
    await this.#putBundle("by-source", { sources: [{ configMap: { name: "source", key: "ca.crt" } }] });
    await this.#putBundle("by-spec", { sources: [{ inLine: pemText(this.spec) }] });
    await this.#putBundle("by-others", { sources: [{ inLine: pemText(ROOT_1) }] });
  }

  /** All targets of before, the one that comes late among them, are as if nobody had been there yet. */
  async reset(): Promise<void> {
    await this.label("n-late", null);
  }

  /** Changes what is to be followed, of each kind. */
  async change(): Promise<void> {
    const other = (it: TestCertificate) => it === ROOT_1 ? ROOT_2 : ROOT_1;
    this.source = other(this.source);
    this.spec = other(this.spec);
    const { admin } = this.cluster;
    await this.#putSource();
    await this.#putBundle("by-spec", { sources: [{ inLine: pemText(this.spec) }] });
    await this.label("n-late", "yes");
    await admin.delete("/api/v1/namespaces/n-0/configmaps/by-others");
    await admin.mergePatch("/api/v1/namespaces/n-1/configmaps/by-others", { data: { "ca.pem": "theirs" } });
  }

  /** Waits until a target holds what it should. */
  readonly holds = async (namespace: string, bundle: string, certificate: TestCertificate) => {
    await this.cluster.targetBecomes(
      namespace,
      bundle,
      "is as it should be",
      (it) => it?.data?.["ca.pem"] === canonicalPem(certificate),
    );
  };

  /** Waits until all targets and statuses are as they should be; those of the namespace that comes late are gone, or there. */
  async converged(late: boolean, timeoutMs?: number): Promise<void> {
    const wanted = { "by-source": this.source, "by-spec": this.spec, "by-others": ROOT_1 };
    const targets = NAMESPACES.filter((name) => late || name !== "n-late").flatMap((namespace) =>
      Object.entries(wanted).map(([bundle, it]) => [namespace, bundle, { "ca.pem": canonicalPem(it) }])
    );
    await this.cluster.admin.waitFor<{ items: ConfigMap[] }>(
      "/api/v1/configmaps?labelSelector=trust.cert-manager.io/bundle",
      `are ${targets.length} that hold what they should`,
      (list) => {
        const found = (list?.items ?? []).map((
          { metadata, data },
        ) => [metadata.namespace, metadata.name, data]);
        return JSON.stringify(found.sort()) === JSON.stringify(targets.sort());
      },
      timeoutMs,
    );
    for (const bundle of BUNDLES) {
      const { reason } = await this.cluster.synced(bundle);
      assert.equal(reason, "Synced");
    }
  }

  /** What the operator wrote since `mark`, by what it is. */
  async writes(
    mark: AuditMark,
  ): Promise<{ targets: AuditEntry[]; statuses: AuditEntry[]; others: AuditEntry[] }> {
    const all = (await this.cluster.audit.since(mark, { user: SERVICE_ACCOUNT })).filter(({ verb }) =>
      !["get", "list", "watch"].includes(verb)
    );
    const isTarget = ({ resource, name }: AuditEntry) => resource === "configmaps" && BUNDLES.includes(name);
    const isStatus = ({ resource, subresource }: AuditEntry) =>
      resource === "bundles" && subresource === "status";
    const isKnown = (entry: AuditEntry) => ["leases", "events"].includes(entry.resource);
    return {
      targets: all.filter(isTarget),
      statuses: all.filter(isStatus),
      others: all.filter((entry) => !isTarget(entry) && !isStatus(entry) && !isKnown(entry)),
    };
  }

  async #putSource(): Promise<void> {
    await this.cluster.putConfigMap(TRUST_NAMESPACE, "source", { "ca.crt": pemText(this.source) });
  }

  async #putBundle(name: string, spec: Pick<BundleSpec, "sources">): Promise<void> {
    await this.cluster.putBundle(name, {
      ...spec,
      target: { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { faults: "yes" } } },
    });
  }

  async label(namespace: string, value: string | null): Promise<void> {
    await this.cluster.admin.mergePatch(`/api/v1/namespaces/${namespace}`, {
      metadata: { labels: { faults: value } },
    });
  }
}

Deno.test("Whatever the API server answers, all targets and statuses are right in the end", async (t) => {
  await using cluster = await TestCluster.start();
  const world = new World(cluster);
  await world.setUp();
  await using proxy = await FaultProxy.start(cluster.controlPlane);
  const kubeconfig = await proxy.kubeconfig(cluster.operatorKubeconfig);
  const faults = () => [...proxy.faults.values()].reduce((sum, count) => sum + count, 0);

  for (const scenario of SCENARIOS) {
    const {
      name,
      rule,
      breaks = true,
      changesFirst = false,
      faults: least = 1,
      seconds = 0,
      times = 1,
      refusals,
      recovers = 30,
    } = scenario;
    await t.step(name, async () => {
      await world.reset();
      await using operator = await cluster.operatorWith({ kubeconfig });
      await world.converged(false);
      const mark = await cluster.audit.mark();
      if (changesFirst) {
        await world.change();
        await world.converged(true);
      }
      const log: Timed[] = [];
      const decide = rule();
      const before = faults();
      {
        using _rule = proxy.use((request) => {
          log.push({ ...request, at: performance.now() });
          return decide(request);
        });
        if (breaks) proxy.breakConnections();
        if (!changesFirst) await world.change();
        await until(
          () => faults() - before >= least,
          () => `${least} faults are done; ${faults() - before} were`,
        );
        await sleep(seconds * 1000);
        await scenario.meanwhile?.(world, log);
      }
      await world.converged(true, recovers * 1000);
      assert.equal(await operator.stop(), 0, operator.output);
      assertQuiet(operator.output);
      await world.converged(true); // and it stays like that
      const { targets, statuses, others } = await world.writes(mark);
      for (const [target, entries] of Map.groupBy(targets, ({ namespace, name }) => `${namespace}/${name}`)) {
        const counted = refusals === undefined ? entries : entries.filter(({ code }) => code < 400);
        // In the namespace that comes late, it may be written as it was before, and then as it is.
        const at = counted.map(({ time }) => Date.parse(time));
        const most = timesIn(times, Math.max(...at) - Math.min(...at)) +
          (target.startsWith("n-late/") ? 1 : 0);
        assert.ok(counted.length <= most, `${target} was written ${counted.length} times`);
        const refused = entries.length - counted.length;
        assert.ok(refused <= (refusals ?? 0), `${target} was refused ${refused} times`);
      }
      assert.ok(statuses.length <= 3 * BUNDLES.length, `${statuses.length} writes of statuses`);
      assert.deepEqual(others, [], "nothing else is written");
    });
  }

  await t.step(
    "A watch that is cut after each byte of an event: it is read once, when it is complete",
    async () => {
      await world.reset();
      await using operator = OperatorInside.start(kubeconfig, [], NEVER);
      await world.converged(false);
      const mark = await cluster.audit.mark();
      const before = proxy.faults.get("cut") ?? 0;
      const cuts = () => (proxy.faults.get("cut") ?? 0) - before;
      let [requests, cutsBefore, isRead] = [0, -1, false];
      using _rule = proxy.use((request) => {
        if (isTargetWrite(request)) isRead = true;
        if (request.resource !== "namespaces" || !isWatch(request)) return undefined;
        requests++;
        cutsBefore = cuts();
        return { kind: "cut", afterBytes: cutsBefore, how: cutsBefore % 2 === 0 ? "end" : "reset" };
      });
      proxy.breakConnections();
      await until(() => cuts() === 1, "the first watch is cut");
      await world.label("n-late", "yes");
      for (let [done, deadline] = [0, 0]; !isRead;) {
        if (cuts() > done) [done, deadline] = [cuts(), performance.now() + 30_000];
        assert.ok(
          performance.now() < deadline,
          `after ${cuts()} cuts and ${requests} requests the event was not read`,
        );
        // A request that is under way is given time; the pause that follows a cut is skipped.
        for (let i = 0; i < 60 && cuts() === cutsBefore; i++) await sleep(1);
        const asked = requests;
        while (!isRead && requests === asked) {
          await sleep(2);
          operator.clock.jump(61_000);
          for (let i = 0; i < 15 && requests === asked; i++) await sleep(1);
        }
      }
      await world.converged(true);
      assert.ok(cuts() > 390, `only ${cuts()} cuts`);
      assert.deepEqual(operator.log.filter((line) => line.includes("could not be understood")), []);
      const { targets } = await world.writes(mark);
      for (const [target, entries] of Map.groupBy(targets, ({ namespace, name }) => `${namespace}/${name}`)) {
        // A write that is under way while time is skipped is given up, and sent again.
        assert.ok(entries.length <= 2, `${target} was written ${entries.length} times`);
      }
    },
  );

  await t.step(
    "A token is refused before its successor is there, and is not used any more afterwards",
    async () => {
      await world.reset();
      const directory = await Deno.makeTempDir();
      try {
        const { path, token, rotate } = await withTokenFile(cluster, kubeconfig, directory);
        await using operator = await cluster.operatorWith({ kubeconfig: path });
        await world.converged(false);
        const before = faults();
        const log: Timed[] = [];
        using _rule = proxy.use((request) => {
          log.push({ ...request, at: performance.now() });
          return request.token === token
            ? { kind: "answer", status: 401, reason: "Unauthorized" }
            : undefined;
        });
        proxy.breakConnections();
        await world.change();
        await until(() => faults() - before >= 8, () => `8 requests are refused; ${faults() - before} were`);
        assertAtMost(log, 6);
        await rotate();
        await world.converged(true);
        const firstWithNew = log.findIndex((request) => request.token !== token);
        assert.ok(firstWithNew > 0);
        // Those that were on their way while the first one learned of the new token, but none of them again.
        assertAtMost(log.slice(firstWithNew).filter((request) => request.token === token), 1);
        assert.equal(await operator.stop(), 0, operator.output);
        assert.ok(!operator.output.includes(token));
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    },
  );

  const atStart: readonly (readonly [string, () => FaultRule])[] = [
    ["Initial streams that end early", each({ kind: "cut", afterBytes: 900, how: "end" }, isInitialStream)],
    ["Initial streams that break off", each({ kind: "cut", afterBytes: 900, how: "reset" }, isInitialStream)],
    ["Initial streams with garbage", each({ kind: "garbage", afterBytes: 900 }, isInitialStream)],
  ];
  for (const [name, rule] of atStart) {
    await t.step(`${name}, at the start: nothing is written by half a list`, async () => {
      await world.reset();
      await world.change();
      const before = faults();
      const mark = await cluster.audit.mark();
      using faulty = proxy.use(rule());
      await using operator = await cluster.operatorWith({ kubeconfig, wait: false });
      await until(() => faults() - before >= 5, () => `5 streams are faulty; ${faults() - before} were`);
      assert.equal(await operator.probe("/readyz"), 503);
      const { targets, statuses, others } = await world.writes(mark);
      assert.deepEqual([targets, statuses, others], [[], [], []]);
      faulty[Symbol.dispose]();
      await operator.ready();
      await world.converged(true);
      assert.equal(await operator.stop(), 0, operator.output);
    });
  }
});

/** A kubeconfig with the token in a file of its own, and what replaces that by a new token. */
async function withTokenFile(
  cluster: TestCluster,
  original: string,
  directory: string,
): Promise<{ path: string; token: string; rotate: () => Promise<void> }> {
  const newToken = async () => {
    const { status } = await cluster.admin.create<{ status: { token: string } }>(
      `/api/v1/namespaces/${TRUST_NAMESPACE}/serviceaccounts/trust-manager/token`,
      { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 3600 } },
    );
    return status.token;
  };
  const config = parse(await Deno.readTextFile(original));
  const token = await newToken();
  config.users[0].user = { tokenFile: `${directory}/token` };
  await Deno.writeTextFile(`${directory}/token`, token);
  const path = `${directory}/kubeconfig.yaml`;
  await Deno.writeTextFile(path, stringify(config));
  return {
    path,
    token,
    rotate: async () => await Deno.writeTextFile(`${directory}/token`, await newToken()),
  };
}
