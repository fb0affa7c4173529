/**
 * Builds the operator and all programs that tests need, and runs every test of the project. What `deno test` prints is passed on as
 * it is; the last line is `N passed, N failed`. Arguments are passed on to `deno test`.
 */
import { buildApproverPolicy } from "./approver_policy/build_approver_policy.ts";
import { buildCertManager } from "./cert_manager/build_cert_manager.ts";
import { buildControlPlane } from "./cluster/build_control_plane.ts";
import { findGo, type GoToolchain, goVersionOf } from "./cluster/go_toolchain.ts";
import { Helm } from "./helm/helm.ts";
import { buildPromql } from "./helm/promql/promql.ts";
import { buildNode } from "./node/build_node.ts";
import { buildPeer, PEER_VERSION } from "./peer/build_peer.ts";
import { ROOT } from "./project_files.ts";

/** What became of some tests. */
export interface TestCount {
  readonly passed: number;
  readonly failed: number;
}

/**
 * Reads the last summary line of `deno test`, such as `ok | 12 passed (34 steps) | 0 failed (1s)`. A run without one, or whose
 * exit code says that something failed although the line does not, counts as a failure. Pure.
 */
export function countTests(output: string, exitCode: number): TestCount {
  // deno-lint-ignore no-control-regex
  const plain = output.replace(/\x1b\[[0-9;]*m/g, "");
  const summary = [...plain.matchAll(/^(?:ok|FAILED) \| (\d+) passed.* \| (\d+) failed/gm)].at(-1);
  const [passed, failed] = summary === undefined ? [0, 1] : [Number(summary[1]), Number(summary[2])];
  return { passed, failed: exitCode === 0 ? failed : Math.max(failed, 1) };
}

/** Runs one command of Deno in the checkout, passes its output on, and returns the output and the exit code. */
async function deno(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ output: string; code: number }> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    env: { ...env },
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const decoder = new TextDecoder();
  let output = "";
  for await (const chunk of process.stdout) {
    // Only the end is looked at.
    output = (output + decoder.decode(chunk, { stream: true })).slice(-65_536);
    for (let at = 0; at < chunk.length;) at += await Deno.stdout.write(chunk.subarray(at));
  }
  return { output, code: (await process.status).code };
}

/** Environment in which the command `go` is that one: some tests build Go programs by themselves. */
function firstInPath({ command, env }: GoToolchain): Record<string, string> {
  const path = Deno.env.get("PATH") ?? "";
  const slash = command.lastIndexOf("/");
  return { ...env, PATH: slash < 0 ? path : `${command.slice(0, slash)}:${path}` };
}

async function main(args: readonly string[]): Promise<number> {
  let count: TestCount = { passed: 0, failed: 1 };
  try {
    const built = await deno(["run", "--allow-all", "build.ts"]);
    if (built.code !== 0) throw new Error("The operator could not be built");
    // Before the tests, so that a failure is told at once and the time is not taken for that of a test.
    await buildControlPlane();
    console.error(`The Go project's ${PEER_VERSION}: ${await buildPeer()}`);
    await Helm.find();
    await buildPromql();
    await buildCertManager();
    await buildApproverPolicy();
    await buildNode();
    const go = await findGo(
      goVersionOf(await Deno.readTextFile(`${ROOT}/tests/cluster/go.mod`)),
      (line) => console.error(line),
    );
    const { output, code } = await deno(
      ["test", "--allow-all", "--doc", "--no-check", ...args],
      firstInPath(go),
    );
    count = countTests(output, code);
  } catch (error) {
    console.error(error);
  }
  console.log(`${count.passed} passed, ${count.failed} failed`);
  return count.failed === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args.filter((arg) => arg !== "--")));
