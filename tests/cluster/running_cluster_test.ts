import assert from "node:assert/strict";
import { startControlPlane } from "./control_plane.ts";
import { RestClient } from "./rest_client.ts";
import { clusterDown, clusterUp, OtherClusterError } from "./running_cluster.ts";

/** Where kind is, it is preferred. */
const CAN_HAVE_NODES = Deno.build.os === "linux" && Deno.uid() === 0;

Deno.test("a cluster is brought up once, found again, and taken down with what belongs to it", async () => {
  const directory = await Deno.makeTempDir();
  const namespace = "/api/v1/namespaces/kept";
  try {
    const first = await clusterUp({ directory });
    using admin = await RestClient.fromKubeconfig(first.kubeconfig);
    await admin.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: kept}}`);

    assert.deepEqual(await clusterUp({ directory }), first);
    assert.ok(await admin.get(namespace));
    const version = await new Deno.Command(first.kubectl, { args: ["version", "--client"] }).output();
    assert.ok(version.success);

    // As a cluster of the user's own, it can be tested with and is left as it is.
    const used = await startControlPlane({ kubeconfig: first.kubeconfig });
    assert.ok(await used.admin.get(namespace));
    assert.equal(used.own, undefined);
    await used.stop();
    assert.ok(await admin.get(namespace));

    // A process that has ended by itself makes the next one start anew.
    const { pids, dir } = JSON.parse(await Deno.readTextFile(`${directory}/cluster.json`));
    Deno.kill(pids["kube-apiserver"], "SIGKILL");
    await clusterUp({ directory });
    using renewed = await RestClient.fromKubeconfig(first.kubeconfig);
    assert.equal(await renewed.get(namespace), undefined);
    await assert.rejects(Deno.stat(dir), Deno.errors.NotFound);

    // A process id that was recorded, but is someone else's now, is left alone.
    const record = JSON.parse(await Deno.readTextFile(`${directory}/cluster.json`));
    const stranger = { ...record, pids: { ...record.pids, stranger: Deno.pid } };
    await Deno.writeTextFile(`${directory}/cluster.json`, JSON.stringify(stranger));
    assert.equal(await clusterDown({ directory }), "Stopped the control plane");
    assert.deepEqual(Array.from(Deno.readDirSync(directory)), []);
    await assert.rejects(renewed.text("/readyz"), TypeError);

    assert.equal(await clusterDown({ directory }), undefined);
  } finally {
    await clusterDown({ directory });
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test({
  name: "a node is brought up, found again, and taken down with what belongs to it",
  ignore: !CAN_HAVE_NODES,
  async fn() {
    const directory = await Deno.makeTempDir();
    const nodeImages = () => Promise.resolve([]);
    // Built by whoever runs all tests.
    const whyNoNode = () => Promise.resolve(undefined);
    try {
      const first = await clusterUp({ directory, nodeImages, whyNoNode, report: () => {} });
      assert.equal(first.isNode, true);
      using admin = await RestClient.fromKubeconfig(first.kubeconfig);
      assert.ok(await admin.get("/api/v1/nodes/node"));
      assert.deepEqual(await clusterUp({ directory, nodeImages, whyNoNode }), first);
      assert.deepEqual(await clusterUp({ directory }), first, "another one was started");
      await assert.rejects(clusterUp({ directory, bare: true }), OtherClusterError);

      const { dir } = JSON.parse(await Deno.readTextFile(`${directory}/cluster.json`));
      assert.ok((await processesOf(dir)).length > 5);
      assert.equal(await clusterDown({ directory }), "Stopped the node");
      await nothingIsLeft(dir, directory);
    } finally {
      await clusterDown({ directory });
      await Deno.remove(directory, { recursive: true });
    }
  },
});

Deno.test({
  name: "a node's start that is given up leaves nothing behind",
  ignore: !CAN_HAVE_NODES,
  async fn() {
    const directory = await Deno.makeTempDir();
    const controller = new AbortController();
    const dir = Promise.withResolvers<string>();
    try {
      const up = clusterUp({
        directory,
        nodeImages: () => Promise.resolve([]),
        whyNoNode: () => Promise.resolve(undefined),
        signal: controller.signal,
        report: (line) => dir.resolve(/\/\S+$/.exec(line)?.[0] ?? ""),
      });
      up.catch(() => {}); // looked at below
      while ((await processesOf(await dir.promise)).length < 5) {
        await Promise.race([up, new Promise((resolve) => setTimeout(resolve, 20))]);
      }
      controller.abort(new Error("Enough"));
      await assert.rejects(up, /^Error: Enough$/);
      await nothingIsLeft(await dir.promise, directory);
    } finally {
      await clusterDown({ directory });
      await Deno.remove(directory, { recursive: true });
    }
  },
});

Deno.test("where a node cannot be had, one line says why before a control plane is started instead", async (t) => {
  const cases = {
    "it cannot be tried": {
      whyNoNode: () => Promise.resolve("it takes a wish"),
      nodeImages: () => Promise.reject(new Error("not asked for")),
      line: "A control plane without nodes. For a real node: it takes a wish",
    },
    "it does not start": {
      whyNoNode: () => Promise.resolve(undefined),
      nodeImages: () => Promise.reject(new Error("No image.\nmore\nThe last word")),
      line: "A control plane without nodes, as the node does not start: No image. … The last word",
    },
  };
  for (const [name, { line, ...options }] of Object.entries(cases)) {
    await t.step(name, async () => {
      const directory = await Deno.makeTempDir();
      const controller = new AbortController();
      const lines: string[] = [];
      const report = (line: string) => {
        lines.push(line);
        controller.abort(new Error("That is all"));
      };
      try {
        const up = clusterUp({ directory, ...options, signal: controller.signal, report });
        await assert.rejects(up, /^Error: That is all$/);
        assert.deepEqual(lines, [line]);
      } finally {
        await Deno.remove(directory, { recursive: true });
      }
    });
  }
});

/** The programs whose command line names a directory. */
async function processesOf(dir: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const commandLine = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
    if (commandLine.includes(dir)) found.push(commandLine.split("\0", 1).join());
  }
  return found;
}

async function nothingIsLeft(dir: string, directory: string): Promise<void> {
  const name = dir.replace(/.*\//, "");
  assert.match(name, /^trust-manager-node-/);
  assert.deepEqual(await processesOf(dir), []);
  assert.doesNotMatch(await Deno.readTextFile("/proc/self/mountinfo"), new RegExp(name));
  await assert.rejects(Deno.stat(dir), Deno.errors.NotFound);
  for (const path of ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"]) {
    await assert.rejects(Deno.stat(`${path}/${name}`), Deno.errors.NotFound);
  }
  assert.deepEqual(Array.from(Deno.readDirSync(directory)), []);
}
