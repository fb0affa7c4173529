import assert from "node:assert/strict";
import { startControlPlane } from "./control_plane.ts";
import { RestClient } from "./rest_client.ts";
import { clusterDown, clusterUp } from "./running_cluster.ts";

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
