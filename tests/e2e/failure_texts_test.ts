import assert from "node:assert/strict";
import { freePort } from "../cluster/free_ports.ts";
import { until } from "../until.ts";
import { OperatorInside } from "./operator_inside.ts";

const WATCHES = [
  "bundles",
  "namespaces",
  "source configmaps",
  "source secrets",
  "target configmaps",
  "target secrets",
];

Deno.test("An API server that cannot be reached is one line a minute, and a probe says the same", async () => {
  const folder = await Deno.makeTempDir();
  const [port, probePort] = [freePort(), freePort()];
  const server = `http://127.0.0.1:${port}`; // where nobody listens
  try {
    const kubeconfig = `${folder}/kubeconfig.yaml`;
    await Deno.writeTextFile(
      kubeconfig,
      JSON.stringify({
        "clusters": [{ name: "gone", cluster: { server } }],
        "contexts": [{ name: "gone", context: { cluster: "gone", user: "nobody" } }],
        "users": [{ name: "nobody", user: {} }],
        "current-context": "gone",
      }),
    );
    await using operator = OperatorInside.start(kubeconfig, [
      "--leader-elect=true",
      "--secret-targets-enabled",
      `--readiness-probe-port=${probePort}`,
    ]);
    const told = () => operator.log.filter((line) => line.includes("level=ERROR"));
    const all = [...WATCHES, "lease"].sort().join(", ");
    for (let minute = 0; minute < 3; minute++) {
      await until(() => told().length > minute, () => `it is told; the log has:\n${operator.log.join("\n")}`);
      if (minute < 2) operator.clock.jump(60_000);
    }
    for (const line of told()) {
      assert.match(
        line,
        /msg="Requests to the API server fail; they are sent again until they work" err="Cannot reach .*refused/,
      );
      assert.ok(line.includes(server), line);
      assert.ok(line.includes(`failing="${all}"`), line);
    }
    assert.ok(told().length <= 4, told().join("\n"));
    let said = "";
    // A request that the jump of the clock let time out says so until it is sent again.
    await until(async () => {
      const response = await fetch(`http://127.0.0.1:${probePort}/readyz`);
      assert.equal(response.status, 503);
      said = await response.text();
      const [first, second, ...others] = said.trimEnd().split("\n");
      return first === "Not all stores have synced" && others.length === 0 &&
        second?.startsWith(`${WATCHES.join(", ")}: Cannot reach ${server}: `) === true;
    }, () => `the probe tells all of it; it says: ${said}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
