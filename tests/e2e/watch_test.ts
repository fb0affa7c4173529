import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import type { KubeClient, KubeStreamRequest } from "../../lib/kube/client.ts";
import { KubeStatusError } from "../../lib/kube/errors.ts";
import { EventRecorder, type ObjectReference } from "../../lib/kube/event_recorder.ts";
import { systemHost } from "../../lib/kube/host.ts";
import { createKubeClient } from "../../lib/kube/http_client.ts";
import { LeaderElection, LeaseLostError } from "../../lib/kube/lease.ts";
import { loadClusterConfig } from "../../lib/kube/load_config.ts";
import type { ConfigMap, KubeObject } from "../../lib/kube/objects.ts";
import { Reflector, type ReflectorOptions } from "../../lib/kube/reflector.ts";
import { SharedConnection } from "../../lib/kube/shared_connection.ts";
import { Store } from "../../lib/kube/store.ts";
import { TestProxy } from "../../lib/kube/test_proxy.ts";
import { createLogger } from "../../lib/log.ts";
import { type ControlPlane, startControlPlane } from "../cluster/control_plane.ts";
import { until } from "../until.ts";

const NAMESPACE = "watched";
const CONFIG_MAPS = `/api/v1/namespaces/${NAMESPACE}/configmaps`;

Deno.test("Lists, watches, leases and events against a real API server", async (t) => {
  await using controlPlane = await startControlPlane();
  const { admin } = controlPlane;
  const restart = controlPlane.own?.restartApiServer;
  await admin.create("/api/v1/namespaces", { metadata: { name: NAMESPACE } });
  await createConfigMaps(controlPlane, 0, 500, { watched: "yes" });
  await createConfigMaps(controlPlane, 500, 520, {});

  await t.step("500 objects arrive completely: whole or metadata only, streamed or in pages", async () => {
    for (const metadataOnly of [false, true]) {
      for (const list of [(client: KubeClient) => client, withoutInitialEvents, withSmallPages]) {
        await using watch = await Watch.start(controlPlane, { metadataOnly, wrap: list });
        await until(() => watch.store.synced, "the store has synced");
        assert.deepEqual(watch.names, await watch.truth());
        assert.equal(watch.store.size, 500);
        const [item] = watch.store.values();
        assert.equal(item?.value, metadataOnly ? undefined : item?.name);
      }
    }
  });

  await t.step("Changes arrive, also of labels", async () => {
    await using watch = await Watch.start(controlPlane, {});
    await until(() => watch.store.synced, "the store has synced");
    await admin.mergePatch(`${CONFIG_MAPS}/object-510`, { metadata: { labels: { watched: "yes" } } });
    await admin.mergePatch(`${CONFIG_MAPS}/object-0`, { metadata: { labels: { watched: null } } });
    await admin.mergePatch(`${CONFIG_MAPS}/object-1`, { data: { value: "changed" } });
    await admin.delete(`${CONFIG_MAPS}/object-2`);
    await until(
      () => watch.store.get(`${NAMESPACE}/object-1`)?.value === "changed" && watch.store.size === 499,
      "the changes have arrived",
    );
    assert.deepEqual(watch.names, await watch.truth());
  });

  await t.step("A frozen connection is replaced, and nothing is missed", async () => {
    using proxy = new TestProxy(Number(new URL(controlPlane.server).port));
    // Shorter than bookmarks are apart, so a live stream that is quiet is replaced as well, which does no harm.
    await using watch = await Watch.start(controlPlane, { idleTimeoutMs: 3000, port: proxy.port });
    await until(() => watch.store.synced, "the store has synced");
    const connections = proxy.connections;
    proxy.freeze();
    await createConfigMaps(controlPlane, 600, 650, { watched: "yes" });
    await admin.delete(`${CONFIG_MAPS}/object-3`);
    const isUnknown = watch.store.get(`${NAMESPACE}/object-600`) === undefined;
    assert(isUnknown || proxy.connections > connections, "the connection is not frozen");
    const wanted = await watch.truth();
    await until(
      () =>
        watch.store.get(`${NAMESPACE}/object-649`) !== undefined &&
        watch.store.get(`${NAMESPACE}/object-3`) === undefined,
      "the changes have arrived",
    );
    assert.deepEqual(watch.names, wanted);
    assert(proxy.connections > connections);
    // Resumed, not listed again: each object was reported once.
    assert.equal(watch.changes, 499 + 50 + 1);
  });

  await t.step("A connection that breaks is replaced, and nothing is missed", async () => {
    using proxy = new TestProxy(Number(new URL(controlPlane.server).port));
    await using watch = await Watch.start(controlPlane, { port: proxy.port });
    await until(() => watch.store.synced, "the store has synced");
    proxy.breakAll();
    await admin.delete(`${CONFIG_MAPS}/object-4`);
    await until(() => watch.store.get(`${NAMESPACE}/object-4`) === undefined, "the deletion has arrived");
    assert.deepEqual(watch.names, await watch.truth());
  });

  await t.step("A kind that does not exist yet is no empty list", async () => {
    const path = "/apis/example.com/v1/widgets";
    await using watch = await Watch.start(controlPlane, { path, labelSelector: "" });
    await until(() => watch.lines.length > 0, "the problem is logged");
    assert.match(
      watch.lines[0] ?? "",
      /err="the server could not find the requested resource"|err=".*404 page not found/,
    );
    assert.equal(watch.store.synced, false);
    await admin.apply([WIDGET_DEFINITION]);
    await admin.create(path, { apiVersion: "example.com/v1", kind: "Widget", metadata: { name: "w" } });
    await until(() => watch.store.synced && watch.store.size === 1, "the object has arrived");
    assert.match(watch.lines.at(-1) ?? "", /Requests to the API server work again/);
  });

  await t.step({
    name: "The API server restarts, and nothing is missed",
    ignore: restart === undefined, // only of a control plane of one's own
    fn: async () => {
      await using watch = await Watch.start(controlPlane, {});
      await until(() => watch.store.synced, "the store has synced");
      await restart?.();
      admin.reconnect();
      await createConfigMaps(controlPlane, 700, 710, { watched: "yes" });
      await admin.delete(`${CONFIG_MAPS}/object-5`);
      await until(
        () =>
          watch.store.get(`${NAMESPACE}/object-709`) !== undefined &&
          watch.store.get(`${NAMESPACE}/object-5`) === undefined,
        "the changes have arrived",
      );
      assert.deepEqual(watch.names, await watch.truth());
    },
  });

  await t.step("Of two contenders one leads; the other when the first stops", async () => {
    await using a = await Contender.start(controlPlane, "a", { slower: 4 });
    await until(() => a.election.isLeader(), "a leads");
    await using b = await Contender.start(controlPlane, "b", { slower: 4 });
    const lease = await admin.get<LeaseObject>(LEASE);
    assert.equal(lease?.spec.holderIdentity, "a");
    assert.equal(lease?.spec.leaseDurationSeconds, 12);
    await until(
      async () => (await admin.get<LeaseObject>(LEASE))?.spec.renewTime !== lease?.spec.renewTime,
      "renewed",
    );
    assert.equal(b.election.isLeader(), false);

    const stopped = performance.now();
    await a.stop();
    assert.equal(a.outcome, "stopped");
    await until(() => b.election.isLeader(), "b leads");
    assert(performance.now() - stopped < 10_000, "b had to wait for the lease to end");
    assert.equal((await admin.get<LeaseObject>(LEASE))?.spec.leaseTransitions, 1);

    await admin.delete(LEASE);
    await until(async () => (await admin.get<LeaseObject>(LEASE))?.spec.holderIdentity === "b", "made again");
    assert.equal(b.election.isLeader(), true);
  });

  await t.step("A leader whose connection is frozen renews the lease over another", async () => {
    using proxy = new TestProxy(Number(new URL(controlPlane.server).port));
    await using a = await Contender.start(controlPlane, "a", { port: proxy.port, slower: 6 });
    await until(() => a.election.isLeader(), "a leads");
    proxy.freeze();
    await until(() => proxy.connections >= 2, "it has connected anew");
    const renewTime = async () => (await admin.get<LeaseObject>(LEASE))?.spec.renewTime;
    const frozen = await renewTime();
    await until(async () => await renewTime() !== frozen, "the lease is renewed");
    assert.equal(a.election.isLeader(), true);
  });

  await t.step("A leader whose connection dies stops before another starts", async () => {
    using resources = new DisposableStack();
    const proxy = resources.use(new TestProxy(Number(new URL(controlPlane.server).port)));
    await using a = await Contender.start(controlPlane, "a", { port: proxy.port, slower: 2 });
    await until(() => a.election.isLeader(), "a leads");
    await using b = await Contender.start(controlPlane, "b", { slower: 2 });
    resources.dispose(); // no new connection either
    await until(() => {
      assert(!(a.election.isLeader() && b.election.isLeader()), "both lead");
      return b.election.isLeader();
    }, "b leads");
    assert(a.outcome instanceof LeaseLostError, String(a.outcome));
  });

  await t.step("Events, one of them a series, in the words of the API server", async () => {
    const client = await connect(controlPlane);
    try {
      const recorder = new EventRecorder({
        client,
        clock: systemClock,
        random: Math.random,
        log: createLogger({
          format: "text",
          level: 5,
          write: (line) => assert.fail(line),
          clock: systemClock,
        }),
        reportingController: "bundles",
        reportingInstance: "x".repeat(200),
        namespace: "default",
      });
      const name = "b".repeat(253);
      const regarding: ObjectReference = {
        apiVersion: "example.com/v1",
        kind: "Widget",
        name,
        uid: crypto.randomUUID(),
      };
      const failed = { type: "Warning", reason: "SourceNotFound", action: "SyncFailed", regarding } as const;
      const events = async () => {
        const path = "/apis/events.k8s.io/v1/namespaces/default/events";
        const { items } = await admin.request<{ items: EventObject[] }>("GET", path);
        return items.filter((event) => event.regarding.uid === regarding.uid);
      };
      recorder.record({ ...failed, note: "ä".repeat(1000) });
      await until(async () => (await events()).length === 1, "the event is there");
      for (let i = 0; i < 10; i++) recorder.record({ ...failed, note: "ä".repeat(1000) });
      recorder.record({ ...failed, type: "Normal", reason: "Synced", action: "Synced", note: "All is well" });
      await until(async () => (await events()).some(({ series }) => series !== undefined), "it is a series");
      await recorder.flush(5000);

      const found = await events();
      found.sort((x, y) => x.type.localeCompare(y.type));
      assert.deepEqual(found.map(({ type, note, series }) => [type, note, series?.count]), [
        ["Normal", "All is well", undefined],
        ["Warning", "ä".repeat(510) + "…", 11],
      ]);
      // As `kubectl describe` finds it.
      const query = `involvedObject.uid=${regarding.uid},involvedObject.name=${name}`;
      const old = await admin.request<{ items: unknown[] }>(
        "GET",
        `/api/v1/namespaces/default/events?fieldSelector=${encodeURIComponent(query)}`,
      );
      assert.equal(old.items.length, 2);
    } finally {
      client.close();
    }
  });
});

const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/lock`;

interface LeaseObject {
  spec: {
    holderIdentity?: string;
    leaseDurationSeconds?: number;
    renewTime?: string;
    leaseTransitions?: number;
  };
}

interface EventObject {
  type: string;
  note: string;
  series?: { count: number };
  regarding: { uid: string };
}

const WIDGET_DEFINITION = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.example.com" },
  spec: {
    group: "example.com",
    scope: "Cluster",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
    versions: [{
      name: "v1",
      served: true,
      storage: true,
      schema: { openAPIV3Schema: { type: "object" } },
    }],
  },
};

/** A client as the operator's; at another port of 127.0.0.1 if asked for. */
async function connect(controlPlane: ControlPlane, port?: number): Promise<KubeClient> {
  const config = await loadClusterConfig({ kubeconfig: controlPlane.kubeconfig }, {
    host: systemHost,
    clock: systemClock,
  });
  const server = new URL(config.server);
  if (port !== undefined) server.port = String(port);
  return createKubeClient({ ...config, server: server.href.replace(/\/$/, "") }, {
    clock: systemClock,
    random: Math.random,
    log: createLogger({ format: "text", level: 1, write: () => {}, clock: systemClock }),
    userAgent: "watch-test",
  });
}

/** As an API server that does not stream the initial state. */
function withoutInitialEvents(client: KubeClient): KubeClient {
  const stream = (request: KubeStreamRequest) =>
    request.query?.sendInitialEvents === true
      ? Promise.reject(
        new KubeStatusError({ code: 422, reason: "Invalid", message: "sendInitialEvents is forbidden" }),
      )
      : client.stream(request);
  return {
    request: (request) => client.request(request),
    stream,
    reconnect: () => client.reconnect(),
    close: () => client.close(),
  };
}

/** The same, in many pages. */
function withSmallPages(client: KubeClient): KubeClient {
  return {
    ...withoutInitialEvents(client),
    request: (request) =>
      client.request(
        request.query?.limit === undefined ? request : { ...request, query: { ...request.query, limit: 7 } },
      ),
  };
}

interface Item {
  readonly name: string;
  readonly value: string | undefined;
}

type WatchOptions =
  & Partial<Pick<ReflectorOptions<Item>, "metadataOnly" | "idleTimeoutMs" | "path" | "labelSelector">>
  & { port?: number; wrap?: (client: KubeClient) => KubeClient };

/** A store that follows the labelled ConfigMaps. */
class Watch implements AsyncDisposable {
  changes = 0;
  readonly lines: string[] = [];
  readonly store = new Store<Item>({
    keyOf: (item) => item.name,
    same: (a, b) => a.value === b.value,
    onChange: () => this.changes++,
  });
  readonly #abort = new AbortController();
  readonly #controlPlane: ControlPlane;
  readonly #client: KubeClient;
  readonly #done: Promise<void>;

  static async start(controlPlane: ControlPlane, options: WatchOptions): Promise<Watch> {
    return new Watch(controlPlane, await connect(controlPlane, options.port), options);
  }

  private constructor(controlPlane: ControlPlane, client: KubeClient, options: WatchOptions) {
    const { metadataOnly = false, wrap = (client) => client, idleTimeoutMs } = options;
    this.#controlPlane = controlPlane;
    this.#client = client;
    const key = ({ namespace, name }: KubeObject["metadata"]) =>
      namespace === undefined ? name : `${namespace}/${name}`;
    const reflector = new Reflector<Item, ConfigMap>({
      connection: new SharedConnection(wrap(client)),
      path: options.path ?? CONFIG_MAPS,
      labelSelector: options.labelSelector ?? "watched=yes",
      metadataOnly,
      convert: ({ metadata, data }) => ({
        name: key(metadata),
        value: data?.value === metadata.name ? key(metadata) : data?.value,
      }),
      writer: this.store.writer(),
      clock: systemClock,
      random: Math.random,
      log: createLogger({
        format: "text",
        level: 1,
        write: (line) => this.lines.push(line),
        clock: systemClock,
      }),
      name: "objects",
      ...(idleTimeoutMs === undefined ? {} : { idleTimeoutMs }),
    });
    this.#done = reflector.run(this.#abort.signal);
  }

  get names(): string[] {
    return [...this.store.values()].map(({ name }) => name).sort();
  }

  /** What an independent client sees, in the same form. */
  async truth(): Promise<string[]> {
    const path = `${CONFIG_MAPS}?labelSelector=watched%3Dyes`;
    const { items } = await this.#controlPlane.admin.request<{ items: KubeObject[] }>("GET", path);
    return items.map(({ metadata }) => `${NAMESPACE}/${metadata.name}`).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort(new Error("The test is over"));
    await this.#done;
    this.#client.close();
  }
}

/** A process that takes part in an election with short times. */
class Contender implements AsyncDisposable {
  readonly election: LeaderElection;
  outcome: unknown = "runs";
  readonly #abort = new AbortController();
  readonly #client: KubeClient;
  readonly #done: Promise<void>;

  /** @param options.slower factor for all times. */
  static async start(
    controlPlane: ControlPlane,
    identity: string,
    { port, slower = 1 }: { port?: number; slower?: number } = {},
  ): Promise<Contender> {
    return new Contender(await connect(controlPlane, port), identity, slower);
  }

  private constructor(client: KubeClient, identity: string, slower: number) {
    this.#client = client;
    this.election = new LeaderElection({
      client,
      namespace: NAMESPACE,
      name: "lock",
      identity,
      leaseDurationMs: 3000 * slower,
      renewDeadlineMs: 2000 * slower,
      retryPeriodMs: 400 * slower,
      clock: systemClock,
      random: Math.random,
      log: createLogger({ format: "text", level: 1, write: () => {}, clock: systemClock }),
      onStartedLeading: () => {},
    });
    this.#done = this.election.run(this.#abort.signal).then(
      () => void (this.outcome = "stopped"),
      (error) => void (this.outcome = error),
    );
  }

  async stop(): Promise<void> {
    this.#abort.abort(new Error("The process is stopping"));
    await this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#client.close();
  }
}

async function createConfigMaps(
  { admin }: ControlPlane,
  from: number,
  to: number,
  labels: Record<string, string>,
): Promise<void> {
  for (let i = from; i < to; i++) {
    const name = `object-${i}`;
    await admin.create(CONFIG_MAPS, { metadata: { name, labels }, data: { value: name } });
  }
}
