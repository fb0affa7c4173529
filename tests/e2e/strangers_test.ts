import assert from "node:assert/strict";
import { SCRIPT } from "../../build.ts";
import { ATTACKS, Besieged, quantile } from "./strangers.ts";
import { until } from "../until.ts";

/** The memory limit that docs/install.md gives. */
const MEMORY_LIMIT_MIB = 256;

/**
 * Longest time in which nearly all Bundles are admitted, in milliseconds. Where a machine is watched and nothing else is done on it, it is
 * less than a second (bench/README.md); here strangers, API server and other tests share few processors.
 */
const ADMITTED_MS = 3_000;

Deno.test("Strangers on all ports: the lease is kept, Bundles are admitted, memory has a bound", async (t) => {
  await using besieged = await Besieged.start({ namespaces: 20, configMaps: 100, script: SCRIPT });
  const openFiles = () => [...Deno.readDirSync(`/proc/${besieged.operator.pid}/fd`)].length;
  const atFirst = openFiles();
  for (const [name, attacks] of Object.entries(ATTACKS)) {
    await t.step(name, async () => {
      const { led, unrenewedMs, admissionsMs, failures, probes, failedProbes, peakMiB } = await besieged
        .under(
          name,
          attacks,
          5,
        );
      assert.ok(led, "the lease was lost");
      assert.ok(unrenewedMs < 8_000, `the lease was not renewed for ${unrenewedMs} ms`);
      assert.deepEqual(failures, []);
      const p99 = quantile(admissionsMs, 0.99);
      assert.ok(p99 < ADMITTED_MS, `admissions took ${p99} ms`);
      assert.ok(failedProbes < probes / 2, `${failedProbes} of ${probes} probes failed`);
      assert.ok(peakMiB < MEMORY_LIMIT_MIB, `${peakMiB} MiB`);
    });
  }

  await t.step("too many open files end nothing", async () => {
    const { operator, webhook } = besieged;
    const limit = async (files: number) => {
      const { success } = await new Deno.Command("prlimit", {
        args: [`--pid=${operator.pid}`, `--nofile=${files}:`],
      }).output();
      assert.ok(success);
    };
    // The connections of the last strangers end by their deadlines.
    await until(
      () => openFiles() < atFirst + 20,
      () => `their connections end; ${openFiles()} files are open`,
    );
    await limit(openFiles() + 20);
    const connect = (hostname: string, port: number) =>
      Array.from({ length: 60 }, () => Deno.connect({ hostname, port }));
    const clients = await Promise.all([
      ...connect(webhook.host, webhook.port),
      ...connect("127.0.0.1", operator.metricsPort),
    ]);
    await operator.prints("A client could not be accepted; others are tried");
    for (const client of clients) client.close();
    await limit(4_096);
    await until(async () => await operator.probe("/healthz") === 200, "the probe is answered");
    await webhook.admits();
    assert.equal(await operator.stop(), 0);
  });
});
