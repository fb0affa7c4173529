import { BareLoopProcess } from "./bare_loop_process.ts";
import type { Contender } from "./contender.ts";
import type { ContenderName, Scenario } from "./measurement.ts";
import { Meter } from "./meter.ts";
import { Session, type Stage } from "./session.ts";

/** How many requests the bare loops have on their way at once. */
const LOOPS = [8, 16, 32] as const;

/** How long one target may take, in milliseconds. */
const ONE_TARGET_MS = 60_000;

/** Pause between two namespaces, so that each is new on its own, in milliseconds. */
const PAUSE_MS = 50;

/** First sync of one Bundle, and a change of its source. */
export async function sync(stage: Stage, contender: Contender): Promise<void> {
  await using session = await Session.start(stage, contender);
  await firstSync(session);
  await session.measure("source change", session.targets, async () => {
    await session.changeSource();
    await session.inSync();
  });
}

/** The same writes by bare loops. */
export async function bareLoops(stage: Stage, loops: readonly typeof LOOPS[number][] = LOOPS): Promise<void> {
  const { cluster, trust, content } = stage;
  const name = "bare-loop";
  const uid = await cluster.createBundle(name, content);
  try {
    let certificates = trust.size;
    const write = async (scenario: Scenario, atOnce: typeof LOOPS[number]) => {
      // Each loop writes other content than the one before.
      const target = trust.target(certificates, content);
      certificates = certificates === trust.size ? trust.size - 1 : trust.size;
      await using loop = await BareLoopProcess.start(cluster, { name, uid }, target, atOnce);
      const meter = await Meter.start(cluster, loop.pid);
      const reading = await meter.read(loop.pid, await loop.run());
      const namespaces = cluster.namespaces.length;
      const contender: ContenderName = `loop ${atOnce}`;
      stage.record({ scenario, contender, content, namespaces, targets: namespaces, ...reading });
    };
    await write("first sync", LOOPS[0]);
    for (const atOnce of loops) await write("source change", atOnce);
  } finally {
    await cluster.deleteBundles(name);
  }
}

/** Which of the scenarios of {@linkcode events} are wanted. */
export type EventScenario = "restored" | "flood" | "restart" | "steady" | "namespaces" | "bulk" | "burst";

/** What happens to a cluster that is in sync. */
export async function events(
  stage: Stage,
  contender: Contender,
  wanted: ReadonlySet<EventScenario>,
  newNamespaces: number,
): Promise<void> {
  await using session = await Session.start(stage, contender);
  await session.createBundles();
  await session.inSync();
  if (wanted.has("restored")) await restore(session);
  if (wanted.has("flood")) await flood(session);
  if (wanted.has("restart")) await session.restart();
  if (wanted.has("steady")) {
    await session.measure("steady state", 0, () => new Promise((resolve) => setTimeout(resolve, 60_000)));
  }
  if (wanted.has("namespaces")) {
    await session.measure("new namespace", newNamespaces, async () => {
      const latencies: number[] = [];
      while (latencies.length < newNamespaces) latencies.push(await newNamespace(session));
      return latencies;
    });
  }
  if (wanted.has("bulk")) await newNamespacesInBulk(session);
  if (wanted.has("burst")) {
    const count = 500;
    await session.measure("burst of 500 namespaces", count, async () => {
      await stage.cluster.createNamespaces(count, 32);
      await session.inSync();
    });
  }
}

/** 50 Bundles at once. */
export async function manyBundles(stage: Stage, contender: Contender): Promise<void> {
  await using session = await Session.start(stage, contender, { bundles: 50 });
  await session.measure("50 Bundles", session.targets, async () => {
    await session.createBundles();
    await session.inSync();
  });
}

/** Memory with many targets that hold one certificate: of the operator once it has written them, and of all after a restart. */
export async function manyTargets(stage: Stage, contenders: readonly Contender[]): Promise<void> {
  const [writer] = contenders;
  if (writer === undefined) return;
  const bundles = Math.ceil(10_000 / stage.cluster.namespaces.length);
  await using session = await Session.start(stage, writer, { bundles, certificates: 1 });
  await session.measure("10,000 small targets", session.targets, async () => {
    await session.createBundles();
    await session.inSync();
  });
  for (const contender of contenders) await session.restart("restart with 10,000 small targets", contender);
}

async function firstSync(session: Session): Promise<void> {
  await session.measure("first sync", session.targets, async () => {
    await session.createBundles();
    await session.inSync();
  });
}

async function restore(session: Session): Promise<void> {
  const { bundle, stage: { cluster } } = session;
  const namespaces = cluster.namespaces.slice(0, 20);
  await session.measure("target restored", namespaces.length, async () => {
    const latencies: number[] = [];
    for (const namespace of namespaces) {
      const former = cluster.watch.uid(namespace, bundle);
      const start = performance.now();
      await cluster.admin.delete(`/api/v1/namespaces/${namespace}/configmaps/${bundle}`);
      await cluster.watch.until(`the target in ${namespace} is restored`, ONE_TARGET_MS, () => {
        const uid = cluster.watch.uid(namespace, bundle);
        return uid !== undefined && uid !== former;
      });
      latencies.push(performance.now() - start);
    }
    return latencies;
  });
}

async function flood(session: Session): Promise<void> {
  const changes = 20;
  await session.measure("20 source changes in 1 s", session.targets, async () => {
    const start = performance.now();
    for (let i = 1; i <= changes; i++) {
      await session.changeSource(session.stage.trust.size - i);
      const wait = start + i * 1000 / changes - performance.now();
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, wait)));
    }
    await session.inSync();
  });
}

/** Creates a namespace and returns the milliseconds from sending the request until the watch shows its target. */
async function newNamespace({ bundle, stage: { cluster } }: Session): Promise<number> {
  const start = performance.now();
  const namespace = await cluster.createNamespace();
  await cluster.watch.until(
    `namespace ${namespace} has its target`,
    ONE_TARGET_MS,
    () => cluster.watch.uid(namespace, bundle) !== undefined,
  );
  const latency = performance.now() - start;
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  return latency;
}

/** New namespaces while the change of a source is written to all others. */
async function newNamespacesInBulk(session: Session): Promise<void> {
  await session.measure("new namespace in bulk", session.targets, async () => {
    const latencies: number[] = [];
    await session.changeSource();
    let done = false;
    const synced = session.inSync().finally(() => done = true);
    await Promise.all([
      synced,
      (async () => {
        while (!done && latencies.length < 100) latencies.push(await newNamespace(session));
      })(),
    ]);
    return latencies;
  });
}
