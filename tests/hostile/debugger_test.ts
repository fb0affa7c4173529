import assert from "node:assert/strict";
import { OPERATOR_FLAGS, SCRIPT } from "../../build.ts";
import { DEBUGGER_PORT } from "../../lib/debugger_port.ts";
import { OperatorProcess } from "../e2e/operator_process.ts";

/** Starts the operator without a cluster that it could reach, and waits until it works. */
async function startOperator(): Promise<OperatorProcess> {
  const kubeconfig = await Deno.makeTempFile();
  await Deno.writeTextFile(
    kubeconfig,
    `{"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
      "contexts": [{"name": "c", "context": {"cluster": "c"}}], "current-context": "c"}`,
  );
  const flags = [`--kubeconfig=${kubeconfig}`, "--webhook-enabled=false", "--leader-elect=false"];
  const operator = OperatorProcess.start(OPERATOR_FLAGS, SCRIPT, flags);
  await operator.prints("Starting");
  const deadline = performance.now() + 20_000;
  while (await operator.probe("/healthz") !== 200) assert.ok(performance.now() < deadline, operator.output);
  await Deno.remove(kubeconfig);
  return operator;
}

/** Sends SIGUSR1 until Deno has told on standard error what it made of it: in its first half second it does nothing. */
async function askForDebugger(operator: OperatorProcess): Promise<void> {
  for (let attempts = 100; attempts > 0; attempts--) {
    operator.kill("SIGUSR1");
    const told = await operator.prints(/inspector|[Dd]ebugger listening|Ending/, 100).then(
      () => true,
      () => false,
    );
    if (told) return;
  }
  assert.fail(`Deno says nothing of SIGUSR1:\n${operator.output}`);
}

/** Takes the debugger's port; undefined if another process has it, such as an operator that the demo has left running. */
function takePort(): Deno.Listener | undefined {
  try {
    return Deno.listen({ hostname: "127.0.0.1", port: DEBUGGER_PORT });
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return undefined;
    throw error;
  }
}

function portIsFree(): boolean {
  using port = takePort();
  return port !== undefined;
}

Deno.test("SIGUSR1 lets no debugger in, and the operator goes on", { ignore: !portIsFree() }, async () => {
  await using operator = await startOperator();
  await askForDebugger(operator);
  // Another operator of this machine, started in the same moment, was faster.
  if (operator.output.includes("Ending")) {
    await operator.exited();
    assert.equal(portIsFree(), false, "it did not take the port of debuggers, which is free");
    return;
  }
  await operator.prints("Ignored a signal that asks for a debugger");
  assert.match(operator.output, /Failed to start inspector server/);
  assert.doesNotMatch(operator.output, /Debugger listening/);
  assert.equal(await operator.probe("/healthz"), 200);
  assert.equal(await operator.stop(), 0);
});

Deno.test(
  "SIGUSR1 ends the operator if somebody else has the debugger's port",
  { ignore: !portIsFree() },
  async () => {
    using _port = takePort();
    await using operator = await startOperator();
    operator.kill("SIGUSR1");
    assert.equal(await operator.exited(), 1);
    assert.match(operator.output, /Ending, because a signal asks for a debugger/);
  },
);
