import assert from "node:assert/strict";
import { OPERATOR_FLAGS, PERMISSIONS, SCRIPT } from "../../build.ts";
import { canonicalPem, pemText, ROOT_1, ROOT_2 } from "../builders.ts";
import { WRITES } from "../cluster/audit.ts";
import { OperatorProcess } from "./operator_process.ts";
import { TestCluster, TRUST_NAMESPACE } from "./test_cluster.ts";

const OPERATOR = `system:serviceaccount:${TRUST_NAMESPACE}:trust-manager`;

Deno.test("A default package that is bad harms no target, and is told", async (t) => {
  await using cluster = await TestCluster.start();
  const { audit } = cluster;
  const dir = `${cluster.controlPlane.dir}/package`;
  await Deno.mkdir(dir);
  const path = `${dir}/package.json`;
  const flag = `--default-package-location=${path}`;
  const text = (version: string, bundle: string) => JSON.stringify({ name: "test-package", version, bundle });
  const good = text("1", pemText(ROOT_1, ROOT_2));
  const namespaces = ["ns-a", "ns-b", "ns-c"];
  for (const name of namespaces) await cluster.createNamespace(name, { package: "yes" });
  const target = { configMap: { key: "ca.pem" }, namespaceSelector: { matchLabels: { package: "yes" } } };
  const holds = async (name: string, wanted: string) => {
    for (const namespace of namespaces) {
      await cluster.targetBecomes(namespace, name, "holds it", (it) => it?.data?.["ca.pem"] === wanted);
    }
  };
  /** Checks that nobody has written a target since `mark`, and that all hold what they held. */
  const untouched = async (mark: Awaited<ReturnType<typeof audit.mark>>) => {
    const writes = await audit.since(mark, { user: OPERATOR, verb: WRITES });
    assert.deepEqual(
      writes.filter(({ resource, name }) => resource === "configmaps" && name === "defaults"),
      [],
    );
    await holds("defaults", canonicalPem(ROOT_1, ROOT_2));
  };

  await Deno.writeTextFile(path, good);
  {
    await using operator = await cluster.operator(flag, "--leader-elect=false");
    await cluster.putBundle("defaults", { sources: [{ useDefaultCAs: true }], target });
    await cluster.synced("defaults");
    await holds("defaults", canonicalPem(ROOT_1, ROOT_2));

    await t.step(
      "It is replaced half-way while the operator runs: what was loaded stays in use",
      async () => {
        const mark = await audit.mark();
        await Deno.writeTextFile(path, good.slice(0, 700));
        // A new namespace, a changed Bundle and another Bundle make it use the package.
        await cluster.createNamespace("ns-d", { package: "yes" });
        await cluster.targetBecomes("ns-d", "defaults", "is written", (it) => it !== undefined);
        await cluster.putBundle("other", { sources: [{ useDefaultCAs: true }], target });
        await cluster.synced("other");
        namespaces.push("ns-d");
        await holds("other", canonicalPem(ROOT_1, ROOT_2));
        await holds("defaults", canonicalPem(ROOT_1, ROOT_2));
        const writes = await audit.since(mark, { user: OPERATOR, verb: WRITES, resource: "configmaps" });
        assert.equal(writes.filter(({ name }) => name === "defaults").length, 1);
        assert.equal(await operator.probe("/healthz"), 200);
        assert.equal(await operator.stop(), 0);
      },
    );
  }

  /** How the operator starts and ends with what lies at the path; `prepare` puts it there. */
  const faults: [string, prepare: () => Promise<void>, message: RegExp][] = [
    ["missing", () => Deno.remove(path), /cannot be read from .*package\.json: it does not exist/],
    ["empty", () => Deno.writeTextFile(path, ""), /is not valid JSON.*package\.json/],
    ["truncated", () => Deno.writeTextFile(path, good.slice(0, 700)), /is not valid JSON.*package\.json/],
    [
      "garbage",
      () => Deno.writeFile(path, new Uint8Array(4096).fill(0xff)),
      /is not valid JSON.*package\.json/,
    ],
    ["zeroes, as after a crash", () => Deno.writeFile(path, new Uint8Array(4096)), /is not valid JSON/],
    ["another JSON", () => Deno.writeTextFile(path, "[]"), /is not a JSON object.*package\.json/],
    [
      "a package without a version",
      () => Deno.writeTextFile(path, text("", pemText(ROOT_1))),
      /has no version/,
    ],
    [
      "a certificate that is damaged",
      () => Deno.writeTextFile(path, text("2", pemText(ROOT_1).replace("MIIB", "MIIC") + pemText(ROOT_2))),
      /has a bad bundle: .*certificate.*package\.json/,
    ],
    ["a directory", async () => {
      await Deno.remove(path);
      await Deno.mkdir(path);
    }, /cannot be read from .*package\.json: .*directory/i],
  ];
  for (const [name, prepare, message] of faults) {
    await t.step(`${name}: the start ends with one line that says why, and targets stay`, async () => {
      const mark = await audit.mark();
      await prepare();
      await using operator = await cluster.operatorWith({
        flags: [flag, "--leader-elect=false"],
        wait: false,
      });
      assert.equal(await operator.exited(), 1);
      const lines = operator.output.split("\n").filter((line) => line.startsWith("trust-manager:"));
      assert.equal(lines.length, 1, operator.output);
      assert.match(lines[0] ?? "", message);
      assert.doesNotMatch(operator.output, /^\s+at |MIIC|undefined/m);
      await untouched(mark);
    });
  }
  await Deno.remove(path);
  await Deno.writeTextFile(path, good);

  await t.step(
    "Files that the operator may not read: the start ends with one line that says so",
    async () => {
      const mark = await audit.mark();
      // The superuser may read any file, so that Deno has to be the one who refuses.
      const flags = OPERATOR_FLAGS.map((it) =>
        it === "--allow-read" ? `--allow-read=${cluster.operatorKubeconfig},/var/run/secrets` : it
      );
      await using operator = OperatorProcess.start(flags, SCRIPT, [
        `--kubeconfig=${cluster.operatorKubeconfig}`,
        "--leader-elect=false",
        "--webhook-enabled=false",
        flag,
      ]);
      assert.equal(await operator.exited(), 1);
      assert.match(
        operator.output,
        /^trust-manager: .*cannot be read from .*: Deno was started without the permission/m,
      );
      await untouched(mark);
    },
  );

  await t.step("A full or read-only disk: the operator writes to none, and all goes on", async () => {
    assert.deepEqual(PERMISSIONS.filter((it) => it.includes("write")), []);
    await Deno.chmod(path, 0o444);
    await Deno.chmod(dir, 0o555);
    const mark = await audit.mark();
    await using operator = await cluster.operator(flag, "--leader-elect=false");
    // From now on the kernel refuses each byte that would go into a file, as on a full disk.
    const limit = await new Deno.Command("prlimit", { args: [`--pid=${operator.pid}`, "--fsize=0:0"] })
      .output();
    assert.ok(limit.success, new TextDecoder().decode(limit.stderr));
    await untouched(mark);
    await cluster.putBundle("other", {
      sources: [{ useDefaultCAs: true }],
      target: { ...target, configMap: { key: "other.pem" } },
    });
    for (const namespace of namespaces) {
      await cluster.targetBecomes(
        namespace,
        "other",
        "has the other key",
        (it) => it?.data?.["other.pem"] === canonicalPem(ROOT_1, ROOT_2),
      );
    }
    await cluster.synced("other");
    assert.equal(await operator.probe("/readyz"), 200);
    assert.equal(await operator.stop(), 0);
    await Deno.chmod(dir, 0o755);
  });

  await t.step("A package without certificates is no reason to empty targets", async () => {
    const mark = await audit.mark();
    await Deno.chmod(path, 0o644);
    await Deno.writeTextFile(path, text("3", "no certificates here\n"));
    await using operator = await cluster.operator(flag, "--leader-elect=false");
    await operator.prints("Default package holds no certificates");
    const condition = await cluster.condition("defaults", "False");
    assert.equal(condition.reason, "SourceNotFound");
    assert.match(condition.message, /couldn't find any valid certificates in bundle/);
    await untouched(mark);
    assert.match((await cluster.getBundle("defaults"))?.status?.defaultCAVersion ?? "", /^test-package-1-/);
    assert.equal(await operator.stop(), 0);
  });

  await t.step("With a good package again all is right, and that costs no write of a target", async () => {
    const mark = await audit.mark();
    await Deno.writeTextFile(path, good);
    await using operator = await cluster.operator(flag, "--leader-elect=false");
    await cluster.synced("defaults");
    await untouched(mark);
    assert.equal(await operator.stop(), 0);
  });
});
